"""The ports kept in memory. Each passes the same contract test as the real one, in ``tests/contracts``.

Stores that write an audit event with their rows are given the `MemoryAuditStore` it goes to. One lock per store
makes every method atomic, as transactions do in DynamoDB.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from chalicelib.domain.errors import Conflict, DuplicateCertificate, NameTaken, NotFound, TooLarge
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
from chalicelib.domain.quota import units_of
from chalicelib.domain.reminders import Watched
from chalicelib.domain.status import status_at
from chalicelib.ports import DroppedObject, KeyVaultError, Remembered
from tests.support.authority import NOW
from tests.support.fake_quota import MemoryQuotaStore
from tests.support.fake_summary import MemorySummaryStore, pending_kinds
from tests.support.pages import page_of

T = TypeVar("T")


class FixedClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class MemoryAuditStore:
    """The audit trail as a list."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[AuditEvent]:
        own = sorted((e for e in self.events if e.account_id == account_id), key=lambda e: e.id, reverse=True)
        return page_of(own, lambda e: e.id, f"audit {account_id}", limit, cursor, newest_first=True)


class MemoryCertificateStore:
    """The inventory as two dictionaries."""

    def __init__(
        self,
        audit: MemoryAuditStore | None = None,
        summary: MemorySummaryStore | None = None,
        quota: MemoryQuotaStore | None = None,
    ) -> None:
        self.audit = audit or MemoryAuditStore()
        self.summary = summary or MemorySummaryStore(self.audit)
        self.quota = quota or MemoryQuotaStore(self.audit)
        self.certificates: dict[tuple[str, str], Certificate] = {}
        self.materials: dict[tuple[str, str], Material] = {}
        self.not_seen: dict[tuple[str, str], Watched] = {}
        self._lock = threading.RLock()

    def add(self, certificate: Certificate, material: Material, audit: AuditEvent) -> None:
        with self._lock:
            _refuse_giant(certificate, material)
            self._refuse_duplicate(certificate)
            if self.name_taken(certificate.account_id, certificate.name):
                raise NameTaken(certificate.name)
            self.quota.take(certificate.account_id, units_of(certificate))
            self._put(certificate)
            self.summary.count((certificate, 1))
            self.materials[certificate.account_id, certificate.id] = material
            self.audit.record(audit)

    def get(self, account_id: str, certificate_id: str) -> Certificate:
        try:
            return self.certificates[account_id, certificate_id]
        except KeyError:
            raise _not_found(certificate_id) from None

    def several(self, account_id: str, ids: Sequence[str], *, consistent: bool = True) -> Mapping[str, Certificate]:
        return {c.id: c for c in self._own(account_id) if c.id in ids}

    def expiring(self, account_id: str, low: datetime, high: datetime) -> Iterator[Certificate]:
        yield from sorted((c for c in self._own(account_id) if low < c.not_after <= high), key=_by_id)

    def short_lived(self, account_id: str, low: datetime, high: datetime) -> Iterator[Watched]:
        short = (c for c in self.expiring(account_id, low, high) if c.not_after - c.not_before < timedelta(days=90))
        yield from (_watched(c) for c in short if c.notifications)

    def unseen(self, account_id: str) -> Iterator[Watched]:
        yield from [w for (owner, _), w in sorted(self.not_seen.items()) if owner == account_id]

    def stuck(self, account_id: str) -> Iterator[Certificate]:
        yield from sorted((c for c in self._own(account_id) if c.renewal_problem is not None), key=_by_id)

    def seen(self, account_id: str, ids: Sequence[str]) -> None:
        for one in ids:
            self.not_seen.pop((account_id, one), None)

    def forget(self, account_id: str, watched: Watched) -> None:
        with self._lock:
            held = self.not_seen.get((account_id, watched.id))
            if held is not None and held.version <= watched.version:
                del self.not_seen[account_id, watched.id]

    def material(self, certificate: Certificate) -> Material:
        try:
            return self.materials[certificate.account_id, certificate.material_id or certificate.id]
        except KeyError:
            raise _not_found(certificate.id) from None

    def take_in(self, certificate: Certificate, material: Material) -> bool:
        with self._lock:
            _refuse_giant(certificate, material)
            if self.holds(certificate.account_id, certificate.id):
                return False
            self._put(certificate)
            if certificate.material_id is None:
                self.materials[certificate.account_id, certificate.id] = material
            return True

    def holds(self, account_id: str, certificate_id: str) -> bool:
        return (account_id, certificate_id) in self.certificates

    def name_taken(self, account_id: str, name: str) -> bool:
        return any(c.name == name for c in self._own(account_id))

    def page(
        self, account_id: str, wanted: CertificateFilter, *, now: datetime, limit: int, cursor: str | None
    ) -> Page[Certificate]:
        fitting = [c for c in self._own(account_id) if self._fits(c, wanted, now)]
        fitting.sort(key=_by_id)
        digest = json.dumps(asdict(wanted), default=str, sort_keys=True)
        return page_of(fitting, _by_id, f"certificates {account_id} {digest}", limit, cursor)

    def update(self, old: Certificate, new: Certificate, audit: AuditEvent, *, reservation: str | None = None) -> None:
        with self._lock:
            self._unchanged(old)
            if new.name != old.name and self.name_taken(new.account_id, new.name):
                raise NameTaken(new.name)
            self.quota.take(new.account_id, units_of(new) - units_of(old), reservation)
            self._put(new)
            self.summary.count((old, -1), (new, 1))
            self.audit.record(audit)

    def replace(
        self, old: Certificate, retired: Certificate, new: Certificate, material: Material, audit: AuditEvent
    ) -> None:
        with self._lock:
            _refuse_giant(new, material)
            self._refuse_duplicate(new)
            self._unchanged(old)
            other = retired.name if new.name == old.name else new.name
            if self.name_taken(new.account_id, other):
                raise NameTaken(other)
            self.quota.take(new.account_id, units_of(retired) + units_of(new) - units_of(old))
            self._put(retired)
            self._put(new)
            self.summary.count((old, -1), (retired, 1), (new, 1))
            if new.material_id is None:
                self.materials[new.account_id, new.id] = material
            self.audit.record(audit)

    def delete(self, certificate: Certificate, audit: AuditEvent) -> None:
        with self._lock:
            self._unchanged(certificate)
            del self.certificates[certificate.account_id, certificate.id]
            self.not_seen.pop((certificate.account_id, certificate.id), None)
            self.summary.count((certificate, -1))
            self.quota.take(certificate.account_id, -units_of(certificate))
            if certificate.material_id is None:
                del self.materials[certificate.account_id, certificate.id]
            self.audit.record(audit)

    def _own(self, account_id: str) -> list[Certificate]:
        with self._lock:
            return [c for (owner, _), c in self.certificates.items() if owner == account_id]

    def _put(self, certificate: Certificate) -> None:
        place = certificate.account_id, certificate.id
        known = self.certificates.get(place)
        if not certificate.notifications:
            self.not_seen.pop(place, None)
        elif known is None or not known.notifications:
            self.not_seen[place] = _watched(certificate)
        self.certificates[place] = certificate

    def _refuse_duplicate(self, certificate: Certificate) -> None:
        if self.holds(certificate.account_id, certificate.id):
            raise DuplicateCertificate(certificate.id)

    def _unchanged(self, certificate: Certificate) -> None:
        if self.get(certificate.account_id, certificate.id).version != certificate.version:
            raise Conflict("ConcurrentChange", "The certificate was changed in the meantime.")

    def _fits(self, certificate: Certificate, wanted: CertificateFilter, now: datetime) -> bool:
        """Whether a certificate is wanted; every criterion that is given must hold."""
        tag, equals, value = (wanted.tag or "").partition("=")
        return all(
            (
                wanted.source in {None, certificate.source},
                wanted.status in {None, status_at(certificate, now)},
                wanted.domain is None or self._covers(certificate, wanted.domain),
                wanted.q is None or _mentions(certificate, wanted.q),
                wanted.tag is None or tag in certificate.tags,
                not equals or certificate.tags.get(tag) == value,
                wanted.resource_group in {None, certificate.resource_group},
                wanted.notifications in {None, certificate.notifications},
                wanted.deployed in {None, certificate.deployed},
                wanted.expires_before is None or certificate.not_after < wanted.expires_before,
                wanted.pending is None or wanted.pending in pending_kinds(certificate, now),
            )
        )

    def _covers(self, certificate: Certificate, domain: str) -> bool:
        domains = self.material(certificate).domains
        if domain.startswith("*."):
            return any(d.endswith(domain[1:]) and not d.rpartition(".")[2].isdigit() for d in domains)
        return domain in domains


