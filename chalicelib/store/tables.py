"""The tables, as PynamoDB models. `infra/template.yaml` creates them; a test holds the two together.

Every table is read by its keys or by an index, never scanned. Names begin with a prefix that `bind` sets once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    TTLAttribute,
    UnicodeAttribute,
    UTCDateTimeAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import DeleteError, DoesNotExist, PutError, UpdateError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, LocalSecondaryIndex
from pynamodb.models import Model

RowT = TypeVar("RowT", bound=Model)

#: Longest sort key that DynamoDB takes, in bytes; no key of ours comes near.
MAX_KEY: Final = 1024
#: Largest item that DynamoDB takes, in bytes.
MAX_ITEM: Final = 409_600


def _texts(*, null: bool = False) -> ListAttribute[Any]:
    """A list of texts; PynamoDB's own type would say that it holds attributes."""
    return ListAttribute(of=UnicodeAttribute, null=null)


class CertificateRow(Model):
    """The slim record of a certificate, about 1 KB. Ids sort by expiry, so the table itself is the list."""

    class Meta:
        table_name = "certificates"

    account_id = UnicodeAttribute(hash_key=True)
    certificate_id = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute()
    source = UnicodeAttribute()
    domains = _texts()
    domains_total = NumberAttribute()
    algorithm = UnicodeAttribute()
    key_size = NumberAttribute()
    subject = UnicodeAttribute()
    issuer = UnicodeAttribute()
    serial_number = UnicodeAttribute()
    fingerprint = UnicodeAttribute()
    public_key_fingerprint = UnicodeAttribute()
    not_before = UTCDateTimeAttribute()
    not_after = UTCDateTimeAttribute()
    risks = _texts()
    resource_group = UnicodeAttribute()
    tags = JSONAttribute()
    notifications = BooleanAttribute()
    has_private_key = BooleanAttribute()
    created_at = UTCDateTimeAttribute()
    updated_at = UTCDateTimeAttribute()
    created_by = UnicodeAttribute()
    version = NumberAttribute()
    revoked_at = UTCDateTimeAttribute(null=True)
    deployed = BooleanAttribute()
    replaces = UnicodeAttribute(null=True)
    replaced_by = UnicodeAttribute(null=True)
    origin = UnicodeAttribute(null=True)
    material_id = UnicodeAttribute(null=True)
    auto_renew = BooleanAttribute(null=True)
    renewal_problem = UnicodeAttribute(null=True)


class MaterialRow(Model):
    """PEM texts and sealed keys of a certificate, or the sealed key of a CSR."""

    class Meta:
        table_name = "materials"

    account_id = UnicodeAttribute(hash_key=True)
    object_id = UnicodeAttribute(range_key=True)
    certificate = UnicodeAttribute(null=True)
    chain = _texts(null=True)
    encryption_certificate = UnicodeAttribute(null=True)
    domains = _texts(null=True)
    findings = JSONAttribute(null=True)
    kms_key_id = UnicodeAttribute(null=True)
    data_key = BinaryAttribute(legacy_encoding=False, null=True)
    signing_box = BinaryAttribute(legacy_encoding=False, null=True)
    encryption_box = BinaryAttribute(legacy_encoding=False, null=True)


class UniqueRow(Model):
    """Which certificate of an account has a name."""

    class Meta:
        table_name = "uniques"

    account_id = UnicodeAttribute(hash_key=True)
    claim = UnicodeAttribute(range_key=True)
    certificate_id = UnicodeAttribute()


class TermRow(Model):
    """One entry of the inverted index behind the list filters: a superset of the truth.

    `version` is that of the record that wrote it, so that a late removal spares a newer entry. Entries for the scan
    also tell the certificate's lifetime, and since when it is watched (seconds, the latter from 1970).
    """

    class Meta:
        table_name = "terms"

    partition = UnicodeAttribute(hash_key=True)
    position = UnicodeAttribute(range_key=True)
    version = NumberAttribute()
    lifetime = NumberAttribute(null=True)
    since = NumberAttribute(null=True)


class ByPublicKey(LocalSecondaryIndex["CsrRow"]):  # type: ignore[no-untyped-call] # PynamoDB's __init_subclass__
    """Requests of an account by the fingerprint of their public key."""

    class Meta:
        index_name = "by-public-key"
        projection = AllProjection()

    account_id = UnicodeAttribute(hash_key=True)
    public_key = UnicodeAttribute(range_key=True)


