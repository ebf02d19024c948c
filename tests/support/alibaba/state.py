"""What the emulation remembers: plain values in tables, in memory and, when wanted, in a file."""

from __future__ import annotations

import json
import os
import threading
import uuid
from pathlib import Path

_TABLES = ("authorities", "issued", "uploads", "orders", "csrs", "tokens")
_NAMES = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")


class State:
    """Tables by name, each of JSON values by key. Take `lock` around every use."""

    def __init__(self, file: Path | None = None) -> None:
        """Read `file`, if there is one, and keep it up to date."""
        self.lock = threading.RLock()
        self._file = file
        self._tables: dict[str, dict] = {name: {} for name in _TABLES}
        self._last = 10_000
        if file is not None and file.exists():
            known = json.loads(file.read_text())
            self._tables.update(known["tables"])
            self._last = known["last"]

    def __getitem__(self, table: str) -> dict:
        return self._tables[table]

    @property
    def is_empty(self) -> bool:
        return not any(self._tables.values())

    def next_number(self) -> int:
        """A number that nothing has yet."""
        self._last += 1
        return self._last

    def new_identifier(self) -> str:
        """32 hex digits that nothing has yet; the same ones in every new world."""
        return uuid.uuid5(_NAMES, str(self.next_number())).hex

    def save(self) -> None:
        """Write the file: the old one stays whole until the new one is. There are keys in it."""
        if self._file is None:
            return
        making = self._file.with_suffix(".new")
        with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"last": self._last, "tables": self._tables}, file)
        making.replace(self._file)
