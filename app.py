"""Every Lambda function of the service, one to three lines each."""

from __future__ import annotations

from chalice.app import AuthRequest, AuthResponse, Chalice

from chalicelib import wiring
from chalicelib.api.authoriser import authorise_request
from chalicelib.api.blueprint import accept_anything
from chalicelib.api.resources import blueprint

app = Chalice("certhaven")
app.api.binary_types = ["*/*"]
app.register_middleware(accept_anything, "http")


@app.authorizer(ttl_seconds=0)
def authorise(request: AuthRequest) -> AuthResponse:
    """Find out whose token a request carries."""
    return authorise_request(wiring.services(), request)


app.register_blueprint(blueprint(wiring.services, authorise))
