"""Certificate signing requests in their table; their keys lie in the materials."""

from __future__ import annotations

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import AuditEvent, Csr, Page, SealedKeys
from chalicelib.store.audit import audit_row
from chalicelib.store.materials import key_id, key_row, keys_of
from chalicelib.store.tables import CsrRow, MaterialRow, fits_key, read
from chalicelib.store.transactions import ConditionFailedError, Writes


class DynamoCsrStore:
    """Implements `chalicelib.ports.CsrStore`."""

    def add(self, csr: Csr, keys: SealedKeys | None, audit: AuditEvent) -> None:
        """Store a new request: about 14 write units with a key (two for each begun KB of row and index)."""
        writes = Writes()
        writes.put(_row(csr), CsrRow.csr_id.does_not_exist(), "id")
        writes.put(audit_row(audit))
        if keys is not None:
            writes.put(key_row(csr.account_id, key_id(csr.id), keys))

        writes.commit()

    def get(self, account_id: str, csr_id: str) -> Csr:
        """One request: 1 read unit."""
        row = read(CsrRow, account_id, csr_id)
        if row is None:
            raise _not_found(csr_id)
        return _csr(row)

    def keys(self, account_id: str, csr_id: str) -> SealedKeys | None:
        """Its sealed key: 2 read units."""
        row = read(MaterialRow, account_id, key_id(csr_id))
        if row is None:
            self.get(account_id, csr_id)
            return None
        return keys_of(row)

    def by_public_key(self, account_id: str, public_key_fingerprint: str) -> Csr | None:
        """A request for this public key, one with its key before one without: 1 read unit for about two of them."""
        rows = CsrRow.by_public_key.query(
            account_id, CsrRow.public_key == public_key_fingerprint, consistent_read=True, limit=20
        )
        found = sorted((_csr(row) for row in rows), key=lambda csr: (not csr.has_private_key, csr.id))
        return next(iter(found), None)

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Csr]:
        """Requests, newest first: 1 read unit for each 4 KB returned, about two or three requests."""
        scope = f"csrs#{account_id}"
        before = decode_cursor(scope, cursor)
        condition = None if before is None else CsrRow.csr_id < before
        rows = list(
            CsrRow.query(
                account_id,
                condition,
                scan_index_forward=False,
                limit=limit + 1,
                page_size=limit + 1,
                consistent_read=True,
            )
        )
        more = encode_cursor(scope, rows[limit - 1].csr_id) if len(rows) > limit else None
        return Page(tuple(_csr(row) for row in rows[:limit]), more)

    def delete(self, account_id: str, csr_id: str, audit: AuditEvent) -> None:
        """Delete request and key: about the units of `add`."""
        if not fits_key(csr_id):
            raise _not_found(csr_id)
        writes = Writes()
        writes.delete(CsrRow(account_id, csr_id), CsrRow.csr_id.exists(), "id")
        writes.delete(MaterialRow(account_id, key_id(csr_id)))
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            raise _not_found(csr_id) from None


def _not_found(csr_id: str) -> NotFound:
    return NotFound("NotFound", f"There is no CSR {csr_id!r:.70} in this account.")


def _row(csr: Csr) -> CsrRow:
    return CsrRow(
        csr.account_id,
        csr.id,
        public_key=csr.public_key_fingerprint,
        name=csr.name,
        common_name=csr.common_name,
        sans=list(csr.sans),
        algorithm=csr.algorithm,
        key_size=csr.key_size,
        subject=csr.subject,
        pem=csr.pem,
        has_private_key=csr.has_private_key,
        created_at=csr.created_at,
    )


def _csr(row: CsrRow) -> Csr:
    return Csr(
        id=row.csr_id,
        account_id=row.account_id,
        name=row.name,
        common_name=row.common_name,
        sans=tuple(row.sans),
        algorithm=row.algorithm,
        key_size=int(row.key_size),
        subject=row.subject,
        public_key_fingerprint=row.public_key,
        pem=row.pem,
        has_private_key=row.has_private_key,
        created_at=row.created_at,
    )
