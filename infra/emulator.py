"""The local AWS emulator, saving its state as it runs; `infra/local.py` starts it in an environment of its own.

MiniStack saves on a clean stop only; here it also does so every few seconds, each file by an atomic rename, so that
a `kill -9` loses no more than that. SIGUSR1 has it saved at once; the file ``saved`` is touched after each time.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from ministack import app
from ministack.core.persistence import save_all
from ministack.services import apigateway_v1

SAVE_EVERY_SECONDS = 4
_saving = threading.Lock()
_wanted = threading.Event()


def _save_alone(services: dict[str, Any]) -> None:
    """Save, one at a time: MiniStack's own saving at its stop would take files out of the hands of ours."""
    with _saving:
        save_all(services)


def _keep_saving() -> None:
    while True:
        _wanted.wait(SAVE_EVERY_SECONDS)
        _wanted.clear()
        _save_alone(app._build_persistence_save_dict())  # noqa: SLF001 - there is no public way
        Path("saved").touch()


def _save_now(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    _wanted.set()


def _read_media_types() -> None:
    """Have API Gateway's patches read ``~1`` as a slash (RFC 6901), as AWS does and MiniStack 1.5 does not."""
    apply = apigateway_v1._apply_patch  # noqa: SLF001 - there is no public way

    def patched(api: dict[str, Any], operations: list[dict[str, str]]) -> None:
        prefix, others = "/binaryMediaTypes/", []
        for operation in operations:
            if operation.get("op") == "add" and operation["path"].startswith(prefix):
                kind = operation["path"].removeprefix(prefix).replace("~1", "/").replace("~0", "~")
                api["binaryMediaTypes"] = sorted({*(api.get("binaryMediaTypes") or ()), kind})
            else:
                others.append(operation)
        apply(api, others)

    apigateway_v1._apply_patch = patched  # noqa: SLF001 - as above


if __name__ == "__main__":
    _read_media_types()
    app.save_all = _save_alone
    signal.signal(signal.SIGUSR1, _save_now)
    threading.Thread(target=_keep_saving, daemon=True).start()
    app.main()
