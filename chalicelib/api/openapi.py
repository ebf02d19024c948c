"""The OpenAPI 3.1 document, made from the same types that check the requests."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from chalicelib import __version__
from chalicelib.api import types
from chalicelib.api.resources import RESOURCES
from chalicelib.api.routes import Route, Routes

REF: Final = "#/components/schemas/{name}"
REFUSALS: Final = {
    400: "The request cannot be understood.",
    401: "The token is missing, unknown, expired or revoked.",
    403: "The token's role does not reach this far.",
    404: "No such thing in the token's account.",
    409: "The state of things does not allow it.",
    413: "The request is too large.",
    422: "Understood, and refused for what it says; `findings` tells all.",
    429: "Too many requests; `Retry-After` says when.",
}


@cache
def build() -> dict[str, Any]:
    """The document, as plain values."""
    bodies = [r.body for routes in RESOURCES for r in routes.routes if r.body]
    answers = [r.answer for routes in RESOURCES for r in routes.routes if r.answer]
    wanted = [*bodies, *answers, types.ErrorAnswer]
    schemas, components = msgspec.json.schema_components(wanted, ref_template=REF)
    schema_of = {str(kind): schema for kind, schema in zip(wanted, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for routes in RESOURCES:
        for route in routes.routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(routes, route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Certhaven",
            "version": __version__,
            "description": "Certificates of every source in one inventory: validated, kept safe, deployed, watched.",
        },
        "servers": [{"url": ".."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(routes: Routes, route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{routes.tag}_{route.view.__name__}",
        "tags": [routes.tag],
        "summary": route.summary,
        "security": [{"token": []}] if route.roles else [],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": _responses(route, schema_of),
    }
    if route.roles:
        operation["description"] = "Roles: " + ", ".join(r.label for r in sorted(route.roles)) + "."
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[str(route.body)]}},
        }
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}}
        for name in route.parameters
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    schema, components = msgspec.json.schema_components([route.query], ref_template=REF)
    del schema
    described = components[route.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in described["required"], "schema": _plain(field)}
        for name, field in described["properties"].items()
    ]


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null: a query parameter is left out instead."""
    choices = [choice for choice in field.get("anyOf", []) if choice != {"type": "null"}]
    plain = choices[0] if len(choices) == 1 else dict(field)
    return {name: value for name, value in plain.items() if not (name == "default" and value is None)}


def _headers(route: Route) -> list[dict[str, Any]]:
    headers = []
    if route.action and route.method != "GET":
        headers.append(("Idempotency-Key", "Makes a repeat of this request safe for a day.", 255))
    if "application/x-pkcs12" in route.files:
        headers.append(("X-Passphrase", "Protects a pfx or jks file.", 1024))
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": meaning,
            "schema": {"type": "string", "minLength": 1, "maxLength": longest},
        }
        for name, meaning, longest in headers
    ]


def _responses(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if route.files:
        good["content"] = {kind: {"schema": {"type": "string"}} for kind in route.files}
    elif route.answer is not None:
        good["content"] = {"application/json": {"schema": schema_of[str(route.answer)]}}
    refused = {400, 429, *route.statuses}
    if route.roles:
        refused |= {401, 403}
    if route.body is not None:
        refused |= {413}
    if route.action and route.method != "GET":
        refused |= {409}
    return {str(route.status): good} | {
        str(status): {
            "description": REFUSALS[status],
            "content": {"application/json": {"schema": schema_of[str(types.ErrorAnswer)]}},
        }
        for status in sorted(refused)
    }
