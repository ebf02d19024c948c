"""Domain values for tests, with sound defaults."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta

from ulid import ULID

from chalicelib.domain.model import (
    Account,
    AuditEvent,
    Caller,
    Certificate,
    Csr,
    Entity,
    Material,
    Role,
    SealedKeys,
    Site,
    Source,
    Token,
    certificate_id,
)
from tests.support.authority import NOW

ACCOUNT = "1000000000000001"
OTHER_ACCOUNT = "2000000000000002"
MANAGER = Caller(ACCOUNT, Role.MANAGER, "token-1", "192.0.2.1", "request-1")
_numbers = itertools.count(1)


def ulid(seconds: float | None = None) -> str:
    number = next(_numbers)
    return str(ULID.from_datetime(NOW + timedelta(seconds=number if seconds is None else seconds)))


def record(**fields) -> Certificate:
    """A certificate's slim record."""
    number = next(_numbers)
    fields = {
        "account_id": ACCOUNT,
        "name": f"name-{number}",
        "source": Source.UPLOAD,
        "domains": (f"host-{number}.example.com", f"www.host-{number}.example.com"),
        "domains_total": 2,
        "algorithm": "RSA",
        "key_size": 2048,
        "subject": f"CN=host-{number}.example.com",
        "issuer": "CN=Example Issuing CA G2,O=Example Certificates Limited,C=NL",
        "serial_number": f"{number:032x}",
        "fingerprint": hashlib.sha256(f"{number}".encode()).hexdigest(),
        "public_key_fingerprint": f"{number:064x}",
        "not_before": NOW - timedelta(days=10),
        "not_after": NOW + timedelta(days=80, seconds=number),
        "risks": (),
        "resource_group": "",
        "tags": {},
        "notifications": False,
        "has_private_key": True,
        "created_at": NOW,
        "updated_at": NOW,
        "created_by": "token-1",
    } | fields
    return Certificate(**({"id": certificate_id(fields["not_after"], fields["fingerprint"])} | fields))


def material(certificate: Certificate, /, **fields) -> Material:
    """Its heavy part."""
    fields = {
        "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "chain": (),
        "encryption_certificate": None,
        "keys": SealedKeys("key-1", b"wrapped", {"signing": b"box"}),
        "findings": (),
        "domains": certificate.domains,
    } | fields
    return Material(**fields)


def event(account_id: str = ACCOUNT, **fields) -> AuditEvent:
    """An audit event."""
    fields = {
        "id": ulid(),
        "account_id": account_id,
        "at": NOW,
        "actor": "token-1",
        "role": "manager",
        "action": "certificate.upload",
        "target": "target-1",
        "source_ip": "192.0.2.1",
        "request_id": "request-1",
    } | fields
    return AuditEvent(**fields)


def csr(**fields) -> Csr:
    """A signing request."""
    number = next(_numbers)
    fields = {
        "id": ulid(),
        "account_id": ACCOUNT,
        "name": f"csr-{number}",
        "common_name": "a.example.com",
        "sans": ("a.example.com",),
        "algorithm": "RSA",
        "key_size": 2048,
        "subject": "CN=a.example.com",
        "public_key_fingerprint": f"{number:064x}",
        "pem": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "has_private_key": False,
        "created_at": NOW,
    } | fields
    return Csr(**fields)


def account(**fields) -> Account:
    """A tenant."""
    entity = Entity("entity-1", "enterprise", verified=True)
    defaults = {"id": ACCOUNT, "name": "Example", "site": Site.INTERNATIONAL, "entity": entity, "created_at": NOW}
    return Account(**(defaults | fields))


def token(**fields) -> Token:
    """An access token."""
    number = next(_numbers)
    fields = {
        "id": ulid(),
        "account_id": ACCOUNT,
        "digest": f"{number:064x}",
        "name": "laptop",
        "role": Role.ADMIN,
        "created_at": NOW,
        "expires_at": NOW + timedelta(days=365),
    } | fields
    return Token(**fields)
