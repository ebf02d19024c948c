"""Certificate signing requests (PKCS #10, RFC 2986): making them, and reading and judging given ones."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID, PublicKeyAlgorithmOID

from chalicelib.domain import ber, der, keys, naming, policy, signatures, sm2
from chalicelib.domain.certificate import (
    BROKEN_HASHES,
    UNREADABLE,
    PublicKey,
    describe_public_key,
    describe_sm2_point,
    printable,
)
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.findings import Finding, error
from chalicelib.domain.keys import PrivateKey

#: Upper bounds of X.520 as RFC 5280, appendix A, has them, in characters.
MAX_COMMON_NAME: Final = 64
MAX_ORGANIZATION: Final = 64
MAX_PLACE: Final = 128
#: A host name has at most 253 characters (RFC 1035, 2.3.4, without the root's label).
MAX_HOST: Final = 253
#: Longest of the other kinds of names.
MAX_NAME: Final = 1000
MAX_SANS: Final = 100

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_MAIL_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[!-~]+")
_PREFIX: Final = re.compile(r"\s*(DNS|IP|IP Address|email|URI)\s*:\s*(?!//)(.*)", re.IGNORECASE | re.DOTALL)


class MalformedCsrError(ValueError):
    """A CSR, or a part of it, cannot be read. The text names the part."""


@dataclass(frozen=True, slots=True)
class CsrSpec:
    """What a new CSR is to say.

    Attributes:
        common_name: of the subject; added to the SANs when it is a host or an IP address.
        algorithm: RSA, ECC or SM2.
        key_size: in bits; ``None`` for the usual one.
        sans: host names, wildcards, IP addresses, mail addresses and URIs, as people write them, perhaps with
            OpenSSL's prefixes (``DNS:``, ``IP:``, ``email:``, ``URI:``).
        name: what it is called in the list; made of the common name when absent.
    """

    common_name: str
    algorithm: str = "RSA"
    key_size: int | None = None
    sans: Sequence[str] = ()
    organization: str | None = None
    organizational_unit: str | None = None
    country: str | None = None
    province: str | None = None
    locality: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CheckedSpec:
    """A specification that can be carried out: key size, subject and alternative names."""

    algorithm: str
    key_size: int
    subject: x509.Name
    names: tuple[x509.GeneralName, ...]


class WrongFieldError(Exception):
    """What is wrong with one field, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def check(spec: CsrSpec) -> CheckedSpec:
    """Check every field.

    Raises:
        CertificateRefused: a `CsrFieldIncorrect` finding for every field that cannot stand in a certificate.
    """
    findings: list[Finding] = []
    size = spec.key_size
    sizes = keys.SIZES.get(spec.algorithm, ())
    if not sizes:
        message = f"The algorithm is {_quoted(spec.algorithm)}; {', '.join(keys.SIZES)} are supported."
        findings.append(_incorrect(message, "Choose one of these.", "algorithm"))
    elif size is not None and size not in sizes:
        message = f"The key size is {size}; {spec.algorithm} has {', '.join(map(str, sizes))}."
        findings.append(_incorrect(message, "Choose one of these, or leave it out.", "key_size"))
    subject, common_name = _subject(spec, findings)
    names = _names(spec, common_name, findings)
    if findings:
        raise CertificateRefused(findings)
    return CheckedSpec(spec.algorithm, size or sizes[0], x509.Name(subject), names)


def _incorrect(message: str, hint: str, param: str) -> Finding:
    return error("CsrFieldIncorrect", message, hint, param)


def _quoted(text: str) -> str:
    return f"“{printable(text, 60)}”"


def _subject(spec: CsrSpec, findings: list[Finding]) -> tuple[list[x509.NameAttribute[str]], str]:
    """The attributes of the subject, outermost first, and the common name as it will stand there."""
    common_name = _ascii_host(spec.common_name) or spec.common_name.strip()
    fields = (
        ("country", NameOID.COUNTRY_NAME, (spec.country or "").upper(), 2),
        ("province", NameOID.STATE_OR_PROVINCE_NAME, spec.province or "", MAX_PLACE),
        ("locality", NameOID.LOCALITY_NAME, spec.locality or "", MAX_PLACE),
        ("organization", NameOID.ORGANIZATION_NAME, spec.organization or "", MAX_ORGANIZATION),
        ("organizational_unit", NameOID.ORGANIZATIONAL_UNIT_NAME, spec.organizational_unit or "", MAX_ORGANIZATION),
        ("common_name", NameOID.COMMON_NAME, common_name, MAX_COMMON_NAME),
    )
    attributes = []
    for param, oid, value, limit in fields:
        text = value.strip()
        try:
            if text or param == "common_name":
                _check_attribute(param, text, limit)
                attributes.append(x509.NameAttribute(oid, text))
        except WrongFieldError as wrong:
            findings.append(_incorrect(wrong.message, wrong.hint, param))
    return attributes, common_name


