"""Signing requests by hand, right and wrong."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from tests.support.alibaba import signature
from tests.support.alibaba.signature import Credential, Request

NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)
KEY = Credential("key-id", "key-secret")
TEMPORARY = Credential("STS.id", "sts-secret", "token-of-sts", NOW + timedelta(hours=1))
KNOWN = {one.access_key_id: one for one in (KEY, TEMPORARY)}


def signed(
    credential: Credential = KEY,
    *,
    query: str = "",
    body: bytes = b"",
    at: datetime = NOW,
    nonce: str = "nonce",
    without: tuple[str, ...] = (),
    names: list[str] | None = None,
    **headers: str,
) -> Request:
    """A request as a client sends it; `without` are headers that it does not sign."""
    every = {
        "host": "cas.aliyuncs.com",
        "content-type": "application/x-www-form-urlencoded",
        "x-acs-action": "ListCsr",
        "x-acs-version": "2020-04-07",
        "x-acs-date": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        **({"x-acs-security-token": credential.security_token} if credential.security_token else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    request = Request("POST", "/", query, every, body)
    names = names or sorted(set(every) - set(without))
    text = signature.string_to_sign(signature.canonical_request(request, names))
    made = signature.sign(text, credential.access_key_secret)
    authorization = (
        f"ACS3-HMAC-SHA256 Credential={credential.access_key_id},SignedHeaders={';'.join(names)},Signature={made}"
    )
    return replace(request, headers={**every, "authorization": authorization})


def signed_v1(parameters: dict[str, str], *, in_form: bool = False, credential: Credential = KEY) -> Request:
    """A request as old tools send it."""
    every = {
        "AccessKeyId": credential.access_key_id,
        "Action": "ListCsr",
        "Version": "2020-04-07",
        "Timestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        "SignatureNonce": "nonce",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        **parameters,
    }
    every["Signature"] = signature.sign_v1("POST", every, credential.access_key_secret)
    text = urlencode(every)
    if in_form:
        return Request("POST", "/", "", {"content-type": "application/x-www-form-urlencoded"}, text.encode())
    return Request("POST", "/", text, {})
