"""The functions that are not called over HTTP: direct calls, the drop queue, the schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chalicelib.api import sync_types, sync_views, types, views
from chalicelib.api.blueprint import describe_refusal, failure, log_unforeseen, quoted
from chalicelib.api.certificates import as_upload
from chalicelib.api.pca import start_sync
from chalicelib.domain import errors
from chalicelib.domain.model import Caller, Role
from chalicelib.wiring import Services

if TYPE_CHECKING:  # a cold start does without
    from chalicelib.domain.sync import Task

#: How often the queue brings a message of the synchronisation before it gives up, as the template says.
SYNC_TRIES: Final = 5
#: So for a message of the scan.
SCAN_TRIES: Final = 5


class DirectUpload(types.UploadRequest, kw_only=True):
    """An upload by direct invocation: IAM says who may invoke; the account is named."""

    account_id: str


class DirectSync(sync_types.SyncJobRequest, kw_only=True):
    """A batch synchronisation by direct invocation."""

    account_id: str


def upload_validate(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Upload for the account that the event names.

    Returns:
        ``{"certificate": {…}}``, or ``{"error": {…}}`` in the shape of every refusal.
    """

    def upload() -> dict[str, Any]:
        body = msgspec.convert(event, DirectUpload)
        caller = _direct_caller(services, body.account_id, request_id)
        certificate, material = services.upload_validate.upload(caller, as_upload(body))
        return {"certificate": views.certificate_detail(certificate, material, services.clock())}

    return _answered(services, "upload-validate", request_id, upload)


