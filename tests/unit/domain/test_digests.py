"""What contacts are told, in words."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html import unescape
from html.parser import HTMLParser
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.contacts import Hours
from chalicelib.domain.digests import MAX_DOMAINS, MAX_ENTRIES, render, time_left, trial
from chalicelib.domain.errors import ERRORS
from tests.support.authority import NOW
from tests.support.fake_contacts import contact, digest, notice

EXPIRY = datetime(2026, 5, 12, 12, 0, tzinfo=UTC)


class Reader(HTMLParser):
    """Reads HTML as a mail program does: elements, addresses of links, and text; all elements must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.links, self.texts, self._open = set(), [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name == "href"]
        if tag not in {"meta", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def both(message):
    """The words of both forms of a message."""
    return message.text, Reader(message.html).text


def test_every_certificate_is_named_with_all_that_there_is_to_know_of_it():
    first = notice(domains=("a.example.com", "b.example.com"), deployments=("CLB lb-1 in cn-hangzhou", "CDN c.example"))
    second = notice(name="shop", not_after=EXPIRY + timedelta(days=1))
    message = render(digest(second, first))
    assert message.text == (
        f"""Hello Operations,

These 2 certificates need you: renew before the end of validity, and deploy the new one where the old one serves.

1. www.example.com-2026-rsa2048 expires in 6 days
   Expires:   Tue 12 May 2026, 14:00 CEST
   Domains:   a.example.com, b.example.com
   Deployed:  CLB lb-1 in cn-hangzhou, CDN c.example
   See:       https://certs.example.com/console#/certificates/{first.certificate_id}

2. shop expires in 7 days
   Expires:   Wed 13 May 2026, 14:00 CEST
   Domains:   www.example.com
   Deployed:  none that is known here
   See:       https://certs.example.com/console#/certificates/{second.certificate_id}

You get this as the contact “Operations” of the account 1000000000000001. Dates are those of Europe/Berlin. """
        """An admin of the account changes contacts and reminders.

https://certs.example.com/console
"""
    )
    read = Reader(message.html)
    for words in ("a.example.com, b.example.com", "CDN c.example", "14:00 CEST", "expires in 7 days", "shop"):
        assert words in read.text
    assert read.links == re.findall(r"https://\S+", message.text)


@pytest.mark.parametrize(
    ("notices", "subject"),
    [
        ([], "No certificate needs you"),
        ([notice()], "1 certificate: “www.example.com-2026-rsa2048” expires in 6 days"),
        (
            [notice(), notice(name="gone", not_after=EXPIRY - timedelta(days=7))],
            "2 certificates, most urgent: “gone” expired 1 day ago",
        ),
    ],
)
def test_the_subject_says_how_many_there_are_and_which_is_the_most_urgent(notices, subject):
    message = render(digest(*notices))
    assert message.subject == f"[Certhaven] {subject}"
    assert f"<title>{message.subject}</title>" in message.html


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=30), "expires in 30 days"),
        (timedelta(days=1), "expires in 1 day"),
        (timedelta(hours=23, minutes=59), "expires in less than a day"),
        (timedelta(0), "expires in less than a day"),
        (-timedelta(seconds=1), "expired less than a day ago"),
        (-timedelta(days=1), "expired 1 day ago"),
        (-timedelta(days=400), "expired 400 days ago"),
    ],
)
def test_days_left_are_whole_days(left, words):
    assert time_left(EXPIRY + left, EXPIRY) == words


@pytest.mark.parametrize(
    ("zone", "expires"),
    [
        ("UTC", "Tue 12 May 2026, 12:00 UTC"),
        ("Asia/Shanghai", "Tue 12 May 2026, 20:00 CST"),
        ("Pacific/Kiritimati", "Wed 13 May 2026, 02:00 UTC+14"),
        ("America/Los_Angeles", "Tue 12 May 2026, 05:00 PDT"),
        ("No/Longer_There", "Tue 12 May 2026, 12:00 UTC"),
    ],
)
def test_dates_are_those_of_the_contacts_time_zone(zone, expires):
    for words in both(render(digest(notice(), contact=contact(time_zone=zone)))):
        assert expires in words


def test_what_is_late_is_said_to_be_late_and_when_it_was_due():
    late = notice(late=True)
    for words in both(render(digest(late, notice(name="in time")))):
        assert words.count("late: this was to be said on Tue 5 May 2026, 14:00 CEST") == 1


def test_a_renewal_that_failed_is_told_with_what_stood_in_the_way_and_what_to_do():
    for words in both(render(digest(notice(renewal_problem="AuthorityNotActive"), notice(name="in time")))):
        assert words.count("it was to renew by itself and could not (AuthorityNotActive)") == 1
        assert ERRORS["AuthorityNotActive"] in words


def test_a_certificate_that_is_due_at_several_thresholds_is_named_once():
    first = notice(late=True)
    second = replace(first, threshold="3d", due_at=EXPIRY - timedelta(days=3), late=False)
    message = render(digest(second, first))
    assert message.subject.startswith("[Certhaven] 1 certificate:")
    for words in both(message):
        assert words.count("www.example.com-2026-rsa2048") == (1 if words == message.text else 2)
        assert words.count("late: this was to be said on Tue 5 May 2026, 14:00 CEST") == 1


