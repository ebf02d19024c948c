"""Checking the signatures of requests: V3 (``ACS3-HMAC-SHA256``), and V1 (HMAC-SHA1) of old tools."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import parse_qsl, quote

from tests.support.alibaba.protocol import Refusal

ALGORITHM = "ACS3-HMAC-SHA256"
#: How far a client's clock may be off.
MAX_SKEW = timedelta(minutes=15)
#: Headers without whose signature a request could be changed or repeated.
MUST_BE_SIGNED = (
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
)
_AUTHORIZATION = re.compile(rf"{ALGORITHM} Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{{64}})")
_MISMATCH = "The request signature we calculated does not match the signature you provided."


@dataclass(frozen=True)
class Credential:
    """An access key, perhaps a temporary one by STS with its token. The repr shows the id only."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names in lower case, the query as it stood in the URL."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @cached_property
    def in_query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def in_form(self) -> dict[str, str]:
        kind = self.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            return {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def parameters(self) -> dict[str, str]:
        return {**self.in_query, **self.in_form}

    @property
    def is_v1(self) -> bool:
        """Whether the signature is a parameter and not a header."""
        return "authorization" not in self.headers and "Signature" in self.parameters

    @property
    def action(self) -> str:
        return self.parameters.get("Action", "") if self.is_v1 else self.headers.get("x-acs-action", "")

    @property
    def version(self) -> str:
        return self.parameters.get("Version", "") if self.is_v1 else self.headers.get("x-acs-version", "")


class Nonces:
    """The nonces that were used, as long as their requests could be repeated."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], datetime] = {}
        self._lock = threading.Lock()

    def take(self, access_key_id: str, nonce: str, now: datetime) -> bool:
        """Note a nonce. Gives whether it is new."""
        with self._lock:
            for key, at in list(self._seen.items()):
                if now - at <= 2 * MAX_SKEW:
                    break  # in order of time: what follows is younger
                del self._seen[key]
            if (access_key_id, nonce) in self._seen:
                return False
            self._seen[access_key_id, nonce] = now
            return True


def encode(text: str) -> str:
    """Percent-encoding as both versions want it (RFC 3986, 2.3)."""
    return quote(text, safe="~")


def canonical_request(request: Request, signed: list[str]) -> str:
    """What a V3 signature covers; `signed` are the headers, in the client's order."""
    pairs = sorted(parse_qsl(request.query, keep_blank_values=True))
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in signed)
    digest = request.headers.get("x-acs-content-sha256", "")
    return "\n".join([request.method, request.path, query, headers, ";".join(signed), digest])


def string_to_sign(canonical: str) -> str:
    return f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def sign(text: str, secret: str) -> str:
    """A V3 signature, in hex."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sign_v1(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """A V1 signature over all parameters but itself, in base64."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    text = f"{method}&%2F&{encode(canonical)}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()).decode()


def verify(request: Request, credentials: Mapping[str, Credential], nonces: Nonces, now: datetime) -> Credential:
    """Who signed a request.

    Args:
        request: as it came.
        credentials: by access key id.
        nonces: that were used before; the request's is added.
        now: aware UTC.

    Raises:
        Refusal: the signature is missing or wrong, too old, or was seen before.
    """
    return (_verify_v1 if request.is_v1 else _verify_v3)(request, credentials, nonces, now)


def _verify_v3(request: Request, credentials: Mapping[str, Credential], nonces: Nonces, now: datetime) -> Credential:
    text = request.headers.get("authorization", "")
    if not text:
        raise Refusal("MissingParameter", "The request is not signed: the header Authorization is missing.")
    parts = _AUTHORIZATION.fullmatch(text.strip())
    if parts is None:
        raise Refusal("IncompleteSignature", f"The header Authorization is not as {ALGORITHM} has it.")
    access_key_id, signed, signature = parts[1], parts[2].split(";"), parts[3]
    credential = _known(access_key_id, credentials)
    token = request.headers.get("x-acs-security-token")
    must = (*MUST_BE_SIGNED, *(["x-acs-security-token"] if token else []))
    if missing := [name for name in must if name not in signed or not request.headers.get(name)]:
        raise Refusal("IncompleteSignature", f"Not sent, or not signed: {', '.join(missing)}.")
    if request.headers["x-acs-content-sha256"] != hashlib.sha256(request.body).hexdigest():
        raise Refusal("SignatureDoesNotMatch", "x-acs-content-sha256 is not the hash of the body.")
    _check_date(request.headers["x-acs-date"], now)
    expected = sign(string_to_sign(canonical_request(request, signed)), credential.access_key_secret)
    if not hmac.compare_digest(expected, signature):
        raise Refusal("SignatureDoesNotMatch", _MISMATCH)
    if request.headers.get("x-acs-accesskey-id", access_key_id) != access_key_id:
        raise Refusal("IncompleteSignature", "x-acs-accesskey-id is not the signer's.")
    _check_token(token, credential, now)
    _check_nonce(request.headers["x-acs-signature-nonce"], credential, nonces, now)
    return credential


def _verify_v1(request: Request, credentials: Mapping[str, Credential], nonces: Nonces, now: datetime) -> Credential:
    given = request.parameters
    for name in ("AccessKeyId", "Action", "SignatureNonce", "Timestamp", "Version"):
        if not given.get(name):
            raise Refusal("MissingParameter", f"{name} is mandatory for this action.")
    if given.get("SignatureMethod") != "HMAC-SHA1" or given.get("SignatureVersion") != "1.0":
        raise Refusal("IncompleteSignature", "SignatureMethod is HMAC-SHA1, and SignatureVersion 1.0.")
    credential = _known(given["AccessKeyId"], credentials)
    _check_date(given["Timestamp"], now)
    if not hmac.compare_digest(sign_v1(request.method, given, credential.access_key_secret), given["Signature"]):
        raise Refusal("SignatureDoesNotMatch", _MISMATCH)
    _check_token(given.get("SecurityToken"), credential, now)
    _check_nonce(given["SignatureNonce"], credential, nonces, now)
    return credential


def _known(access_key_id: str, credentials: Mapping[str, Credential]) -> Credential:
    if access_key_id not in credentials:
        raise Refusal("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
    return credentials[access_key_id]


def _check_date(text: str, now: datetime) -> None:
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal("IllegalTimestamp", f"The date {text!r:.40} is not as 2026-01-31T23:59:59Z.") from None
    if abs(now - at) > MAX_SKEW:
        raise Refusal("IllegalTimestamp", f"The date {text} is more than 15 minutes off.")


def _check_token(token: str | None, credential: Credential, now: datetime) -> None:
    wanted = credential.security_token
    if wanted and not token:
        raise Refusal("MissingSecurityToken", "SecurityToken is mandatory for this access key.")
    if token and not wanted:
        raise Refusal("InvalidSecurityToken.MismatchWithAccessKey", "The access key has no security token.")
    if token and not hmac.compare_digest(token.encode(), str(wanted).encode()):
        raise Refusal("InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
    if credential.expires is not None and now >= credential.expires:
        raise Refusal("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")


def _check_nonce(nonce: str, credential: Credential, nonces: Nonces, now: datetime) -> None:
    if not nonces.take(credential.access_key_id, nonce, now):
        raise Refusal("SignatureNonceUsed", "The request signature nonce has been used.")
