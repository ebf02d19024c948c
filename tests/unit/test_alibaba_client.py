"""The client for Alibaba Cloud over a fake of the official one: what it asks, repeats and says."""

from __future__ import annotations

import traceback

import pytest
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException
from darabonba.exceptions import RetryError, UnretryableException
from darabonba.policy.retry import RetryPolicyContext

from chalicelib.alibaba import (
    CONNECT_TIMEOUT,
    ENDPOINTS,
    FIRST_WAIT,
    LONGEST_WAIT,
    PATIENCE,
    PRODUCTS,
    READ_TIMEOUT,
    TRIES,
    AlibabaClient,
    client_for,
)
from chalicelib.domain.errors import Unprocessable
from chalicelib.ports import AlibabaError

VERSION = "2020-06-30"
REGION = "cn-hangzhou"
KEYS = {"access_key_id": "LTAI5tCanaryId", "access_key_secret": "canary-secret", "security_token": "canary-token"}
SIGNATURE = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"


class FakeSdk:
    """A fake of the official client: gives or raises what it was given, in turn, and takes its time over it.

    The last one is given for ever. Attributes:
        asked: params, request and runtime of every call.
        now: seconds.
    """

    def __init__(self, *outcomes, takes=0.0):
        self.outcomes = list(outcomes)
        self.takes = takes
        self.asked = []
        self.slept = []
        self.now = 1000.0

    def call_api(self, params, request, runtime):
        self.asked.append((params, request, runtime))
        self.now += self.takes
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return {"body": outcome, "headers": {}, "statusCode": 200}

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def client(sdk, chance=1.0, **credentials):
    return AlibabaClient(
        {**KEYS, **credentials},
        VERSION,
        REGION,
        sdk=sdk,
        sleep=sdk.sleep,
        clock=lambda: sdk.now,
        chance=lambda: chance,
    )


def refusal(code="InvalidParameter", message="Words of theirs.", status=400, retry_after=None):
    """As the official client makes it of an answer."""
    answer = {"Code": code, "Message": message, "RequestId": "request-1", "HostId": "cas.aliyuncs.com"}
    said = {"status_code": status, "code": code, "message": f"code: {status}, {message}", "data": answer}
    if retry_after is not None:
        return ThrottlingException(**said, request_id="request-1", retry_after=retry_after)
    return (ClientException if status < 500 else ServerException)(**said, request_id="request-1")


def silence(inner):
    """As the official client ends without an answer."""
    return UnretryableException(RetryPolicyContext(retries_attempted=1, exception=inner))


def raised(made, action="ListCert", **parameters):
    with pytest.raises(AlibabaError) as caught:
        made.call(action, parameters)
    return caught.value


# --- what it asks


def test_parameters_are_in_the_form_and_none_in_the_query():
    sdk = FakeSdk({"CertId": 7})
    assert client(sdk).call("Upload", {"Name": "a", "Tags": [{"Key": "x"}], "Key": "secret", "Left": None}) == {
        "CertId": 7
    }
    ((params, request, runtime),) = sdk.asked
    assert request.body == {"Name": "a", "Tags": [{"Key": "x"}], "Key": "secret"}
    assert request.query is None
    assert (params.action, params.version, params.method, params.pathname) == ("Upload", VERSION, "POST", "/")
    assert (params.style, params.req_body_type, params.body_type) == ("RPC", "formData", "json")
    assert (params.protocol, params.auth_type) == ("HTTPS", "AK")
    assert runtime.connect_timeout == CONNECT_TIMEOUT * 1000
    assert runtime.read_timeout == READ_TIMEOUT * 1000


def test_every_product_has_its_host_in_every_region():
    for version, product in PRODUCTS.items():
        for region, host in ENDPOINTS[product].items():
            assert repr(AlibabaClient(KEYS, version, region)) == f"<AlibabaClient {version} at {host}>"


def test_a_region_without_the_product_is_refused_unless_an_endpoint_is_given():
    with pytest.raises(Unprocessable) as refused:
        AlibabaClient(KEYS, VERSION, "eu-central-1")
    assert refused.value.code == "RegionNotSupported"
    assert "cn-hangzhou, ap-southeast-1" in refused.value.hint
    assert "127.0.0.1:7" in repr(AlibabaClient(KEYS, VERSION, "eu-central-1", "http://127.0.0.1:7/"))


