"""Systems of private CAs: one plug-in each, a file with `build` whose product is a `CertificateSource`.

Adding one is adding its file: `load` finds it. Files whose names begin with an underscore belong to another.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from chalicelib.domain.pca import BUILTIN
from chalicelib.ports import CertificateSource, SourceKit


def load(kit: SourceKit) -> Mapping[str, CertificateSource]:
    """Every plug-in of this folder by its id, the built-in one first."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    ordered = sorted(names, key=lambda name: (name != BUILTIN, name))
    made = [importlib.import_module(f"{__name__}.{name}").build(kit) for name in ordered]
    return {source.id: source for source in made}
