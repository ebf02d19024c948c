"""Routes of the notification quota."""

from __future__ import annotations

from chalicelib.api import certificates, quota_types, types
from chalicelib.api.routes import ADMINS, MANAGERS, OPERATORS, VIEWERS, Call, Routes
from chalicelib.domain.errors import InvalidRequest
from chalicelib.domain.quota import Purchase

routes = Routes("quota")


@routes.add("GET", "/v1/notification-quota", roles=VIEWERS, answer=quota_types.QuotaView)
def show(call: Call[types.EmptyQuery, None]) -> quota_types.QuotaView:
    """Show the units of the notification quota."""
    quota, required = call.services.quota.show(call.caller)
    return quota_types.QuotaView(remaining=quota.remaining, required=required, total=quota.total, used=quota.used)


@routes.add(
    "POST",
    "/v1/notification-quota/purchases",
    roles=ADMINS,
    body=quota_types.PurchaseRequest,
    answer=quota_types.PurchaseView,
    status=201,
    action="quota.purchase",
    statuses=(409,),
)
def order(call: Call[types.EmptyQuery, quota_types.PurchaseRequest]) -> quota_types.PurchaseView:
    """Order units; they are there at once, or when the operator has fulfilled the order, as the service is set up."""
    return _purchase_view(call.services.quota.order(call.caller, call.body.units))


@routes.add(
    "GET",
    "/v1/notification-quota/purchases",
    roles=VIEWERS,
    query=types.PageQuery,
    answer=types.Listing[quota_types.PurchaseView],
)
def purchases(call: Call[types.PageQuery, None]) -> types.Listing[quota_types.PurchaseView]:
    """List the account's purchases, newest first."""
    page = call.services.quota.purchases(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[_purchase_view(p) for p in page.items], next_cursor=page.cursor)


@routes.add(
    "GET",
    "/v1/quota-purchases",
    roles=OPERATORS,
    query=types.PageQuery,
    answer=types.Listing[quota_types.PurchaseView],
)
def waiting(call: Call[types.PageQuery, None]) -> types.Listing[quota_types.PurchaseView]:
    """List the purchases of all accounts that wait to be fulfilled, oldest first."""
    page = call.services.quota.open_purchases(limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[_purchase_view(p) for p in page.items], next_cursor=page.cursor)


@routes.add(
    "PATCH",
    "/v1/accounts/{account_id}/quota-purchases/{purchase_id}",
    roles=OPERATORS,
    body=quota_types.PurchaseClosing,
    answer=quota_types.PurchaseView,
    action="quota.close",
    statuses=(404, 409),
)
def close(call: Call[types.EmptyQuery, quota_types.PurchaseClosing]) -> quota_types.PurchaseView:
    """Fulfil a purchase, or decline it."""
    fulfilled = call.body.state == "fulfilled"
    account_id, purchase_id = call.path["account_id"], call.path["purchase_id"]
    return _purchase_view(call.services.quota.close(call.caller, account_id, purchase_id, fulfilled=fulfilled))


@routes.add(
    "POST",
    "/v1/notifications/enable",
    roles=MANAGERS,
    body=quota_types.EnableRequest,
    answer=quota_types.EnabledView,
    action="notifications.enable",
    statuses=(404, 409, 422),
)
def enable(call: Call[types.EmptyQuery, quota_types.EnableRequest]) -> quota_types.EnabledView:
    """Switch the notices of many certificates on: of all, or of none when there are not units enough."""
    body, quota = call.body, call.services.quota
    if (body.certificate_ids is None) == (body.filter is None):
        raise InvalidRequest(
            "InvalidRequest",
            "Neither or both of `certificate_ids` and `filter` are given.",
            "Name the certificates, or give a filter; an empty one means all of which notices are a pending item.",
        )
    if body.filter is None:
        done = quota.enable(call.caller, body.certificate_ids or [])
    else:
        done = quota.enable_all(call.caller, certificates.wanted_of(body.filter))
    return quota_types.EnabledView(enabled=done.enabled, already_enabled=done.already, remaining=done.quota.remaining)


def _purchase_view(purchase: Purchase) -> quota_types.PurchaseView:
    return quota_types.PurchaseView(
        id=purchase.id,
        account_id=purchase.account_id,
        units=purchase.units,
        state=purchase.state.value,
        ordered_at=purchase.ordered_at,
        closed_at=purchase.closed_at,
    )
