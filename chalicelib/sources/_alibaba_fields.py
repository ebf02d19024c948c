"""What Alibaba Cloud PCA tells of CAs and certificates, in our words.

What a certificate itself says goes before the fields around it, which stand in where it cannot be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from chalicelib.domain import pem
from chalicelib.domain.certificate import MalformedCertificateError, ParsedCertificate
from chalicelib.domain.errors import CerthavenError
from chalicelib.domain.pca import Authority, AuthorityKind, AuthorityRef, AuthorityStatus, IssuedCertificate

Fields = Mapping[str, Any]

#: Of the source.
ID: Final = "alibaba"
#: What `Status` is of CAs and certificates that were revoked.
REVOKED: Final = "REVOKE"
_STATUSES: Final = {"ISSUE": AuthorityStatus.ACTIVE, REVOKED: AuthorityStatus.REVOKED}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def authority(account_id: str, region: str, fields: Fields, now: datetime) -> Authority | None:
    """A CA as it stands now; ``None`` while it has no certificate."""
    own = parsed(fields.get("X509Certificate"))
    begins, ends = _dates(fields, own)
    if begins is None or ends is None:
        return None
    parent = fields.get("ParentIdentifier")
    status = _STATUSES.get(fields.get("Status", ""), AuthorityStatus.DISABLED)
    if status is AuthorityStatus.ACTIVE and now > ends:
        status = AuthorityStatus.EXPIRED
    algorithm, size = _key(fields, own)
    return Authority(
        account_id=account_id,
        ref=AuthorityRef(ID, region, fields["Identifier"]),
        region=region,
        kind=AuthorityKind.ROOT if fields.get("CertificateType") == "ROOT" else AuthorityKind.INTERMEDIATE,
        parent=str(AuthorityRef(ID, region, parent)) if parent else None,
        subject=own.subject if own else fields.get("SubjectDN") or fields.get("CommonName") or "",
        algorithm="ECC" if algorithm == "ECDSA" else algorithm,
        key_size=size,
        serial_number=own.serial_number if own else serial(fields.get("SerialNumber")),
        not_before=begins,
        not_after=ends,
        status=status,
        certificate=encoded(own) if own else "",
    )


def issued(ref: AuthorityRef, fields: Fields) -> IssuedCertificate | None:
    """A certificate of CA `ref`, whenever it was revoked; ``None`` before it is issued, without validity."""
    own = parsed(fields.get("X509Certificate"))
    begins, ends = _dates(fields, own)
    if begins is None or ends is None:
        return None
    algorithm, size = _key(fields, own)
    told = str(fields.get("Sha2") or "").replace(":", "").lower()
    return IssuedCertificate(
        id=fields["Identifier"],
        authority_id=str(ref),
        common_name=own.common_name if own else fields.get("CommonName") or "",
        sans=_sans(fields.get("Sans")) or (own.alternative_names if own else ()),
        serial_number=own.serial_number if own else serial(fields.get("SerialNumber")),
        not_before=begins,
        not_after=ends,
        fingerprint=own.fingerprint if own else told if _SHA256.fullmatch(told) else "",
        algorithm=algorithm,
        key_size=size,
        usage=str(fields.get("CertificateType") or "").lower(),
        has_private_key=True,
    )


def _sans(text: object) -> tuple[str, ...]:
    """The names of the JSON ``[{"Type": 2, "Value": "www.example.com"}]``."""
    try:
        listed = json.loads(text) if isinstance(text, str) and text else []
    except ValueError:
        return ()
    named = [one.get("Value") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return tuple(dict.fromkeys(value for value in named if isinstance(value, str) and value))


def _dates(fields: Fields, own: ParsedCertificate | None) -> tuple[datetime | None, datetime | None]:
    if own is not None:
        return own.not_before, own.not_after
    return moment(fields.get("BeforeDate")), moment(fields.get("AfterDate"))


def moment(milliseconds: object) -> datetime | None:
    """A moment from milliseconds since 1970, which some answers have as text."""
    try:
        return datetime.fromtimestamp(int(str(milliseconds)) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _key(fields: Fields, own: ParsedCertificate | None) -> tuple[str, int]:
    """Algorithm and size of a key as certificates here have them: RSA, ECDSA, SM2."""
    if own is not None:
        return own.public_key.kind, own.public_key.size
    told = str(fields.get("Algorithm") or "").upper()
    size = str(fields.get("KeySize") or "")
    return "ECDSA" if told == "ECC" else told, int(size) if size.isdecimal() else 0


def serial(text: object) -> str:
    """A serial number as `ParsedCertificate` writes it: in whole octets, without colons and leading zeros."""
    digits = str(text or "").replace(":", "").lower().lstrip("0")
    return f"0{digits}" if len(digits) % 2 else digits


def parsed(text: str | None) -> ParsedCertificate | None:
    """The first certificate of a text; ``None`` when it has none that can be read."""
    blocks = pem.certificate_blocks(text or "", "certificate").certificates
    try:
        return ParsedCertificate(blocks[0].der) if blocks else None
    except MalformedCertificateError:
        return None


def encoded(certificate: ParsedCertificate) -> str:
    """Canonical PEM."""
    return pem.encode("CERTIFICATE", certificate.der)


def chain(leaf: ParsedCertificate, text: str) -> tuple[str, ...]:
    """The other certificates of a text, each after what it issued; those that issued none of them at the end."""
    found: dict[bytes, ParsedCertificate | None] = {}
    for block in pem.certificate_blocks(text, "chain").certificates:
        if block.der != leaf.der:
            found[block.der] = parsed(pem.encode("CERTIFICATE", block.der))
    ordered: list[bytes] = []
    below = leaf
    while True:
        above = next(
            (c for der, c in found.items() if c is not None and der not in ordered and below.issued_by_name(c)), None
        )
        if above is None:
            return tuple(pem.encode("CERTIFICATE", der) for der in dict.fromkeys([*ordered, *found]))
        ordered.append(above.der)
        below = above


def private_key(text: str, passphrase: str, leaf: ParsedCertificate) -> str | None:
    """The private key of `leaf` in an encrypted PEM text, as PEM under no passphrase; ``None`` when it has none."""
    from chalicelib.domain import contents, keys

    try:
        held = contents.read_pem(text, passphrase).keys
    except CerthavenError:
        return None
    return next((key.pem().decode() for key in held if keys.matches(key, leaf.public_key)), None)
