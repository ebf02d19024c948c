"""``python -m tests.support.alibaba --port N [--state FILE]``: the emulation on its own, until SIGTERM or Ctrl-C.

The credential that may sign is given by arguments, or by ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET as the SDKs have it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.support.alibaba import world
from tests.support.alibaba.server import KEY, Call, Double
from tests.support.alibaba.signature import Credential
from tests.support.alibaba.state import State


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say(call: Call) -> None:
    _print(f"{datetime.now(UTC):%H:%M:%S} {call.version} {call.action} {call.status} {call.code}".rstrip())


def _follow(stopped: threading.Event) -> None:
    """Stop with whoever holds the other end of the standard input, even one that was killed."""
    # Not by sys.stdin, whose lock the interpreter would wait for at its end.
    while os.read(0, 4096):
        pass
    stopped.set()


def main() -> None:
    """Serve until told to stop; one line says when it is ready, and one every request."""
    environment = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m tests.support.alibaba", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--access-key-id", default=environment("ALIBABA_CLOUD_ACCESS_KEY_ID") or KEY.access_key_id)
    parser.add_argument(
        "--access-key-secret", default=environment("ALIBABA_CLOUD_ACCESS_KEY_SECRET") or KEY.access_key_secret
    )
    parser.add_argument("--state", type=Path, help="file that the state is kept in; in memory without it")
    parser.add_argument("--empty", action="store_true", help="begin without the example's CAs and certificates")
    parser.add_argument("--with-parent", action="store_true", help="end when the standard input does")
    given = parser.parse_args()
    stopped = threading.Event()
    if given.with_parent:
        threading.Thread(target=_follow, args=(stopped,), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    state = State(given.state)
    if not given.empty:
        world.seed(state, lambda: datetime.now(UTC))
    double = Double(Credential(given.access_key_id, given.access_key_secret), port=given.port, state=state, heard=_say)
    try:
        double.start()
    except OSError as error:
        raise SystemExit(f"Port {given.port} cannot be used: {error.strerror}.") from None
    _print(f"Emulating Alibaba Cloud at {double.endpoint}")
    stopped.wait()
    double.stop()


if __name__ == "__main__":
    main()
