from __future__ import annotations

import json
from datetime import timedelta
from io import BytesIO
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from cryptography.hazmat.primitives.serialization import Encoding

from chalicelib.domain.cursors import encode_cursor
from chalicelib.domain.errors import InvalidRequest, NotFound, TooManyRequests, Unprocessable
from chalicelib.domain.pca import Fetched, IssuedCertificate, Unavailable
from chalicelib.sources._aws_authorities import reference
from chalicelib.sources.aws import LARGEST_REPORT, PAUSES, STALE_AFTER, AwsPrivateCa
from tests.support.audit_report import PLACE, AwsAccount, refuse
from tests.support.records import ACCOUNT
from tests.support.tables import REGION, moto_aws

QUIET = "eu-west-1"


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


class There(AwsAccount):
    """An AWS account with a root, its own or one that others use too, and the plug-in over it."""

    def __init__(self, arn=None):
        super().__init__(QUIET if arn else REGION, anew=arn is None)
        self.arn = arn or self.root()
        self.ref = reference(self.arn)
        self.pauses = []
        self.source = AwsPrivateCa(self.kit, self.pauses.append)

    def page(self, limit=100, cursor=None):
        return self.source.certificates(ACCOUNT, self.ref, limit=limit, cursor=cursor)

    def fetch(self, *ids):
        return dict(self.source.fetch(ACCOUNT, self.ref, ids))

    def key(self, report, suffix="json"):
        return f"audit-report/{self.arn.rpartition('/')[2]}/{report}.{suffix}"


@pytest.fixture
def there():
    return There()


@pytest.fixture(scope="module")
def root(_aws):
    """A root that issues nothing, in a region of its own."""
    return AwsAccount(QUIET).root()


@pytest.fixture
def quiet(root):
    return There(root)


# --- what a CA issued


