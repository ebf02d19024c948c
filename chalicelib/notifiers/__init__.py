"""Kinds of channels: one plug-in each, a file with `build` whose product is a `Notifier`.

To add one is to add a file. A file whose name begins with an underscore is a part of another.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from chalicelib.ports import Notifier, NotifierKit


def load(kit: NotifierKit) -> dict[str, Notifier]:
    """Every notifier of this folder by its kind."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found: list[Notifier] = [import_module(f"{__name__}.{name}").build(kit) for name in names]
    return {notifier.kind: notifier for notifier in found}
