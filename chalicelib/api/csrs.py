"""Routes of certificate signing requests, and of the conversion tool."""

from __future__ import annotations

from chalicelib.api import types, views
from chalicelib.api.routes import MANAGERS, VIEWERS, Call, Routes

routes = Routes("tools")


@routes.add("GET", "/v1/csrs", roles=VIEWERS, query=types.PageQuery, answer=types.Listing[types.CsrView])
def csrs(call: Call[types.PageQuery, None]) -> types.Listing[types.CsrView]:
    """List certificate signing requests, newest first."""
    page = call.services.csrs.page(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[views.csr_view(c) for c in page.items], next_cursor=page.cursor)


@routes.add("GET", "/v1/csrs/{csr_id}", roles=VIEWERS, answer=types.CsrView, statuses=(404,))
def show_csr(call: Call[types.EmptyQuery, None]) -> types.CsrView:
    """Show a certificate signing request."""
    return views.csr_view(call.services.csrs.get(call.caller, call.path["csr_id"]))


@routes.add("DELETE", "/v1/csrs/{csr_id}", roles=MANAGERS, status=204, action="csr.delete", statuses=(404,))
def delete_csr(call: Call[types.EmptyQuery, None]) -> None:
    """Delete a certificate signing request and its key."""
    call.services.csrs.delete(call.caller, call.path["csr_id"])
