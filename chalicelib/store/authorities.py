"""The built-in CA in its tables.

An authority is a row of its own, its sealed key one of the materials. What it issued lies in a partition of its own,
by ULID, and after that what it revoked, by serial number: so its revocation list is one query. Reads are strongly
consistent: what was revoked is in the next list. A transaction costs two write units for each begun KB of each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from pynamodb.exceptions import UpdateError
from pynamodb.expressions.update import Action

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import NotFound
from chalicelib.domain.model import AuditEvent, Material, Page, SealedKeys
from chalicelib.domain.pca import (
    BUILTIN,
    Authority,
    AuthorityKind,
    AuthorityRef,
    AuthorityStatus,
    IssuedCertificate,
    Limits,
    Revoked,
    authority_object_id,
    issued_object_id,
    unknown_authority,
)
from chalicelib.store.audit import audit_row
from chalicelib.store.materials import key_row, keys_of, material_of, material_row
from chalicelib.store.tables import AuthorityRow, IssuedRow, MaterialRow, fits_key, read
from chalicelib.store.transactions import ConditionFailedError, Writes

#: What the sort keys of revocations begin with; ULIDs, of digits and capitals, sort before it.
_REVOKED: Final = "revoked#"
_AFTER_ULIDS: Final = "["


class DynamoAuthorityStore:
    """Implements `chalicelib.ports.AuthorityStore`."""

    def add(self, authority: Authority, keys: SealedKeys, audit: AuditEvent) -> None:
        """Store a new authority: 12 write units with a key of RSA 3072 (row 2 KB, key 3 KB), 6 with ECC or SM2."""
        writes = Writes()
        writes.put(_row(authority), AuthorityRow.name.does_not_exist(), "name")
        writes.put(key_row(authority.account_id, authority_object_id(authority.ref.name), keys))
        writes.put(audit_row(audit))
        writes.commit()

    def get(self, account_id: str, name: str) -> Authority:
        """One authority: 1 read unit."""
        row = read(AuthorityRow, account_id, name)
        if row is None:
            raise unknown_authority(name)
        return _authority(row)

    def keys(self, account_id: str, name: str) -> SealedKeys:
        """Its sealed key: 1 read unit."""
        row = read(MaterialRow, account_id, authority_object_id(name))
        found = None if row is None else keys_of(row)
        if found is None:
            raise unknown_authority(name)
        return found

    def page(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """Authorities, oldest first: 1 read unit for each 4 KB returned, two to four of them."""
        scope = f"authorities#{account_id}"
        after = decode_cursor(scope, cursor)
        condition = None if after is None else AuthorityRow.name > after
        rows = list(
            AuthorityRow.query(account_id, condition, limit=limit + 1, page_size=limit + 1, consistent_read=True)
        )
        more = encode_cursor(scope, rows[limit - 1].name) if len(rows) > limit else None
        return Page(tuple(_authority(row) for row in rows[:limit]), more)

    def revoke(self, authority: Authority, revoked: Revoked, audit: AuditEvent) -> None:
        """Revoke an intermediate: 8 write units with RSA 3072, 6 with ECC or SM2."""
        unrevoked = AuthorityRow.name.exists() & AuthorityRow.revoked_at.does_not_exist()
        row = AuthorityRow(authority.account_id, authority.ref.name)
        writes = Writes()
        writes.update(row, [AuthorityRow.revoked_at.set(revoked.at)], unrevoked, "authority")
        writes.put(_revoked_row(authority.account_id, authority.parent or "", revoked))
        writes.put(audit_row(audit))
        try:
            writes.commit()
        except ConditionFailedError:
            self.get(authority.account_id, authority.ref.name)  # it was revoked before, or is not there

    def issue(self, account_id: str, certificate: IssuedCertificate, material: Material, audit: AuditEvent) -> None:
        """Store what an authority issued.

        Write units: two each for row and audit event, and for each begun KB of the material: 18 for a certificate
        with its key of RSA 2048 below an intermediate of RSA 3072; 10 for ECC or SM2 throughout.
        """
        writes = Writes()
        writes.put(_issued_row(account_id, certificate), IssuedRow.item.does_not_exist(), "id")
        writes.put(material_row(account_id, issued_object_id(certificate.id), material))
        writes.put(audit_row(audit))
        writes.commit()

    def certificate(self, account_id: str, certificate_id: str) -> IssuedCertificate:
        """One issued certificate: 1 read unit."""
        key = _issued_key(account_id, certificate_id)
        row = None if key is None else read(IssuedRow, *key)
        if row is None:
            raise NotFound("NotFound", f"There is no certificate {certificate_id!r:.70} of a CA in this account.")
        return _issued(row)

    def certificates(self, account_id: str, name: str, *, limit: int, cursor: str | None) -> Page[IssuedCertificate]:
        """What an authority issued, oldest first: 1 read unit for each 4 KB returned, about ten certificates."""
        scope = f"issued#{account_id}#{name}"
        after = decode_cursor(scope, cursor)
        partition = _partition(account_id, name)
        if not fits_key(partition):
            return Page((), None)
        condition = (
            IssuedRow.item < _AFTER_ULIDS if after is None else IssuedRow.item.between(f"{after} ", _AFTER_ULIDS)
        )
        rows = list(IssuedRow.query(partition, condition, limit=limit + 1, page_size=limit + 1, consistent_read=True))
        more = encode_cursor(scope, rows[limit - 1].item) if len(rows) > limit else None
        return Page(tuple(_issued(row) for row in rows[:limit]), more)

    def several(self, account_id: str, ids: Sequence[str]) -> Mapping[str, tuple[IssuedCertificate, Material]]:
        """Certificates with their material: for each 1 read unit, and 1 for each begun 4 KB of material, mostly 2."""
        keys = [key for key in (_issued_key(account_id, i) for i in ids) if key is not None]
        found = {c.id: c for c in map(_issued, IssuedRow.batch_get(keys, consistent_read=True))}
        places = {issued_object_id(i): i for i in found}
        wanted = [(account_id, place) for place in places]
        rows = MaterialRow.batch_get(wanted, consistent_read=True)
        return {places[row.object_id]: (found[places[row.object_id]], material_of(row)) for row in rows}

    def revoke_certificate(
        self, account_id: str, certificate: IssuedCertificate, revoked: Revoked, audit: AuditEvent
    ) -> None:
        """Revoke an issued certificate: 6 write units."""
        key = _issued_key(account_id, certificate.id)
        assert key is not None
        unrevoked = IssuedRow.item.exists() & IssuedRow.revoked_at.does_not_exist()
        actions: list[Action] = [IssuedRow.revoked_at.set(revoked.at), IssuedRow.reason.set(revoked.reason)]
        writes = Writes()
        writes.update(IssuedRow(*key), actions, unrevoked, "certificate")
        writes.put(_revoked_row(account_id, certificate.authority_id, revoked))
        writes.put(audit_row(audit))
        try:
            writes.commit()
        except ConditionFailedError:
            self.certificate(account_id, certificate.id)  # it was revoked before, or is not there

    def revoked(self, account_id: str, name: str) -> Sequence[Revoked]:
        """All that an authority revoked: 1 read unit for each 4 KB, about twenty entries."""
        partition = _partition(account_id, name)
        if not fits_key(partition):
            return ()
        rows = IssuedRow.query(partition, IssuedRow.item.startswith(_REVOKED), consistent_read=True)
        found = (Revoked(int(row.serial_number, 16), row.revoked_at, row.reason) for row in rows)
        return tuple(sorted(found, key=lambda entry: entry.serial_number))

    def next_crl_number(self, account_id: str, name: str) -> int:
        """A number higher than every one before: 1 write unit for each begun KB of the row: 2 with RSA, else 1."""
        if not fits_key(name):
            raise unknown_authority(name)
        row = AuthorityRow(account_id, name)
        try:
            row.update([AuthorityRow.crl_number.add(1)], condition=AuthorityRow.name.exists())
        except UpdateError as error:
            if error.cause_response_code != "ConditionalCheckFailedException":
                raise
            raise unknown_authority(name) from None
        return int(row.crl_number)


def _partition(account_id: str, name: str) -> str:
    return f"{account_id}#{name}"


def _issued_key(account_id: str, certificate_id: str) -> tuple[str, str] | None:
    """Key of a certificate's row; ``None`` when nothing can have that id, a revocation included."""
    name, _, item = certificate_id.rpartition(".")
    key = _partition(account_id, name), item
    return key if "#" not in item and all(map(fits_key, key)) else None


