from __future__ import annotations

from contextlib import contextmanager

import pytest
from botocore.awsrequest import AWSResponse
from pynamodb.exceptions import TransactWriteError

from chalicelib.domain.errors import TooManyRequests
from chalicelib.store.tables import UniqueRow, connection
from chalicelib.store.transactions import ATTEMPTS, FIRST_PAUSE, ConditionFailedError, Writes
from tests.support.records import ulid
from tests.support.tables import moto_aws


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


@contextmanager
def cancelled(*answers):
    """The next transactions are cancelled by DynamoDB, for these reasons."""
    left = list(answers)
    tokens = []

    def cancel(params, **_):
        tokens.append(params["body"])
        if not left:
            return None
        reasons = [{"Code": code} for code in left.pop(0)]
        error = {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
        return AWSResponse("", 400, {}, None), {
            "Error": error,
            "CancellationReasons": reasons,
            "ResponseMetadata": {"HTTPHeaders": {}},
        }

    events = connection().client.meta.events
    events.register("before-call.dynamodb.TransactWriteItems", cancel)
    try:
        yield tokens
    finally:
        events.unregister("before-call.dynamodb.TransactWriteItems", cancel)


def claim(owner, name):
    return UniqueRow(owner, name, certificate_id="c")


def two_writes(owner):
    writes = Writes()
    writes.put(claim(owner, "one"), UniqueRow.claim.does_not_exist(), "one")
    writes.put(claim(owner, "two"))
    return writes


def test_a_collision_is_tried_again_after_pauses_that_grow():
    owner, pauses = ulid(), []
    with cancelled(["TransactionConflict", "None"], ["None", "TransactionConflict"]):
        two_writes(owner).commit(sleep=pauses.append)
    assert UniqueRow.count(owner) == 2
    assert [0 <= pause <= FIRST_PAUSE * 2**i for i, pause in enumerate(pauses)] == [True, True]


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_collisions_that_do_not_end_are_given_up(reason):
    owner, pauses = ulid(), []
    with cancelled(*[[reason, "None"]] * ATTEMPTS), pytest.raises(TooManyRequests):
        two_writes(owner).commit(sleep=pauses.append)
    assert len(pauses) == ATTEMPTS - 1
    assert UniqueRow.count(owner) == 0


def test_a_failed_condition_is_told_at_once_even_beside_a_collision():
    pauses = []
    with cancelled(["ConditionalCheckFailed", "TransactionConflict"]), pytest.raises(ConditionFailedError) as failed:
        two_writes(ulid()).commit(sleep=pauses.append)
    assert (failed.value.labels, pauses) == ({"one"}, [])


def test_other_reasons_are_not_tried_again():
    pauses = []
    with cancelled(["ValidationError", "None"]), pytest.raises(TransactWriteError):
        two_writes(ulid()).commit(sleep=pauses.append)
    assert pauses == []


def test_every_kind_of_write_is_told_apart_when_its_condition_fails():
    owner = ulid()
    for name in ("put", "delete", "update"):
        claim(owner, name).save()
    other = UniqueRow.certificate_id == "another"

    def writes(failing):
        made = Writes()
        made.update(claim(owner, "update"), [UniqueRow.certificate_id.set("u")], condition("update", failing), "update")
        made.put(claim(owner, "put"), condition("put", failing), "put")
        made.delete(claim(owner, "delete"), condition("delete", failing), "delete")
        return made

    def condition(name, failing):
        return other if name in failing else UniqueRow.certificate_id == "c"

    for failing in ({"put"}, {"delete"}, {"update"}, {"put", "update"}):
        with pytest.raises(ConditionFailedError) as failed:
            writes(failing).commit()
        assert failed.value.labels == failing
    assert {row.certificate_id for row in UniqueRow.query(owner)} == {"c"}
    writes(set()).commit()
    assert {row.claim: row.certificate_id for row in UniqueRow.query(owner)} == {"put": "c", "update": "u"}
