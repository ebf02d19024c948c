"""What every drop box does."""

from __future__ import annotations

import boto3
import pytest

from chalicelib.ports import DroppedObject
from chalicelib.store.dropbox import S3DropBox
from tests.support.fakes import MemoryDropBox
from tests.support.records import ulid
from tests.support.tables import REGION


class Bucket:
    """A real bucket on moto, with the fake's `put`."""

    def __init__(self):
        self._client = boto3.client("s3", region_name=REGION)
        self._name = ulid().lower()
        self._client.create_bucket(Bucket=self._name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self._client.put_bucket_versioning(Bucket=self._name, VersioningConfiguration={"Status": "Enabled"})
        self.box = S3DropBox(self._client, self._name)

    def put(self, key, content):
        made = self._client.put_object(Bucket=self._name, Key=key, Body=content)
        found = self._client.head_object(Bucket=self._name, Key=key)
        return DroppedObject(key, made["VersionId"], len(content), found["LastModified"])


@pytest.fixture(params=["fake", "s3"])
def bucket(request):
    if request.param == "s3":
        request.getfixturevalue("aws")
        return Bucket()
    fake = MemoryDropBox()
    fake.box = fake
    return fake


def test_current_objects_are_listed_by_prefix_in_order(bucket):
    bucket.put("drop/1/b.pem", b"old")
    two, one = bucket.put("drop/1/b.pem", b"new"), bucket.put("drop/1/a.key", b"key")
    bucket.put("drop/2/a.key", b"other")
    assert list(bucket.box.listing("drop/1/")) == [one, two]


def test_a_version_is_read_until_it_is_gone(bucket):
    item = bucket.put("drop/1/a.pem", b"content")
    assert bucket.box.read(item) == b"content"
    bucket.box.delete([item])
    bucket.box.delete([item])
    assert bucket.box.read(item) is None
    assert list(bucket.box.listing("drop/")) == []


def test_deleting_a_version_spares_the_one_that_came_after(bucket):
    first = bucket.put("drop/1/a.pem", b"first")
    second = bucket.put("drop/1/a.pem", b"second")
    bucket.box.delete([first])
    assert list(bucket.box.listing("drop/")) == [second]
    assert bucket.box.read(second) == b"second"


def test_a_version_that_was_replaced_does_not_come_to_light_again(bucket):
    bucket.put("drop/1/a.pem", b"first")
    beside = bucket.put("drop/1/a.pem.bak", b"beside")
    second = bucket.put("drop/1/a.pem", b"second")
    bucket.box.move(second, "failed/1/a.pem")
    assert list(bucket.box.listing("drop/")) == [beside]


def test_a_moved_version_is_found_elsewhere_and_only_there(bucket):
    item = bucket.put("drop/1/a.pem", b"content")
    bucket.box.move(item, "failed/1/a.pem")
    bucket.box.move(item, "failed/1/a.pem")
    assert list(bucket.box.listing("drop/")) == []
    (moved,) = bucket.box.listing("failed/")
    assert bucket.box.read(moved) == b"content"


def test_a_report_replaces_the_one_before(bucket):
    bucket.box.write_json("done/1/a.json", b"{}")
    bucket.box.write_json("done/1/a.json", b"[]")
    (found,) = bucket.box.listing("done/")
    assert bucket.box.read(found) == bucket.box.current("done/1/a.json") == b"[]"


def test_under_a_key_that_holds_nothing_nothing_is_found(bucket):
    assert bucket.box.current("done/1/a.json") is None
    bucket.box.delete([bucket.put("drop/1/a.pem", b"content")])
    assert bucket.box.current("drop/1/a.pem") is None
