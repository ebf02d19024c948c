"""What every route has in common: refusals, secrets, logs, headers."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from pynamodb.exceptions import QueryError

from tests.support.fakes import MemoryAuditStore, MemoryCertificateStore, MemoryKeyVault
from tests.support.keys import key_pem
from tests.support.service import Client, MemoryServices, fresh, tenant, uploaded

MEBIBYTE = 1024 * 1024
KEY = key_pem("rsa2048", 7, "traditional")
KEY_LINE = KEY.splitlines()[5]
#: So many characters of a key's text in a row would be a leak; fixed beginnings of the encoding are shorter.
TELLING = 20


def pieces_of(text: str) -> set[str]:
    """Every run of `TELLING` characters of the secret part of a PEM text."""
    body = "".join(line for line in text.splitlines() if "-----" not in line)
    return {body[i : i + TELLING] for i in range(len(body) - TELLING + 1)}


def leaked(text: str, secret: str = KEY) -> list[str]:
    """The pieces of a key that a text gives away, however it is folded or escaped."""
    plain = re.sub(r"\\n|\s", "", text)
    return sorted(piece for piece in pieces_of(secret) if piece in plain)


def requests_logged(services: MemoryServices) -> list[dict]:
    return [line for line in services.log_lines if line["message"] == "request"]


TOKEN = {"name": "ci", "role": "viewer"}
PARSE = "/v1/certificates/parse"
BAD_BODIES = {
    "broken off": b'{"name": "ci", "role": ',
    "text after its end": b'{"name": "ci", "role": "viewer"} and more',
    "not JSON": b"name=ci&role=viewer",
    "NaN": b'{"name": "ci", "role": "viewer", "expires_in_days": NaN}',
    "not UTF-8": b'{"name": "\xff\xfe", "role": "viewer"}',
    "UTF-16": json.dumps(TOKEN).encode("utf-16"),
    "half a surrogate pair": rb'{"name": "\ud800", "role": "viewer"}',
    "nested deep in place of the object": b"[" * 200_000,
    "nested deep in a field": b'{"name": ' + b'{"a":' * 100_000,
    "nested deep in an unknown field": b'{"x": ' + b"[" * 200_000,
    "empty": b"",
    "an array": b"[]",
    "null": b"null",
    "a text": b'"ci"',
    "without a field": b'{"name": "ci"}',
    "null for a field": b'{"name": null, "role": "viewer"}',
    "with an unknown field": json.dumps(TOKEN | {"rôle": "viewer"}).encode(),
    "with a number for a text": json.dumps(TOKEN | {"name": 7}).encode(),
    "with a text for a number": json.dumps(TOKEN | {"expires_in_days": "7"}).encode(),
    "with half a day": json.dumps(TOKEN | {"expires_in_days": 1.5}).encode(),
    "with no day": json.dumps(TOKEN | {"expires_in_days": 0}).encode(),
    "with a number of 400 digits": b'{"name": "ci", "role": "viewer", "expires_in_days": ' + b"9" * 400 + b"}",
    "with an unknown role": json.dumps(TOKEN | {"role": "root"}).encode(),
    "with an empty name": json.dumps(TOKEN | {"name": ""}).encode(),
    "with a name of 64 characters": json.dumps(TOKEN | {"name": "n" * 64}).encode(),
    "with NUL in the name": json.dumps(TOKEN | {"name": "a\0b"}).encode(),
    "with a line break in the name": json.dumps(TOKEN | {"name": "a\nb"}).encode(),
}


@pytest.mark.parametrize("content", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_does_not_fit_is_refused_in_the_shape_of_every_refusal(example, content):
    answer = example.admin.request("POST", "/v1/tokens", content=content)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert list(answer.json) == ["error"]
    assert set(error) == {"code", "message", "hint", "findings", "request_id"}
    assert error["code"] == "InvalidRequest"
    assert error["findings"] == []
    assert all(error[part] for part in ("message", "hint", "request_id"))
    assert len(example.admin.get("/v1/tokens").json["items"]) == 3


def test_a_missing_body_is_said_to_be_missing(example):
    answer = example.admin.post("/v1/tokens")
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "no body" in answer.json["error"]["message"]


def test_the_refusal_of_an_unknown_field_names_it(example):
    answer = example.admin.post("/v1/tokens", TOKEN | {"expires_in": 7})
    assert "expires_in" in answer.json["error"]["message"]


BAD_QUERIES = {
    "limit 0": "limit=0",
    "limit 101": "limit=101",
    "limit below zero": "limit=-1",
    "limit that is no number": "limit=many",
    "limit that is empty": "limit=",
    "limit in parts": "limit=1.5",
    "limit twice": "limit=1&limit=2",
    "filter twice": "q=a&q=b",
    "unknown parameter": "page=2",
    "parameter in capitals": "Limit=2",
    "unknown source": "source=elsewhere",
    "unknown status": "status=fine",
    "maybe": "notifications=maybe",
    "no time": "expires_before=tomorrow",
    "time without zone": "expires_before=2026-07-01T00:00:00",
    "empty domain": "domain=",
    "domain too long": "domain=" + "a" * 254,
    "cursor too long": "cursor=" + "a" * 2049,
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_query_that_does_not_fit_is_refused(example, query):
    answer = example.viewer.get(f"/v1/certificates?{query}")
    assert (answer.status, answer.code) == (400, "InvalidParameter")


@pytest.mark.parametrize("limit", [1, 100])
def test_limits_from_one_to_a_hundred_are_taken(example, limit):
    assert example.viewer.get(f"/v1/certificates?limit={limit}").status == 200


def test_a_parameter_is_refused_where_none_is_known(example):
    assert example.viewer.get("/v1/me?verbose=1").code == "InvalidParameter"


@pytest.mark.parametrize("cursor", ["rubbish", "", "%00", "bnVsbA==", "💥"])
@pytest.mark.parametrize("path", ["/v1/certificates", "/v1/csrs", "/v1/tokens", "/v1/audit-events"])
def test_a_cursor_that_no_page_gave_is_refused(example, path, cursor):
    answer = example.admin.get(f"{path}?cursor={quote(cursor, safe='%')}")
    assert (answer.status, answer.code) == (400, "InvalidCursor")


def test_a_cursor_belongs_to_the_filter_it_was_given_for(example):
    for number in range(2):
        uploaded(example.manager, f"a{number}.example.com")
    cursor = quote(example.viewer.get("/v1/certificates?limit=1&q=example").json["next_cursor"])
    assert example.viewer.get(f"/v1/certificates?limit=1&q=example&cursor={cursor}").status == 200
    assert example.viewer.get(f"/v1/certificates?limit=1&q=exam&cursor={cursor}").code == "InvalidCursor"


NUL_REQUESTS = {
    "certificate": ("POST", PARSE, {"certificate": "\0"}),
    "key": ("POST", PARSE, {"certificate": "a", "private_key": "\0"}),
    "chain": ("POST", PARSE, {"chain": "\0" * 100}),
    "csr id": ("POST", PARSE, {"csr_id": "\0"}),
    "group": ("POST", PARSE, {"resource_group": "\0"}),
    "tag": ("POST", PARSE, {"tags": {"\0": "\0"}}),
    "csr": ("POST", "/v1/csrs", {"csr": "\0"}),
    "common name": ("POST", "/v1/csrs", {"algorithm": "ECC", "common_name": "a\0b"}),
    "input": ("POST", "/v1/conversions", {"from": "pem", "to": "der", "input": "\0"}),
    "passphrase": ("POST", "/v1/conversions", {"from": "pkcs8", "to": "pem", "input": KEY, "passphrase": "\0"}),
    "path": ("GET", "/v1/certificates/%00", None),
    "domain": ("GET", "/v1/certificates?domain=%00", None),
    "search": ("GET", "/v1/certificates?q=%00", None),
    "filter by tag": ("GET", "/v1/certificates?tag=%00", None),
    "confirmation": ("DELETE", "/v1/certificates/unknown?confirm=%00", None),
}


@pytest.mark.parametrize(("method", "path", "body"), NUL_REQUESTS.values(), ids=NUL_REQUESTS)
def test_a_nul_character_is_never_the_services_failure(example, method, path, body):
    answer = example.admin.request(method, path, body=body)
    assert answer.status in {200, 400, 404, 422}


def test_a_body_over_one_mebibyte_is_too_large(example):
    content = b"{}".ljust(MEBIBYTE + 1)
    answer = example.manager.request("POST", PARSE, content=content)
    assert (answer.status, answer.code) == (413, "RequestTooLarge")
    assert str(len(content)) in answer.json["error"]["message"]


def test_a_body_of_one_mebibyte_is_read(example):
    assert example.manager.request("POST", PARSE, content=b"{}".ljust(MEBIBYTE)).status == 200


def test_who_may_not_call_is_told_so_before_the_body_is_looked_at(client, example):
    giant = b"[" * (MEBIBYTE + 1)
    assert client.request("POST", "/v1/tokens", content=giant).status == 401
    assert example.viewer.request("POST", "/v1/tokens", content=giant).status == 403


_, BODY = fresh("secret.example.com", kind="rsa2048", number=7)
UPLOAD = "/v1/certificates"
MISPLACED = {
    "as the name": ("POST", UPLOAD, BODY | {"name": KEY}),
    "as the certificate": ("POST", UPLOAD, BODY | {"certificate": KEY}),
    "as certificate and key": ("POST", UPLOAD, {"certificate": KEY, "private_key": KEY}),
    "in the place of the chain": ("POST", UPLOAD, BODY | {"chain": KEY * 2}),
    "as the encryption certificate": ("POST", UPLOAD, BODY | {"encryption_certificate": KEY}),
    "as the CSR's id": ("POST", UPLOAD, BODY | {"csr_id": KEY}),
    "as resource group": ("POST", UPLOAD, BODY | {"resource_group": KEY}),
    "as a tag": ("POST", UPLOAD, BODY | {"tags": {KEY: "a"}}),
    "as a tag's value": ("POST", UPLOAD, BODY | {"tags": {"a": KEY}}),
    "as all tags": ("POST", UPLOAD, BODY | {"tags": KEY}),
    "in an array": ("POST", UPLOAD, BODY | {"private_key": [KEY]}),
    "as an unknown field": ("POST", UPLOAD, {"private_key_pem": KEY}),
    "as an unknown field's name": ("POST", UPLOAD, {KEY: "a"}),
    "a line of it as a field's name": ("POST", UPLOAD, {KEY_LINE: "a"}),
    "cut in half": ("POST", UPLOAD, BODY | {"private_key": KEY[: len(KEY) // 2]}),
    "without markers": ("POST", UPLOAD, BODY | {"private_key": KEY.replace("-----", "")}),
    "with a wrong letter": ("POST", UPLOAD, BODY | {"private_key": KEY.replace(KEY_LINE, KEY_LINE[:-1] + "!")}),
    "of another certificate": ("POST", UPLOAD, fresh("a.example.com")[1] | {"private_key": KEY}),
    "as role": ("POST", "/v1/tokens", {"name": "a", "role": KEY}),
    "a line of it as role": ("POST", "/v1/tokens", {"name": "a", "role": KEY_LINE}),
    "as a CSR": ("POST", "/v1/csrs", {"csr": KEY}),
    "as a common name": ("POST", "/v1/csrs", {"algorithm": "RSA", "common_name": KEY}),
    "as an alternative name": ("POST", "/v1/csrs", {"algorithm": "RSA", "common_name": "a", "sans": [KEY]}),
    "as a format": ("POST", "/v1/conversions", {"from": KEY_LINE, "to": "pem", "input": "a"}),
    "as a file it is not": ("POST", "/v1/conversions", {"from": "pfx", "to": "pem", "input": KEY, "passphrase": "a"}),
    "as a damaged file": ("POST", "/v1/conversions", {"from": "pem", "to": "der", "input": KEY[:-60]}),
    "as a parameter": ("GET", f"{UPLOAD}?source={quote(KEY)}", None),
    "a line of it as a parameter": ("GET", f"{UPLOAD}?status={quote(KEY_LINE)}", None),
    "a line of it as a parameter's name": ("GET", f"{UPLOAD}?{quote(KEY_LINE)}=1", None),
    "a line of it as a parameter's name, twice": ("GET", f"{UPLOAD}?{quote(KEY_LINE)}=1&{quote(KEY_LINE)}=1", None),
    "as a cursor": ("GET", f"{UPLOAD}?cursor={quote(KEY_LINE)}", None),
}


@pytest.mark.parametrize(("method", "path", "body"), MISPLACED.values(), ids=MISPLACED)
def test_a_key_in_the_wrong_place_is_refused_without_being_repeated(services, example, method, path, body):
    answer = example.admin.request(method, path, body=body)
    assert answer.status in {400, 422}
    assert leaked(answer.text) == []
    assert leaked(services.log_stream.getvalue()) == []
    assert leaked(repr(services.audit_store.events)) == []


BROKEN = {
    "not closed": b'{"private_key": "' + KEY.encode(),
    "with raw line breaks": b'{"private_key": "' + KEY.encode() + b'"}',
    "not quoted": b"{private_key: " + KEY.encode() + b"}",
    "alone": KEY.encode(),
    "before a byte that is not UTF-8": b'{"private_key": "' + KEY_LINE.encode() + b'\xff"}',
    "as a number": b'{"private_key": 1' + KEY_LINE.encode() + b"}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_key_in_broken_json_is_not_repeated(services, example, content):
    answer = example.manager.request("POST", UPLOAD, content=content)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert leaked(answer.text) == []
    assert leaked(services.log_stream.getvalue()) == []


def test_a_key_that_was_taken_is_in_no_answer_log_line_or_audit_record(services, example):
    leaf, body = fresh("taken.example.com", kind="ed25519")  # the text of such a key holds nothing public
    answer = example.manager.post(UPLOAD, body)
    shown = example.viewer.get(f"{UPLOAD}/{answer.json['id']}")
    parsed = example.viewer.post(PARSE, body)
    assert (answer.status, shown.status, parsed.status) == (201, 200, 200)
    for text in (answer.text, shown.text, parsed.text, services.log_stream.getvalue()):
        assert leaked(text, leaf.key_pem) == []
    assert leaked(repr(services.audit_store.events), leaf.key_pem) == []


def test_tokens_and_passphrases_are_in_no_log_line_or_audit_record(services, example):
    made = uploaded(example.manager, "a.example.com")
    path = f"{UPLOAD}/{made['id']}/download?format=pfx"
    assert example.admin.get(path, headers={"X-Passphrase": "open-sesame"}).status == 200
    token = example.admin.post("/v1/tokens", TOKEN).json["token"]
    for kept in (services.log_stream.getvalue(), repr(services.audit_store.events)):
        assert "open-sesame" not in kept
        assert token not in kept
        assert example.admin.token not in kept


class FailingStore(MemoryCertificateStore):
    """Fails with a key in its message, and in the message of the cause."""

    def page(self, *_, **__):
        raise RuntimeError(f"cannot read {KEY}") from ValueError(KEY)

    add = page


class FailingVault(MemoryKeyVault):
    def seal(self, context, keys):
        raise RuntimeError(f"cannot seal {KEY}")


class FailingAudit(MemoryAuditStore):
    def record(self, event):
        raise RuntimeError(f"cannot record {event}")


def failing(name: str, part: object) -> MemoryServices:
    """The service with one part that fails; tenants are there already."""
    services = MemoryServices()
    setattr(services, name, part)
    return services


@pytest.mark.parametrize(
    ("name", "part", "method", "body"),
    [
        ("certificate_store", FailingStore(), "GET", None),
        ("certificate_store", FailingStore(), "POST", BODY),
        ("vault", FailingVault(), "POST", BODY),
    ],
    ids=["list", "store", "seal"],
)
def test_a_failure_of_the_service_is_told_without_its_text(name, part, method, body):
    services = failing(name, part)
    answer = tenant(Client(services)).admin.request(method, UPLOAD, body=body)
    assert (answer.status, answer.code) == (500, "InternalError")
    assert set(answer.json["error"]) == {"code", "message", "hint", "findings", "request_id"}
    assert "cannot" not in answer.text
    assert leaked(answer.text) == []
    assert leaked(services.log_stream.getvalue()) == []


def test_a_failure_is_logged_with_its_place_and_the_request():
    services = failing("certificate_store", FailingStore())
    answer = tenant(Client(services)).admin.get(UPLOAD)
    (line,) = [line for line in services.log_lines if line["level"] == "ERROR"]
    assert line["error_type"] == "RuntimeError"
    assert any("test_blueprint.py" in place and "page" in place for place in line["at"])
    assert line["request_id"] == answer.json["error"]["request_id"]


def test_a_refusal_that_cannot_be_recorded_is_a_failure_in_the_usual_shape(services, example):
    services.audit._store = FailingAudit()
    answer = example.viewer.post("/v1/tokens", TOKEN)
    assert (answer.status, answer.code) == (500, "InternalError")
    assert requests_logged(services)[-1]["status"] == 500


def test_the_request_id_is_the_same_in_answer_log_and_audit(services, example):
    answer = example.viewer.post("/v1/tokens", TOKEN)
    request_id = answer.json["error"]["request_id"]
    assert requests_logged(services)[-1]["request_id"] == request_id
    assert services.audit_store.events[-1].request_id == request_id


def test_each_request_is_logged_once_whatever_comes_of_it(services, client, example):
    made = uploaded(example.manager, "a.example.com")
    example.viewer.get(f"{UPLOAD}/{made['id']}")
    example.viewer.get(f"{UPLOAD}/unknown")
    example.viewer.delete(f"{UPLOAD}/{made['id']}?confirm=a")
    client.get("/v1/me")
    client.get("/healthz")
    example.manager.request("POST", UPLOAD, content=b"{")
    lines = requests_logged(services)
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", UPLOAD, 201),
        ("GET", f"{UPLOAD}/{{certificate_id}}", 200),
        ("GET", f"{UPLOAD}/{{certificate_id}}", 404),
        ("DELETE", f"{UPLOAD}/{{certificate_id}}", 403),
        ("GET", "/v1/me", 401),
        ("GET", "/healthz", 200),
        ("POST", UPLOAD, 400),
    ]
    nobody = {"/v1/me", "/healthz"}  # these two were asked without a token
    assert {line["account_id"] for line in lines if line["route"] in nobody} == {""}
    assert {line["account_id"] for line in lines if line["route"] not in nobody} == {example.account_id}
    assert all(line["ms"] >= 0 for line in lines)
    assert len({line["request_id"] for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v1/me", 200),
        ("GET", "/v1/certificates/unknown", 404),
        ("GET", "/v1/certificates?limit=0", 400),
        ("POST", "/v1/accounts", 403),
        ("GET", "/v1/certificates/{id}/download", 200),
        ("GET", "/v1/certificates/{id}/download?format=jks", 200),
        ("DELETE", "/v1/certificates/{id}?confirm=a", 204),
    ],
)
def test_no_answer_may_be_cached_framed_or_guessed_at(example, method, path, status):
    made = uploaded(example.manager, "a.example.com", fields={"name": "a"})
    headers = {"X-Passphrase": "open-sesame"}
    answer = example.admin.request(method, path.replace("{id}", made["id"]), headers=headers)
    assert answer.status == status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["strict-transport-security"].partition("max-age=")[2]) >= 31_536_000
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/plain, */*", "text/html", ""])
@pytest.mark.parametrize("kind", ["pem", "pfx"])
def test_what_a_client_says_it_accepts_does_not_change_the_answer(example, accept, kind):
    made = uploaded(example.manager, "a.example.com")
    headers = {"Accept": accept, "X-Passphrase": "open-sesame"}
    assert example.viewer.get("/v1/me", headers=headers).status == 200
    answer = example.admin.get(f"{UPLOAD}/{made['id']}/download?format={kind}", headers=headers)
    assert answer.status == 200
    assert answer.content.startswith(b"-----BEGIN" if kind == "pem" else b"\x30")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"]
)
def test_json_is_read_whatever_it_is_called(example, content_type):
    answer = example.admin.post("/v1/tokens", TOKEN, headers={"Content-Type": content_type})
    assert answer.status == 201


@pytest.mark.parametrize("code", ["ThrottlingException", "ProvisionedThroughputExceededException"])
@pytest.mark.parametrize("kind", ["botocore", "pynamodb", "cause"])
def test_what_aws_has_no_room_for_is_to_be_tried_again(code, kind):
    told = ClientError({"Error": {"Code": code, "Message": KEY}}, "GetItem")

    class Busy(MemoryCertificateStore):
        def page(self, *_, **__):
            if kind == "botocore":
                raise told
            if kind == "pynamodb":
                raise QueryError(cause=told)
            raise RuntimeError(KEY) from told

    services = failing("certificate_store", Busy())
    answer = tenant(Client(services)).admin.get(UPLOAD)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "TooManyRequests", "5")
    assert leaked(answer.text + services.log_stream.getvalue()) == []
