"""The queues of the workers, of batch synchronisation and of the scan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from chalicelib.domain.scans import ScanTask
from chalicelib.domain.sync import Task

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: SQS takes so many messages in one request.
BATCH: Final = 10


class NotSentError(Exception):
    """SQS refused messages; what was to be done is written down, and is sent again when it is looked after."""


class SqsTaskQueue:
    """Implements `chalicelib.ports.TaskQueue`."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, tasks: Sequence[Task], *, delay: int = 0) -> None:
        """Send messages, ten to a request, to come after so many seconds at the earliest."""
        _send(self._client, self._url, tasks, delay)


class SqsScanQueue:
    """Implements `chalicelib.ports.ScanQueue`."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, tasks: Sequence[ScanTask]) -> None:
        """Send messages, ten to a request."""
        _send(self._client, self._url, tasks, 0)


def _send(client: SQSClient, url: str, tasks: Sequence[Task | ScanTask], delay: int) -> None:
    for first in range(0, len(tasks), BATCH):
        entries = [
            {"Id": str(number), "MessageBody": json.dumps(asdict(task)), "DelaySeconds": delay}
            for number, task in enumerate(tasks[first : first + BATCH])
        ]
        answer = client.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
        failed = answer.get("Failed", [])
        if failed:
            raise NotSentError(f"{len(failed)} of {len(entries)} messages were refused: {failed[0].get('Code')}")


def task_in(body: str) -> Task:
    """The task in a message that `SqsTaskQueue` sent."""
    return Task(**json.loads(body))


def scan_task_in(body: str) -> ScanTask:
    """The task in a message that `SqsScanQueue` sent."""
    return ScanTask(**json.loads(body))
