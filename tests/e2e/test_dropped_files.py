"""Files dropped into the bucket, on the running service: any order, twice, many at once."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.test_upload_by_api import fresh

PATIENCE = 40.0


def drop(stack, account: str, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        body = content if isinstance(content, bytes) else content.encode()
        stack.s3.put_object(Bucket=stack.bucket, Key=f"drop/{account}/{name}", Body=body)


def wait_for(stack, key: str):
    """The JSON at a key, when it appears."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix=key).get("Contents", [])
        if any(item["Key"] == key for item in found):
            return json.loads(stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read())
        time.sleep(0.2)
    raise AssertionError(f"{key} did not appear")


def lying(stack, prefix: str) -> list[str]:
    return [i["Key"] for i in stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix=prefix).get("Contents", [])]


def test_a_bundle_is_stored_and_leaves_a_receipt(stack, api, account):
    leaf, middle, _ = fresh("bundle.example.com")
    drop(stack, account, {"bundle.pem": leaf.pem + middle.pem + leaf.key_pem})
    receipt = wait_for(stack, f"done/{account}/bundle.json")
    stored = api.get(f"/v1/certificates/{receipt['certificate_id']}").json()
    assert (stored["name"], stored["fingerprint_sha256"]) == ("bundle", leaf.fingerprint)
    assert stored["has_private_key"]
    assert lying(stack, f"drop/{account}/bundle") == []


def test_a_pair_is_stored_whichever_half_comes_first(stack, account):
    one, middle, _ = fresh("key-first.example.com")
    drop(stack, account, {"key-first.key": one.key_pem, "key-first.crt": one.pem + middle.pem})
    two, middle, _ = fresh("key-last.example.com")
    drop(stack, account, {"key-last.pem": two.pem + middle.pem, "key-last.key": two.key_pem})
    for name, leaf in (("key-first", one), ("key-last", two)):
        assert wait_for(stack, f"done/{account}/{name}.json")["fingerprint_sha256"] == leaf.fingerprint


def test_a_refused_file_is_moved_next_to_a_report_of_all_findings(stack, account):
    leaf, _, _ = fresh("bad.example.com")
    other, _, _ = fresh("other.example.com", number=2)
    drop(stack, account, {"bad.pem": leaf.pem + other.key_pem})
    report = wait_for(stack, f"failed/{account}/bad.json")
    assert [f["code"] for f in report["error"]["findings"]] == ["KeyMismatch", "ChainIncomplete"]
    assert f"failed/{account}/bad.pem" in lying(stack, f"failed/{account}/")
    assert lying(stack, f"drop/{account}/bad") == []


def test_an_object_of_ten_megabytes_is_refused_unread(stack, account):
    drop(stack, account, {"huge.pem": b"A" * 10_000_000})
    report = wait_for(stack, f"failed/{account}/huge.json")
    assert report["error"]["code"] == "RequestTooLarge"


def test_a_drop_for_an_account_that_does_not_exist_is_reported(stack):
    leaf, middle, _ = fresh("nobody.example.com")
    drop(stack, "9999999999999999", {"a.pem": leaf.pem + middle.pem + leaf.key_pem})
    assert wait_for(stack, "failed/9999999999999999/a.json")["error"]["code"] == "AccountNotFound"


def test_eight_pairs_at_once_are_all_stored(stack, account, api):
    made = [fresh(f"many-{n}.example.com", number=50 + n) for n in range(8)]

    def send(n):
        leaf, middle, _ = made[n]
        drop(stack, account, {f"many-{n}.pem": leaf.pem + middle.pem, f"many-{n}.key": leaf.key_pem})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    ids = {wait_for(stack, f"done/{account}/many-{n}.json")["certificate_id"] for n in range(8)}
    assert len(ids) == 8
    assert lying(stack, f"drop/{account}/many-") == []


def test_an_event_that_comes_again_changes_nothing(stack, account, api):
    leaf, middle, _ = fresh("twice.example.com")
    drop(stack, account, {"twice.pem": leaf.pem + middle.pem + leaf.key_pem})
    receipt = wait_for(stack, f"done/{account}/twice.json")
    event = {"Records": [{"s3": {"bucket": {"name": stack.bucket}, "object": {"key": f"drop/{account}/twice.pem"}}}]}
    stack.sqs.send_message(QueueUrl=stack.drop_queue_url, MessageBody=json.dumps(event))
    time.sleep(3)
    assert lying(stack, f"failed/{account}/twice") == []
    listed = api.get("/v1/certificates", params={"domain": "twice.example.com"}).json()["items"]
    assert [c["id"] for c in listed] == [receipt["certificate_id"]]
