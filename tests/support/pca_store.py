"""The store of the built-in CA kept in memory; it passes the same contract test as the real one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chalicelib.domain.model import AuditEvent, Material, Page, SealedKeys
from chalicelib.domain.pca import (
    Authority,
    AuthorityStatus,
    IssuedCertificate,
    Revoked,
    issued_object_id,
    unknown_authority,
)
from tests.support.fakes import MemoryAuditStore, _not_found
from tests.support.pages import page_of


class MemoryAuthorityStore:
    """Authorities, what they issued, and what they revoked, as dictionaries."""

    def __init__(self, audit: MemoryAuditStore | None = None, materials: dict | None = None) -> None:
        self.audit = audit or MemoryAuditStore()
        self.authorities: dict[tuple[str, str], Authority] = {}
        self.sealed: dict[tuple[str, str], SealedKeys] = {}
        self.issued: dict[tuple[str, str], tuple[IssuedCertificate, Material]] = {}
        self.lists: dict[tuple[str, str], dict[int, Revoked]] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        #: The inventory's, which points to what was issued here.
        self.materials = {} if materials is None else materials
        self._lock = threading.RLock()

    def add(self, authority: Authority, keys: SealedKeys, audit: AuditEvent) -> None:
        place = authority.account_id, authority.ref.name
        self.authorities[place] = authority
        self.sealed[place] = keys
        self.audit.record(audit)

    def get(self, account_id: str, name: str) -> Authority:
        try:
            return self.authorities[account_id, name]
        except KeyError:
            raise unknown_authority(name) from None

    def keys(self, account_id: str, name: str) -> SealedKeys:
        self.get(account_id, name)
        return self.sealed[account_id, name]

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        own = sorted((a for a in self.authorities.values() if a.account_id == account_id), key=lambda a: a.ref.name)
        return page_of(own, lambda a: a.ref.name, f"authorities {account_id}", limit, cursor)

    def revoke(self, authority: Authority, revoked: Revoked, audit: AuditEvent) -> None:
        with self._lock:
            place = authority.account_id, authority.ref.name
            held = self.get(*place)
            if held.revoked_at is None:
                self.authorities[place] = replace(held, revoked_at=revoked.at, status=AuthorityStatus.REVOKED)
                self._list(authority.account_id, authority.parent or "", revoked)
                self.audit.record(audit)

    def issue(self, account_id: str, certificate: IssuedCertificate, material: Material, audit: AuditEvent) -> None:
        self.issued[account_id, certificate.id] = certificate, material
        self.materials[account_id, issued_object_id(certificate.id)] = material
        self.audit.record(audit)

    def certificate(self, account_id: str, certificate_id: str) -> IssuedCertificate:
        try:
            return self.issued[account_id, certificate_id][0]
        except KeyError:
            raise _not_found(certificate_id) from None

    def certificates(self, account_id: str, name: str, *, limit: int, cursor: str | None) -> Page[IssuedCertificate]:
        own = [c for (owner, _), (c, _) in self.issued.items() if (owner, c.authority_id) == (account_id, name)]
        own.sort(key=lambda c: c.id)
        return page_of(own, lambda c: c.id, f"issued {account_id} {name}", limit, cursor)

    def several(self, account_id: str, ids: Sequence[str]) -> Mapping[str, tuple[IssuedCertificate, Material]]:
        return {i: self.issued[account_id, i] for i in ids if (account_id, i) in self.issued}

    def revoke_certificate(
        self, account_id: str, certificate: IssuedCertificate, revoked: Revoked, audit: AuditEvent
    ) -> None:
        with self._lock:
            held = self.certificate(account_id, certificate.id)
            if held.revoked_at is None:
                material = self.issued[account_id, certificate.id][1]
                self.issued[account_id, certificate.id] = replace(held, revoked_at=revoked.at), material
                self._list(account_id, certificate.authority_id, revoked)
                self.audit.record(audit)

    def revoked(self, account_id: str, name: str) -> Sequence[Revoked]:
        entries = self.lists.get((account_id, name), {})
        return tuple(entries[number] for number in sorted(entries))

    def next_crl_number(self, account_id: str, name: str) -> int:
        with self._lock:
            self.get(account_id, name)
            number = self.numbers[account_id, name] = self.numbers.get((account_id, name), 0) + 1
            return number

    def _list(self, account_id: str, name: str, revoked: Revoked) -> None:
        self.lists.setdefault((account_id, name), {})[revoked.serial_number] = revoked
