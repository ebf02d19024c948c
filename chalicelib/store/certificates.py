"""The inventory in its tables.

A certificate is one slim row, one material row and a claim on its name, written in one transaction with its audit
event and with what it changes in the account's counters (`chalicelib.store.counters`). A transaction costs two write
units for each begun KB of each row. The id is made of expiry and fingerprint: rows lie in order of expiry, and one
certificate cannot be held twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from pynamodb.exceptions import PutError

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import Conflict, DuplicateCertificate, NameTaken, NotFound, TooLarge
from chalicelib.domain.model import (
    AuditEvent,
    Certificate,
    CertificateFilter,
    Material,
    Page,
    PendingKind,
    Source,
    Status,
    position_of,
)
from chalicelib.domain.naming import is_derived
from chalicelib.domain.pending import is_pending
from chalicelib.domain.quota import QuotaInsufficient, units_of
from chalicelib.domain.reminders import Watched
from chalicelib.domain.status import RENEWAL_WINDOW, status_at
from chalicelib.domain.summary import Tally
from chalicelib.store import quota
from chalicelib.store.audit import audit_row
from chalicelib.store.counters import FOLD_EVERY, fold_now_and_then, put_changes
from chalicelib.store.materials import material_of, material_row
from chalicelib.store.tables import (
    CertificateRow,
    MaterialRow,
    RowT,
    UniqueRow,
    fits_item,
    fits_key,
    may_be_outdated,
    read,
)
from chalicelib.store.terms import (
    MAX_DOMAIN,
    SHORT,
    STUCK,
    UNSEEN,
    add_terms,
    changing_terms,
    domain_terms,
    driving_term,
    drop,
    drop_unless_newer,
    find,
    positions,
    remove_terms,
    watched,
    write_terms,
)
from chalicelib.store.transactions import ATTEMPTS, ConditionFailedError, Writes

#: How many rows a page looks at before it answers with what it has and a cursor.
MAX_EVALUATED: Final = 500
#: How many certificates are held in memory at once while a range of expiry is read.
EXPIRING_PAGE: Final = 500
#: How many certificates whose renewal failed are read at once.
STUCK_PAGE: Final = 100
_LAST: Final = "~"


class DynamoCertificateStore:
    """Implements `chalicelib.ports.CertificateStore`.

    The write units below are those of each write; folding what they change in the counters comes to about 4 more for
    each one that changes any. `fold_every` is by how many changes it is shared. A write by which notices that take a
    unit of the quota go on or off costs 2 more; `free_units` is how many units an account has without buying any.
    """

    def __init__(self, fold_every: int = FOLD_EVERY, free_units: int = quota.FREE) -> None:
        self._fold_every = fold_every
        self._free = free_units

    def add(self, certificate: Certificate, material: Material, audit: AuditEvent) -> None:
        """Store a new certificate.

        Write units: one for each index entry (a domain and its parents are about two), then in the transaction
        two each for slim row, claim, audit event and counting, and for each begun KB of material: 29 for an RSA
        certificate with two domains, one intermediate and two tags. One more with notices on, two for a short lifetime.

        What a refused write leaves in the index is not removed: it may be the entries of the one that was there first.
        """
        terms = domain_terms(material.domains) | changing_terms(certificate)
        writes = _first_writes(certificate, material)
        writes.put(_name_claim(certificate), UniqueRow.claim.does_not_exist(), "name")
        writes.put(audit_row(audit))
        counts = put_changes(writes, certificate.account_id, audit.id, Tally().count(certificate))
        quota.put_units(writes, certificate.account_id, units_of(certificate), self._free)
        write_terms(certificate, terms)
        try:
            writes.commit(attempts=_attempts(writes))
        except ConditionFailedError as failed:
            raise self._refusal(certificate, failed) from None
        self._fold(certificate.account_id, audit, counts=counts)

    def take_in(self, certificate: Certificate, material: Material) -> bool:
        """Store a certificate of a private CA, unless it is held.

        Write units: one for each index entry, for each begun KB of material, and of the slim row: 4 for a
        certificate of the built-in CA with one name of three labels, which costs no material. It is counted with the
        chunk that brings it.
        """
        row = _sound(_row(certificate))
        write_terms(certificate, domain_terms(material.domains) | changing_terms(certificate))
        if certificate.material_id is None:
            # Left by a try that was killed, it is the same; of one that was uploaded meanwhile, it stays.
            with may_be_outdated():
                own = _sound(material_row(certificate.account_id, certificate.id, material))
                own.save(MaterialRow.object_id.does_not_exist())
        try:
            row.save(CertificateRow.certificate_id.does_not_exist())
        except PutError as error:
            if error.cause_response_code != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def get(self, account_id: str, certificate_id: str) -> Certificate:
        """The slim record: 1 read unit."""
        row = read(CertificateRow, account_id, certificate_id)
        if row is None:
            raise _not_found(certificate_id)
        return _certificate(row)

    def several(self, account_id: str, ids: Sequence[str], *, consistent: bool = True) -> Mapping[str, Certificate]:
        """Slim records by id: 1 read unit each, half of one when not consistent; 100 to a request."""
        keys = [(account_id, one) for one in dict.fromkeys(ids) if fits_key(one)]
        rows = CertificateRow.batch_get(keys, consistent_read=consistent)
        return {row.certificate_id: _certificate(row) for row in rows}

    def expiring(self, account_id: str, low: datetime, high: datetime) -> Iterator[Certificate]:
        """Certificates that expire after `low` and until `high`, by the table's own keys.

        Eventually consistent: half a read unit for each begun 4 KB of them, some four or five certificates.
        """
        least, most = position_of(low) + _LAST, position_of(high) + _LAST
        if least < most:
            rows = CertificateRow.query(
                account_id, CertificateRow.certificate_id.between(least, most), page_size=EXPIRING_PAGE
            )
            yield from map(_certificate, rows)

    def short_lived(self, account_id: str, low: datetime, high: datetime) -> Iterator[Watched]:
        """Entries of short-lived certificates: half a read unit for each begun 4 KB, about 35 entries.

        All that expire in the range are read, so a day on which few are due costs more than those alone. Over its
        life an entry is read on at most 30 days, 0.4 units, for five reminders of half a unit each.
        """
        return watched(account_id, SHORT, low, high)

    def unseen(self, account_id: str) -> Iterator[Watched]:
        """Entries of certificates that no scan has looked at: half a read unit for each begun 4 KB, about 35."""
        return watched(account_id, UNSEEN)

    def stuck(self, account_id: str) -> Iterator[Certificate]:
        """Those with a renewal problem: half a read unit for each 50 entries, and half of one for each certificate."""
        entries = positions(account_id, STUCK)
        while batch := list(islice(entries, STUCK_PAGE)):
            found = self.several(account_id, batch, consistent=False)
            yield from (found[one] for one in batch if one in found and found[one].renewal_problem is not None)

    def seen(self, account_id: str, ids: Sequence[str]) -> None:
        """Delete entries of `unseen`: 1 write unit each, 25 to a request."""
        drop(account_id, UNSEEN, ids)

    def forget(self, account_id: str, watched: Watched) -> None:
        """Delete an entry of `unseen`, unless it is newer than this: 1 write unit."""
        drop_unless_newer(account_id, UNSEEN, watched)

    def material(self, certificate: Certificate) -> Material:
        """The heavy part: 1 read unit for each begun 4 KB, mostly 2."""
        row = read(MaterialRow, certificate.account_id, certificate.material_id or certificate.id)
        if row is None:
            raise _not_found(certificate.id)
        return material_of(row)

    def holds(self, account_id: str, certificate_id: str) -> bool:
        """Whether the account has this certificate: 1 read unit."""
        return read(CertificateRow, account_id, certificate_id) is not None

    def name_taken(self, account_id: str, name: str) -> bool:
        """Whether the name is held: 1 read unit."""
        return read(UniqueRow, account_id, f"name#{name}") is not None

    def page(
        self, account_id: str, wanted: CertificateFilter, *, now: datetime, limit: int, cursor: str | None
    ) -> Page[Certificate]:
        """Certificates, soonest expiry first.

        Read units: by the table itself, one for each 4 KB of the `limit` + 1 slim rows (5 for 20); by a term,
        one for each row and one for each 50 index entries (22 for 20). At most `MAX_EVALUATED` rows are looked at,
        whatever the inventory's size.
        """
        scope = f"certificates#{account_id}#{_digest(wanted)}"
        after = decode_cursor(scope, cursor)
        items, rest = _Walk(account_id, wanted, now, after).collect(limit)
        if rest is None and _in_two_parts(wanted):
            # Positions of the second part lie behind those of the first: so do its cursors.
            border = max(after or "", _due_until(now))
            more, rest = _Walk(account_id, wanted, now, border, stuck=True).collect(limit - len(items))
            items += more
        return Page(tuple(items), None if rest is None else encode_cursor(scope, rest))

    def update(self, old: Certificate, new: Certificate, audit: AuditEvent, *, reservation: str | None = None) -> None:
        """Replace `old` by `new`: 4 write units, 4 more for a new name, and one for each entry that comes or goes.

        Two more when it changes what is counted: notices, deployment, replacement, revocation.
        """
        gone, come = changing_terms(old) - changing_terms(new), changing_terms(new) - changing_terms(old)
        writes = Writes()
        writes.put(_sound(_row(new)), CertificateRow.version == old.version, "version")
        writes.put(audit_row(audit))
        if new.name != old.name:
            writes.put(_name_claim(new), UniqueRow.claim.does_not_exist(), "name")
            _give_up_name(writes, old)
        counts = put_changes(writes, new.account_id, audit.id, Tally().count(old, -1).count(new))
        quota.put_units(writes, new.account_id, units_of(new) - units_of(old), self._free, reservation)
        add_terms(new, come)
        try:
            writes.commit(attempts=_attempts(writes))
        except ConditionFailedError as failed:
            # The version comes first: the name may be taken by the very change that this one lost against.
            if "version" in failed.labels:
                raise self._changed(old) from None
            raise self._refusal(new, failed) from None
        remove_terms(old, gone)
        self._fold(new.account_id, audit, counts=counts)

    def replace(
        self, old: Certificate, retired: Certificate, new: Certificate, material: Material, audit: AuditEvent
    ) -> None:
        """Store `new`, under `old`'s name or another, and `old` as `retired`: units of `add`, and four more."""
        terms = domain_terms(material.domains) | changing_terms(new)
        writes = _first_writes(new, material)
        if new.name == old.name:
            writes.put(_name_claim(retired), UniqueRow.claim.does_not_exist(), "name")
            writes.put(_name_claim(new), UniqueRow.certificate_id == old.id, "version")
        else:
            writes.put(_name_claim(new), UniqueRow.claim.does_not_exist(), "name")
        writes.put(_row(retired), CertificateRow.version == old.version, "version")
        writes.put(audit_row(audit))
        counts = put_changes(writes, new.account_id, audit.id, Tally().count(old, -1).count(retired).count(new))
        quota.put_units(writes, new.account_id, units_of(retired) + units_of(new) - units_of(old), self._free)
        write_terms(new, terms)
        try:
            writes.commit(attempts=_attempts(writes))
        except ConditionFailedError as failed:
            if "id" not in failed.labels and "version" in failed.labels:
                raise self._changed(old) from None
            renamed = retired if new.name == old.name else new
            raise self._refusal(new if "id" in failed.labels else renamed, failed) from None
        remove_terms(old, changing_terms(old) - changing_terms(retired))
        self._fold(new.account_id, audit, counts=counts)

    def delete(self, certificate: Certificate, audit: AuditEvent) -> None:
        """Delete record, own material, claim, then index entries: about the units of `add`, and the material's read."""
        domains = self.material(certificate).domains
        writes = Writes()
        writes.delete(_row(certificate), CertificateRow.version == certificate.version, "version")
        if certificate.material_id is None:
            writes.delete(MaterialRow(certificate.account_id, certificate.id))
        _give_up_name(writes, certificate)
        writes.put(audit_row(audit))
        counts = put_changes(writes, certificate.account_id, audit.id, Tally().count(certificate, -1))
        quota.put_units(writes, certificate.account_id, -units_of(certificate), self._free)
        try:
            writes.commit(attempts=_attempts(writes))
        except ConditionFailedError:
            raise self._changed(certificate) from None
        remove_terms(certificate, domain_terms(domains) | changing_terms(certificate))
        self._fold(certificate.account_id, audit, counts=counts)

    def _fold(self, account_id: str, audit: AuditEvent, *, counts: bool) -> None:
        if counts:
            fold_now_and_then(account_id, audit.id, audit.at, self._fold_every)

    def _refusal(self, certificate: Certificate, failed: ConditionFailedError) -> Conflict:
        """What a failed write means, beside a version that is no longer the same."""
        if "id" in failed.labels:
            return DuplicateCertificate(certificate.id)
        if "name" in failed.labels:
            return NameTaken(certificate.name)
        return QuotaInsufficient(quota.quota_of(certificate.account_id, self._free).remaining, 1)

    def _changed(self, certificate: Certificate) -> Conflict:
        """What to raise when a record is no longer as it was read. Raises: NotFound, when it is gone."""
        self.get(certificate.account_id, certificate.id)
        return Conflict("ConcurrentChange", "The certificate was changed by another request in the meantime.")


