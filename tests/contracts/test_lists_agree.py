"""The tables' lists, made of an index and checks, and the fake's, made of checks alone, are the same."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.model import CertificateFilter, PendingKind, Source, Status
from chalicelib.store.certificates import DynamoCertificateStore
from tests.support.authority import NOW
from tests.support.fakes import MemoryCertificateStore
from tests.support.records import event, material, record, ulid

DOMAINS = ["a.example.com", "*.example.com", "b.a.example.com", "example.com", "example.org", "*.a.example.com"]
TAGS = [{}, {"team": "web"}, {"team": "ops", "x": ""}, {"x": "=y"}]
DAYS = [-40, -1, 0, 1, 3, 20, 29, 30, 31, 200]

inventories = st.lists(
    st.fixed_dictionaries(
        {
            "domains": st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3, unique=True).map(tuple),
            "tags": st.sampled_from(TAGS),
            "source": st.sampled_from(Source),
            "resource_group": st.sampled_from(["", "shop"]),
            "notifications": st.booleans(),
            "deployed": st.booleans(),
            "not_before": st.sampled_from([1, 45, 400]).map(lambda days: NOW - timedelta(days=days)),
            "not_after": st.sampled_from(DAYS).map(lambda days: NOW + timedelta(days=days)),
            "revoked_at": st.sampled_from([None, None, None, NOW]),
            "replaced_by": st.sampled_from([None, None, "another"]),
            "renewal_problem": st.sampled_from([None, None, "AuthorityNotActive"]),
            "risks": st.sampled_from([(), ("SelfSigned",)]),
        }
    ),
    max_size=7,
)
filters = st.builds(
    CertificateFilter,
    source=st.none() | st.sampled_from(Source),
    status=st.none() | st.sampled_from(Status),
    domain=st.none() | st.sampled_from([*DOMAINS, "*.com", "com", "*.org"]),
    q=st.none() | st.sampled_from(["", "EXAMPLE", ".org", ":", "0000", "name-"]),
    tag=st.none() | st.sampled_from(["team", "team=web", "team=", "x", "x=", "x==y", "=", "x=y"]),
    resource_group=st.none() | st.sampled_from(["", "shop", "desk"]),
    notifications=st.none() | st.booleans(),
    deployed=st.none() | st.booleans(),
    expires_before=st.none() | st.sampled_from(DAYS).map(lambda days: NOW + timedelta(days=days)),
    pending=st.none() | st.sampled_from(PendingKind),
)
#: Most of the time few things are asked for at once.
questions = filters | st.builds(
    CertificateFilter,
    pending=st.sampled_from(PendingKind),
    source=st.none() | st.sampled_from(Source),
    domain=st.none() | st.sampled_from(["*.com", "a.example.com"]),
)


def pages(store, owner, wanted, limit):
    seen, cursor = [], None
    while True:
        page = store.page(owner, wanted, now=NOW, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            return seen


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inventory=inventories, wanted=st.lists(questions, min_size=1, max_size=12), limit=st.integers(1, 5))
def test_both_stores_list_the_same(aws, inventory, wanted, limit):
    fake, real, owner = MemoryCertificateStore(), DynamoCertificateStore(), ulid()
    for fields in inventory:
        made = record(account_id=owner, **fields)
        for store in (fake, real):
            store.add(made, material(made), event(owner))
    for one in wanted:
        assert pages(real, owner, one, limit) == pages(fake, owner, one, limit)
