"""What a contact is told: one message for all certificates that are due, as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from typing import Final
from urllib.parse import quote

from chalicelib.domain.certificate import printable
from chalicelib.domain.contacts import Contact
from chalicelib.domain.errors import ERRORS

#: How many domains of a certificate are named, and how many certificates of one digest.
MAX_DOMAINS: Final = 50
MAX_ENTRIES: Final = 2_000
#: The subject begins so, and a name in it has at most so many characters.
PREFIX: Final = "[Certhaven] "
_MAX_NAME: Final = 63
#: Longest domain (RFC 1035, 2.3.4), and longest name of a deployment that is shown.
_MAX_DOMAIN: Final = 253
_MAX_DEPLOYMENT: Final = 300
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Notice:
    """One certificate at one threshold.

    Attributes:
        domains: as many as the certificate's record lists.
        deployments: where it serves, each in words.
        not_after: end of its validity, aware.
        threshold: key of the threshold, as ``30d`` or ``1/3``.
        due_at: when the contact was to be told, aware.
        late: whether that was missed, and is made up for now.
        domains_total: how many domains it has; 0 when `domains` holds all.
        renewal_problem: the code of what stood in the way when it was to renew by itself; empty when nothing did.
    """

    certificate_id: str
    name: str
    domains: tuple[str, ...]
    deployments: tuple[str, ...]
    not_after: datetime
    threshold: str
    due_at: datetime
    late: bool
    domains_total: int = 0
    renewal_problem: str = ""


@dataclass(frozen=True, slots=True)
class Digest:
    """What one contact is told at once. `console_url` is the console's address, empty when it is not known."""

    id: str
    account_id: str
    contact: Contact
    notices: tuple[Notice, ...]
    made_at: datetime
    console_url: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message ready to be sent: the subject on one line, the same content as plain text and as HTML."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One certificate of the digest, all in words."""

    name: str
    state: str
    expires: str
    domains: str
    deployments: str
    missed: tuple[str, ...]
    renewal: str
    link: str


@dataclass(frozen=True, slots=True)
class _Letter:
    """A digest, all in words."""

    subject: str
    greeting: str
    introduction: str
    entries: list[_Entry]
    left_out: str
    footer: str
    console_url: str


def render(digest: Digest) -> Message:
    """The message of a digest: certificates by their expiry, dates in the contact's time zone.

    A certificate that is due at several thresholds, as after an outage, is named once.

    Never raises, whatever the names hold: control and direction marks are left out, and HTML is escaped.
    """
    grouped: dict[str, list[Notice]] = {}
    for notice in sorted(digest.notices, key=lambda n: (n.not_after, n.certificate_id, n.due_at)):
        grouped.setdefault(notice.certificate_id, []).append(notice)
    groups, zone = list(grouped.values()), digest.contact.zone
    entries = [_entry(group, zone, digest) for group in groups[:MAX_ENTRIES]]
    letter = _Letter(
        subject=_subject(entries, len(groups)),
        greeting=f"Hello {printable(digest.contact.name, _MAX_NAME)},",
        introduction=_introduction(len(groups)),
        entries=entries,
        left_out=_left_out(len(groups) - len(entries)),
        footer=_footer(digest),
        console_url=digest.console_url,
    )
    return Message(letter.subject, _text(letter), _html(letter))


def trial(contact: Contact, at: datetime) -> Message:
    """The message that tests a contact's channels."""
    name = printable(contact.name, _MAX_NAME)
    hours = "at any time of the day"
    if contact.hours is not None:
        hours = f"from {contact.hours.start} to {contact.hours.end}"
    lines = (
        f"This is a test: messages for the contact “{name}” arrive here.",
        f"Reminders will come {hours}, {contact.time_zone}; there it is {moment(at, contact.zone)} now.",
        "Nothing needs to be done.",
    )
    subject = f"{PREFIX}Test message for “{name}”"
    return Message(subject, _joined(lines), _page(subject, "".join(f"<p>{_html_text(line)}</p>" for line in lines)))


def moment(at: datetime, zone: tzinfo) -> str:
    """A moment for people, as ``Tue 12 May 2026, 14:00 CEST``."""
    try:
        local = at.astimezone(zone)
    except (OverflowError, ValueError):  # the last day that can be written (RFC 5280, 4.1.2.5) is later elsewhere
        local = at.astimezone(UTC)
    day = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    name = local.tzname() or "UTC"
    return f"{day}, {local:%H:%M} {f'UTC{name}' if name[0] in '+-' else name}"


def time_left(not_after: datetime, now: datetime) -> str:
    """What becomes of a certificate when, as ``expires in 6 days`` or ``expired 1 day ago``."""
    if now > not_after:
        days = (now - not_after) // timedelta(days=1)
        return f"expired {_days(days)} ago"
    return f"expires in {_days((not_after - now) // timedelta(days=1))}"


def _days(number: int) -> str:
    if number == 0:
        return "less than a day"
    return "1 day" if number == 1 else f"{number} days"