class CsrRow(Model):
    """A certificate signing request; its key lies in the materials."""

    class Meta:
        table_name = "csrs"

    account_id = UnicodeAttribute(hash_key=True)
    csr_id = UnicodeAttribute(range_key=True)
    by_public_key = ByPublicKey()
    public_key = UnicodeAttribute()
    name = UnicodeAttribute()
    common_name = UnicodeAttribute()
    sans = _texts()
    algorithm = UnicodeAttribute()
    key_size = NumberAttribute()
    subject = UnicodeAttribute()
    pem = UnicodeAttribute()
    has_private_key = BooleanAttribute()
    created_at = UTCDateTimeAttribute()


class AccountRow(Model):
    """A tenant. All lie in one partition, so that the operator's list is a query."""

    class Meta:
        table_name = "accounts"

    partition = UnicodeAttribute(hash_key=True)
    account_id = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute()
    site = UnicodeAttribute()
    entity_id = UnicodeAttribute()
    entity_kind = UnicodeAttribute()
    entity_verified = BooleanAttribute()
    created_at = UTCDateTimeAttribute()
    version = NumberAttribute()


class ByAccount(GlobalSecondaryIndex["TokenRow"]):  # type: ignore[no-untyped-call] # as above
    """Tokens of an account by id, which sorts by time."""

    class Meta:
        index_name = "by-account"
        projection = AllProjection()

    account_id = UnicodeAttribute(hash_key=True)
    token_id = UnicodeAttribute(range_key=True)


class TokenRow(Model):
    """An access token by the SHA-256 of its text."""

    class Meta:
        table_name = "tokens"

    digest = UnicodeAttribute(hash_key=True)
    by_account = ByAccount()
    account_id = UnicodeAttribute()
    token_id = UnicodeAttribute()
    name = UnicodeAttribute()
    role = UnicodeAttribute()
    created_at = UTCDateTimeAttribute()
    expires_at = UTCDateTimeAttribute()
    last_used_at = UTCDateTimeAttribute(null=True)
    revoked_at = UTCDateTimeAttribute(null=True)


class AuditRow(Model):
    """One line of the audit trail."""

    class Meta:
        table_name = "audit"

    account_id = UnicodeAttribute(hash_key=True)
    event_id = UnicodeAttribute(range_key=True)
    at = UTCDateTimeAttribute()
    actor = UnicodeAttribute()
    role = UnicodeAttribute()
    action = UnicodeAttribute()
    target = UnicodeAttribute()
    source_ip = UnicodeAttribute()
    request_id = UnicodeAttribute()
    result = UnicodeAttribute()
    detail = JSONAttribute()


class AuthorityRow(Model):
    """An authority of the built-in CA; its key lies in the materials."""

    class Meta:
        table_name = "authorities"

    account_id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute(range_key=True)
    kind = UnicodeAttribute()
    parent = UnicodeAttribute(null=True)
    subject = UnicodeAttribute()
    algorithm = UnicodeAttribute()
    key_size = NumberAttribute()
    serial_number = UnicodeAttribute()
    not_before = UTCDateTimeAttribute()
    not_after = UTCDateTimeAttribute()
    certificate = UnicodeAttribute()
    revoked_at = UTCDateTimeAttribute(null=True)
    path_length = NumberAttribute(null=True)
    permitted = _texts()
    excluded = _texts()
    crl_number = NumberAttribute(null=True)


class IssuedRow(Model):
    """What an authority issued, by its ULID; or, under ``revoked#`` and a serial number, that it revoked it."""

    class Meta:
        table_name = "issued"

    authority = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    common_name = UnicodeAttribute(null=True)
    sans = _texts(null=True)
    serial_number = UnicodeAttribute()
    not_before = UTCDateTimeAttribute(null=True)
    not_after = UTCDateTimeAttribute(null=True)
    fingerprint = UnicodeAttribute(null=True)
    algorithm = UnicodeAttribute(null=True)
    key_size = NumberAttribute(null=True)
    usage = UnicodeAttribute(null=True)
    has_private_key = BooleanAttribute(null=True)
    revoked_at = UTCDateTimeAttribute(null=True)
    reason = UnicodeAttribute(null=True)