def _row(authority: Authority) -> AuthorityRow:
    return AuthorityRow(
        authority.account_id,
        authority.ref.name,
        kind=authority.kind.value,
        parent=authority.parent,
        subject=authority.subject,
        algorithm=authority.algorithm,
        key_size=authority.key_size,
        serial_number=authority.serial_number,
        not_before=authority.not_before,
        not_after=authority.not_after,
        certificate=authority.certificate,
        revoked_at=authority.revoked_at,
        path_length=authority.limits.path_length,
        permitted=list(authority.limits.permitted),
        excluded=list(authority.limits.excluded),
    )


def _authority(row: AuthorityRow) -> Authority:
    revoked_at: datetime | None = row.revoked_at
    length: float | None = row.path_length
    return Authority(
        account_id=row.account_id,
        ref=AuthorityRef(BUILTIN, "", row.name),
        region="",
        kind=AuthorityKind(row.kind),
        parent=row.parent,
        subject=row.subject,
        algorithm=row.algorithm,
        key_size=int(row.key_size),
        serial_number=row.serial_number,
        not_before=row.not_before,
        not_after=row.not_after,
        status=AuthorityStatus.ACTIVE if revoked_at is None else AuthorityStatus.REVOKED,
        certificate=row.certificate,
        revoked_at=revoked_at,
        limits=Limits(None if length is None else int(length), tuple(row.permitted), tuple(row.excluded)),
    )


def _issued_row(account_id: str, certificate: IssuedCertificate) -> IssuedRow:
    return IssuedRow(
        _partition(account_id, certificate.authority_id),
        certificate.id.rpartition(".")[2],
        common_name=certificate.common_name,
        sans=list(certificate.sans),
        serial_number=certificate.serial_number,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        fingerprint=certificate.fingerprint,
        algorithm=certificate.algorithm,
        key_size=certificate.key_size,
        usage=certificate.usage,
        has_private_key=certificate.has_private_key,
        revoked_at=certificate.revoked_at,
    )


def _issued(row: IssuedRow) -> IssuedCertificate:
    authority_id = row.authority.partition("#")[2]
    return IssuedCertificate(
        id=f"{authority_id}.{row.item}",
        authority_id=authority_id,
        common_name=row.common_name,
        sans=tuple(row.sans),
        serial_number=row.serial_number,
        not_before=row.not_before,
        not_after=row.not_after,
        fingerprint=row.fingerprint,
        algorithm=row.algorithm,
        key_size=int(row.key_size),
        usage=row.usage,
        revoked_at=row.revoked_at,
        has_private_key=row.has_private_key,
    )


def _revoked_row(account_id: str, name: str, revoked: Revoked) -> IssuedRow:
    serial_number = f"{revoked.serial_number:x}"
    return IssuedRow(
        _partition(account_id, name),
        _REVOKED + serial_number,
        serial_number=serial_number,
        revoked_at=revoked.at,
        reason=revoked.reason,
    )
