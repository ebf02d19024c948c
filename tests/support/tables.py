"""The real tables on moto, in this process."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from chalicelib.store.tables import TABLES, bind

REGION = "eu-central-1"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
}
_numbers = itertools.count()
_bound: list[str] = []


@contextmanager
def _one_request_at_a_time(sent: list) -> Iterator[None]:
    """Make each request atomic, as DynamoDB's are; moto undoes a transaction by putting whole tables back."""
    lock, process = threading.Lock(), BotocoreStubber.process_request

    def locked(self, request):
        with lock:
            sent.append(request)
            return process(self, request)

    with mock.patch.object(BotocoreStubber, "process_request", locked):
        yield


@contextmanager
def moto_aws(sent: list | None = None) -> Iterator[str]:
    """AWS by moto, with the service's tables in it; inside of another one, with tables of its own.

    Gives what the tables' names begin with; `sent` gets every request.
    """
    prefix = f"test-{next(_numbers)}-"
    before = {name: os.environ.get(name) for name in (*_ENVIRONMENT, "AWS_ENDPOINT_URL")}
    os.environ.update(_ENVIRONMENT)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    try:
        with mock_aws(), _one_request_at_a_time([] if sent is None else sent):
            bind(prefix, REGION)
            for model in TABLES:
                model.create_table(billing_mode="PAY_PER_REQUEST")
            _bound.append(prefix)
            yield prefix
    finally:
        _bound.remove(prefix)
        if _bound:
            bind(_bound[-1], REGION)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
