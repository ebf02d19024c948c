"""Values of the built-in CA for its stores, and the built-in CA itself on stores in memory."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.csr import CheckedSpec, make
from chalicelib.domain.errors import CertificateRefused
from chalicelib.domain.findings import Severity
from chalicelib.domain.model import Caller, KeyContext
from chalicelib.domain.pca import (
    BUILTIN,
    Authority,
    AuthorityKind,
    AuthorityRef,
    AuthorityStatus,
    IssuedCertificate,
)
from chalicelib.domain.reading import Bundle, read
from chalicelib.domain.validation import judge
from chalicelib.functions.audit import Audit
from chalicelib.functions.csrs import Csrs
from chalicelib.functions.private_ca import AuthoritySpec, LeafSpec, PrivateCa
from tests.support.authority import NOW, name
from tests.support.fakes import FixedClock, MemoryAuditStore, MemoryCsrStore, MemoryKeyVault
from tests.support.pca_store import MemoryAuthorityStore
from tests.support.records import ACCOUNT, MANAGER, OTHER_ACCOUNT, ulid
from tests.support.tools import Folder

REGION = "eu-central-1"
STRANGER = replace(MANAGER, account_id=OTHER_ACCOUNT)
_numbers = itertools.count(1)


def authority(**fields) -> Authority:
    """An authority as its store keeps it."""
    fields = {
        "account_id": ACCOUNT,
        "ref": AuthorityRef(BUILTIN, "", ulid()),
        "region": "",
        "kind": AuthorityKind.ROOT,
        "parent": None,
        "subject": "CN=Example Root CA,O=Example",
        "algorithm": "RSA",
        "key_size": 3072,
        "serial_number": f"{next(_numbers):040x}",
        "not_before": NOW,
        "not_after": NOW + timedelta(days=3650),
        "status": AuthorityStatus.ACTIVE,
        "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    } | fields
    return Authority(**fields)


def issued(above: Authority, **fields) -> IssuedCertificate:
    """A certificate as the list of an authority has it."""
    number = next(_numbers)
    fields = {
        "id": f"{above.id}.{ulid()}",
        "common_name": "www.example.com",
        "sans": ("www.example.com", "example.com"),
        "serial_number": f"{number:040x}",
        "not_before": NOW,
        "not_after": NOW + timedelta(days=365),
        "fingerprint": f"{number:064x}",
        "algorithm": "RSA",
        "key_size": 2048,
        "usage": "server",
        "has_private_key": True,
    } | fields
    return IssuedCertificate(authority_id=above.id, **fields)


def _a_minute_ago() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)


@dataclass
class PcaHouse:
    """The built-in CA on stores in memory; its clock is a minute slow, and openssl looks at its own."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(_a_minute_ago()))
    trail: MemoryAuditStore = field(default_factory=MemoryAuditStore)
    vault: MemoryKeyVault = field(default_factory=MemoryKeyVault)

    def __post_init__(self) -> None:
        audit = Audit(self.trail, self.clock)
        self.store = MemoryAuthorityStore(self.trail)
        self.csrs = Csrs(MemoryCsrStore(self.trail), self.vault, audit, self.clock)
        self.pca = PrivateCa(self.store, self.csrs, self.vault, audit=audit, clock=self.clock, region=REGION)

    def root(self, algorithm: str = "ECC", caller: Caller = MANAGER, **fields) -> Authority:
        fields = {"common_name": "Example Root CA", "organization": "Example"} | fields
        return self._later(self.pca.create(caller, AuthoritySpec("root", algorithm=algorithm, **fields)))

    def below(self, parent: Authority, caller: Caller = MANAGER, **fields) -> Authority:
        """An intermediate of the parent's kind."""
        fields = {"common_name": "Example Issuing CA", "algorithm": parent.algorithm} | fields
        return self._later(self.pca.create(caller, AuthoritySpec("intermediate", parent=parent.id, **fields)))

    def issue(self, above: Authority, *sans: str, caller: Caller = MANAGER, **fields):
        """A certificate, and its material."""
        fields = {"common_name": None if sans or "csr" in fields or "csr_id" in fields else "www.example.com"} | fields
        return self.pca.issue(caller, above.id, LeafSpec(sans=sans or None, **fields))

    def _later(self, made: Authority) -> Authority:
        """What is made next has a later id."""
        self.clock.advance(timedelta(seconds=1))
        return made

    def crl_pem(self, above: Authority) -> str:
        return pem.encode("X509 CRL", self.pca.crl(MANAGER, above.id))

    def verifies(self, folder: Folder, material, *issuers: Authority, purpose: str = "sslserver") -> str:
        """What openssl says of a certificate with the lists of its issuers, the root last."""
        *between, root = issuers
        crls = "".join(self.crl_pem(a) for a in issuers)
        arguments = ["-purpose", purpose, "-x509_strict", "-crl_check_all", "-CRLfile", folder.put("crl.pem", crls)]
        arguments += ["-CAfile", folder.put("root.pem", root.certificate)]
        if between:
            arguments += ["-untrusted", folder.put("between.pem", "".join(a.certificate for a in between))]
        given = folder.put("leaf.pem", material.certificate)
        done = subprocess.run(["openssl", "verify", *arguments, given], capture_output=True, check=False)
        return (done.stdout + done.stderr).decode().replace(given, "leaf")


def parsed(text: str) -> ParsedCertificate:
    """A certificate out of PEM text."""
    (block,) = pem.scan(text).blocks
    return ParsedCertificate(block.der)


def request(common_name: str = "www.example.com", *sans: str, kind=("ECC", 256)) -> tuple[str, keys.PrivateKey]:
    """A signing request as somebody else makes it, and its key."""
    key = keys.generate(*kind)
    names = tuple(x509.DNSName(san) for san in sans)
    return pem.encode("CERTIFICATE REQUEST", make(CheckedSpec(*kind, name(common_name), names), key)), key


def alternatives(text: str) -> list[str]:
    """The alternative names of a certificate, as they stand there."""
    found = x509.load_pem_x509_certificate(text.encode())
    extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(general.value) for general in extension.value]


def refused(use) -> list[tuple[str, str]]:
    """Codes and fields of the findings that something is refused with."""
    with pytest.raises(CertificateRefused) as caught:
        use()
    assert all(f.severity is Severity.ERROR and f.message and f.hint for f in caught.value.findings)
    return [(f.code, f.param) for f in caught.value.findings]


def judged(house: PcaHouse, made: IssuedCertificate) -> list[str]:
    """What our own validation finds in what was issued, its key included."""
    material = house.store.issued[ACCOUNT, made.id][1]
    context = KeyContext(ACCOUNT, f"pca#{made.id.rpartition('.')[2]}", made.fingerprint)
    key = house.vault.open(context, material.keys)["signing"].decode()
    verdict = judge(read(Bundle(material.certificate, key, "".join(material.chain))), house.clock())
    assert verdict.key is not None
    return [f.code for f in verdict.findings]