def _check_attribute(param: str, text: str, limit: int) -> None:
    what = param.replace("_", " ")
    if not text:
        raise WrongFieldError(f"The {what} is empty.", "Name the host or the organisation that the certificate is for.")
    if not text.isprintable():
        raise WrongFieldError(
            f"The {what} {_quoted(text)} holds line breaks or other characters that are not printed.",
            "Type it anew, on one line.",
        )
    if param == "country" and not re.fullmatch(r"[A-Z]{2}", text):
        raise WrongFieldError(
            f"The country {_quoted(text)} is no code of two letters.", "Write for example CN, DE or US."
        )
    # The library holds the common name to the limit in octets.
    length = len(text.encode()) if param == "common_name" else len(text)
    if length > limit:
        hint = "Put a long host name into `sans`, and a short name here." if param == "common_name" else "Shorten it."
        unit = "octets in UTF-8" if length != len(text) else "characters"
        raise WrongFieldError(f"The {what} has {length} {unit}; at most {limit} are allowed.", hint)


def _names(spec: CsrSpec, common_name: str, findings: list[Finding]) -> tuple[x509.GeneralName, ...]:
    """The alternative names, the common name first if it is one, without doubles."""
    if len(spec.sans) > MAX_SANS:
        message = f"There are {len(spec.sans)} alternative names; at most {MAX_SANS} are taken."
        findings.append(_incorrect(message, "Ask for several certificates.", "sans"))
        return ()
    names: list[x509.GeneralName] = []
    if _ascii_host(common_name):
        names.append(_host_or_address(common_name))
    for number, text in enumerate(spec.sans):
        try:
            names.append(general_name(text))
        except WrongFieldError as wrong:
            findings.append(_incorrect(f"Alternative name {number + 1}: {wrong.message}", wrong.hint, "sans"))
    return tuple(dict.fromkeys(names))


def _ascii_host(text: str) -> str:
    """The common name as a host name of several labels or an IP address; empty when it is neither."""
    try:
        name = _host_or_address(text.strip()) if len(text) <= MAX_HOST else None
    except WrongFieldError:
        return ""
    if isinstance(name, x509.IPAddress):
        return str(name.value)
    return name.value if isinstance(name, x509.DNSName) and "." in name.value else ""


def general_name(text: str) -> x509.GeneralName:
    """An alternative name out of what somebody wrote. Raises: WrongFieldError."""
    prefixed = _PREFIX.fullmatch(text[: MAX_NAME + 20])
    kind, rest = (prefixed[1].lower(), prefixed[2]) if prefixed else ("", text)
    rest = rest.strip()
    if not rest:
        raise WrongFieldError("it is empty.", "Leave it out.")
    if len(rest) > MAX_NAME or not rest.isprintable() or " " in rest:
        what = f"has {len(text)} characters" if len(rest) > MAX_NAME else "holds spaces or line breaks"
        raise WrongFieldError(f"{_quoted(rest)} {what}.", "Write one name per entry, without spaces.")
    if kind == "uri" or (not kind and ("://" in rest or rest.lower().startswith("urn:"))):
        if not _URI.fullmatch(rest):
            raise WrongFieldError(
                f"{_quoted(rest)} is no URI in ASCII.", "Write for example spiffe://example.org/service."
            )
        return x509.UniformResourceIdentifier(rest)
    if kind == "email" or (not kind and "@" in rest):
        return _mail(rest)
    return _host_or_address(rest)


def _mail(text: str) -> x509.RFC822Name:
    local, _, domain = text.rpartition("@")
    host = naming.to_ascii_domain(domain) if len(domain) <= MAX_HOST else ""
    if not _MAIL_LOCAL.fullmatch(local) or len(local) > 64 or not _is_host(host):
        raise WrongFieldError(f"{_quoted(text)} is no mail address.", "Write for example info@example.com.")
    return x509.RFC822Name(f"{local}@{host}")


def _host_or_address(text: str) -> x509.DNSName | x509.IPAddress:
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        if "%" not in address:
            return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        pass
    host = naming.to_ascii_domain(text) if len(text) <= MAX_HOST else ""
    if not _is_host(host.removeprefix("*.")) or len(host) > MAX_HOST or (host[:2] == "*." and "." not in host[2:]):
        raise WrongFieldError(
            f"{_quoted(text)} is no host name, wildcard or IP address.",
            "A host name has labels of letters, digits and hyphens, 63 characters each and 253 together; a wildcard "
            "is *. before a domain, as in *.example.com.",
        )
    return x509.DNSName(host)


