"""AWS Private CA: the CAs that an account's role sees, and what they issued.

AWS has no list of issued certificates but the audit report: a file that AWS Private CA writes into an S3 bucket of the
account when asked to. The first page of a list asks for a report and waits for it; the other pages are read from the
same report, so the list does not move while it is read. Private keys never are at AWS.

Sources:
    API: https://docs.aws.amazon.com/privateca/latest/APIReference/ (version 2017-08-22).
    Audit reports (where they lie, what they hold, one in 30 minutes, what bucket and caller must allow):
    https://docs.aws.amazon.com/privateca/latest/userguide/PcaAuditReport.html
    Names of templates: https://docs.aws.amazon.com/privateca/latest/userguide/template-definitions.html
    What owners may share: https://docs.aws.amazon.com/privateca/latest/userguide/pca-cmp.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the library's own, which is no OSError
    HTTPClientError,
    IncompleteReadError,
)

from chalicelib.domain import pem
from chalicelib.domain.certificate import printable
from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import CerthavenError, InvalidRequest, NotFound, TooManyRequests, Unprocessable
from chalicelib.domain.model import Page
from chalicelib.domain.pca import (
    Authority,
    AuthorityRef,
    Fetched,
    IssuedCertificate,
    Unavailable,
    unknown_authority,
)
from chalicelib.ports import SourceKit
from chalicelib.sources._aws_authorities import ID, LONGEST_TOKEN, MOST_LISTED, Tree, error_code
from chalicelib.sources._aws_report import ReportEntry, issued, of_authority, read_entries

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_s3 import S3Client

#: Where ``acm-pca`` is, by partition: botocore 1.44.5, ``get_available_regions``. A role cannot be assumed from
#: another partition, so a service has the regions of its own.
# fmt: off
REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws": (
        "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
        "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
        "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
        "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1",
        "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1",
        "us-west-2",
    ),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
    "aws-eusc": ("eusc-de-east-1",),
    "aws-us-gov": ("us-gov-east-1", "us-gov-west-1"),
}
# fmt: on
#: Seconds between looks at whether a report is done; in all less than the 29 that API Gateway waits for an answer.
PAUSES: Final = (1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0)
#: A report older than this is not taken in place of one that AWS refuses to make now.
STALE_AFTER: Final = timedelta(hours=6)
#: Largest report that is read, in bytes: some 200,000 certificates. Reading it takes 350 MB of memory at most.
LARGEST_REPORT: Final = 128 * 1024 * 1024
_UUID: Final = "[0-9a-z]{8}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{12}"
_NAME: Final = re.compile(rf"([0-9]{{12}})\.({_UUID})")
_POSITION: Final = re.compile(rf"({_UUID})\.([0-9]{{1,9}})")
_REPORT_KEY: Final = re.compile(rf"audit-report/{_UUID}/({_UUID})\.json")
#: What may follow the last slash of a certificate's ARN (type Arn of the API).
_CERTIFICATE_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,100}")
#: How AWS says that it has made, or is making, a report of this CA. The reference names the first; which of them
#: stands for the rule of 30 minutes it does not tell.
_REPORT_REFUSED: Final = frozenset(
    {"RequestInProgressException", "LimitExceededException", "ThrottlingException", "TooManyRequestsException"}
)
_BUSY: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "RequestFailedException",
        "RequestInProgressException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequestsException",
    }
)
_UNKNOWN: Final = frozenset({"ResourceNotFoundException", "InvalidArnException"})
_CREDENTIALS: Final = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException"}
)
#: Actions of IAM that are not called like the operation; all others are of ``acm-pca``.
_ACTIONS: Final = {"GetObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket", "AssumeRole": "sts:AssumeRole"}
_POLICY: Final = (
    "The role needs the AWS managed policy AWSPrivateCAAuditor and, on the bucket of the audit reports, "
    "s3:ListBucket, s3:GetObject and s3:PutObject"
)
_BUCKET_POLICY: Final = (
    "The policy of the bucket must let acm-pca.amazonaws.com write audit reports; see “Prepare an Amazon S3 bucket "
    "for audit reports” in the AWS Private CA user guide"
)
KEY_NOTE: Final = (
    "AWS Private CA never has the private key: it stays with whoever made the request. To have it here, upload the "
    "certificate with its key, or keep the CSR with its key here before the next synchronisation."
)
_MISSING: Final = Unavailable("CertificateNotFound", "AWS Private CA knows no such certificate of this CA.")
#: What AWS may answer of one certificate, without a word against the others.
_UNAVAILABLE: Final[Mapping[str, Unavailable]] = {
    "ResourceNotFoundException": _MISSING,
    "InvalidArnException": _MISSING,
    "RequestInProgressException": Unavailable(
        "CertificateNotIssued", "AWS Private CA has not issued it yet; the next synchronisation fetches it."
    ),
    "InvalidStateException": Unavailable(
        "CertificateNotAvailable",
        "AWS Private CA gives no certificates of this CA in its present state; enable or restore the CA there.",
    ),
    "RequestFailedException": Unavailable(
        "CertificateNotAvailable", "AWS Private CA failed to give it, for no reason told; synchronise again."
    ),
}


def build(kit: SourceKit) -> AwsPrivateCa:
    """The plug-in."""
    return AwsPrivateCa(kit)


class AwsPrivateCa:
    """Implements `chalicelib.ports.CertificateSource` with AWS Private CA.

    CAs that other accounts share with this one are left out: their audit reports are for their owners only.
    """

    id = ID
    title = "AWS Private CA"

    def __init__(self, kit: SourceKit, sleep: Callable[[float], None] = time.sleep) -> None:
        self._kit = kit
        self._sleep = sleep

    def regions(self) -> Sequence[str]:
        """Regions of the partition that the service runs in, its own one first."""
        own = self._kit.region
        return sorted(REGIONS[_partition(own)], key=lambda region: (region != own, region))

    def setup_needed(self, account_id: str) -> str:
        """What is to be set for `role_arn`; the bucket, needed for lists of certificates only, is told with it."""
        given = self._kit.credentials.get(account_id, ID) or {}
        if given.get("role_arn"):
            return ""
        needed = (
            f"Set `role_arn` in {self._place(account_id)}: a role of your AWS account that this service may assume."
        )
        if not given.get("audit_report_bucket"):
            needed += (
                " Set `audit_report_bucket` there too, an S3 bucket: what a CA issued is told in audit reports only."
            )
        return f"{needed} {_POLICY}."

    def authorities(self, account_id: str, region: str, *, limit: int, cursor: str | None) -> Page[Authority]:
        """The CAs of a region that have a certificate: a request for each page, and one for each CA."""
        self._check_region(region)
        scope = f"aws authorities {account_id} {region}"
        token = decode_cursor(scope, cursor, longest=LONGEST_TOKEN)
        with self._explained(account_id):
            tree = Tree(self._kit.aws(account_id, "acm-pca", region), account_id)
            listed, token = tree.page(min(limit, MOST_LISTED), token)
            found = tuple(authority for one in listed if (authority := tree.authority(one)) is not None)
        return Page(found, encode_cursor(scope, token) if token else None)

    def authority(self, account_id: str, ref: AuthorityRef) -> Authority:
        """One CA: two requests, and those for its parent."""
        arn = self._arn(ref)
        with self._explained(account_id, ref):
            pca: ACMPCAClient = self._kit.aws(account_id, "acm-pca", ref.region)
            listed = pca.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]
            found = Tree(pca, account_id).authority(listed)
        if found is None:
            raise NotFound(
                "AuthorityNotFound",
                f"CA {ref} has no certificate at AWS Private CA: it is {listed.get('Status')}.",
                "Install its certificate there, or take another id from GET /v1/pca/cas.",
            )
        return found

    def certificates(
        self, account_id: str, ref: AuthorityRef, *, limit: int, cursor: str | None
    ) -> Page[IssuedCertificate]:
        """What a CA issued to servers and clients, as it was issued, by one audit report.

        The first page asks for a new report and waits up to `PAUSES`; where AWS makes none now, the newest one that is
        there is taken, if it is younger than `STALE_AFTER`. Each page then is one reading of the report from S3.
        Alternative names, algorithm and fingerprint are not in a report.
        """
        arn = self._arn(ref)
        scope = f"aws certificates {account_id} {ref}"
        position = decode_cursor(scope, cursor)
        at = _POSITION.fullmatch(position) if position is not None else None
        if position is not None and at is None:
            raise _strange_cursor()
        with self._explained(account_id, ref):
            s3: S3Client = self._kit.aws(account_id, "s3", ref.region)
            bucket = self._bucket(account_id)
            report = at[1] if at else self._report(account_id, arn, ref, s3, bucket)
            entries = _read_report(s3, bucket, f"{_reports_of(ref)}{report}.json")
        if entries is None and at:
            raise _strange_cursor("The list that the cursor belongs to is no longer in the bucket of audit reports.")
        if entries is None:
            raise _refused(f"AWS Private CA made audit report {report}, but bucket {bucket} does not have it.")
        start = int(at[2]) if at else 0
        leaves = sorted((e for e in entries if not of_authority(e)), key=lambda e: (e.issued_at, e.certificate_arn))
        more = encode_cursor(scope, f"{report}.{start + limit}") if start + limit < len(leaves) else None
        with _report_judged(report):
            return Page(tuple(issued(ref, entry) for entry in leaves[start : start + limit]), more)

    def fetch(
        self, account_id: str, ref: AuthorityRef, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        """Certificates by the last part of their ARNs: one request each. AWS gives revoked ones too, unmarked."""
        return self._fetched(account_id, ref, self._arn(ref), ids)

    def _fetched(
        self, account_id: str, ref: AuthorityRef, arn: str, ids: Sequence[str]
    ) -> Iterator[tuple[str, Fetched | Unavailable]]:
        with self._explained(account_id, ref):
            pca: ACMPCAClient = self._kit.aws(account_id, "acm-pca", ref.region)
        for one in ids:
            if not _CERTIFICATE_ID.fullmatch(one):
                yield one, _MISSING
                continue
            with self._explained(account_id, ref):
                found = _fetch(pca, arn, one)
            yield one, found

    def _report(self, account_id: str, arn: str, ref: AuthorityRef, s3: S3Client, bucket: str) -> str:
        """The id of a report that can be read: a new one, or the newest where AWS makes none now."""
        pca: ACMPCAClient = self._kit.aws(account_id, "acm-pca", ref.region)
        try:
            made = pca.create_certificate_authority_audit_report(
                CertificateAuthorityArn=arn, S3BucketName=bucket, AuditReportResponseFormat="JSON"
            )["AuditReportId"]
        except ClientError as error:
            if error_code(error) not in _REPORT_REFUSED:
                raise
            return self._newest_report(ref, s3, bucket)
        for pause in PAUSES:
            self._sleep(pause)
            answer = pca.describe_certificate_authority_audit_report(CertificateAuthorityArn=arn, AuditReportId=made)
            if answer["AuditReportStatus"] == "SUCCESS":
                return made
            if answer["AuditReportStatus"] == "FAILED":
                raise _refused(
                    f"AWS Private CA could not write its audit report into bucket {bucket}.", f"{_BUCKET_POLICY}."
                )
        raise _busy("AWS Private CA is still writing the audit report of this CA.")

    def _newest_report(self, ref: AuthorityRef, s3: S3Client, bucket: str) -> str:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_reports_of(ref))
        found = (
            (item["LastModified"], key[1])
            for page in pages
            for item in page.get("Contents", ())
            if (key := _REPORT_KEY.fullmatch(item["Key"]))
        )
        at, report = max(found, default=(datetime.min.replace(tzinfo=UTC), ""))
        if self._kit.clock() - at > STALE_AFTER:
            raise _busy(
                "AWS Private CA makes one audit report of a CA in 30 minutes, and refused another one now; "
                f"in bucket {bucket} is none younger than {STALE_AFTER // timedelta(hours=1)} hours."
            )
        return report

    def _bucket(self, account_id: str) -> str:
        bucket = (self._kit.credentials.get(account_id, ID) or {}).get("audit_report_bucket", "")
        if not bucket:
            raise Unprocessable(
                "SourceNotConfigured",
                "`audit_report_bucket` is missing: AWS Private CA lists what a CA issued in audit reports only, "
                "and writes them into an S3 bucket of yours.",
                f"Set it in {self._place(account_id)} to the name of a bucket. {_BUCKET_POLICY}. {_POLICY}.",
            )
        return bucket

    def _place(self, account_id: str) -> str:
        return self._kit.credentials.place(account_id, ID)

    def _check_region(self, region: str) -> None:
        if region not in self.regions():
            raise Unprocessable("RegionNotSupported", f"AWS Private CA is not to be had in region {region!r:.60}.")

    def _arn(self, ref: AuthorityRef) -> str:
        """The ARN that `ref` stands for. Raises: NotFound, Unprocessable: `RegionNotSupported`."""
        self._check_region(ref.region)
        name = _NAME.fullmatch(ref.name)
        if name is None:
            raise unknown_authority(str(ref))
        return f"arn:{_partition(ref.region)}:acm-pca:{ref.region}:{name[1]}:certificate-authority/{name[2]}"

    @contextmanager
    def _explained(self, account_id: str, ref: AuthorityRef | None = None) -> Iterator[None]:
        """Errors of AWS in our words. `ref` is what is asked about."""
        try:
            yield
        except ClientError as error:
            raise self._refusal(account_id, ref, error) from None
        except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
            raise _busy(f"AWS does not answer, after all retries ({type(error).__name__}).") from None
        except BotoCoreError as error:
            raise _refused(
                f"AWS was not asked: {printable(str(error), 300)}",
                f"Check what is set in {self._place(account_id)}.",
            ) from None

    def _refusal(self, account_id: str, ref: AuthorityRef | None, error: ClientError) -> CerthavenError:
        code, status = error_code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        action = _ACTIONS.get(error.operation_name, f"acm-pca:{error.operation_name}")
        if code in _UNKNOWN and ref is not None:
            return unknown_authority(str(ref))
        if code == "InvalidNextTokenException":
            return _strange_cursor()
        if code in _BUSY or code.startswith("Throttl") or status == 429 or status >= 500:
            return _busy(f"AWS does not carry out {action} now, after all retries ({code}).")
        says = printable(error.response["Error"].get("Message", ""), 300)
        return _refused(f"AWS refused {action} ({code}): {says}", self._way_out(account_id, code))

    def _way_out(self, account_id: str, code: str) -> str:
        place = self._place(account_id)
        if code.startswith("AccessDenied"):
            return f"{_POLICY}. Which role and bucket are used is set in {place}."
        if code in _CREDENTIALS:
            return f"Check `role_arn` in {place}, and that the region is enabled in your AWS account."
        if code == "NoSuchBucket":
            return f"Set `audit_report_bucket` in {place} to the name of a bucket that exists."
        if code == "InvalidStateException":
            return "Enable or restore the CA at AWS Private CA."
        return f"Check what is set in {place}. {_BUCKET_POLICY}."


def _fetch(pca: ACMPCAClient, arn: str, one: str) -> Fetched | Unavailable:
    try:
        answer = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=f"{arn}/certificate/{one}")
    except ClientError as error:
        if (unavailable := _UNAVAILABLE.get(error_code(error))) is None:
            raise
        return unavailable
    certificate, *others = _pem_texts(answer["Certificate"]) or [""]
    chain = [*others, *_pem_texts(answer.get("CertificateChain", ""))]
    if not certificate:
        return Unavailable("CertificateNotAvailable", "What AWS Private CA gives is not a certificate.")
    return Fetched(certificate, tuple(chain), key_note=KEY_NOTE)


def _read_report(s3: S3Client, bucket: str, key: str) -> list[ReportEntry] | None:
    """All entries of a report; ``None`` when it is not there."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        return None
    if answer["ContentLength"] > LARGEST_REPORT:
        raise _refused(
            f"Audit report {key} in bucket {bucket} has {answer['ContentLength']:,} bytes; "
            f"at most {LARGEST_REPORT:,} are read.",
            "Name the certificates to synchronise by their ids.",
        )
    with _report_judged(key):
        return read_entries(answer["Body"].read())


@contextmanager
def _report_judged(report: str) -> Iterator[None]:
    """A report that cannot be read, in our words."""
    try:
        yield
    except ValueError as error:
        raise _refused(
            f"Audit report {report} is not as AWS Private CA writes them: {printable(str(error), 200)}",
            "Delete it from the bucket, if something else wrote it, and repeat after 30 minutes.",
        ) from None


def _partition(region: str) -> str:
    return next((partition for partition, regions in REGIONS.items() if region in regions), "aws")


def _reports_of(ref: AuthorityRef) -> str:
    return f"audit-report/{ref.name.partition('.')[2]}/"


def _pem_texts(text: str) -> list[str]:
    return [pem.encode("CERTIFICATE", block.der) for block in pem.certificate_blocks(text, "chain").certificates]


def _busy(message: str) -> TooManyRequests:
    return TooManyRequests("SourceBusy", message)


def _refused(message: str, hint: str = "") -> Unprocessable:
    return Unprocessable("SourceRefused", message, hint)


def _strange_cursor(message: str = "The cursor does not belong to this list.") -> InvalidRequest:
    return InvalidRequest("InvalidCursor", message)