def _attempts(writes: Writes) -> int:
    """All who take units meet at one row, and wait longer for each other."""
    return quota.ATTEMPTS if quota.LABEL in writes.labels else ATTEMPTS


def _give_up_name(writes: Writes, certificate: Certificate) -> None:
    """Give the claim on a name back; a derived name has none."""
    if not is_derived(certificate.name):
        writes.delete(_name_claim(certificate), UniqueRow.certificate_id == certificate.id, "version")


def _first_writes(certificate: Certificate, material: Material) -> Writes:
    """What every new certificate is: a record, and its material unless that lies elsewhere."""
    writes = Writes()
    writes.put(_sound(_row(certificate)), CertificateRow.certificate_id.does_not_exist(), "id")
    if certificate.material_id is None:
        writes.put(_sound(material_row(certificate.account_id, certificate.id, material)))
    return writes


def _sound(row: RowT) -> RowT:
    """The row, if DynamoDB can hold it. Raises: TooLarge."""
    if not fits_item(row):
        raise TooLarge("RequestTooLarge", "The certificate with its chain is larger than what can be kept.")
    return row


@dataclass(slots=True)
class _Walk:
    """Goes through an account's certificates in order of expiry, by the index that serves the question."""

    account_id: str
    wanted: CertificateFilter
    now: datetime
    after: str | None
    stuck: bool = False
    evaluated: int = 0
    term: str | None = field(init=False)
    rest: CertificateFilter = field(init=False)
    low: str = field(init=False)
    high: str = field(init=False)

    def __post_init__(self) -> None:
        self.term, self.rest = driving_term(self.wanted)
        self.low, self.high = _range(self.wanted, self.now)
        if self.stuck:
            self.term = STUCK
        elif _in_two_parts(self.wanted):
            self.high = min(self.high, _due_until(self.now))
        if self.after is not None:
            self.low = max(self.low, self.after + "\x01")

    def collect(self, limit: int) -> tuple[list[Certificate], str | None]:
        """At most `limit` certificates that fit, and the position to go on after, if there is more."""
        items: list[Certificate] = []
        last = self.after or ""
        while self.low <= self.high:
            chunk = min(self._chunk(limit + 1 - len(items)), MAX_EVALUATED - self.evaluated)
            positions, found = self._read(chunk)
            for position in positions:
                certificate = found.get(position)
                if certificate is not None and self._fits(certificate):
                    if len(items) == limit:
                        return items, last
                    items.append(certificate)
                last = position
            self.evaluated += len(positions)
            if len(positions) < chunk:
                return items, None
            if self.evaluated >= MAX_EVALUATED:
                return items, last
            self.low = last + "\x01"
        return items, None

    def _fits(self, certificate: Certificate) -> bool:
        below = self.rest.domain
        return fits(certificate, self.wanted, self.now) and (below is None or _lies_below(certificate, below))

    def _chunk(self, missing: int) -> int:
        """How many rows to read at once: what is missing, more when many of them may not fit."""
        exact = self.rest.status in {None, Status.EXPIRED}
        by_range = CertificateFilter(status=self.rest.status, expires_before=self.rest.expires_before)
        return missing if exact and self.rest == by_range else max(missing, 50, self.evaluated)

    def _read(self, limit: int) -> tuple[Sequence[str], dict[str, Certificate]]:
        if self.term is None:
            rows = list(
                CertificateRow.query(
                    self.account_id,
                    CertificateRow.certificate_id.between(self.low, self.high),
                    limit=limit,
                    page_size=limit,
                    consistent_read=True,
                )
            )
            return [row.certificate_id for row in rows], {row.certificate_id: _certificate(row) for row in rows}
        positions = [row.position for row in find(self.account_id, self.term, self.low, self.high, limit)]
        keys = [(self.account_id, position) for position in positions]
        batch = CertificateRow.batch_get(keys, consistent_read=True) if keys else ()
        return positions, {row.certificate_id: _certificate(row) for row in batch}


