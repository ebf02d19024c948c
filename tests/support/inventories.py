"""Large inventories, put into moto behind its back: each as if uploaded with notices on, and seen by a scan."""

from __future__ import annotations

from datetime import timedelta

from pynamodb.attributes import UTCDateTimeAttribute

from chalicelib.domain.model import certificate_id, position_of
from chalicelib.store.certificates import DynamoCertificateStore
from chalicelib.store.tables import CertificateRow, TermRow
from tests.support.authority import NOW
from tests.support.capacity import fill, moto_table
from tests.support.records import event, material, record, ulid

DAY = timedelta(days=1)
SHORT_LIFE = timedelta(days=89)
_text = UTCDateTimeAttribute().serialize


def inventory(size: int, *, short: float = 0.05, span: timedelta = 1025 * DAY, account_id: str | None = None) -> str:
    """An account whose certificates expire evenly, so that 1 % of them is due on any day.

    Args:
        size: how many certificates.
        short: which part of them lives for 89 days; the rest for more than 90.
        span: how long the latter's expiries are spread over.
        account_id: whose; a new account's when left out.
    """
    owner = account_id or ulid()
    _fill(owner, round(size * short), SHORT_LIFE, SHORT_LIFE)
    _fill(owner, size - round(size * short), span, span + 90 * DAY)
    return owner


def _fill(owner, count, span, life):
    if not count:
        return
    fields = {"tags": {"team": "web", "env": "production"}, "resource_group": "shop", "notifications": True}
    domains = ("example.com", "www.example.com")
    first = record(account_id=owner, domains=domains, not_before=NOW + span - life, not_after=NOW + span, **fields)
    store = DynamoCertificateStore()
    store.add(first, material(first), event(owner))
    store.seen(owner, [first.id])
    (row,) = CertificateRow.query(owner, CertificateRow.certificate_id == first.id)
    step = span / count
    ends = [(NOW + step * number).replace(microsecond=0) for number in range(1, count)]
    ids = [position_of(end) + certificate_id(end, f"{number:020x}")[10:] for number, end in enumerate(ends)]
    texts = (
        {"certificate_id": one, "not_after": _text(end), "not_before": _text(end - life)}
        for one, end in zip(ids, ends, strict=True)
    )
    fill(moto_table(CertificateRow.Meta.table_name), row.serialize(), texts)
    for entry in TermRow.query(f"{owner}#short", TermRow.position == first.id):
        fill(moto_table(TermRow.Meta.table_name), entry.serialize(), ({"position": one} for one in ids))
