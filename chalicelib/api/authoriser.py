"""The authoriser: whose token is this?"""

from __future__ import annotations

from chalice.app import AuthRequest, AuthResponse

from chalicelib.wiring import Services


def authorise_request(services: Services, request: AuthRequest) -> AuthResponse:
    """Answer API Gateway with the caller's account, role and token id as context.

    A caller who is not known passes too, with the `problem` as the only context: the blueprint, through
    which every route goes, refuses with a precise code where the gateway could only say 401. Nothing is
    cached (`ttl_seconds=0`), so a revoked token is refused at once.
    """
    found = services.access.authenticate(request.token)
    services.log.debug("authorise", problem=found.problem)  # the blueprint's line says who
    if found.token is None:
        return AuthResponse(routes=["*"], principal_id="unknown", context={"problem": found.problem or "TokenInvalid"})
    context = {
        "account_id": found.token.account_id,
        "role": found.token.role.label,
        "token_id": found.token.id,
    }
    return AuthResponse(routes=["*"], principal_id=found.token.id, context=context)