def pca_batch_sync(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Start a batch synchronisation for the account that the event names.

    Returns:
        ``{"job": {…}}``, or ``{"error": {…}}`` in the shape of every refusal.
    """

    def start() -> dict[str, Any]:
        body = msgspec.convert(event, DirectSync)
        caller = _direct_caller(services, body.account_id, request_id)
        return {"job": sync_views.job_view(start_sync(services, caller, body), ())}

    return _answered(services, "pca-batch-sync", request_id, start)


def _direct_caller(services: Services, account_id: str, request_id: str) -> Caller:
    """Who invokes a function directly. Raises: NotFound, when there is no such account."""
    return Caller(services.account_store.get(account_id).id, Role.MANAGER, "direct", "", request_id)


def _answered(services: Services, function: str, request_id: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a direct call answers, in plain values; whatever happens, in the shape of every refusal."""
    try:
        answer: dict[str, Any] = msgspec.to_builtins(work())
    except msgspec.ValidationError as error:
        refused = errors.InvalidRequest("InvalidRequest", f"The event does not fit: {quoted(error)}.")
        answer = msgspec.to_builtins(describe_refusal(refused, request_id))
    except errors.CerthavenError as refused:
        answer = msgspec.to_builtins(describe_refusal(refused, request_id))
    except Exception as error:  # noqa: BLE001 - its message may hold what was sent, and Lambda would log it
        log_unforeseen(services, error, request_id)
        answer = msgspec.to_builtins(failure(request_id))
    services.log.info(function, result="error" if "error" in answer else "ok", request_id=request_id)
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
    return _scheduled(services, "drop-sweep", request_id, lambda: services.drop.sweep(request_id))


def pca_sync_worker(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Carry out what queue messages say.

    Returns:
        The messages that failed, for the queue to bring again (Lambda's partial batch response).
    """
    from chalicelib.store.taskqueue import task_in  # the API's function does without

    failed = []
    for message in event["Records"]:
        tries = int(message.get("attributes", {}).get("ApproximateReceiveCount", 1))
        try:
            task = task_in(message["body"])
            done = _carried_out(services, task, last_try=tries >= SYNC_TRIES)
            services.log.info(
                "pca-sync", job=task.job_id, step=task.step, chunk=task.chunk, waits=not done, request_id=request_id
            )
        except Exception as error:  # noqa: BLE001 - one bad message must not hold up the others
            log_unforeseen(services, error, request_id)
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def _carried_out(services: Services, task: Task, *, last_try: bool) -> bool:
    """Carry out a message, or have it come again later when its source is busy; whether it was carried out."""
    try:
        services.pca_batch_sync.run(task, last_try=last_try)
    except errors.TooManyRequests:
        if services.pca_batch_sync.postpone(task):
            return False
        services.pca_batch_sync.run(task, last_try=True)
    return True


def pca_sync_schedule(services: Services, request_id: str) -> dict[str, int]:
    """Look after jobs and schedules; answers how many of each were touched."""
    return _scheduled(services, "pca-sync-schedule", request_id, services.pca_batch_sync.sweep)


def pca_renewal(services: Services, request_id: str) -> dict[str, int]:
    """Renew what is due; answers how many were renewed, and how many failed."""
    return _scheduled(services, "pca-renewal", request_id, services.auto_renewal.run)


def _scheduled(
    services: Services, function: str, request_id: str, work: Callable[[], Mapping[str, int]]
) -> dict[str, int]:
    """What a schedule did. What failed is logged by where it came from, and raised for the alarm."""
    try:
        counts = dict(work())
    except ExceptionGroup as failures:
        for error in failures.exceptions:
            log_unforeseen(services, error, request_id)
        raise  # a group's own message says nothing of what its errors say
    services.log.info(function, counts=counts, request_id=request_id)
    return counts


def quota_sweep(services: Services, request_id: str) -> dict[str, int]:
    """Finish what was to switch many notices on and was killed. Returns how many requests those were."""
    counts = {"finished": services.quota.finish_reservations()}
    services.log.info("quota sweep", said=counts, request_id=request_id)
    return counts


def scan(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Look after the scan: its day's run, those that go on, and what waits to be sent.

    Args:
        services: of this process.
        event: of the schedule; with ``{"force": true}`` as its ``detail``, a run is started now.
        request_id: of the invocation.

    Returns:
        The id of the run that was started, if any, and how many accounts were sent to the workers again.

    Raises:
        ScanFailedError: something was not sent, or a run did not end; all else was done. Not when forced: whoever
            asked waits for the run, and reads what came of it.
    """
    from chalicelib.functions.scan import ScanFailedError  # the API's function does without

    force = (event.get("detail") or {}).get("force") is True
    try:
        ticked = services.scan.tick(force=force)
    except ExceptionGroup as failures:
        for error in failures.exceptions:
            log_unforeseen(services, error, request_id)
        raise  # as above
    said = {"run_id": ticked.run_id, "retried": ticked.retried}
    services.log.info("scan", said=said, problems=ticked.problems, request_id=request_id)
    if ticked.problems and not force:
        raise ScanFailedError(f"{len(ticked.problems)} problems of the scan are open")
    return said


def scan_worker(services: Services, event: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Carry out what queue messages say.

    Returns:
        The messages that failed, for the queue to bring again (Lambda's partial batch response).

    Raises:
        ScanFailedError: messages to contacts could not be sent, so that the function counts as failed; the queue
            brings its message again, which finds the account done. A later tick sends.
    """
    from chalicelib.functions.scan import ScanFailedError  # the API's function does without
    from chalicelib.store.taskqueue import scan_task_in  # as above

    failed = []
    unsent: ScanFailedError | None = None
    for message in event["Records"]:
        tries = int(message.get("attributes", {}).get("ApproximateReceiveCount", 1))
        try:
            task = scan_task_in(message["body"])
            services.scan.work(task, last_try=tries >= SCAN_TRIES)
            services.log.info("scan-worker", account=task.account_id, run=task.run_id, request_id=request_id)
        except ScanFailedError as failure:
            services.log.warning("scan-worker", problem=str(failure), request_id=request_id)
            unsent = failure
        except Exception as error:  # noqa: BLE001 - one bad message must not hold up the others
            log_unforeseen(services, error, request_id)
            failed.append({"itemIdentifier": message["messageId"]})
    if unsent is not None:
        raise unsent
    return {"batchItemFailures": failed}
