"""Putting a package into CloudFormation: the same steps for the local emulator and for AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from infra.package import Package
from infra.say import give_up


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack. `changed` says whether this deployment changed anything."""

    name: str
    outputs: dict[str, str]
    changed: bool


def ensure_bucket(s3: Any, name: str, region: str) -> None:  # noqa: ANN401 - a boto3 client
    """Create the bucket for packages unless it is there."""
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=name, **place)
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration=dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            ),
        )


def deploy(
    clients: dict[str, Any], package: Package, *, name: str, bucket: str, parameters: dict[str, str], wait: int = 5
) -> Stack:
    """Create or update a stack.

    Args:
        clients: boto3 clients `s3` and `cloudformation`.
        package: what to deploy.
        name: of the stack.
        bucket: that packages are uploaded to.
        parameters: of the template.
        wait: seconds between looks at the progress.
    """
    s3, cloudformation = clients["s3"], clients["cloudformation"]
    archive, template = f"certhaven-{package.digest}.zip", f"certhaven-{package.digest}.yaml"
    text = package.template.read_text().replace("./deployment.zip", f"s3://{bucket}/{archive}")
    s3.upload_file(str(package.archive), bucket, archive)
    s3.put_object(Bucket=bucket, Key=template, Body=text.encode())
    location = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": template}).partition("?")[0]
    request = {
        "StackName": name,
        "TemplateURL": location,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    }
    changed = _put(cloudformation, request, name, wait)
    described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return Stack(name, {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}, changed)


def _put(cloudformation: Any, request: dict[str, Any], name: str, wait: int) -> bool:  # noqa: ANN401 - a boto3 client
    kind = "update" if _exists(cloudformation, name) else "create"
    try:
        getattr(cloudformation, f"{kind}_stack")(**request)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        give_up(f"The stack {name} cannot be deployed: {error.response['Error']['Message']}", "")
    waiter = cloudformation.get_waiter(f"stack_{kind}_complete")
    try:
        waiter.wait(StackName=name, WaiterConfig={"Delay": wait, "MaxAttempts": max(1, 1800 // wait)})
    except WaiterError:
        give_up(f"The stack {name} did not come up: {_why(cloudformation, name)}", "")
    return True


def _exists(cloudformation: Any, name: str) -> bool:  # noqa: ANN401 - a boto3 client
    try:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError:
        return False
    return str(status) != "REVIEW_IN_PROGRESS"


def _why(cloudformation: Any, name: str) -> str:  # noqa: ANN401 - a boto3 client
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [e for e in events if e["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return "no event says why."
    first = failed[-1]
    return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', 'no reason given')}"
