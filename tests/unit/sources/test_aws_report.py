from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.pca import AuthorityRef, IssuedCertificate
from chalicelib.sources._aws_report import common_name, issued, of_authority, read_entries


def test_the_report_of_the_user_guide_is_read():
    """The JSON example of PcaAuditReport.html, shortened in the subjects."""
    arn = "arn:aws:acm-pca:region:account:certificate-authority/CA_ID/certificate"
    template = "arn:aws:acm-pca:::template/EndEntityCertificate/V1"
    subject = "2.5.4.5=#012345678901,2.5.4.46=#0123456789ab,CN=www.example1.com,OU=Sales,O=Example Company,C=US"
    report = [
        {
            "awsAccountId": "123456789012",
            "certificateArn": f"{arn}/00112233445566778899aabbccddeeff",
            "serial": "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
            "subject": subject,
            "notBefore": "2020-02-26T18:39:57+0000",
            "notAfter": "2021-02-26T19:39:57+0000",
            "issuedAt": "2020-02-26T19:39:58+0000",
            "revokedAt": "2020-02-26T20:00:36+0000",
            "revocationReason": "UNSPECIFIED",
            "templateArn": template,
        },
        {
            "awsAccountId": "123456789012",
            "requestedByServicePrincipal": "acm.amazonaws.com",
            "certificateArn": f"{arn}/ffeeddccbbaa99887766554433221100",
            "serial": "ff:ee:dd:cc:bb:aa:99:88:77:66:55:44:33:22:11:00",
            "subject": subject,
            "notBefore": "2020-01-22T20:10:49+0000",
            "notAfter": "2021-01-17T21:10:49+0000",
            "issuedAt": "2020-01-22T21:10:49+0000",
            "templateArn": template,
        },
    ]
    ref = AuthorityRef("aws", "eu-west-1", "123456789012.CA_ID")
    entries = read_entries(json.dumps(report).encode())
    assert not any(of_authority(entry) for entry in entries)
    assert [issued(ref, entry) for entry in entries] == [
        IssuedCertificate(
            id="00112233445566778899aabbccddeeff",
            authority_id="aws.eu-west-1.123456789012.CA_ID",
            common_name="www.example1.com",
            sans=(),
            serial_number="112233445566778899aabbccddeeff",
            not_before=datetime(2020, 2, 26, 18, 39, 57, tzinfo=UTC),
            not_after=datetime(2021, 2, 26, 19, 39, 57, tzinfo=UTC),
            revoked_at=datetime(2020, 2, 26, 20, 0, 36, tzinfo=UTC),
        ),
        IssuedCertificate(
            id="ffeeddccbbaa99887766554433221100",
            authority_id="aws.eu-west-1.123456789012.CA_ID",
            common_name="www.example1.com",
            sans=(),
            serial_number="ffeeddccbbaa99887766554433221100",
            not_before=datetime(2020, 1, 22, 20, 10, 49, tzinfo=UTC),
            not_after=datetime(2021, 1, 17, 21, 10, 49, tzinfo=UTC),
        ),
    ]


@pytest.mark.parametrize(
    ("template", "leaf"),
    [
        ("RootCACertificate_APIPassthrough", False),
        ("SubordinateCACertificate_PathLen1", False),
        ("BlankSubordinateCACertificate_PathLen0_APICSRPassthrough", False),
        ("EndEntityCertificate_CSRPassthrough", True),
        ("EndEntityServerAuthCertificate", True),
        ("BlankEndEntityCertificate_CriticalBasicConstraints_APIPassthrough", True),
    ],
)
def test_certificates_of_cas_are_told_by_their_template(template, leaf):
    dates = dict.fromkeys(("notBefore", "notAfter", "issuedAt"), "2020-01-01T00:00:00+0000")
    entry = {"certificateArn": "a/b", "serial": "01", "templateArn": f"arn:aws:acm-pca:::template/{template}/V1"}
    (read,) = read_entries(json.dumps([entry | dates]).encode())
    assert of_authority(read) is not leaf


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("", ""),
        ("O=Example", ""),
        ("no name at all", ""),
        ("1.2.840.113549.1.9.1=#1611,,OU=Sales, cn=a.example.com", "a.example.com"),
        ("2.5.4.3=a.example.com,C=US", "a.example.com"),
        ("CN=#0c0141,CN=second", "second"),
        ('O="Example, CN=wrong",CN=right', "right"),
        ("O=Example\\,CN=wrong,CN=right", "right"),
        ("OU=a+CN=b,C=US", "b"),
        ("CN=M\\C3\\BCller \\#1\\, Labs", "Müller #1, Labs"),
        ("CN=\\ff", "�"),
    ],
)
def test_the_common_name_is_found_however_the_subject_is_written(subject, name):
    assert common_name(subject) == name


@given(st.text(min_size=1, max_size=16), st.text(min_size=1, max_size=16))
def test_any_common_name_survives_its_escaping(name, unit):
    parts = [(NameOID.COMMON_NAME, name), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    assert common_name(subject.rfc4514_string()) == name
