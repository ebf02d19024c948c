"""Private CAs and their certificates as the wire shows them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from chalicelib.api import pca_types as types
from chalicelib.api.views import finding_view, risk_view
from chalicelib.domain.model import Material, Status
from chalicelib.domain.policy import one_year_after
from chalicelib.domain.status import days_left, status_between

if TYPE_CHECKING:  # a cold start does without
    from chalicelib.domain.pca import Authority, IssuedCertificate, SyncStatus
    from chalicelib.functions.private_cas import Listed


def authority_view(authority: Authority) -> types.CaView:
    """A CA."""
    return types.CaView(
        id=authority.id,
        source=authority.ref.source,
        region=authority.region,
        kind=authority.kind.value,
        parent=authority.parent,
        subject=authority.subject,
        algorithm=authority.algorithm,
        key_size=authority.key_size,
        status=authority.status.value,
        not_before=authority.not_before,
        not_after=authority.not_after,
        serial_number=authority.serial_number,
        revoked_at=authority.revoked_at,
        path_length=authority.limits.path_length,
        permitted=list(authority.limits.permitted),
        excluded=list(authority.limits.excluded),
        certificate_pem=authority.certificate,
    )


def issued_view(certificate: IssuedCertificate, sync_status: SyncStatus | None, now: datetime) -> types.IssuedView:
    """A certificate as its CA lists it."""
    return types.IssuedView(**_issued_fields(certificate, sync_status, now))


def issued_detail(
    certificate: IssuedCertificate, material: Material, sync_status: SyncStatus | None, now: datetime
) -> types.IssuedDetail:
    """A certificate with its chain, and what validation finds in it."""
    return types.IssuedDetail(
        **_issued_fields(certificate, sync_status, now),
        findings=[finding_view(f) for f in material.findings],
        certificate_pem=material.certificate,
        chain_pem="".join(material.chain),
    )


def _issued_fields(certificate: IssuedCertificate, sync_status: SyncStatus | None, now: datetime) -> dict[str, Any]:
    status = status_between(certificate.not_before, certificate.not_after, now)
    # As in `policy.leaf_findings`, of a certificate that no public CA issued.
    leaks = certificate.not_after > one_year_after(certificate.not_before)
    return {
        "id": certificate.id,
        "ca": certificate.authority_id,
        "common_name": certificate.common_name,
        "sans": list(certificate.sans),
        "status": (status if certificate.revoked_at is None else Status.REVOKED).value,
        "sync_status": None if sync_status is None else sync_status.value,
        "serial_number": certificate.serial_number,
        "fingerprint_sha256": certificate.fingerprint,
        "algorithm": certificate.algorithm,
        "key_size": certificate.key_size,
        "usage": certificate.usage,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days_left": days_left(certificate.not_after, now),
        "revoked_at": certificate.revoked_at,
        "has_private_key": certificate.has_private_key,
        "risks": [risk_view("LeakageRisk")] if leaks else [],
        "certificate_id": None,
        "code": None,
        "reason": None,
    }


def listed_view(listed: Listed, now: datetime) -> types.IssuedView:
    """A certificate as its CA lists it, with where it is in the inventory, or why it is not."""
    fields = _issued_fields(listed.certificate, listed.status, now)
    known = {"certificate_id": listed.certificate_id, "code": listed.code or None, "reason": listed.reason or None}
    return types.IssuedView(**fields | known)
