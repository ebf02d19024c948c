"""The Protocols between the service's functions and the world: storage, keys, time, dropped files.

Every implementation passes the contract test of its Protocol in ``tests/contracts``. All methods may be
called concurrently. Every method that reads or writes tenant data takes the account id and sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from chalicelib.domain.model import (
    Account,
    AuditEvent,
    Certificate,
    CertificateFilter,
    Csr,
    KeyContext,
    Material,
    Page,
    SealedKeys,
    Token,
)

if TYPE_CHECKING:  # what most functions do without
    from chalicelib.domain.contacts import AddressProblem, ChannelState, Contact
    from chalicelib.domain.digests import Message
    from chalicelib.domain.pca import Authority, AuthorityRef, Fetched, IssuedCertificate, Revoked, Unavailable
    from chalicelib.domain.quota import Purchase, Quota, Reservation
    from chalicelib.domain.reminders import ReminderPolicy, Watched
    from chalicelib.domain.renewals import PlannedRenewal
    from chalicelib.domain.scans import AccountScan, Bundle, Outbox, Reminder, ScanRun, ScanTask
    from chalicelib.domain.summary import Overview
    from chalicelib.domain.sync import Chunk, Link, Result, SyncJob, SyncSchedule, Task


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Now, aware, in UTC."""
        ...


class KeyVault(Protocol):
    """Keeps private keys under envelope encryption."""

    def seal(self, context: KeyContext, keys: Mapping[str, bytes]) -> SealedKeys:
        """Encrypt `keys` (name to PKCS #8 or SEC 1 PEM bytes) under one new data key bound to `context`."""
        ...

    def open(self, context: KeyContext, sealed: SealedKeys) -> Mapping[str, bytes]:
        """The keys again.

        Raises:
            KeyVaultError: the context is not the one sealed under, or the ciphertext was changed.
        """
        ...


class KeyVaultError(Exception):
    """A sealed key cannot be opened. Says neither key nor ciphertext."""


class CertificateStore(Protocol):
    """The inventory. Writes are atomic with the audit event they are given, and counted in the `SummaryStore`."""

    def add(self, certificate: Certificate, material: Material, audit: AuditEvent) -> None:
        """Store a new certificate; of two simultaneous ones with one id or name, one is stored.

        Raises:
            Conflict: `DuplicateCertificate` (the message and `existing_id` name the holder), `NameTaken`; or
                `QuotaInsufficient`, its notices take a unit and none is left (so for `update` and `replace`).
            TooLarge: more text than can be kept (400 KB); so for `update` and `replace`.
        """
        ...

    def take_in(self, certificate: Certificate, material: Material) -> bool:
        """Store a certificate that a private CA gave, under a name that only it can have, unless it is held already.

        A crash on the way leaves nothing that a repeat does not mend. Its audit event is written by the caller, for
        many at once, and so it is counted: see `SyncStore.finish_chunk`.

        Args:
            certificate: with a name made by `chalicelib.domain.naming.derived_name`.
            material: stored, unless `material_id` says that it lies elsewhere already.

        Returns:
            Whether it was stored now; ``False`` when it was held.

        Raises:
            TooLarge: more text than can be kept.
        """
        ...

    def get(self, account_id: str, certificate_id: str) -> Certificate:
        """The slim record. Raises: NotFound."""
        ...

    def several(self, account_id: str, ids: Sequence[str], *, consistent: bool = True) -> Mapping[str, Certificate]:
        """Slim records by id; those that are not there are left out.

        Args:
            account_id: whose.
            ids: of the certificates.
            consistent: whether the last second's changes must show; reading is half as dear without.
        """
        ...

    def material(self, certificate: Certificate) -> Material:
        """The heavy part. Raises: NotFound."""
        ...

    def holds(self, account_id: str, certificate_id: str) -> bool:
        """Whether the account has this certificate."""
        ...

    def name_taken(self, account_id: str, name: str) -> bool:
        """Whether a certificate of the account has this name."""
        ...

    def page(
        self,
        account_id: str,
        wanted: CertificateFilter,
        *,
        now: datetime,
        limit: int,
        cursor: str | None,
    ) -> Page[Certificate]:
        """Certificates, soonest expiry first.

        A page reads at most a fixed number of rows, so a rare match may give a short page with a cursor.

        Raises:
            InvalidRequest: `InvalidCursor`, for a cursor that this method did not give for this filter.
        """
        ...

    def expiring(self, account_id: str, low: datetime, high: datetime) -> Iterator[Certificate]:
        """Certificates that expire after `low` and until `high`, in order; the last second's changes may be missing."""
        ...

    def short_lived(self, account_id: str, low: datetime, high: datetime) -> Iterator[Watched]:
        """Certificates with notices on and a lifetime under 90 days that expire after `low` and until `high`.

        What is read is an index: an entry may outlive what it told of, but none is missing.
        """
        ...

    def unseen(self, account_id: str) -> Iterator[Watched]:
        """Certificates whose notices were switched on, by upload or change, and which were not `seen` since.

        An entry is there before the change that it tells of, and may be there without one.
        """
        ...

    def stuck(self, account_id: str) -> Iterator[Certificate]:
        """Certificates that were to renew by themselves and could not, soonest expiry first."""
        ...

    def seen(self, account_id: str, ids: Sequence[str]) -> None:
        """Take entries off `unseen`: what they tell of was read, or will be found by its expiry."""
        ...

    def forget(self, account_id: str, watched: Watched) -> None:
        """Take an entry off `unseen` that tells of nothing, unless a newer change has written it anew."""
        ...

    def update(self, old: Certificate, new: Certificate, audit: AuditEvent, *, reservation: str | None = None) -> None:
        """Replace `old` by `new` (one version up), moving its name when it changed.

        Args:
            old: as it was read.
            new: as it is to be.
            audit: what is recorded with it.
            reservation: the unit that its notices take is taken from this one.

        Raises:
            NotFound: it was deleted. Conflict: `ConcurrentChange`, or `NameTaken`.
        """
        ...

    def replace(
        self,
        old: Certificate,
        retired: Certificate,
        new: Certificate,
        material: Material,
        audit: AuditEvent,
    ) -> None:
        """Store `new` and write `old` back as `retired`, all or nothing.

        Either `new` takes over `old`'s name, and `retired` has another; or `new` has another, and `retired` keeps its.

        Raises:
            Conflict: `DuplicateCertificate`, `NameTaken` (the other name), or `ConcurrentChange`.
        """
        ...

    def delete(self, certificate: Certificate, audit: AuditEvent) -> None:
        """Delete record, index entries, and its own material. Raises: NotFound, Conflict: `ConcurrentChange`."""
        ...


