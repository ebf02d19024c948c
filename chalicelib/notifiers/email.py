"""Mail by Amazon SES: one message as plain text and as HTML (RFC 2046, 5.1.4)."""

from __future__ import annotations

from collections.abc import Callable
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.certificate import printable
from chalicelib.domain.contacts import AddressProblem, mail_problem
from chalicelib.domain.digests import Message
from chalicelib.ports import NotifierKit, NotifyError

#: What SES says of a message that it will not send, however often it is asked (API reference, SendEmail).
REFUSED: Final = frozenset({"MessageRejected", "MailFromDomainNotVerifiedException", "BadRequestException"})
#: What mail may be at most, in bytes (SES, "Service quotas").
MAX_MAIL: Final = 40_000_000


def build(kit: NotifierKit) -> EmailNotifier:
    """The notifier of mail."""
    return EmailNotifier(kit.ses, kit.mail_from)


class EmailNotifier:
    """Implements `chalicelib.ports.Notifier` for mail."""

    kind = "email"
    secret = False

    def __init__(self, ses: Callable[[], Any], mail_from: str) -> None:
        self._ses = ses
        self._from = mail_from

    def check(self, address: str) -> AddressProblem | None:
        """Whether this is the address of one mailbox."""
        return mail_problem(address)

    def shown(self, address: str) -> str:
        """The address itself."""
        return address

    def send(self, address: str, message: Message) -> None:
        """Send a mail: one request to SES."""
        problem = self.check(address)
        if problem is not None:
            raise NotifyError(problem.message, permanent=True)
        raw = self._composed(address, message)
        try:
            self._ses().send_email(
                FromEmailAddress=self._from,
                Destination={"ToAddresses": [address]},
                Content={"Raw": {"Data": raw}},
            )
        except ClientError as error:
            raise _translated(error) from None
        except BotoCoreError as error:
            raise NotifyError(f"Amazon SES cannot be reached ({type(error).__name__}).", permanent=False) from None

    def _composed(self, address: str, message: Message) -> bytes:
        mail = EmailMessage(policy=SMTP)
        try:
            mail["From"] = Address("Certhaven", addr_spec=self._from)
            mail["To"] = Address(addr_spec=address)
            mail["Subject"] = printable(message.subject, 998)
            # No mailbox is to answer this with a notice of absence (RFC 3834, 5).
            mail["Auto-Submitted"] = "auto-generated"
            mail.set_content(message.text, cte="base64")
            mail.add_alternative(message.html, subtype="html", cte="base64")
            raw = bytes(mail)
        except (MessageError, ValueError) as error:
            raise NotifyError(f"The mail cannot be written ({type(error).__name__}).", permanent=True) from None
        if len(raw) > MAX_MAIL:
            raise NotifyError(f"The mail has {len(raw)} bytes; Amazon SES takes {MAX_MAIL}.", permanent=True)
        return raw


def _translated(error: ClientError) -> NotifyError:
    """What SES refused, in its own words: they name addresses and quotas."""
    code = error.response["Error"].get("Code", "")
    words = printable(error.response["Error"].get("Message", ""), 300)
    permanent = code in REFUSED
    verify = " Verify the address in CERTHAVEN_MAIL_FROM with Amazon SES." if permanent else ""
    return NotifyError(f"Amazon SES did not take the mail ({code}): {words}.{verify}", permanent=permanent)
