"""Tokens and accounts, at the edges that a request cannot set up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound
from chalicelib.domain.model import Caller, Entity, Role, Site
from chalicelib.functions.access import (
    PLATFORM_ACCOUNT_ID,
    TOKEN_PREFIX,
    Access,
    AccountChange,
    digest_of,
    mint_account_id,
    mint_token,
)
from chalicelib.functions.audit import Audit
from tests.support.fakes import FixedClock, MemoryAccountStore, MemoryAuditStore
from tests.support.records import ACCOUNT, OTHER_ACCOUNT, account, event, token

ENTITY = Entity("entity-1", "enterprise", verified=False)
ADMIN = Caller(ACCOUNT, Role.ADMIN, "token-1", "192.0.2.1", "request-1")
OPERATOR = Caller(PLATFORM_ACCOUNT_ID, Role.OPERATOR, "token-0", "192.0.2.1", "request-1")
SECOND = timedelta(seconds=1)


class House:
    def __init__(self, *ids: str) -> None:
        self.clock, self.trail = FixedClock(), MemoryAuditStore()
        self.store = MemoryAccountStore(self.trail)
        given = iter(ids)
        self.access = Access(
            self.store, Audit(self.trail, self.clock), self.clock, account_ids=lambda: next(given, OTHER_ACCOUNT)
        )

    def admin_token(self, days: int = 30) -> tuple:
        return self.access.create_token(ADMIN, "ci", Role.ADMIN, timedelta(days=days))


@pytest.fixture
def house():
    return House()


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", "  Bearer {}  "])
def test_a_token_is_found_however_its_header_is_written(house, form):
    made, plain = house.admin_token()
    assert house.access.authenticate(form.format(plain)).token.id == made.id


@pytest.mark.parametrize("header", ["", " ", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "cht_something"])
def test_a_header_without_a_bearer_token_says_so(house, header):
    assert house.access.authenticate(header).problem == "TokenMissing"


@pytest.mark.parametrize("value", ["nobody", "cht_", "\ud800", "\0", "x" * 100_000, "ü"])
def test_a_token_that_nobody_made_is_not_known(house, value):
    found = house.access.authenticate(f"Bearer {value}")
    assert (found.token, found.problem) == (None, "TokenInvalid")


def test_a_token_ends_at_its_second(house):
    _, plain = house.admin_token(days=1)
    house.clock.advance(timedelta(days=1) - SECOND)
    assert house.access.authenticate(f"Bearer {plain}").problem is None
    house.clock.advance(SECOND)
    assert house.access.authenticate(f"Bearer {plain}").problem == "TokenExpired"


def test_a_revoked_token_stays_revoked_after_its_end(house):
    made, plain = house.admin_token(days=1)
    house.access.revoke_token(ADMIN, made.id)
    house.clock.advance(timedelta(days=2))
    assert house.access.authenticate(f"Bearer {plain}").problem == "TokenRevoked"


def test_a_use_is_noted_and_one_that_is_refused_is_not(house):
    made, plain = house.admin_token()
    house.access.authenticate(f"Bearer {plain}")
    assert house.store.token_by_digest(made.digest).last_used_at == house.clock()
    house.access.revoke_token(ADMIN, made.id)
    house.clock.advance(timedelta(hours=1))
    house.access.authenticate(f"Bearer {plain}")
    assert house.store.token_by_digest(made.digest).last_used_at < house.clock()


def test_only_the_digest_of_a_token_is_kept(house):
    made, plain = house.admin_token()
    assert plain.startswith(TOKEN_PREFIX)
    assert made.digest == digest_of(plain)
    assert plain not in repr(house.store.by_digest) + repr(house.trail.events)


def test_minted_tokens_and_ids_do_not_repeat():
    assert len({mint_token() for _ in range(1000)}) == 1000
    ids = {mint_account_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(i) == 16 and i.isdecimal() and i[0] != "0" for i in ids)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MANAGER, Role.ADMIN])
def test_an_operator_makes_no_token_that_reads_certificates(house, role):
    with pytest.raises(Forbidden, match="RoleInsufficient"):
        house.access.create_token(OPERATOR, "down", role, SECOND)


def test_a_token_of_another_account_is_as_one_that_does_not_exist(house):
    made, _ = house.admin_token()
    with pytest.raises(NotFound) as foreign:
        house.access.revoke_token(Caller(OTHER_ACCOUNT, Role.ADMIN, "token-2"), made.id)
    with pytest.raises(NotFound) as unknown:
        house.access.revoke_token(ADMIN, "unknown")
    assert foreign.value.message.replace(made.id, "…") == unknown.value.message.replace("unknown", "…")
    assert house.store.token_by_digest(made.digest).revoked_at is None


def test_an_account_id_that_is_taken_is_drawn_anew():
    house = House(ACCOUNT, ACCOUNT, OTHER_ACCOUNT)
    house.store.add(account(), token(), event())
    made, plain = house.access.create_account(OPERATOR, "B", Site.CHINA, ENTITY)
    assert made.id == OTHER_ACCOUNT
    assert house.access.authenticate(f"Bearer {plain}").token.account_id == OTHER_ACCOUNT


def test_a_source_of_ids_that_gives_one_only_is_no_endless_loop():
    house = House(*[ACCOUNT] * 10)
    house.store.add(account(), token(), event())
    with pytest.raises(Conflict):
        house.access.create_account(OPERATOR, "B", Site.CHINA, ENTITY)


def test_a_new_account_is_told_in_its_own_trail(house):
    made, _ = house.access.create_account(OPERATOR, "B", Site.CHINA, ENTITY)
    assert [(e.action, e.account_id, e.role) for e in house.trail.events] == [("account.create", made.id, "operator")]


def test_the_platform_is_set_up_once(house):
    house.access.create_platform(OPERATOR)
    with pytest.raises(Conflict):
        house.access.create_platform(OPERATOR)
    assert house.access.accounts(limit=10, cursor=None).items == ()


def test_a_change_that_names_nothing_is_refused_before_anything_is_read(house):
    with pytest.raises(InvalidRequest, match="nothing to change"):
        house.access.change_account(OPERATOR, "unknown", AccountChange())


def test_of_two_changes_at_once_one_is_told_to_look_again(house):
    first = account()
    house.store.add(first, token(), event())

    house.access.change_account(OPERATOR, ACCOUNT, AccountChange(name="Quick"))
    late = Access(Late(house.store, first), Audit(house.trail, house.clock), house.clock)
    with pytest.raises(Conflict, match="ConcurrentChange"):
        late.change_account(OPERATOR, ACCOUNT, AccountChange(name="Slow"))
    assert house.store.accounts[ACCOUNT].name == "Quick"


class Late:
    """Read an account before somebody else changed it."""

    def __init__(self, store, seen) -> None:
        self._store, self._seen = store, seen

    def get(self, account_id):
        return self._seen

    def update(self, old, new, audit):
        self._store.update(old, new, audit)


def test_the_operator_makes_no_admin_while_there_is_one(house):
    house.store.add(account(), token(expires_at=house.clock() + SECOND), event())
    with pytest.raises(Conflict, match="AdminTokenExists"):
        house.access.create_token_for(OPERATOR, ACCOUNT, "back in")
    house.clock.advance(SECOND)
    made, plain = house.access.create_token_for(OPERATOR, ACCOUNT, "back in")
    assert (made.role, house.access.authenticate(f"Bearer {plain}").token.account_id) == (Role.ADMIN, ACCOUNT)


def test_the_platform_s_own_account_is_no_tenant(house):
    house.access.create_platform(OPERATOR)
    with pytest.raises(NotFound):
        house.access.create_token_for(OPERATOR, PLATFORM_ACCOUNT_ID, "admin")
    with pytest.raises(NotFound):
        house.access.change_account(OPERATOR, PLATFORM_ACCOUNT_ID, AccountChange(name="mine"))


def test_a_page_that_holds_the_platform_alone_goes_on(house):
    house.access.create_platform(OPERATOR)
    house.store.add(account(), token(), event())
    page = house.access.accounts(limit=1, cursor=None)
    assert [a.id for a in page.items] == [ACCOUNT]