def _range(wanted: CertificateFilter, now: datetime) -> tuple[str, str]:
    """The positions between which certificates of the wanted status and expiry lie."""
    low, high = "0", _LAST
    if wanted.status is Status.EXPIRED:
        high = position_of(now) + _LAST
    elif wanted.status is Status.ISSUED:
        low = position_of(now)
    elif wanted.status is Status.TO_BE_RENEWED:
        low, high = position_of(now), position_of(now + RENEWAL_WINDOW) + _LAST
    if wanted.pending is not None:
        low = max(low, position_of(now))
    if wanted.expires_before is not None:
        with suppress(OverflowError):  # a moment that is outside of Python's years in UTC bounds nothing
            high = min(high, position_of(wanted.expires_before) + _LAST)
    return low, high


def _in_two_parts(wanted: CertificateFilter) -> bool:
    """Whether a list is read in two parts: what is due for renewal by the clock, then what failed to renew earlier."""
    renewal = wanted.pending is PendingKind.PENDING_RENEWAL
    return renewal and wanted.domain is None and driving_term(wanted)[0] is None


def _due_until(now: datetime) -> str:
    """Where the certificates end of which the renewal may be due by the clock."""
    return position_of(now + RENEWAL_WINDOW) + _LAST


def _lies_below(certificate: Certificate, pattern: str) -> bool:
    """Whether a domain of the certificate lies below a top-level domain: 2 read units when it has more than listed."""
    term = pattern.removeprefix("*")
    domains: Sequence[str] = certificate.domains
    if certificate.domains_total > len(domains):
        row = read(MaterialRow, certificate.account_id, certificate.material_id or certificate.id)
        domains = domains if row is None else material_of(row).domains
    return len(term) > 1 and not term[1:].isdigit() and any(d.endswith(term) and len(d) <= MAX_DOMAIN for d in domains)