class CsrStore(Protocol):
    """Certificate signing requests, each perhaps with its sealed key (box name ``signing``)."""

    def add(self, csr: Csr, keys: SealedKeys | None, audit: AuditEvent) -> None:
        """Store a new request."""
        ...

    def get(self, account_id: str, csr_id: str) -> Csr:
        """One request. Raises: NotFound."""
        ...

    def keys(self, account_id: str, csr_id: str) -> SealedKeys | None:
        """Its sealed key, if it has one. Raises: NotFound."""
        ...

    def by_public_key(self, account_id: str, public_key_fingerprint: str) -> Csr | None:
        """A request for this public key; one that has its private key goes before one that has not."""
        ...

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Csr]:
        """Requests, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def delete(self, account_id: str, csr_id: str, audit: AuditEvent) -> None:
        """Delete request and key. Raises: NotFound."""
        ...


class AccountStore(Protocol):
    """Accounts and their access tokens."""

    def add(self, account: Account, token: Token, audit: AuditEvent) -> None:
        """Store a new account with its first token, all or nothing. Raises: Conflict: `ConcurrentChange`."""
        ...

    def get(self, account_id: str) -> Account:
        """One account. Raises: NotFound."""
        ...

    def page(self, *, limit: int, cursor: str | None) -> Page[Account]:
        """All accounts by id; for the operator. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def update(self, old: Account, new: Account, audit: AuditEvent) -> None:
        """Replace `old` by `new` (one version up). Raises: NotFound, Conflict: `ConcurrentChange`."""
        ...

    def add_token(self, token: Token, audit: AuditEvent) -> None:
        """Store a new token."""
        ...

    def token_by_digest(self, digest: str) -> Token | None:
        """The token with this SHA-256, also when revoked or expired."""
        ...

    def tokens(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Token]:
        """Tokens of an account, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def revoke_token(self, account_id: str, token_id: str, at: datetime, audit: AuditEvent) -> None:
        """Revoke; a second time changes nothing. Raises: NotFound."""
        ...

    def touch_token(self, token: Token, at: datetime) -> None:
        """Note the last use. Never raises when that cannot be done."""
        ...


class AuditStore(Protocol):
    """The audit trail: append-only."""

    def record(self, event: AuditEvent) -> None:
        """Append one event that belongs to no other write (a refusal, a key access)."""
        ...

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AuditEvent]:
        """Events, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer first given under an Idempotency-Key. `body` is ``None`` when it held a secret."""

    status: int
    body: bytes | None


class IdempotencyStore(Protocol):
    """Remembers answers for a day, so that a repeated write is answered and not repeated."""

    def begin(self, key: str, request_digest: str, now: datetime) -> Remembered | None:
        """Claim `key`; the remembered answer when the same request was answered before.

        Raises:
            Conflict: `IdempotencyKeyReused` for another request, `IdempotencyInProgress` while the first runs
                (a claim older than two minutes is taken over: its function is dead).
        """
        ...

    def finish(self, key: str, answer: Remembered, now: datetime) -> None:
        """Remember the answer."""
        ...

    def abandon(self, key: str) -> None:
        """Give the claim back: the request failed in a way that a repeat may mend."""
        ...


@dataclass(frozen=True, slots=True)
class DroppedObject:
    """An object in the drop bucket, one exact version of it. `size` is in bytes."""

    key: str
    version: str
    size: int
    modified_at: datetime


class DropBox(Protocol):
    """The bucket that certificates are dropped into."""

    def listing(self, prefix: str) -> Iterator[DroppedObject]:
        """The current objects under a prefix, in key order."""
        ...

    def read(self, item: DroppedObject) -> bytes | None:
        """The content of exactly this version; ``None`` when it is gone."""
        ...

    def current(self, key: str) -> bytes | None:
        """What lies under a key now; ``None`` when nothing does."""
        ...

    def write_json(self, key: str, content: bytes) -> None:
        """Write a receipt or report, replacing what was there."""
        ...

    def move(self, item: DroppedObject, key: str) -> None:
        """Copy this version to `key` without reading it here, then delete it; nothing when it is gone."""
        ...

    def delete(self, items: Sequence[DroppedObject]) -> None:
        """Delete these versions and older ones that they replaced, none that came later; gone already is fine."""
        ...


class CertificateSource(Protocol):
    """A system of private CAs: the built-in one, or another cloud's. One file each in ``chalicelib/sources``.

    Every method may raise these, with words that say what to do:

    - Unprocessable: `SourceNotConfigured`, credentials are missing; `SourceRefused`, they are wrong or not allowed;
      `RegionNotSupported`, the system is not to be had in that region.
    - TooManyRequests: `SourceBusy`, the system throttles or does not answer, after all retries.

    All only read at the source, so all may be repeated and called concurrently.
    """

    #: Its id in requests, as ``alibaba``.
    id: str
    #: Its name for people.
    title: str

    def regions(self) -> Sequence[str]:
        """Regions it can be had in. No request."""
        ...

    def setup_needed(self, account_id: str) -> str:
        """What is to be set, and where, before the account can use it; empty when it can. No request to the system."""
        ...

    def authorities(self, account_id: str, region: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """The CAs of a region. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def authority(self, account_id: str, ref: AuthorityRef) -> Authority:
        """One CA. Raises: NotFound: `AuthorityNotFound`."""
        ...

    def certificates(
        self, account_id: str, ref: AuthorityRef, *, limit: int, cursor: str | None
    ) -> Page[IssuedCertificate]:
        """What a CA issued to servers and clients. Raises: NotFound: `AuthorityNotFound`; InvalidRequest."""
        ...

    def fetch(
        self, account_id: str, ref: AuthorityRef, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        """Certificates of a CA by their ids, each with what is known of it, one after the other.

        A certificate that cannot be had (unknown, not yet issued) is `Unavailable` and stops nothing.
        """
        ...


class CredentialStore(Protocol):
    """The credentials that an account gave for its other clouds."""

    def get(self, account_id: str, provider: str) -> Mapping[str, str] | None:
        """The fields that were set for a provider (``alibaba``, ``aws``); ``None`` when none were."""
        ...

    def place(self, account_id: str, provider: str) -> str:
        """Where they are to be set, for people."""
        ...


@dataclass(frozen=True, slots=True)
class SourceKit:
    """What a plug-in of ``chalicelib/sources`` is built from: ``build(kit)`` in each file.

    Attributes:
        region: the one that the service runs in.
        aws: gives a boto3 client for (account id, service, region) under the account's role there.
        alibaba: gives a client for (account id, product version, region), see `chalicelib.alibaba`.
    """

    region: str
    clock: Clock
    authorities: AuthorityStore
    credentials: CredentialStore
    aws: Callable[[str, str, str], Any]
    alibaba: Callable[[str, str, str], AlibabaApi]


class AlibabaApi(Protocol):
    """One product of Alibaba Cloud in one region, with an account's credentials."""

    def call(self, action: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        """Carry out an action, retried while the product says that it can be.

        Args:
            action: as ``DescribeCACertificateList``.
            parameters: sent in the form body; ``None`` values are left out.

        Returns:
            The answer's fields.

        Raises:
            AlibabaError: the product refused, or could not be reached after all retries.
        """
        ...


class AlibabaError(Exception):
    """A product's refusal: its `code`, message and HTTP status (0 when there was no answer). Tells no secret."""

    def __init__(self, code: str, message: str, status: int, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may succeed later: throttled, not answered, or a fault of the product's."""
        if self.status in {0, 429} or self.status >= 500:
            return True
        return "Throttling" in self.code or self.code in {"ServiceUnavailable", "FlowControlError"}


class AuthorityStore(Protocol):
    """The built-in CA's authorities, what they issued and revoked. Writes are atomic with their audit event."""

    def add(self, authority: Authority, keys: SealedKeys, audit: AuditEvent) -> None:
        """Store a new authority with its signing key (box ``signing``)."""
        ...

    def get(self, account_id: str, name: str) -> Authority:
        """One authority. Raises: NotFound: `AuthorityNotFound`."""
        ...

    def keys(self, account_id: str, name: str) -> SealedKeys:
        """Its sealed key. Raises: NotFound."""
        ...

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """Authorities in the order in which they were made, so each after its parent. Raises: InvalidRequest."""
        ...

    def revoke(self, authority: Authority, revoked: Revoked, audit: AuditEvent) -> None:
        """Revoke an intermediate, with its entry in the parent's list; a second time changes nothing."""
        ...

    def issue(self, account_id: str, certificate: IssuedCertificate, material: Material, audit: AuditEvent) -> None:
        """Store what an authority issued; `material` goes where `material_id` says."""
        ...

    def certificate(self, account_id: str, certificate_id: str) -> IssuedCertificate:
        """One issued certificate. Raises: NotFound."""
        ...

    def certificates(self, account_id: str, name: str, *, limit: int, cursor: str | None) -> Page[IssuedCertificate]:
        """What an authority issued, in order. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def several(self, account_id: str, ids: Sequence[str]) -> Mapping[str, tuple[IssuedCertificate, Material]]:
        """Issued certificates (at most 100) with their material, by id; those that are not there are left out."""
        ...

    def revoke_certificate(
        self, account_id: str, certificate: IssuedCertificate, revoked: Revoked, audit: AuditEvent
    ) -> None:
        """Revoke an issued certificate; a second time changes nothing and keeps the first date."""
        ...

    def revoked(self, account_id: str, name: str) -> Sequence[Revoked]:
        """All that an authority revoked, by serial number."""
        ...

    def next_crl_number(self, account_id: str, name: str) -> int:
        """A number higher than every one given before (RFC 5280, 5.2.3). Raises: NotFound."""
        ...


class SyncStore(Protocol):
    """Jobs of batch synchronisation, and what is known of other CAs' certificates. Repeats change nothing."""

    def start(self, job: SyncJob, chunks: Sequence[Chunk], audit: AuditEvent) -> None:
        """Store a new job with the chunks that are known from the start."""
        ...

    def job(self, account_id: str, job_id: str) -> SyncJob:
        """One job. Raises: NotFound."""
        ...

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[SyncJob]:
        """Jobs, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def add_chunk(self, account_id: str, job_id: str, chunk: Chunk) -> None:
        """Add a chunk that planning found, and count it; the first of this number stays."""
        ...

    def planned(self, job: SyncJob, cursor: str | None, at: datetime) -> bool:
        """Note that the job's next step was planned and where the list goes on, with ``None`` that it has ended.

        Returns:
            Whether it was this call that did so; ``False`` when another planned the same step.
        """
        ...

    def chunks(self, account_id: str, job_id: str, first: int, limit: int) -> Sequence[Chunk]:
        """Chunks of a job from a number on, in order."""
        ...

    def finish_chunk(
        self,
        job: SyncJob,
        chunk: Chunk,
        results: Sequence[Result],
        at: datetime,
        audit: AuditEvent,
        *,
        brought: Sequence[Certificate] = (),
    ) -> bool:
        """Store what came of a chunk and count it, once.

        Args:
            job: of the chunk.
            chunk: which one.
            results: what came of it.
            at: now.
            audit: of it.
            brought: the certificates that it brought into the inventory, as they were then, for its figures.

        Returns:
            Whether it was this call that did so; ``False`` when the chunk had its results.
        """
        ...

    def stop(self, job: SyncJob, code: str, reason: str, at: datetime) -> None:
        """End a job before its list was read to the end: what is planned is still carried out."""
        ...

    def touch(self, job: SyncJob, at: datetime) -> None:
        """Note that a job was looked after."""
        ...

    def end(self, job: SyncJob) -> None:
        """Take a job that is done off the list of active ones."""
        ...

    def active(self) -> Iterator[SyncJob]:
        """Every account's jobs that have not ended."""
        ...

    def active_for(self, account_id: str, ca: str) -> Sequence[SyncJob]:
        """An account's jobs over one CA that have not ended."""
        ...

    def links(self, account_id: str, ca: str, ids: Sequence[str]) -> Mapping[str, Link]:
        """What is known of certificates of a CA, by their ids there."""
        ...

    def link(self, account_id: str, ca: str, links: Mapping[str, Link]) -> None:
        """Keep what is known of certificates of a CA, over what was known before."""
        ...

    def schedule(self, schedule: SyncSchedule, audit: AuditEvent) -> None:
        """Set the schedule of a CA, over what was set before."""
        ...

    def scheduled(self, account_id: str, ca: str) -> SyncSchedule | None:
        """The schedule of a CA, if it has one."""
        ...

    def unschedule(self, account_id: str, ca: str, audit: AuditEvent) -> None:
        """Remove the schedule of a CA. Raises: NotFound."""
        ...

    def due(self, now: datetime) -> Iterator[SyncSchedule]:
        """Every account's schedules that are due."""
        ...

    def ran(self, schedule: SyncSchedule, due_at: datetime, job_id: str | None) -> None:
        """Note that a schedule ran, and when it does next; nothing when it was changed in the meantime."""
        ...


class TaskQueue(Protocol):
    """The queue of the synchronisation's workers: each message at least once, in any order."""

    def send(self, tasks: Sequence[Task], *, delay: int = 0) -> None:
        """Send messages, to come after so many seconds (0 to 900) at the earliest."""
        ...


class ScanStore(Protocol):
    """Runs of the scan, the ledger of what was told, and what waits to be sent. Repeats change nothing.

    An entry of the ledger, for a contact, a certificate and a threshold, is made once, together with the bundle that
    carries it and the contact's outbox: what is claimed is sent, whoever dies on the way.
    """

    def start(self, run: ScanRun) -> bool:
        """Store a new run. Returns: whether it was this call that did so; ``False`` when there is one of this id."""
        ...

    def run(self, run_id: str) -> ScanRun:
        """One run. Raises: NotFound."""
        ...

    def runs(self, *, limit: int, cursor: str | None) -> Page[ScanRun]:
        """Runs, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def planned(self, run: ScanRun, cursor: str | None, accounts: int, at: datetime) -> bool:
        """Note that the workers were told of more accounts, and where their list goes on: ``None`` for its end.

        Returns:
            Whether it was this call that did so; ``False`` when another went on from the same cursor.
        """
        ...

    def abandon(self, run_id: str, problem: str, at: datetime) -> None:
        """End a run that does not end by itself."""
        ...

    def begin(self, account_id: str, run_id: str, at: datetime) -> AccountScan:
        """The account's part of a run, a new one the first time."""
        ...

    def finish(self, account_id: str, run_id: str, at: datetime, *, held: int = 0, problem: str = "") -> bool:
        """End an account's part of a run, and count it in the run.

        Args:
            account_id: whose part.
            run_id: of which run.
            at: now.
            held: how many messages wait for their hours.
            problem: why the account could not be scanned; counts as a failure.

        Returns:
            Whether it was this call that did so.
        """
        ...

    def account_scans(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AccountScan]:
        """An account's parts of runs, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def scanned_until(self, account_id: str) -> datetime | None:
        """Until when everything that became due is in the ledger; ``None`` before the first scan."""
        ...

    def scanned(self, account_id: str, until: datetime) -> None:
        """Note until when everything that became due is in the ledger; never goes back."""
        ...

    def claim(
        self, account_id: str, contact_id: str, run_id: str, reminders: Sequence[Reminder], at: datetime
    ) -> Bundle | None:
        """Put reminders into the ledger, and those that were not there into a bundle for the contact.

        Args:
            account_id: whose certificates.
            contact_id: who is to be told.
            run_id: of the run; the account's part of it has begun.
            reminders: at most `BUNDLE`, no two of one certificate and threshold.
            at: now.

        Returns:
            The bundle; ``None`` when all of them were in the ledger.
        """
        ...

    def outboxes(self, account_id: str | None = None) -> Iterator[Outbox]:
        """Where something waits to be sent, in one account or in all; the last second's changes may be missing."""
        ...

    def lease(self, account_id: str, contact_id: str, at: datetime, until: datetime) -> Outbox | None:
        """Have an outbox to oneself for a while; ``None`` when another has it, or when there is none."""
        ...

    def bundles(self, account_id: str, contact_id: str, limit: int) -> Sequence[Bundle]:
        """What waits in an outbox, oldest first."""
        ...

    def sent(
        self, outbox: Outbox, bundles: Sequence[Bundle], *, done: bool, run_id: str, in_run: bool, messages: int
    ) -> None:
        """Note what was sent.

        Args:
            outbox: leased.
            bundles: at most `BUNDLE`, each with all the channels that have sent it.
            done: whether those are all of the contact's: the bundles are gone then.
            run_id: the run that messages are counted in.
            in_run: whether they are counted as sent in the run, else as made up for.
            messages: how many there were; 0 when there was nothing to say.
        """
        ...

    def failed(self, outbox: Outbox, run_id: str | None, at: datetime, *, channels: int) -> None:
        """Note that so many channels failed, and count them in a run, if one is named."""
        ...

    def release(self, outbox: Outbox, *, empty: bool) -> None:
        """Give a leased outbox back; an empty one is gone, unless a bundle was added since it was leased."""
        ...

    def discard(self, account_id: str, contact_id: str) -> None:
        """Throw away what waits for a contact that there is no more."""
        ...


class ScanQueue(Protocol):
    """The queue of the scan's workers: each message at least once, in any order."""

    def send(self, tasks: Sequence[ScanTask]) -> None:
        """Send messages."""
        ...


class ContactStore(Protocol):
    """Who is told of what is due, and an account's policy of reminders. Writes are atomic with their audit event."""

    def add(self, contact: Contact, audit: AuditEvent) -> None:
        """Store a new contact. Raises: Conflict: `TooManyContacts`, the account has as many as it can have."""
        ...

    def get(self, account_id: str, contact_id: str) -> Contact:
        """One contact. Raises: NotFound."""
        ...

    def several(self, account_id: str) -> Sequence[Contact]:
        """All contacts of an account, in the order in which they were made."""
        ...

    def update(self, old: Contact, new: Contact, audit: AuditEvent) -> None:
        """Replace `old` by `new` (one version up). The state of a channel is written only where `new` has another one.

        Raises:
            NotFound: it was deleted. Conflict: `ConcurrentChange`.
        """
        ...

    def mark(self, contact: Contact, states: Mapping[str, ChannelState]) -> None:
        """Note how sending over channels went, by their ids; nothing for those that are no longer there."""
        ...

    def delete(self, account_id: str, contact_id: str, audit: AuditEvent) -> None:
        """Delete a contact. Raises: NotFound."""
        ...

    def policy(self, account_id: str) -> ReminderPolicy:
        """The account's policy of reminders; the usual one when none was set."""
        ...

    def set_policy(self, account_id: str, policy: ReminderPolicy, audit: AuditEvent) -> None:
        """Set the policy, over what was set before."""
        ...


class NotifyError(Exception):
    """A message was not sent: `problem` says why, for people, and tells nothing of a secret address.

    `permanent` says that the same message to the same address will fail again.
    """

    def __init__(self, problem: str, *, permanent: bool) -> None:
        super().__init__(problem)
        self.problem = problem
        self.permanent = permanent


class Notifier(Protocol):
    """Sends messages over one kind of channel. One file each in ``chalicelib/notifiers``."""

    #: The kind of channel, as ``email``.
    kind: str
    #: Whether addresses hold secrets.
    secret: bool

    def check(self, address: str) -> AddressProblem | None:
        """Why messages cannot go to an address, as far as that is known without a request."""
        ...

    def shown(self, address: str) -> str:
        """What may be shown of an address that `check` finds sound."""
        ...

    def send(self, address: str, message: Message) -> None:
        """Send a message. Raises: NotifyError, and nothing else, whatever the address is."""
        ...


@dataclass(frozen=True, slots=True)
class NotifierKit:
    """What a plug-in of ``chalicelib/notifiers`` is built from: ``build(kit)`` in each file.

    Attributes:
        mail_from: the address that mail comes from.
        ses: gives a boto3 client of Amazon SES (``sesv2``), when it is first needed.
        private: whether messages may go to private addresses, and without TLS; for tests.
    """

    mail_from: str
    ses: Callable[[], Any]
    private: bool


class QuotaStore(Protocol):
    """Units of the notification quota. `CertificateStore` takes and gives back what single certificates need."""

    def read(self, account_id: str) -> Quota:
        """What an account has, and has taken."""
        ...

    def reserve(self, reservation: Reservation) -> None:
        """Take all units of a reservation at once; the same one twice is one. Raises: QuotaInsufficient."""
        ...

    def reservations(self, before: datetime) -> Iterator[Reservation]:
        """Reservations of all accounts that were made before a moment and have not ended."""
        ...

    def settle(self, account_id: str, reservation_id: str) -> None:
        """End a reservation: what is left in it is given back. Nothing when it has ended."""
        ...

    def order(self, purchase: Purchase, audit: AuditEvent) -> None:
        """Store a purchase; the units of one that is fulfilled are there at once. The same one twice is one.

        Raises: Conflict: `TooManyPurchases` wait.
        """
        ...

    def close(self, purchase: Purchase, audit: AuditEvent) -> None:
        """Store how a purchase that waited ended; with it come the units of one that is fulfilled.

        Raises: NotFound. Conflict: `PurchaseClosed`, it does not wait.
        """
        ...

    def purchase(self, account_id: str, purchase_id: str) -> Purchase:
        """One purchase. Raises: NotFound."""
        ...

    def purchases(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """Purchases, newest first. Raises: InvalidRequest: `InvalidCursor`."""
        ...

    def open_purchases(self, *, limit: int, cursor: str | None) -> Page[Purchase]:
        """What waits to be fulfilled, oldest first, all accounts'. Raises: InvalidRequest: `InvalidCursor`."""
        ...


class RenewalStore(Protocol):
    """Which certificates renew by themselves, and when: more than the truth may stand here, and never less."""

    def plan(self, renewal: PlannedRenewal) -> None:
        """Keep a plan; the same one twice is one."""
        ...

    def due(self, now: datetime) -> Iterator[PlannedRenewal]:
        """Every account's renewals that are due, the longest waiting first."""
        ...

    def done(self, renewal: PlannedRenewal) -> None:
        """Forget a plan; gone already is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What had been counted of an account at a moment: everything up to a version, and changes after it."""

    version: int
    changes: tuple[str, ...]


class SummaryStore(Protocol):
    """Counters of each account's inventory, kept right by the `CertificateStore` and the `SyncStore` as they write."""

    def read(self, account_id: str, now: datetime) -> Overview:
        """The figures of a moment. Those of the last second's changes may be missing."""
        ...

    def snooze(self, account_id: str, until: datetime | None, audit: AuditEvent) -> None:
        """Put pending items off, or with ``None`` no longer."""
        ...

    def standing(self, account_id: str, now: datetime) -> Standing:
        """Where counting stands, for `replace`."""
        ...

    def replace(
        self, account_id: str, standing: Standing, held: Iterable[tuple[Certificate, int]], now: datetime
    ) -> bool:
        """Count anew.

        Args:
            account_id: whose certificates.
            standing: where counting stood before they were read.
            held: certificates and how often each counts; read to the end before anything is replaced.
            now: the moment.

        Returns:
            Whether it was done; ``False`` when something was changed since then, and all stays as it is.
        """
        ...
