"""Routes of access: me, tokens, accounts, the audit trail."""

from __future__ import annotations

from datetime import timedelta

from msgspec import UNSET, UnsetType

from chalicelib.api import types, views
from chalicelib.api.routes import (
    ADMINS_AND_OPERATORS,
    ANYONE_SIGNED_IN,
    OPERATORS,
    Call,
    Reply,
    Routes,
)
from chalicelib.domain.model import Entity, Role, Site
from chalicelib.functions.access import AccountChange

routes = Routes("access")


@routes.add("GET", "/v1/me", roles=ANYONE_SIGNED_IN, answer=types.MeView)
def me(call: Call[types.EmptyQuery, None]) -> types.MeView:
    """Say whose token this is, and what it may do."""
    return views.me_view(call.services.access.account(call.caller), call.caller)


@routes.add(
    "POST",
    "/v1/tokens",
    roles=ADMINS_AND_OPERATORS,
    body=types.TokenRequest,
    answer=types.NewTokenView,
    status=201,
    action="token.create",
)
def create_token(call: Call[types.EmptyQuery, types.TokenRequest]) -> Reply:
    """Create an access token; it is shown this once."""
    token, plain = call.services.access.create_token(
        call.caller, call.body.name, Role[call.body.role.upper()], timedelta(days=call.body.expires_in_days)
    )
    return Reply(views.new_token_view(token, plain), secret=True)


@routes.add(
    "GET",
    "/v1/tokens",
    roles=ADMINS_AND_OPERATORS,
    query=types.PageQuery,
    answer=types.Listing[types.TokenView],
)
def tokens(call: Call[types.PageQuery, None]) -> types.Listing[types.TokenView]:
    """List the account's access tokens, newest first."""
    page = call.services.access.tokens(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[views.token_view(t) for t in page.items], next_cursor=page.cursor)


@routes.add(
    "DELETE",
    "/v1/tokens/{token_id}",
    roles=ADMINS_AND_OPERATORS,
    status=204,
    action="token.revoke",
    statuses=(404,),
)
def revoke_token(call: Call[types.EmptyQuery, None]) -> None:
    """Revoke an access token, at once and for good."""
    call.services.access.revoke_token(call.caller, call.path["token_id"])


@routes.add(
    "POST",
    "/v1/accounts",
    roles=OPERATORS,
    body=types.AccountRequest,
    answer=types.NewAccountView,
    status=201,
    action="account.create",
)
def create_account(call: Call[types.EmptyQuery, types.AccountRequest]) -> Reply:
    """Create an account; its first admin's token is shown this once."""
    body = call.body
    entity = Entity(body.entity.id, body.entity.kind, body.entity.verified)
    account, plain = call.services.access.create_account(call.caller, body.name, Site(body.site), entity)
    return Reply(views.new_account_view(account, plain), secret=True)


@routes.add("GET", "/v1/accounts", roles=OPERATORS, query=types.PageQuery, answer=types.Listing[types.AccountView])
def accounts(call: Call[types.PageQuery, None]) -> types.Listing[types.AccountView]:
    """List all accounts."""
    page = call.services.access.accounts(limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[views.account_view(a) for a in page.items], next_cursor=page.cursor)


@routes.add(
    "PATCH",
    "/v1/accounts/{account_id}",
    roles=OPERATORS,
    body=types.AccountPatch,
    answer=types.AccountView,
    action="account.change",
    statuses=(404, 409),
)
def change_account(call: Call[types.EmptyQuery, types.AccountPatch]) -> types.AccountView:
    """Change an account, or verify its entity."""
    body = call.body
    entity = types.EntityPatch() if body.entity is UNSET else body.entity
    site = _given(body.site)
    wanted = AccountChange(
        name=_given(body.name),
        site=None if site is None else Site(site),
        entity_id=_given(entity.id),
        entity_kind=_given(entity.kind),
        entity_verified=None if entity.verified is UNSET else entity.verified,
    )
    account = call.services.access.change_account(call.caller, call.path["account_id"], wanted)
    return views.account_view(account)


@routes.add(
    "POST",
    "/v1/accounts/{account_id}/tokens",
    roles=OPERATORS,
    body=types.AdminTokenRequest,
    answer=types.NewTokenView,
    status=201,
    action="token.create",
    statuses=(404, 409),
)
def create_admin_token(call: Call[types.EmptyQuery, types.AdminTokenRequest]) -> Reply:
    """Create an admin's token for an account that has lost its own; it is shown this once."""
    token, plain = call.services.access.create_token_for(call.caller, call.path["account_id"], call.body.name)
    return Reply(views.new_token_view(token, plain), secret=True)


@routes.add(
    "GET",
    "/v1/audit-events",
    roles=ADMINS_AND_OPERATORS,
    query=types.PageQuery,
    answer=types.Listing[types.AuditView],
)
def audit_events(call: Call[types.PageQuery, None]) -> types.Listing[types.AuditView]:
    """List what was done in the account, newest first."""
    page = call.services.audit.page(call.caller, limit=call.query.limit, cursor=call.query.cursor)
    return types.Listing(items=[views.audit_view(e) for e in page.items], next_cursor=page.cursor)


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value
