"""Counts what DynamoDB would charge, from the requests and answers themselves.

The emulators answer with one unit for whatever is asked, so sizes are added up here by the rules of the
Developer Guide ("DynamoDB read and write operations", "DynamoDB item sizes and formats").
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pynamodb.models import Model

from chalicelib.store.tables import TABLES, connection

Item = Mapping[str, Mapping[str, Any]]
_EVENTS = ("provide-client-params.dynamodb.*", "after-call.dynamodb.*")


def item_size(item: Item) -> int:
    """Bytes of an item: names and values of its attributes."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, inner),) = value.items()
    if kind == "S":
        return len(inner.encode())
    if kind == "B":
        return len(inner)
    if kind == "N":
        return math.ceil(len(inner.lstrip("-0").replace(".", "")) / 2) + 1 + inner.startswith("-")
    if kind in {"BOOL", "NULL"}:
        return 1
    if kind == "L":
        return 3 + sum(1 + _value_size(element) for element in inner)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _value_size(element) for name, element in inner.items())
    raise NotImplementedError(kind)


@dataclass(frozen=True)
class Request:
    """One request to DynamoDB, with the units it took."""

    operation: str
    read: float
    write: float


@dataclass
class Meter:
    """What was asked of DynamoDB while it ran."""

    requests: list[Request] = field(default_factory=list)

    @property
    def read(self) -> float:
        """Read units."""
        return sum(r.read for r in self.requests)

    @property
    def write(self) -> float:
        """Write units."""
        return sum(r.write for r in self.requests)

    @property
    def operations(self) -> list[str]:
        """Names of the operations, in order."""
        return [r.operation for r in self.requests]


@contextmanager
def metered() -> Iterator[Meter]:
    """Count every request that the stores make inside the block; they must be bound to their tables."""
    counter = _Counter()
    events = connection().client.meta.events
    handlers = (counter.note, counter.count)
    for event, handler in zip(_EVENTS, handlers, strict=True):
        events.register_last(event, handler)
    try:
        yield counter.meter
    finally:
        for event, handler in zip(_EVENTS, handlers, strict=True):
            events.unregister(event, handler)


class _Counter:
    """Hears requests and answers; remembers items written, for those that are later updated or deleted."""

    def __init__(self) -> None:
        self.meter = Meter()
        self._models: dict[str, type[Model]] = {m.Meta.table_name: m for m in TABLES}
        self._kept: dict[tuple[str, str], Item] = {}
        self._lock = threading.Lock()

    def note(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["metered"] = params

    def count(self, model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        params = context["metered"]
        with self._lock:
            units = getattr(self, f"_{model.name}")(params, parsed)
            self.meter.requests.append(Request(model.name, *units))

    def _GetItem(self, params, answer):  # noqa: N802
        return _read_units(item_size(answer.get("Item", {})), params), 0

    def _BatchGetItem(self, params, answer):  # noqa: N802
        units = 0.0
        for table, asked in params["RequestItems"].items():
            found = answer.get("Responses", {}).get(table, [])
            units += sum(_read_units(item_size(item), asked) for item in found)
            units += (len(asked["Keys"]) - len(found)) * _read_units(0, asked)
        return units, 0

    def _Query(self, params, answer):  # noqa: N802
        assert "FilterExpression" not in params, "what a filter drops is paid for, and not seen here"
        return _read_units(sum(item_size(item) for item in answer.get("Items", ())), params), 0

    def _PutItem(self, params, answer):  # noqa: N802
        return 0, self._put(params["TableName"], params["Item"])

    def _UpdateItem(self, params, answer):  # noqa: N802
        return 0, self._update(params)

    def _DeleteItem(self, params, answer):  # noqa: N802
        return 0, self._delete(params["TableName"], params["Key"])

    def _BatchWriteItem(self, params, answer):  # noqa: N802
        return 0, sum(
            self._put(table, request["PutRequest"]["Item"])
            if "PutRequest" in request
            else self._delete(table, request["DeleteRequest"]["Key"])
            for table, requests in params["RequestItems"].items()
            for request in requests
        )

    def _TransactWriteItems(self, params, answer):  # noqa: N802
        """Every write counts twice: it is prepared, then committed; also when it is cancelled."""
        units = 0.0
        for entry in params["TransactItems"]:
            ((kind, write),) = entry.items()
            if kind == "Put":
                units += self._put(write["TableName"], write["Item"])
            elif kind == "Delete":
                units += self._delete(write["TableName"], write["Key"])
            else:
                units += self._update(write)
        return 0, 2 * units

    def _put(self, table: str, item: Item) -> int:
        place = (table, self._key(table, item))
        before = self._kept.get(place, {})
        self._kept[place] = item
        return _write_units(max(item_size(item), item_size(before))) * (1 + self._indexes(table))

    def _delete(self, table: str, key: Item) -> int:
        before = self._kept.pop((table, self._key(table, key)), {})
        return _write_units(item_size(before)) * (1 + (self._indexes(table) if before else 0))

    def _update(self, params: dict[str, Any]) -> int:
        """The item as it was, and the values that are set: an upper bound."""
        before = self._kept.get((params["TableName"], self._key(params["TableName"], params["Key"])), {})
        size = item_size(before) + item_size(params.get("ExpressionAttributeValues", {}))
        return _write_units(size) * (1 + self._indexes(params["TableName"]))

    def _key(self, table: str, item: Item) -> str:
        model = self._models[table]
        names = [a.attr_name for a in model.get_attributes().values() if a.is_hash_key or a.is_range_key]
        return json.dumps([item[name] for name in names])

    def _indexes(self, table: str) -> int:
        """How many indexes repeat each item; all of them project everything."""
        return len(self._models[table]._indexes)


def _read_units(size: int, params: Mapping[str, Any]) -> float:
    return max(1, math.ceil(size / 4096)) * (1 if params.get("ConsistentRead") else 0.5)


def _write_units(size: int) -> int:
    return max(1, math.ceil(size / 1024))
