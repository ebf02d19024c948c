"""Talking to the person at the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and how many seconds it took."""
    began = time.monotonic()
    print(f"  {what} …", end="", flush=True)
    try:
        yield
    except BaseException as error:
        print(" stopped" if isinstance(error, KeyboardInterrupt) else " failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def give_up(why: str, what_to_do: str) -> NoReturn:
    """End with one clear line."""
    print(f"\n{why} {what_to_do}", file=sys.stderr, flush=True)
    raise SystemExit(1)
