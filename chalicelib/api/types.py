"""What goes over the wire: requests and answers. They check requests and make the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

T = TypeVar("T")

#: Longest PEM text of one field, in characters; a leaf with ten intermediates and a root is under 40,000.
MAX_PEM = 262_144

#: Without control characters, not of spaces alone, and not like the names of synchronised certificates.
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        pattern=r"^(?!.*~[0-9a-z]{10}$)[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
        description="The ending ~ and ten characters is kept for certificates synchronised from a private CA.",
    ),
]
PemText = Annotated[str, Meta(max_length=MAX_PEM)]
TagKey = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f=]*$")]
TagValue = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tags = Annotated[dict[TagKey, TagValue], Meta(max_length=50)]
ResourceGroup = Annotated[str, Meta(max_length=63, pattern=r"^[^\x00-\x1f\x7f]*$")]
SourceName = Literal["upload", "pca", "official", "shared"]
StatusName = Literal["issued", "to_be_renewed", "expired", "revoked"]
RoleName = Literal["viewer", "manager", "admin", "operator"]
SiteName = Literal["international", "china"]


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request body or query; a field it does not know is refused, since it is most often a typing error."""


class Answer(Struct, kw_only=True):
    """An answer."""


class FindingView(Answer, kw_only=True):
    """One problem of a certificate, and what to do about it."""

    code: str
    severity: Literal["error", "warning"]
    message: str
    hint: str
    param: str


class ErrorBody(Answer, kw_only=True, omit_defaults=True):
    """Why a request was refused; `remaining` and `required` are units, where it was for want of them."""

    code: str
    message: str
    hint: str
    findings: list[FindingView]
    request_id: str
    remaining: int | UnsetType = UNSET
    required: int | UnsetType = UNSET


class ErrorAnswer(Answer, kw_only=True):
    """The shape of every refusal."""

    error: ErrorBody


class RiskView(Answer, kw_only=True):
    """A lasting risk of a certificate."""

    code: str
    message: str
    hint: str


class CertificateView(Answer, kw_only=True):
    """A certificate, as lists show it; `domains` holds the first fifty."""

    id: str
    name: str
    source: SourceName
    status: StatusName
    domains: list[str]
    domains_total: int
    algorithm: str
    key_size: int
    subject: str
    issuer: str
    serial_number: str
    fingerprint_sha256: str
    not_before: datetime
    not_after: datetime
    days_left: int
    risks: list[RiskView]
    resource_group: str
    tags: dict[str, str]
    notifications: bool
    has_private_key: bool
    created_at: datetime
    updated_at: datetime
    replaces: str | None
    replaced_by: str | None
    auto_renew: bool
    renewal_problem: str | None


class ChainLink(Answer, kw_only=True):
    """One certificate of the chain above the leaf."""

    subject: str
    issuer: str
    serial_number: str
    fingerprint_sha256: str
    algorithm: str
    key_size: int
    not_before: datetime
    not_after: datetime
    self_signed: bool


class DeploymentView(Answer, kw_only=True):
    """Where a certificate serves."""

    product: str
    region: str
    resource_id: str
    state: str


class CertificateDetail(CertificateView, kw_only=True):
    """A certificate with its chain, findings and deployments; `domains` holds all."""

    chain: list[ChainLink]
    findings: list[FindingView]
    deployments: list[DeploymentView]
    certificate_pem: str
    chain_pem: str
    encryption_certificate_pem: str | None


class ParsedView(Answer, kw_only=True):
    """What a certificate says, before it is stored."""

    domains: list[str]
    algorithm: str
    key_size: int
    subject: str
    issuer: str
    serial_number: str
    fingerprint_sha256: str
    not_before: datetime
    not_after: datetime
    days_left: int
    status: StatusName
    has_private_key: bool
    chain: list[ChainLink]


class ParseAnswer(Answer, kw_only=True):
    """What an upload would see and say."""

    certificate: ParsedView | None
    suggested_name: str | None
    findings: list[FindingView]


class Listing(Answer, Generic[T], kw_only=True):
    """Some items, and the cursor of the next page (`null` on the last one)."""

    items: list[T]
    next_cursor: str | None


class Texts(Request, kw_only=True):
    """A certificate with its key and chain, PEM text each."""

    certificate: PemText | None = None
    private_key: PemText | None = None
    chain: PemText | None = None
    csr_id: Annotated[str, Meta(max_length=64)] | None = None
    encryption_certificate: PemText | None = None
    encryption_private_key: PemText | None = None


class RenewalRequest(Texts, kw_only=True):
    """The replacement; an empty object asks the source to issue anew, and what is left out is taken over."""

    name: Name | None = None
    resource_group: ResourceGroup | None = None
    tags: Tags | None = None
    notifications: bool | None = None


class ParseRequest(Texts, kw_only=True):
    """The same body as an upload, every part optional."""

    name: Name | None = None
    resource_group: ResourceGroup = ""
    tags: Tags = msgspec.field(default_factory=dict)
    notifications: bool = False


class UploadRequest(ParseRequest, kw_only=True):
    """What is to be uploaded, and what the caller says about it."""

    certificate: PemText


class CertificatePatch(Request, kw_only=True):
    """What of a certificate can be changed; what is left out stays."""

    name: Name | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    resource_group: ResourceGroup | UnsetType = UNSET
    notifications: bool | UnsetType = UNSET
    auto_renew: bool | UnsetType = UNSET