@pytest.mark.parametrize(
    ("endpoint", "protocol"), [("http://127.0.0.1:7", "HTTP"), ("https://one.example.com", "HTTPS"), ("x", "HTTPS")]
)
def test_an_endpoint_may_say_its_protocol(endpoint, protocol):
    sdk = FakeSdk({})
    AlibabaClient(KEYS, VERSION, REGION, endpoint, sdk=sdk).call("ListCert", {})
    assert sdk.asked[0][0].protocol == protocol


# --- credentials


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "`access_key_id` and `access_key_secret` for Alibaba Cloud are"),
        ({"access_key_id": "LTAI5tCanaryId"}, "`access_key_secret` for Alibaba Cloud is"),
        ({"access_key_id": " \n", "access_key_secret": "canary-secret"}, "`access_key_id` for Alibaba Cloud is"),
        ({"security_token": "canary-token", "access_key_secret": ""}, "`access_key_id` and `access_key_secret`"),
    ],
)
def test_missing_credentials_are_named_with_their_place_and_the_others_not_shown(given, missing):
    class Store:
        def get(self, account_id, provider):
            return {("1", "alibaba"): given}.get((account_id, provider))

        def place(self, account_id, provider):
            return f"the secret {provider}/{account_id}"

    for account in ("1", "2"):
        with pytest.raises(Unprocessable) as refused:
            client_for(Store(), account, VERSION, REGION)
        assert refused.value.code == "SourceNotConfigured"
        assert missing in refused.value.message or account == "2"
        assert f"the secret alibaba/{account}" in refused.value.hint
        assert "anary" not in f"{refused.value} {refused.value.hint}"


def test_the_official_client_gets_these_credentials_whatever_the_environment_has(monkeypatch, tmp_path):
    for variable in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN", "USER_AGENT"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{variable}", "of the environment")
    monkeypatch.setenv("HOME", str(tmp_path))
    for token in ("canary-token", ""):
        given = {"access_key_id": "LTAI5tCanaryId\n", "access_key_secret": "canary-secret ", "security_token": token}
        official = AlibabaClient(given, VERSION, REGION)._sdk
        held = official._credential.get_credential()
        assert (held.access_key_id, held.access_key_secret) == ("LTAI5tCanaryId", "canary-secret")
        assert held.security_token == (token or None)
        assert (official._endpoint, official._user_agent) == ("cas.aliyuncs.com", "certhaven")


# --- what it repeats


@pytest.mark.parametrize(
    "failure",
    [
        refusal("Throttling", status=400),
        refusal("Throttling.User", status=429),
        refusal("ServiceUnavailable", status=400),
        refusal("FlowControlError", status=400),
        refusal("InternalError", status=500),
        refusal("Whatever", status=503),
        refusal("Whatever", status=400, retry_after=1),
        silence(RetryError("HTTPSConnectionPool(...): Read timed out.")),
        silence(RetryError("Connection refused")),
        silence(ValueError("no JSON")),
        ["not", "an", "object"],
    ],
    ids=str,
)
def test_what_is_temporary_is_tried_again(failure):
    sdk = FakeSdk(failure, failure, {"TotalCount": 0})
    assert client(sdk).call("ListCert", {"Page": 1}) == {"TotalCount": 0}
    assert [request.body for _, request, _ in sdk.asked] == [{"Page": 1}] * 3


@pytest.mark.parametrize(
    ("code", "status"),
    [("InvalidParameter", 400), ("Forbidden.RAM", 403), ("NotFound", 404), ("SignatureDoesNotMatch", 400)],
)
def test_a_refusal_is_final(code, status):
    sdk = FakeSdk(refusal(code, status=status))
    error = raised(client(sdk))
    assert (error.code, error.status, error.is_temporary) == (code, status, False)
    assert (len(sdk.asked), sdk.slept) == (1, [])