def test_more_domains_than_are_listed_are_counted():
    many = tuple(f"host-{number}.example.com" for number in range(200))
    for given_domains, total in ((many, 0), (many[:MAX_DOMAINS], 200)):
        for words in both(render(digest(notice(domains=given_domains, domains_total=total)))):
            assert f"host-{MAX_DOMAINS - 1}.example.com, and {200 - MAX_DOMAINS} more" in words
            assert f"host-{MAX_DOMAINS}." not in words


def test_more_certificates_than_a_mail_can_hold_are_counted():
    days = (EXPIRY + timedelta(days=number) for number in range(MAX_ENTRIES + 3))
    message = render(digest(*(notice(not_after=day) for day in days)))
    assert message.subject.startswith(f"[Certhaven] {MAX_ENTRIES + 3} certificates, most urgent")
    for words in both(message):
        assert "and 3 more that expire later" in words
    assert f"\n{MAX_ENTRIES}. " in message.text
    assert len(message.text) + len(message.html) < 4_000_000


def test_without_the_consoles_address_there_is_no_link():
    message = render(digest(notice(), console_url=""))
    assert Reader(message.html).links == []
    assert "http" not in message.text


def test_a_test_message_says_what_it_is_and_when_reminders_will_come():
    told = trial(contact(hours=Hours("09:00", "17:30")), EXPIRY)
    assert told.subject == "[Certhaven] Test message for “Operations”"
    for words in both(told):
        assert "This is a test" in words
        assert "from 09:00 to 17:30, Europe/Berlin; there it is Tue 12 May 2026, 14:00 CEST now." in words
    assert "at any time of the day" in trial(contact(), EXPIRY).text


# --- hostile names -------------------------------------------------------------------------------------------------

MARKS = "\u202e\u2066\u200f\u061c\u2028\u0000\r\n\x1b"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "x\r\nBcc: all@example.com",
    "\u202egpj.exe",
    "</bdi></body></html>",
    "\ud800",
    "&lt;b&gt;",
    "x" * 5_000,
    "",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters() | st.sampled_from(MARKS), max_size=80))
moments = st.datetimes(timezones=st.just(UTC)) | st.sampled_from(
    [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)]
)
zones = st.sampled_from([*sorted(available_timezones())[::20], "No/Such", ""])
contacts = st.builds(lambda name, zone: contact(name=name, time_zone=zone), texts, zones)
certificates = st.integers(0, 5).map(str) | texts
notices = st.builds(
    notice,
    certificate_id=certificates,
    name=texts,
    domains=st.lists(texts, max_size=5).map(tuple) | st.just(("a" * 253,) * 200),
    deployments=st.lists(texts, max_size=3).map(tuple),
    not_after=moments,
    due_at=moments,
    late=st.booleans(),
    domains_total=st.integers(0, 300),
)
digests = st.builds(
    lambda listed, **fields: digest(*listed, **fields),
    st.lists(notices, max_size=4),
    contact=contacts,
    made_at=moments,
    console_url=st.sampled_from(["", "https://certs.example.com/console", 'https://x/"><script>']),
)
#: All elements of a mail; none of them runs or loads anything.
ELEMENTS = {"html", "head", "meta", "title", "body", "p", "br", "a", "h2", "table", "tr", "td", "bdi"}


@given(digests)
def test_whatever_names_hold_the_message_is_made_and_nothing_of_them_is_obeyed(made):
    apart = (replace(one, certificate_id=f"{n}{one.certificate_id}") for n, one in enumerate(made.notices))
    made = replace(made, notices=tuple(apart))
    message = render(made)
    read = Reader(message.html)
    assert read.tags <= ELEMENTS
    assert all(link.startswith("https://") for link in read.links)
    for words in (message.subject, message.text.replace("\n", ""), message.html.replace("\n", "")):
        assert words.isprintable(), [c for c in words if not c.isprintable()]
    assert len(message.subject) < 150
    for entry in made.notices:
        shown = "".join(c if c.isprintable() else " " for c in entry.name[:40])
        assert shown.strip() in message.text
        assert shown.strip() in unescape(message.html)


@given(digests)
def test_a_line_of_the_text_begins_with_a_name_only_where_a_certificate_does(made):
    lines = render(made).text.splitlines()
    heads = [line for line in lines if re.match(r"\d+\. ", line)]
    assert len(heads) == len({entry.certificate_id for entry in made.notices})
    assert [int(line.partition(".")[0]) for line in heads] == list(range(1, len(heads) + 1))


@given(digests)
def test_every_message_can_be_a_mail(made):
    message = render(made)
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    assert bytes(mail)


@given(contacts, moments)
def test_a_test_message_is_made_for_any_contact(made, at):
    message = trial(made, at)
    assert Reader(message.html).tags <= ELEMENTS
    assert message.subject.isprintable()


@given(st.lists(notices, max_size=6), st.randoms())
def test_the_order_of_notices_does_not_matter(listed, chance):
    numbered = [replace(one, certificate_id=str(n)) for n, one in enumerate(listed)]
    shuffled = chance.sample(numbered, len(numbered))
    made = digest(*numbered, id="x", made_at=NOW)
    assert render(made) == render(replace(made, notices=tuple(shuffled)))
    expiries = [one.not_after for one in sorted(numbered, key=lambda n: (n.not_after, n.certificate_id))]
    assert all(a <= b for a, b in itertools.pairwise(expiries))
