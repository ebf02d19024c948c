"""The whole service over its real stores, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import boto3

from chalicelib.config import Settings
from chalicelib.store.tables import TABLES
from chalicelib.wiring import AwsServices
from tests.support.fakes import FixedClock
from tests.support.service import KeptLog
from tests.support.tables import REGION, moto_aws


class MotoServices(KeptLog, AwsServices):
    """The service's functions on AWS as moto has it; the clock stands still."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.clock = FixedClock()


@dataclass
class Cloud:
    """The service, and what lies below it."""

    services: MotoServices
    sent: list = field(default_factory=list)

    @property
    def bucket(self) -> str:
        return self.services.settings.drop_bucket

    @property
    def s3(self):
        return boto3.client("s3", region_name=REGION)

    def put(self, key: str, content: str) -> None:
        """Drop a file."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.encode())

    def messages(self, url: str | None = None) -> list[dict]:
        """What waits in a queue, usually that of synchronisation, as Lambda gets it; each is given once."""
        sqs, url = boto3.client("sqs", region_name=REGION), url or self.services.settings.sync_queue_url
        found = []
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += [{"messageId": m["MessageId"], "body": m["Body"], "attributes": {}} for m in batch]
        return found

    def objects(self) -> dict[str, bytes]:
        """What lies in the bucket now."""
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {o["Key"]: self.s3.get_object(Bucket=self.bucket, Key=o["Key"])["Body"].read() for o in found}

    def items(self) -> list[dict]:
        """Every item of every table, as DynamoDB keeps it."""
        client = boto3.client("dynamodb", region_name=REGION)
        return [item for model in TABLES for item in client.scan(TableName=model.Meta.table_name)["Items"]]


@contextmanager
def service_on_moto() -> Iterator[Cloud]:
    """The service with a KMS key and a bucket of its own."""
    sent: list = []
    with moto_aws(sent) as prefix:
        key = boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["KeyId"]
        bucket = f"{prefix}drop"
        s3 = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        sqs = boto3.client("sqs", region_name=REGION)
        queues = [sqs.create_queue(QueueName=f"{prefix}{name}")["QueueUrl"] for name in ("sync", "scan")]
        settings = Settings(
            stage="test",
            region=REGION,
            table_prefix=prefix,
            kms_key_id=key,
            drop_bucket=bucket,
            sync_queue_url=queues[0],
            scan_queue_url=queues[1],
            allow_private_addresses="yes",
        )
        boto3.client("sesv2", region_name=REGION).create_email_identity(EmailIdentity=settings.mail_from)
        yield Cloud(MotoServices(settings), sent)
