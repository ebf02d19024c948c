"""The upload use case on stores in memory, and stores in which somebody else is always quicker."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chalicelib.domain.findings import Severity
from chalicelib.domain.model import Caller, Certificate, Role
from chalicelib.domain.reading import Bundle
from chalicelib.functions.audit import Audit
from chalicelib.functions.csrs import Csrs
from chalicelib.functions.upload_validate import Renewal, Upload, UploadValidate
from tests.support.authority import Authority, Issued
from tests.support.fakes import FixedClock, MemoryAuditStore, MemoryCertificateStore, MemoryCsrStore, MemoryKeyVault
from tests.support.records import MANAGER, OTHER_ACCOUNT, event, material

ROOT = Authority.root()
MIDDLE = ROOT.intermediate()
LEAF = MIDDLE.issue("www.example.com", "example.com")
NEIGHBOUR = Caller(OTHER_ACCOUNT, Role.MANAGER, "token-2", "198.51.100.2", "request-2")


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
        return self.store.material(certificate)

    def holds(self, issued: Issued) -> bool:
        """Whether the inventory has a certificate."""
        return any(c.fingerprint == issued.fingerprint for c in self.store.certificates.values())

    def opened(self, certificate: Certificate) -> dict:
        """Public keys of what is sealed with a certificate, under its own context."""
        held = self.vault.open(certificate.key_context, self.material(certificate).keys)
        return {box: load_pem_private_key(text, None).public_key() for box, text in held.items()}


def bundle(issued: Issued = LEAF, *, key: bool = True, chain: str | None = MIDDLE.pem, **more) -> Bundle:
    return Bundle(issued.pem, issued.key_pem if key else None, chain, **more)


def codes(found, severity: Severity | None = None) -> list[str]:
    return [f.code for f in found if severity is None or f.severity is severity]


def issued_for(request) -> Issued:
    """What a CA makes of a request: the certificate alone."""
    return MIDDLE.issue("www.example.com", key=x509.load_pem_x509_csr(request.pem.encode()))
