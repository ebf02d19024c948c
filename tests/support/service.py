"""The whole service over fakes, and a client that asks it as API Gateway would: proxy events in, answers out."""

from __future__ import annotations

import base64
import io
import itertools
import json
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlsplit

from aws_lambda_powertools import Logger
from chalice.app import AuthRequest, Chalice
from cryptography import x509

from chalicelib.api.authoriser import authorise_request
from chalicelib.api.resources import RESOURCES, serve
from chalicelib.config import Settings
from chalicelib.domain.model import Caller, Entity, Role, Site
from chalicelib.ports import SourceKit
from chalicelib.sources import load
from chalicelib.wiring import Services
from tests.support.authority import Authority, Issued
from tests.support.fake_contacts import MemoryContactStore, memory_notifiers
from tests.support.fake_quota import MemoryQuotaStore
from tests.support.fake_scans import MemoryScanQueue, MemoryScanStore
from tests.support.fake_summary import MemorySummaryStore
from tests.support.fake_syncs import MemoryCredentials, MemoryRenewalStore, MemorySyncStore, MemoryTaskQueue
from tests.support.fakes import (
    FixedClock,
    MemoryAccountStore,
    MemoryAuditStore,
    MemoryCertificateStore,
    MemoryCsrStore,
    MemoryDropBox,
    MemoryIdempotencyStore,
    MemoryKeyVault,
)
from tests.support.pca_store import MemoryAuthorityStore

ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcdef/api/GET/v1/me"
SETTER_UP = Caller("0" * 16, Role.OPERATOR, "setup", "", "setup")
_numbers = itertools.count(1)


class KeptLog:
    """Keeps what the service logs in `log_lines`."""

    @cached_property
    def log_stream(self) -> io.StringIO:
        return io.StringIO()

    @cached_property
    def log(self) -> Logger:
        """A logger of its own, with all it is told kept."""
        handler = logging.StreamHandler(self.log_stream)
        return Logger(service=f"test-{next(_numbers)}", level="DEBUG", logger_handler=handler)

    @property
    def log_lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log_stream.getvalue().splitlines()]


class MemoryServices(KeptLog, Services):
    """The service's functions over memory."""

    def __init__(self) -> None:
        super().__init__(Settings(stage="test"), FixedClock())
        self.audit_store = MemoryAuditStore()
        self.summary_store = MemorySummaryStore(self.audit_store)
        self.quota_store = MemoryQuotaStore(self.audit_store)
        self.certificate_store = MemoryCertificateStore(self.audit_store, self.summary_store, self.quota_store)
        self.csr_store = MemoryCsrStore(self.audit_store)
        self.account_store = MemoryAccountStore(self.audit_store)
        self.authority_store = MemoryAuthorityStore(self.audit_store, self.certificate_store.materials)
        self.sync_store = MemorySyncStore(self.audit_store, self.summary_store)
        self.sync_queue = MemoryTaskQueue()
        self.renewal_store = MemoryRenewalStore()
        self.credentials = MemoryCredentials()
        self.contact_store = MemoryContactStore(self.audit_store)
        self.notifiers = memory_notifiers()
        self.scan_store = MemoryScanStore()
        self.scan_queue = MemoryScanQueue()
        self.idempotency = MemoryIdempotencyStore()
        self.vault = MemoryKeyVault()
        self.drop_box = MemoryDropBox(self.clock)

    @cached_property
    def sources(self):
        """The real plug-ins; no cloud is configured, and none is reached."""
        kit = SourceKit(self.settings.region, self.clock, self.authority_store, self.credentials, _no_cloud, _no_cloud)
        return load(kit)


def _no_cloud(*asked):
    raise AssertionError(f"another cloud was asked: {asked}")


@dataclass(frozen=True)
class Answer:
    """An answer as the client sees it."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self):
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The code of the refusal."""
        return self.json["error"]["code"]

    @property
    def findings(self) -> list[str]:
        """Codes of all findings."""
        return [f["code"] for f in self.json["error"]["findings"]]


