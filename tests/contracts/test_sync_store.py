"""What every store of synchronisations does, every queue of its tasks, and every keeper of credentials."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import boto3
import pytest

from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.renewals import PlannedRenewal
from chalicelib.domain.sync import Chunk, Link, Outcome, Result, SyncJob, SyncSchedule, Task, Wanted
from chalicelib.store.credentials import KEPT, SecretsManagerCredentials
from chalicelib.store.renewals import DynamoRenewalStore
from chalicelib.store.syncs import DynamoSyncStore
from chalicelib.store.taskqueue import SqsTaskQueue, task_in
from tests.support.authority import NOW
from tests.support.fake_syncs import MemoryCredentials, MemoryRenewalStore, MemorySyncStore, MemoryTaskQueue
from tests.support.fakes import FixedClock
from tests.support.records import event, ulid
from tests.support.tables import REGION

CA = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_numbers = itertools.count()


@pytest.fixture(params=["fake", "dynamo"])
def store(request):
    if request.param == "fake":
        return MemorySyncStore()
    request.getfixturevalue("aws")
    return DynamoSyncStore()


@pytest.fixture
def owner():
    return ulid()


def job_of(owner, **fields):
    fields = {"ca": CA, "selected": False, "started_by": "token-1", "created_at": NOW, "updated_at": NOW} | fields
    return SyncJob(id=ulid(), account_id=owner, source="builtin", region="here", **fields)


def started(store, owner, *chunks, **fields):
    made = job_of(owner, chunks=len(chunks), total=sum(len(c.wanted) for c in chunks), **fields)
    store.start(made, chunks, event(owner))
    return made


def chunk(number, *ids):
    return Chunk(number, tuple(Wanted(one, f"in-{one}", NOW if one == "revoked" else None) for one in ids))


def results(part, outcome=Outcome.UPLOADED):
    return [Result(w.id, outcome, "Code", "Weil es so ist: ß.", f"in-{w.id}") for w in part.wanted]


def test_a_job_is_read_back_with_its_chunks(store, owner):
    made = started(store, owner, chunk(0, "a", "revoked"), chunk(1, "b"), selected=True, planned=True)
    assert store.job(owner, made.id) == made
    assert store.chunks(owner, made.id, 0, 10) == [chunk(0, "a", "revoked"), chunk(1, "b")]
    assert store.chunks(owner, made.id, 1, 10) == [chunk(1, "b")]
    assert len(store.chunks(owner, made.id, 0, 1)) == 1


def test_another_account_sees_nothing(store, owner):
    made = started(store, owner, chunk(0, "a"))
    store.link(owner, CA, {"a": Link("in-a", NOW)})
    with pytest.raises(NotFound):
        store.job("another", made.id)
    assert list(store.chunks("another", made.id, 0, 10)) == []
    assert store.page("another", limit=10, cursor=None).items == ()
    assert store.links("another", CA, ["a"]) == {}
    assert list(store.active_for("another", CA)) == []


def test_a_chunk_that_planning_finds_twice_is_counted_once_and_the_first_stays(store, owner):
    made = started(store, owner)
    for found in (chunk(3, "a", "b"), chunk(3, "other")):
        store.add_chunk(owner, made.id, found)
    now = store.job(owner, made.id)
    assert (now.total, now.chunks) == (2, 1)
    assert store.chunks(owner, made.id, 0, 10) == [chunk(3, "a", "b")]
    with pytest.raises(NotFound):
        store.add_chunk(owner, ulid(), chunk(0, "a"))


def test_of_many_that_plan_a_step_one_is_told_that_it_did(store, owner):
    made = started(store, owner)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: store.planned(made, "page-2", NOW), range(4)))
    assert sorted(told) == [False, False, False, True]
    went_on = store.job(owner, made.id)
    assert (went_on.step, went_on.cursor, went_on.planned) == (1, "page-2", False)
    assert store.planned(went_on, None, NOW) is True
    assert store.planned(store.job(owner, made.id), None, NOW) is False
    assert store.job(owner, made.id).planned


def test_many_workers_count_every_chunk_once(store, owner):
    parts = [chunk(n, f"{n}-a", f"{n}-b") for n in range(6)]
    made = started(store, owner, *parts, planned=True)
    later = NOW + timedelta(minutes=1)

    def finish(part):
        return store.finish_chunk(made, part, results(part, list(Outcome)[part.number % 3]), later, event(owner))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(finish, parts + parts)) == [False] * 6 + [True] * 6
    now = store.job(owner, made.id)
    assert (now.chunks_done, now.uploaded, now.skipped, now.failed, now.done) == (6, 4, 4, 4, True)
    assert now.updated_at == later
    (first, *_) = store.chunks(owner, made.id, 0, 10)
    assert first.results == tuple(results(parts[0]))


def test_a_job_that_is_stopped_keeps_what_was_planned(store, owner):
    made = started(store, owner)
    store.add_chunk(owner, made.id, chunk(0, "a"))
    store.stop(made, "SourceRefused", "No.", NOW)
    store.stop(made, "Other", "Later.", NOW)
    now = store.job(owner, made.id)
    assert (now.planned, now.done, now.problem) == (True, False, ("SourceRefused", "No."))


def test_active_jobs_are_found_of_all_accounts_and_of_one_ca_until_they_end(store, owner):
    one, two = started(store, owner), started(store, owner, ca="another")
    elsewhere = started(store, ulid())
    assert {one.id, two.id, elsewhere.id} <= {job.id for job in store.active()}
    assert [job.id for job in store.active_for(owner, CA)] == [one.id]
    store.end(one)
    store.end(one)
    assert list(store.active_for(owner, CA)) == []
    assert one.id not in {job.id for job in store.active()}
    assert two.id in {job.id for job in store.active()}


def test_jobs_are_listed_newest_first_page_by_page(store, owner):
    made = [started(store, owner).id for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = store.page(owner, limit=2, cursor=cursor)
        seen += [job.id for job in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == made[::-1]
    with pytest.raises(InvalidRequest):
        store.page("another", limit=2, cursor=store.page(owner, limit=2, cursor=None).cursor)


def test_links_are_kept_by_certificate_and_the_last_counts(store, owner):
    failed = Link(None, NOW, "KeyMismatch", "They do not match.")
    store.link(owner, CA, {f"{n}": failed for n in range(30)})
    store.link(owner, CA, {"1": Link("in-1", NOW)})
    found = store.links(owner, CA, ["0", "1", "31", "1"])
    assert found == {"0": failed, "1": Link("in-1", NOW)}
    assert store.links(owner, "another", ["0"]) == {}
    assert store.links(owner, CA, []) == {}


@pytest.mark.parametrize("odd", ["", "x" * 2000, "\ud800"])
def test_an_id_that_nothing_can_have_is_not_there(store, owner, odd):
    with pytest.raises(NotFound):
        store.job(owner, odd)
    assert store.scheduled(owner, odd) is None
    assert set(store.links(owner, CA, [odd])) <= {""}


def schedule_of(owner, **fields):
    fields = {"every_hours": 6, "due_at": NOW, "ca": CA} | fields
    return SyncSchedule(owner, "builtin", "here", created_by="token-1", **fields)


def own(store, owner, now):
    return [s for s in store.due(now) if s.account_id == owner]


def test_a_schedule_is_set_changed_run_and_removed(store, owner):
    first = schedule_of(owner)
    store.schedule(first, event(owner))
    assert store.scheduled(owner, CA) == first
    assert own(store, owner, NOW - timedelta(seconds=1)) == []
    assert own(store, owner, NOW) == [first]
    changed = replace(first, every_hours=12, due_at=NOW + timedelta(hours=1))
    store.schedule(changed, event(owner))
    assert own(store, owner, NOW) == []
    store.ran(changed, NOW + timedelta(hours=13), "job-1")
    moved = replace(changed, due_at=NOW + timedelta(hours=13), last_job="job-1")
    assert store.scheduled(owner, CA) == moved
    assert own(store, owner, NOW + timedelta(hours=20)) == [moved]
    store.unschedule(owner, CA, event(owner))
    assert store.scheduled(owner, CA) is None
    assert own(store, owner, NOW + timedelta(days=9)) == []
    with pytest.raises(NotFound):
        store.unschedule(owner, CA, event(owner))


def test_a_run_of_a_schedule_that_was_changed_meanwhile_leaves_the_change(store, owner):
    first = schedule_of(owner)
    store.schedule(first, event(owner))
    changed = replace(first, every_hours=1, due_at=NOW + timedelta(minutes=5))
    store.schedule(changed, event(owner))
    store.ran(first, NOW + timedelta(hours=6), "job-1")
    assert store.scheduled(owner, CA) == changed
    assert own(store, owner, NOW + timedelta(days=1)) == [changed]
    store.unschedule(owner, CA, event(owner))
    store.ran(changed, NOW + timedelta(hours=6), "job-1")
    assert own(store, owner, NOW + timedelta(days=1)) == []


@pytest.fixture(params=["fake", "dynamo"])
def plans(request):
    if request.param == "fake":
        return MemoryRenewalStore()
    request.getfixturevalue("aws")
    return DynamoRenewalStore()


def test_renewals_are_due_in_order_until_they_are_done(plans, owner):
    late, soon, later = (PlannedRenewal(owner, ulid(), NOW + timedelta(hours=h), h + 2) for h in (-1, 0, 1))
    for one in (soon, later, late, soon):
        plans.plan(one)

    def due(now):
        return [one for one in plans.due(now) if one.account_id == owner]

    assert due(NOW - timedelta(hours=2)) == []
    assert due(NOW) == [late, soon]
    assert due(NOW + timedelta(hours=1)) == [late, soon, later]
    for _ in range(2):
        plans.done(late)
    assert due(NOW) == [soon]
    plans.done(soon)
    plans.done(later)


@pytest.fixture(params=["fake", "sqs"])
def queue(request):
    """A queue, and what takes its messages out."""
    if request.param == "fake":
        made = MemoryTaskQueue()
        return made, made.take
    request.getfixturevalue("aws")
    client = boto3.client("sqs", region_name=REGION)
    url = client.create_queue(QueueName=f"sync-{next(_numbers)}")["QueueUrl"]

    def take():
        found = []
        while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += [task_in(message["Body"]) for message in batch]
        return found

    return SqsTaskQueue(client, url), take


def test_every_task_that_is_sent_arrives_as_it_was(queue):
    made, take = queue
    tasks = [Task("account", "job", chunk=number) for number in range(25)] + [Task("account", "job", step=0)]
    made.send(tasks)
    made.send([])
    assert sorted(map(repr, take())) == sorted(map(repr, tasks))


@pytest.fixture(params=["fake", "secrets manager"])
def credentials(request):
    """What keeps credentials, and what sets them."""
    if request.param == "fake":
        made = MemoryCredentials()

        def give(account_id, provider, fields):
            made.given[account_id, provider] = fields

        return made, give
    request.getfixturevalue("aws")
    client, prefix = boto3.client("secretsmanager", region_name=REGION), f"stack-{next(_numbers)}"

    def put(account_id, provider, fields):
        client.create_secret(Name=f"{prefix}/{provider}/{account_id}", SecretString=json.dumps(fields))

    return SecretsManagerCredentials(client, prefix, FixedClock()), put


def test_credentials_are_those_of_the_account_and_provider(credentials):
    made, give = credentials
    give("1", "aws", {"role_arn": "a"})
    assert made.get("1", "aws") == {"role_arn": "a"}
    assert made.get("1", "alibaba") is None
    assert made.get("2", "aws") is None
    assert "aws/2" in made.place("2", "aws")
    assert made.place("1", "aws") != made.place("2", "aws")


def test_a_secret_is_read_again_after_a_while(aws):
    client, clock, prefix = boto3.client("secretsmanager", region_name=REGION), FixedClock(), f"s-{next(_numbers)}"
    made = SecretsManagerCredentials(client, prefix, clock)
    assert made.get("1", "aws") is None
    client.create_secret(Name=f"{prefix}/aws/1", SecretString='{"role_arn": "a"}')
    assert made.get("1", "aws") is None
    clock.advance(KEPT + timedelta(seconds=1))
    assert made.get("1", "aws") == {"role_arn": "a"}


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"role_arn": 7}'])
def test_a_secret_that_is_not_as_it_should_be_is_refused_without_being_shown(aws, text):
    client, prefix = boto3.client("secretsmanager", region_name=REGION), f"s-{next(_numbers)}"
    client.create_secret(Name=f"{prefix}/aws/1", SecretString=text or " ")
    with pytest.raises(Unprocessable) as refused:
        SecretsManagerCredentials(client, prefix, FixedClock()).get("1", "aws")
    assert refused.value.code == "SourceRefused"
    assert f"{prefix}/aws/1" in refused.value.message
    assert "role_arn" not in refused.value.message
