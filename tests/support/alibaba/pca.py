"""Private CAs: version 2020-06-30 of Certificate Management Service."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from tests.support.alibaba import certificates, issue
from tests.support.alibaba.protocol import Parameters, Refusal, not_found, page, page_count
from tests.support.alibaba.state import State

PAGE = 20
#: The longest passphrase for a private key, in octets.
MAX_ENCRYPTED_CODE = 32
_PASSPHRASE = re.compile(r"[\x21-\x7e]+")
#: Fields that are told in detail only, or of lists only.
_DETAIL_ONLY = {"UploadFlag", "CertChain", "FullAlgorithm"}


class Pca:
    """Authorities, what they issued, and the private keys that were made here.

    Args:
        state: that it keeps everything in.
        clock: gives the time that certificates are issued and revoked at, aware UTC.
    """

    version = "2020-06-30"

    def __init__(self, state: State, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._clock = clock
        #: ``pkcs8`` or ``traditional``: how encrypted keys are written (OpenSSL reads both).
        self.key_form = "pkcs8"
        self.actions = {
            "DescribeCACertificateList": self.authorities,
            "DescribeCACertificate": self.authority,
            "UpdateCACertificateStatus": self.revoke_authority,
            "CreateRootCACertificate": self.create_root,
            "CreateSubCACertificate": self.create_intermediate,
            "ListClientCertificate": self.issued,
            "DescribeClientCertificate": self.describe,
            "DescribeClientCertificateStatus": self.statuses,
            "DescribeCertificatePrivateKey": self.private_key,
            "CreateServerCertificate": lambda given: self.create(given, "server"),
            "CreateClientCertificate": lambda given: self.create(given, "client"),
            "CreateServerCertificateWithCsr": lambda given: self.create(given, "server", given.required("Csr")),
            "CreateClientCertificateWithCsr": lambda given: self.create(given, "client", given.required("Csr")),
            "CreateRevokeClientCertificate": self.revoke,
            "ListRevokeCertificate": self.revoked,
            "UploadPcaCertToCas": self.copy_to_cas,
        }

    def authorities(self, given: Parameters) -> dict:
        """DescribeCACertificateList"""
        found = [record["fields"] for record in self._state["authorities"].values()]
        wanted_type = {"root": "ROOT", "subRoot": "SUB_ROOT", "externalCa": "EXTERNAL"}.get(given.text("CertType"))
        wanted_status = {"issue": "ISSUE", "revoke": "REVOKE", "forbidden": "FORBIDDEN"}.get(given.text("CaStatus"))
        now = certificates.milliseconds(self._clock())
        valid = {"valid": True, "notValid": False}.get(given.text("ValidStatus"))
        shown = [
            fields
            for fields in found
            if wanted_type in {None, fields["CertificateType"]}
            and wanted_status in {None, fields["Status"]}
            and valid in {None, fields["AfterDate"] > now}
            and given.text("Identifier") in {"", fields["Identifier"]}
        ]
        items, fields = page(shown, given, PAGE)
        return {**fields, **page_count(fields), "CertificateList": items}

    def authority(self, given: Parameters) -> dict:
        """DescribeCACertificate"""
        record = self.find_authority(given.required("Identifier"))
        fields = record["fields"]
        count = sum(one["fields"]["ParentIdentifier"] == fields["Identifier"] for one in self._issued())
        told = {k: v for k, v in fields.items() if k not in {"Alias", "Gift", "Trial"}}
        more = {
            "FullAlgorithm": certificates.full_algorithm(fields),
            "CaCertChain": record["chain"],
            "CertIssuedCount": count,
            "IssuerType": "local",
        }
        return {"Certificate": {**told, **more}}

    def revoke_authority(self, given: Parameters) -> dict:
        """UpdateCACertificateStatus"""
        record = self.find_authority(given.required("Identifier"))
        if given.required("Status") != "REVOKE" or record["fields"]["Status"] != "ISSUE":
            raise Refusal("InvalidParameter", "Status can be REVOKE only, and only of a CA that is ISSUE.")
        record["fields"]["Status"] = "REVOKE"
        return {}

    def create_root(self, given: Parameters) -> dict:
        """CreateRootCACertificate"""
        return self._add_authority(issue.authority(given, None, self._clock()))

    def create_intermediate(self, given: Parameters) -> dict:
        """CreateSubCACertificate"""
        parent = self._usable(given.required("ParentIdentifier"))
        return self._add_authority(issue.authority(given, parent, self._clock()))

    def _add_authority(self, record: dict) -> dict:
        identifier = self._state.new_identifier()
        record["fields"]["Identifier"] = identifier
        self._state["authorities"][identifier] = record
        certificate = record["fields"]["X509Certificate"]
        return {"Identifier": identifier, "Certificate": certificate, "CertificateChain": record["chain"]}

    def find_authority(self, identifier: str) -> dict:
        if identifier not in self._state["authorities"]:
            raise not_found("CA certificate", identifier)
        return self._state["authorities"][identifier]

    def _usable(self, identifier: str) -> dict:
        record = self.find_authority(identifier)
        if record["fields"]["Status"] != "ISSUE":
            raise Refusal("InvalidParameter", f"The CA {identifier} is revoked.")
        return record

    def create(self, given: Parameters, usage: str, csr: str = "") -> dict:
        """Create{Server,Client}Certificate, with or without a CSR: with one, no key is known here."""
        parent = self._usable(given.required("ParentIdentifier"))
        if parent["fields"]["CertificateType"] != "SUB_ROOT":
            raise Refusal("InvalidParameter", "A root CA issues CAs only; take a SUB_ROOT as ParentIdentifier.")
        record = issue.leaf(given, parent, self._clock(), usage, csr)
        return self.add(record, given.number("Immediately"))

    def add(self, record: dict, immediately: int = 0) -> dict:
        """Take up what `issue.leaf` made; the answer holds as much of it as `immediately` says."""
        fields = record["fields"]
        fields["Id"], fields["Identifier"] = self._state.next_number(), self._state.new_identifier()
        self._state["issued"][fields["Identifier"]] = record
        answer = {name: fields[name] for name in ("Identifier", "SerialNumber")}
        if immediately >= 1:
            answer["X509Certificate"] = fields["X509Certificate"]
        if immediately >= 2:
            answer["CertificateChain"] = record["chain"]
        return answer

    def _issued(self) -> list[dict]:
        """All, the newest first: a certificate that is made while somebody turns pages moves the others."""
        return list(reversed(self._state["issued"].values()))

    def find(self, identifier: str) -> dict:
        if identifier not in self._state["issued"]:
            raise not_found("certificate", identifier)
        return self._state["issued"][identifier]

    def issued(self, given: Parameters) -> dict:
        """ListClientCertificate; its Identifier is that of a CA, or of one certificate."""
        wanted = given.text("Identifier")
        found = [
            record["fields"]
            for record in self._issued()
            if wanted in {"", record["fields"]["ParentIdentifier"], record["fields"]["Identifier"]}
        ]
        items, fields = page(found, given, PAGE)
        listed = [{k: v for k, v in item.items() if k not in _DETAIL_ONLY} for item in items]
        return {**fields, **page_count(fields), "CertificateList": listed}

    def describe(self, given: Parameters) -> dict:
        """DescribeClientCertificate"""
        record = self.find(given.required("Identifier"))
        fields = record["fields"]
        more = {"CertChain": record["chain"], "FullAlgorithm": certificates.full_algorithm(fields)}
        return {"Certificate": {**fields, **more}}

    def statuses(self, given: Parameters) -> dict:
        """DescribeClientCertificateStatus"""
        given.required("Identifier")
        return {"CertificateStatus": [self._status(identifier) for identifier in given.several("Identifier")]}

    def _status(self, identifier: str) -> dict:
        record = self._state["issued"].get(identifier)
        if record is None:
            return {"Status": "unknown"}
        told = {"SerialNumber": record["fields"]["SerialNumber"]}
        if record["revoked"] is None:
            return {**told, "Status": "good"}
        return {**told, "Status": "revoked", "RevokeTime": record["revoked"]}

    def private_key(self, given: Parameters) -> dict:
        """DescribeCertificatePrivateKey"""
        record = self.find(given.required("Identifier"))
        code = given.required("EncryptedCode")
        if len(code.encode()) > MAX_ENCRYPTED_CODE or not _PASSPHRASE.fullmatch(code):
            raise Refusal("InvalidParameter", f"EncryptedCode has at most {MAX_ENCRYPTED_CODE} printable characters.")
        if record["key"] is None:
            raise Refusal("NotFound", "The private key does not exist: the certificate was issued for a CSR.")
        return {"EncryptedData": issue.encrypted(record["key"], code, self.key_form)}

    def revoke(self, given: Parameters) -> dict:
        """CreateRevokeClientCertificate"""
        record = self.find(given.required("Identifier"))
        if record["revoked"] is not None:
            raise Refusal("InvalidParameter", "The certificate has been revoked already.")
        record["fields"]["Status"] = "REVOKE"
        record["revoked"] = certificates.milliseconds(self._clock())
        return {}

    def revoked(self, given: Parameters) -> dict:
        """ListRevokeCertificate; its dates are text, and its fields fewer than elsewhere."""
        found = [record for record in self._issued() if record["revoked"] is not None]
        items, fields = page(found, given, PAGE)
        left_out = {*_DETAIL_ONLY, "X509Certificate", "Id", "AliasName", "Days", "BeforeDate", "AfterDate"}
        listed = [
            {
                **{k: v for k, v in record["fields"].items() if k not in left_out},
                "BeforeDate": _day(record["fields"]["BeforeDate"]),
                "AfterDate": _day(record["fields"]["AfterDate"]),
                "RevokeDate": _day(record["revoked"]),
            }
            for record in items
        ]
        return {**fields, **page_count(fields), "CertificateList": listed}

    def copy_to_cas(self, given: Parameters) -> dict:
        """UploadPcaCertToCas; its Ids are the numeric ones. Here the copies are there at once."""
        given.required("Ids")
        known = {str(record["fields"]["Id"]): record for record in self._state["issued"].values()}
        chosen = given.several("Ids")
        if missing := [number for number in chosen if number not in known]:
            raise not_found("certificate", missing[0])
        for number in chosen:
            record = known[number]
            record["fields"]["UploadFlag"] = 1
            self._state["uploads"].setdefault(number, _copy(number, record))
        return {}


def _copy(number: str, record: dict) -> dict:
    text = record["fields"]["X509Certificate"]
    name = f"pca-{record['fields']['SerialNumber']}"
    material = {"Cert": text + record["chain"], "Key": record["key"] or ""}
    return {"id": int(number), "name": name, "material": material, "uploaded": False, "tags": []}


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}T00:00Z"
