"""Private CAs of an AWS account on moto, with the audit reports that moto does not have.

The CAs, their certificates and the bucket are moto's, made by the real calls. What answers
CreateCertificateAuthorityAuditReport and DescribeCertificateAuthorityAuditReport is a FAKE, after the API reference
and https://docs.aws.amazon.com/privateca/latest/userguide/PcaAuditReport.html. It stands behind botocore, which has
checked and written the request by its service model, and reads the answer by that model too.
How AWS refuses a second report within 30 minutes is not documented: `refused_as` says what is tried.
"""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.parsers import create_parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from moto.acmpca.models import acmpca_backends
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.ports import SourceKit
from tests.support.authority import private_key
from tests.support.fakes import FixedClock
from tests.support.tables import REGION

BETWEEN_REPORTS = timedelta(minutes=30)
TEMPLATE = "arn:aws:acm-pca:::template/{}/V1"
ROLE = "arn:aws:iam::123456789012:role/certhaven"
PLACE = "the console under Settings, Other clouds"
_numbers = itertools.count()


def answer(model, content, *, status=200):
    """What AWS would send for an operation, read by its service model; `content` as JSON or text."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    read = create_parser(model.service_model.resolved_protocol)
    parsed = read.parse({"status_code": status, "headers": {}, "body": body}, model.output_shape)
    return AWSResponse("", status, {}, None), parsed


def error(model, code, *, status=400, message="Told by AWS."):
    """The same for an error."""
    if model.service_model.service_name == "s3":
        return answer(model, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode(), status=status)
    return answer(model, {"__type": code, "message": message}, status=status)


def refuse(client, operation, code, **how):
    """Make AWS answer an operation of a client by an error from now on; gives what takes that back."""

    def refusal(model, **_):
        return error(model, code, **how)

    event = f"before-call.{client.meta.service_model.service_name}.{operation}"
    client.meta.events.register_first(event, refusal)
    return partial(client.meta.events.unregister, event, refusal)


class AuditReports:
    """Makes reports of what moto's CAs issued.

    Attributes:
        looks: how often a report is CREATING when it is asked for.
        outcome: what becomes of it then.
        made: ids in order.
    """

    def __init__(self, clock):
        self.clock = clock
        self.looks = 0
        self.outcome = "SUCCESS"
        self.refused_as = "RequestInProgressException"
        self.made = []
        self._reports = {}
        self._last = {}

    def attach(self, client):
        """Answer for a client of moto what moto does not."""
        for operation, answers in {
            "CreateCertificateAuthorityAuditReport": self._create,
            "DescribeCertificateAuthorityAuditReport": self._describe,
            "GetCertificate": self._certificate,
        }.items():
            handler = partial(self._answer, answers, client.meta.region_name)
            client.meta.events.register(f"before-call.acm-pca.{operation}", handler)

    def _answer(self, answers, region, model, params, **_):
        given = json.loads(params["body"])
        arn = given["CertificateAuthorityArn"]
        authority = acmpca_backends[DEFAULT_ACCOUNT_ID][region].certificate_authorities.get(arn)
        if authority is None:
            return error(model, "ResourceNotFoundException", message=f"Could not find {arn}")
        return answers(model, given, authority)

    def _create(self, model, given, authority):
        if self.clock() - self._last.get(authority.arn, datetime.min.replace(tzinfo=UTC)) < BETWEEN_REPORTS:
            return error(model, self.refused_as, message="Too soon.")
        self._last[authority.arn] = self.clock()
        report = str(uuid4())
        key = f"audit-report/{authority.id}/{report}.{given['AuditReportResponseFormat'].lower()}"
        self._reports[report] = (given["S3BucketName"], key, self.looks)
        self.made.append(report)
        return answer(model, {"AuditReportId": report, "S3Key": key})

    def _describe(self, model, given, authority):
        bucket, key, looks = self._reports[given["AuditReportId"]]
        self._reports[given["AuditReportId"]] = (bucket, key, looks - 1)
        status = "CREATING" if looks > 0 else self.outcome
        if status == "SUCCESS":
            boto3.client("s3", region_name=authority.region_name).put_object(
                Bucket=bucket, Key=key, Body=json.dumps(entries(authority)).encode()
            )
        told = {"AuditReportStatus": status, "S3BucketName": bucket, "S3Key": key}
        return answer(model, told | {"CreatedAt": self.clock().timestamp()})

    def _certificate(self, model, given, authority):
        """As the reference has it, unlike moto: an unknown certificate is an error, a revoked one is given."""
        arn = given["CertificateArn"]
        if arn not in authority.issued_certificates:
            return error(model, "ResourceNotFoundException", message=f"Could not find {arn}")
        certificate, chain = authority.get_certificate(arn)
        return answer(model, {"Certificate": certificate.decode(), "CertificateChain": chain.decode()})


def entries(authority):
    """What a report says of a CA of moto's."""
    revoked = {int(serial.replace(":", ""), 16): one for serial, one in authority.revoked_certificates.items()}
    return [_entry(authority, arn, text, revoked) for arn, text in authority.issued_certificates.items()]