class MemoryCsrStore:
    """Signing requests as two dictionaries."""

    def __init__(self, audit: MemoryAuditStore | None = None) -> None:
        self.audit = audit or MemoryAuditStore()
        self.csrs: dict[tuple[str, str], Csr] = {}
        self.sealed: dict[tuple[str, str], SealedKeys] = {}

    def add(self, csr: Csr, keys: SealedKeys | None, audit: AuditEvent) -> None:
        self.csrs[csr.account_id, csr.id] = csr
        if keys is not None:
            self.sealed[csr.account_id, csr.id] = keys
        self.audit.record(audit)

    def get(self, account_id: str, csr_id: str) -> Csr:
        try:
            return self.csrs[account_id, csr_id]
        except KeyError:
            raise _not_found(csr_id) from None

    def keys(self, account_id: str, csr_id: str) -> SealedKeys | None:
        self.get(account_id, csr_id)
        return self.sealed.get((account_id, csr_id))

    def by_public_key(self, account_id: str, public_key_fingerprint: str) -> Csr | None:
        found = [c for c in self._own(account_id) if c.public_key_fingerprint == public_key_fingerprint]
        return min(found, key=lambda c: (not c.has_private_key, c.id), default=None)

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Csr]:
        own = sorted(self._own(account_id), key=lambda c: c.id, reverse=True)
        return page_of(own, lambda c: c.id, f"csrs {account_id}", limit, cursor, newest_first=True)

    def delete(self, account_id: str, csr_id: str, audit: AuditEvent) -> None:
        self.get(account_id, csr_id)
        del self.csrs[account_id, csr_id]
        self.sealed.pop((account_id, csr_id), None)
        self.audit.record(audit)

    def _own(self, account_id: str) -> list[Csr]:
        return [c for (owner, _), c in self.csrs.items() if owner == account_id]


