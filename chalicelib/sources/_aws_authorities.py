"""The CAs of one region as AWS Private CA lists them, put into a tree.

Source: https://docs.aws.amazon.com/privateca/latest/APIReference/API_CertificateAuthority.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.x509.oid import NameOID

from chalicelib.domain import pem
from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate
from chalicelib.domain.pca import Authority, AuthorityKind, AuthorityRef, AuthorityStatus
from chalicelib.sources._aws_report import serial_hex

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_acm_pca.type_defs import CertificateAuthorityTypeDef

ID: Final = "aws"
#: Most CAs that ListCertificateAuthorities gives at once, whatever is asked for.
MOST_LISTED: Final = 100
#: Longest token of AWS that goes into a cursor: API Gateway takes 10,240 bytes of request line and headers.
LONGEST_TOKEN: Final = 4096
#: CAs of other states have no certificate yet (CREATING, PENDING_CERTIFICATE), or never will (FAILED): left out.
#: A deleted one can be restored for 7 to 30 days, and what it issued is still in use.
_STATUSES: Final[Mapping[str, AuthorityStatus]] = {
    "ACTIVE": AuthorityStatus.ACTIVE,
    "DISABLED": AuthorityStatus.DISABLED,
    "EXPIRED": AuthorityStatus.EXPIRED,
    "DELETED": AuthorityStatus.DISABLED,
}
_ALGORITHMS: Final[Mapping[str, tuple[str, int]]] = {
    "RSA_2048": ("RSA", 2048),
    "RSA_3072": ("RSA", 3072),
    "RSA_4096": ("RSA", 4096),
    "EC_prime256v1": ("ECC", 256),
    "EC_secp384r1": ("ECC", 384),
    "EC_secp521r1": ("ECC", 521),
    "SM2": ("SM2", 256),
}
_SUBJECT: Final = {
    "Country": NameOID.COUNTRY_NAME,
    "State": NameOID.STATE_OR_PROVINCE_NAME,
    "Locality": NameOID.LOCALITY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "SerialNumber": NameOID.SERIAL_NUMBER,
    "CommonName": NameOID.COMMON_NAME,
}


class Tree:
    """The CAs of a region while one call is answered: each is asked for its certificate at most once."""

    def __init__(self, pca: ACMPCAClient, account_id: str) -> None:
        self._pca = pca
        self._account_id = account_id
        self._listed: dict[str, CertificateAuthorityTypeDef] = {}
        self._complete = False
        self._certificates: dict[str, ParsedCertificate | None] = {}

    def page(self, limit: int, token: str | None) -> tuple[list[CertificateAuthorityTypeDef], str | None]:
        """Some CAs and AWS's token for going on; one too long for a cursor is followed at once."""
        found: list[CertificateAuthorityTypeDef] = []
        while True:
            more: Any = {"NextToken": token} if token else {}
            answer = self._pca.list_certificate_authorities(MaxResults=limit, **more)
            found += answer["CertificateAuthorities"]
            token = answer.get("NextToken")
            if not token or len(token) <= LONGEST_TOKEN:
                break
        self._listed.update({one["Arn"]: one for one in found})
        return found, token

    def authority(self, listed: CertificateAuthorityTypeDef) -> Authority | None:
        """What is known of a CA; ``None`` while it has no certificate."""
        status = _STATUSES.get(listed.get("Status", ""))
        begins, ends = listed.get("NotBefore"), listed.get("NotAfter")
        if status is None or begins is None or ends is None:
            return None
        ref = reference(listed["Arn"])
        own = self._certificate(listed)
        configuration = listed["CertificateAuthorityConfiguration"]
        key = configuration["KeyAlgorithm"]
        algorithm, size = _ALGORITHMS.get(key, (key.replace("_", "-"), 0))
        return Authority(
            account_id=self._account_id,
            ref=ref,
            region=ref.region,
            kind=AuthorityKind.ROOT if listed["Type"] == "ROOT" else AuthorityKind.INTERMEDIATE,
            parent=self._parent(own),
            subject=own.subject if own else _subject(configuration["Subject"]),
            algorithm=algorithm,
            key_size=size,
            serial_number=own.serial_number if own else serial_hex(listed.get("Serial", "")),
            not_before=begins.astimezone(UTC),
            not_after=ends.astimezone(UTC),
            status=status,
            certificate=pem.encode("CERTIFICATE", own.der) if own else "",
        )

    def _certificate(self, listed: CertificateAuthorityTypeDef) -> ParsedCertificate | None:
        arn = listed["Arn"]
        if arn not in self._certificates:
            readable = listed.get("Status") in _STATUSES and listed.get("Status") != "DELETED"
            self._certificates[arn] = self._ask(arn) if readable else None
        return self._certificates[arn]

    def _ask(self, arn: str) -> ParsedCertificate | None:
        try:
            answer = self._pca.get_certificate_authority_certificate(CertificateAuthorityArn=arn)
            blocks = pem.certificate_blocks(answer["Certificate"], "certificate").certificates
            return ParsedCertificate(blocks[0].der) if blocks else None
        except MalformedCertificateError:
            return None
        except ClientError as error:
            # It was deleted or disabled since it was listed.
            if error_code(error) not in {"InvalidStateException", "ResourceNotFoundException"}:
                raise
            return None

    def _parent(self, own: ParsedCertificate | None) -> str | None:
        """The CA of this region that issued `own`: by its subject, and its key made the signature.

        Only those are asked for their certificates whose configured name does not say that they are others.
        """
        if own is None or own.is_self_issued:
            return None
        names = {str(a.value) for a in own.issuer_name if a.oid.dotted_string == "2.5.4.3"}
        for listed in self._all():
            name = listed["CertificateAuthorityConfiguration"]["Subject"].get("CommonName")
            issuer = self._certificate(listed) if not name or name in names else None
            if issuer is not None and own.issued_by_name(issuer) and _signed(own, issuer):
                return str(reference(listed["Arn"]))
        return None

    def _all(self) -> Iterator[CertificateAuthorityTypeDef]:
        """Those at hand, then the others of the region, which are listed once."""
        known = dict(self._listed)
        yield from known.values()
        if not self._complete:
            pages = self._pca.get_paginator("list_certificate_authorities").paginate()
            self._listed.update({one["Arn"]: one for page in pages for one in page["CertificateAuthorities"]})
            self._complete = True
        yield from [one for arn, one in self._listed.items() if arn not in known]


def reference(arn: str) -> AuthorityRef:
    """The reference of the CA that has this ARN."""
    _, _, _, region, owner, name = arn.split(":", 5)
    return AuthorityRef(ID, region, f"{owner}.{name.removeprefix('certificate-authority/')}")


def error_code(error: ClientError) -> str:
    """What AWS calls its refusal."""
    return error.response["Error"].get("Code", "")


def _subject(given: Mapping[str, Any]) -> str:
    """A configured subject as RFC 4514 writes it, where there is no certificate to take it from."""
    own = [(x509.ObjectIdentifier(a["ObjectIdentifier"]), a["Value"]) for a in given.get("CustomAttributes", ())]
    named = [(oid, given[kind]) for kind, oid in _SUBJECT.items() if given.get(kind)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in own + named]).rfc4514_string()


def _signed(certificate: ParsedCertificate, issuer: ParsedCertificate) -> bool:
    try:
        return certificate.signed_by(issuer)
    except MalformedCertificateError:
        return False