Limit = Annotated[int, Meta(ge=1, le=100)]
Cursor = Annotated[str, Meta(max_length=2048)]


class PageQuery(Request, kw_only=True):
    """How much, and from where on."""

    limit: Limit = 20
    cursor: Cursor | None = None


class CertificateFilterFields(Request, kw_only=True):
    """What certificates are narrowed to."""

    source: SourceName | None = None
    status: StatusName | None = None
    domain: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    q: Annotated[str, Meta(max_length=128)] | None = None
    tag: Annotated[str, Meta(min_length=1, max_length=385)] | None = None
    resource_group: ResourceGroup | None = None
    notifications: bool | None = None
    deployed: bool | None = None
    expires_before: Annotated[datetime, Meta(tz=True)] | None = None


class CertificateQuery(CertificateFilterFields, kw_only=True):
    """What a list of certificates is narrowed to, how much of it, and from where on."""

    limit: Limit = 20
    cursor: Cursor | None = None


class DeleteQuery(Request, kw_only=True):
    """The name typed again, since deleting cannot be undone."""

    confirm: Annotated[str, Meta(max_length=63)] | None = None


class DownloadQuery(Request, kw_only=True):
    """The format of the file."""

    format: Literal["pem", "pfx", "jks"] = "pem"


class EmptyQuery(Request, kw_only=True):
    """No query parameters."""


class ConversionRequest(Request, kw_only=True):
    """A conversion: `input` is PEM text, or base64 of a binary file."""

    source_format: Literal["pem", "der", "pfx", "p12", "jks", "pkcs7", "p7b", "pkcs8"] = msgspec.field(name="from")
    target_format: Literal["pem", "der", "pfx", "p12", "jks", "pkcs7", "p7b", "pkcs8"] = msgspec.field(name="to")
    input: Annotated[str, Meta(min_length=1, max_length=700_000)]
    passphrase: Annotated[str, Meta(max_length=1024)] | None = None
    output_passphrase: Annotated[str, Meta(max_length=1024)] | None = None


class ConversionAnswer(Answer, kw_only=True):
    """The converted file: PEM text as it is, binary formats in base64."""

    format: str
    encoding: Literal["text", "base64"]
    output: str
    file_name: str
    contents: list[str]


class CsrRequest(Request, kw_only=True):
    """Make a CSR (algorithm and common name), or store one (`csr`)."""

    name: Name | None = None
    algorithm: Literal["RSA", "ECC", "SM2"] | None = None
    key_size: int | None = None
    common_name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    sans: Annotated[list[Annotated[str, Meta(min_length=1, max_length=253)]], Meta(max_length=100)] | None = None
    organization: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    organizational_unit: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$")] | None = None
    province: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    locality: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    csr: PemText | None = None
    private_key: PemText | None = None


class CsrView(Answer, kw_only=True):
    """A CSR; its private key is never shown."""

    id: str
    name: str
    common_name: str
    sans: list[str]
    algorithm: str
    key_size: int
    subject: str
    public_key_sha256: str
    has_private_key: bool
    csr: str
    created_at: datetime


class EntityView(Answer, kw_only=True):
    """The legal person an account belongs to."""

    id: str
    kind: Literal["individual", "enterprise"]
    verified: bool


class AccountView(Answer, kw_only=True):
    """An account."""

    id: str
    name: str
    site: SiteName
    entity: EntityView
    created_at: datetime


class NewAccountView(AccountView, kw_only=True):
    """A new account with an admin's token, shown this once."""

    token: str


class MeView(Answer, kw_only=True):
    """Who the token is."""

    account: AccountView
    role: RoleName
    token_id: str


EntityId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class EntityRequest(Request, kw_only=True):
    """The entity of a new account; it starts unverified unless said otherwise."""

    id: EntityId
    kind: Literal["individual", "enterprise"]
    verified: bool = False


class EntityPatch(Request, kw_only=True):
    """What of an entity can be changed."""

    id: EntityId | UnsetType = UNSET
    kind: Literal["individual", "enterprise"] | UnsetType = UNSET
    verified: bool | UnsetType = UNSET


class AccountRequest(Request, kw_only=True):
    """A new account."""

    name: Name
    site: SiteName
    entity: EntityRequest


class AccountPatch(Request, kw_only=True):
    """What of an account can be changed; what is left out stays."""

    name: Name | UnsetType = UNSET
    site: SiteName | UnsetType = UNSET
    entity: EntityPatch | UnsetType = UNSET


class TokenRequest(Request, kw_only=True):
    """A new access token."""

    name: Name
    role: RoleName
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] = 365


class AdminTokenRequest(Request, kw_only=True):
    """A new admin's token of another account."""

    name: Name


class TokenView(Answer, kw_only=True):
    """An access token as it is kept; the token itself is not."""

    id: str
    name: str
    role: RoleName
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewTokenView(TokenView, kw_only=True):
    """A new token, shown this once."""

    token: str


class AuditView(Answer, kw_only=True):
    """One line of the audit trail."""

    id: str
    at: datetime
    actor: str
    role: str
    action: str
    target: str
    source_ip: str
    request_id: str
    result: str
    detail: dict[str, str]


class HealthView(Answer, kw_only=True):
    """The service answers."""

    status: Literal["ok"]
    stage: str
