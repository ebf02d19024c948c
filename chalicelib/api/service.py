"""Routes of the service itself: whether it is up, and what it offers."""

from __future__ import annotations

from typing import Any

from chalicelib.api import types
from chalicelib.api.routes import PUBLIC, Call, Reply, Routes

routes = Routes("service")


@routes.add("GET", "/healthz", roles=PUBLIC, answer=types.HealthView)
def healthz(call: Call[types.EmptyQuery, None]) -> types.HealthView:
    """Say that the service answers."""
    return types.HealthView(status="ok", stage=call.services.settings.stage)


@routes.add("GET", "/v1/openapi.json", roles=PUBLIC, answer=dict[str, Any])
def openapi(call: Call[types.EmptyQuery, None]) -> Reply:
    """Describe every route, as OpenAPI 3.1."""
    from chalicelib.api import openapi as document  # it reads all resources, this one included

    del call
    return Reply(document.build(), headers={"Cache-Control": "public, max-age=300"})