class SyncRow(Model):
    """A job of synchronisation, a part of one, a schedule, or what is known of a certificate; `item` says which.

    DynamoDB deletes jobs and their parts after `expires_at`.
    The partition is the account; or ``active``, or ``schedules``, for what is looked for in all accounts.
    """

    class Meta:
        table_name = "syncs"

    partition = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    account_id = UnicodeAttribute(null=True)
    job_id = UnicodeAttribute(null=True)
    source = UnicodeAttribute(null=True)
    region = UnicodeAttribute(null=True)
    ca = UnicodeAttribute(null=True)
    selected = BooleanAttribute(null=True)
    started_by = UnicodeAttribute(null=True)
    created_at = UTCDateTimeAttribute(null=True)
    updated_at = UTCDateTimeAttribute(null=True)
    planned = BooleanAttribute(null=True)
    step = NumberAttribute(null=True)
    cursor = UnicodeAttribute(null=True)
    total = NumberAttribute(null=True)
    chunks = NumberAttribute(null=True)
    chunks_done = NumberAttribute(null=True)
    uploaded = NumberAttribute(null=True)
    skipped = NumberAttribute(null=True)
    failed = NumberAttribute(null=True)
    code = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(null=True)
    wanted = BinaryAttribute(legacy_encoding=False, null=True)
    results = BinaryAttribute(legacy_encoding=False, null=True)
    certificate_id = UnicodeAttribute(null=True)
    every_hours = NumberAttribute(null=True)
    due_at = UTCDateTimeAttribute(null=True)
    last_job = UnicodeAttribute(null=True)
    void_since = UTCDateTimeAttribute(null=True)
    expires_at = TTLAttribute(null=True)


class ScanRow(Model):
    """A run of the scan, an account's part of one, a bundle of reminders, an outbox, or an entry of the ledger.

    The partition is the account, with ``#`` and the contact for the ledger; or ``runs``, or ``open``, for what is
    looked for in all accounts. `item` says which it is. DynamoDB deletes what has an `expires_at` after it.
    """

    class Meta:
        table_name = "scans"

    partition = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    account_id = UnicodeAttribute(null=True)
    contact_id = UnicodeAttribute(null=True)
    run_id = UnicodeAttribute(null=True)
    at = UTCDateTimeAttribute(null=True)
    updated_at = UTCDateTimeAttribute(null=True)
    done_at = UTCDateTimeAttribute(null=True)
    until = UTCDateTimeAttribute(null=True)
    planned = BooleanAttribute(null=True)
    cursor = UnicodeAttribute(null=True)
    accounts = NumberAttribute(null=True)
    accounts_done = NumberAttribute(null=True)
    notices = NumberAttribute(null=True)
    sent = NumberAttribute(null=True)
    held = NumberAttribute(null=True)
    failed = NumberAttribute(null=True)
    made_up = NumberAttribute(null=True)
    problem = UnicodeAttribute(null=True)
    bundle = UnicodeAttribute(null=True)
    reminders = BinaryAttribute(legacy_encoding=False, null=True)
    sent_to = _texts(null=True)
    last = UnicodeAttribute(null=True)
    failed_at = UTCDateTimeAttribute(null=True)
    leased_until = UTCDateTimeAttribute(null=True)
    expires_at = TTLAttribute(null=True)


class ContactRow(Model):
    """A contact, how many there are, or the policy of reminders; `item` says which.

    `states` has what is known of each channel, by its id: changed by itself, while the rest has versions.
    """

    class Meta:
        table_name = "contacts"

    account_id = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute(null=True)
    channels = JSONAttribute(null=True)
    states: MapAttribute[str, Any] = MapAttribute(null=True)  # type: ignore[no-untyped-call] # PynamoDB's own
    time_zone = UnicodeAttribute(null=True)
    hours = JSONAttribute(null=True)
    kms_key_id = UnicodeAttribute(null=True)
    data_key = BinaryAttribute(legacy_encoding=False, null=True)
    boxes = JSONAttribute(null=True)
    created_at = UTCDateTimeAttribute(null=True)
    updated_at = UTCDateTimeAttribute(null=True)
    version = NumberAttribute(null=True)
    held = NumberAttribute(null=True)
    days = JSONAttribute(null=True)
    fractions = JSONAttribute(null=True)
    renew_redeploys = BooleanAttribute(null=True)


class SummaryRow(Model):
    """Counters of an account's inventory, a change that is not yet in them, or a week of them; `item` says which.

    What is counted lies compressed in `content`; `version` is that of the counters it belongs to.
    """

    class Meta:
        table_name = "summary"

    account_id = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    content = BinaryAttribute(legacy_encoding=False, null=True)
    version = NumberAttribute(null=True)
    generation = UnicodeAttribute(null=True)
    until = UTCDateTimeAttribute(null=True)


