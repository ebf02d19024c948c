"""The upload use case on stores in memory, and stores in which somebody else is always quicker."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chalicelib.domain.model import Caller, Certificate
from chalicelib.domain.reading import Bundle
from chalicelib.functions.audit import Audit
from chalicelib.functions.csrs import Csrs
from chalicelib.functions.upload_validate import Renewal, Upload, UploadValidate
from tests.support.fakes import FixedClock, MemoryAuditStore, MemoryCertificateStore, MemoryCsrStore, MemoryKeyVault
from tests.support.records import MANAGER, event, material


class RivalStore(MemoryCertificateStore):
    """Lets somebody else in between what a caller looked up and what it writes."""

    def __init__(self, audit: MemoryAuditStore) -> None:
        super().__init__(audit)
        self.rivals = []

    def add(self, certificate, material, audit):
        self._let_in()
        super().add(certificate, material, audit)

    def replace(self, old, retired, new, material, audit):
        self._let_in()
        super().replace(old, retired, new, material, audit)

    def put_unseen(self, certificate) -> None:
        """Store a record of somebody else, who waits for nobody."""
        super().add(certificate, material(certificate), event())

    def _let_in(self) -> None:
        if self.rivals:
            self.rivals.pop(0)()


@dataclass
class House:
    """The use case on stores in memory."""

    clock: FixedClock = field(default_factory=FixedClock)
    trail: MemoryAuditStore = field(default_factory=MemoryAuditStore)
    vault: MemoryKeyVault = field(default_factory=MemoryKeyVault)

    def __post_init__(self) -> None:
        audit = Audit(self.trail, self.clock)
        self.store = RivalStore(self.trail)
        self.csrs = Csrs(MemoryCsrStore(self.trail), self.vault, audit, self.clock)
        self.uploads = UploadValidate(self.store, self.csrs, self.vault, audit, self.clock)

    def upload(self, bundle: Bundle, caller: Caller = MANAGER, **more) -> Certificate:
        return self.uploads.upload(caller, Upload(bundle, **more))[0]

    def parse(self, bundle: Bundle, caller: Caller = MANAGER, **more):
        return self.uploads.parse(caller, Upload(bundle, **more))

    def renew(self, old: Certificate, bundle: Bundle, caller: Caller = MANAGER, **more) -> Certificate:
        return self.uploads.renew(caller, old.id, Renewal(bundle, **more))[0]

    def material(self, certificate: Certificate):
        return self.store.material(certificate.account_id, certificate.id)

    def opened(self, certificate: Certificate) -> dict:
        """Public keys of what is sealed with a certificate, under its own context."""
        held = self.vault.open(certificate.key_context, self.material(certificate).keys)
        return {box: load_pem_private_key(text, None).public_key() for box, text in held.items()}
