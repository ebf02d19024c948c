"""Figures that are worked out from marks are those of the certificates, at every moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.model import PendingKind, Source, Status
from chalicelib.domain.pending import is_pending
from chalicelib.domain.summary import (
    LATEST,
    WEEKS_AHEAD,
    WEEKS_BEHIND,
    Borders,
    Histogram,
    Tally,
    figures,
    start_of,
    week_of,
)
from tests.support.authority import NOW
from tests.support.fake_summary import figures_of, pending_kinds
from tests.support.records import record

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
#: Around the moments at which something becomes of a certificate that expires now, in 30 days, in a year.
NEAR = st.sampled_from([0, 30, 60, 365, -7, 7, 800, -100]).flatmap(
    lambda days: st.integers(-3, 3).map(lambda seconds: timedelta(days=days, seconds=seconds))
) | st.integers(-200, 900).map(lambda days: timedelta(days=days))
certificates = st.fixed_dictionaries(
    {
        "source": st.sampled_from(Source),
        "notifications": st.booleans(),
        "deployed": st.booleans(),
        "risks": st.sampled_from([(), ("SelfSigned",)]),
        "revoked_at": st.sampled_from([None, None, NOW]),
        "replaced_by": st.sampled_from([None, None, "another"]),
        "renewal_problem": st.sampled_from([None, None, "AuthorityNotActive"]),
        "key_size": st.sampled_from([2048, 4096]),
    }
)
lifetimes = st.sampled_from([timedelta(days=d) for d in (6, 47, 90, 398)]) | st.integers(3, 9_000_000).map(
    lambda number: timedelta(seconds=3 * number)
)


def made(fields, until, lifetime):
    end = NOW.replace(microsecond=0) + until
    return record(not_after=end, not_before=end - lifetime, **fields)


def counted(held, now):
    """Marks of certificates as a store keeps them, with the weeks in seconds that are asked for."""
    tally, marks = Tally(), Histogram.around(now)
    marks.moments = {week: Counter() for week in Borders.at(now).weeks}
    for certificate in held:
        tally.count(certificate)
    marks.add(tally.marks)
    return tally, marks


@given(
    st.lists(st.tuples(certificates, NEAR, lifetimes), max_size=12),
    st.integers(-90, 90).map(lambda days: timedelta(days=days)) | NEAR,
    st.sampled_from([0, 0, 1, 500_000, 999_999]),
)
def test_figures_are_those_of_the_certificates_at_any_moment(specs, later, microsecond):
    now = (NOW + later).replace(microsecond=microsecond)
    held = [made(*spec) for spec in specs]
    tally, marks = counted(held, now)
    assert figures(tally.totals, marks, now) == figures_of([(one, 1) for one in held], now)


@given(st.tuples(certificates, NEAR, lifetimes), NEAR)
def test_what_is_pending_is_what_is_left_to_do(spec, later):
    certificate, now = made(*spec), NOW + later
    assert {kind for kind in PendingKind if is_pending(certificate, kind, now)} == pending_kinds(certificate, now)


def figures_at(certificate, now):
    tally, marks = counted([certificate], now)
    return figures(tally.totals, marks, now)


@pytest.mark.parametrize(
    ("moment", "status"),
    [
        (timedelta(days=-30, microseconds=-1), Status.ISSUED),
        (timedelta(days=-30), Status.TO_BE_RENEWED),
        (timedelta(0), Status.TO_BE_RENEWED),
        (timedelta(microseconds=1), Status.EXPIRED),
    ],
)
def test_a_status_changes_in_the_very_moment(moment, status):
    certificate = record(not_before=MONDAY - timedelta(days=365), not_after=MONDAY)
    found = figures_at(certificate, MONDAY + moment)
    assert [one for one, number in found.statuses.items() if number] == [status]


def test_a_third_of_a_short_lifetime_is_rounded_up_to_a_second():
    certificate = record(not_before=MONDAY, not_after=MONDAY + timedelta(seconds=10))
    due = MONDAY + timedelta(seconds=7)
    assert figures_at(certificate, due - timedelta(seconds=1)).statuses[Status.ISSUED] == 1
    assert figures_at(certificate, due).statuses[Status.TO_BE_RENEWED] == 1


def test_a_certificate_that_ends_before_it_begins_is_never_to_be_renewed():
    certificate = record(not_before=MONDAY + timedelta(days=9), not_after=MONDAY)
    for seconds, status in ((-1, Status.ISSUED), (1, Status.EXPIRED), (10**6, Status.EXPIRED)):
        found = figures_at(certificate, MONDAY + timedelta(seconds=seconds))
        assert found.statuses[status] == 1


@pytest.mark.parametrize("year", [1, 9999])
def test_dates_beyond_all_reason_are_counted(year):
    certificate = record(not_before=datetime(1, 1, 1, tzinfo=UTC), not_after=datetime(year, 12, 31, tzinfo=UTC))
    status = Status.EXPIRED if year == 1 else Status.ISSUED
    assert figures_at(certificate, NOW).statuses[status] == 1
    assert all(second <= LATEST for _, second in Tally().count(certificate).marks)


def test_unusual_sizes_of_rsa_keys_are_counted_together():
    tally = Tally()
    for size in (2048, 2049, 2051, 3072):
        tally.count(record(key_size=size))
    tally.count(record(algorithm="ECDSA", key_size=521))
    found = figures(tally.totals, Histogram.around(NOW), NOW)
    assert found.algorithms == (("RSA", 0, 2), ("ECDSA", 521, 1), ("RSA", 2048, 1), ("RSA", 3072, 1))


def test_weeks_begin_on_monday_in_utc():
    start = int(MONDAY.timestamp())
    assert week_of(start) == week_of(start + 7 * 86_400 - 1) == week_of(start - 1) + 1
    assert start_of(week_of(start)) == start
    found = figures_at(record(not_after=MONDAY + timedelta(days=8)), MONDAY + timedelta(days=6, hours=23))
    assert [week.start for week in found.weeks][:2] == [MONDAY.date(), (MONDAY + timedelta(days=7)).date()]
    assert [week.certificates for week in found.weeks][:3] == [0, 1, 0]
    assert len(found.weeks) == 53


def test_what_changes_nothing_that_is_counted_evens_out():
    old = record()
    assert Tally().count(old, -1).count(replace(old, name="other", tags={"a": "b"}, version=2)).changes_nothing
    assert not Tally().count(old, -1).count(replace(old, notifications=True)).changes_nothing


def test_the_replaced_are_silent_in_every_kind_and_shown_apart_in_the_weeks():
    one = record(not_after=NOW + timedelta(days=10), risks=("SelfSigned",), replaced_by="another")
    found = figures_at(one, NOW)
    assert set(found.pending.values()) == {0}
    assert sum(week.certificates for week in found.weeks) == sum(week.replaced for week in found.weeks) == 1


def test_a_renewal_that_failed_is_pending_long_before_it_is_due():
    one = record(not_after=NOW + timedelta(days=300), renewal_problem="AuthorityNotActive")
    found = figures_at(one, NOW)
    assert (found.pending[PendingKind.PENDING_RENEWAL], found.statuses[Status.TO_BE_RENEWED]) == (1, 0)


@given(st.lists(st.tuples(certificates, NEAR, lifetimes), max_size=8), st.lists(st.integers(1, 500), max_size=4))
def test_following_the_clock_loses_nothing(specs, days):
    """Weeks that were counted in sum are taken in again by their marks; weeks long over are summed up."""
    tally, now = Tally(), NOW
    for spec in specs:
        tally.count(made(*spec))
    marks = Histogram.around(now)
    marks.add(tally.marks)
    whole = marks.total()
    for number in days:
        now += timedelta(days=number)
        entering = {
            week: {mark: n for mark, n in tally.marks.items() if week_of(mark[1]) == week}
            for week in marks.entering(now)
        }
        marks.move_on(now, entering)
        assert marks.reaches(now)
        assert +marks.total() == +whole
        assert len(marks.weeks) <= WEEKS_BEHIND + WEEKS_AHEAD + 1
        fresh = Histogram.around(now)
        fresh.add(tally.marks)
        for week in range(marks.first, marks.last + 2):
            assert +marks.before(week) == +fresh.before(week)