def fits(certificate: Certificate, wanted: CertificateFilter, now: datetime) -> bool:
    """Whether a certificate is what the filter asks for."""
    return (
        (wanted.source is None or certificate.source is wanted.source)
        and (wanted.status is None or status_at(certificate, now) is wanted.status)
        and (wanted.tag is None or _has_tag(certificate, wanted.tag))
        and (wanted.resource_group is None or certificate.resource_group == wanted.resource_group)
        and (wanted.notifications is None or certificate.notifications is wanted.notifications)
        and (wanted.deployed is None or certificate.deployed is wanted.deployed)
        and (wanted.expires_before is None or certificate.not_after < wanted.expires_before)
        and (wanted.pending is None or is_pending(certificate, wanted.pending, now))
        and (wanted.q is None or _mentions(certificate, wanted.q))
    )


def _has_tag(certificate: Certificate, tag: str) -> bool:
    key, equals, value = tag.partition("=")
    return key in certificate.tags and (not equals or certificate.tags[key] == value)


def _mentions(certificate: Certificate, q: str) -> bool:
    needle = q.casefold()
    texts = (certificate.name, certificate.subject, certificate.issuer, *certificate.domains)
    hexes = (certificate.serial_number, certificate.fingerprint)
    plain = needle.replace(":", "").replace(" ", "")
    return any(needle in text.casefold() for text in texts) or (plain != "" and any(plain in text for text in hexes))


