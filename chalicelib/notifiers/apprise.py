"""Messages to whatever the Apprise library can address, over HTTPS to public hosts: chats, pagers, webhooks.

An Apprise URL holds secrets and comes from a customer. It is in no text that leaves this file, and `_guard` stops
whatever else than sending a message it would have done.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from chalicelib.domain.contacts import AddressProblem
from chalicelib.domain.digests import Message
from chalicelib.notifiers._guard import Watch, guarded, is_public, watched
from chalicelib.ports import NotifierKit, NotifyError

if TYPE_CHECKING:
    from apprise import NotifyBase

#: Longest URL, in characters.
MAX_URL: Final = 2_048
#: How long a service may take to accept a connection, and to say anything, in seconds.
TIMEOUT: Final = 4.0
#: Messages that a long one becomes at most, where a service takes short ones only, and the pause between, in seconds.
MAX_PARTS: Final = 5
PAUSE: Final = 1.0
#: Parameters by which a URL names a file.
FILES: Final = frozenset({"attach", "keyfile", "pgpkey", "subfile", "template"})
#: Plug-ins that use HTTP beside something else.
NOT_BY_HTTP: Final = frozenset({"nostr"})
#: Names of this machine and of private networks (RFC 6761; RFC 6762; RFC 8375; ICANN's `.internal`).
PRIVATE_NAMES: Final = re.compile(r"(.*\.)?(localhost|localdomain|local|internal|home\.arpa|lan)\.?")
HINT: Final = "See https://github.com/caronc/apprise/wiki for URLs; take one that sends over HTTPS to a public host."
_LOADING: Final = threading.Lock()
_STATUS: Final = re.compile(r"error[=: ]+([1-5][0-9][0-9])\b")
#: HTTP statuses that ask for patience (RFC 9110, 15.5.9; RFC 6585, 4; RFC 8470, 5.2).
_PATIENCE: Final = frozenset({408, 425, 429})


def build(kit: NotifierKit) -> AppriseNotifier:
    """The notifier of everything that Apprise addresses."""
    return AppriseNotifier(private=kit.private)


class AppriseNotifier:
    """Implements `chalicelib.ports.Notifier` by Apprise."""

    kind = "apprise"
    secret = True

    def __init__(self, *, private: bool) -> None:
        self._private = private

    def check(self, address: str) -> AddressProblem | None:
        """Whether Apprise reads the URL, and sends it over HTTPS to a host that may be public."""
        if len(address) > MAX_URL:
            return AddressProblem(f"The URL has {len(address)} characters; at most {MAX_URL} are kept.", HINT)
        named = sorted(FILES & _parameters(address))
        if named:
            return AddressProblem(f"The parameter `{named[0]}` names a file, which messages have no use for.", HINT)
        plugin = self._plugin(address)
        if plugin is None:
            return AddressProblem("Apprise cannot read this URL.", HINT)
        if not self._is_secure(plugin):
            return AddressProblem(f"{plugin.schema}:// does not send over HTTPS.", HINT)
        if not self._private and _is_private(str(plugin.host or "")):
            return AddressProblem("The host of this URL is a private one.", HINT)
        return None

    def shown(self, address: str) -> str:
        """The scheme of the URL, as ``slack://``."""
        plugin = self._plugin(address)
        return f"{plugin.schema}://" if plugin is not None else ""

    def send(self, address: str, message: Message) -> None:
        """Send a message, in parts where the service takes short ones only."""
        problem = self.check(address)
        if problem is not None:
            raise NotifyError(problem.message, permanent=True)
        plugin = self._plugin(address)
        assert plugin is not None
        _temper(plugin)
        with guarded(private=self._private) as watch:
            try:
                text = _cut(message.text, plugin.body_maxlen)
                sent = plugin.notify(body=text, title=message.subject, body_format="text", overflow="split")
            except Exception:  # noqa: BLE001 - a plug-in may fail in any way, with the URL in the error's text
                sent = False
        if not sent:
            raise _translated(str(plugin.service_name), watch)

    def _plugin(self, address: str) -> NotifyBase | None:
        """The plug-in that sends to a URL, with what the URL says; no request is made."""
        if not address.isprintable():
            return None
        library = _library()
        settings = _settings()
        with guarded(connect=False):
            try:
                found = library.Apprise.instantiate(address, asset=settings)
            except Exception:  # noqa: BLE001 - as above
                return None
        return found if isinstance(found, library.NotifyBase) else None

    def _is_secure(self, plugin: NotifyBase) -> bool:
        """Whether a plug-in sends by HTTP, and by its scheme with TLS."""
        kinds = [sys.modules[kind.__module__] for kind in type(plugin).__mro__]
        by_http = any(kind.__name__.startswith("apprise.plugins.") and hasattr(kind, "requests") for kind in kinds)
        if not by_http or plugin.schema in NOT_BY_HTTP:
            return False
        secure: Any = plugin.secure_protocol
        return self._private or plugin.schema in ((secure,) if isinstance(secure, str) else secure or ())


