"""What every notifier does: mail by SES, and Apprise over a server on this machine; the fakes do the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from chalicelib.domain.digests import Message
from chalicelib.notifiers import load
from chalicelib.ports import Notifier, NotifierKit, NotifyError
from tests.support.fake_contacts import MemoryNotifier, digest, notice
from tests.support.tables import REGION, moto_aws
from tests.support.webhooks import Webhook

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

FROM = "certhaven@example.com"
SECRET = "s3cr3t-t0ken-of-the-h00k"
MESSAGE = Message(
    "2 certificates “café”", "First line.\n\n  · second, with ünïcode and 漢字\n", "<p>First &amp; last</p>\n"
)


@dataclass
class Way:
    """A notifier, a sound address and one that is not, what arrived, and how to have it refused."""

    notifier: Notifier
    address: str
    wrong: str
    received: Callable[[], list[tuple[str, str]]]
    refuse: Callable[[], None]


def kit(**fields) -> NotifierKit:
    def ses():
        return boto3.client("sesv2", region_name=REGION)

    return NotifierKit(**({"mail_from": FROM, "ses": ses, "private": True} | fields))


@contextmanager
def fake(kind: str, address: str, wrong: str) -> Iterator[Way]:
    notifier = MemoryNotifier(kind)

    def refuse():
        notifier.failing[address] = NotifyError("It was refused.", permanent=True)

    yield Way(notifier, address, wrong, lambda: [(m.subject, m.text) for _, m in notifier.sent], refuse)


@contextmanager
def by_mail() -> Iterator[Way]:
    with moto_aws():
        ses = boto3.client("sesv2", region_name=REGION)
        ses.create_email_identity(EmailIdentity=FROM)
        box = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
        before = len(box)

        def received():
            mails = [message_from_bytes(sent.raw_data.encode(), policy=default) for sent in box[before:]]
            return [(mail["Subject"], mail.get_body(("plain",)).get_content().replace("\r\n", "\n")) for mail in mails]

        def refuse():
            ses.delete_email_identity(EmailIdentity=FROM)

        yield Way(load(kit())["email"], "ops@example.com", "ops", received, refuse)


@contextmanager
def by_apprise() -> Iterator[Way]:
    with Webhook() as hook:

        def received():
            told = [json.loads(body) for _, body in hook.requests]
            return [(one["title"], one["message"] + "\n") for one in told]

        def refuse():
            hook.status = 403

        yield Way(load(kit())["apprise"], f"json://{hook.host}/{SECRET}", f"ftp://{SECRET}", received, refuse)


WAYS = {
    "fake mail": lambda: fake("email", "ops@example.com", "ops"),
    "fake apprise": lambda: fake("apprise", f"jsons://example.com/{SECRET}", f"ftp://{SECRET}"),
    "mail": by_mail,
    "apprise": by_apprise,
}


@pytest.fixture(params=WAYS)
def way(request):
    with WAYS[request.param]() as made:
        yield made


def test_a_message_arrives_as_it_was_sent(way):
    assert way.notifier.check(way.address) is None
    for _ in range(2):
        way.notifier.send(way.address, MESSAGE)
    assert way.received() == [(MESSAGE.subject, MESSAGE.text)] * 2


def test_a_digest_arrives_with_all_its_certificates(way):
    from chalicelib.domain.digests import render

    message = render(digest(*(notice(name=f"certificate-{number}") for number in range(40))))
    way.notifier.send(way.address, message)
    text = "".join(text for _, text in way.received())
    assert all(f"certificate-{number} expires in 6 days" in text for number in range(40))


def test_a_refusal_is_an_error_that_says_so_and_a_later_message_may_arrive(way):
    way.notifier.send(way.address, MESSAGE)
    way.refuse()
    with pytest.raises(NotifyError) as refused:
        way.notifier.send(way.address, MESSAGE)
    assert refused.value.permanent
    assert refused.value.problem
    assert way.received()[0] == (MESSAGE.subject, MESSAGE.text)


def test_what_is_no_address_is_told_before_and_refused_when_it_is_sent_to(way):
    problem = way.notifier.check(way.wrong)
    assert problem.message
    assert problem.hint
    with pytest.raises(NotifyError) as refused:
        way.notifier.send(way.wrong, MESSAGE)
    assert refused.value.permanent
    assert way.received() == []


def test_an_address_that_is_secret_is_shown_by_its_kind_alone_and_one_that_is_not_whole(way):
    shown = way.notifier.shown(way.address)
    assert shown == (way.address.partition("//")[0] + "//" if way.notifier.secret else way.address)


def test_no_error_tells_a_secret(way):
    said = [repr(way.notifier.check(way.wrong)), repr(way.notifier)]
    way.refuse()
    error: BaseException | None
    with pytest.raises(NotifyError) as refused:
        way.notifier.send(way.address, MESSAGE)
    error = refused.value
    while error is not None:
        said += [str(error), repr(error), repr(vars(error))]
        error = error.__context__
    assert SECRET not in " ".join(said)
