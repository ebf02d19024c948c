"""All routes of the service."""

from __future__ import annotations

from collections.abc import Callable

from chalice.app import Chalice

from chalicelib.api import access, authorities, certificates, contacts, csrs, pca, quota, scans, service, summary
from chalicelib.api.blueprint import BINARY_TYPES, ApiBlueprint, accept_anything
from chalicelib.api.routes import Routes
from chalicelib.wiring import Services

RESOURCES: tuple[Routes, ...] = (
    service.routes,
    certificates.routes,
    csrs.routes,
    authorities.routes,
    pca.routes,
    contacts.routes,
    scans.routes,
    summary.routes,
    quota.routes,
    access.routes,
)


def serve(app: Chalice, services: Callable[[], Services], authorizer: object) -> None:
    """Have `app` answer every route of the service; see `ApiBlueprint` for the other arguments."""
    app.api.binary_types = BINARY_TYPES
    app.register_middleware(accept_anything, "http")
    made = ApiBlueprint(services, authorizer)
    for routes in RESOURCES:
        made.include(routes)
    app.register_blueprint(made)
