"""Accounts and access tokens in their tables."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from pynamodb.exceptions import UpdateError

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.model import Account, AuditEvent, Entity, Page, Role, Site, Token
from chalicelib.store.audit import audit_row
from chalicelib.store.tables import AccountRow, TokenRow, fits_key, read
from chalicelib.store.transactions import ConditionFailedError, Writes

_PARTITION: Final = "account"
#: The last use of a token is noted at most so often, so that a busy token costs no write per request.
TOUCH_INTERVAL: Final = timedelta(minutes=5)


class DynamoAccountStore:
    """Implements `chalicelib.ports.AccountStore`."""

    def add(self, account: Account, token: Token, audit: AuditEvent) -> None:
        """Store an account with its first token: 8 write units (two for each row, the index's included)."""
        writes = Writes()
        writes.put(_account_row(account), AccountRow.account_id.does_not_exist(), "account")
        writes.put(_token_row(token), TokenRow.digest.does_not_exist(), "token")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            raise Conflict("ConcurrentChange", f"There is an account {account.id} already.") from None

    def get(self, account_id: str) -> Account:
        """One account: 1 read unit."""
        row = read(AccountRow, _PARTITION, account_id)
        if row is None:
            raise NotFound("NotFound", f"There is no account {account_id!r:.70}.")
        return _account(row)

    def page(self, *, limit: int, cursor: str | None) -> Page[Account]:
        """Accounts by id: 1 read unit for each 4 KB returned, about 15 accounts."""
        after = decode_cursor("accounts", cursor)
        condition = None if after is None else AccountRow.account_id > after
        rows = list(AccountRow.query(_PARTITION, condition, limit=limit + 1, page_size=limit + 1, consistent_read=True))
        more = encode_cursor("accounts", rows[limit - 1].account_id) if len(rows) > limit else None
        return Page(tuple(_account(row) for row in rows[:limit]), more)

    def update(self, old: Account, new: Account, audit: AuditEvent) -> None:
        """Replace `old` by `new`: 4 write units."""
        writes = Writes()
        writes.put(_account_row(new), AccountRow.version == old.version, "version")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            self.get(old.id)
            raise Conflict("ConcurrentChange", "The account was changed by another request.") from None

    def add_token(self, token: Token, audit: AuditEvent) -> None:
        """Store a new token: 6 write units."""
        writes = Writes()
        writes.put(_token_row(token), TokenRow.digest.does_not_exist(), "token")
        writes.put(audit_row(audit))

        writes.commit()

    def token_by_digest(self, digest: str) -> Token | None:
        """The token with this digest, strongly consistent so that revoking counts at once: 1 read unit."""
        row = read(TokenRow, digest)
        return None if row is None else _token(row)

    def tokens(self, account_id: str, *, limit: int, cursor: str | None) -> Page[Token]:
        """Tokens of an account, newest first: half a read unit for each 4 KB returned, about 12 tokens."""
        scope = f"tokens#{account_id}"
        before = decode_cursor(scope, cursor)
        condition = None if before is None else TokenRow.token_id < before
        rows = list(
            TokenRow.by_account.query(
                account_id, condition, scan_index_forward=False, limit=limit + 1, page_size=limit + 1
            )
        )
        more = encode_cursor(scope, rows[limit - 1].token_id) if len(rows) > limit else None
        return Page(tuple(_token(row) for row in rows[:limit]), more)

    def revoke_token(self, account_id: str, token_id: str, at: datetime, audit: AuditEvent) -> None:
        """Revoke a token: half a read unit and 6 write units."""
        mine = TokenRow.token_id == token_id
        rows = list(TokenRow.by_account.query(account_id, mine, limit=1)) if fits_key(token_id) else []
        if not rows:
            raise NotFound("NotFound", f"There is no token {token_id!r:.70} in this account.")
        digest = rows[0].digest

        writes = Writes()
        unrevoked = TokenRow.revoked_at.does_not_exist() & TokenRow.digest.exists()
        writes.update(TokenRow(digest), [TokenRow.revoked_at.set(at)], unrevoked, "token")
        writes.put(audit_row(audit))

        try:
            writes.commit()
        except ConditionFailedError:
            return  # it was revoked before

    def touch_token(self, token: Token, at: datetime) -> None:
        """Note the last use: 2 write units (the index's included), at most every `TOUCH_INTERVAL`.

        A use that cannot be noted, for the token is gone or the table is busy, is no reason to refuse the caller.
        """
        if token.last_used_at is not None and at - token.last_used_at < TOUCH_INTERVAL:
            return
        with suppress(UpdateError):
            TokenRow(token.digest).update([TokenRow.last_used_at.set(at)], condition=TokenRow.digest.exists())


def _account_row(account: Account) -> AccountRow:
    return AccountRow(
        _PARTITION,
        account.id,
        name=account.name,
        site=account.site.value,
        entity_id=account.entity.id,
        entity_kind=account.entity.kind,
        entity_verified=account.entity.verified,
        created_at=account.created_at,
        version=account.version,
    )


def _account(row: AccountRow) -> Account:
    entity = Entity(row.entity_id, row.entity_kind, row.entity_verified)
    return Account(row.account_id, row.name, Site(row.site), entity, row.created_at, int(row.version))


def _token_row(token: Token) -> TokenRow:
    return TokenRow(
        token.digest,
        account_id=token.account_id,
        token_id=token.id,
        name=token.name,
        role=token.role.label,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
    )


def _token(row: TokenRow) -> Token:
    return Token(
        id=row.token_id,
        account_id=row.account_id,
        digest=row.digest,
        name=row.name,
        role=Role[row.role.upper()],
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
