"""What an Apprise URL may not bring about, tried against a server on this machine that must hear nothing of it."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from inspect import getsource
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from chalicelib.domain.digests import Message
from chalicelib.notifiers._guard import RefusedError, _hook, guarded, is_public, watched
from chalicelib.notifiers.apprise import MAX_PARTS, AppriseNotifier
from chalicelib.ports import NotifyError
from tests.support.authority import Authority
from tests.support.canary import logged
from tests.support.webhooks import Webhook

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SECRET = "s3cr3t-t0ken-of-the-h00k"
MESSAGE = Message("Subject", "Text\n", "<p>Text</p>")


@pytest.fixture(scope="module")
def strict():
    return AppriseNotifier(private=False)


@pytest.fixture(scope="module")
def lenient():
    return AppriseNotifier(private=True)


@pytest.fixture
def hook():
    with Webhook() as made:
        yield made


def refused(notifier, url):
    with pytest.raises(NotifyError) as caught:
        notifier.send(url, MESSAGE)
    assert SECRET not in caught.value.problem
    return caught.value


def resolving_to(monkeypatch, address):
    """Have every name point to an address, as a name server may that its owner changed since the check."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def answer(host, port, *_):
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port) if family == socket.AF_INET else (address, port, 0, 0))
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "192.168.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1",
                "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
)  # fmt: skip
@pytest.mark.enable_socket
def test_a_name_that_points_to_a_private_address_is_not_connected_to(strict, hook, monkeypatch, address):
    resolving_to(monkeypatch, address)
    error = refused(strict, f"jsons://hooks.example.com:{hook.host.partition(':')[2]}/{SECRET}")
    assert error.permanent
    assert "private address" in error.problem
    assert hook.requests == []


@pytest.mark.parametrize("written", ["2130706433", "127.1", "0x7f000001", "017700000001"])
def test_an_address_written_in_another_way_is_not_connected_to(strict, hook, written):
    error = refused(strict, f"jsons://{written}:{hook.host.partition(':')[2]}/{SECRET}")
    assert error.permanent
    assert hook.requests == []


def test_without_tls_nothing_is_said(hook):
    plain = requests.Session().get_adapter("http://").poolmanager.connection_from_url(f"http://{hook.host}/")
    with guarded(private=False) as watch, pytest.raises(RefusedError):
        _hook("http.client.connect", (plain._new_conn(), "127.0.0.1", 80))
    assert watch.refused == "The message was to be sent without TLS."


def test_a_redirection_is_not_followed(lenient, hook):
    with Webhook() as inside:
        hook.status, hook.headers = 302, {"location": f"http://{inside.host}/{SECRET}"}
        error = refused(lenient, f"json://{hook.host}/?redirect=yes")
        assert error.permanent
        assert "302" in error.problem
        assert len(hook.requests) == 1
        assert inside.requests == []