def match(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The resource that API Gateway picks, with the path's parameters; exact words go before parameters."""
    parts = path.split("/")
    found = []
    for route in (r for routes in RESOURCES for r in routes.routes if r.method == method):
        pattern = route.path.split("/")
        if len(pattern) == len(parts) and all(p.startswith("{") or p == q for p, q in zip(pattern, parts, strict=True)):
            values = {p[1:-1]: q for p, q in zip(pattern, parts, strict=True) if p.startswith("{")}
            found.append((len(values), route.path, values))
    return min(found, key=lambda f: f[0])[1:] if found else None


class Client:
    """Asks the service, through Chalice and the authoriser, with no network between."""

    def __init__(self, services: Services, token: str | None = None, app: Chalice | None = None) -> None:
        self.services = services
        self.token = token
        self._app = app or _application(services)

    def with_token(self, token: str | None) -> Client:
        """The same service, asked with another token."""
        return type(self)(self.services, token, self._app)

    def request(self, method: str, path: str, *, body=None, content: bytes | None = None, headers=None) -> Answer:
        """Ask; `body` goes as JSON, `content` as it is."""
        event = self._event(method, path, content if body is None else json.dumps(body).encode(), headers or {})
        answer = self._app(event, SimpleNamespace(aws_request_id="request", function_name="api"))
        raw = answer["body"]
        data = base64.b64decode(raw) if answer.get("isBase64Encoded") else raw.encode()
        headers = answer["headers"] | {k: v[0] for k, v in answer.get("multiValueHeaders", {}).items()}
        return Answer(answer["statusCode"], {k.lower(): v for k, v in headers.items()}, data)

    def get(self, path: str, **options) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body=None, **options) -> Answer:
        return self.request("POST", path, body=body, **options)

    def put(self, path: str, body=None, **options) -> Answer:
        return self.request("PUT", path, body=body, **options)

    def patch(self, path: str, body=None, **options) -> Answer:
        return self.request("PATCH", path, body=body, **options)

    def delete(self, path: str, **options) -> Answer:
        return self.request("DELETE", path, **options)

    def _event(self, method: str, path: str, content: bytes | None, given: dict[str, str]) -> dict:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        headers |= {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        headers |= given
        url = urlsplit(path)
        resource, values = match(method, url.path) or (url.path, {})
        context = {
            "requestId": f"request-{next(_numbers)}",
            "identity": {"sourceIp": "192.0.2.1"},
            "httpMethod": method,
            "resourcePath": resource,
            "path": f"/api{url.path}",
        }
        authorization = next((v for k, v in headers.items() if k.lower() == "authorization"), "")
        found = authorise_request(self.services, AuthRequest("TOKEN", authorization, ARN))
        context["authorizer"] = {"principalId": found.principal_id, **found.context}
        return {
            "resource": resource,
            "path": url.path,
            "httpMethod": method,
            "headers": headers,
            "multiValueHeaders": {k: [v] for k, v in headers.items()},
            "multiValueQueryStringParameters": parse_qs(url.query, keep_blank_values=True) or None,
            "pathParameters": values or None,
            "stageVariables": None,
            "requestContext": context,
            "body": None if content is None else base64.b64encode(content).decode(),
            "isBase64Encoded": content is not None,
        }


def _application(services: Services) -> Chalice:
    app = Chalice("certhaven")

    @app.authorizer(ttl_seconds=0)
    def authorise(request):
        return authorise_request(services, request)

    serve(app, lambda: services, authorise)
    return app


@dataclass(frozen=True)
class Tenant:
    """An account, and a client for each of its roles."""

    account_id: str
    viewer: Client
    manager: Client
    admin: Client


def tenant(client: Client, name: str = "Example") -> Tenant:
    """A new account with a token of each role."""
    access = client.services.access
    entity = Entity("entity-1", "enterprise", verified=True)
    account, admin = access.create_account(SETTER_UP, name, Site.INTERNATIONAL, entity)
    caller = replace(SETTER_UP, account_id=account.id, role=Role.ADMIN)
    tokens = {
        role: access.create_token(caller, role.label, role, timedelta(days=30))[1]
        for role in (Role.VIEWER, Role.MANAGER)
    }
    return Tenant(
        account.id,
        client.with_token(tokens[Role.VIEWER]),
        client.with_token(tokens[Role.MANAGER]),
        client.with_token(admin),
    )


def operator(client: Client) -> Client:
    """A client with an operator's token."""
    return client.with_token(client.services.access.create_platform(SETTER_UP))


@cache
def issuers() -> tuple[Authority, Authority]:
    """A root, and the intermediate below it that issues what `fresh` makes."""
    root = Authority.root()
    return root, root.intermediate()


def fresh(*domains: str, fields: dict | None = None, **options) -> tuple[Issued, dict]:
    """A new certificate, and the body of its upload with key, intermediate and other `fields`."""
    _, middle = issuers()
    leaf = middle.issue(*domains, **options)
    return leaf, {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": middle.pem} | (fields or {})


def uploaded(client: Client, *domains: str, fields: dict | None = None, **options) -> dict:
    """A new certificate as the service shows it when it has been uploaded."""
    answer = client.post("/v1/certificates", fresh(*domains, fields=fields, **options)[1])
    assert answer.status == 201, answer.text
    return answer.json


def issued_for(csr: dict, *domains: str) -> dict:
    """The body of an upload, without a key, of a certificate issued for a CSR as the service shows it."""
    _, middle = issuers()
    request = x509.load_pem_x509_csr(csr["csr"].encode())
    leaf = middle.issue(*(domains or (csr["common_name"],)), key=request)  # a request has a public key, as keys do
    return {"certificate": leaf.pem, "chain": middle.pem}


def pages(client: Client, path: str, *, limit: int) -> list[list[dict]]:
    """All pages of a list, followed by their cursors."""
    found, cursor, separator = [], None, "&" if "?" in path else "?"
    while not found or cursor is not None:
        assert len(found) < 100, "the cursors lead nowhere"
        after = "" if cursor is None else f"&cursor={quote(cursor)}"
        page = client.get(f"{path}{separator}limit={limit}{after}").json
        found.append(page["items"])
        cursor = page["next_cursor"]
    return found
