"""When reminders are due: at every boundary, and against a model that counts seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.model import certificate_id, expiry_of
from chalicelib.domain.reminders import (
    LONG_AGO,
    ReminderPolicy,
    Watched,
    due,
    is_short,
    is_silent,
    short_window,
    thresholds,
    windows,
)
from tests.support.authority import NOW
from tests.support.records import record

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
USUAL = ReminderPolicy()
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Pacific/Auckland", "America/St_Johns"]


def certificate(begin, end, one="one"):
    return Watched(one, begin, end, 1, begin)


def keys(lifetime, policy=USUAL):
    return [t.key for t in thresholds(NOW, NOW + lifetime, policy)]


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        (365 * DAY, ["30d", "14d", "7d", "3d", "1d", "0d", "-1d"]),
        (90 * DAY, ["30d", "14d", "7d", "3d", "1d", "0d", "-1d"]),
        (90 * DAY - SECOND, ["1/3", "1/6", "1/12", "1/24", "0d", "-1d"]),
        (6 * DAY, ["1/3", "1/6", "1/12", "1/24", "0d", "-1d"]),
        (HOUR, ["1/3", "1/6", "1/12", "1/24", "0d", "-1d"]),
    ],
)
def test_thresholds_go_by_days_or_by_fractions_of_a_short_lifetime(lifetime, expected):
    assert keys(lifetime) == expected


def test_a_threshold_is_that_long_before_the_end():
    begin, end = NOW - 60 * DAY, NOW
    assert [end - t.at for t in thresholds(begin, end, USUAL)] == [
        20 * DAY,
        10 * DAY,
        5 * DAY,
        60 * HOUR,
        0 * DAY,
        -DAY,
    ]


def test_days_are_days_whatever_the_clock_on_the_wall_does():
    berlin = datetime(2026, 4, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))  # summer time began on 29 March
    (week, *_) = thresholds(berlin - 200 * DAY, berlin, ReminderPolicy(days=(7,)))
    assert berlin.astimezone(UTC) - week.at == 7 * DAY


def test_no_reminder_is_due_before_a_certificate_is_valid():
    assert keys(200 * DAY, ReminderPolicy(days=(365, 200, 199))) == ["199d"]
    assert keys(10 * DAY, ReminderPolicy(days=(), fractions=(1, 2))) == ["1/2"]


def test_a_threshold_is_due_once_from_its_moment_on():
    one = certificate(NOW - 300 * DAY, NOW + 7 * DAY)
    assert [t.key for t in due(one, USUAL, NOW - SECOND, NOW)] == ["7d"]
    assert due(one, USUAL, NOW, NOW + SECOND) == ()
    assert due(one, USUAL, NOW - 2 * SECOND, NOW - SECOND) == ()


def test_of_several_the_most_urgent_comes_last():
    one = certificate(NOW - 300 * DAY, NOW + 2 * DAY)
    assert [t.key for t in due(one, USUAL, LONG_AGO, NOW)] == ["30d", "14d", "7d", "3d"]


@pytest.mark.parametrize(
    ("fields", "silent"),
    [
        ({}, False),
        ({"notifications": False}, True),
        ({"revoked_at": NOW}, True),
        ({"replaced_by": "another"}, True),
        ({"replaced_by": "another", "deployed": True}, False),
    ],
)
def test_what_is_off_revoked_or_replaced_everywhere_is_silent(fields, silent):
    assert is_silent(replace(record(notifications=True), **fields)) is silent


@given(st.integers(0, 4_000_000_000))
def test_an_id_tells_the_second_of_its_expiry(second):
    moment = datetime.fromtimestamp(second, UTC)
    assert expiry_of(certificate_id(moment, "ab" * 32)) == moment


# --- against a model -----------------------------------------------------------------------------------------------

policies = st.builds(
    ReminderPolicy,
    days=st.lists(st.integers(-10, 120), max_size=6).map(tuple),
    fractions=st.lists(st.integers(1, 50), max_size=5).map(tuple),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
#: Seconds from `NOW`; lifetimes on both sides of 90 days.
lifetimes = st.one_of(st.integers(60, 100 * 86400), st.sampled_from([90 * 86400, 90 * 86400 - 1, 365 * 86400]))
inventories = st.lists(
    st.tuples(lifetimes, st.integers(-5 * 86400, 130 * 86400), zones),
    max_size=6,
).map(
    lambda rows: [
        certificate(*((NOW + timedelta(seconds=s)).astimezone(zone) for s in (end - life, end)), str(number))
        for number, (life, end, zone) in enumerate(rows)
    ]
)
#: Hours between scans: daily ones, repeats, and outages of weeks.
scans = st.lists(st.sampled_from([0, 1, 24, 24, 24, 25, 72, 500]), min_size=1, max_size=12)


def seconds(moment):
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def model(one, policy):
    """Every moment at which a reminder is due."""
    begin, end = seconds(one.not_before), seconds(one.not_after)
    short = end - begin < 90 * 24 * 3600
    days = {end - 24 * 3600 * n for n in policy.days if n <= 0 or not short}
    parts = {end - (end - begin) / n for n in policy.fractions} if short else set()
    return {at for at in days | parts if at > begin}


@given(inventories, policies, scans, zones)
def test_scans_tell_what_a_count_of_seconds_says(inventory, policy, pauses, zone):
    after = NOW.astimezone(zone)
    for pause in pauses:
        until = (after.astimezone(UTC) + timedelta(hours=pause)).astimezone(zone)
        for one in inventory:
            expected = [at for at in model(one, policy) if seconds(after) < at <= seconds(until)]
            found = [seconds(t.at) for t in due(one, policy, after, until)]
            assert found == pytest.approx(sorted(expected), abs=1)
        after = until


@given(inventories, policies, scans)
def test_every_threshold_is_due_in_exactly_one_scan_whatever_the_outages(inventory, policy, pauses):
    begin = NOW
    moments = [begin]
    for pause in pauses:
        moments.append(moments[-1] + timedelta(hours=pause))
    for one in inventory:
        told = [t for after, until in pairwise(moments) for t in due(one, policy, after, until)]
        assert told == [t for t in thresholds(one.not_before, one.not_after, policy) if begin < t.at <= moments[-1]]


@given(inventories, policies, st.sampled_from([0, 1, 24, 72, 500]))
def test_the_windows_hold_exactly_what_is_due(inventory, policy, hours):
    after, until = NOW, NOW + timedelta(hours=hours)
    found = windows(policy, after, until)
    assert all(high < low for (_, high), (low, _) in pairwise(found))
    least, most = short_window(policy, after, until)
    for one in inventory:
        inside = sum(low < one.not_after <= high for low, high in found)
        told = due(one, policy, after, until)
        if is_short(one.not_before, one.not_after):
            assert inside or not any(t.key.endswith("d") for t in told)
            assert least < one.not_after <= most or not any("/" in t.key for t in told)
        elif all(n < 60 for n in policy.days):  # a threshold before its validity is none
            assert inside == bool(told)
        else:
            assert inside or not told
