"""What a contact can be, and when it hears."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.contacts import (
    MAX_CHANNELS,
    AddressProblem,
    ChannelSpec,
    ChannelState,
    ContactSpec,
    Hours,
    check,
    mail_problem,
    zone_of,
)
from chalicelib.domain.reminders import MAX_ENTRIES, ReminderPolicy
from tests.support.authority import NOW
from tests.support.fake_contacts import channel, contact

MAIL = ChannelSpec("email", "ops@example.com")
SECRET = "slack://a-secret"


def spec(**fields):
    return ContactSpec(**({"name": "Ops", "channels": (MAIL,), "time_zone": "UTC", "hours": None} | fields))


def judge(kind, address):
    return AddressProblem("It is wrong.", "Mend it.") if address == "wrong" else None


def told(wanted, held=()):
    found = check(wanted, held, judge)
    assert {f.code for f in found} <= {"ContactFieldIncorrect"}
    assert all(f.message and f.hint for f in found)
    return [f.param for f in found]


def test_a_sound_contact_has_no_findings():
    assert told(spec()) == []
    assert told(spec(channels=(MAIL, ChannelSpec("apprise", SECRET)), hours=("22:00", "06:00"))) == []


def test_every_problem_is_told_at_once():
    wrong = (ChannelSpec("email", "wrong"), ChannelSpec("apprise", "wrong"), ChannelSpec("apprise", None), MAIL)
    found = told(spec(channels=wrong, time_zone="Mars/Olympus", hours=("25:00", "9:00")))
    expected = ["channels[0].address", "channels[1].url", "channels[2].url", "time_zone", "hours.from", "hours.to"]
    assert found == expected


@pytest.mark.parametrize(("number", "wrong"), [(0, True), (1, False), (MAX_CHANNELS, False), (MAX_CHANNELS + 1, True)])
def test_a_contact_has_one_to_five_channels(number, wrong):
    channels = tuple(ChannelSpec("email", f"ops-{n}@example.com") for n in range(number))
    assert told(spec(channels=channels)) == (["channels"] if wrong else [])


def test_a_channel_is_named_once():
    assert told(spec(channels=(MAIL, MAIL))) == ["channels"]
    assert told(spec(channels=(ChannelSpec("apprise", SECRET), MAIL, ChannelSpec("apprise", SECRET)))) == ["channels"]


def test_a_channel_stays_by_its_id_without_its_address():
    held = channel(kind="apprise", address="slack://")
    assert told(spec(channels=(ChannelSpec("apprise", None, held.id),)), [held]) == []
    assert told(spec(channels=(ChannelSpec("apprise", SECRET, held.id),)), [held]) == []
    assert told(spec(channels=(ChannelSpec("email", None, held.id),)), [held]) == ["channels[0].id"]
    assert told(spec(channels=(ChannelSpec("apprise", None, "other"),)), [held]) == ["channels[0].id"]
    assert told(spec(channels=(ChannelSpec("apprise", None, held.id),) * 2), [held]) == ["channels"]


@pytest.mark.parametrize(
    ("hours", "wrong"),
    [
        (("09:00", "17:00"), []),
        (("23:30", "00:30"), []),
        (("09:00", "09:00"), ["hours"]),
        (("09:00", "09:59"), ["hours"]),
        (("23:59", "00:00"), ["hours"]),
        (("9:00", "17:00"), ["hours.from"]),
        (("09:00", "24:00"), ["hours.to"]),
        (("", "noon"), ["hours.from", "hours.to"]),
    ],
)
def test_hours_are_two_times_of_day_an_hour_apart_or_more(hours, wrong):
    assert told(spec(hours=hours)) == wrong


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "posix/UTC", "localtime", "zone.tab",
     "x" * 300, "europe berlin", "Europe/Berlin\0", "\ud800"],
)  # fmt: skip
def test_what_is_no_time_zone_is_told(name):
    assert told(spec(time_zone=name)) == ["time_zone"]
    assert zone_of(name) is UTC


def test_every_time_zone_of_the_database_can_be_named():
    named = {zone for zone in available_timezones() if told(spec(time_zone=zone)) == []}
    assert available_timezones() - named <= {"Factory", "localtime"}
    assert {"UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"} <= named


@pytest.mark.parametrize(
    "address",
    ["ops@example.com", "a.b+c@sub.example.co", "o'hara_1@xn--bcher-kva.example", f"{'a' * 64}@example.com"],
)
def test_addresses_of_mail_are_taken(address):
    assert mail_problem(address) is None


@pytest.mark.parametrize(
    "address",
    ["", "ops", "@example.com", "ops@", "ops@localhost", "ops@example.com, all@example.com", "ops@example.com\nBcc: x",
     "Ops <ops@example.com>", "o ps@example.com", ".ops@example.com", "o..ps@example.com", "ops@-example.com",
     "ops@example..com", "ops@[192.0.2.1]", "ops@192.0.2.1", '"o p"@example.com', "öps@example.com",
     "ops@bücher.example", f"{'a' * 65}@example.com",
     f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.com", "ops@exa_mple.com", "\ud800@a.b"],
)  # fmt: skip
def test_what_is_no_address_of_one_mailbox_is_refused_with_a_hint(address):
    problem = mail_problem(address)
    assert problem.message
    assert problem.hint


@given(st.text(max_size=40) | st.from_regex(r"[a-z.@<>, -]{1,20}@[a-z.-]{1,20}", fullmatch=True))
def test_an_address_that_is_taken_stands_in_a_header_as_it_is(address):
    if mail_problem(address) is None:
        from email.headerregistry import Address

        assert Address(addr_spec=address).addr_spec == address


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        (Hours("09:00", "17:00"), ["09:00", "16:59"], ["08:59", "17:00", "00:00"]),
        (Hours("22:00", "06:00"), ["22:00", "23:59", "00:00", "05:59"], ["06:00", "21:59", "12:00"]),
        (Hours("00:00", "23:00"), ["00:00", "22:59"], ["23:00"]),
    ],
)
def test_hours_include_their_beginning_and_not_their_end(hours, inside, outside):
    assert all(hours.include(time.fromisoformat(moment)) for moment in inside)
    assert not any(hours.include(time.fromisoformat(moment)) for moment in outside)


def test_a_contact_hears_by_the_clock_of_its_time_zone():
    at_work = contact(hours=Hours("09:00", "17:00"), time_zone="Asia/Shanghai")
    assert at_work.hears_at(datetime(2026, 5, 12, 1, 0, tzinfo=UTC))
    assert not at_work.hears_at(datetime(2026, 5, 12, 0, 59, tzinfo=UTC))
    assert not at_work.hears_at(datetime(2026, 5, 12, 9, 0, tzinfo=UTC))
    assert contact(hours=None).hears_at(NOW)


@given(
    st.integers(0, 1439),
    st.integers(60, 1380),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.integers(0, 5_000 * 24 * 60),
)
def test_within_two_days_of_hourly_looks_every_contact_can_be_told(start, length, zone, minutes):
    first = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    text = [f"{minute // 60 % 24:02}:{minute % 60:02}" for minute in (start, start + length)]
    made = contact(hours=Hours(*text), time_zone=zone)
    assert any(made.hears_at(first + timedelta(hours=number)) for number in range(49))


def test_the_state_of_a_channel_remembers_both_outcomes_and_the_last_problem():
    later = NOW + timedelta(hours=1)
    failed = ChannelState().sent(NOW).failed(later, "Nobody answers.")
    assert failed == ChannelState(NOW, later, "Nobody answers.")
    assert failed.sent(later) == ChannelState(later, later, "")


def test_a_secret_address_is_not_in_what_a_wish_shows():
    assert "a-secret" not in repr(spec(channels=(ChannelSpec("apprise", SECRET),)))


# --- the policy of reminders ---------------------------------------------------------------------------------------


def test_the_usual_policy_is_sound_and_in_order():
    assert ReminderPolicy().check() == ()
    assert ReminderPolicy().in_order() == ReminderPolicy()


@pytest.mark.parametrize(
    ("policy", "params"),
    [
        (ReminderPolicy((365, -30), (2, 100)), []),
        (ReminderPolicy((7,), ()), []),
        (ReminderPolicy(()), ["days"]),
        (ReminderPolicy((366, -31), (1, 101)), ["days", "days", "fractions", "fractions"]),
        (ReminderPolicy(tuple(range(MAX_ENTRIES))), []),
        (ReminderPolicy(tuple(range(MAX_ENTRIES + 1))), ["days"]),
        (ReminderPolicy((7,), tuple(range(2, MAX_ENTRIES + 3))), ["fractions"]),
    ],
)
def test_a_policy_is_held_to_its_bounds(policy, params):
    found = policy.check()
    assert [f.param for f in found] == params
    assert {f.code for f in found} <= {"ContactFieldIncorrect"}


@given(st.lists(st.integers(-30, 365), min_size=1, max_size=20), st.lists(st.integers(2, 100), max_size=20))
def test_in_order_the_earliest_reminder_is_first_and_none_is_there_twice(days, fractions):
    policy = ReminderPolicy(tuple(days), tuple(fractions), renew_redeploys=True).in_order()
    assert list(policy.days) == sorted(set(days), reverse=True)
    assert list(policy.fractions) == sorted(set(fractions))
    assert policy.renew_redeploys
    assert policy.check() == ()
