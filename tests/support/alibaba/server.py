"""The HTTP server: it checks signatures, sends requests to the products, and can be told to misbehave."""

from __future__ import annotations

import json
import socket
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.alibaba.cas import Cas
from tests.support.alibaba.pca import Pca
from tests.support.alibaba.protocol import Parameters, Refusal
from tests.support.alibaba.signature import Credential, Nonces, Request, verify
from tests.support.alibaba.state import State

KEY = Credential("LTAI5tEmulatedAccessKey01", "emulated-secret-of-no-real-account")
MARK = "x-certhaven-emulation"
ABOUT = """This is an emulation of Alibaba Cloud for tests and for Certhaven on one machine.
It is not Alibaba Cloud: nothing here reaches it, and nothing here costs anything.
"""
MAX_BODY = 5_000_000
#: What is never kept of a request, though its name is.
SECRET = {"Key", "EncryptedCode", "EncryptPrivateKey", "SignPrivateKey", "SecurityToken", "Signature"}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Call:
    """A request that was answered: what was asked, where its parameters stood, and how it ended.

    Attributes:
        parameters: what was asked for, without secrets; the repr does not show it.
        code: of the error; empty for a success.
    """

    version: str
    action: str
    in_query: tuple[str, ...]
    in_form: tuple[str, ...]
    status: int
    code: str
    access_key_id: str
    host: str
    parameters: Mapping[str, str] = field(repr=False)


@dataclass
class _Fault:
    """What is to go wrong `left` times: a refusal, or no answer at all when there is none."""

    left: int
    action: str | None
    refusal: Refusal | None


class Double:
    """The emulation, while it is entered or started.

    Args:
        credentials: that may sign requests.
        port: to listen at, on 127.0.0.1; 0 for any that is free.
        state: that it begins with; an empty one in memory when absent.
        clock: gives the time for certificates, aware UTC. Signatures are held against the real one.
        heard: is called with each request that was answered.
    """

    def __init__(
        self,
        *credentials: Credential,
        port: int = 0,
        state: State | None = None,
        clock: Callable[[], datetime] = _now,
        heard: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self.credentials = {one.access_key_id: one for one in credentials or (KEY,)}
        self.state = state or State()
        self.pca = Pca(self.state, clock)
        self.cas = Cas(self.state, clock)
        #: The latest of what was asked.
        self.calls: deque[Call] = deque(maxlen=10_000)
        self._products = {product.version: product for product in (self.pca, self.cas)}
        self._port = port
        self._heard = heard
        self._nonces = Nonces()
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Raises: OSError: the port is taken."""
        self._server = _Server(self._port, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it with all its connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    @property
    def address(self) -> str:
        """As the SDKs' `config.endpoint` wants it: host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}"

    def throttle(self, next_n: int, action: str | None = None, *, retry_after: int = 1) -> None:
        """Have the next requests (for an action) refused as too many."""
        said = "Request was denied due to user flow control."
        self._add(next_n, action, Refusal("Throttling.User", said, 400, {"x-acs-retry-after": str(retry_after)}))

    def fail(self, next_n: int, status: int = 503, code: str = "ServiceUnavailable", action: str | None = None) -> None:
        """Have the next requests (for an action) refused with a status and code."""
        self._add(next_n, action, Refusal(code, "The request has failed due to a temporary failure.", status))

    def hang_up(self, next_n: int, action: str | None = None) -> None:
        """Have the connection closed without an answer for the next requests (for an action)."""
        self._add(next_n, action, None)

    def _add(self, next_n: int, action: str | None, refusal: Refusal | None) -> None:
        with self._lock:
            self._faults.append(_Fault(next_n, action, refusal))

    def _take_fault(self, action: str) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.left > 0 and fault.action in {None, action}:
                    fault.left -= 1
                    return fault
        return None

    def answer(self, request: Request) -> tuple[int, dict, Mapping[str, str]] | None:
        """Status, body and headers for a request; ``None`` to hang up."""
        request_id = str(uuid.uuid4()).upper()
        access_key_id, status, code = "", 200, ""
        headers: Mapping[str, str] = {}
        try:
            access_key_id = verify(request, self.credentials, self._nonces, _now()).access_key_id
            fault = self._take_fault(request.action)
            if fault is not None:
                if fault.refusal is None:
                    return None
                raise fault.refusal
            body = {"RequestId": request_id, **self._carry_out(request)}
        except Refusal as refusal:
            status, code, headers = refusal.status, refusal.code, refusal.headers
            body = {
                "RequestId": request_id,
                "HostId": request.headers.get("host", ""),
                "Code": code,
                "Message": refusal.message,
                "Recommend": f"https://api.alibabacloud.com/troubleshoot?q={code}",
            }
        self._note(request, status, code, access_key_id)
        return status, body, headers

    def _carry_out(self, request: Request) -> dict:
        product = self._products.get(request.version)
        if product is None:
            raise Refusal("InvalidVersion", "Specified parameter Version is not valid.", 404)
        if request.action not in product.actions:
            raise Refusal(
                "InvalidAction.NotFound", "Specified api is not found, please check your url and method.", 404
            )
        given = Parameters(request.parameters)
        token = f"{request.action} {given.text('ClientToken')}" if given.text("ClientToken") else ""
        with self.state.lock:
            if token in self.state["tokens"]:
                return self.state["tokens"][token]
            made = product.actions[request.action](given)
            if token:
                self.state["tokens"][token] = made
            if not request.action.startswith(("Describe", "Get", "List")):
                self.state.save()
            # Taken out of the state while it cannot change.
            return json.loads(json.dumps(made))

    def _note(self, request: Request, status: int, code: str, access_key_id: str) -> None:
        call = Call(
            request.version,
            request.action,
            tuple(request.in_query),
            tuple(request.in_form),
            status,
            code,
            access_key_id,
            request.headers.get("host", ""),
            {name: value for name, value in request.parameters.items() if name not in SECRET},
        )
        with self._lock:
            self.calls.append(call)
        self._heard(call)


class _Server(ThreadingHTTPServer):
    """One thread per connection; all end with the server."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, double: Double) -> None:
        self.double = double
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of the host's name that the base class makes."""
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address

    def process_request(self, request: socket.socket, client_address: object) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket, client_address: object) -> None:
        """A client that went away is no error of the emulation's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        """Wake the threads that wait for a next request of their client."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection, of one request or more."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "CerthavenEmulation"
    sys_version = ""
    #: An answer leaves in one piece; otherwise it waits for the client's acknowledgement of its first half.
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """The page for people, or an action: V1 allows both methods."""
        if self.path == "/":
            self._send(200, ABOUT.encode(), {"content-type": "text/plain; charset=utf-8"})
        else:
            self.do_POST()

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self._send(413, b"", {})
            return
        body = self.rfile.read(int(length))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.double.answer(Request(self.command, path, query, headers, body))
        if answer is None:
            self.close_connection = True
            return
        status, content, more = answer
        self._send(status, json.dumps(content).encode(), {"content-type": "application/json;charset=utf-8", **more})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, MARK: "alibaba", "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: URLs hold private keys."""
