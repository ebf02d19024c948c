"""Private CAs and their synchronisation over HTTP, and by events."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from chalicelib.api import events
from chalicelib.domain.errors import TooManyRequests, Unprocessable
from chalicelib.domain.sync import Task
from chalicelib.functions.pca_batch_sync import MOST_WAITS
from tests.support.fake_source import REF, FakeSource
from tests.support.pca import request
from tests.support.service import Client, MemoryServices, pages, tenant

CA = str(REF)


@pytest.fixture
def services():
    made = MemoryServices()
    made.sources = {"fake": FakeSource()}
    return made


@pytest.fixture
def example(services):
    return tenant(Client(services))


def work_off(services, tries: int = 1) -> list:
    """Have the worker take what waits; gives what it wants to have again."""
    again = []
    while tasks := services.sync_queue.take():
        for number, task in enumerate(tasks):
            body = json.dumps(asdict(task))
            message = {"messageId": f"{number}", "body": body, "attributes": {"ApproximateReceiveCount": f"{tries}"}}
            again += events.pca_sync_worker(services, {"Records": [message]}, "request")["batchItemFailures"]
    return again


def synchronised(services, example, **body) -> dict:
    job = example.manager.post("/v1/pca/sync-jobs", {"ca": CA} | body)
    assert (job.status, job.json["state"]) == (202, "running")
    work_off(services)
    return example.viewer.get(f"/v1/pca/sync-jobs/{job.json['id']}").json


def test_sources_say_what_is_missing():
    services = MemoryServices()
    found = {s["id"]: s for s in tenant(Client(services)).viewer.get("/v1/pca/sources").json["items"]}
    assert list(found) == ["builtin", "alibaba", "aws"]
    assert (found["builtin"]["configured"], found["builtin"]["how_to"]) == (True, "")
    assert found["alibaba"]["configured"] is False
    assert "access_key_id" in found["alibaba"]["how_to"]
    assert "role_arn" in found["aws"]["how_to"]
    assert all(source["regions"] for source in found.values())


def test_a_ca_is_shown_with_its_certificates_and_where_they_stand(services, example):
    source = services.sources["fake"]
    for number in range(5):
        source.issue(f"{number}")
    (ca,) = example.viewer.get("/v1/pca/cas?source=fake&region=here").json["items"]
    assert (ca["id"], ca["source"], ca["region"], ca["kind"]) == (CA, "fake", "here", "intermediate")
    listed = [c for page in pages(example.viewer, f"/v1/pca/cas/{CA}/certificates", limit=2) for c in page]
    assert [(c["id"], c["sync_status"], c["certificate_id"]) for c in listed] == [
        (f"{n}", "not_uploaded", None) for n in range(5)
    ]
    job = synchronised(services, example, certificate_ids=["1"])
    shown = {c["id"]: c for c in example.viewer.get(f"/v1/pca/cas/{CA}/certificates").json["items"]}
    assert shown["1"]["sync_status"] == "uploaded"
    assert shown["1"]["certificate_id"] == job["results"][0]["inventory_id"]
    assert example.viewer.get(f"/v1/certificates/{shown['1']['certificate_id']}").json["source"] == "pca"


def test_a_job_tells_how_far_it_is_and_what_came_of_each(services, example):
    source = services.sources["fake"]
    source.issue("good")
    bad = source.issue("bad")
    source.held["bad"] = bad, source.issue("other", kind="p384").key_pem
    job = synchronised(services, example, certificate_ids=["good", "bad", "gone"])
    assert {name: job[name] for name in ("state", "total", "uploaded", "skipped", "failed", "problem")} == {
        "state": "done",
        "total": 3,
        "uploaded": 1,
        "skipped": 0,
        "failed": 2,
        "problem": None,
    }
    rows = {r["certificate_id"]: (r["outcome"], r["code"]) for r in job["results"]}
    assert rows["good"] == ("uploaded", None)
    assert rows["bad"] == ("failed", "KeyMismatch")
    assert rows["gone"] == ("failed", "CertificateNotFound")
    assert [j["id"] for j in example.viewer.get("/v1/pca/sync-jobs").json["items"]] == [job["id"]]


def test_long_results_come_in_pages(services, example):
    source = services.sources["fake"]
    made = source.issue("0")
    source.held = {f"{n:05}": (made, None) for n in range(1_150)}
    job = synchronised(services, example)
    rest = example.viewer.get(f"/v1/pca/sync-jobs/{job['id']}?cursor={job['next_cursor']}").json
    assert (len(job["results"]), len(rest["results"]), rest["next_cursor"]) == (1_000, 150, None)
    refused = example.viewer.get(f"/v1/pca/sync-jobs/{job['id']}?cursor=x")
    assert (refused.status, refused.code) == (400, "InvalidCursor")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"ca": CA, "certificate_ids": [f"{n}" for n in range(100_001)]}, 413, "TooManyCertificates"),
        ({"ca": CA, "certificate_ids": ["x" * 60] * 100_001}, 413, "RequestTooLarge"),
        ({"ca": CA, "certificate_ids": []}, 400, "InvalidRequest"),
        ({"ca": CA, "certificate_ids": "1"}, 400, "InvalidRequest"),
        ({"ca": "x" * 129}, 400, "InvalidRequest"),
        ({"ca": "../../etc"}, 404, "AuthorityNotFound"),
        ({}, 400, "InvalidRequest"),
    ],
)
def test_what_cannot_be_a_job_is_refused(example, body, status, code):
    answer = example.manager.post("/v1/pca/sync-jobs", body)
    assert (answer.status, answer.code) == (status, code)
    if status == 413:
        assert "several requests" in answer.json["error"]["hint"]


def test_a_busy_source_has_the_message_come_again_later_and_in_the_end_what_is_left_failed(services, example):
    source = services.sources["fake"]
    source.issue("a")
    job = example.manager.post("/v1/pca/sync-jobs", {"ca": CA, "certificate_ids": ["a"]}).json
    source.failures = [TooManyRequests("SourceBusy", "Later.")] * 100
    services.sync_queue.delays.clear()
    assert work_off(services) == []
    assert services.sync_queue.delays[:6] == [15, 30, 60, 120, 240, 300]
    assert len(services.sync_queue.delays) == MOST_WAITS
    ended = example.viewer.get(f"/v1/pca/sync-jobs/{job['id']}").json
    assert (ended["state"], ended["failed"], ended["results"][0]["code"]) == ("done", 1, "SourceBusy")


def test_a_message_that_came_often_enough_marks_what_is_left_as_failed(services, example):
    source = services.sources["fake"]
    source.issue("a")
    job = example.manager.post("/v1/pca/sync-jobs", {"ca": CA, "certificate_ids": ["a"]}).json
    source.failures = [RuntimeError("broken")]
    assert work_off(services, tries=5) == []
    ended = example.viewer.get(f"/v1/pca/sync-jobs/{job['id']}").json
    assert (ended["state"], ended["failed"], ended["results"][0]["code"]) == ("done", 1, "InternalError")


def test_a_source_whose_credentials_cannot_be_read_is_listed_with_what_is_wrong(services, example):
    def refuse(account_id):
        raise Unprocessable("SourceRefused", "The secret is not JSON.", "Write it again.")

    services.sources["fake"].setup_needed = refuse
    (listed,) = example.viewer.get("/v1/pca/sources").json["items"]
    assert (listed["configured"], listed["how_to"]) == (False, "The secret is not JSON. Write it again.")


def test_revoking_a_ca_marks_what_it_and_those_below_it_issued():
    services = MemoryServices()
    example = tenant(Client(services))
    ids, body = [], {"kind": "root", "common_name": "Level 0", "algorithm": "ECC"}
    for level in range(3):
        ids.append(example.admin.post("/v1/pca/cas", body).json["id"])
        body = {"kind": "intermediate", "common_name": f"Level {level + 1}", "parent": ids[-1], "algorithm": "ECC"}
    for ca in ids:
        example.manager.post(f"/v1/pca/cas/{ca}/certificates", {"common_name": f"{ca.lower()}.example.com"})
        example.manager.post("/v1/pca/sync-jobs", {"ca": ca})
    work_off(services)
    late = example.manager.post(f"/v1/pca/cas/{ids[2]}/certificates", {"common_name": "late.example.com"}).json["id"]
    assert example.admin.post(f"/v1/pca/cas/{ids[1]}/revocation", {}).status == 200
    work_off(services)
    found = {c["domains"][0]: c["status"] for c in example.viewer.get("/v1/certificates").json["items"]}
    assert found == {
        f"{ids[0].lower()}.example.com": "issued",
        f"{ids[1].lower()}.example.com": "revoked",
        f"{ids[2].lower()}.example.com": "revoked",
    }
    assert late not in [c["id"] for c in example.viewer.get("/v1/certificates").json["items"]]


def test_an_unforeseen_failure_sends_the_message_back_and_tells_the_log_only_where_it_came_from(services, example):
    source = services.sources["fake"]
    source.issue("a")
    example.manager.post("/v1/pca/sync-jobs", {"ca": CA, "certificate_ids": ["a"]})
    source.failures = [RuntimeError("a private key")]
    assert work_off(services) == [{"itemIdentifier": "0"}]
    assert "RuntimeError" in services.log_stream.getvalue()
    assert "a private key" not in services.log_stream.getvalue()


def test_a_message_of_a_job_that_is_not_there_is_done_with(services):
    services.sync_queue.send([Task("account", "nothing", chunk=0)])
    assert work_off(services) == []


def test_a_job_is_started_directly_for_the_account_that_is_named(services, example):
    answer = events.pca_batch_sync(services, {"account_id": example.account_id, "ca": CA}, "request-1")
    assert json.loads(json.dumps(answer))["job"]["state"] == "running"
    refused = events.pca_batch_sync(services, {"account_id": "4711", "ca": CA}, "request-1")
    assert refused["error"]["code"] == "NotFound"
    assert events.pca_batch_sync(services, {"ca": CA}, "request-1")["error"]["code"] == "InvalidRequest"


def test_a_schedule_is_set_shown_and_removed_and_runs(services, example):
    services.sources["fake"].issue("a")
    place = f"/v1/pca/cas/{CA}/schedule"
    assert example.viewer.get(place).status == 404
    assert example.manager.put(place, {"every_hours": 0}).status == 400
    assert example.manager.put(place, {}).json["every_hours"] == 24
    assert events.pca_sync_schedule(services, "request")["started"] == 1
    work_off(services)
    shown = example.viewer.get(place).json
    assert shown["last_job"] == example.viewer.get("/v1/pca/sync-jobs").json["items"][0]["id"]
    assert example.manager.delete(place).status == 204
    assert example.manager.delete(place).status == 404


def test_revoking_at_the_built_in_ca_marks_the_certificate_in_the_inventory_by_either_id():
    services = MemoryServices()
    example = tenant(Client(services))
    root = example.admin.post("/v1/pca/cas", {"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json["id"]
    ids = [
        example.manager.post(f"/v1/pca/cas/{root}/certificates", {"common_name": f"{n}.example.com"}).json["id"]
        for n in range(2)
    ]
    example.manager.post("/v1/pca/sync-jobs", {"ca": root})
    work_off(services)
    listed = {c["id"]: c for c in example.viewer.get(f"/v1/pca/cas/{root}/certificates").json["items"]}
    for named in (ids[0], listed[ids[1]]["certificate_id"]):
        answer = example.manager.post(f"/v1/pca/certificates/{named}/revocation", {"reason": "superseded"})
        assert (answer.status, answer.json["status"]) == (200, "revoked")
    for one in listed.values():
        assert example.viewer.get(f"/v1/certificates/{one['certificate_id']}").json["status"] == "revoked"
    assert len(example.admin.get(f"/v1/pca/cas/{root}/crl").content) > 100


def test_deleting_from_the_inventory_leaves_what_the_built_in_ca_holds():
    services = MemoryServices()
    example = tenant(Client(services))
    root = example.admin.post("/v1/pca/cas", {"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json["id"]
    example.manager.post(f"/v1/pca/cas/{root}/certificates", {"common_name": "a.example.com"})
    for _ in range(2):
        example.manager.post("/v1/pca/sync-jobs", {"ca": root})
        work_off(services)
        (held,) = example.viewer.get("/v1/certificates").json["items"]
        assert "PRIVATE KEY" in example.admin.get(f"/v1/certificates/{held['id']}/download").text
        assert example.admin.delete(f"/v1/certificates/{held['id']}?confirm={held['name']}").status == 204


def test_a_certificate_for_a_request_made_elsewhere_comes_without_key_and_says_so():
    services = MemoryServices()
    example = tenant(Client(services))
    root = example.admin.post("/v1/pca/cas", {"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json["id"]
    text, _ = request("a.example.com", "a.example.com")
    example.manager.post(f"/v1/pca/cas/{root}/certificates", {"csr": text})
    example.manager.post("/v1/pca/sync-jobs", {"ca": root})
    work_off(services)
    (held,) = example.viewer.get("/v1/certificates").json["items"]
    assert held["has_private_key"] is False
    detail = example.viewer.get(f"/v1/certificates/{held['id']}").json
    assert "PrivateKeyElsewhere" in [f["code"] for f in detail["findings"]]
