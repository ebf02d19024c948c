"""The first account and tokens of a new installation."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.config import Settings
from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import Caller, Entity, Role, Site
from chalicelib.functions.access import PLATFORM_ACCOUNT_ID, Access
from chalicelib.wiring import AwsServices

_CALLER = Caller(PLATFORM_ACCOUNT_ID, Role.OPERATOR, "bootstrap", "127.0.0.1", "bootstrap")


@dataclass(frozen=True, slots=True)
class Tokens:
    """An admin's token of the first account, and an operator's. The repr shows neither."""

    admin: str
    operator: str

    def __repr__(self) -> str:
        return "<Tokens>"


def bootstrap(settings: Settings, known: Tokens) -> Tokens:
    """Create the platform's account and a first tenant, or find them; make tokens where `known` ones do not work."""
    access = AwsServices(settings).access
    operator = known.operator if _works(access, known.operator) else _operator_token(access)
    admin = known.admin if _works(access, known.admin) else _admin_token(access)
    return Tokens(admin, operator)


def _works(access: Access, token: str) -> bool:
    return bool(token) and access.authenticate(f"Bearer {token}").token is not None


def _operator_token(access: Access) -> str:
    try:
        return access.create_platform(_CALLER)
    except Conflict:
        return access.create_operator_token(_CALLER, "made at start")[1]


def _admin_token(access: Access) -> str:
    accounts = access.accounts(limit=2, cursor=None).items
    if accounts:
        return access.create_token_for(_CALLER, accounts[0].id, "made at start")[1]
    entity = Entity("first-entity", "enterprise", verified=True)
    return access.create_account(_CALLER, "First account", Site.INTERNATIONAL, entity)[1]