def _entry(notices: Sequence[Notice], zone: tzinfo, digest: Digest) -> _Entry:
    last = notices[-1]
    link = f"{digest.console_url}#/certificates/{quote(last.certificate_id, errors='replace')}"
    return _Entry(
        name=printable(last.name, _MAX_NAME) or "(no name)",
        state=time_left(last.not_after, digest.made_at),
        expires=moment(last.not_after, zone),
        domains=_domains(last),
        deployments=", ".join(printable(d, _MAX_DEPLOYMENT) for d in last.deployments) or "none that is known here",
        missed=tuple(moment(n.due_at, zone) for n in notices if n.late),
        renewal=_renewal(last.renewal_problem),
        link=link if digest.console_url else "",
    )


def _renewal(problem: str) -> str:
    """What is said of a renewal that failed."""
    if not problem:
        return ""
    return f"it was to renew by itself and could not ({problem}); it is tried again. {ERRORS.get(problem, '')}".strip()


def _domains(notice: Notice) -> str:
    named = [printable(d, _MAX_DOMAIN) for d in notice.domains[:MAX_DOMAINS]]
    more = max(len(notice.domains), notice.domains_total) - len(named)
    return (", ".join(named) or "none") + (f", and {more} more" if more > 0 else "")


def _subject(entries: Sequence[_Entry], total: int) -> str:
    if not entries:
        return f"{PREFIX}No certificate needs you"
    first = f"“{entries[0].name}” {entries[0].state}"
    if total == 1:
        return f"{PREFIX}1 certificate: {first}"
    return f"{PREFIX}{total} certificates, most urgent: {first}"


def _introduction(total: int) -> str:
    what = "This certificate needs" if total == 1 else f"These {total} certificates need"
    return f"{what} you: renew before the end of validity, and deploy the new one where the old one serves."


def _footer(digest: Digest) -> str:
    name = printable(digest.contact.name, _MAX_NAME)
    return (
        f"You get this as the contact “{name}” of the account {digest.account_id}. Dates are those of "
        f"{printable(digest.contact.time_zone, _MAX_NAME)}. An admin of the account changes contacts and reminders."
    )


def _left_out(more: int) -> str:
    return f"… and {more} more that expire later." if more else ""


def _late(missed: Sequence[str]) -> str:
    return f"late: this was to be said on {' and on '.join(missed)}"


def _facts(entry: _Entry) -> list[tuple[str, str]]:
    facts = [("Expires", entry.expires), ("Domains", entry.domains), ("Deployed", entry.deployments)]
    facts += [("Renewal", entry.renewal)] if entry.renewal else []
    return [*facts, ("Reminder", _late(entry.missed))] if entry.missed else facts


def _text(letter: _Letter) -> str:
    lines = [letter.greeting, letter.introduction]
    for number, entry in enumerate(letter.entries, 1):
        facts = [f"   {label + ':':<10} {value}" for label, value in _facts(entry)]
        facts += [f"   {'See:':<10} {entry.link}"] if entry.link else []
        lines.append("\n".join([f"{number}. {entry.name} {entry.state}", *facts]))
    return _joined([*lines, *filter(None, (letter.left_out, letter.footer, letter.console_url))])


def _joined(lines: Sequence[str]) -> str:
    return "\n\n".join(lines) + "\n"


def _html(letter: _Letter) -> str:
    parts = [f"<p>{_html_text(letter.greeting)}</p>", f"<p>{_html_text(letter.introduction)}</p>"]
    parts += [_html_entry(entry) for entry in letter.entries]
    if letter.left_out:
        parts.append(f"<p>{_html_text(letter.left_out)}</p>")
    url = letter.console_url
    about = f'<br><a href="{escape(url)}">{_html_text(url)}</a>' if url else ""
    parts.append(f'<p style="color:#555;font-size:13px">{_html_text(letter.footer)}{about}</p>')
    return _page(letter.subject, "".join(parts))


def _html_entry(entry: _Entry) -> str:
    name = _html_text(entry.name)
    if entry.link:
        name = f'<a href="{escape(entry.link)}">{name}</a>'
    rows = "".join(
        f'<tr><td style="padding:2px 12px 2px 0;color:#555;vertical-align:top">{label}</td>'
        f'<td style="padding:2px 0;word-break:break-word">{_html_text(value)}</td></tr>'
        for label, value in _facts(entry)
    )
    return (
        f'<h2 style="font-size:16px;margin:24px 0 4px">{name} {escape(entry.state)}</h2>'
        f'<table style="border-collapse:collapse;font-size:14px">{rows}</table>'
    )


def _html_text(text: str) -> str:
    """Text for HTML; set apart, so that what is written from right to left does not turn its surroundings."""
    return f"<bdi>{escape(text)}</bdi>"


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f'<body style="font-family:sans-serif;font-size:15px;line-height:1.45;max-width:720px">{body}</body></html>\n'
    )
