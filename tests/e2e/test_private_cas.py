"""Private CAs on the running service: tree, synchronisation, inventory, and what a killed worker leaves."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

PATIENCE = 60.0
#: What a schedule sends.
TICK = {
    **dict.fromkeys(("version", "id", "account", "region", "detail-type", "source"), ""),
    "time": "2026-01-01T00:00:00Z",
    "resources": [],
    "detail": {},
}


@pytest.fixture(scope="module")
def issuing(stack):
    """An intermediate of the built-in CA with its root."""
    with stack.client() as api:
        root = api.post("/v1/pca/cas", json={"kind": "root", "common_name": "Root", "algorithm": "ECC"}).json()
        body = {"kind": "intermediate", "parent": root["id"], "common_name": "Issuing", "algorithm": "ECC"}
        return root, api.post("/v1/pca/cas", json=body).json()


def issue(api, ca, host, **more):
    answer = api.post(f"/v1/pca/cas/{ca['id']}/certificates", json={"common_name": host, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def synchronise(api, **body):
    """A job, once it is done."""
    answer = api.post("/v1/pca/sync-jobs", json=body)
    assert answer.status_code == 202, answer.text
    job, end = answer.json(), time.monotonic() + PATIENCE
    while job["state"] != "done":
        assert time.monotonic() < end, job
        time.sleep(0.2)
        job = api.get(f"/v1/pca/sync-jobs/{job['id']}").json()
    return job


def statuses(api, ca):
    return {c["id"]: c["sync_status"] for c in api.get(f"/v1/pca/cas/{ca}/certificates?limit=100").json()["items"]}


def test_a_certificate_goes_from_the_tree_into_the_inventory_once(api, issuing):
    root, ca = issuing
    tree = {item["id"]: item["parent"] for item in api.get("/v1/pca/cas?source=builtin").json()["items"]}
    assert tree[ca["id"]] == root["id"]
    made = issue(api, ca, "one.example.internal")
    assert statuses(api, ca["id"])[made["id"]] == "not_uploaded"
    job = synchronise(api, ca=ca["id"], source="builtin", certificate_ids=[made["id"]])
    assert (job["total"], job["uploaded"]) == (1, 1)
    assert statuses(api, ca["id"])[made["id"]] == "uploaded"
    again = synchronise(api, ca=ca["id"])
    assert (again["uploaded"], again["failed"]) == (0, 0)
    held = api.get(f"/v1/certificates/{job['results'][0]['inventory_id']}").json()
    assert (held["source"], held["has_private_key"], held["domains"]) == ("pca", True, ["one.example.internal"])


def test_a_certificate_for_two_years_carries_the_risk_tag(api, issuing):
    _, ca = issuing
    made = issue(api, ca, "two-years.example.internal", validity_days=730)
    synchronise(api, ca=ca["id"], certificate_ids=[made["id"]])
    (held,) = api.get("/v1/certificates?domain=two-years.example.internal").json()["items"]
    assert "LeakageRisk" in [risk["code"] for risk in held["risks"]]
    detail = api.get(f"/v1/certificates/{held['id']}").json()
    assert "one year or less" in next(f["hint"] for f in detail["findings"] if f["code"] == "LeakageRisk")


def test_openssl_takes_what_was_issued_and_refuses_what_was_revoked(api, issuing, tmp_path):
    _, ca = issuing
    good, bad = (issue(api, ca, f"{name}.example.internal") for name in ("good", "bad"))
    synchronise(api, ca=ca["id"])
    assert api.post(f"/v1/pca/certificates/{bad['id']}/revocation", json={"reason": "key_compromise"}).is_success
    lists = [api.get(f"/v1/pca/cas/{one['id']}/crl?format=pem").text for one in issuing]
    (tmp_path / "trusted.pem").write_text("".join([*lists, *(one["certificate_pem"] for one in issuing)]))
    for made, accepted in ((good, True), (bad, False)):
        (tmp_path / "leaf.pem").write_text(made["certificate_pem"])
        command = ["openssl", "verify", "-crl_check_all", "-CAfile", "trusted.pem", "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is accepted, done.stderr
    (held,) = api.get("/v1/certificates?domain=bad.example.internal").json()["items"]
    assert held["status"] == "revoked"


def test_alibaba_is_walked_from_tree_to_inventory_and_a_repeat_uploads_nothing(api):
    source = next(s for s in api.get("/v1/pca/sources").json()["items"] if s["id"] == "alibaba")
    assert (source["configured"], source["emulated"]) == (True, True)
    tree = api.get(f"/v1/pca/cas?source=alibaba&region={source['regions'][0]}").json()["items"]
    (ca,) = (c for c in tree if c["kind"] == "intermediate" and c["status"] == "active")
    assert ca["parent"] in {c["id"] for c in tree if c["kind"] == "root"}
    before = statuses(api, ca["id"])
    assert set(before.values()) == {"not_uploaded"}
    job = synchronise(api, source="alibaba", region=ca["region"], ca=ca["id"])
    assert job["total"] == len(before) == job["uploaded"] + job["skipped"] + job["failed"]
    assert job["uploaded"] > 15
    assert job["failed"] == 1  # its certificate is damaged
    after = statuses(api, ca["id"])
    assert sorted(after.values()).count("uploaded") == job["uploaded"]
    again = synchronise(api, source="alibaba", ca=ca["id"])
    assert again["uploaded"] == 0
    keyless = [c for c in api.get("/v1/certificates?source=pca&limit=100").json()["items"] if not c["has_private_key"]]
    assert len(keyless) == 2
    detail = api.get(f"/v1/certificates/{keyless[0]['id']}").json()
    assert "PrivateKeyElsewhere" in [f["code"] for f in detail["findings"]]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"ca": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, 404, "AuthorityNotFound"),
        ({"source": "nowhere", "ca": "x"}, 404, "SourceNotFound"),
        ({"source": "alibaba", "region": "eu-north-9", "ca": "alibaba.eu-north-9.x"}, 422, "RegionNotSupported"),
        ({"source": "aws", "ca": "aws.us-east-1.123456789012.x"}, 422, "SourceNotConfigured"),
        ({"ca": "x", "certificate_ids": [str(number) for number in range(100_001)]}, 413, "TooManyCertificates"),
        ({"ca": "x", "certificate_ids": []}, 400, "InvalidRequest"),
    ],
)
def test_what_cannot_be_synchronised_is_refused_with_what_to_do(api, body, status, code):
    answer = api.post("/v1/pca/sync-jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["hint"]


def test_a_schedule_brings_what_is_new(api, issuing, stack):
    _, ca = issuing
    assert api.put(f"/v1/pca/cas/{ca['id']}/schedule", json={"every_hours": 1}).is_success
    made = issue(api, ca, "scheduled.example.internal")
    functions = stack.aws("lambda").list_functions()["Functions"]
    (name,) = (f["FunctionName"] for f in functions if "PcaSyncSchedule" in f["FunctionName"])
    answer = stack.aws("lambda").invoke(FunctionName=name, Payload=json.dumps(TICK))
    assert "FunctionError" not in answer, answer["Payload"].read()
    end = time.monotonic() + PATIENCE
    while statuses(api, ca["id"])[made["id"]] != "uploaded":
        assert time.monotonic() < end
        time.sleep(0.2)
    shown = api.get(f"/v1/pca/cas/{ca['id']}/schedule").json()
    assert shown["last_job"] is not None
    assert api.delete(f"/v1/pca/cas/{ca['id']}/schedule").status_code == 204
