"""Certificates of Certificate Management Service: version 2020-04-07."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import ClassVar

from cryptography.hazmat.primitives import hashes

from chalicelib.domain import csr as csrs
from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import CertificateRefused
from tests.support.alibaba import certificates
from tests.support.alibaba.protocol import Parameters, Refusal, not_found, page
from tests.support.alibaba.state import State

PAGE = 50
MAX_NAME = 63
_SUBJECT = {"OrgName": "Organization", "Country": "CountryCode", "Province": "State", "City": "Locality"}


class Cas:
    """Uploaded and bought certificates, and signing requests.

    Args:
        state: that it keeps everything in.
        clock: gives the time that validities are seen at, aware UTC.
    """

    version = "2020-04-07"

    def __init__(self, state: State, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._clock = clock
        self.actions = {
            "UploadUserCertificate": self.upload,
            "GetUserCertificateDetail": self.detail,
            "ListUserCertificateOrder": self.orders,
            "DeleteUserCertificate": self.delete,
            "CreateCsr": self.create_csr,
            "ListCsr": self.csrs,
        }

    def upload(self, given: Parameters) -> dict:
        """UploadUserCertificate"""
        name = given.required("Name")
        if len(name) > MAX_NAME:
            raise Refusal("InvalidParameter", f"Name has {len(name)} characters; {MAX_NAME} are allowed.")
        if any(record["name"] == name for record in self._state["uploads"].values()):
            raise Refusal("NameRepeat", f"There is a certificate of the name {name!r:.80}.")
        fields = ("Cert", "Key")
        if not given.text("Cert") and given.text("SignCert"):
            fields = ("SignCert", "SignPrivateKey", "EncryptCert", "EncryptPrivateKey")
        material = {field: given.required(field) for field in fields}
        self._check(material, fields)
        number = self._state.next_number()
        kept = {"id": number, "name": name, "material": material, "uploaded": True, "tags": given.tags()}
        kept["group"] = given.text("ResourceGroupId")
        self._state["uploads"][str(number)] = kept
        return {"CertId": number, "ResourceId": f"cas-upload-{number}"}

    def _check(self, material: Mapping[str, str], fields: tuple[str, ...]) -> None:
        for certificate_field, key_field in zip(fields[::2], fields[1::2], strict=True):
            path = certificates.parsed(material[certificate_field])
            if not keys.matches(certificates.loaded(material[key_field]), path[0].public_key):
                raise Refusal("InvalidParameter", f"{key_field} does not belong to {certificate_field}.")
            if path[0].not_after <= self._clock():
                raise Refusal("CertificateExpired", "The certificate has expired.")
            if not all(one.signed_by(above) for one, above in pairwise(path)):
                raise Refusal("CertificateChainNotMatch", "A certificate of the chain did not sign the one before it.")

    def _find(self, given: Parameters) -> dict:
        number = given.required("CertId")
        if str(given.number("CertId")) not in self._state["uploads"]:
            raise not_found("certificate", number)
        return self._state["uploads"][number]

    def delete(self, given: Parameters) -> dict:
        """DeleteUserCertificate"""
        del self._state["uploads"][str(self._find(given)["id"])]
        return {}

    def detail(self, given: Parameters) -> dict:
        """GetUserCertificateDetail"""
        record = self._find(given)
        path = _path(record)
        leaf = path[0]
        answer = {
            **self._told(record, leaf),
            "Id": record["id"],
            "Common": leaf.common_name,
            "BuyInAliyun": not record["uploaded"],
            "CertIdentifier": f"{record['id']}-cn-hangzhou",
            "Algorithm": certificates.describe(leaf)["Algorithm"],
            "NotBefore": certificates.milliseconds(leaf.not_before),
            "NotAfter": certificates.milliseconds(leaf.not_after),
            "Tags": record["tags"],
            "CertChain": [self._link(certificate) for certificate in path],
        }
        return answer if given.flag("CertFilter") else {**answer, **record["material"]}

    def _link(self, certificate: ParsedCertificate) -> dict:
        return {
            "CommonName": certificate.common_name,
            "IssuerCommonName": certificates.attribute(certificate.issuer_name, "CommonName"),
            "NotBefore": certificates.milliseconds(certificate.not_before),
            "NotAfter": certificates.milliseconds(certificate.not_after),
            "RemainDay": max(0, (certificate.not_after - self._clock()).days),
        }

    def _told(self, record: dict, leaf: ParsedCertificate) -> dict:
        """What list and detail have in common."""
        subject = {field: certificates.attribute(leaf.subject_name, name) for field, name in _SUBJECT.items()}
        return {
            "Name": record["name"],
            "Sans": ",".join(leaf.alternative_names),
            "Issuer": certificates.attribute(leaf.issuer_name, "CommonName"),
            "SerialNo": leaf.serial_number,
            "Fingerprint": leaf.x509.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - what the field holds
            "Sha2": leaf.fingerprint.upper(),
            "StartDate": f"{leaf.not_before:%Y-%m-%d}",
            "EndDate": f"{leaf.not_after:%Y-%m-%d}",
            "Expired": leaf.not_after <= self._clock(),
            "InstanceId": f"cas-{'upload' if record['uploaded'] else 'ivauto'}-{record['id']}",
            "ResourceGroupId": record.get("group") or "rg-default",
            **{field: value for field, value in subject.items() if value},
        }

    _LISTS: ClassVar = {"UPLOAD", "CERT", "CPACK", "BUY"}

    def orders(self, given: Parameters) -> dict:
        """ListUserCertificateOrder: of orders (CPACK, BUY), or of certificates (CERT: all, UPLOAD: uploaded ones)."""
        kind = given.text("OrderType", "CPACK")
        if kind not in self._LISTS:
            raise Refusal("InvalidParameter", f"OrderType is {kind!r:.40}; {', '.join(sorted(self._LISTS))} are there.")
        found = self._certificates(kind) if kind in {"CERT", "UPLOAD"} else self._orders(kind)
        wanted, word, group = given.text("Status"), given.text("Keyword"), given.text("ResourceGroupId")
        shown = [
            fields
            for status, fields in found
            if wanted in {"", status}
            and word in f"{fields.get('Sans', fields.get('Domain', ''))} {fields['InstanceId']}"
            and group in {"", fields["ResourceGroupId"]}
        ]
        items, fields = page(shown, given, PAGE)
        return {**fields, "CertificateOrderList": items}

    def _certificates(self, kind: str) -> list[tuple[str, dict]]:
        found = []
        for record in reversed(self._state["uploads"].values()):
            if record["uploaded"] or kind == "CERT":
                leaf = _path(record)[0]
                fields = {
                    **self._told(record, leaf),
                    "CertificateId": record["id"],
                    "CommonName": leaf.common_name,
                    "Upload": record["uploaded"],
                }
                found.append((self._validity(leaf), fields))
        return found

    def _validity(self, leaf: ParsedCertificate) -> str:
        days = (leaf.not_after - self._clock()).total_seconds() / 86_400
        return "EXPIRED" if days <= 0 else "WILLEXPIRED" if days <= 30 else "ISSUED"

    def _orders(self, kind: str) -> list[tuple[str, dict]]:
        return [(one["Status"], one) for one in self._state["orders"].values() if one["SourceType"].upper() == kind]

    def create_csr(self, given: Parameters) -> dict:
        """CreateCsr"""
        for field in ("Algorithm", "CommonName", "CountryCode", "KeySize", "Locality", "Province"):
            given.required(field)
        spec = csrs.CsrSpec(
            given.text("CommonName"),
            given.text("Algorithm"),
            given.number("KeySize"),
            given.several("Sans"),
            given.text("CorpName") or None,
            given.text("Department") or None,
            given.text("CountryCode"),
            given.text("Province"),
            given.text("Locality"),
        )
        try:
            checked = csrs.check(spec)
        except CertificateRefused as error:
            raise Refusal("InvalidParameter", error.findings[0].message) from None
        key = keys.generate(checked.algorithm, checked.key_size)
        text = pem.encode("CERTIFICATE REQUEST", csrs.make(checked, key))
        number = self._state.next_number()
        told = ("Algorithm", "CommonName", "CorpName", "CountryCode", "Department", "Locality", "Province", "Sans")
        fields = {
            "CsrId": number,
            "Name": given.text("Name", f"csr-{number}"),
            "KeySize": checked.key_size,
            "KeySha2": key.public_fingerprint,
            "HasPrivateKey": True,
            **{field: given.text(field) for field in told if given.text(field)},
        }
        self._state["csrs"][str(number)] = {"fields": fields, "csr": text, "key": key.pem().decode()}
        return {"CsrId": number, "Csr": text}

    def csrs(self, given: Parameters) -> dict:
        """ListCsr"""
        word, algorithm = given.text("KeyWord"), given.text("Algorithm")
        found = [
            record["fields"]
            for record in reversed(self._state["csrs"].values())
            if word in record["fields"]["CommonName"] and algorithm in {"", record["fields"]["Algorithm"]}
        ]
        items, fields = page(found, given, PAGE)
        return {**fields, "CsrList": items}


def _path(record: dict) -> list[ParsedCertificate]:
    """The certificates of an upload, the leaf first; of an SM2 pair the signing one."""
    return certificates.parsed(record["material"].get("Cert") or record["material"]["SignCert"])


def order(number: int, domain: str, status: str, bought: datetime) -> dict:
    """An order of the state, as ListUserCertificateOrder gives it."""
    return {
        "OrderId": number,
        "AliyunOrderId": 200_000_000_000 + number,
        "InstanceId": f"cas-ivauto-{number}",
        "SourceType": "cpack",
        "Status": status,
        "Domain": domain,
        "DomainCount": 1,
        "DomainType": "ONE",
        "WildDomainCount": 0,
        "CertType": "DV",
        "ProductCode": "digicert-free-1-free",
        "ProductName": "DigiCert DV",
        "RootBrand": "DigiCert",
        "Algorithm": "RSA",
        "TrusteeStatus": "unTrustee",
        "BuyDate": certificates.milliseconds(bought.astimezone(UTC)),
        "ResourceGroupId": "rg-default",
    }
