"""Keeps what Apprise does to what it is for: TLS connections to public hosts.

Apprise URLs come from customers and are carried out inside of the service, where other things answer too: the
credentials of the function, what listens on its loopback address, the private network it may be attached to. Some
plug-ins of Apprise also read files that a URL names. Names of hosts are no protection, since they can change what they
point to, so everything is judged at the moment it is done, by Python's audit hooks (PEP 578): they see it whichever
library does it, and an exception raised in them stops it.

A hook cannot be removed. This one does nothing in threads that are not guarded: plug-ins that start threads of their
own are not for use here; Python 3.11 raises no event for that, so a test sees to it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

#: Files that are read to import what is not imported yet.
_CODE: Final = (".py", ".pyc", ".so")
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: NAT64 (RFC 6052, 2.1): an IPv4 address in the last 32 bits.
_NAT64: Final = int(IPv6Address("64:ff9b::")) >> 32


class RefusedError(OSError):
    """Something was to be done that messages have no need of."""


@dataclass(slots=True)
class Watch:
    """What is allowed while it lasts, and what was refused.

    Attributes:
        private: whether private addresses are allowed, and connections without TLS.
        connect: whether connections are allowed at all.
        refused: what was refused first, for people; empty when nothing was.
        status: the HTTP status that was told of last; 0 when none was.
    """

    private: bool
    connect: bool
    refused: str = ""
    status: int = 0


_THREAD = threading.local()
_INSTALLING = threading.Lock()
_installed: list[bool] = []


@contextmanager
def guarded(*, private: bool = False, connect: bool = True) -> Iterator[Watch]:
    """Keep what this thread does inside of the block to what messages need; see `Watch` for the arguments."""
    _install()
    before, watch = watched(), Watch(private, connect)
    _THREAD.watch = watch
    try:
        yield watch
    finally:
        _THREAD.watch = before


def watched() -> Watch | None:
    """The watch over this thread, if there is one."""
    found: Watch | None = getattr(_THREAD, "watch", None)
    return found


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public Internet, also where an IPv6 address stands for one of IPv4."""
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and int(address) >> 32 == _NAT64:
            inside = IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(inside)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _install() -> None:
    with _INSTALLING:
        if not _installed:
            sys.addaudithook(_hook)
            _installed.append(True)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    watch = watched()
    if watch is None or event not in _JUDGES:
        return
    reason = _JUDGES[event](watch, arguments)
    if reason:
        watch.refused = watch.refused or reason
        raise RefusedError(reason)


def _judge_address(watch: Watch, arguments: tuple[Any, ...]) -> str:
    connection, address = arguments
    if not watch.connect:
        return "A connection was to be made before there is a message."
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return "Messages go over the Internet only."
    try:
        found = ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return "A host was not looked up before the connection."
    if watch.private or is_public(found):
        return ""
    return "The host has a private address; messages go to public hosts only."


def _judge_connection(watch: Watch, arguments: tuple[Any, ...]) -> str:
    from urllib3.connection import HTTPSConnection  # imported already, by what makes a connection

    if watch.private or isinstance(arguments[0], HTTPSConnection):
        return ""
    return "The message was to be sent without TLS."


def _judge_file(_: Watch, arguments: tuple[Any, ...]) -> str:
    path, mode, flags = arguments
    writing = any(c in "wax+" for c in mode) if isinstance(mode, str) else bool((flags or 0) & _WRITING)
    if not writing and isinstance(path, str) and path.endswith(_CODE):
        return ""
    return "A file was to be read or written: URLs that name files are not taken."


def _refuse(_: Watch, __: tuple[Any, ...]) -> str:
    return "Something was to be done that messages have no need of."


_JUDGES: Final[dict[str, Callable[[Watch, tuple[Any, ...]], str]]] = {
    "socket.connect": _judge_address,
    "http.client.connect": _judge_connection,
    "open": _judge_file,
    **dict.fromkeys(
        (
            # A thread would not be guarded.
            *("_thread.start_new_thread", "socket.bind", "socket.sendto", "socket.sendmsg", "ctypes.dlopen"),
            # Other programs.
            *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
            # What lies in the file system.
            *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink"),
        ),
        _refuse,
    ),
}