def test_the_waits_double_up_to_the_last_and_the_tries_end():
    sdk = FakeSdk(refusal("Throttling"))
    assert raised(client(sdk)).code == "Throttling"
    assert sdk.slept == [min(LONGEST_WAIT, FIRST_WAIT * 2**n) for n in range(TRIES - 1)]


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_a_wait_is_any_part_of_its_length(chance):
    sdk = FakeSdk(refusal("Throttling"))
    raised(client(sdk, chance))
    assert sdk.slept == [chance * FIRST_WAIT * 2**n for n in range(TRIES - 1)]


def test_a_wait_that_alibaba_names_in_milliseconds_is_kept_and_spread():
    sdk = FakeSdk(refusal("Throttling.User", retry_after=2500), {})
    client(sdk, 0.5).call("ListCert", {})
    assert sdk.slept == [2.5 + 0.5 * FIRST_WAIT]


def test_a_wait_that_is_too_long_is_not_begun():
    sdk = FakeSdk(refusal("Throttling.User", retry_after=round(PATIENCE * 1000)))
    assert raised(client(sdk)).is_temporary
    assert (len(sdk.asked), sdk.slept) == (1, [])


def test_all_tries_together_end_in_time_and_the_last_waits_no_longer():
    sdk = FakeSdk(silence(RetryError("Read timed out.")), takes=READ_TIMEOUT - 1)
    began = sdk.now
    raised(client(sdk))
    assert 1 < len(sdk.asked) < TRIES
    assert sdk.now - began <= PATIENCE + READ_TIMEOUT
    timeouts = [runtime.read_timeout for _, _, runtime in sdk.asked]
    assert timeouts[0] == READ_TIMEOUT * 1000
    assert timeouts[-1] < timeouts[0]


# --- what it says


def test_a_refusal_has_code_words_status_and_number():
    error = raised(client(FakeSdk(refusal("NameRepeat", "The name  is\ntaken.", 409))))
    assert (error.code, error.message, error.status) == ("NameRepeat", "The name  is taken.", 409)
    assert error.request_id == "request-1"


def test_a_refusal_that_says_nothing_is_told_so():
    bare = ClientException(status_code=400, code="None", message="code: 400, None request id: None", data={})
    error = raised(client(FakeSdk(bare)))
    assert (error.code, error.message, error.request_id) == ("Unknown", "No reason was given.", "")


@pytest.mark.parametrize(
    ("inner", "code", "words"),
    [
        (RetryError("HTTPSConnectionPool(...): Read timed out. (read timeout=10.0)"), "NoAnswer", "in time"),
        (RetryError("Cannot connect to proxy http://user:canary-secret@proxy"), "NoAnswer", "could not be reached"),
        (ValueError("Expecting value: <html>canary-token"), "UnreadableAnswer", "not JSON"),
    ],
)
def test_without_an_answer_it_says_so_and_no_more(inner, code, words):
    error = raised(client(FakeSdk(silence(inner))))
    assert (error.code, error.status) == (code, 0)
    assert words in error.message
    assert "cas.aliyuncs.com" in error.message
    assert "canary" not in error.message


@pytest.mark.parametrize(
    "message",
    [
        f"Signature={SIGNATURE} of LTAI5tCanaryId is wrong, canary-secret.",
        "The security token canary-token has expired.",
        "The code canary-code and the key -----BEGIN PRIVATE KEY----- canary-key are not allowed.",
        "Specified signature is not matched. server string to sign is: x-acs-security-token:canary-else",
        "It does not match: server StringToSign is [x], server CanonicalRequest is [POST canary-else]",
        "We computed OIGNVjgWxlYwBHHgbCAeRQXFvMk= here.",
    ],
)
def test_no_error_tells_a_secret_or_signature(message):
    sdk = FakeSdk(refusal("SignatureDoesNotMatch", message))
    key = "-----BEGIN PRIVATE KEY----- canary-key"
    error = raised(client(sdk), "Upload", EncryptedCode="canary-code", Key=key, Name="shown")
    told = "".join(traceback.format_exception(error)) + repr(error.__dict__) + repr(client(sdk))
    for secret in ("anary", SIGNATURE, "OIGNVjgW", "BEGIN"):
        assert secret not in told
    assert (error.__cause__, error.__context__) == (None, None)


def test_a_long_answer_is_cut():
    assert len(raised(client(FakeSdk(refusal(message="long " * 1000)))).message) <= 300
