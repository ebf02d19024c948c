"""Killing a function at any of its requests to DynamoDB."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

from chalicelib.store.tables import connection


class CrashError(BaseException):
    """The function is killed."""


@contextmanager
def killed_at(request_number):
    """Die instead of sending request number so-and-so."""
    numbers = itertools.count()

    def die(**_):
        if next(numbers) == request_number:
            raise CrashError

    events = connection().client.meta.events
    events.register_first("before-call.dynamodb", die)
    try:
        yield
    finally:
        events.unregister("before-call.dynamodb", die)
