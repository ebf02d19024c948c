"""Systems of private CAs: one plug-in each, a file with `build` whose product is a `CertificateSource`.

To add one is to add a file. A file whose name begins with an underscore is a part of another.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from chalicelib.domain.pca import BUILTIN
from chalicelib.ports import CertificateSource, SourceKit


def load(kit: SourceKit) -> dict[str, CertificateSource]:
    """Every source of this folder by its id, the built-in one first."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    found: list[CertificateSource] = [import_module(f"{__name__}.{name}").build(kit) for name in names]
    return {source.id: source for source in sorted(found, key=lambda source: (source.id != BUILTIN, source.id))}
