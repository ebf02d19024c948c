"""Clients under the roles that accounts named: assumed with the account's id, kept for a while, refused in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from chalicelib.aws_roles import SESSION, AwsRoles
from chalicelib.domain.errors import TooManyRequests, Unprocessable
from tests.support.fakes import FixedClock

ACCOUNT, OTHER = "1000000000000001", "2000000000000002"
ROLE = "arn:aws:iam::123456789012:role/certhaven-reader"


class Credentials:
    """What accounts named; a fake."""

    def __init__(self, **roles):
        self.roles = roles

    def get(self, account_id, provider):
        return self.roles.get(f"{provider}_{account_id}")

    def place(self, account_id, provider):
        return f"the secret {provider}/{account_id}"


class Sts:
    """Gives sessions, numbered, and notes who asked; a fake."""

    def __init__(self, failure=None):
        self.asked = []
        self.failure = failure

    def assume_role(self, **asked):
        self.asked.append(asked)
        if self.failure is not None:
            raise self.failure
        number = len(self.asked)
        return {"Credentials": {"AccessKeyId": f"id-{number}", "SecretAccessKey": "secret", "SessionToken": "token"}}


def roles(sts, clock=None, **named):
    given = Credentials(**(named or {f"aws_{ACCOUNT}": {"role_arn": ROLE}}))

    def make(service, region, **session):
        return service, region, session["aws_access_key_id"]

    return AwsRoles(given, lambda: sts, make, clock or FixedClock())


def test_a_role_is_assumed_with_the_account_as_external_id():
    sts = Sts()
    assert roles(sts).client(ACCOUNT, "acm-pca", "eu-west-1") == ("acm-pca", "eu-west-1", "id-1")
    (asked,) = sts.asked
    assert (asked["RoleArn"], asked["ExternalId"]) == (ROLE, ACCOUNT)
    assert asked["DurationSeconds"] == SESSION.total_seconds()


def test_a_session_is_kept_for_a_while_and_renewed_before_it_ends():
    sts, clock = Sts(), FixedClock()
    ours = roles(sts, clock)
    assert [ours.client(ACCOUNT, "s3", "eu-west-1")[2] for _ in range(3)] == ["id-1"] * 3
    clock.advance(SESSION - timedelta(minutes=2))
    assert ours.client(ACCOUNT, "s3", "eu-west-1")[2] == "id-2"


def test_no_account_gets_the_session_of_another():
    sts = Sts()
    ours = roles(sts, **{f"aws_{ACCOUNT}": {"role_arn": ROLE}, f"aws_{OTHER}": {"role_arn": ROLE}})
    assert ours.client(ACCOUNT, "s3", "eu-west-1") != ours.client(OTHER, "s3", "eu-west-1")
    assert [asked["ExternalId"] for asked in sts.asked] == [ACCOUNT, OTHER]


@pytest.mark.parametrize("fields", [None, {}, {"role_arn": ""}])
def test_an_account_without_a_role_is_told_where_to_name_one(fields):
    sts = Sts()
    with pytest.raises(Unprocessable) as refused:
        roles(sts, **{f"aws_{ACCOUNT}": fields}).client(ACCOUNT, "s3", "eu-west-1")
    assert refused.value.code == "SourceNotConfigured"
    assert f"the secret aws/{ACCOUNT}" in refused.value.hint
    assert sts.asked == []


def test_a_role_that_does_not_trust_us_is_refused_with_what_it_has_to_say():
    failure = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")
    with pytest.raises(Unprocessable) as refused:
        roles(Sts(failure)).client(ACCOUNT, "s3", "eu-west-1")
    assert refused.value.code == "SourceRefused"
    assert ROLE in refused.value.message
    assert ACCOUNT in refused.value.hint


def test_what_is_no_role_at_all_is_refused_with_where_it_stands():
    with pytest.raises(Unprocessable) as refused:
        roles(Sts(ParamValidationError(report="too short"))).client(ACCOUNT, "s3", "eu-west-1")
    assert refused.value.code == "SourceRefused"
    assert f"the secret aws/{ACCOUNT}" in refused.value.hint


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "Throttling", "Message": "slowly"}}, "AssumeRole"),
        EndpointConnectionError(endpoint_url="https://sts.example.com"),
    ],
)
def test_aws_that_is_busy_is_asked_again_later(failure):
    with pytest.raises(TooManyRequests) as refused:
        roles(Sts(failure)).client(ACCOUNT, "s3", "eu-west-1")
    assert refused.value.code == "SourceBusy"
