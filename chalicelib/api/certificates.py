"""Routes of certificates: upload, parse, list, show, change, delete, download, renew."""

from __future__ import annotations

from msgspec import UNSET

from chalicelib.api import types, views
from chalicelib.api.routes import ADMINS, MANAGERS, VIEWERS, Call, Reply, Routes
from chalicelib.domain.model import CertificateFilter, Source, Status
from chalicelib.domain.reading import Bundle
from chalicelib.functions.catalogue import CONTENT_TYPES, CertificateChange
from chalicelib.functions.upload_validate import Renewal, Upload

routes = Routes("certificates")


@routes.add(
    "POST",
    "/v1/certificates",
    roles=MANAGERS,
    body=types.UploadRequest,
    answer=types.CertificateDetail,
    status=201,
    action="certificate.upload",
    statuses=(404, 409, 422),
)
def upload(call: Call[types.EmptyQuery, types.UploadRequest]) -> types.CertificateDetail:
    """Upload a certificate with its key and chain."""
    certificate, material = call.services.upload_validate.upload(call.caller, as_upload(call.body))
    return views.certificate_detail(certificate, material, call.services.clock())


@routes.add(
    "POST",
    "/v1/certificates/parse",
    roles=VIEWERS,
    body=types.ParseRequest,
    answer=types.ParseAnswer,
    statuses=(404,),
)
def parse(call: Call[types.EmptyQuery, types.ParseRequest]) -> types.ParseAnswer:
    """Say what an upload would see and find, and store nothing."""
    parsed = call.services.upload_validate.parse(call.caller, as_upload(call.body))
    return views.parse_answer(parsed, call.services.clock())


def wanted_of(fields: types.CertificateFilterFields) -> CertificateFilter:
    """The filter that a request describes."""
    return CertificateFilter(
        source=Source(fields.source) if fields.source else None,
        status=Status(fields.status) if fields.status else None,
        domain=fields.domain,
        q=fields.q or None,
        tag=fields.tag,
        resource_group=fields.resource_group,
        notifications=fields.notifications,
        deployed=fields.deployed,
        expires_before=fields.expires_before,
    )


@routes.add(
    "GET",
    "/v1/certificates",
    roles=VIEWERS,
    query=types.CertificateQuery,
    answer=types.Listing[types.CertificateView],
)
def listing(call: Call[types.CertificateQuery, None]) -> types.Listing[types.CertificateView]:
    """List certificates, soonest expiry first."""
    query = call.query
    wanted = wanted_of(query)
    page = call.services.catalogue.page(call.caller, wanted, limit=query.limit, cursor=query.cursor)
    now = call.services.clock()
    return types.Listing(items=[views.certificate_view(c, now) for c in page.items], next_cursor=page.cursor)


@routes.add(
    "GET",
    "/v1/certificates/{certificate_id}",
    roles=VIEWERS,
    answer=types.CertificateDetail,
    statuses=(404,),
)
def show(call: Call[types.EmptyQuery, None]) -> types.CertificateDetail:
    """Show a certificate with chain, findings and deployments."""
    certificate, material = call.services.catalogue.show(call.caller, call.path["certificate_id"])
    return views.certificate_detail(certificate, material, call.services.clock())


@routes.add(
    "PATCH",
    "/v1/certificates/{certificate_id}",
    roles=MANAGERS,
    body=types.CertificatePatch,
    answer=types.CertificateView,
    action="certificate.change",
    statuses=(404, 409),
)
def change(call: Call[types.EmptyQuery, types.CertificatePatch]) -> types.CertificateView:
    """Change name, tags, resource group, notifications, or whether it renews by itself."""
    body = call.body
    if body.auto_renew is True:
        # Planned before it is said: a plan without the word is dropped, the word without a plan would be forgotten.
        call.services.auto_renewal.plan(call.caller, call.path["certificate_id"])
    wanted = CertificateChange(
        name=None if body.name is UNSET else body.name,
        tags=None if body.tags is UNSET else body.tags,
        resource_group=None if body.resource_group is UNSET else body.resource_group,
        notifications=None if body.notifications is UNSET else body.notifications,
        auto_renew=None if body.auto_renew is UNSET else body.auto_renew,
    )
    certificate = call.services.catalogue.change(call.caller, call.path["certificate_id"], wanted)
    return views.certificate_view(certificate, call.services.clock())


@routes.add(
    "DELETE",
    "/v1/certificates/{certificate_id}",
    roles=ADMINS,
    query=types.DeleteQuery,
    status=204,
    action="certificate.delete",
    statuses=(404, 409),
)
def delete(call: Call[types.DeleteQuery, None]) -> None:
    """Delete a certificate with its key, for good; `confirm` is its name."""
    call.services.catalogue.delete(call.caller, call.path["certificate_id"], call.query.confirm)


@routes.add(
    "GET",
    "/v1/certificates/{certificate_id}/download",
    roles=ADMINS,
    query=types.DownloadQuery,
    files=tuple(CONTENT_TYPES.values()),
    action="certificate.download",
    statuses=(404, 422),
)
def download(call: Call[types.DownloadQuery, None]) -> Reply:
    """Download the certificate with chain and private key; `X-Passphrase` protects pfx and jks."""
    file = call.services.catalogue.download(
        call.caller, call.path["certificate_id"], call.query.format, call.headers.get("x-passphrase")
    )
    return Reply(
        file.content,
        file.content_type,
        {"Content-Disposition": f'attachment; filename="{file.file_name}"'},
        secret=True,
    )


@routes.add(
    "POST",
    "/v1/certificates/{certificate_id}/renewals",
    roles=MANAGERS,
    body=types.RenewalRequest,
    answer=types.CertificateDetail,
    status=201,
    action="certificate.renew",
    statuses=(404, 409, 422),
)
def renew(call: Call[types.EmptyQuery, types.RenewalRequest]) -> types.CertificateDetail:
    """Replace a certificate by a new one, which takes over its name, tags and notices; `{}` has its CA issue it."""
    body = call.body
    if body == types.RenewalRequest():
        made, material = call.services.pca_renewal.renew(call.caller, call.path["certificate_id"])
        return views.certificate_detail(made, material, call.services.clock())
    renewal = Renewal(
        as_bundle(body),
        name=body.name,
        csr_id=body.csr_id,
        resource_group=body.resource_group,
        tags=body.tags,
        notifications=body.notifications,
    )
    certificate, material = call.services.upload_validate.renew(call.caller, call.path["certificate_id"], renewal)
    return views.certificate_detail(certificate, material, call.services.clock())


def as_upload(body: types.ParseRequest) -> Upload:
    """The upload that a request asks for."""
    return Upload(
        as_bundle(body),
        name=body.name,
        csr_id=body.csr_id,
        resource_group=body.resource_group,
        tags=body.tags,
        notifications=body.notifications,
    )


def as_bundle(body: types.Texts) -> Bundle:
    """The texts of a request."""
    return Bundle(
        certificate=body.certificate,
        private_key=body.private_key,
        chain=body.chain,
        encryption_certificate=body.encryption_certificate,
        encryption_private_key=body.encryption_private_key,
    )
