"""Counts what DynamoDB would charge, from the requests and answers themselves.

The emulators answer with one unit for whatever is asked, so sizes are added up here by the rules of the
Developer Guide ("DynamoDB read and write operations", "DynamoDB item sizes and formats"). What an item was
before a write is looked up in moto, behind the stores' back.
"""

from __future__ import annotations

import base64
import copy
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import Table, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item

from chalicelib.store.tables import TABLES, connection
from tests.support.tables import REGION

Attributes = Mapping[str, Mapping[str, Any]]
_EVENTS = ("provide-client-params.dynamodb.*", "after-call.dynamodb.*")


def item_size(item: Attributes) -> int:
    """Bytes of an item: names and values of its attributes."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, inner),) = value.items()
    if kind == "S":
        return len(inner.encode())
    if kind == "B":
        return len(base64.b64decode(inner) if isinstance(inner, str) else inner)  # moto keeps them encoded
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


class Sizes(Protocol):
    """Knows what lies in the tables, for what a write costs depends on what was there."""

    def before(self, table: str, key: Attributes) -> int:
        """Bytes of an item, 0 when there is none."""

    def indexes(self, table: str) -> int:
        """How many indexes a table has."""

    def wrote(self, table: str, key: Attributes, size: int) -> None:
        """An item has this size now."""


class MotoSizes:
    """Looks into moto's tables, behind the stores' back."""

    def before(self, table: str, key: Attributes) -> int:
        held = moto_table(table)
        names = (held.hash_key_attr, held.range_key_attr)
        item = held.get_item(*(DynamoType(key[name]) for name in names if name))
        return item_size(item.to_json()["Attributes"]) if item else 0

    def indexes(self, table: str) -> int:
        held = moto_table(table)
        return len(held.indexes) + len(held.global_indexes)

    def wrote(self, table: str, key: Attributes, size: int) -> None:
        """Moto knows by itself."""


class WrittenSizes:
    """For an emulator in another process: remembers what was written here; what lay there before counts as nothing."""

    def __init__(self) -> None:
        self._models = {model.Meta.table_name: model for model in TABLES}
        self._sizes: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def before(self, table: str, key: Attributes) -> int:
        with self._lock:
            return self._sizes.get(self._place(table, key), 0)

    def indexes(self, table: str) -> int:
        schema = self._models[table]._get_schema()
        return len(schema["local_secondary_indexes"]) + len(schema["global_secondary_indexes"])

    def wrote(self, table: str, key: Attributes, size: int) -> None:
        with self._lock:
            self._sizes[self._place(table, key)] = size

    def _place(self, table: str, key: Attributes) -> tuple[str, str]:
        model = self._models[table]
        return table, repr([key[name] for name in (model._hash_keyname, model._range_keyname) if name])


@contextmanager
def metered(sizes: Sizes | None = None) -> Iterator[Meter]:
    """Count every request that the stores make inside the block; they must be bound to their tables."""
    counter = _Counter(sizes or MotoSizes())
    events = connection().client.meta.events
    handlers = (counter.note, counter.count)
    for event, handler in zip(_EVENTS, handlers, strict=True):
        events.register_last(event, handler)
    try:
        yield counter.meter
    finally:
        for event, handler in zip(_EVENTS, handlers, strict=True):
            events.unregister(event, handler)


def moto_table(name: str) -> Table:
    """Moto's own table: for filling it quickly, or looking into it without a request."""
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].get_table(name)


def fill(table: Table, shape: Attributes, texts: Iterable[Mapping[str, str]]) -> None:
    """Put items like `shape`, each with texts of its own, into moto without a request: 100,000 in two seconds."""
    model = Item(DynamoType(shape[table.hash_key_attr]), DynamoType(shape[table.range_key_attr]), dict(shape))
    for changed in texts:
        item = copy.copy(model)
        item.attrs = {**model.attrs, **{name: DynamoType({"S": text}) for name, text in changed.items()}}
        item.range_key = item.attrs[table.range_key_attr]
        table.items[item.hash_key][item.range_key] = item


class _Counter:
    """Hears requests and answers."""

    def __init__(self, sizes: Sizes) -> None:
        self.meter = Meter()
        self._sizes = sizes
        self._lock = threading.Lock()

    def note(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["written"] = sum(w * _write_cost(kind, write, self._sizes) for w, kind, write in _writes(model, params))
        context["asked"] = params

    def count(self, model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        read = _READS.get(model.name, _nothing)(context["asked"], parsed)
        with self._lock:
            self.meter.requests.append(Request(model.name, read, context["written"]))


def _get(asked, answer):
    return _read_units(item_size(answer.get("Item", {})), asked)


def _batch_get(asked, answer):
    units = 0.0
    for table, wanted in asked["RequestItems"].items():
        found = answer.get("Responses", {}).get(table, [])
        units += sum(_read_units(item_size(item), wanted) for item in found)
        units += (len(wanted["Keys"]) - len(found)) * _read_units(0, wanted)
    return units


def _query(asked, answer):
    assert "FilterExpression" not in asked, "what a filter drops is paid for, and not seen here"
    return _read_units(sum(item_size(item) for item in answer.get("Items", ())), asked)


def _nothing(asked, answer):
    return 0.0


_READS = {"GetItem": _get, "BatchGetItem": _batch_get, "Query": _query}


def _writes(model: Any, params: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The single writes of a request; in a transaction each counts twice, for it is prepared, then committed."""
    if model.name in {"PutItem", "UpdateItem", "DeleteItem"}:
        yield 1, model.name.removesuffix("Item"), params
    for entry in params.get("TransactItems", ()):
        ((kind, write),) = entry.items()
        yield 2, kind, write
    for table, requests in params["RequestItems"].items() if model.name == "BatchWriteItem" else ():
        for request in requests:
            ((kind, write),) = request.items()
            yield 1, kind.removesuffix("Request"), {**write, "TableName": table}


def _write_cost(kind: str, write: dict[str, Any], sizes: Sizes) -> int:
    """Units of one write: the larger of the item before and after, again for each index (all project everything)."""
    table = write["TableName"]
    key = write["Item"] if kind == "Put" else write["Key"]
    before = sizes.before(table, key)
    after = {
        "Put": lambda: item_size(write["Item"]),
        "Delete": lambda: 0,
        "Update": lambda: before + item_size(write["ExpressionAttributeValues"]),  # an upper bound
    }[kind]()
    sizes.wrote(table, key, after)
    indexes = sizes.indexes(table) if before or after else 0
    return _write_units(max(before, after)) * (1 + indexes)


def _read_units(size: int, params: Mapping[str, Any]) -> float:
    return max(1, math.ceil(size / 4096)) * (1 if params.get("ConsistentRead") else 0.5)


def _write_units(size: int) -> int:
    return max(1, math.ceil(size / 1024))