def test_what_a_ca_issued_to_servers_is_listed_and_what_it_gave_to_cas_is_not(there):
    there.intermediate(there.arn)
    one = there.issue(there.arn, "www.example.com")
    (found,) = there.page().items
    certificate = there.certificate(there.arn, one)
    assert found == IssuedCertificate(
        id=one,
        authority_id=str(there.ref),
        common_name="www.example.com",
        sans=(),
        serial_number=certificate.serial_number.to_bytes(20, "big").lstrip(b"\0").hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def test_a_ca_that_issued_nothing_has_one_empty_page(quiet):
    page = quiet.page()
    assert (page.items, page.cursor) == ((), None)


def test_the_pages_of_a_list_are_one_report_whatever_is_issued_meanwhile(there):
    ids = {there.issue(there.arn, f"host-{number}.example.com") for number in range(5)}
    page = there.page(limit=2)
    found = [page]
    while page.cursor:
        there.issue(there.arn, "late.example.com")
        there.clock.advance(timedelta(hours=1))
        page = there.page(limit=2, cursor=page.cursor)
        found.append(page)
    assert [len(page.items) for page in found] == [2, 2, 1]
    assert {one.id for page in found for one in page.items} == ids
    assert len(there.reports.made) == 1


def test_a_page_after_the_first_is_one_request(there):
    for number in range(3):
        there.issue(there.arn, f"host-{number}.example.com")
    cursor, sent = there.page(limit=1).cursor, []
    for client in (there.pca, there.s3):
        client.meta.events.register("before-call", lambda event_name, **_: sent.append(event_name))
    there.page(limit=1, cursor=cursor)
    assert sent == ["before-call.s3.GetObject"]


def test_a_revoked_certificate_says_when(there):
    kept, revoked = there.issue(there.arn, "a.example.com"), there.issue(there.arn, "b.example.com")
    there.revoke(there.arn, revoked)
    found = {one.id: one.revoked_at for one in there.page().items}
    assert found[kept] is None
    assert abs(found[revoked] - there.clock()) < timedelta(minutes=5)


# --- making a report


def test_a_report_is_waited_for(there):
    there.reports.looks = 3
    there.issue(there.arn, "www.example.com")
    assert len(there.page().items) == 1
    assert there.pauses == list(PAUSES[:4])


def test_a_report_that_takes_too_long_is_busy_before_the_gateway_gives_up_and_is_used_when_it_is_there(there):
    there.issue(there.arn, "www.example.com")
    there.reports.looks = len(PAUSES)
    with pytest.raises(TooManyRequests) as refused:
        there.page()
    assert refused.value.code == "SourceBusy"
    assert sum(there.pauses) < 25
    there.pca.describe_certificate_authority_audit_report(
        CertificateAuthorityArn=there.arn, AuditReportId=there.reports.made[0]
    )
    assert len(there.page().items) == 1


def test_a_report_that_failed_is_refused_with_what_the_bucket_must_allow(quiet):
    quiet.reports.outcome = "FAILED"
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert quiet.bucket in refused.value.message
    assert "acm-pca.amazonaws.com" in refused.value.hint


@pytest.mark.parametrize("code", ["RequestInProgressException", "LimitExceededException", "ThrottlingException"])
def test_when_aws_makes_no_second_report_the_newest_one_is_read(there, code):
    there.reports.refused_as = code
    there.issue(there.arn, "www.example.com")
    first = there.page()
    there.issue(there.arn, "new.example.com")
    for key in (there.key("0" * 8, "csv"), there.key("x"), "audit-report/other/a.json"):
        there.s3.put_object(Bucket=there.bucket, Key=key, Body=b"not for us")
    assert there.page() == first
    assert len(there.reports.made) == 1


def test_of_several_reports_the_newest_is_read(quiet):
    refuse(quiet.pca, "CreateCertificateAuthorityAuditReport", "RequestInProgressException")
    ages = {str(uuid4()): timedelta(minutes=minutes) for minutes in (90, 30, 60)}
    newest = min(ages, key=ages.get)
    listed = [{"Key": quiet.key(one), "LastModified": quiet.clock() - age} for one, age in ages.items()]
    content = BytesIO(b"[]")
    with Stubber(quiet.s3) as stub:
        stub.add_response("list_objects_v2", {"Contents": listed})
        stub.add_response(
            "get_object",
            {"ContentLength": 2, "Body": StreamingBody(content, 2)},
            {"Bucket": quiet.bucket, "Key": quiet.key(newest)},
        )
        assert not quiet.page().items
        stub.assert_no_pending_responses()


def test_a_report_too_old_to_stand_in_is_busy_with_words(there):
    there.page()
    refuse(there.pca, "CreateCertificateAuthorityAuditReport", "RequestInProgressException")
    there.clock.advance(STALE_AFTER + timedelta(minutes=1))
    with pytest.raises(TooManyRequests) as refused:
        there.page()
    assert refused.value.code == "SourceBusy"
    assert "30 minutes" in refused.value.message
    assert "6 hours" in refused.value.message


def test_without_a_bucket_the_list_says_what_to_set_and_where(quiet):
    quiet.credentials.providers["aws"].pop("audit_report_bucket")
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceNotConfigured"
    assert "`audit_report_bucket`" in refused.value.message
    assert PLACE in refused.value.hint


def test_a_list_whose_report_was_deleted_begins_anew(there):
    there.issue(there.arn, "a.example.com")
    there.issue(there.arn, "b.example.com")
    cursor = there.page(limit=1).cursor
    there.s3.delete_object(Bucket=there.bucket, Key=there.key(there.reports.made[0]))
    with pytest.raises(InvalidRequest) as refused:
        there.page(cursor=cursor)
    assert refused.value.code == "InvalidCursor"


def test_a_report_that_is_not_where_aws_said_is_refused(quiet):
    refuse(quiet.s3, "GetObject", "NoSuchKey", status=404)
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert quiet.reports.made[0] in refused.value.message


@pytest.mark.parametrize("position", ["1", f"{'0' * 36}.0", "../../../../other.0", f"{'../' * 12}.0"])
def test_a_forged_position_names_no_other_object(quiet, position):
    cursor = encode_cursor(f"aws certificates {ACCOUNT} {quiet.ref}", position)
    refuse(quiet.s3, "GetObject", "AccessDenied", status=403)
    with pytest.raises(InvalidRequest) as refused:
        quiet.page(cursor=cursor)
    assert refused.value.code == "InvalidCursor"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"{}",
        b"[1]",
        b'[{"serial": "00"}]',
        json.dumps(
            [dict.fromkeys(("certificateArn", "serial", "notBefore", "notAfter", "issuedAt"), "00:ff")]
        ).encode(),
    ],
)
def test_a_report_that_aws_did_not_write_so_is_refused(quiet, content):
    quiet.page()
    quiet.s3.put_object(Bucket=quiet.bucket, Key=quiet.key(quiet.reports.made[0]), Body=content)
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert quiet.reports.made[0] in refused.value.message


