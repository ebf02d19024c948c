"""`make deploy STAGE=…`: the same package and template, to AWS. Credentials and region as boto3 finds them."""

from __future__ import annotations

import os

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra import stack
from infra.package import build
from infra.say import give_up, step


def main() -> None:
    """Deploy the stage that `STAGE` names as the stack ``certhaven-<stage>``."""
    stage = os.environ.get("STAGE", "")
    if not stage.isalnum():
        give_up("STAGE names no stage.", "Try `make deploy STAGE=production`.")
    name = f"certhaven-{stage.lower()}"
    try:
        session = boto3.Session()
        account = session.client("sts").get_caller_identity()["Account"]
        region = session.region_name
    except (BotoCoreError, ClientError) as error:
        give_up(f"AWS cannot be reached: {error}.", "Set AWS_PROFILE or AWS_ACCESS_KEY_ID, and AWS_REGION.")
    if region is None:
        give_up("No region is set.", "Set AWS_REGION.")
    package = build()
    clients = {service: session.client(service) for service in ("s3", "cloudformation")}
    bucket = f"certhaven-packages-{account}-{region}"
    parameters = {k: v for k in ("AlarmTopicArn", "LogRetentionDays") if (v := os.environ.get(k))}
    with step(f"deploying {name} to {account} in {region}"):
        stack.ensure_bucket(clients["s3"], bucket, region)
        made = stack.deploy(clients, package, name=name, bucket=bucket, parameters=parameters)
    print(f"  {'changed' if made.changed else 'nothing to change'}")
    for key, value in sorted(made.outputs.items()):
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