def _library() -> Any:  # noqa: ANN401 - a module
    """Apprise with all its plug-ins: 400 ms when first needed. What it logs, which may be secret, goes nowhere."""
    with _LOADING, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries that plug-ins import
        log = logging.getLogger("apprise")
        new = not any(isinstance(handler, _Listener) for handler in log.handlers)
        if new:
            log.setLevel(logging.WARNING)
            log.propagate = False
            log.addHandler(_Listener())
            logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
        import apprise
        import requests  # before anything is guarded: importing it opens a socket
        import urllib3.connection

        del requests, urllib3
        if new:
            manager: Any = apprise.NotificationManager
            list(manager().plugins())
        return apprise


@cache
def _settings() -> Any:  # noqa: ANN401 - of a class of Apprise's
    """How Apprise is to behave."""
    return _library().AppriseAsset(async_mode=False, http_redirects=False, timezone="UTC", language="en")


def _temper(plugin: NotifyBase) -> None:
    """Settings that a URL may not choose."""
    plugin.verify_certificate = True
    plugin.redirects = False
    plugin.socket_connect_timeout = plugin.socket_read_timeout = TIMEOUT
    plugin.request_rate_per_sec = PAUSE


def _parameters(address: str) -> set[str]:
    try:
        return {name.lower().lstrip("+-:") for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)}
    except ValueError:  # what is no URL at all, Apprise will not read either
        return set()


def _is_private(host: str) -> bool:
    """Whether a host is private by what it is called; what its name points to is seen when it is sent to."""
    try:
        return not is_public(ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return PRIVATE_NAMES.fullmatch(host.lower()) is not None


def _cut(text: str, longest: int) -> str:
    """As much of a text as fits into so many parts, up to the end of a line."""
    most = max(1, longest * MAX_PARTS - 200)
    if len(text) <= most:
        return text
    kept = text[:most].rpartition("\n")[0] or text[:most]
    return f"{kept}\n\n… There is more than a message of this kind can hold."


class _Listener(logging.Handler):
    """Hears the HTTP status that a plug-in logs of a refusal, and keeps nothing else of what it says."""

    def emit(self, record: logging.LogRecord) -> None:
        watch = watched()
        told = _STATUS.search(record.getMessage()) if watch is not None else None
        if watch is not None and told is not None:
            watch.status = int(told[1])


def _translated(service: str, watch: Watch) -> NotifyError:
    if watch.refused:
        return NotifyError(f"{watch.refused} The service was to be {service}.", permanent=True)
    if watch.status:
        permanent = 300 <= watch.status < 500 and watch.status not in _PATIENCE
        return NotifyError(f"{service} did not take the message: HTTP status {watch.status}.", permanent=permanent)
    return NotifyError(f"{service} could not be reached, or did not take the message.", permanent=False)
