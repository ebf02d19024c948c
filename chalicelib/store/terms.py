"""The inverted index behind the list filters.

One entry per certificate and term, sorted by expiry like the list itself. Entries are written before the
record and removed after it, so a crash leaves entries that point at nothing or at a record that no longer
fits: readers check every hit, and the index may be a superset of the truth but never misses anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pynamodb.exceptions import DeleteError

from chalicelib.domain.model import Certificate, CertificateFilter
from chalicelib.store.tables import TermRow


def position_of(not_after: datetime, certificate_id: str = "") -> str:
    """Where a certificate stands among others: its expiry in UTC to the second, then its id."""
    return f"{not_after:%Y%m%d%H%M%S}#{certificate_id}"


def domain_terms(domains: Iterable[str]) -> set[str]:
    """Terms of the names a certificate covers: each name itself, and every suffix that lies above it."""
    terms = set()
    for domain in domains:
        terms.add(f"domain={domain}")
        if domain.startswith("*."):
            terms.add(f"suffix={domain[2:]}")
        labels = domain.removeprefix("*.").split(".")
        if ":" not in domain and not labels[-1].isdigit():
            terms |= {f"suffix={'.'.join(labels[i:])}" for i in range(1, len(labels))}
    return terms


def changing_terms(certificate: Certificate) -> set[str]:
    """Terms of what can change about a certificate."""
    terms = {f"source={certificate.source}"}
    for key, value in certificate.tags.items():
        terms |= {f"tag={key}", f"tag={key}={value}"}
    if certificate.resource_group:
        terms.add(f"group={certificate.resource_group}")
    if certificate.revoked_at is not None:
        terms.add("revoked")
    return terms


def driving_term(wanted: CertificateFilter) -> str | None:
    """The one term that a list is read by: the most selective of those asked for."""
    if wanted.domain is not None:
        pattern = wanted.domain
        return f"suffix={pattern[2:]}" if pattern.startswith("*.") else f"domain={pattern}"
    if wanted.tag is not None:
        return f"tag={wanted.tag}"
    if wanted.resource_group:
        return f"group={wanted.resource_group}"
    if wanted.status == "revoked":
        return "revoked"
    return f"source={wanted.source}" if wanted.source is not None else None


def write_terms(certificate: Certificate, terms: Iterable[str]) -> None:
    """Write entries: one write unit each (25 to a request)."""
    with TermRow.batch_write() as batch:
        for term in sorted(terms):
            batch.save(_row(certificate, term, certificate.version))


def remove_terms(certificate: Certificate, terms: Iterable[str]) -> None:
    """Remove entries that no newer version of the record has written: one write unit each."""
    for term in sorted(terms):
        row = _row(certificate, term, certificate.version)
        try:
            row.delete(TermRow.version <= certificate.version)
        except DeleteError as error:
            if error.cause_response_code != "ConditionalCheckFailedException":
                raise


def find(account_id: str, term: str, low: str, high: str, limit: int) -> Sequence[TermRow]:
    """Entries of a term between two positions, in order: half a read unit per 4 KB, about 30 entries."""
    return list(
        TermRow.query(
            _partition(account_id, term),
            TermRow.position.between(low, high),
            limit=limit,
            page_size=limit,
            consistent_read=True,
        )
    )


def _partition(account_id: str, term: str) -> str:
    return f"{account_id}#{term}"


def _row(certificate: Certificate, term: str, version: int) -> TermRow:
    position = position_of(certificate.not_after, certificate.id)
    return TermRow(_partition(certificate.account_id, term), position, version=version)
