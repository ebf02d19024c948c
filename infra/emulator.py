"""The local AWS emulator, saving its state as it runs; `infra/local.py` starts it in an environment of its own.

MiniStack saves on a clean stop only; here it also does so every few seconds, each file by an atomic rename, so that
a `kill -9` loses no more than that.
"""

from __future__ import annotations

import threading
import time

from ministack import app
from ministack.core.persistence import save_all

SAVE_EVERY_SECONDS = 4


def _keep_saving() -> None:
    while True:
        time.sleep(SAVE_EVERY_SECONDS)
        save_all(app._build_persistence_save_dict())  # noqa: SLF001 - there is no public way


if __name__ == "__main__":
    threading.Thread(target=_keep_saving, daemon=True).start()
    app.main()
