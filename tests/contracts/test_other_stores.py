"""What every store of accounts, tokens, requests, audit events and remembered answers does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, InvalidRequest, NotFound
from chalicelib.domain.model import SealedKeys
from chalicelib.ports import Remembered
from chalicelib.store.accounts import DynamoAccountStore
from chalicelib.store.audit import DynamoAuditStore
from chalicelib.store.csrs import DynamoCsrStore
from chalicelib.store.idempotency import DynamoIdempotencyStore
from tests.support.authority import NOW
from tests.support.fakes import MemoryAccountStore, MemoryAuditStore, MemoryCsrStore, MemoryIdempotencyStore
from tests.support.records import account, csr, event, token, ulid


def all_pages(read):
    seen, cursor = [], None
    while True:
        page = read(cursor)
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            return seen


class TestAccountStore:
    @pytest.fixture(params=["fake", "dynamo"])
    def store(self, request):
        if request.param == "fake":
            return MemoryAccountStore(MemoryAuditStore())
        request.getfixturevalue("aws")
        return DynamoAccountStore()

    def test_an_account_is_stored_with_its_first_token(self, store):
        made = account(id=ulid())
        first = token(account_id=made.id)
        store.add(made, first, event(made.id))
        assert store.get(made.id) == made
        assert store.token_by_digest(first.digest) == first
        with pytest.raises(Conflict):
            store.add(made, token(account_id=made.id), event(made.id))

    def test_an_unknown_account_or_token_is_not_there(self, store):
        with pytest.raises(NotFound):
            store.get("nothing")
        assert store.token_by_digest("nothing") is None

    def test_accounts_are_paged_by_id(self, store):
        made = [account(id=ulid()) for _ in range(5)]
        for one in made:
            store.add(one, token(account_id=one.id), event(one.id))
        seen = [a.id for a in all_pages(lambda cursor: store.page(limit=2, cursor=cursor))]
        assert seen == sorted(seen)
        assert {a.id for a in made} <= set(seen)

    def test_a_change_of_an_account_is_written_once(self, store):
        old = account(id=ulid())
        store.add(old, token(account_id=old.id), event(old.id))
        new = replace(old, name="New", version=2)
        store.update(old, new, event(old.id))
        assert store.get(old.id) == new
        with pytest.raises(Conflict):
            store.update(old, new, event(old.id))
        with pytest.raises(NotFound):
            store.update(replace(old, id="nothing"), new, event(old.id))

    def test_tokens_are_listed_newest_first_and_for_their_account_only(self, store):
        mine = ulid()
        made = [token(account_id=mine) for _ in range(5)]
        for one in made:
            store.add_token(one, event(mine))
        store.add_token(token(account_id=ulid()), event())
        seen = all_pages(lambda cursor: store.tokens(mine, limit=2, cursor=cursor))
        assert [t.id for t in seen] == [t.id for t in reversed(made)]

    def test_a_token_is_revoked_once_and_by_its_own_account_only(self, store):
        made = token(account_id=ulid())
        store.add_token(made, event(made.account_id))
        with pytest.raises(NotFound):
            store.revoke_token("another", made.id, NOW, event())
        store.revoke_token(made.account_id, made.id, NOW, event(made.account_id))
        store.revoke_token(made.account_id, made.id, NOW + timedelta(days=1), event(made.account_id))
        assert store.token_by_digest(made.digest).revoked_at == NOW

    def test_the_last_use_of_a_token_is_noted_now_and_then(self, store):
        made = token(account_id=ulid())
        store.add_token(made, event(made.account_id))
        store.touch_token(made, NOW)
        held = store.token_by_digest(made.digest)
        assert held.last_used_at == NOW
        store.touch_token(held, NOW + timedelta(minutes=4))
        assert store.token_by_digest(made.digest).last_used_at == NOW
        store.touch_token(held, NOW + timedelta(minutes=6))
        assert store.token_by_digest(made.digest).last_used_at == NOW + timedelta(minutes=6)

    def test_noting_the_use_of_a_token_that_is_gone_does_nothing(self, store):
        store.touch_token(token(), NOW)

    @pytest.mark.parametrize("key", ["", "x" * 2000, "\ud800"])
    def test_an_id_that_nothing_can_have_is_not_there(self, store, key):
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            store.revoke_token(ulid(), key, NOW, event())
        assert store.token_by_digest(key) is None

    def test_of_simultaneous_accounts_with_one_id_one_is_stored_with_its_token(self, store):
        made = account(id=ulid())
        tokens = [token(account_id=made.id) for _ in range(6)]
        start = threading.Barrier(len(tokens))

        def add(first):
            start.wait()
            try:
                store.add(made, first, event(made.id))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(len(tokens)) as pool:
            stored = list(pool.map(add, tokens))
        assert sum(stored) == 1
        assert [t for t in tokens if store.token_by_digest(t.digest)] == [tokens[stored.index(True)]]

    def test_a_cursor_of_another_list_is_refused(self, store):
        mine = ulid()
        for _ in range(3):
            store.add_token(token(account_id=mine), event(mine))
        cursor = store.tokens(mine, limit=1, cursor=None).cursor
        for read in (lambda: store.tokens(ulid(), limit=1, cursor=cursor), lambda: store.page(limit=1, cursor=cursor)):
            with pytest.raises(InvalidRequest):
                read()


class TestCsrStore:
    @pytest.fixture(params=["fake", "dynamo"])
    def store(self, request):
        if request.param == "fake":
            return MemoryCsrStore(MemoryAuditStore())
        request.getfixturevalue("aws")
        return DynamoCsrStore()

    def test_a_request_is_stored_with_and_without_key(self, store):
        mine = ulid()
        keys = SealedKeys("k", b"d", {"signing": b"1"})
        one, two = csr(account_id=mine, has_private_key=True), csr(account_id=mine)
        store.add(one, keys, event(mine))
        store.add(two, None, event(mine))
        assert (store.get(mine, one.id), store.keys(mine, one.id)) == (one, keys)
        assert (store.get(mine, two.id), store.keys(mine, two.id)) == (two, None)
        with pytest.raises(NotFound):
            store.get("another", one.id)
        with pytest.raises(NotFound):
            store.keys("another", one.id)

    def test_of_two_requests_for_one_key_the_one_with_its_key_is_found(self, store):
        mine = ulid()
        without = csr(account_id=mine, public_key_fingerprint="p")
        having = csr(account_id=mine, public_key_fingerprint="p", has_private_key=True)
        store.add(without, None, event(mine))
        assert store.by_public_key(mine, "p") == without
        store.add(having, SealedKeys("k", b"d", {"signing": b"1"}), event(mine))
        assert store.by_public_key(mine, "p") == having
        assert store.by_public_key(mine, "q") is None

    def test_requests_are_paged_newest_first(self, store):
        mine = ulid()
        made = [csr(account_id=mine) for _ in range(5)]
        for one in made:
            store.add(one, None, event(mine))
        seen = all_pages(lambda cursor: store.page(mine, limit=2, cursor=cursor))
        assert [c.id for c in seen] == [c.id for c in reversed(made)]

    def test_a_deleted_request_is_gone_with_its_key(self, store):
        mine = ulid()
        made = csr(account_id=mine, has_private_key=True)
        store.add(made, SealedKeys("k", b"d", {"signing": b"1"}), event(mine))
        store.delete(mine, made.id, event(mine))
        with pytest.raises(NotFound):
            store.keys(mine, made.id)
        with pytest.raises(NotFound):
            store.delete(mine, made.id, event(mine))

    @pytest.mark.parametrize("key", ["", "x" * 2000, "\ud800"])
    def test_an_id_that_nothing_can_have_is_not_there(self, store, key):
        for use in (store.get, store.keys, lambda account_id, csr_id: store.delete(account_id, csr_id, event())):
            with pytest.raises(NotFound):
                use(ulid(), key)

    def test_a_cursor_of_another_account_is_refused(self, store):
        mine = ulid()
        for _ in range(3):
            store.add(csr(account_id=mine), None, event(mine))
        cursor = store.page(mine, limit=1, cursor=None).cursor
        with pytest.raises(InvalidRequest):
            store.page(ulid(), limit=1, cursor=cursor)


class TestAuditStore:
    @pytest.fixture(params=["fake", "dynamo"])
    def store(self, request):
        if request.param == "fake":
            return MemoryAuditStore()
        request.getfixturevalue("aws")
        return DynamoAuditStore()

    def test_events_are_read_back_newest_first_and_for_their_account_only(self, store):
        mine = ulid()
        made = [event(mine, detail={"n": str(n)}) for n in range(5)]
        for one in made:
            store.record(one)
        store.record(event(ulid()))
        assert all_pages(lambda cursor: store.page(mine, limit=2, cursor=cursor)) == made[::-1]

    def test_a_cursor_of_another_account_or_list_is_refused(self, store):
        mine = ulid()
        for _ in range(3):
            store.record(event(mine))
        cursor = store.page(mine, limit=1, cursor=None).cursor
        for other, changed in ((ulid(), cursor), (mine, cursor[1:]), (mine, "")):
            with pytest.raises(InvalidRequest):
                store.page(other, limit=1, cursor=changed)


class TestIdempotencyStore:
    @pytest.fixture(params=["fake", "dynamo"])
    def store(self, request):
        if request.param == "fake":
            return MemoryIdempotencyStore()
        request.getfixturevalue("aws")
        return DynamoIdempotencyStore()

    def test_an_answer_is_remembered_for_a_day(self, store):
        key, answer = ulid(), Remembered(201, b"{}")
        assert store.begin(key, "digest", NOW) is None
        store.finish(key, answer, NOW)
        assert store.begin(key, "digest", NOW + timedelta(hours=23)) == answer
        assert store.begin(key, "digest", NOW + timedelta(hours=25)) is None

    def test_an_answer_that_held_a_secret_is_remembered_without_it(self, store):
        key = ulid()
        store.begin(key, "digest", NOW)
        store.finish(key, Remembered(201, None), NOW)
        assert store.begin(key, "digest", NOW) == Remembered(201, None)

    def test_the_key_of_another_request_is_refused(self, store):
        key = ulid()
        store.begin(key, "digest", NOW)
        with pytest.raises(Conflict) as refused:
            store.begin(key, "other", NOW)
        assert refused.value.code == "IdempotencyKeyReused"

    def test_a_request_under_way_is_not_begun_again_until_it_must_be_dead(self, store):
        key = ulid()
        store.begin(key, "digest", NOW)
        with pytest.raises(Conflict) as refused:
            store.begin(key, "digest", NOW + timedelta(seconds=119))
        assert refused.value.code == "IdempotencyInProgress"
        assert store.begin(key, "digest", NOW + timedelta(seconds=121)) is None

    def test_an_abandoned_key_is_free(self, store):
        key = ulid()
        store.begin(key, "digest", NOW)
        store.abandon(key)
        assert store.begin(key, "other", NOW) is None

    def test_an_empty_answer_is_not_a_secret_one(self, store):
        key, answer = ulid(), Remembered(204, b"")
        store.begin(key, "digest", NOW)
        store.finish(key, answer, NOW)
        assert store.begin(key, "digest", NOW) == answer

    def test_an_answer_that_comes_after_its_claim_was_given_back_is_not_remembered(self, store):
        key = ulid()
        store.begin(key, "digest", NOW)
        store.abandon(key)
        store.finish(key, Remembered(201, b"{}"), NOW)
        assert store.begin(key, "digest", NOW) is None

    def test_of_simultaneous_claims_one_is_granted(self, store):
        key, start = ulid(), threading.Barrier(6)

        def claim(_):
            start.wait()
            try:
                return store.begin(key, "digest", NOW)
            except Conflict as refused:
                return refused.code

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(claim, range(6)))
        assert sorted(answers, key=str) == ["IdempotencyInProgress"] * 5 + [None]
