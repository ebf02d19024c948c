"""Private CAs of every source: authorities, the certificates they issued, and how both are named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.errors import NotFound

#: The source whose authorities live here; their ids have no prefix.
BUILTIN = "builtin"


class AuthorityKind(StrEnum):
    """Where an authority stands in its tree."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"


class AuthorityStatus(StrEnum):
    """Whether an authority may issue. `disabled` is said of other clouds' authorities only."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    DISABLED = "disabled"


class SyncStatus(StrEnum):
    """Where a certificate of a private CA stands on its way into the inventory."""

    NOT_UPLOADED = "not_uploaded"
    SYNCING = "syncing"
    UPLOADED = "uploaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuthorityRef:
    """Which authority is meant: of which source, in which region, by which name there.

    Its text is one word that can stand in a path: the name alone for the built-in CA, else
    ``<source>.<region>.<name>``.
    """

    source: str
    region: str
    name: str

    def __str__(self) -> str:
        return self.name if self.source == BUILTIN else f"{self.source}.{self.region}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> AuthorityRef:
        """The reference that `text` is; the region of a built-in one is empty. Raises: NotFound."""
        parts = text.split(".", 2)
        if len(parts) == 1 and parts[0]:
            return cls(BUILTIN, "", text)
        if len(parts) == 3 and all(parts):
            return cls(*parts)
        raise unknown_authority(text)


def unknown_authority(text: str) -> NotFound:
    """What is said of an authority that is not there."""
    return NotFound(
        "AuthorityNotFound", f"There is no CA {text!r:.140} in this account.", "Take an id from GET /v1/pca/cas."
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What an authority may issue.

    Attributes:
        path_length: how many intermediates may follow below it; ``None`` for any number.
        permitted: domains below which all names must lie (RFC 5280, 4.2.1.10); empty for any.
        excluded: domains below which none may.
    """

    path_length: int | None = None
    permitted: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry of a revocation list; `reason` is a name of RFC 5280, 5.3.1, with underscores."""

    serial_number: int
    at: datetime
    reason: str = "unspecified"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of any source.

    Attributes:
        ref: which one it is.
        parent: text of the `ref` above it, when that is one of the same source.
        algorithm: ``RSA``, ``ECC``, ``SM2``, or what else the source says.
        certificate: its own, PEM; empty where a list does not give it.
        revoked_at: when, for `status` revoked; ``None`` when the source does not say.
        limits: what it may issue, for the built-in CA.
    """

    account_id: str
    ref: AuthorityRef
    region: str
    kind: AuthorityKind
    parent: str | None
    subject: str
    algorithm: str
    key_size: int
    serial_number: str
    not_before: datetime
    not_after: datetime
    status: AuthorityStatus
    certificate: str = ""
    revoked_at: datetime | None = None
    limits: Limits = Limits()

    @property
    def id(self) -> str:
        """The id that users see."""
        return str(self.ref)


def seen_at(authority: Authority, now: datetime, region: str) -> Authority:
    """A built-in authority as it is shown: in the service's region, with the status that it has at `now`.

    Its store knows no region and no time: what has expired is active there.
    """
    status = AuthorityStatus.ACTIVE
    if authority.revoked_at is not None:
        status = AuthorityStatus.REVOKED
    elif now > authority.not_after:
        status = AuthorityStatus.EXPIRED
    return replace(authority, region=region, status=status)


def authority_object_id(name: str) -> str:
    """Where the sealed key of a built-in authority lies, and what it is sealed under."""
    return f"ca#{name}"


def issued_object_id(certificate_id: str) -> str:
    """Where the material of a certificate of the built-in CA lies, and what its key is sealed under."""
    return f"pca#{certificate_id.rpartition('.')[2]}"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate as its CA lists it.

    Attributes:
        id: its name at the source; for the built-in CA ``<authority>.<ULID>``, elsewhere unique within the CA only.
        fingerprint: SHA-256 of its DER in hex; empty where the list does not give it.
        revoked_at: when it was revoked; ``None`` while it is not.
        has_private_key: whether the source may have its key.
    """

    id: str
    authority_id: str
    common_name: str
    sans: tuple[str, ...]
    serial_number: str
    not_before: datetime
    not_after: datetime
    fingerprint: str = ""
    algorithm: str = ""
    key_size: int = 0
    usage: str = ""
    revoked_at: datetime | None = None
    has_private_key: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """A certificate with all that its source gives away.

    Attributes:
        certificate: PEM.
        chain: PEM texts, issuer first.
        private_key: PEM; ``None`` when it cannot be had. The repr does not show it.
        key_note: why there is no key, for people; empty when there is one.
        material_id: where certificate, chain and sealed key lie already, for the built-in CA.
        has_private_key: for `material_id`, whether a key lies there.
        revoked_at: when it was revoked.
    """

    certificate: str
    chain: tuple[str, ...]
    private_key: str | None = None
    key_note: str = ""
    material_id: str | None = None
    has_private_key: bool = False
    revoked_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Fetched, {'with' if self.private_key else 'without'} key text>"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A certificate that its source does not give: why, as a stable code and for people."""

    code: str
    reason: str