class MemoryAccountStore:
    """Accounts by id, tokens by digest."""

    def __init__(self, audit: MemoryAuditStore | None = None) -> None:
        self.audit = audit or MemoryAuditStore()
        self.accounts: dict[str, Account] = {}
        self.by_digest: dict[str, Token] = {}
        self._lock = threading.RLock()

    def add(self, account: Account, token: Token, audit: AuditEvent) -> None:
        with self._lock:
            if account.id in self.accounts:
                raise Conflict("ConcurrentChange", "There is such an account already.")
            self.accounts[account.id] = account
            self.add_token(token, audit)

    def get(self, account_id: str) -> Account:
        try:
            return self.accounts[account_id]
        except KeyError:
            raise _not_found(account_id) from None

    def page(self, *, limit: int, cursor: str | None) -> Page[Account]:
        accounts = sorted(self.accounts.values(), key=lambda a: a.id)
        return page_of(accounts, lambda a: a.id, "accounts", limit, cursor)

    def update(self, old: Account, new: Account, audit: AuditEvent) -> None:
        with self._lock:
            if self.get(old.id).version != old.version:
                raise Conflict("ConcurrentChange", "The account was changed in the meantime.")
            self.accounts[new.id] = new
            self.audit.record(audit)

    def add_token(self, token: Token, audit: AuditEvent) -> None:
        self.by_digest[token.digest] = token
        self.audit.record(audit)

    def token_by_digest(self, digest: str) -> Token | None:
        return self.by_digest.get(digest)

    def tokens(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Token]:
        own = [t for t in self.by_digest.values() if t.account_id == account_id]
        own.sort(key=lambda t: t.id, reverse=True)
        return page_of(own, lambda t: t.id, f"tokens {account_id}", limit, cursor, newest_first=True)

    def revoke_token(self, account_id: str, token_id: str, at: datetime, audit: AuditEvent) -> None:
        with self._lock:
            own = (t for t in self.by_digest.values() if (t.account_id, t.id) == (account_id, token_id))
            token = next(own, None)
            if token is None:
                raise _not_found(token_id)
            if token.revoked_at is None:
                self.by_digest[token.digest] = replace(token, revoked_at=at)
                self.audit.record(audit)

    def touch_token(self, token: Token, at: datetime) -> None:
        with self._lock:
            held = self.by_digest.get(token.digest)
            if held is not None and (token.last_used_at is None or at - token.last_used_at >= timedelta(minutes=5)):
                self.by_digest[token.digest] = replace(held, last_used_at=at)


@dataclass
class _Claim:
    digest: str
    since: datetime
    answer: Remembered | None = None


