"""Routes of the built-in CA: making authorities, issuing, revoking, revocation lists."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from chalicelib.api import pca_types as types
from chalicelib.api import pca_views as views
from chalicelib.api.routes import ADMINS, MANAGERS, VIEWERS, Call, Reply, Routes
from chalicelib.api.types import EmptyQuery
from chalicelib.domain import pem

routes = Routes("pca")

#: Content types of a revocation list (RFC 2585, 4.2; PEM has none of its own).
CRL_TYPES: Final = {"der": "application/pkix-crl", "pem": "application/x-pem-file"}


@routes.add(
    "POST",
    "/v1/pca/cas",
    roles=ADMINS,
    body=types.CaRequest,
    answer=types.CaView,
    status=201,
    action="ca.create",
    statuses=(404, 422),
)
def create_ca(call: Call[EmptyQuery, types.CaRequest]) -> types.CaView:
    """Make a root or intermediate CA; its key is kept here and never shown."""
    from chalicelib.functions.private_ca import AuthoritySpec  # other routes do without

    body = call.body
    spec = AuthoritySpec(
        kind=body.kind,
        common_name=body.common_name,
        parent=body.parent,
        algorithm=body.algorithm,
        key_size=body.key_size,
        validity_days=body.validity_days,
        organization=body.organization,
        organizational_unit=body.organizational_unit,
        country=body.country,
        province=body.province,
        locality=body.locality,
        path_length=body.path_length,
        permitted=body.permitted,
        excluded=body.excluded,
    )
    return views.authority_view(call.services.private_ca.create(call.caller, spec))


@routes.add(
    "POST",
    "/v1/pca/cas/{ca}/certificates",
    roles=MANAGERS,
    body=types.LeafRequest,
    answer=types.IssuedDetail,
    status=201,
    action="ca.issue",
    statuses=(404, 422),
)
def issue_certificate(call: Call[EmptyQuery, types.LeafRequest]) -> types.IssuedDetail:
    """Issue a certificate for a server or client, by CSR or with a key made here."""
    from chalicelib.domain.pca import SyncStatus  # as above
    from chalicelib.functions.private_ca import LeafSpec

    body = call.body
    spec = LeafSpec(
        common_name=body.common_name,
        sans=body.sans,
        usage=body.usage,
        csr=body.csr,
        csr_id=body.csr_id,
        algorithm=body.algorithm,
        key_size=body.key_size,
        **({} if body.validity_days is UNSET else {"validity_days": body.validity_days}),
    )
    certificate, material = call.services.private_ca.issue(call.caller, call.path["ca"], spec)
    return views.issued_detail(certificate, material, SyncStatus.NOT_UPLOADED, call.services.clock())


@routes.add(
    "POST",
    "/v1/pca/cas/{ca}/revocation",
    roles=ADMINS,
    body=types.RevocationRequest,
    answer=types.CaView,
    action="ca.revoke",
    statuses=(404,),
)
def revoke_ca(call: Call[EmptyQuery, types.RevocationRequest]) -> types.CaView:
    """Revoke an intermediate CA, for good; with it, all that it issued is void."""
    ca = call.services.private_ca.revoke_authority(call.caller, call.path["ca"], call.body.reason)
    call.services.pca_batch_sync.follow_authority(call.caller, ca)
    return views.authority_view(ca)


@routes.add(
    "POST",
    "/v1/pca/certificates/{certificate_id}/revocation",
    roles=MANAGERS,
    body=types.RevocationRequest,
    answer=types.IssuedView,
    action="ca.revoke-certificate",
    statuses=(404,),
)
def revoke_certificate(call: Call[EmptyQuery, types.RevocationRequest]) -> types.IssuedView:
    """Revoke a certificate of the built-in CA, for good; repeated, it keeps its first date."""
    one = call.services.private_cas.issued_id(call.caller, call.path["certificate_id"])
    revoked = call.services.private_ca.revoke(call.caller, one, call.body.reason)
    call.services.pca_batch_sync.follow_revocation(call.caller, revoked)
    return views.issued_view(revoked, None, call.services.clock())


@routes.add(
    "GET",
    "/v1/pca/cas/{ca}/crl",
    roles=VIEWERS,
    query=types.CrlQuery,
    files=tuple(CRL_TYPES.values()),
    action="ca.crl",
    statuses=(404,),
)
def show_crl(call: Call[types.CrlQuery, None]) -> Reply:
    """Sign a CA's certificate revocation list (CRL) anew: DER, or PEM text."""
    made, form = call.services.private_ca.crl(call.caller, call.path["ca"]), call.query.format
    content = made if form == "der" else pem.encode("X509 CRL", made).encode()
    name = f"{call.path['ca']}.{'crl' if form == 'der' else 'pem'}"
    return Reply(content, CRL_TYPES[form], {"Content-Disposition": f'attachment; filename="{name}"'})
