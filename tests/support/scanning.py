"""A scan with all that it needs, over memory or over the real tables, in which time passes and things fail."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.domain.contacts import Contact
from chalicelib.domain.digests import Digest, Message
from chalicelib.domain.model import Certificate
from chalicelib.functions.audit import Audit
from chalicelib.functions.contacts import Contacts
from chalicelib.functions.delivery import Delivery
from chalicelib.functions.scan import Scan, ScanFailedError, Ticked
from chalicelib.ports import NotifyError
from chalicelib.store.accounts import DynamoAccountStore
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.contacts import DynamoContactStore
from chalicelib.store.scans import DynamoScanStore
from tests.support.authority import NOW
from tests.support.fake_contacts import MemoryContactStore, channel, contact
from tests.support.fake_scans import MemoryScanQueue, MemoryScanStore
from tests.support.fakes import FixedClock, MemoryAccountStore, MemoryAuditStore, MemoryCertificateStore, MemoryKeyVault
from tests.support.records import account, event, material, record, token, ulid

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True)
class Told:
    """A message that went out: when, to which address, and what it said of which certificates."""

    at: datetime
    address: str
    notices: frozenset[tuple[str, str, bool]]


class Post:
    """Takes messages in, at every address that is not down."""

    secret = False
    kind = "email"

    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.told: list[Told] = []
        self.down: dict[str, bool] = {}

    def send(self, address: str, message: Message) -> None:
        if address in self.down:
            raise NotifyError("nobody answers", permanent=self.down[address])
        self.told.append(Told(self.clock(), address, frozenset(map(tuple, json.loads(message.text)))))


def as_json(digest: Digest) -> Message:
    """What a digest says, for `Post` to read."""
    return Message("", json.dumps([(n.certificate_id, n.threshold, n.late) for n in digest.notices]), "")


class Stores:
    """Everything that lasts."""

    def __init__(self, *, dynamo: bool) -> None:
        self.accounts = DynamoAccountStore() if dynamo else MemoryAccountStore()
        self.certificates = DynamoCertificateStore() if dynamo else MemoryCertificateStore()
        self.contacts = DynamoContactStore() if dynamo else MemoryContactStore()
        self.scans = DynamoScanStore() if dynamo else MemoryScanStore()


@dataclass
class World:
    """One account and its certificates and contacts; the day's run is at six."""

    dynamo: bool = False
    clock: FixedClock = field(
        default_factory=lambda: FixedClock(NOW.replace(hour=5, minute=0, second=0, microsecond=0))
    )

    def __post_init__(self) -> None:
        self.stores = Stores(dynamo=self.dynamo)
        self.queue = MemoryScanQueue()
        self.post = Post(self.clock)
        self.account = self.new_account()

    def new_account(self) -> str:
        made = account(id=ulid())
        self.stores.accounts.add(made, token(account_id=made.id), event(made.id))
        return made.id

    @property
    def scan(self) -> Scan:
        """A worker that knows nothing but what is in the stores."""
        stores = self.stores
        audit = Audit(MemoryAuditStore(), self.clock)
        contacts = Contacts(stores.contacts, MemoryKeyVault(), {"email": self.post}, audit=audit, clock=self.clock)
        delivery = Delivery(stores.scans, stores.certificates, contacts, clock=self.clock, render=as_json)
        return Scan(
            stores.accounts,
            stores.certificates,
            stores.contacts,
            stores.scans,
            delivery=delivery,
            queue=self.queue,
            clock=self.clock,
        )

    # --- what people do --------------------------------------------------------------------------------------------

    def certificate(self, left: timedelta, lifetime: timedelta = 400 * DAY, **fields) -> Certificate:
        """A certificate with notices on that has some time left."""
        end, now = self.clock() + left, self.clock()
        fields = {"account_id": self.account, "notifications": True, "created_at": now, "updated_at": now} | fields
        made = record(not_before=end - lifetime, not_after=end, **fields)
        self.stores.certificates.add(made, material(made), event(made.account_id))
        return made

    def change(self, old: Certificate, **fields) -> Certificate:
        """The certificate, changed now."""
        new = replace(old, version=old.version + 1, updated_at=self.clock(), **fields)
        self.stores.certificates.update(old, new, event(old.account_id))
        return new

    def contact(self, *addresses: str, **fields) -> Contact:
        """A contact with a channel for each address."""
        channels = tuple(channel(address=address) for address in addresses or ("ops@example.com",))
        made = contact(**({"account_id": self.account, "channels": channels} | fields))
        self.stores.contacts.add(made, event(made.account_id))
        return made

    # --- what happens by itself ------------------------------------------------------------------------------------

    def tick(self, *, force: bool = False, copies: int = 1) -> Ticked:
        """The hourly tick, and all that its messages say, each message so often."""
        ticked = self.scan.tick(force=force)
        self.work_off(copies=copies)
        return ticked

    def work_off(self, *, copies: int = 1) -> int:
        """Carry out what waits in the queue; gives how many tasks failed."""
        failed = 0
        for task in self.queue.take() * copies:
            try:
                self.scan.work(task)
            except ScanFailedError:
                failed += 1
        return failed

    def pass_time(self, hours: int = 1, *, down: bool = False, copies: int = 1) -> None:
        """Hours go by, each with its tick, unless the scan is down."""
        for _ in range(hours):
            self.clock.advance(HOUR)
            if not down:
                self.tick(copies=copies)

    def next_run(self) -> None:
        """Let a day go by, to its run at six."""
        self.pass_time((29 - self.clock().hour) % 24 + 1)

    @property
    def said(self) -> list[tuple[str, str, str]]:
        """Address, certificate and threshold of everything that was told."""
        return sorted((t.address, one, key) for t in self.post.told for one, key, _ in t.notices)

    def doubles(self) -> list[tuple[str, str, str]]:
        """What was told more than once."""
        return [said for said, count in Counter(self.said).items() if count > 1]

    @property
    def latest(self):
        """The newest run."""
        return self.stores.scans.runs(limit=1, cursor=None).items[0]
