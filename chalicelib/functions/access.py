"""Who may call: access tokens, the accounts they belong to, and the verified entities behind these."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from chalicelib.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound
from chalicelib.domain.model import Account, Caller, Entity, Page, Role, Site, Token
from chalicelib.functions.audit import Audit, new_id
from chalicelib.ports import AccountStore, Clock

#: What every token begins with, so that secret scanners and people recognise one.
TOKEN_PREFIX = "cht_"  # noqa: S105 - the mark of a token, not a token
#: The platform's own account: operator tokens belong to it, certificates never.
PLATFORM_ACCOUNT_ID = "0" * 16
FIRST_TOKEN_LIFETIME = timedelta(days=365)
#: How often a random account id that is taken already is drawn anew.
ID_ATTEMPTS = 2


def mint_token() -> str:
    """A new access token with 256 bits of chance."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def mint_account_id() -> str:
    """A new account id: 16 digits, the first not zero."""
    return str(secrets.randbelow(9 * 10**15) + 10**15)


def digest_of(token: str) -> str:
    """What is kept of a token. Plain SHA-256 serves: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who a token is, or what is wrong with it (a code of `Unauthenticated`)."""

    token: Token | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What of an account is to change; ``None`` stays as it is."""

    name: str | None = None
    site: Site | None = None
    entity_id: str | None = None
    entity_kind: str | None = None
    entity_verified: bool | None = None


class Access:
    """Tokens and accounts."""

    def __init__(
        self,
        store: AccountStore,
        audit: Audit,
        clock: Clock,
        *,
        mint: Callable[[], str] = mint_token,
        account_ids: Callable[[], str] = mint_account_id,
    ) -> None:
        """Take the stores, and what makes tokens and account ids (given by tests that must know them)."""
        self._store = store
        self._audit = audit
        self._clock = clock
        self._mint = mint
        self._account_ids = account_ids

    def authenticate(self, header: str) -> Authentication:
        """Find the token of an ``Authorization`` header and note its use. Never raises for a bad one."""
        scheme, _, value = header.strip().partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            return Authentication(None, "TokenMissing")
        token = self._store.token_by_digest(digest_of(value.strip()))
        if token is None:
            return Authentication(None, "TokenInvalid")
        now = self._clock()
        if token.revoked_at is not None:
            return Authentication(None, "TokenRevoked")
        if now >= token.expires_at:
            return Authentication(None, "TokenExpired")
        self._store.touch_token(token, now)
        return Authentication(token, None)

    def account(self, caller: Caller) -> Account:
        """The caller's own account."""
        return self._store.get(caller.account_id)

    def create_token(self, caller: Caller, name: str, role: Role, lifetime: timedelta) -> tuple[Token, str]:
        """A new token of the caller's account; the second part is the token itself, shown this once.

        Raises:
            Forbidden: `RoleInsufficient`, operators' tokens are made by operators, tenants' by admins.
        """
        if (role is Role.OPERATOR) != (caller.role is Role.OPERATOR):
            raise Forbidden(
                "RoleInsufficient",
                f"A token with role {caller.role.label} cannot create one with role {role.label}.",
            )
        return self._issue(caller, caller.account_id, name, role, lifetime)

    def create_token_for(self, caller: Caller, account_id: str, name: str) -> tuple[Token, str]:
        """An admin's token of another account, by the operator: the way back for a locked-out tenant.

        Raises:
            NotFound. Conflict: `AdminTokenExists`, an admin of the account has a token that works: the operator
                reads no keys, and makes none who could while there is somebody to ask.
        """
        account = self._tenant(account_id)
        if self._has_admin(account.id):
            raise Conflict(
                "AdminTokenExists", "An admin of this account has a token that is neither expired nor revoked."
            )
        return self.replace_admin_token(caller, account.id, name)

    def replace_admin_token(self, caller: Caller, account_id: str, name: str) -> tuple[Token, str]:
        """The same without asking: for whoever sets the service up, and may write to its tables anyway."""
        return self._issue(caller, account_id, name, Role.ADMIN, FIRST_TOKEN_LIFETIME)

    def _tenant(self, account_id: str) -> Account:
        """An account that is not the platform's own. Raises: NotFound."""
        account = self._store.get(account_id)
        if account.id == PLATFORM_ACCOUNT_ID:
            raise NotFound("NotFound", f"There is no account {account_id!r:.70}.")
        return account

    def _has_admin(self, account_id: str) -> bool:
        now, cursor = self._clock(), None
        while True:
            page = self._store.tokens(account_id, limit=100, cursor=cursor)
            if any(t.role is Role.ADMIN and t.revoked_at is None and now < t.expires_at for t in page.items):
                return True
            if (cursor := page.cursor) is None:
                return False

    def create_operator_token(self, caller: Caller, name: str) -> tuple[Token, str]:
        """An operator's token of the platform's account. Raises: Forbidden, unless an operator asks."""
        return self.create_token(caller, name, Role.OPERATOR, FIRST_TOKEN_LIFETIME)

    def _issue(self, caller: Caller, account_id: str, name: str, role: Role, lifetime: timedelta) -> tuple[Token, str]:
        token, plain = self._new_token(account_id, name, role, lifetime)
        self._store.add_token(
            token,
            self._audit.event(
                caller, "token.create", token.id, account_id=account_id, name=name, token_role=role.label
            ),
        )
        return token, plain

    def _new_token(self, account_id: str, name: str, role: Role, lifetime: timedelta) -> tuple[Token, str]:
        plain, now = self._mint(), self._clock()
        token = Token(
            id=new_id(self._clock),
            account_id=account_id,
            digest=digest_of(plain),
            name=name,
            role=role,
            created_at=now,
            expires_at=now + lifetime,
        )
        return token, plain

    def tokens(self, caller: Caller, *, limit: int, cursor: str | None) -> Page[Token]:
        """Tokens of the caller's account, newest first."""
        return self._store.tokens(caller.account_id, limit=limit, cursor=cursor)

    def revoke_token(self, caller: Caller, token_id: str) -> None:
        """Revoke a token of the caller's account, at once and for good. Raises: NotFound."""
        event = self._audit.event(caller, "token.revoke", token_id)
        self._store.revoke_token(caller.account_id, token_id, self._clock(), event)

    def create_account(self, caller: Caller, name: str, site: Site, entity: Entity) -> tuple[Account, str]:
        """A new account with its first token, an admin's, shown this once."""
        account = Account(self._account_ids(), name, site, entity, self._clock())
        for _ in range(ID_ATTEMPTS):
            try:
                return account, self._add_account(caller, account, Role.ADMIN)
            except Conflict:
                account = replace(account, id=self._account_ids())
        return account, self._add_account(caller, account, Role.ADMIN)

    def create_platform(self, caller: Caller) -> str:
        """The platform's own account with a first operator token; for setting the service up.

        Raises: Conflict: it exists already.
        """
        entity = Entity("platform", "enterprise", verified=True)
        account = Account(PLATFORM_ACCOUNT_ID, "Platform", Site.INTERNATIONAL, entity, self._clock())
        return self._add_account(caller, account, Role.OPERATOR)

    def _add_account(self, caller: Caller, account: Account, role: Role) -> str:
        token, plain = self._new_token(account.id, "first token", role, FIRST_TOKEN_LIFETIME)
        event = self._audit.event(caller, "account.create", account.id, account_id=account.id, name=account.name)
        self._store.add(account, token, event)
        return plain

    def accounts(self, *, limit: int, cursor: str | None) -> Page[Account]:
        """All tenants' accounts."""
        page = self._store.page(limit=limit, cursor=cursor)
        tenants = tuple(a for a in page.items if a.id != PLATFORM_ACCOUNT_ID)
        if page.items and not tenants and page.cursor is not None:
            return self.accounts(limit=limit, cursor=page.cursor)
        return replace(page, items=tenants)

    def change_account(self, caller: Caller, account_id: str, change: AccountChange) -> Account:
        """Change an account, or verify its entity.

        Raises:
            NotFound. InvalidRequest: nothing to change. Conflict: `ConcurrentChange`.
        """
        if change == AccountChange():
            raise InvalidRequest("InvalidRequest", "The request names nothing to change.")
        old = self._tenant(account_id)
        entity = Entity(
            id=old.entity.id if change.entity_id is None else change.entity_id,
            kind=old.entity.kind if change.entity_kind is None else change.entity_kind,
            verified=old.entity.verified if change.entity_verified is None else change.entity_verified,
        )
        new = replace(
            old,
            name=old.name if change.name is None else change.name,
            site=old.site if change.site is None else change.site,
            entity=entity,
            version=old.version + 1,
        )
        event = self._audit.event(
            caller,
            "account.change",
            account_id,
            account_id=account_id,
            name=new.name,
            entity=entity.id,
            verified=str(entity.verified).lower(),
        )
        self._store.update(old, new, event)
        return new
