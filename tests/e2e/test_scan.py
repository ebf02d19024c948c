"""The daily scan on the running service, by `make scan`, with the emulator's mailbox to see what was told."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.config import Settings
from infra.package import ROOT
from tests.e2e.test_contacts import mailbox
from tests.support.authority import Authority

ISSUER = Authority.root()
DAY = timedelta(days=1)
PREFIX = "certhaven-local-"


def make_scan(stack):
    """Run the scan now; gives exit status and what was printed."""
    environment = {**os.environ, "CERTHAVEN_STATE": str(stack.folder)}
    command = ["make", "--no-print-directory", "scan"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def inbox(stack, api):
    """What comes for a contact that is there for the test."""
    address = f"scan-{datetime.now(UTC):%H%M%S%f}@example.com"
    body = {"name": "Ops", "channels": [{"kind": "email", "address": address}], "time_zone": "Europe/Berlin"}
    made = api.post("/v1/contacts", json=body).json()
    yield lambda: mailbox(stack, address)
    assert api.delete(f"/v1/contacts/{made['id']}").status_code == 204


def upload(api, host, left, number):
    """A certificate that lives for a year and has some time left."""
    end = datetime.now(UTC) + left
    leaf = ISSUER.issue(host, not_before=end - 365 * DAY, not_after=end, number=number)
    body = {"certificate": leaf.pem, "private_key": leaf.key_pem, "chain": ISSUER.pem, "notifications": True}
    made = api.post("/v1/certificates", json=body)
    assert made.status_code == 201, made.text
    return made.json()


def sleep_through_three_days(stack, account, certificate):
    """Have the scan believe that it last ran three days ago, when the certificate was there already."""
    dynamodb = stack.aws("dynamodb")
    entry = {"partition": {"S": f"{account}#unseen"}, "position": {"S": certificate["id"]}}
    dynamodb.delete_item(TableName=f"{PREFIX}terms", Key=entry)
    dynamodb.update_item(
        TableName=f"{PREFIX}scans",
        Key={"partition": {"S": account}, "item": {"S": "progress"}},
        UpdateExpression="SET #until = :then",
        ExpressionAttributeNames={"#until": "until"},
        ExpressionAttributeValues={":then": {"S": f"{datetime.now(UTC) - 3 * DAY:%Y-%m-%dT%H:%M:%S.%f}+0000"}},
    )


def test_a_certificate_with_six_days_left_is_told_once_and_an_outage_is_made_up_for(stack, api, account, inbox):
    upload(api, "six.example.com", 6 * DAY + timedelta(hours=1), 601)
    status, printed = make_scan(stack)
    assert status == 0, printed
    (mail,) = inbox()
    assert "1 certificate: “" in mail["Subject"]
    assert "expires in 6 days" in mail["Subject"]
    for form in ("BodyText", "BodyHtml"):
        assert "six.example.com" in mail[form]
    assert make_scan(stack)[0] == 0
    assert len(inbox()) == 1
    missed = upload(api, "missed.example.com", 5 * DAY, 602)
    sleep_through_three_days(stack, account, missed)
    assert make_scan(stack)[0] == 0
    assert len(inbox()) == 2
    late = inbox()[-1]
    assert "missed.example.com" in late["BodyText"]
    assert "six.example.com" not in late["BodyText"]
    assert "late: this was to be said on" in late["BodyText"]


def test_a_run_fails_while_mail_does_and_is_made_up_for_later(stack, api, operator, inbox):
    upload(api, "down.example.com", 2 * DAY, 603)
    ses, sender = stack.aws("sesv2"), Settings().mail_from
    ses.delete_email_identity(EmailIdentity=sender)
    try:
        status, printed = make_scan(stack)
    finally:
        ses.create_email_identity(EmailIdentity=sender)
    assert status != 0
    assert "failed" in printed
    assert "Traceback" not in printed
    assert inbox() == []
    failed = operator.get("/v1/scans").json()["items"][0]
    assert (failed["state"], failed["failed"], failed["sent"]) == ("failed", 1, 0)
    (contact,) = (c for c in api.get("/v1/contacts").json()["items"] if c["name"] == "Ops")
    assert "not verified" in contact["channels"][0]["problem"]
    status, printed = make_scan(stack)
    assert status == 0, printed
    (mail,) = inbox()
    assert "down.example.com" in mail["BodyText"]
    assert "late: this was to be said on" in mail["BodyText"]


def test_a_service_that_does_not_run_is_one_clear_line(tmp_path):
    environment = {**os.environ, "CERTHAVEN_STATE": str(tmp_path)}
    done = subprocess.run(["make", "scan"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Start the service with `make run` first." in done.stderr
    assert "Traceback" not in done.stderr