def test_a_report_too_large_to_read_is_refused_unread(quiet):
    quiet.page()
    body = StreamingBody(BytesIO(), 0)
    with Stubber(quiet.s3) as stub:
        key = quiet.key(quiet.reports.made[0])
        listed = {"Key": key, "LastModified": quiet.clock()}
        stub.add_response("list_objects_v2", {"Contents": [listed]})
        stub.add_response(
            "get_object", {"ContentLength": LARGEST_REPORT + 1, "Body": body}, {"Bucket": quiet.bucket, "Key": key}
        )
        with pytest.raises(Unprocessable) as refused:
            quiet.page()
    assert refused.value.code == "SourceRefused"
    assert "134,217,728" in refused.value.message


def test_certificates_are_listed_as_they_were_issued(quiet):
    quiet.page()
    days = [3, 1, 2]
    entries = [
        {
            "certificateArn": f"{quiet.arn}/certificate/day-{day}",
            "serial": f"0{day}",
            "subject": f"CN=day-{day}.example.com",
            "notBefore": "2020-01-01T00:00:00+0000",
            "notAfter": "2030-01-01T00:00:00+0000",
            "issuedAt": f"2020-01-0{day}T00:00:00+0000",
        }
        for day in days
    ]
    content = json.dumps(entries).encode()
    quiet.s3.put_object(Bucket=quiet.bucket, Key=quiet.key(quiet.reports.made[0]), Body=content)
    assert [one.id for one in quiet.page().items] == ["day-1", "day-2", "day-3"]


# --- fetching


def test_a_certificate_comes_with_its_chain_and_a_word_about_its_key(there):
    below = there.intermediate(there.arn)
    one = there.issue(below, "www.example.com")
    ref = reference(below)
    ((told, found),) = there.source.fetch(ACCOUNT, ref, [one])
    assert told == one
    assert found.certificate.encode() == there.certificate(below, one).public_bytes(Encoding.PEM)
    assert found.chain == (there.source.authority(ACCOUNT, ref).certificate,)
    assert found.private_key is None
    assert "upload" in found.key_note


def test_what_is_listed_can_be_fetched(there):
    ids = {there.issue(there.arn, f"host-{number}.example.com") for number in range(3)}
    there.revoke(there.arn, max(ids))
    listed = [one.id for one in there.page().items]
    found = there.fetch(*listed)
    assert found.keys() == ids
    assert all(isinstance(one, Fetched) for one in found.values())


@pytest.mark.parametrize("strange", ["0" * 32, "", "../certificate", "a/b", "x" * 101, "é"])
def test_an_unknown_certificate_stops_nothing(there, strange):
    first, last = there.issue(there.arn, "a.example.com"), there.issue(there.arn, "b.example.com")
    found = there.fetch(first, strange, last)
    assert list(found) == [first, strange, last]
    assert found[strange].code == "CertificateNotFound"
    assert isinstance(found[last], Fetched)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("RequestInProgressException", "CertificateNotIssued"),
        ("InvalidStateException", "CertificateNotAvailable"),
        ("RequestFailedException", "CertificateNotAvailable"),
        ("InvalidArnException", "CertificateNotFound"),
    ],
)
def test_a_certificate_that_cannot_be_had_says_why(quiet, refusal, code):
    refuse(quiet.pca, "GetCertificate", refusal)
    (found,) = quiet.fetch("a" * 32).values()
    assert isinstance(found, Unavailable)
    assert found.code == code


def test_what_is_no_certificate_is_not_available(quiet):
    with Stubber(quiet.pca) as stub:
        stub.add_response("get_certificate", {"Certificate": "nothing"})
        (found,) = quiet.fetch("a" * 32).values()
    assert found.code == "CertificateNotAvailable"


# --- refusals of AWS


def asks(quiet):
    """Every way to ask, by the operation that it begins with."""
    return {
        "ListCertificateAuthorities": lambda: quiet.source.authorities(ACCOUNT, quiet.region, limit=1, cursor=None),
        "GetCertificateAuthorityCertificate": lambda: quiet.source.authority(ACCOUNT, quiet.ref),
        "DescribeCertificateAuthority": lambda: quiet.source.authority(ACCOUNT, quiet.ref),
        "CreateCertificateAuthorityAuditReport": quiet.page,
        "DescribeCertificateAuthorityAuditReport": quiet.page,
        "GetCertificate": lambda: quiet.fetch("a" * 32),
    }


def test_every_action_that_is_not_allowed_is_named_with_the_policy(quiet):
    for operation, ask in asks(quiet).items():
        undo = refuse(quiet.pca, operation, "AccessDeniedException", message="User is not authorized")
        with pytest.raises(Unprocessable) as refused:
            ask()
        undo()
        assert refused.value.code == "SourceRefused"
        assert f"acm-pca:{operation} (AccessDeniedException): User is not authorized" in refused.value.message
        assert "AWSPrivateCAAuditor" in refused.value.hint
        assert PLACE in refused.value.hint


