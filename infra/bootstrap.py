"""The first account and tokens of a new installation."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.config import Settings
from chalicelib.domain.errors import Conflict
from chalicelib.domain.model import Caller, Entity, Role, Site
from chalicelib.functions.access import PLATFORM_ACCOUNT_ID, Access
from chalicelib.wiring import AwsServices

_CALLER = Caller(PLATFORM_ACCOUNT_ID, Role.OPERATOR, "bootstrap", "", "bootstrap")


@dataclass(frozen=True, slots=True)
class Tokens:
    """An admin's token of the first account, and an operator's. The repr shows neither."""

    admin: str
    operator: str
    account_id: str = ""

    def __repr__(self) -> str:
        return "<Tokens>"


def bootstrap(settings: Settings, known: Tokens) -> Tokens:
    """Create the platform's account and a first tenant, or find them; make tokens where `known` ones do not work."""
    access = AwsServices(settings).access
    operator = known.operator if _account_of(access, known.operator) else operator_token(access)
    admin = known.admin if _account_of(access, known.admin) else _admin_token(access)
    return Tokens(admin, operator, _account_of(access, admin))


def first_operator_token(access: Access) -> str | None:
    """The first operator's token of a new installation; ``None`` when there has been one."""
    try:
        return access.create_platform(_CALLER)
    except Conflict:
        return None


def operator_token(access: Access) -> str:
    """A new operator's token, for whoever may write to the tables: the first one, or one more."""
    return first_operator_token(access) or access.create_operator_token(_CALLER, "made at start")[1]


def _account_of(access: Access, token: str) -> str:
    """The account that a token belongs to; empty when it does not work."""
    found = access.authenticate(f"Bearer {token}").token if token else None
    return found.account_id if found else ""


def _admin_token(access: Access) -> str:
    accounts = access.accounts(limit=2, cursor=None).items
    if accounts:
        return access.replace_admin_token(_CALLER, accounts[0].id, "made at start")[1]
    entity = Entity("first-entity", "enterprise", verified=True)
    return access.create_account(_CALLER, "First account", Site.INTERNATIONAL, entity)[1]
