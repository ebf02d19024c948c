"""Every Lambda function of the service, one to three lines each."""

from __future__ import annotations

from typing import Any

from chalice.app import AuthRequest, AuthResponse, Chalice, CloudWatchEvent, Rate, SQSEvent

from chalicelib import wiring
from chalicelib.api import events
from chalicelib.api.authoriser import authorise_request
from chalicelib.api.resources import serve

app = Chalice("certhaven")


@app.authorizer(ttl_seconds=0)
def authorise(request: AuthRequest) -> AuthResponse:
    """Find out whose token a request carries."""
    return authorise_request(wiring.services(), request)


serve(app, wiring.services, authorise)


@app.lambda_function(name="upload-validate")
def upload_validate(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - Lambda's context has no type
    """Upload a certificate, called directly rather than over HTTP."""
    return events.upload_validate(wiring.services(), event, context.aws_request_id)


@app.on_sqs_message(queue="certhaven-drop", name="drop", batch_size=5)
def drop(event: SQSEvent) -> dict[str, Any]:
    """Take in dropped files."""
    return events.drop(wiring.services(), event.to_dict(), events.request_id_of(event))


@app.lambda_function(name="pca-batch-sync")
def pca_batch_sync(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Start a batch synchronisation, called directly rather than over HTTP."""
    return events.pca_batch_sync(wiring.services(), event, context.aws_request_id)


@app.on_sqs_message(queue="certhaven-sync", name="pca-sync-worker", batch_size=1)
def pca_sync_worker(event: SQSEvent) -> dict[str, Any]:
    """Plan a synchronisation, or carry out a part of one."""
    return events.pca_sync_worker(wiring.services(), event.to_dict(), events.request_id_of(event))


@app.schedule(Rate(15, unit=Rate.MINUTES), name="pca-sync-schedule")
def pca_sync_schedule(event: CloudWatchEvent) -> dict[str, int]:
    """Start the synchronisations that are due, and take up those that got stuck."""
    return events.pca_sync_schedule(wiring.services(), events.request_id_of(event))


@app.schedule(Rate(1, unit=Rate.HOURS), name="pca-renewal")
def pca_renewal(event: CloudWatchEvent) -> dict[str, int]:
    """Renew what is to renew by itself."""
    return events.pca_renewal(wiring.services(), events.request_id_of(event))


@app.schedule(Rate(1, unit=Rate.HOURS), name="quota-sweep")
def quota_sweep(event: CloudWatchEvent) -> dict[str, int]:
    """Do what requests left undone that were killed after they had taken units of the quota."""
    return events.quota_sweep(wiring.services(), events.request_id_of(event))


@app.schedule(Rate(1, unit=Rate.HOURS), name="scan")
def scan(event: CloudWatchEvent) -> dict[str, Any]:
    """Start the day's scan when it is time, and send what waits."""
    return events.scan(wiring.services(), event.to_dict(), events.request_id_of(event))


@app.on_sqs_message(queue="certhaven-scan", name="scan-worker", batch_size=1)
def scan_worker(event: SQSEvent) -> dict[str, Any]:
    """Scan an account, and tell its contacts."""
    return events.scan_worker(wiring.services(), event.to_dict(), events.request_id_of(event))


@app.schedule(Rate(1, unit=Rate.HOURS), name="drop-sweep")
def drop_sweep(event: CloudWatchEvent) -> dict[str, int]:
    """Take up what events failed to bring, and report half pairs whose day is over."""
    return events.drop_sweep(wiring.services(), events.request_id_of(event))