def _is_host(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= MAX_HOST and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def make(spec: CheckedSpec, key: PrivateKey) -> bytes:
    """The CSR in DER, signed with the key that it asks a certificate for.

    The hash has the strength of the curve; SM2 signs with SM3 and the default identity (GM/T 0009).
    """
    if isinstance(key.native, int):
        return sm2.create_csr(key.native, spec.subject, spec.names)
    builder = x509.CertificateSigningRequestBuilder().subject_name(spec.subject)
    if spec.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(spec.names), critical=False)
    stronger = {"P-384": hashes.SHA384(), "P-521": hashes.SHA512()}
    digest = cast("hashes.SHA256", stronger.get(key.curve, hashes.SHA256()))
    return builder.sign(key.native, digest).public_bytes(Encoding.DER)


class ParsedCsr:
    """A CSR whose subject, key and extensions have all been read without error."""

    def __init__(self, content: bytes) -> None:
        """Read a CSR in DER.

        Raises:
            MalformedCsrError: it is none, or a part of it cannot be read.
        """
        self.der = content
        part = "the request"
        try:
            with warnings.catch_warnings():
                # Names longer than allowed are the CA's business, and no reason to write to a log.
                warnings.simplefilter("ignore")
                self.x509 = x509.load_der_x509_csr(content)
                part = "the subject"
                self.subject_name = self.x509.subject
                part = "the extensions"
                self._extensions = self.x509.extensions
            part = "the public key"
            self.public_key = self._read_public_key()
            part = "the signature algorithm"
            self._hash = self._read_hash()
        except UNREADABLE:
            raise MalformedCsrError(f"{part} cannot be read") from None

    def __repr__(self) -> str:
        return f"<ParsedCsr {self.label}>"

    def _read_public_key(self) -> PublicKey:
        spki = sm2.csr_spki(self.der)
        oid = ber.read(spki).child(0, der.SEQUENCE).child(0).oid()
        try:
            native = self.x509.public_key()
        except (UnsupportedAlgorithm, ValueError):
            if point := sm2.spki_point(spki):
                return describe_sm2_point(point)
            return PublicKey(f"algorithm {oid}", 0, "", None, spki)
        return describe_public_key(native, pss=oid == PublicKeyAlgorithmOID.RSASSA_PSS.dotted_string)

    def _read_hash(self) -> hashes.HashAlgorithm | None:
        try:
            return self.x509.signature_hash_algorithm
        except UnsupportedAlgorithm:
            return None

    @cached_property
    def common_name(self) -> str:
        """The subject's last common name, or empty."""
        names = self.subject_name.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[-1].value) if names else ""

    @cached_property
    def subject(self) -> str:
        """The subject as RFC 4514 writes it."""
        return self.subject_name.rfc4514_string()

    @cached_property
    def sans(self) -> tuple[str, ...]:
        """The alternative names that have a text form: hosts, addresses, mail addresses and URIs."""
        try:
            found = self._extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        except x509.ExtensionNotFound:
            return ()
        shown = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
        names = found if isinstance(found, x509.SubjectAlternativeName) else ()
        return tuple(dict.fromkeys(str(n.value) for n in names if isinstance(n, shown)))

    @property
    def label(self) -> str:
        """How messages name it."""
        text = self.common_name or next(iter(self.sans), "") or self.subject
        return f"the request for {_quoted(text)}" if text else "the request without a subject"

    def findings(self, param: str) -> Iterator[Finding]:
        """What refuses it: a weak or unsupported key, a broken hash, a signature that is not its own key's."""
        yield from policy.key_findings(self, param)
        name = self._hash.name if self._hash else ""
        if name in BROKEN_HASHES:
            yield error(
                "WeakSignature",
                f"T{self.label[1:]} is signed with {name.upper()}, which is broken; SHA-256 or better is wanted.",
                "Make the request anew with the same key: `openssl req -new -sha256 -key private.key`.",
                param,
            )
        elif not self.is_signed_by_its_key:
            yield error(
                "CsrSignatureIncorrect",
                f"T{self.label[1:]} is not signed by the key that it names: it was changed or damaged, or signed in a "
                f"way that is not known here (algorithm {self.x509.signature_algorithm_oid.dotted_string}).",
                "Make the request anew, for example with `openssl req -new -sha256`, and send it whole.",
                param,
            )

    @cached_property
    def is_signed_by_its_key(self) -> bool:
        """Whether the signature proves that the requester has the private key (RFC 2986, 3, note 2)."""
        key = self.public_key.native
        return key is not None and signatures.holds(self.x509, self.x509.tbs_certrequest_bytes, key)
