"""Where HTTP meets the service: every request is checked, every error rendered, every call logged, here.

Chalice turns an exception that is not its own into a bare 500 that no middleware sees, so each view is
wrapped here, in the one blueprint class.
"""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from chalice.app import Blueprint, CaseInsensitiveMapping, Response

from chalicelib.api.routes import Call, Reply, Route, Routes, to_json
from chalicelib.api.types import MAX_PEM, ErrorAnswer, ErrorBody
from chalicelib.api.views import finding_view
from chalicelib.domain import errors
from chalicelib.domain.model import Caller, Role
from chalicelib.ports import Remembered
from chalicelib.wiring import Services

#: The one place where kinds of refusals become HTTP statuses.
STATUS: Final[tuple[tuple[type[errors.CerthavenError], int], ...]] = (
    (errors.InvalidRequest, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.Unprocessable, 422),
    (errors.TooManyRequests, 429),
)
#: Largest request body in bytes. A leaf with chain and key is a few kilobytes.
MAX_BODY: Final = 1_048_576
#: Answers of these types are bytes, which Lambda hands over in base64; all others are text.
BINARY_TYPES: Final = ["application/x-pkcs12", "application/x-java-keystore", "application/pkix-crl"]
#: What AWS calls it when too much was asked at once.
THROTTLING: Final = frozenset(
    {
        *("ThrottlingException", "Throttling", "RequestLimitExceeded", "SlowDown", "ServiceUnavailable"),
        *("ProvisionedThroughputExceededException", "TooManyRequestsException"),
    }
)
TOO_BUSY: Final = errors.TooManyRequests("TooManyRequests", "The service is asked too much at once.")
#: Sent with every answer: nothing here is to be cached, framed or guessed at.
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class ApiBlueprint(Blueprint):
    """Registers routes and stands between them and Chalice."""

    def __init__(self, services: Callable[[], Services], authorizer: object) -> None:
        """Take what views need.

        Args:
            services: gives the service's functions; called at the first request, not at import.
            authorizer: Chalice's authorizer object, for every route that is not public.
        """
        super().__init__(__name__)
        self._services = services
        self._authorizer = authorizer

    def include(self, routes: Routes) -> None:
        """Register the routes of a resource."""
        for route in routes.routes:
            options = {"authorizer": self._authorizer} if route.roles else {}
            self.route(
                route.path,
                methods=[route.method],
                content_types=["*/*"],
                name=f"{route.method} {route.path}",
                **options,
            )(self._wrap(route))

    def _wrap(self, route: Route) -> Callable[..., Response]:
        def answer(**path: str) -> Response:
            began = time.perf_counter()
            request = self.current_request
            caller = caller_of(request.context)
            services = self._services()
            try:
                response = self._answer_or_refuse(route, request, caller, path, services)
            except Exception as error:  # noqa: BLE001 - nothing a caller sends may show its insides
                log_unforeseen(services, error, caller.request_id)
                busy = is_throttling(error)
                response = refusal(TOO_BUSY, caller.request_id) if busy else internal_error(caller.request_id)
            services.log.info(
                "request",
                method=route.method,
                route=route.path,
                status=response.status_code,
                ms=round((time.perf_counter() - began) * 1000, 1),
                account_id=caller.account_id,
                token_id=caller.token_id,
                request_id=caller.request_id,
            )
            return response

        answer.__name__ = route.view.__name__
        return answer

    def _answer_or_refuse(
        self,
        route: Route,
        request: Any,  # noqa: ANN401 - Chalice ships no types
        caller: Caller,
        path: Mapping[str, str],
        services: Services,
    ) -> Response:
        try:
            return self._answer(route, request, caller, path, services)
        except errors.CerthavenError as error:
            _audit_refusal(services, route, caller, path, error)
            return refusal(error, caller.request_id)

    def _answer(
        self,
        route: Route,
        request: Any,  # noqa: ANN401 - Chalice ships no types
        caller: Caller,
        path: Mapping[str, str],
        services: Services,
    ) -> Response:
        authorise(route, caller, request.context)
        raw = bytes(request.raw_body or b"")
        if len(raw) > MAX_BODY:
            words = f"The body has {len(raw)} bytes; at most {MAX_BODY} are taken."
            raise errors.TooLarge("RequestTooLarge", words, route.when_large)
        query = _query(route, request.query_params)
        body = _body(route, raw)
        call = Call(caller, path, query, body, request.headers, services)
        key = request.headers.get("idempotency-key") if route.action and route.method != "GET" else None
        if key is None:
            return _render(route, route.view(call))[0]
        return self._once(route, call, key, request.context["path"], raw)

    def _once(self, route: Route, call: Call[Any, Any], key: str, path: str, raw: bytes) -> Response:
        """Answer a request with an Idempotency-Key: the first time for real, then from memory."""
        if not 1 <= len(key) <= 255:
            raise errors.InvalidRequest(
                "InvalidParameter", f"The Idempotency-Key has {len(key)} characters; 1 to 255 are wanted."
            )
        store, now = call.services.idempotency, call.services.clock()
        digest = hashlib.sha256(msgspec.json.encode(call.query) + b"\0" + raw).hexdigest()
        scope = [call.caller.account_id, call.caller.token_id, route.method, path, key]
        claim = hashlib.sha256(to_json(scope)).hexdigest()
        remembered = store.begin(claim, digest, now)
        if remembered is not None:
            if remembered.body is None:
                raise errors.Conflict(
                    "IdempotencySecretShown",
                    "This request was carried out before, and its secret shown once.",
                )
            return _response(remembered.status, remembered.body, "application/json", {"Idempotency-Replayed": "true"})
        try:
            response, secret = _render(route, route.view(call))
        except errors.CerthavenError as error:
            # A refusal changed nothing; the caller may mend the cause and repeat with the same key.
            store.abandon(claim)
            raise error from None
        except BaseException:
            store.abandon(claim)
            raise
        store.finish(claim, Remembered(response.status_code, None if secret else response.body.encode()), now)
        return response