class QuotaRow(Model):
    """Units of an account's notification quota, a reservation of many, or a purchase; `item` says which.

    `balance` is what was bought less what is taken: below zero while free units are. Purchases that wait, and
    reservations, lie a second time under ``purchases`` and ``reservations`` in place of an account.
    """

    class Meta:
        table_name = "quotas"

    account_id = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    balance = NumberAttribute(null=True)
    bought = NumberAttribute(null=True)
    open = NumberAttribute(null=True)
    units = NumberAttribute(null=True)
    certificate_ids = _texts(null=True)
    caller = JSONAttribute(null=True)
    state = UnicodeAttribute(null=True)
    owner = UnicodeAttribute(null=True)
    made_at = UTCDateTimeAttribute(null=True)
    made_by = UnicodeAttribute(null=True)
    closed_at = UTCDateTimeAttribute(null=True)
    closed_by = UnicodeAttribute(null=True)


class IdempotencyRow(Model):
    """The answer first given under an Idempotency-Key; DynamoDB deletes it after `expires_at`."""

    class Meta:
        table_name = "idempotency"

    claim = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute()
    request_digest = UnicodeAttribute()
    claimed_at = UTCDateTimeAttribute()
    expires_at = TTLAttribute()
    status = NumberAttribute(null=True)
    body = BinaryAttribute(legacy_encoding=False, null=True)


TABLES: tuple[type[Model], ...] = (
    CertificateRow,
    MaterialRow,
    UniqueRow,
    TermRow,
    CsrRow,
    AccountRow,
    TokenRow,
    AuditRow,
    IdempotencyRow,
    AuthorityRow,
    IssuedRow,
    SyncRow,
    ScanRow,
    ContactRow,
    SummaryRow,
    QuotaRow,
)
_NAMES = {model: model.Meta.table_name for model in TABLES}


def bind(prefix: str, region: str) -> None:
    """Name the tables and their region; for wiring, once per process.

    PynamoDB would build a client (50 ms) for each model and each transaction: all share one connection here.
    The endpoint comes from the environment, as botocore reads it.
    """
    shared = Connection(region=region, connect_timeout_seconds=2, read_timeout_seconds=8, max_pool_connections=4)
    for model, name in _NAMES.items():
        model.Meta.table_name = prefix + name
        model.Meta.region = region
        model._connection = None  # noqa: SLF001 - PynamoDB has no public way to share a connection
        table = model._get_connection()  # noqa: SLF001
        shared.add_meta_table(table.get_meta_table())
        table.connection = shared


def connection() -> Connection:
    """The connection that all tables share."""
    return CertificateRow._get_connection().connection  # noqa: SLF001 - as above


def name_of(model: type[Model]) -> str:
    """The table's name without prefix."""
    return _NAMES[model]


def read(model: type[RowT], hash_key: str, range_key: str | None = None) -> RowT | None:
    """The row with this key, strongly consistent: 1 read unit for each begun 4 KB.

    A key that no row can have (empty, too long, not Unicode) finds nothing, where DynamoDB would fail.
    """
    if not fits_key(hash_key) or not (range_key is None or fits_key(range_key)):
        return None
    try:
        return model.get(hash_key, range_key, consistent_read=True)
    except DoesNotExist:
        return None


def fits_key(text: str) -> bool:
    """Whether a text can be part of a key."""
    try:
        return 0 < len(text.encode()) <= MAX_KEY
    except UnicodeEncodeError:
        return False


def fits_item(row: Model) -> bool:
    """Whether a row is small enough to be kept; by an estimate that is a little too high."""
    return _weight(row.serialize()) <= MAX_ITEM


def _weight(value: object) -> int:
    if isinstance(value, dict):
        return sum(_weight(name) + _weight(inner) for name, inner in value.items())
    if isinstance(value, list):
        return sum(_weight(inner) for inner in value)
    if isinstance(value, str):
        return len(value.encode())
    return len(value) if isinstance(value, bytes) else 1


@contextmanager
def may_be_outdated() -> Iterator[None]:
    """Lets a single write pass whose condition did not hold; every other failure is raised."""
    try:
        yield
    except (PutError, UpdateError, DeleteError) as error:
        if error.cause_response_code != "ConditionalCheckFailedException":
            raise
