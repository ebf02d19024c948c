"""The drop bucket: S3 objects by exact version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chalicelib.ports import DroppedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3DropBox:
    """Implements `chalicelib.ports.DropBox` on a bucket with versioning.

    Needs `s3:ListBucket` beside `s3:ListBucketVersions`: without it, S3 says that what is gone is forbidden.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def listing(self, prefix: str) -> Iterator[DroppedObject]:
        """The current objects under a prefix: one request for each 1,000 versions."""
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for found in page.get("Versions", ()):
                if found["IsLatest"]:
                    yield DroppedObject(found["Key"], found["VersionId"], found["Size"], found["LastModified"])

    def read(self, item: DroppedObject) -> bytes | None:
        """The content of exactly this version: one request."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=item.key, VersionId=item.version)
            return answer["Body"].read()
        except self._client.exceptions.ClientError as error:
            _raise_unless_gone(error)
            return None

    def current(self, key: str) -> bytes | None:
        """What lies under a key now: one request."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.ClientError as error:
            _raise_unless_gone(error)
            return None

    def write_json(self, key: str, content: bytes) -> None:
        """Write a receipt or report: one request."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/json")

    def move(self, item: DroppedObject, key: str) -> None:
        """Copy this version within S3, then delete it: four requests, more for several GB."""
        source: Any = {"Bucket": self._bucket, "Key": item.key, "VersionId": item.version}
        try:
            # Not copy_object, which ends at 5 GB: a huge file would fail for ever.
            # Tags stay behind, since reading them would need rights of its own.
            self._client.copy(source, self._bucket, key, ExtraArgs={"TaggingDirective": "REPLACE"})
        except self._client.exceptions.ClientError as error:
            _raise_unless_gone(error)
            return
        self.delete([item])

    def delete(self, items: Sequence[DroppedObject]) -> None:
        """Delete these versions, after those that they had replaced: two requests each, mostly."""
        for item in items:
            for version in (*reversed(self._replaced_by(item)), item.version):
                self._client.delete_object(Bucket=self._bucket, Key=item.key, VersionId=version)

    def _replaced_by(self, item: DroppedObject) -> list[str]:
        """Older versions under the same key, newest first: without them, one would become current again."""
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=item.key)
        versions = [v["VersionId"] for page in pages for v in page.get("Versions", ()) if v["Key"] == item.key]
        return versions[versions.index(item.version) + 1 :] if item.version in versions else []


def _raise_unless_gone(error: Any) -> None:  # noqa: ANN401 - botocore makes its exceptions at run time
    code = error.response["Error"]["Code"]
    if code not in {"NoSuchKey", "NoSuchVersion", "404"}:
        raise error
