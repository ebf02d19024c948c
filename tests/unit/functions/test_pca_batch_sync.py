"""Batch synchronisation: whatever is repeated, killed, late or refused, every certificate ends up once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.errors import (
    Conflict,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unprocessable,
)
from chalicelib.domain.model import Source, Status
from chalicelib.domain.pca import AuthorityStatus
from chalicelib.domain.reading import Bundle
from chalicelib.domain.status import status_at
from chalicelib.domain.sync import CHUNK, LONGEST_JOB, MAX_SELECTED, Outcome
from chalicelib.functions.pca_batch_sync import LONGEST_WORK, MOST_FAILURES, STALLED
from chalicelib.functions.upload_validate import Upload
from tests.support.authority import NOW
from tests.support.fake_source import REF, FakeSource
from tests.support.records import ACCOUNT, MANAGER, OTHER_ACCOUNT
from tests.support.service import MemoryServices

CA = str(REF)
BUSY = TooManyRequests("SourceBusy", "Too much at once.")


class CrashError(Exception):
    """Something broke."""


@dataclass
class Yard:
    """The service with one fake source, and its queue worked off by hand."""

    services: MemoryServices = field(default_factory=MemoryServices)
    source: FakeSource = field(default_factory=FakeSource)

    def __post_init__(self) -> None:
        self.services.sources = {"fake": self.source}
        self.sync = self.services.pca_batch_sync
        self.queue = self.services.sync_queue

    def start(self, ids=None, caller=MANAGER):
        return self.sync.start(caller, CA, ids, source=None, region=None)

    def work_off(self, *, last_try: bool = False) -> None:
        """Deliver messages, each once, until there are none; what fails comes again."""
        for _ in range(200):
            tasks = self.queue.take()
            if not tasks:
                return
            for task in tasks:
                try:
                    self.sync.run(task, last_try=last_try)
                except (TooManyRequests, CrashError):
                    self.queue.send([task])
        raise AssertionError("the queue never empties")

    def run(self, ids=None):
        """A job, worked off; with the results of all its chunks by certificate."""
        job = self.start(ids)
        self.work_off()
        return self.outcome(job)

    def outcome(self, job):
        found, chunks = self.sync.job(MANAGER, job.id, limit=1000)
        return found, {r.id: r for chunk in chunks for r in chunk.results or ()}

    def inventory(self):
        return list(self.services.certificate_store.certificates.values())

    def listed(self):
        page = self.services.private_cas.certificates(MANAGER, CA, source=None, region=None, limit=100, cursor=None)
        return {listed.certificate.id: listed.status.value for listed in page.items}


@pytest.fixture(params=[True, False], ids=["list tells fingerprints", "list tells none"])
def yard(request):
    return Yard(source=FakeSource(tells=request.param))


def counts(job):
    return job.total, job.uploaded, job.skipped, job.failed


def test_a_whole_ca_comes_into_the_inventory_under_names_of_its_own(yard):
    for one in ("a", "b", "c"):
        yard.source.issue(one)
    job, results = yard.run()
    assert job.done
    assert counts(job) == (3, 3, 0, 0)
    assert {c.domains for c in yard.inventory()} == {("a.example.com",), ("b.example.com",), ("c.example.com",)}
    assert {c.source for c in yard.inventory()} == {Source.PCA}
    assert {r.certificate_id for r in results.values()} == {c.id for c in yard.inventory()}
    assert set(yard.listed().values()) == {"uploaded"}


def test_keys_are_sealed_with_the_certificates_they_belong_to(yard):
    yard.source.issue("a")
    yard.run()
    (held,) = yard.inventory()
    material = yard.services.certificate_store.material(held)
    opened = yard.services.vault.open(held.key_context, material.keys)
    assert opened["signing"].startswith(b"-----BEGIN")
    assert len(material.chain) == 2


def test_named_certificates_only_are_brought(yard):
    for one in ("a", "b"):
        yard.source.issue(one)
    job, results = yard.run(["b", "b", "nothing"])
    assert counts(job) == (2, 1, 0, 1)
    assert results["nothing"].code == "CertificateNotFound"
    assert yard.listed() == {"a": "not_uploaded", "b": "uploaded"}


def test_a_repeat_uploads_nothing_and_asks_for_nothing(yard):
    yard.source.issue("a")
    yard.run()
    yard.source.fetched.clear()
    before = yard.inventory()
    job, results = yard.run()
    assert counts(job) == (1, 0, 1, 0)
    assert results["a"].code == "DuplicateCertificate"
    assert yard.source.fetched == []
    assert yard.inventory() == before


def test_one_bad_certificate_is_one_failed_row_with_its_reason(yard):
    good, bad = yard.source.issue("good"), yard.source.issue("bad")
    other = yard.source.issue("other", kind="p384")
    yard.source.held["bad"] = bad, other.key_pem
    job, results = yard.run()
    assert counts(job) == (3, 2, 0, 1)
    assert results["bad"].code == "KeyMismatch"
    assert results["bad"].reason
    assert yard.listed() == {"good": "uploaded", "bad": "failed", "other": "uploaded"}
    yard.source.held["bad"] = bad, bad.key_pem
    assert yard.run()[0].uploaded == 1
    assert set(yard.listed().values()) == {"uploaded"}
    assert good.fingerprint in {c.fingerprint for c in yard.inventory()}


def test_a_certificate_without_key_comes_and_says_so(yard):
    yard.source.issue("a", key=False)
    yard.run()
    (held,) = yard.inventory()
    assert not held.has_private_key
    (finding,) = yard.services.certificate_store.material(held).findings
    assert (finding.code, finding.message) == ("PrivateKeyElsewhere", "The key was never given to this CA.")


def test_the_key_of_a_stored_request_is_found_and_that_is_in_the_trail(yard):
    from chalicelib.domain.csr import CsrSpec

    request = yard.services.csrs.create(MANAGER, CsrSpec(common_name="a.example.com", algorithm="ECC"))
    own = yard.services.csrs.key_of(request).native
    yard.source.held["a"] = yard.source.middle.issue("a.example.com", key=own), None
    yard.run()
    (held,) = yard.inventory()
    assert held.has_private_key
    yard.run()
    opened = [e for e in yard.services.audit_store.events if e.action == "csr.key"]
    assert [(e.target, e.detail["certificate"]) for e in opened] == [(request.id, held.id)]


def test_a_certificate_for_two_years_carries_the_risk(yard):
    yard.source.issue("a", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=729))
    yard.run()
    (held,) = yard.inventory()
    assert "LeakageRisk" in held.risks


def test_what_has_expired_or_was_revoked_is_not_brought(yard):
    yard.source.issue("old", not_before=NOW - timedelta(days=90), not_after=NOW - timedelta(days=1))
    yard.source.issue("revoked")
    yard.source.revoked["revoked"] = NOW
    job, results = yard.run()
    assert counts(job) == (2, 0, 2, 0)
    assert {one: result.code for one, result in results.items()} == {
        "old": "CertificateExpired",
        "revoked": "CertificateRevoked",
    }
    assert yard.inventory() == []


def test_what_was_revoked_after_it_came_is_marked_so(yard):
    yard.source.issue("a")
    yard.run()
    yard.source.revoked["a"] = NOW
    job, results = yard.run()
    assert (counts(job), results["a"].code) == ((1, 0, 1, 0), "CertificateRevoked")
    (held,) = yard.inventory()
    assert status_at(held, NOW) is Status.REVOKED
    assert yard.run()[1]["a"].code == "DuplicateCertificate"


def test_what_was_uploaded_by_hand_keeps_its_name_and_key(yard):
    made = yard.source.issue("a", key=True)
    texts = Bundle(made.pem, made.key_pem, yard.source.middle.pem)
    held, material = yard.services.upload_validate.upload(MANAGER, Upload(texts, name="mine"))
    yard.source.held["a"] = made, None
    job, _ = yard.run()
    assert counts(job) == (1, 0, 1, 0)
    assert yard.inventory() == [held]
    assert yard.services.certificate_store.material(held) == material


def test_two_jobs_over_one_ca_at_once_bring_everything_once(yard):
    for number in range(5):
        yard.source.issue(f"{number}")
    jobs = [yard.start(), yard.start(["1", "3"])]
    yard.work_off()
    done = [yard.outcome(job)[0] for job in jobs]
    assert all(job.done for job in done)
    assert sum(job.uploaded for job in done) == 5
    assert len(yard.inventory()) == 5


def test_a_message_that_comes_twice_counts_once(yard):
    yard.source.issue("a")
    job = yard.start()
    delivered = []
    while tasks := yard.queue.take():
        delivered += tasks
        for task in tasks + tasks:
            yard.sync.run(task, last_try=False)
    for task in delivered:
        yard.sync.run(task, last_try=True)
    assert counts(yard.outcome(job)[0]) == (1, 1, 0, 0)


def test_more_than_one_page_is_read_and_every_chunk_is_a_message_of_its_own():
    yard = Yard()
    made = yard.source.issue("0000")
    number = 2 * CHUNK + 1
    yard.source.held = {f"{n:04}": (made, None) for n in range(number)}
    job, results = yard.run()
    assert (job.total, job.chunks, len(results)) == (number, 3, number)
    assert len(yard.inventory()) == 1


def test_one_that_cannot_be_fetched_does_not_stop_the_others_and_has_failed_in_the_end():
    yard = Yard()
    ids = [f"{number}" for number in range(8)]
    for one in ids:
        yard.source.issue(one)
    yard.source.poison = {"0": BUSY, "5": CrashError()}
    job = yard.start(ids)
    (task,) = yard.queue.take()
    for _ in range(2):
        with pytest.raises((TooManyRequests, CrashError)):
            yard.sync.run(task, last_try=False)
        assert len(yard.inventory()) == 6
        assert not yard.outcome(job)[0].done
    yard.sync.run(task, last_try=True)
    found, results = yard.outcome(job)
    assert (found.done, counts(found)) == (True, (8, 6, 0, 2))
    assert {one for one, r in results.items() if r.outcome is Outcome.FAILED} == {"0", "5"}


def test_a_source_that_is_down_is_not_asked_for_every_single_certificate():
    yard = Yard()
    ids = [f"{number}" for number in range(20)]
    for one in ids:
        yard.source.issue(one)
    yard.source.poison = dict.fromkeys(ids, BUSY)
    yard.start(ids)
    (task,) = yard.queue.take()
    with pytest.raises(TooManyRequests):
        yard.sync.run(task, last_try=False)
    assert yard.source.asked == MOST_FAILURES


def test_a_chunk_that_takes_too_long_comes_again_and_goes_on_where_it_was():
    yard = Yard(source=FakeSource(tells=False))
    ids = [f"{number}" for number in range(6)]
    for one in ids:
        yard.source.issue(one)
    yard.source.before = lambda: yard.services.clock.advance(LONGEST_WORK / 2)
    job = yard.start(ids)
    yard.work_off()
    assert counts(yard.outcome(job)[0]) == (6, 6, 0, 0)
    assert sorted(yard.source.fetched) == ids


def test_a_chunk_whose_certificates_are_slow_and_not_there_ends_all_the_same():
    yard = Yard(source=FakeSource(tells=False))
    yard.source.before = lambda: yard.services.clock.advance(LONGEST_WORK / 2)
    job = yard.start(["a", "b", "c", "d"])
    (task,) = yard.queue.take()
    with pytest.raises(TooManyRequests):
        yard.sync.run(task, last_try=False)
    assert yard.queue.take() == []
    yard.sync.run(task, last_try=True)
    found, results = yard.outcome(job)
    assert (found.done, found.failed) == (True, 4)
    assert {r.code for r in results.values()} == {"CertificateNotFound", "SourceBusy"}


def test_a_failure_does_not_hide_what_another_job_brought():
    yard = Yard(source=FakeSource(tells=False))
    yard.source.issue("a")
    jobs = [yard.start(["a"]), yard.start(["a"])]
    first, second = yard.queue.take()
    yard.sync.run(first, last_try=False)
    yard.services.certificate_store.several = lambda account_id, ids: {}
    yard.source.poison = {"a": BUSY}
    yard.sync.run(second, last_try=True)
    del yard.services.certificate_store.several
    assert yard.outcome(jobs[1])[0].failed == 1
    assert yard.listed() == {"a": "uploaded"}


def test_a_source_that_refuses_ends_the_job_with_its_reason():
    yard = Yard()
    yard.source.issue("a")
    job = yard.start()
    yard.source.failures = [Unprocessable("SourceRefused", "The access key is not known.")]
    yard.work_off()
    found, _ = yard.outcome(job)
    assert (found.done, found.problem) == (True, ("SourceRefused", "The access key is not known."))


@pytest.mark.parametrize("tells", [True, False])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_order_repetition_and_failure_of_deliveries_ends_the_same(tells, data):
    yard = Yard(source=FakeSource(tells=tells))
    for number in range(4):
        yard.source.issue(f"{number}")
    jobs = [yard.start(), yard.start(["0", "2"])]
    for _ in range(data.draw(st.integers(0, 12))):
        tasks = yard.queue.take()
        order = data.draw(st.permutations(tasks))
        kept = order[data.draw(st.integers(0, len(order))) :]
        yard.queue.send(kept)
        for task in order[: len(order) - len(kept)]:
            at = data.draw(st.integers(0, 6))
            yard.source.failures = [None] * at + [data.draw(st.sampled_from([CrashError(), BUSY, None]))]
            try:
                yard.sync.run(task, last_try=False)
            except (CrashError, TooManyRequests):
                yard.queue.send([task])
            if data.draw(st.booleans()):
                yard.queue.send([task])
    yard.source.failures = []
    yard.work_off()
    done = [yard.outcome(job)[0] for job in jobs]
    assert all(job.done and job.total == job.uploaded + job.skipped + job.failed for job in done)
    assert sum(job.uploaded for job in done) == 4
    assert all(job.failed == 0 for job in done)
    assert len({c.id for c in yard.inventory()}) == len(yard.inventory()) == 4
    assert list(yard.services.sync_store.active()) == []


class TestLookingAfter:
    """What the schedule does."""

    def test_what_was_lost_is_sent_again(self):
        yard = Yard()
        yard.source.issue("a")
        job = yard.start()
        yard.queue.take()
        assert yard.sync.sweep() == {"resent": 0, "ended": 0, "started": 0}
        yard.services.clock.advance(STALLED + timedelta(seconds=1))
        assert yard.sync.sweep()["resent"] == 1
        yard.work_off()
        assert counts(yard.outcome(job)[0]) == (1, 1, 0, 0)

    def test_a_job_that_never_ends_is_ended_with_what_is_left_as_failed(self):
        yard = Yard()
        yard.source.issue("a")
        jobs = [yard.start(["a"]), yard.start()]
        yard.queue.take()
        yard.services.clock.advance(LONGEST_JOB + timedelta(minutes=1))
        assert yard.sync.sweep()["ended"] == 2
        named, whole = (yard.outcome(job) for job in jobs)
        assert (named[0].done, named[1]["a"].code) == (True, "JobAbandoned")
        assert (whole[0].done, whole[0].problem[0]) == (True, "JobAbandoned")
        assert yard.sync.sweep() == {"resent": 0, "ended": 0, "started": 0}

    def test_a_schedule_runs_when_it_is_due_and_not_for_what_was_missed(self):
        yard = Yard()
        yard.source.issue("a")
        yard.sync.schedule(MANAGER, CA, 6)
        assert yard.sync.sweep()["started"] == 1
        assert yard.sync.sweep()["started"] == 0
        yard.work_off()
        assert len(yard.inventory()) == 1
        yard.source.issue("b")
        yard.services.clock.advance(timedelta(hours=20))
        assert yard.sync.sweep()["started"] == 1
        yard.work_off()
        assert len(yard.inventory()) == 2
        assert yard.sync.scheduled(MANAGER, CA).due_at == NOW + timedelta(hours=24)
        yard.sync.unschedule(MANAGER, CA)
        yard.services.clock.advance(timedelta(hours=20))
        assert yard.sync.sweep()["started"] == 0

    def test_a_schedule_follows_a_ca_that_was_revoked(self):
        yard = Yard()
        yard.source.issue("a")
        yard.run()
        yard.sync.schedule(MANAGER, CA, 1)
        yard.source.issue("b")
        yard.source.status = AuthorityStatus.REVOKED
        assert yard.sync.sweep()["started"] == 1
        yard.work_off()
        (held,) = yard.inventory()
        assert status_at(held, NOW) is Status.REVOKED
        with pytest.raises(Conflict):
            yard.sync.schedule(MANAGER, CA, 1)

    def test_a_schedule_waits_for_a_busy_source_and_for_its_own_last_run(self):
        yard = Yard()
        yard.source.issue("a")
        yard.sync.schedule(MANAGER, CA, 1)
        yard.source.failures = [BUSY]
        assert yard.sync.sweep()["started"] == 0
        assert yard.sync.sweep()["started"] == 1
        yard.services.clock.advance(timedelta(hours=1, minutes=1))
        assert yard.sync.sweep()["started"] == 0

    def test_a_schedule_whose_ca_is_gone_goes_on_and_says_so_in_the_trail(self):
        yard = Yard()
        yard.sync.schedule(MANAGER, CA, 1)
        yard.source.failures = [NotFound("AuthorityNotFound", "Gone.")]
        yard.sync.sweep()
        refused = [e for e in yard.services.audit_store.events if e.result != "ok"]
        assert [(e.action, e.result) for e in refused] == [("pca.sync", "AuthorityNotFound")]
        assert yard.sync.scheduled(MANAGER, CA).due_at > yard.services.clock()

    def test_one_job_that_cannot_be_looked_after_does_not_stop_the_others(self):
        yard = Yard()
        yard.source.issue("a")
        jobs = [yard.start(["a"]) for _ in range(2)]
        yard.queue.take()
        yard.services.clock.advance(STALLED + timedelta(seconds=1))
        send, calls = yard.queue.send, []

        def fail_once(tasks):
            calls.append(tasks)
            if len(calls) == 1:
                raise CrashError
            send(tasks)

        yard.queue.send = fail_once
        with pytest.raises(ExceptionGroup):
            yard.sync.sweep()
        yard.work_off()
        assert sorted(yard.outcome(job)[0].done for job in jobs) == [False, True]


class TestRefusals:
    """What cannot be started, and what to do about it."""

    @pytest.mark.parametrize(
        ("ca", "source", "kind", "code"),
        [
            ("fake.here.two", None, NotFound, "AuthorityNotFound"),
            ("nowhere.here.one", None, NotFound, "AuthorityNotFound"),
            ("..", None, NotFound, "AuthorityNotFound"),
            (CA, "nowhere", NotFound, "SourceNotFound"),
            ("fake.there.one", None, Unprocessable, "RegionNotSupported"),
        ],
    )
    def test_a_ca_that_is_not_there(self, ca, source, kind, code):
        with pytest.raises(kind) as refused:
            Yard().sync.start(MANAGER, ca, None, source=source, region=None)
        assert refused.value.code == code
        assert refused.value.hint

    def test_another_region_than_that_of_the_ca(self):
        with pytest.raises(Unprocessable) as refused:
            Yard().sync.start(MANAGER, CA, None, source="fake", region="elsewhere")
        assert refused.value.code == "RegionNotSupported"
        assert "here" in refused.value.hint

    def test_a_revoked_ca(self):
        yard = Yard()
        yard.source.status = AuthorityStatus.REVOKED
        with pytest.raises(Conflict) as refused:
            yard.start()
        assert refused.value.code == "AuthorityNotActive"

    def test_a_source_that_is_not_configured_says_how_to(self):
        yard = Yard(source=FakeSource(needed="Set the key in the drawer."))
        with pytest.raises(Unprocessable) as refused:
            yard.start()
        assert (refused.value.code, refused.value.hint) == ("SourceNotConfigured", "Set the key in the drawer.")

    def test_too_many_certificates(self):
        with pytest.raises(TooLarge) as refused:
            Yard().start([f"{number}" for number in range(MAX_SELECTED + 1)])
        assert refused.value.code == "TooManyCertificates"


def test_another_account_sees_neither_job_nor_schedule():
    yard = Yard()
    yard.source.issue("a")
    job = yard.start()
    yard.sync.schedule(MANAGER, CA, 1)
    stranger = replace(MANAGER, account_id=OTHER_ACCOUNT)
    with pytest.raises(NotFound):
        yard.sync.job(stranger, job.id)
    with pytest.raises(NotFound):
        yard.sync.scheduled(stranger, CA)
    assert yard.sync.jobs(stranger, limit=10, cursor=None).items == ()


def test_what_is_on_its_way_is_told_in_the_list():
    yard = Yard()
    for one in ("a", "b"):
        yard.source.issue(one)
    yard.start(["a"])
    assert yard.listed() == {"a": "syncing", "b": "not_uploaded"}
    yard.start()
    assert yard.listed() == {"a": "syncing", "b": "syncing"}
    yard.work_off()
    assert set(yard.listed().values()) == {"uploaded"}


def test_the_trail_tells_who_started_a_job_and_what_came_in():
    yard = Yard()
    yard.source.issue("a")
    job, results = yard.run()
    trail = [e for e in yard.services.audit_store.events if e.action.startswith("pca.")]
    assert [(e.action, e.actor, e.target) for e in trail] == [
        ("pca.sync", MANAGER.token_id, job.id),
        ("pca.synchronised", MANAGER.token_id, job.id),
    ]
    assert trail[1].detail["uploaded"] == results["a"].certificate_id
    assert {e.account_id for e in trail} == {ACCOUNT}


def test_a_key_is_nowhere_but_under_its_seal():
    yard = Yard()
    made = yard.source.issue("a", kind="rsa2048")
    yard.run()
    secret = made.key_pem.splitlines()[1]
    kept = [*yard.services.sync_store.rows(ACCOUNT), *yard.services.audit_store.events, *yard.inventory()]
    assert secret not in repr(kept)
