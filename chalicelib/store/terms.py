"""The inverted index behind the list filters, and behind the scan for what is due.

One entry per certificate and term, sorted by id, so by expiry, like the list itself. Entries are written before the
record and removed after it, so a crash leaves entries that point at nothing or at a record that no longer
fits: readers check every hit, and the index may be a superset of the truth but never misses anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from chalicelib.domain.model import Certificate, CertificateFilter, PendingKind, Status, expiry_of, position_of
from chalicelib.domain.reminders import Watched, is_short
from chalicelib.store.tables import TermRow, may_be_outdated

#: Longer names are no domain names (RFC 1035, 2.3.4), and nobody can ask for one.
MAX_DOMAIN: Final = 253
#: At most so many entries are written for the domains of one certificate. It bounds what one upload can cost;
#: certificates of public CAs stay far below. The names beyond are not found by the domain filter.
MAX_DOMAIN_TERMS: Final = 4000
#: Certificates with notices on: those under 90 days, whose reminders may lie anywhere before their end; and those that
#: the scan has yet to look at, since what was due before they came is found by no date.
SHORT: Final = "short"
UNSEEN: Final = "unseen"
#: Sorts after every character of an id.
_LAST: Final = "~"
#: Certificates with a risk tag, and those whose renewal failed: few, and looked for among many.
RISK: Final = "risk"
STUCK: Final = "renewal-problem"


def domain_terms(domains: Iterable[str]) -> set[str]:
    """Terms of the names a certificate covers: each name itself, and every suffix above it of two labels or more.

    A top-level domain alone would be a term of nearly every certificate: it is looked for in the list itself.
    """
    return set(islice(dict.fromkeys(_each_domain_term(domains)), MAX_DOMAIN_TERMS))


def _each_domain_term(domains: Iterable[str]) -> Iterator[str]:
    for domain in domains:
        if len(domain) > MAX_DOMAIN:
            continue
        yield f"domain={domain}"
        labels = domain.split(".")
        if ":" not in domain and not labels[-1].isdigit():
            yield from (f"suffix={'.'.join(labels[i:])}" for i in range(1, len(labels) - 1))


def changing_terms(certificate: Certificate) -> set[str]:
    """Terms of what can change about a certificate."""
    terms = {f"source={certificate.source}"}
    for key, value in certificate.tags.items():
        terms |= {f"tag={key}", f"tag={key}={value}"}
    if certificate.resource_group:
        terms.add(f"group={certificate.resource_group}")
    if certificate.revoked_at is not None:
        terms.add("revoked")
    if certificate.notifications:
        terms.add(UNSEEN)
        if is_short(certificate.not_before, certificate.not_after):
            terms.add(SHORT)
    if certificate.risks:
        terms.add(RISK)
    if certificate.renewal_problem is not None:
        terms.add(STUCK)
    return terms


def top_level(pattern: str) -> bool:
    """Whether a pattern asks for everything below a top-level domain, as ``*.com`` does."""
    return pattern.startswith("*.") and "." not in pattern[2:]


def driving_term(wanted: CertificateFilter) -> tuple[str | None, CertificateFilter]:
    """The one term that a list is read by, the most selective of those asked for, and what is left to check."""
    if wanted.domain is not None and not top_level(wanted.domain):
        pattern = wanted.domain
        term = f"suffix={pattern[2:]}" if pattern.startswith("*.") else f"domain={pattern}"
        return term, replace(wanted, domain=None)
    if wanted.tag is not None:
        return f"tag={wanted.tag}", replace(wanted, tag=None)
    if wanted.resource_group:
        return f"group={wanted.resource_group}", replace(wanted, resource_group=None)
    if wanted.status is Status.REVOKED:
        return "revoked", replace(wanted, status=None)
    return _driving_kind(wanted)


def _driving_kind(wanted: CertificateFilter) -> tuple[str | None, CertificateFilter]:
    if wanted.pending is PendingKind.RISK:
        return RISK, replace(wanted, pending=None)
    if wanted.source is not None:
        return f"source={wanted.source}", replace(wanted, source=None)
    return None, wanted


def write_terms(certificate: Certificate, terms: Iterable[str]) -> None:
    """Write the entries of a new record: one write unit each, 25 to a request."""
    with TermRow.batch_write() as batch:
        for term in sorted(terms):
            batch.save(_row(certificate, term))


def add_terms(certificate: Certificate, terms: Iterable[str]) -> None:
    """Add entries that came with a change, except where a newer version has them: one write unit each."""
    for term in sorted(terms):
        row = _row(certificate, term)
        with may_be_outdated():
            row.save(TermRow.version.does_not_exist() | (TermRow.version < certificate.version))


def remove_terms(certificate: Certificate, terms: Iterable[str]) -> None:
    """Remove entries that went with a change or a deletion, unless a newer version has them: one write unit each."""
    for term in sorted(terms):
        row = _row(certificate, term)
        with may_be_outdated():
            row.delete(TermRow.version <= certificate.version)


def find(account_id: str, term: str, low: str, high: str, limit: int) -> Sequence[TermRow]:
    """Entries of a term between two positions, in order: 1 read unit per 4 KB, about 50 entries."""
    return list(
        TermRow.query(
            _partition(account_id, term),
            TermRow.position.between(low, high),
            limit=limit,
            page_size=limit,
            consistent_read=True,
        )
    )


def positions(account_id: str, term: str) -> Iterator[str]:
    """Positions of all entries of a term, in order: half a read unit per 4 KB, about 50 entries."""
    for row in TermRow.query(_partition(account_id, term)):
        yield row.position


def watched(account_id: str, term: str, low: datetime | None = None, high: datetime | None = None) -> Iterator[Watched]:
    """What a term of the scan tells of certificates that expire after `low` and until `high`.

    Eventually consistent: half a read unit per 4 KB, about 35 entries.
    """
    least = "0" if low is None else position_of(low) + _LAST
    most = _LAST if high is None else position_of(high) + _LAST
    rows = TermRow.query(_partition(account_id, term), TermRow.position.between(least, most)) if least < most else ()
    for row in rows:
        expiry, lifetime = expiry_of(row.position), timedelta(seconds=int(row.lifetime))
        since = datetime.fromtimestamp(int(row.since), UTC)
        yield Watched(row.position, expiry - lifetime, expiry, int(row.version), since)


def drop(account_id: str, term: str, positions: Iterable[str]) -> None:
    """Delete entries, whoever wrote them: one write unit each, 25 to a request."""
    with TermRow.batch_write() as batch:
        for position in positions:
            batch.delete(TermRow(_partition(account_id, term), position))


def drop_unless_newer(account_id: str, term: str, one: Watched) -> None:
    """Delete an entry, unless a newer version has it: one write unit."""
    with may_be_outdated():
        TermRow(_partition(account_id, term), one.id).delete(TermRow.version <= one.version)


def _partition(account_id: str, term: str) -> str:
    return f"{account_id}#{term}"


def _row(certificate: Certificate, term: str) -> TermRow:
    more: dict[str, Any] = {}
    if term in {SHORT, UNSEEN}:
        more["lifetime"] = int((certificate.not_after - certificate.not_before).total_seconds())
        more["since"] = int(certificate.updated_at.timestamp())
    return TermRow(_partition(certificate.account_id, term), certificate.id, version=certificate.version, **more)
