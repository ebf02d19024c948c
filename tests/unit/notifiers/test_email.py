"""Mail as it is composed, and what SES says of it."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from chalicelib.domain.digests import Message
from chalicelib.notifiers.email import MAX_MAIL, EmailNotifier
from chalicelib.ports import NotifyError

MESSAGE = Message("1 certificate", "Text\n", "<p>Text</p>\n")


class Ses:
    """Keeps what it is asked, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[dict] = []
        self._failure = failure

    def send_email(self, **asked):
        if self._failure is not None:
            raise self._failure
        self.asked.append(asked)


def sent(message: Message, mail_from: str = "certhaven@example.com"):
    ses = Ses()
    EmailNotifier(lambda: ses, mail_from).send("ops@example.com", message)
    (asked,) = ses.asked
    return asked, message_from_bytes(asked["Content"]["Raw"]["Data"], policy=default)


def failing(failure, **options):
    with pytest.raises(NotifyError) as caught:
        EmailNotifier(lambda: Ses(failure), options.get("mail_from", "certhaven@example.com")).send(
            "ops@example.com", options.get("message", MESSAGE)
        )
    return caught.value


def test_a_mail_has_both_forms_the_better_one_last():
    asked, mail = sent(MESSAGE)
    assert asked["FromEmailAddress"] == "certhaven@example.com"
    assert asked["Destination"] == {"ToAddresses": ["ops@example.com"]}
    assert mail.get_content_type() == "multipart/alternative"
    parts = [(part.get_content_type(), part.get_content().splitlines()) for part in mail.iter_parts()]
    assert parts == [("text/plain", ["Text"]), ("text/html", ["<p>Text</p>"])]
    assert mail["From"] == "Certhaven <certhaven@example.com>"
    assert mail["To"] == "ops@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_lines_are_short_and_in_ascii_whatever_they_hold():
    asked, mail = sent(Message("“ü” 漢字 " * 20, "漢" * 5_000 + "\n", "x" * 50_000))
    raw = asked["Content"]["Raw"]["Data"]
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert mail.get_body(("plain",)).get_content().splitlines() == ["漢" * 5_000]
    assert mail["Subject"].strip() == ("“ü” 漢字 " * 20).strip()


def test_a_subject_adds_no_header():
    _, mail = sent(Message("x\r\nBcc: all@example.com\r\n\r\nbody", "Text", "<p>Text</p>"))
    assert mail["Bcc"] is None
    assert mail["Subject"].split() == ["x", "Bcc:", "all@example.com", "body"]


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        ("MessageRejected", True),
        ("MailFromDomainNotVerifiedException", True),
        ("BadRequestException", True),
        ("TooManyRequestsException", False),
        ("LimitExceededException", False),
        ("SendingPausedException", False),
        ("AccountSuspendedException", False),
        ("InternalFailure", False),
    ],
)
def test_what_ses_refuses_is_told_in_its_words(code, permanent):
    refusal = {"Error": {"Code": code, "Message": "Email address is not verified.\nx@example.com"}}
    error = failing(ClientError(refusal, "SendEmail"))
    assert error.permanent is permanent
    assert f"({code}): Email address is not verified. x@example.com." in error.problem
    assert ("CERTHAVEN_MAIL_FROM" in error.problem) is permanent


@pytest.mark.parametrize(
    "failure",
    [EndpointConnectionError(endpoint_url="https://email.example.com"), ConnectTimeoutError(endpoint_url="https://x")],
)
def test_ses_that_cannot_be_reached_may_come_back(failure):
    error = failing(failure)
    assert not error.permanent
    assert "cannot be reached" in error.problem


def test_what_cannot_be_a_mail_is_told():
    assert failing(None, mail_from="nobody").permanent
    assert str(MAX_MAIL) in failing(None, message=Message("x", "x" * 30_000_000, "x")).problem


@pytest.mark.parametrize("address", ["", "a@b.com, c@d.com", "a@b.com\r\nBcc: c@d.com"])
def test_nothing_is_sent_to_what_is_not_one_mailbox(address):
    ses = Ses()
    with pytest.raises(NotifyError):
        EmailNotifier(lambda: ses, "certhaven@example.com").send(address, MESSAGE)
    assert ses.asked == []
