"""Where a certificate stands, at every boundary."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.model import Status
from chalicelib.domain.status import days_left, renewal_due_at, status_at, status_between
from tests.support.authority import NOW
from tests.support.records import record

SECOND = timedelta(seconds=1)
ORDER = [Status.ISSUED, Status.TO_BE_RENEWED, Status.EXPIRED]


def lived(lifetime, left):
    """The status of a certificate of that lifetime with that much of it left."""
    begin = NOW - lifetime + left
    return status_at(record(not_before=begin, not_after=NOW + left), NOW)


@pytest.mark.parametrize(
    ("days", "window"),
    [
        (365, timedelta(days=30)),
        (200, timedelta(days=30)),
        (90, timedelta(days=30)),
        (89, timedelta(days=89) / 3),
        (60, timedelta(days=20)),
        (47, timedelta(days=47) / 3),
        (6, timedelta(days=2)),
        (1, timedelta(hours=8)),
    ],
)
def test_renewal_is_due_30_days_before_the_end_or_a_third_of_a_short_life(days, window):
    lifetime = timedelta(days=days)
    assert lived(lifetime, window + SECOND) is Status.ISSUED
    assert lived(lifetime, window) is Status.TO_BE_RENEWED
    assert lived(lifetime, window - SECOND) is Status.TO_BE_RENEWED


def test_a_life_one_second_short_of_90_days_is_a_short_one():
    short = timedelta(days=90) - SECOND
    assert NOW + short - renewal_due_at(NOW, NOW + short) == short / 3


@pytest.mark.parametrize("lifetime", [timedelta(days=365), timedelta(days=90), timedelta(hours=1)])
def test_the_last_second_of_validity_is_within_it(lifetime):
    assert lived(lifetime, timedelta(0)) is Status.TO_BE_RENEWED
    assert lived(lifetime, -SECOND) is Status.EXPIRED


def test_a_certificate_of_the_future_is_issued():
    assert lived(timedelta(days=90), timedelta(days=120)) is Status.ISSUED


@pytest.mark.parametrize("left", [timedelta(days=80), timedelta(days=5), timedelta(days=-5)])
def test_a_revoked_certificate_is_revoked_whatever_its_dates_say(left):
    held = record(not_before=NOW - timedelta(days=90), not_after=NOW + left, revoked_at=NOW)
    assert status_at(held, NOW) is Status.REVOKED


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (timedelta(days=30), 30),
        (timedelta(days=30) - SECOND, 29),
        (timedelta(hours=23), 0),
        (timedelta(0), 0),
        (-SECOND, -1),
        (timedelta(days=-1), -1),
        (timedelta(days=-1) - SECOND, -2),
    ],
)
def test_whole_days_are_counted_and_none_is_left_below_zero(left, days):
    assert days_left(NOW + left, NOW) == days


@given(st.integers(1, 10**9), st.integers(-(10**9), 2 * 10**9), st.integers(0, 10**9))
def test_a_certificate_never_goes_back(seconds, at, later):
    end = NOW + timedelta(seconds=seconds)
    first, second = (status_between(NOW, end, NOW + timedelta(seconds=s)) for s in (at, at + later))
    assert ORDER.index(first) <= ORDER.index(second)


@given(st.integers(1, 10**9))
def test_every_certificate_is_issued_first_and_due_within_its_life(seconds):
    end = NOW + timedelta(seconds=seconds)
    due = renewal_due_at(NOW, end)
    assert NOW < due < end
    assert end - due <= timedelta(days=30)
    assert status_between(NOW, end, NOW) is Status.ISSUED