def caller_of(context: Mapping[str, Any]) -> Caller:
    """The caller that the authoriser found, from API Gateway's request context."""
    found = context.get("authorizer") or {}
    return Caller(
        account_id=found.get("account_id", ""),
        role=Role[found["role"].upper()] if found.get("role") else Role.VIEWER,
        token_id=found.get("token_id", ""),
        source_ip=(context.get("identity") or {}).get("sourceIp", ""),
        request_id=context.get("requestId", ""),
    )


def authorise(route: Route, caller: Caller, context: Mapping[str, Any]) -> None:
    """Refuse a caller whom the authoriser did not know, or whose role does not reach.

    The authoriser lets unknown callers through with the `problem` it found, so that the refusal can say
    precisely what is wrong with the token; here is the gate.

    Raises:
        Unauthenticated: the token is missing, unknown, expired or revoked. Forbidden: the role is too low.
    """
    if not route.roles:
        return
    problem = (context.get("authorizer") or {}).get("problem")
    if problem or not caller.account_id:
        code = problem or "TokenMissing"
        raise errors.Unauthenticated(code, TOKEN_PROBLEMS[code])
    if caller.role not in route.roles:
        allowed = " or ".join(role.label for role in sorted(route.roles))
        raise errors.Forbidden("RoleInsufficient", f"The token's role is {caller.role.label}; this needs {allowed}.")


TOKEN_PROBLEMS: Final = {
    "TokenMissing": "The request carries no access token.",
    "TokenInvalid": "The access token is not known.",
    "TokenExpired": "The access token has expired.",
    "TokenRevoked": "The access token was revoked.",
}


def describe_refusal(error: errors.CerthavenError, request_id: str) -> ErrorAnswer:
    """A refusal in the shape of every refusal."""
    findings = [finding_view(f) for f in error.findings]
    return ErrorAnswer(
        error=ErrorBody(
            code=error.code,
            message=error.message,
            hint=error.hint,
            findings=findings,
            request_id=request_id,
            **error.figures,
        )
    )


def refusal(error: errors.CerthavenError, request_id: str) -> Response:
    """The answer to a refused request."""
    status = next((s for kind, s in STATUS if isinstance(error, kind)), 500)
    extra = {"Retry-After": "5"} if isinstance(error, errors.TooManyRequests) else {}
    return _response(status, to_json(describe_refusal(error, request_id)), "application/json", extra)


