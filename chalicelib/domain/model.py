"""The values of the service: what a certificate, an account, a token, a CSR and an audit event are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Generic, TypeVar

from ulid import ULID

from chalicelib.domain.findings import Finding

T = TypeVar("T")


class Source(StrEnum):
    """Where a certificate came from."""

    UPLOAD = "upload"
    PCA = "pca"
    OFFICIAL = "official"
    SHARED = "shared"


class Status(StrEnum):
    """Where a certificate stands in its life; always derived from the clock, never stored."""

    ISSUED = "issued"
    TO_BE_RENEWED = "to_be_renewed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class PendingKind(StrEnum):
    """What may be left to do about a certificate; see `chalicelib.domain.pending`."""

    NOTIFICATION_DISABLED = "notification_disabled"
    NOT_DEPLOYED = "not_deployed"
    PENDING_RENEWAL = "pending_renewal"
    RISK = "risk"


class Site(StrEnum):
    """The Alibaba Cloud site an account belongs to."""

    INTERNATIONAL = "international"
    CHINA = "china"


class Role(IntEnum):
    """What a caller may do. Each includes the ones before it; the operator stands outside."""

    VIEWER = 1
    MANAGER = 2
    ADMIN = 3
    OPERATOR = 9

    @property
    def label(self) -> str:
        """The name used in requests and answers."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Entity:
    """The legal person an account belongs to. `kind` is ``individual`` or ``enterprise``."""

    id: str
    kind: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. `id` has 16 digits."""

    id: str
    name: str
    site: Site
    entity: Entity
    created_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class Token:
    """An access token as it is kept: its SHA-256 `digest`, never the token itself."""

    id: str
    account_id: str
    digest: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from where, in which request."""

    account_id: str
    role: Role
    token_id: str
    source_ip: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit trail: who, what, on what, from where, when, with what result.

    `id` is a ULID, so that events sort by time. `result` is ``ok`` or an error code.
    `detail` holds small facts (names, formats, counts), never key or token text.
    """

    id: str
    account_id: str
    at: datetime
    actor: str
    role: str
    action: str
    target: str
    source_ip: str
    request_id: str
    result: str = "ok"
    detail: Mapping[str, str] = field(default_factory=dict)


def certificate_id(not_after: datetime, fingerprint: str) -> str:
    """The id of a certificate: a ULID of which the moment is its expiry, and the chance part is its fingerprint's.

    So ids sort by expiry, and an account cannot hold one certificate twice.

    Args:
        not_after: end of its validity, aware.
        fingerprint: SHA-256 of its DER, in hex.
    """
    return position_of(not_after) + str(ULID.from_bytes(bytes(6) + bytes.fromhex(fingerprint[:20])))[10:]


def position_of(moment: datetime) -> str:
    """Where the ids of certificates that expire at a moment begin."""
    milliseconds = max(0, int(moment.timestamp()) * 1000)
    return str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + bytes(10)))[:10]


def expiry_of(position: str) -> datetime:
    """When the certificate with an id, or a position in a list of them, expires; in UTC, to the second."""
    return datetime.fromtimestamp(int.from_bytes(ULID.from_str(f"{position:0<26.26}").bytes[:6], "big") // 1000, UTC)


#: How many domains the slim record of a certificate holds.
MAX_LISTED_DOMAINS = 50


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What a sealed key is bound to: associated data of the cipher and KMS encryption context."""

    account_id: str
    object_id: str
    fingerprint: str

    def as_mapping(self) -> dict[str, str]:
        """The context as KMS takes it."""
        return {
            "account_id": self.account_id,
            "object_id": self.object_id,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Certificate:
    """The slim record of a certificate: all that lists, filters and reminders need.

    `domains` holds at most `MAX_LISTED_DOMAINS`; `domains_total` says how many there are.
    `id` is its `certificate_id`. `risks` are codes of the catalogue in `chalicelib.domain.findings`.
    `version` grows with every change and guards writes. It starts at the moment of upload, in milliseconds since
    1970, and so grows over deletion and another upload of the same certificate too.
    `origin` names the event that made it (a dropped object's version), so that a repeat is known.
    `auto_renew` is whether its CA is to renew it in time; `renewal_problem` is the code of what stood in the way.
    `material_id` is where its material lies when that belongs to the built-in CA, which keeps it; ``None`` for its own.
    """

    id: str
    account_id: str
    name: str
    source: Source
    domains: tuple[str, ...]
    domains_total: int
    algorithm: str
    key_size: int
    subject: str
    issuer: str
    serial_number: str
    fingerprint: str
    public_key_fingerprint: str
    not_before: datetime
    not_after: datetime
    risks: tuple[str, ...]
    resource_group: str
    tags: Mapping[str, str]
    notifications: bool
    has_private_key: bool
    created_at: datetime
    updated_at: datetime
    created_by: str
    version: int = 1
    revoked_at: datetime | None = None
    deployed: bool = False
    replaces: str | None = None
    replaced_by: str | None = None
    origin: str | None = None
    material_id: str | None = None
    auto_renew: bool = False
    renewal_problem: str | None = None

    @property
    def key_context(self) -> KeyContext:
        """What the certificate's keys are sealed under."""
        return KeyContext(self.account_id, self.material_id or self.id, self.fingerprint)


@dataclass(frozen=True, slots=True)
class SealedKeys:
    """Private keys under envelope encryption: one data key, one AES-256-GCM box per key.

    `data_key` is the data key encrypted by KMS; `boxes` maps a key's name (``signing``,
    ``encryption``) to nonce and ciphertext in one.
    """

    kms_key_id: str
    data_key: bytes
    boxes: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Material:
    """The heavy part of a certificate, kept apart from its slim record.

    `chain` is issuer first, the root last when it was given. PEM texts end with a newline.
    """

    certificate: str
    chain: tuple[str, ...]
    encryption_certificate: str | None
    keys: SealedKeys | None
    findings: tuple[Finding, ...]
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Csr:
    """A certificate signing request and the facts shown of it."""

    id: str
    account_id: str
    name: str
    common_name: str
    sans: tuple[str, ...]
    algorithm: str
    key_size: int
    subject: str
    public_key_fingerprint: str
    pem: str
    has_private_key: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and where to go on; `cursor` is ``None`` on the last page."""

    items: tuple[T, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class CertificateFilter:
    """What a list is narrowed to; ``None`` means any.

    `domain` is exact, or ``*.suffix`` for every name below a suffix. `tag` is ``k`` or ``k=v``.
    `q` is looked for, without regard to case, in name, domains, issuer, serial and fingerprint.
    `pending` is a kind of pending item that a certificate is.
    """

    source: Source | None = None
    status: Status | None = None
    domain: str | None = None
    q: str | None = None
    tag: str | None = None
    resource_group: str | None = None
    notifications: bool | None = None
    deployed: bool | None = None
    expires_before: datetime | None = None
    pending: PendingKind | None = None
