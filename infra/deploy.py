"""`make deploy STAGE=…`: the same package and template, to AWS. Credentials and region as boto3 finds them.

The first deployment of a stage shows an operator's token. With the argument ``operator-token`` (`make operator-token`)
one more is made for a stage that is deployed: whoever may write to its tables may have one.
"""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.config import Settings
from chalicelib.functions.access import Access
from chalicelib.wiring import AwsServices
from infra import stack
from infra.bootstrap import first_operator_token, operator_token
from infra.package import build
from infra.say import give_up, step

#: Of the template, that may be set in the environment.
PARAMETERS = (
    "AlarmTopicArn",
    "FreeNotifications",
    "LogLevel",
    "LogRetentionDays",
    "MailFrom",
    "QuotaFulfilment",
    "ScanHour",
)


def main(arguments: list[str]) -> None:
    """Deploy the stage that `STAGE` names as the stack ``certhaven-<stage>``, or make an operator's token for it."""
    stage = os.environ.get("STAGE", "")
    if not stage.isalnum():
        give_up("STAGE names no stage.", "Try `make deploy STAGE=production`.")
    name = f"certhaven-{stage.lower()}"
    session, account, region = sign_in()
    if arguments == ["operator-token"]:
        print(f"  Operator's token, shown this once: {operator_token(access_of(name, region))}")
        return
    package = build()
    clients = {service: session.client(service) for service in ("s3", "cloudformation")}
    bucket = f"certhaven-packages-{account}-{region}"
    parameters = {k: v for k in PARAMETERS if (v := os.environ.get(k))}
    with step(f"deploying {name} to {account} in {region}"):
        stack.ensure_bucket(clients["s3"], bucket, region)
        made = stack.deploy(clients, package, name=name, bucket=bucket, parameters=parameters)
    print(f"  {'changed' if made.changed else 'nothing to change'}")
    for key, value in sorted(made.outputs.items()):
        print(f"  {key}: {value}")
    token = first_operator_token(access_of(name, region))
    if token is not None:
        print(f"  Operator's token, shown this once: {token}")


def sign_in() -> tuple[boto3.Session, str, str]:
    """A session with its account and region. Ends with one line when there is none."""
    try:
        session = boto3.Session()
        account = session.client("sts", region_name=session.region_name or "us-east-1").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        give_up(f"AWS cannot be reached: {error}.", "Set AWS_PROFILE or AWS_ACCESS_KEY_ID, and AWS_REGION.")
    if session.region_name is None:
        give_up("No region is set.", "Set AWS_REGION.")
    return session, account, session.region_name


def access_of(name: str, region: str) -> Access:
    """Accounts and tokens of a deployed stack."""
    return AwsServices(Settings(stage=name, region=region, table_prefix=f"{name}-")).access


if __name__ == "__main__":
    main(sys.argv[1:])
