"""Issuing as requests ask for it: records of authorities, servers and clients, as the state keeps them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chalicelib.domain import csr as csrs
from chalicelib.domain import issuing, keys, pbe, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.pca import Limits
from tests.support.alibaba import certificates
from tests.support.alibaba.protocol import Parameters, Refusal

_SUBJECT = ("State", "Locality", "Organization", "OrganizationUnit")
_SAN_KINDS = {1: "email:", 2: "DNS:", 6: "URI:", 7: "IP:"}


def authority(given: Parameters, parent: dict | None, now: datetime) -> dict:
    """A new root, or an intermediate below `parent`."""
    subject = certificates.subject(
        CountryCode=given.text("CountryCode", "CN"),
        **{name: given.required(name) for name in (*_SUBJECT, "CommonName")},
    )
    years = given.number("Years", 0)
    if not 1 <= years <= 30:
        raise Refusal("InvalidParameter" if given.text("Years") else "MissingParameter", "Years is 5 to 10.")
    key = certificates.new_key(given.text("Algorithm", "RSA_2048"))
    length = given.number("PathLenConstraint")
    if not 0 <= length <= 10:
        raise Refusal("InvalidParameter", f"PathLenConstraint is {length}; 0 to 10 are possible.")
    limits = Limits(path_length=length if parent else None)
    issuer = certificates.issuer(parent) if parent else None
    _require_same_world(key.kind, issuer)
    der = issuing.make_authority(subject, limits, key, issuer, now=now, days=years * 365)
    fields = {
        **certificates.describe(ParsedCertificate(der)),
        "CertificateType": "SUB_ROOT" if parent else "ROOT",
        "Status": "ISSUE",
        "Years": years,
        **({"ParentIdentifier": parent["fields"]["Identifier"]} if parent else {}),
    }
    return {"fields": fields, "chain": chain(parent), "key": key.pem().decode()}


def _require_same_world(kind: str, issuer: issuing.Issuer | None) -> None:
    if issuer is not None and (kind == "SM2") != (issuer.key.kind == "SM2"):
        raise Refusal("InvalidParameter", "A CA of SM2 issues for SM2, and no other does.")


def chain(parent: dict | None) -> str:
    """The PEM texts above something that `parent` issued, its own first."""
    return parent["fields"]["X509Certificate"] + parent["chain"] if parent else ""


def leaf(given: Parameters, parent: dict, now: datetime, usage: str, csr: str = "") -> dict:
    """A certificate for a server or client; `csr` is the PEM text of a request, empty to have a key made."""
    request = _request(csr) if csr else None
    key = None if request else certificates.new_key(given.text("Algorithm", "RSA_2048"))
    common_name = request.common_name if request else given.required("CommonName")
    begin, days = _validity(given, now)
    issuer = certificates.issuer(parent)
    public = request.public_key if request else key.public
    _require_same_world(public.kind, issuer)
    der = issuing.make_certificate(
        _subject(given, parent, common_name),
        _names(given, usage, common_name, request),
        public,
        issuer,
        now=begin + issuing.BACKDATED,
        days=days,
        usage=usage,
    )
    return record(der, parent, usage, key, alias=given.text("AliasName"), custom=given.text("CustomIdentifier"))


def record(
    der: bytes, parent: dict, usage: str, key: keys.PrivateKey | None, *, alias: str = "", custom: str = ""
) -> dict:
    """A certificate as the state keeps it."""
    made = ParsedCertificate(der)
    fields = {
        **certificates.describe(made),
        "Sans": json.dumps(certificates.san_list(certificates.general_names(made))),
        "CertificateType": usage.upper(),
        "ParentIdentifier": parent["fields"]["Identifier"],
        "Status": "ISSUE",
        "Days": (made.not_after - made.not_before).days,
        "UploadFlag": 0,
        **({"AliasName": alias} if alias else {}),
        **({"CustomIdentifier": custom} if custom else {}),
    }
    text = key.pem().decode() if key else None
    return {"fields": fields, "chain": chain(parent), "key": text, "revoked": None}


def _request(text: str) -> csrs.ParsedCsr:
    try:
        native = x509.load_pem_x509_csr(text.encode())
        return csrs.ParsedCsr(native.public_bytes(serialization.Encoding.DER))
    except ValueError:
        raise Refusal("InvalidParameter", "Csr is no PKCS #10 request in PEM.") from None


def _subject(given: Parameters, parent: dict, common_name: str) -> x509.Name:
    """What the request does not say is as the CA has it."""
    above = parent["fields"]
    return certificates.subject(
        CountryCode=given.text("Country", above.get("CountryCode", "")),
        **{name: given.text(name, above.get(name, "")) for name in _SUBJECT},
        CommonName=common_name,
    )


def _names(given: Parameters, usage: str, common_name: str, request: csrs.ParsedCsr | None) -> list[x509.GeneralName]:
    if usage == "server":
        written = given.several("Domain")
    else:
        kind = given.number("SanType")
        values = given.several("SanValue")
        if values and kind not in _SAN_KINDS:
            raise Refusal("InvalidParameter", f"SanType is {kind}; {sorted(_SAN_KINDS)} are supported.")
        written = [_SAN_KINDS[kind] + value for value in values]
    written += request.sans if request else ()
    try:
        return list(csrs.check(csrs.CsrSpec(common_name, sans=written)).names)
    except CertificateRefused as error:
        raise Refusal("InvalidParameter", error.findings[0].message) from None


def _validity(given: Parameters, now: datetime) -> tuple[datetime, int]:
    """When it begins, and for how many days it is valid."""
    if given.text("BeforeTime") or given.text("AfterTime"):
        for name in ("BeforeTime", "AfterTime"):
            given.required(name)
        try:
            begin, end = (datetime.fromtimestamp(given.number(name), UTC) for name in ("BeforeTime", "AfterTime"))
        except (OverflowError, ValueError, OSError):
            raise Refusal("InvalidParameter", "BeforeTime and AfterTime are seconds since 1970.") from None
        days = (end - begin) // timedelta(days=1)
    else:
        begin = now - issuing.BACKDATED
        days = given.number("Days") or given.number("Months") * 30 or given.number("Years") * 365
        if not days:
            given.required("Days")
    if not 1 <= days <= 36_500:
        raise Refusal("InvalidParameter", f"The certificate would be valid for {days} days.")
    return begin, days


def encrypted(key: str, code: str, form: str) -> str:
    """A private key under a passphrase, in PEM; `form` is ``pkcs8`` or ``traditional``, as before PKCS #8."""
    held = certificates.loaded(key)
    if form == "pkcs8" or held.kind == "SM2":
        return pem.encode("ENCRYPTED PRIVATE KEY", pbe.encrypt_pkcs8(held.pkcs8, code))
    written = serialization.PrivateFormat.TraditionalOpenSSL
    protection = serialization.BestAvailableEncryption(code.encode())
    return held.native.private_bytes(serialization.Encoding.PEM, written, protection).decode()
