"""The real tables on moto, in this process, with every request's capacity counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from moto import mock_aws

from chalicelib.store.tables import TABLES, bind

REGION = "eu-central-1"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
}


@contextmanager
def moto_aws() -> Iterator[None]:
    """AWS by moto, with the service's tables in it."""
    before = {name: os.environ.get(name) for name in (*_ENVIRONMENT, "AWS_ENDPOINT_URL")}
    os.environ.update(_ENVIRONMENT)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    try:
        with mock_aws():
            bind("test-", REGION)
            for model in TABLES:
                model.create_table(billing_mode="PAY_PER_REQUEST")
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
