"""The local AWS emulator, saving its state as it runs; `infra/local.py` starts it in an environment of its own.

MiniStack saves on a clean stop only; here it also does so every few seconds, each file by an atomic rename, so that
a `kill -9` loses no more than that.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from ministack import app
from ministack.core.persistence import save_all
from ministack.services import apigateway_v1

SAVE_EVERY_SECONDS = 4


def _keep_saving() -> None:
    while True:
        time.sleep(SAVE_EVERY_SECONDS)
        save_all(app._build_persistence_save_dict())  # noqa: SLF001 - there is no public way


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
    threading.Thread(target=_keep_saving, daemon=True).start()
    app.main()