def test_a_certificate_that_nobody_vouches_for_is_refused_whatever_the_url_says(lenient, tmp_path):
    leaf = Authority.root().issue("127.0.0.1")
    (tmp_path / "server.pem").write_text(leaf.pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with Webhook(context) as hook:
        error = refused(lenient, f"jsons://{hook.host}/{SECRET}?verify=no")
        assert not error.permanent
        assert hook.requests == []


@pytest.mark.parametrize(("status", "permanent"), [(400, True), (404, True), (429, False), (408, False), (503, False)])
def test_a_status_says_whether_trying_again_is_of_use(lenient, hook, status, permanent):
    hook.status = status
    error = refused(lenient, f"json://{hook.host}/{SECRET}")
    assert error.permanent is permanent
    assert str(status) in error.problem


def test_a_host_that_nobody_listens_on_may_come_back(lenient, hook):
    with Webhook() as gone:
        url = f"json://{gone.host}/{SECRET}"
    error = refused(lenient, url)
    assert not error.permanent
    assert "could not be reached" in error.problem


def test_who_does_not_answer_is_not_waited_for(lenient, monkeypatch):
    monkeypatch.setattr("chalicelib.notifiers.apprise.TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = refused(lenient, f"json://127.0.0.1:{silent.getsockname()[1]}/{SECRET}?rto=3600&cto=3600&retry=5")
    assert not error.permanent


def test_a_long_message_comes_in_a_few_parts_and_says_that_there_is_more(lenient, hook, monkeypatch):
    monkeypatch.setattr("chalicelib.notifiers.apprise.PAUSE", 0.0)
    lines = [f"line {number}" for number in range(40_000)]
    lenient.send(f"json://{hook.host}/", Message("Subject", "\n".join(lines), ""))
    told = [json.loads(body)["message"] for _, body in hook.requests]
    assert 1 < len(told) <= MAX_PARTS
    assert told[0].startswith("line 0\nline 1\n")
    assert "There is more than a message of this kind can hold." in told[-1]


@pytest.mark.parametrize(
    "body", ["<b>&amp;</b> *star* _line_ `tick` \\n :smile: ${HOME} {{x}}", "\u202e right to left", "x" * 3000]
)
def test_text_arrives_as_it_is(lenient, hook, body):
    lenient.send(f"json://{hook.host}/?emojis=no", Message("Subject", body, ""))
    assert json.loads(hook.requests[0][1])["message"] == body


def test_nothing_is_logged_by_which_a_secret_could_be_seen(lenient, hook):
    hook.status = 500
    with logged() as log:
        refused(lenient, f"json://user:{SECRET}@{hook.host}/{SECRET}?+X-Key={SECRET}")
        refused(lenient, f"slack://{SECRET}")
    assert SECRET not in log.getvalue()
    assert SECRET.encode() not in b"".join(body for _, body in hook.requests)
    assert SECRET in hook.requests[0][0]


# --- the guard itself ----------------------------------------------------------------------------------------------

FORBIDDEN = {
    "read a file": lambda: Path("/etc/passwd").read_text(),
    "read its own secrets": lambda: Path("/proc/self/environ").read_bytes(),
    "write a file": lambda: Path("/tmp/guarded.py").write_text("x"),
    "open by number": lambda: os.open("/tmp/guarded.py", os.O_CREAT | os.O_WRONLY),
    "run a program": lambda: subprocess.run(["true"], check=False),
    "listen": lambda: socket.socket().bind(("127.0.0.1", 0)),
    "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "delete": lambda: Path("/tmp/guarded.py").unlink(),
}


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_messages_have_no_need_of_is_stopped_and_told(name):
    with guarded(private=True) as watch, pytest.raises(RefusedError):
        FORBIDDEN[name]()
    assert watch.refused
    assert not Path("/tmp/guarded.py").exists()


def test_only_plug_ins_that_are_not_taken_start_threads_which_would_not_be_guarded(strict):
    assert strict.check("jsons://example.com") is None  # all plug-ins are loaded
    plugins = {name: module for name, module in sys.modules.items() if name.startswith("apprise.plugins.")}
    starting = {name for name, module in plugins.items() if re.search(r"\b(Thread|\w*Executor)\(", getsource(module))}
    assert starting == {"apprise.plugins.xmpp.adapter"}
    assert strict.check("xmpps://user:password@xmpp.example.com") is not None


def test_no_connection_is_made_while_a_url_is_only_read(hook):
    with guarded(private=True, connect=False) as watch, pytest.raises(RefusedError):
        socket.create_connection(("127.0.0.1", int(hook.host.partition(":")[2])))
    assert watch.refused


def test_code_is_imported_under_guard(tmp_path, monkeypatch):
    (tmp_path / "not_imported_before.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with guarded():
        import not_imported_before
    assert not_imported_before.answer == 42


def test_the_guard_is_over_its_own_thread_and_ends_with_its_block(hook):
    entered, done, seen = threading.Event(), threading.Event(), []

    def free():
        entered.wait()
        seen.append(urllib.request.urlopen(f"http://{hook.host}/").status)
        done.set()

    thread = threading.Thread(target=free)
    thread.start()
    with guarded():
        with guarded(connect=False) as inner:
            assert watched() is inner
        assert watched().connect
        entered.set()
        assert done.wait(10)
    thread.join()
    assert watched() is None
    assert seen == [200]
    assert Path(__file__).read_text()


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::", "ff02::1", "fec0::1",
                "2001:db8::1", "2001::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1"],
)  # fmt: skip
def test_addresses_that_are_of_no_single_public_host_are_not(address):
    assert not is_public(ip_address(address))
