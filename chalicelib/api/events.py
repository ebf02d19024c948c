"""The functions that are not called over HTTP: direct calls, the drop queue, the schedule."""

from __future__ import annotations

from typing import Any

import msgspec

from chalicelib.api import types, views
from chalicelib.api.blueprint import describe_refusal, failure, log_unforeseen, quoted
from chalicelib.api.certificates import as_upload
from chalicelib.domain import errors
from chalicelib.domain.model import Caller, Role
from chalicelib.wiring import Services


class DirectUpload(types.UploadRequest, kw_only=True):
    """An upload by direct invocation: IAM says who may invoke; the account is named."""

    account_id: str


def upload_validate(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Upload for the account that the event names.

    Returns:
        ``{"certificate": {…}}``, or ``{"error": {…}}`` in the shape of every refusal.
    """
    try:
        body = msgspec.convert(event, DirectUpload)
        caller = Caller(services.account_store.get(body.account_id).id, Role.MANAGER, "direct", "", request_id)
        certificate, material = services.upload_validate.upload(caller, as_upload(body))
        view = views.certificate_detail(certificate, material, services.clock())
        answer: dict[str, Any] = {"certificate": msgspec.to_builtins(view)}
    except msgspec.ValidationError as error:
        refused = errors.InvalidRequest("InvalidRequest", f"The event does not fit: {quoted(error)}.")
        answer = msgspec.to_builtins(describe_refusal(refused, request_id))
    except errors.CerthavenError as refused:
        answer = msgspec.to_builtins(describe_refusal(refused, request_id))
    except Exception as error:  # noqa: BLE001 - its message may hold what was sent, and Lambda would log it
        log_unforeseen(services, error, request_id)
        answer = msgspec.to_builtins(failure(request_id))
    services.log.info("upload-validate", result="error" if "error" in answer else "ok", request_id=request_id)
    return answer


def request_id_of(event: Any) -> str:  # noqa: ANN401 - Chalice's events share no type
    """The id of the invocation that an event came with."""
    return str(getattr(event.context, "aws_request_id", ""))


def drop(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Take in what queue messages tell of.

    Returns:
        The messages that failed, for the queue to bring again (Lambda's partial batch response).
    """
    from chalicelib.functions.drop import keys_of  # the API's function does without

    failed = []
    for message in event["Records"]:
        try:
            outcomes = [services.drop.arrived(key, request_id).value for key in keys_of(message["body"])]
            services.log.info("drop", outcomes=outcomes, message_id=message["messageId"], request_id=request_id)
        except Exception as error:  # noqa: BLE001 - one bad message must not hold up the others
            log_unforeseen(services, error, request_id)
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def drop_sweep(services: Services, request_id: str) -> dict[str, int]:
    """Take up overdue objects; answers how many groups came to each outcome."""
    try:
        counts = services.drop.sweep(request_id)
    except ExceptionGroup as failures:
        for error in failures.exceptions:
            log_unforeseen(services, error, request_id)
        raise  # for the alarm; a group's own message says nothing of what its errors say
    services.log.info("drop-sweep", counts=counts, request_id=request_id)
    return counts
