"""`make scan`: run the daily scan now, on the service that runs on this machine, and say what came of it.

Environment: `CERTHAVEN_STATE`, as `infra/local.py` has it. The exit status is 1 when the run failed.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from infra.local import STACK, read_env
from infra.package import ROOT
from infra.say import give_up, step

#: A run is waited for so long, in seconds.
PATIENCE = 600.0
#: What the function takes for an event of its schedule.
EVENT = {
    "version": "0",
    "id": "",
    "account": "",
    "time": "",
    "region": "",
    "resources": [],
    "source": "certhaven.make",
    "detail-type": "Scan now",
    "detail": {"force": True},
}


def main() -> None:
    """Start a run, wait for its end, and print its counts."""
    path = Path(os.environ.get("CERTHAVEN_STATE") or ROOT / ".local").resolve() / "env"
    values = read_env(path)
    if not values:
        give_up(f"There is no {path}.", "Start the service with `make run` first.")
    try:
        with step("scanning all accounts"):
            run = await_run(values, start(values))
    except OSError as error:
        give_up(f"The service does not answer: {error}.", "Start it with `make run` first.")
    print(described(run))
    if run["state"] != "done":
        raise SystemExit(1)


def start(values: dict[str, str]) -> str:
    """Invoke the function; gives the id of the run. Raises: OSError, nothing answers."""
    import boto3  # 300 ms that a wrong call does without
    from botocore.exceptions import BotoCoreError, ClientError  # as above

    place: dict[str, Any] = {
        "endpoint_url": values["AWS_ENDPOINT_URL"],
        "region_name": values["AWS_DEFAULT_REGION"],
        "aws_access_key_id": values["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
    }
    try:
        found = boto3.client("cloudformation", **place).describe_stack_resource(
            StackName=STACK, LogicalResourceId="Scan"
        )
        name = found["StackResourceDetail"]["PhysicalResourceId"]
        answer = boto3.client("lambda", **place).invoke(FunctionName=name, Payload=json.dumps(EVENT).encode())
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from None
    content = json.loads(answer["Payload"].read())
    if "FunctionError" in answer or not isinstance(content, dict) or not content.get("run_id"):
        give_up(f"The scan could not be started: {content}.", "The service's log says more.")
    return str(content["run_id"])


def await_run(values: dict[str, str], run_id: str) -> dict[str, Any]:
    """The run once it has ended. Raises: OSError, nothing answers."""
    end = time.monotonic() + PATIENCE
    while True:
        run = next((run for run in _runs(values) if run["id"] == run_id), None)
        if run is not None and run["state"] != "running":
            return run
        if time.monotonic() > end:
            give_up(f"The run {run_id} did not end within {PATIENCE:.0f} s.", "GET /v1/scans tells how far it is.")
        time.sleep(0.3)


def _runs(values: dict[str, str]) -> list[dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310 - http, to this machine
        f"{values['CERTHAVEN_URL']}/v1/scans",
        headers={"Authorization": f"Bearer {values['CERTHAVEN_OPERATOR_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        found: list[dict[str, Any]] = json.load(answer)["items"]
        return found


def described(run: dict[str, Any]) -> str:
    """A run in words."""
    lines = [
        f"  run        {run['id']}: {run['state']}",
        f"  accounts   {run['accounts_done']} of {run['accounts']}",
        f"  reminders  {run['notices']} became due",
        f"  messages   {run['sent']} sent, {run['held']} wait for the hours of their contacts, {run['failed']} failed",
    ]
    return "\n".join([*lines, f"  problem    {run['problem']}"] if run["problem"] else lines)


if __name__ == "__main__":
    main()
