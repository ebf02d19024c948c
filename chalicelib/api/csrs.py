"""Routes of certificate signing requests, and of the conversion tool."""

from __future__ import annotations

from chalicelib.api import types, views
from chalicelib.api.routes import ADMINS, MANAGERS, VIEWERS, Call, Routes
from chalicelib.domain.errors import InvalidRequest

routes = Routes("tools")


@routes.add(
    "POST",
    "/v1/csrs",
    roles=MANAGERS,
    body=types.CsrRequest,
    answer=types.CsrView,
    status=201,
    action="csr.create",
    statuses=(413, 422),
)
def create_csr(call: Call[types.EmptyQuery, types.CsrRequest]) -> types.CsrView:
    """Make a certificate signing request with a new key, or store one made elsewhere (`csr`)."""
    from chalicelib.domain.csr import CsrSpec  # uploads do without

    body = call.body
    if body.csr is not None:
        made = [name for name in _MADE_FROM if getattr(body, name) is not None]
        if made:
            raise InvalidRequest(
                "InvalidRequest",
                f"The request has `csr`, which is stored as it is, and also {', '.join(made)}, which make a new one.",
            )
        csr = call.services.csrs.store(call.caller, body.name, body.csr, body.private_key)
    elif body.algorithm is None or body.common_name is None:
        missing = [f"`{name}`" for name in ("algorithm", "common_name") if getattr(body, name) is None]
        raise InvalidRequest(
            "InvalidRequest", f"The request has no `csr` to store, and no {' and no '.join(missing)} to make one."
        )
    elif body.private_key is not None:
        raise InvalidRequest("InvalidRequest", "The key of a new request is made here; `private_key` goes with `csr`.")
    else:
        spec = CsrSpec(
            common_name=body.common_name,
            algorithm=body.algorithm,
            key_size=body.key_size,
            sans=body.sans or (),
            organization=body.organization,
            organizational_unit=body.organizational_unit,
            country=body.country,
            province=body.province,
            locality=body.locality,
            name=body.name,
        )
        csr = call.services.csrs.create(call.caller, spec)
    return views.csr_view(csr)


_MADE_FROM = (
    "algorithm",
    "key_size",
    "common_name",
    "sans",
    "organization",
    "organizational_unit",
    "country",
    "province",
    "locality",
)


@routes.add(
    "POST",
    "/v1/conversions",
    roles=MANAGERS,
    body=types.ConversionRequest,
    answer=types.ConversionAnswer,
    statuses=(422,),
)
def convert(call: Call[types.EmptyQuery, types.ConversionRequest]) -> types.ConversionAnswer:
    """Convert between PEM, DER, PKCS #7, PKCS #8, PKCS #12 and JKS; nothing is stored."""
    body = call.body
    made = call.services.conversions.convert(
        body.source_format,
        body.target_format,
        body.input,
        passphrase=body.passphrase,
        output_passphrase=body.output_passphrase,
    )
    return views.conversion_answer(made)


@routes.add("GET", "/v1/csrs", roles=VIEWERS, query=types.PageQuery, answer=types.Listing[types.CsrView])
def csrs(call: Call[types.PageQuery, None]) -> types.Listing[types.CsrView]:
    """List certificate signing requests, newest first."""
    page = call.services.csrs.page(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[views.csr_view(c) for c in page.items], next_cursor=page.cursor)


@routes.add("GET", "/v1/csrs/{csr_id}", roles=VIEWERS, answer=types.CsrView, statuses=(404,))
def show_csr(call: Call[types.EmptyQuery, None]) -> types.CsrView:
    """Show a certificate signing request."""
    return views.csr_view(call.services.csrs.get(call.caller, call.path["csr_id"]))


@routes.add("DELETE", "/v1/csrs/{csr_id}", roles=ADMINS, status=204, action="csr.delete", statuses=(404,))
def delete_csr(call: Call[types.EmptyQuery, None]) -> None:
    """Delete a certificate signing request and its key."""
    call.services.csrs.delete(call.caller, call.path["csr_id"])