def _digest(wanted: CertificateFilter) -> str:
    text = json.dumps(asdict(wanted), default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _name_claim(certificate: Certificate) -> UniqueRow:
    return UniqueRow(certificate.account_id, f"name#{certificate.name}", certificate_id=certificate.id)


def _not_found(certificate_id: str) -> NotFound:
    return NotFound("NotFound", f"There is no certificate {certificate_id!r:.70} in this account.")


_SAME: Final = [
    "name",
    "domains_total",
    "algorithm",
    "key_size",
    "subject",
    "issuer",
    "serial_number",
    "fingerprint",
    "public_key_fingerprint",
    "not_before",
    "not_after",
    "resource_group",
    "notifications",
    "has_private_key",
    "created_at",
    "updated_at",
    "created_by",
    "version",
    "revoked_at",
    "deployed",
    "replaces",
    "replaced_by",
    "origin",
    "material_id",
    "renewal_problem",
]


def _row(certificate: Certificate) -> CertificateRow:
    return CertificateRow(
        certificate.account_id,
        certificate.id,
        source=certificate.source.value,
        domains=list(certificate.domains),
        risks=list(certificate.risks),
        tags=dict(certificate.tags),
        auto_renew=certificate.auto_renew or None,
        **{name: getattr(certificate, name) for name in _SAME},
    )


def _certificate(row: CertificateRow) -> Certificate:
    numbers = {name: int(getattr(row, name)) for name in ("domains_total", "key_size", "version")}
    same = {name: getattr(row, name) for name in _SAME} | numbers
    return Certificate(
        id=row.certificate_id,
        account_id=row.account_id,
        source=Source(row.source),
        domains=tuple(row.domains),
        risks=tuple(row.risks),
        tags=row.tags,
        auto_renew=bool(row.auto_renew),
        **same,
    )