class MemoryIdempotencyStore:
    """Claims and answers by key."""

    def __init__(self) -> None:
        self.claims: dict[str, _Claim] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, request_digest: str, now: datetime) -> Remembered | None:
        with self._lock:
            held = self.claims.get(key)
            patience = timedelta(minutes=2) if held is None or held.answer is None else timedelta(days=1)
            if held is None or now - held.since > patience:
                self.claims[key] = _Claim(request_digest, now)
                return None
            if held.digest != request_digest:
                raise Conflict("IdempotencyKeyReused", "The key was used for another request.")
            if held.answer is None:
                raise Conflict("IdempotencyInProgress", "The first request is still running.")
            return held.answer

    def finish(self, key: str, answer: Remembered, now: datetime) -> None:
        with self._lock:
            if key in self.claims:
                self.claims[key] = replace(self.claims[key], answer=answer, since=now)

    def abandon(self, key: str) -> None:
        self.claims.pop(key, None)


@dataclass
class _Sealed:
    context: KeyContext
    boxes: Mapping[str, tuple[bytes, bytes]] = field(repr=False)


class MemoryKeyVault:
    """Remembers keys under random handles: what it hands out says nothing about them."""

    def __init__(self) -> None:
        self._sealed: dict[bytes, _Sealed] = {}

    def seal(self, context: KeyContext, keys: Mapping[str, bytes]) -> SealedKeys:
        handle = secrets.token_bytes(32)
        boxes = {name: (secrets.token_bytes(32), bytes(key)) for name, key in keys.items()}
        self._sealed[handle] = _Sealed(context, boxes)
        return SealedKeys("fake-key", handle, {name: box for name, (box, _) in boxes.items()})

    def open(self, context: KeyContext, sealed: SealedKeys) -> Mapping[str, bytes]:
        held = self._sealed.get(sealed.data_key)
        if held is None or held.context != context:
            raise KeyVaultError("a sealed key was changed, or belongs to another record")
        opened = {}
        for name, box in sealed.boxes.items():
            kept, key = held.boxes.get(name, (b"", b""))
            if not secrets.compare_digest(kept, box):
                raise KeyVaultError("a sealed key was changed, or belongs to another record")
            opened[name] = key
        return opened


class MemoryDropBox:
    """A bucket with versions; `clock` dates what is put."""

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock or FixedClock()
        self._versions: dict[str, list[tuple[DroppedObject, bytes]]] = {}
        self._count = 0

    def put(self, key: str, content: bytes) -> DroppedObject:
        """Drop a file, as a client of the bucket would."""
        self._count += 1
        item = DroppedObject(key, f"v{self._count}", len(content), self._clock())
        self._versions.setdefault(key, []).append((item, content))
        return item

    def current(self, key: str) -> bytes | None:
        """What lies under a key now."""
        versions = self._versions.get(key)
        return versions[-1][1] if versions else None

    def keys(self) -> list[str]:
        """All keys that hold something, in order."""
        return sorted(key for key, versions in self._versions.items() if versions)

    def listing(self, prefix: str) -> Iterator[DroppedObject]:
        return iter([self._versions[key][-1][0] for key in self.keys() if key.startswith(prefix)])

    def read(self, item: DroppedObject) -> bytes | None:
        return self._content(item)

    def _content(self, item: DroppedObject) -> bytes | None:
        return next((content for kept, content in self._versions.get(item.key, ()) if _same(kept, item)), None)

    def write_json(self, key: str, content: bytes) -> None:
        self.put(key, content)

    def move(self, item: DroppedObject, key: str) -> None:
        content = self._content(item)
        if content is not None:
            self.put(key, content)
            self.delete([item])

    def delete(self, items: Sequence[DroppedObject]) -> None:
        for item in items:
            versions = self._versions.get(item.key, [])
            index = next((i for i, (kept, _) in enumerate(versions) if _same(kept, item)), -1)
            del versions[: index + 1]


def _refuse_giant(*values: object) -> None:
    if any(len(repr(value)) > 409_600 for value in values):
        raise TooLarge("RequestTooLarge", "More than can be kept.")


def _watched(certificate: Certificate) -> Watched:
    since = certificate.updated_at.replace(microsecond=0)
    return Watched(certificate.id, certificate.not_before, certificate.not_after, certificate.version, since)


def _same(one: DroppedObject, other: DroppedObject) -> bool:
    return (one.key, one.version) == (other.key, other.version)


def _by_id(certificate: Certificate) -> str:
    return certificate.id


def _mentions(certificate: Certificate, q: str) -> bool:
    texts = (certificate.name, certificate.subject, certificate.issuer, *certificate.domains)
    numbers = (certificate.serial_number, certificate.fingerprint)
    plain = q.lower().replace(":", "").replace(" ", "")
    named = any(q.lower() in text.lower() for text in texts)
    return named or (plain != "" and any(plain in number for number in numbers))


def _not_found(object_id: str) -> NotFound:
    return NotFound("NotFound", f"There is no {object_id!r:.70} in this account.")
