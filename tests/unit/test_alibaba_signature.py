"""Signatures of Alibaba Cloud requests, as the emulation checks them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alibaba import signature
from tests.support.alibaba.protocol import Refusal
from tests.support.alibaba.signature import Credential, Nonces, Request
from tests.support.alibaba.signing import KEY, KNOWN, NOW, TEMPORARY, signed, signed_v1

#: The example of Alibaba Cloud's documentation of V3 signatures.
DOCUMENTED = Request(
    "POST",
    "/",
    "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
    {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-version": "2014-05-26",
    },
)
DOCUMENTED_SIGNATURE = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"


def verify(request: Request, *, now: datetime = NOW, nonces: Nonces | None = None) -> str:
    return signature.verify(request, KNOWN, nonces or Nonces(), now).access_key_id


def refusal(request: Request, **options) -> str:
    with pytest.raises(Refusal) as caught:
        verify(request, **options)
    return caught.value.code


def test_the_documented_example_has_the_documented_hash_and_signature():
    text = signature.canonical_request(DOCUMENTED, sorted(DOCUMENTED.headers))
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
    )
    to_sign = signature.string_to_sign(text)
    assert signature.sign(to_sign, "YourAccessKeySecret") == DOCUMENTED_SIGNATURE


def test_the_documented_example_is_accepted_at_its_time():
    names = ";".join(sorted(DOCUMENTED.headers))
    said = f"ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders={names},Signature={DOCUMENTED_SIGNATURE}"
    request = replace(DOCUMENTED, headers={**DOCUMENTED.headers, "authorization": said})
    known = {"YourAccessKeyId": Credential("YourAccessKeyId", "YourAccessKeySecret")}
    found = signature.verify(request, known, Nonces(), datetime(2023, 10, 26, 10, 30, tzinfo=UTC))
    assert found.access_key_id == "YourAccessKeyId"


@given(
    parameters=st.dictionaries(st.text(min_size=1), st.text()), encode=st.sampled_from([quote_plus, signature.encode])
)
def test_whatever_the_parameters_and_however_they_are_encoded_the_signature_fits(parameters, encode):
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in parameters.items())
    request = signed(query=query, body=query.encode())
    assert verify(request) == KEY.access_key_id
    assert request.in_query == request.in_form == parameters


@given(parameters=st.dictionaries(st.text(min_size=1), st.text()), in_form=st.booleans())
def test_old_signatures_fit_whatever_the_parameters(parameters, in_form):
    reserved = {"AccessKeyId", "Action", "Version", "Timestamp", "Signature", "SecurityToken"}
    given = {name: value for name, value in parameters.items() if not name.startswith(tuple(reserved))}
    request = signed_v1(given, in_form=in_form)
    assert verify(request) == KEY.access_key_id
    assert (request.action, request.version) == ("ListCsr", "2020-04-07")


def test_a_client_may_sign_only_host_and_its_own_headers_in_any_order():
    names = [*reversed(signature.MUST_BE_SIGNED)]
    assert verify(signed(names=names, user_agent="not signed")) == KEY.access_key_id


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"authorization": ""}, "MissingParameter"),
        ({"authorization": "Bearer abc"}, "IncompleteSignature"),
        ({"x-acs-action": "DeleteCsr"}, "SignatureDoesNotMatch"),
        ({"host": "cas.ap-southeast-1.aliyuncs.com"}, "SignatureDoesNotMatch"),
        ({"x-acs-signature-nonce": "another"}, "SignatureDoesNotMatch"),
        ({"x-acs-date": f"{NOW + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"}, "SignatureDoesNotMatch"),
        ({"x-acs-date": "Mon, 15 Jun 2026 12:00:00 GMT"}, "IllegalTimestamp"),
        ({"x-acs-content-sha256": hashlib.sha256(b"other").hexdigest()}, "SignatureDoesNotMatch"),
        ({"x-acs-version": ""}, "IncompleteSignature"),
        ({"x-acs-accesskey-id": "another"}, "IncompleteSignature"),
    ],
)
def test_a_header_that_was_changed_on_the_way_is_noticed(change, code):
    request = signed()
    assert refusal(replace(request, headers={**request.headers, **change})) == code


@pytest.mark.parametrize("change", [{"body": b"CertId=2"}, {"query": "CertId=2"}, {"method": "GET"}, {"path": "/x"}])
def test_a_body_query_method_or_path_that_was_changed_is_noticed(change):
    request = signed(body=b"CertId=1", query="CertId=1")
    assert refusal(replace(request, **change)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", [*signature.MUST_BE_SIGNED, "x-acs-security-token"])
def test_a_header_that_must_be_signed_is(name):
    assert refusal(signed(TEMPORARY, without=(name,))) == "IncompleteSignature"


def test_an_unknown_key_and_a_wrong_secret_are_told_apart():
    assert refusal(signed(Credential("nobody", "key-secret"))) == "InvalidAccessKeyId.NotFound"
    assert refusal(signed(Credential("key-id", "wrong"))) == "SignatureDoesNotMatch"
    assert refusal(signed_v1({}, credential=Credential("nobody", "x"))) == "InvalidAccessKeyId.NotFound"
    assert refusal(signed_v1({}, credential=Credential("key-id", "wrong"))) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_may_be_off_by_a_quarter_of_an_hour_and_no_more(sign):
    edge = NOW + sign * timedelta(minutes=15)
    assert verify(signed(at=edge)) == KEY.access_key_id
    assert refusal(signed(at=edge + sign * timedelta(seconds=1))) == "IllegalTimestamp"


@pytest.mark.parametrize("make", [signed, lambda: signed_v1({})])
def test_a_request_is_taken_once(make):
    nonces = Nonces()
    verify(make(), nonces=nonces)
    assert refusal(make(), nonces=nonces) == "SignatureNonceUsed"


def test_nonces_are_kept_per_key_and_no_longer_than_they_can_be_repeated():
    nonces = Nonces()
    assert nonces.take("one", "nonce", NOW)
    assert nonces.take("two", "nonce", NOW)
    assert not nonces.take("one", "nonce", NOW + 2 * signature.MAX_SKEW)
    assert nonces.take("one", "nonce", NOW + 2 * signature.MAX_SKEW + timedelta(seconds=1))


def test_a_wrongly_signed_request_uses_up_no_nonce():
    nonces = Nonces()
    refusal(signed(Credential("key-id", "wrong")), nonces=nonces)
    assert verify(signed(), nonces=nonces) == KEY.access_key_id


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        (replace(TEMPORARY, security_token=None), "MissingSecurityToken"),
        (replace(TEMPORARY, security_token="another"), "InvalidSecurityToken.Malformed"),
        (replace(KEY, security_token="token-of-sts"), "InvalidSecurityToken.MismatchWithAccessKey"),
    ],
)
def test_a_temporary_key_needs_its_own_token(credential, code):
    assert verify(signed(TEMPORARY)) == "STS.id"
    assert refusal(signed(credential)) == code


def test_a_temporary_key_ends():
    later = TEMPORARY.expires
    assert refusal(signed(TEMPORARY, at=later), now=later) == "InvalidSecurityToken.Expired"


@pytest.mark.parametrize("change", [{"SignatureMethod": "HMAC-SHA256"}, {"SignatureVersion": "2.0"}])
def test_old_signatures_are_of_one_method(change):
    assert refusal(signed_v1(change)) == "IncompleteSignature"


def test_no_repr_shows_a_secret():
    assert "sts-secret" not in repr(TEMPORARY)
    assert "token-of-sts" not in repr(TEMPORARY)
