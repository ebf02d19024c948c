"""What goes over the wire for private CAs: requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from chalicelib.api.types import Answer, FindingView, PemText, Request, RiskView, StatusName

KindName = Literal["root", "intermediate"]
AlgorithmName = Literal["RSA", "ECC", "SM2"]
SyncName = Literal["not_uploaded", "syncing", "uploaded", "failed"]
#: What of it cannot stand in a certificate, a finding tells.
Text = Annotated[str, Meta(min_length=1, max_length=256)]
#: A name may be a URI of a thousand characters.
Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=1_010)]], Meta(max_length=100)]


class CaRequest(Request, kw_only=True):
    """A new CA: a root, or an intermediate below a `parent`."""

    kind: KindName
    common_name: Text
    parent: Annotated[str, Meta(min_length=1, max_length=140)] | None = None
    algorithm: AlgorithmName = "RSA"
    key_size: int | None = None
    validity_days: int | None = None
    organization: Text | None = None
    organizational_unit: Text | None = None
    country: Text | None = None
    province: Text | None = None
    locality: Text | None = None
    path_length: int | None = None
    permitted: Names = field(default_factory=list)
    excluded: Names = field(default_factory=list)


class LeafRequest(Request, kw_only=True):
    """A certificate: for a CSR (`csr`, or `csr_id` of a stored one), or for a key made here."""

    common_name: Text | None = None
    sans: Names | None = None
    validity_days: int | UnsetType = UNSET
    usage: Literal["server", "client"] = "server"
    csr: PemText | None = None
    csr_id: Annotated[str, Meta(max_length=64)] | None = None
    algorithm: AlgorithmName | None = None
    key_size: int | None = None


class RevocationRequest(Request, kw_only=True):
    """Why: a reason of RFC 5280, 5.3.1, as `key_compromise` or `superseded`."""

    reason: Annotated[str, Meta(max_length=40)] = "unspecified"


class CrlQuery(Request, kw_only=True):
    """The form of the revocation list."""

    format: Literal["der", "pem"] = "der"


class CaView(Answer, kw_only=True):
    """A CA of any source; `path_length`, `permitted` and `excluded` are told of the built-in one's only."""

    id: str
    source: str
    region: str
    kind: KindName
    parent: str | None
    subject: str
    algorithm: str
    key_size: int
    status: Literal["active", "revoked", "expired", "disabled"]
    not_before: datetime
    not_after: datetime
    serial_number: str
    revoked_at: datetime | None
    path_length: int | None
    permitted: list[str]
    excluded: list[str]
    certificate_pem: str


class IssuedView(Answer, kw_only=True):
    """A certificate as its CA has it; `sync_status` is null where it was not asked for.

    `certificate_id` is its id in the inventory, once it is there; `code` and `reason` say why it failed. What the list
    of a source does not tell is empty.
    """

    id: str
    ca: str
    common_name: str
    sans: list[str]
    status: StatusName
    sync_status: SyncName | None
    serial_number: str
    fingerprint_sha256: str
    algorithm: str
    key_size: int
    usage: str
    not_before: datetime
    not_after: datetime
    days_left: int
    revoked_at: datetime | None
    has_private_key: bool
    risks: list[RiskView]
    certificate_id: str | None
    code: str | None
    reason: str | None


class IssuedDetail(IssuedView, kw_only=True):
    """A certificate just issued, with its chain up to the root; its private key is never shown here."""

    findings: list[FindingView]
    certificate_pem: str
    chain_pem: str