def log_unforeseen(services: Services, error: Exception, request_id: str) -> None:
    """Log where an unforeseen exception came from, not what it says: its message may hold key text."""
    frames = traceback.extract_tb(error.__traceback__)
    services.log.error(
        "unforeseen",
        error_type=type(error).__name__,
        at=[f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in frames[-6:]],
        request_id=request_id,
    )


def is_throttling(error: BaseException | None) -> bool:
    """Whether AWS asked for patience: DynamoDB, KMS or S3, by the code that botocore or PynamoDB found."""
    while error is not None:
        response = getattr(error, "response", None)
        told = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
        if {told, getattr(error, "cause_response_code", None)} & THROTTLING:
            return True
        error = error.__cause__ or error.__context__
    return False


def internal_error(request_id: str) -> Response:
    """The answer when the service itself failed."""
    return _response(500, to_json(failure(request_id)), "application/json", {})


def failure(request_id: str) -> ErrorAnswer:
    """What is said when the service itself failed: nothing of why."""
    return ErrorAnswer(
        error=ErrorBody(
            code="InternalError",
            message="The service failed to answer; nothing of your input is at fault.",
            hint=errors.ERRORS["InternalError"],
            findings=[],
            request_id=request_id,
        )
    )


def accept_anything(request: Any, get_response: Callable[[Any], Response]) -> Response:  # noqa: ANN401
    """Middleware: the address alone says what is answered, whatever a client prefers (RFC 9110, 12.5.1).

    Chalice would refuse to hand a binary file to a client that does not name its type in `Accept`.
    """
    if request is not None:
        request.headers = CaseInsensitiveMapping({**dict(request.headers), "accept": "*/*"})
    return get_response(request)


def _response(status: int, body: bytes, content_type: str, extra: Mapping[str, str]) -> Response:
    content = body if content_type in BINARY_TYPES else body.decode()
    return Response(content, headers={**HEADERS, "Content-Type": content_type, **extra}, status_code=status)


def _render(route: Route, result: Any) -> tuple[Response, bool]:  # noqa: ANN401 - whatever a view answers
    reply = result if isinstance(result, Reply) else Reply(result)
    if reply.body is None:
        return _response(route.status, b"", "application/json", reply.headers), False
    body = reply.body if isinstance(reply.body, bytes) else to_json(reply.body)
    return _response(route.status, body, reply.content_type, reply.headers), reply.secret


def _query(route: Route, given: Any) -> Any:  # noqa: ANN401 - Chalice's MultiDict, or None
    values: dict[str, str] = {}
    for name in given or {}:
        found = given.getlist(name)
        if len(found) > 1:
            raise errors.InvalidRequest("InvalidParameter", quoted(f"The query parameter `{name}` is given twice."))
        values[name] = found[0]
    try:
        return msgspec.convert(values, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise errors.InvalidRequest("InvalidParameter", f"Query parameters: {quoted(error)}.") from None


def _body(route: Route, raw: bytes) -> Any:  # noqa: ANN401 - the route's body type
    if route.body is None:
        return None
    if not raw:
        raise errors.InvalidRequest("InvalidRequest", "The request has no body; a JSON object is wanted.")
    try:
        return msgspec.json.decode(raw, type=route.body)
    except msgspec.ValidationError as error:
        if f"of length <= {MAX_PEM}" in str(error):
            raise errors.TooLarge("RequestTooLarge", f"A text is too long: {quoted(error)}.") from None
        raise errors.InvalidRequest("InvalidRequest", f"The body does not fit: {quoted(error)}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The text of a decoding error may quote the input.
        raise errors.InvalidRequest("InvalidRequest", "The body is not JSON in UTF-8.") from None


def quoted(error: msgspec.ValidationError | str) -> str:
    """The text of a validation error; longer names and values that it quotes may be key text, and are left out."""
    return re.sub(r"([`'])[^`']{41,}", r"\1…", str(error))[:300]


def _audit_refusal(
    services: Services, route: Route, caller: Caller, path: Mapping[str, str], error: errors.CerthavenError
) -> None:
    """Keep refused changes and refused key reads in the audit trail, for callers who are known."""
    if route.action and caller.account_id and not isinstance(error, errors.Unauthenticated):
        target = next(iter(path.values()), "")
        services.audit.refused(caller, route.action, target, error.code)
