"""Routes as data: what each path takes, answers and asks of its caller. OpenAPI is made from the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from chalicelib.api.types import Answer, EmptyQuery, Request
from chalicelib.domain.model import Caller, Role
from chalicelib.wiring import Services

Q = TypeVar("Q")
B = TypeVar("B")

#: Roles that may call a route. The operator stands outside the tenants' roles and reads no certificate.
VIEWERS = frozenset({Role.VIEWER, Role.MANAGER, Role.ADMIN})
MANAGERS = frozenset({Role.MANAGER, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})
OPERATORS = frozenset({Role.OPERATOR})
ADMINS_AND_OPERATORS = ADMINS | OPERATORS
ANYONE_SIGNED_IN = VIEWERS | OPERATORS
#: No authorisation at all.
PUBLIC: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request, checked: who calls, the path's parameters, the query and the body."""

    caller: Caller
    path: Mapping[str, str]
    query: Q
    body: B
    headers: Mapping[str, str]
    services: Services


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not JSON, or that has headers of its own.

    `secret` says that the body holds something shown once: it is not remembered for a repeated request.
    """

    body: Any
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        roles: who may call; empty for a public route.
        action: name in the audit trail when it changes something or reads a key; else empty.
        answer: type of the answer's body; ``None`` for no body or a file.
        files: content types when the answer is a file.
        statuses: HTTP statuses of refusals that this route can give beside the common ones.
        when_large: what to do about a body that is too large; empty for the usual advice.
    """

    method: str
    path: str
    view: Callable[[Call[Any, Any]], Any]
    roles: frozenset[Role]
    status: int
    query: type[Request]
    body: type[Request] | None
    answer: Any
    action: str
    files: tuple[str, ...]
    statuses: tuple[int, ...]
    when_large: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def summary(self) -> str:
        """First line of the view's docstring."""
        return (self.view.__doc__ or "").strip().splitlines()[0]


class Routes:
    """The routes of one resource, declared by decorating their views."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        roles: frozenset[Role],
        answer: Any = None,  # noqa: ANN401 - any type that msgspec describes, generic ones included
        status: int = 200,
        query: type[Request] = EmptyQuery,
        body: type[Request] | None = None,
        action: str = "",
        files: tuple[str, ...] = (),
        statuses: tuple[int, ...] = (),
        when_large: str = "",
    ) -> Callable[[Callable[[Call[Any, Any]], Any]], Callable[[Call[Any, Any]], Any]]:
        """Declare a route; see `Route` for the arguments."""

        def decorate(view: Callable[[Call[Any, Any]], Any]) -> Callable[[Call[Any, Any]], Any]:
            self.routes.append(
                Route(method, path, view, roles, status, query, body, answer, action, files, statuses, when_large)
            )
            return view

        return decorate


def to_json(value: Any) -> bytes:  # noqa: ANN401 - whatever a view answers
    """JSON of an answer, as msgspec writes it (times in RFC 3339)."""
    return msgspec.json.encode(value)


__all__ = ["Answer", "Call", "Reply", "Route", "Routes", "to_json"]