@pytest.mark.parametrize(("operation", "action"), [("GetObject", "s3:GetObject"), ("ListObjectsV2", "s3:ListBucket")])
def test_refusals_of_the_bucket_are_named_too(quiet, operation, action):
    quiet.page()
    refuse(quiet.s3, operation, "AccessDenied", status=403)
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert action in refused.value.message


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("UnrecognizedClientException", "`role_arn`"),
        ("ExpiredTokenException", "`role_arn`"),
        ("InvalidClientTokenId", "region is enabled"),
        ("InvalidStateException", "restore the CA"),
        ("InvalidArgsException", "acm-pca.amazonaws.com"),
    ],
)
def test_a_refusal_says_what_to_do(quiet, code, hint):
    refuse(quiet.pca, "CreateCertificateAuthorityAuditReport", code)
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert code in refused.value.message
    assert hint in refused.value.hint


def test_a_bucket_that_is_not_there_is_named_by_its_field(quiet):
    quiet.page()
    quiet.credentials.providers["aws"]["audit_report_bucket"] = "no-such-bucket-anywhere"
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert "`audit_report_bucket`" in refused.value.hint


@pytest.mark.parametrize("bucket", ["x", "not a bucket!"])
def test_a_bucket_that_cannot_be_is_refused(quiet, bucket):
    quiet.page()
    quiet.credentials.providers["aws"]["audit_report_bucket"] = bucket
    with pytest.raises(Unprocessable) as refused:
        quiet.page()
    assert refused.value.code == "SourceRefused"
    assert PLACE in refused.value.hint


@pytest.mark.parametrize(
    ("code", "status"),
    [("ThrottlingException", 400), ("RequestFailedException", 400), ("Whatever", 500), ("Whatever", 503), ("X", 429)],
)
def test_a_busy_aws_is_busy(quiet, code, status):
    refuse(quiet.pca, "ListCertificateAuthorities", code, status=status)
    with pytest.raises(TooManyRequests) as refused:
        asks(quiet)["ListCertificateAuthorities"]()
    assert refused.value.code == "SourceBusy"


@pytest.mark.parametrize("error", [ReadTimeoutError, EndpointConnectionError])
def test_an_aws_that_does_not_answer_is_busy(quiet, error):
    def silent(params, **_):
        raise error(endpoint_url=params["url"])

    for operation, ask in asks(quiet).items():
        event = f"before-call.acm-pca.{operation}"
        quiet.pca.meta.events.register_first(event, silent)
        with pytest.raises(TooManyRequests) as refused:
            ask()
        quiet.pca.meta.events.unregister(event, silent)
        assert refused.value.code == "SourceBusy"


def test_a_client_without_credentials_is_refused(quiet):
    def none(*_, **__):
        raise NoCredentialsError

    quiet.pca.meta.events.register_first("before-call.acm-pca.DescribeCertificateAuthority", none)
    with pytest.raises(Unprocessable) as refused:
        quiet.source.authority(ACCOUNT, quiet.ref)
    assert refused.value.code == "SourceRefused"


def test_every_request_about_one_ca_names_it_when_it_is_gone(quiet):
    asked = asks(quiet)
    del asked["ListCertificateAuthorities"], asked["GetCertificateAuthorityCertificate"], asked["GetCertificate"]
    for operation, ask in asked.items():
        undo = refuse(quiet.pca, operation, "ResourceNotFoundException")
        with pytest.raises(NotFound) as refused:
            ask()
        undo()
        assert refused.value.code == "AuthorityNotFound"
        assert str(quiet.ref) in refused.value.message


def test_the_stand_in_for_reports_answers_what_the_service_model_promises(quiet):
    asked = {"CertificateAuthorityArn": quiet.arn}
    made = quiet.pca.create_certificate_authority_audit_report(
        **asked, S3BucketName=quiet.bucket, AuditReportResponseFormat="JSON"
    )
    told = quiet.pca.describe_certificate_authority_audit_report(**asked, AuditReportId=made["AuditReportId"])
    model = boto3.client("acm-pca", region_name=quiet.region).meta.service_model
    for answer, operation in [(made, "Create"), (told, "Describe")]:
        shape = model.operation_model(f"{operation}CertificateAuthorityAuditReport").output_shape
        assert answer.keys() - {"ResponseMetadata"} == shape.members.keys()
    assert told["AuditReportStatus"] in model.shape_for("AuditReportStatus").enum