def _entry(authority, arn, text, revoked):
    certificate = x509.load_pem_x509_certificate(text)
    serial = certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")
    entry = {
        "awsAccountId": DEFAULT_ACCOUNT_ID,
        "certificateArn": arn,
        "serial": serial.hex(":"),
        "subject": certificate.subject.rfc4514_string(),
        "notBefore": moment(certificate.not_valid_before_utc),
        "notAfter": moment(certificate.not_valid_after_utc),
        "issuedAt": moment(certificate.not_valid_before_utc),
        "templateArn": TEMPLATE.format(_template(authority, certificate)),
    }
    if found := revoked.get(certificate.serial_number):
        at = datetime.fromtimestamp(found["revocation_time"], UTC)
        entry |= {"revokedAt": moment(at), "revocationReason": found["revocation_reason"]}
    return entry


def _template(authority, certificate):
    """Moto forgets the template, so it is told by whose key was certified."""
    if certificate.public_key() == authority.key.public_key():
        return "RootCACertificate"
    others = acmpca_backends[DEFAULT_ACCOUNT_ID][authority.region_name].certificate_authorities.values()
    taken = any(certificate.public_key() == other.key.public_key() for other in others)
    return "SubordinateCACertificate_PathLen0" if taken else "EndEntityCertificate"


def moment(at):
    """A date as reports write it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S+0000")


class Given:
    """Credentials of every account, by provider."""

    def __init__(self, **providers):
        self.providers = providers

    def get(self, account_id, provider):
        return self.providers.get(provider)

    def place(self, account_id, provider):
        return PLACE


class AwsAccount:
    """An AWS account with private CAs in one region, and the kit that a plug-in reaches it by.

    At first it has none; unless it is not to begin `anew`, which spares making keys.
    """

    def __init__(self, region=REGION, *, anew=True):
        if anew:
            acmpca_backends[DEFAULT_ACCOUNT_ID][region].reset()
        self.region = region
        self.clock = FixedClock(datetime.now(UTC))
        self.reports = AuditReports(self.clock)
        self._clients = {}
        self.pca = self.client("", "acm-pca", region)
        self.s3 = self.client("", "s3", region)
        self.bucket = f"audit-reports-{next(_numbers)}"
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.s3.create_bucket(Bucket=self.bucket, **place)
        self.credentials = Given(aws={"role_arn": ROLE, "audit_report_bucket": self.bucket})
        self.kit = SourceKit(region, self.clock, None, self.credentials, self.client, None)

    def client(self, account_id, service, region):
        """A client that does not try again."""
        if (service, region) not in self._clients:
            once = Config(retries={"total_max_attempts": 1})
            client = self._clients[service, region] = boto3.client(service, region_name=region, config=once)
            if service == "acm-pca":
                self.reports.attach(client)
        return self._clients[service, region]

    def pending(self, common_name, *, kind="ROOT", **subject):
        """A CA without certificate; gives its ARN."""
        subject = {"Country": "NL", "Organization": "Example, Limited", "CommonName": common_name} | subject
        how = {"KeyAlgorithm": "RSA_2048", "SigningAlgorithm": "SHA256WITHRSA", "Subject": subject}
        made = self.pca.create_certificate_authority(
            CertificateAuthorityConfiguration=how, CertificateAuthorityType=kind
        )
        return made["CertificateAuthorityArn"]

    def root(self, common_name="Root", **subject):
        """An active root; gives its ARN."""
        arn = self.pending(common_name, **subject)
        self._install(arn, arn, "RootCACertificate")
        return arn

    def intermediate(self, parent, common_name="Issuing"):
        """An active CA below another; gives its ARN."""
        arn = self.pending(common_name, kind="SUBORDINATE")
        self._install(arn, parent, "SubordinateCACertificate_PathLen0")
        return arn

    def issue(self, authority, domain):
        """A certificate for a domain; gives its id."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain)])
        names = x509.SubjectAlternativeName([x509.DNSName(domain)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
        signed = request.sign(private_key("p256", 7), hashes.SHA256())
        return self._sign(authority, signed.public_bytes(serialization.Encoding.PEM), "EndEntityCertificate")

    def revoke(self, authority, one):
        """Revoke a certificate."""
        serial = self.certificate(authority, one).serial_number
        self.pca.revoke_certificate(
            CertificateAuthorityArn=authority,
            CertificateSerial=f"{serial:x}",
            RevocationReason="KEY_COMPROMISE",
        )

    def certificate(self, authority, one):
        """The certificate itself."""
        text = acmpca_backends[DEFAULT_ACCOUNT_ID][self.region].certificate_authorities[authority]
        return x509.load_pem_x509_certificate(text.issued_certificates[f"{authority}/certificate/{one}"])

    def _sign(self, authority, request, template):
        made = self.pca.issue_certificate(
            CertificateAuthorityArn=authority,
            Csr=request,
            SigningAlgorithm="SHA256WITHRSA",
            TemplateArn=TEMPLATE.format(template),
            Validity={"Value": 365, "Type": "DAYS"},
        )
        return made["CertificateArn"].rpartition("/")[2]

    def _install(self, arn, issuer, template):
        request = self.pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"]
        one = self._sign(issuer, request.encode(), template)
        got = self.pca.get_certificate(CertificateAuthorityArn=issuer, CertificateArn=f"{issuer}/certificate/{one}")
        chain = {"CertificateChain": got["CertificateChain"].encode()} if arn != issuer else {}
        self.pca.import_certificate_authority_certificate(
            CertificateAuthorityArn=arn, Certificate=got["Certificate"].encode(), **chain
        )
