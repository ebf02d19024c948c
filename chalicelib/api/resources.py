"""All routes of the service."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.api import access, certificates, csrs, service
from chalicelib.api.blueprint import ApiBlueprint
from chalicelib.api.routes import Routes
from chalicelib.wiring import Services

RESOURCES: tuple[Routes, ...] = (service.routes, certificates.routes, csrs.routes, access.routes)


def blueprint(services: Callable[[], Services], authorizer: object) -> ApiBlueprint:
    """The blueprint with every route of the service; see `ApiBlueprint` for the arguments."""
    made = ApiBlueprint(services, authorizer)
    for routes in RESOURCES:
        made.include(routes)
    return made
