from __future__ import annotations

from datetime import UTC

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.pca import AuthorityKind, AuthorityRef, AuthorityStatus
from chalicelib.sources._aws_authorities import LONGEST_TOKEN, reference
from chalicelib.sources.aws import REGIONS, AwsPrivateCa, build
from tests.support.audit_report import PLACE, AwsAccount, Given, answer, refuse
from tests.support.records import ACCOUNT, OTHER_ACCOUNT
from tests.support.tables import moto_aws


@pytest.fixture(scope="module", autouse=True)
def _aws():
    with moto_aws():
        yield


@pytest.fixture
def there():
    return AwsAccount()


@pytest.fixture
def source(there):
    return build(there.kit)


def every(source, region, limit=100):
    """All CAs of a region, page by page."""
    cursor, found = None, []
    while True:
        page = source.authorities(ACCOUNT, region, limit=limit, cursor=cursor)
        found += page.items
        if (cursor := page.cursor) is None:
            return found


def test_the_own_region_of_the_service_comes_first():
    first, *others = build(AwsAccount("us-west-2").kit).regions()
    assert first == "us-west-2"
    assert others == sorted(others)
    assert "us-west-2" not in others


@pytest.mark.parametrize("partition", REGIONS)
def test_the_regions_are_those_that_the_client_library_knows(partition):
    known = boto3.session.Session().get_available_regions("acm-pca", partition_name=partition)
    assert sorted(REGIONS[partition]) == sorted(known)


def test_a_service_in_another_partition_has_the_regions_of_that_partition():
    there = AwsAccount("cn-north-1")
    source = build(there.kit)
    assert list(source.regions())[:2] == ["cn-north-1", "cn-northwest-1"]
    arn = there.root()
    (root,) = every(source, "cn-north-1")
    assert arn.startswith("arn:aws-cn:")
    assert source.authority(ACCOUNT, root.ref) == root
    with pytest.raises(Unprocessable) as refused:
        source.authorities(ACCOUNT, "eu-central-1", limit=10, cursor=None)
    assert refused.value.code == "RegionNotSupported"


def test_setting_up_is_told_by_field_and_place(there):
    there.credentials.providers = {}
    needed = build(there.kit).setup_needed(ACCOUNT)
    assert all(word in needed for word in ("`role_arn`", "`audit_report_bucket`", PLACE, "AWSPrivateCAAuditor"))
    there.credentials.providers = {"aws": {"audit_report_bucket": there.bucket}}
    assert "`audit_report_bucket`" not in build(there.kit).setup_needed(ACCOUNT)


def test_with_a_role_the_cas_can_be_seen_and_nothing_is_needed_for_that(there, source):
    there.credentials.providers = {"aws": {"role_arn": "arn:aws:iam::123456789012:role/certhaven"}}
    assert not source.setup_needed(ACCOUNT)
    there.root()
    assert len(every(source, there.region)) == 1


def test_a_root_and_an_intermediate_are_a_tree_with_what_their_certificates_say(there, source):
    root_arn = there.root("Example Root")
    below = there.intermediate(root_arn, "Example Issuing")
    found = {one.subject.partition(",")[0]: one for one in every(source, there.region)}
    root, issuing = found["CN=Example Root"], found["CN=Example Issuing"]
    given = there.pca.get_certificate_authority_certificate(CertificateAuthorityArn=below)
    certificate = x509.load_pem_x509_certificate(given["Certificate"].encode())
    assert (root.kind, root.parent) == (AuthorityKind.ROOT, None)
    assert (issuing.kind, issuing.parent) == (AuthorityKind.INTERMEDIATE, root.id)
    assert issuing.id == f"aws.{there.region}.123456789012.{below.rpartition('/')[2]}"
    assert AuthorityRef.parse(issuing.id) == issuing.ref
    assert (issuing.account_id, issuing.region) == (ACCOUNT, there.region)
    assert (issuing.algorithm, issuing.key_size, issuing.status) == ("RSA", 2048, AuthorityStatus.ACTIVE)
    assert int(issuing.serial_number, 16) == certificate.serial_number
    assert issuing.not_before == certificate.not_valid_before_utc
    assert issuing.not_after == certificate.not_valid_after_utc
    assert issuing.not_after.tzinfo is UTC
    assert issuing.certificate.encode() == certificate.public_bytes(Encoding.PEM)
    assert issuing.subject == certificate.subject.rfc4514_string()


def test_one_ca_is_the_same_as_in_the_list(there, source):
    root = there.root()
    there.intermediate(root)
    listed = every(source, there.region)
    assert [source.authority(ACCOUNT, one.ref) for one in listed] == listed


def test_a_parent_on_another_page_is_found(there, source):
    root = there.root()
    below = there.intermediate(root)
    there.root("Another")
    parents = {one.ref: one.parent for one in every(source, there.region, limit=1)}
    assert len(parents) == 3
    assert parents[reference(below)] == str(reference(root))


def test_of_two_roots_with_one_name_the_parent_is_the_one_whose_key_signed(there, source):
    roots = [there.root("Twin"), there.root("Twin")]
    below = {reference(there.intermediate(root, f"Below {n}")): root for n, root in enumerate(roots)}
    parents = {one.ref: one.parent for one in every(source, there.region)}
    assert {ref: parents[ref] for ref in below} == {ref: str(reference(root)) for ref, root in below.items()}


def test_an_intermediate_of_a_root_elsewhere_has_no_parent(there, source):
    root = there.root()
    below = reference(there.intermediate(root))
    there.pca.delete_certificate_authority(CertificateAuthorityArn=root, PermanentDeletionTimeInDays=7)
    assert source.authority(ACCOUNT, below).parent is None


def test_each_ca_is_asked_for_its_certificate_once_in_a_call(there, source):
    root = there.root()
    for number in range(3):
        there.intermediate(root, f"Below {number}")
    asked = []
    event = "before-call.acm-pca.GetCertificateAuthorityCertificate"
    there.pca.meta.events.register(event, lambda params, **_: asked.append(params["body"]))
    assert len(every(source, there.region)) == 4
    assert len(asked) == len(set(asked)) == 4


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        ("DISABLED", AuthorityStatus.DISABLED),
        ("EXPIRED", AuthorityStatus.EXPIRED),
        ("DELETED", AuthorityStatus.DISABLED),
    ],
)
def test_cas_that_do_not_issue_any_more_are_shown_with_what_is_configured(there, source, status, seen):
    arn = there.root("Old, but ours")
    there.pca.update_certificate_authority(CertificateAuthorityArn=arn, Status=status)
    (found,) = every(source, there.region)
    assert found.status == seen
    assert found.subject == "CN=Old\\, but ours,O=Example\\, Limited,C=NL"
    assert not found.certificate
    assert found.not_before < found.not_after


def test_a_ca_without_certificate_is_left_out_and_asked_for_says_why(there, source):
    arn = there.pending("New")
    there.root()
    assert len(every(source, there.region)) == 1
    with pytest.raises(NotFound) as refused:
        source.authority(ACCOUNT, reference(arn))
    assert refused.value.code == "AuthorityNotFound"
    assert "PENDING_CERTIFICATE" in refused.value.message


@pytest.mark.parametrize(
    ("configured", "told"),
    [("EC_secp384r1", ("ECC", 384)), ("SM2", ("SM2", 256)), ("ML_DSA_65", ("ML-DSA-65", 0))],
)
def test_keys_are_told_by_kind_and_size(there, source, configured, told):
    arn = there.root()
    given = there.pca.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]
    given["CertificateAuthorityConfiguration"]["KeyAlgorithm"] = configured
    del given["LastStateChangeAt"]
    dates = {name: at.timestamp() for name, at in given.items() if hasattr(at, "timestamp")}
    there.pca.meta.events.register(
        "before-call.acm-pca.DescribeCertificateAuthority",
        lambda model, **_: answer(model, {"CertificateAuthority": given | dates}),
    )
    found = source.authority(ACCOUNT, reference(arn))
    assert (found.algorithm, found.key_size) == told


@pytest.mark.parametrize("name", ["", "root", "123456789012.", "123456789012.../../../x", "1.2", "123456789012." * 9])
def test_a_name_that_no_ca_can_have_is_never_asked_for(there, source, name):
    refuse(there.pca, "DescribeCertificateAuthority", "AccessDeniedException")
    ref = AuthorityRef("aws", there.region, name)
    for ask in (
        lambda: source.authority(ACCOUNT, ref),
        lambda: source.certificates(ACCOUNT, ref, limit=10, cursor=None),
        lambda: source.fetch(ACCOUNT, ref, ["1"]),
    ):
        with pytest.raises(NotFound) as refused:
            ask()
        assert refused.value.code == "AuthorityNotFound"


def test_a_ca_that_is_not_there_is_not_found(there, source):
    ref = AuthorityRef("aws", there.region, "123456789012.00000000-0000-0000-0000-000000000000")
    for ask in (
        lambda: source.authority(ACCOUNT, ref),
        lambda: source.certificates(ACCOUNT, ref, limit=10, cursor=None),
    ):
        with pytest.raises(NotFound) as refused:
            ask()
        assert refused.value.code == "AuthorityNotFound"


def test_cursors_are_for_their_account_and_region_only(there, source):
    there.root()
    there.root()
    cursor = source.authorities(ACCOUNT, there.region, limit=1, cursor=None).cursor
    for account, region in [(OTHER_ACCOUNT, there.region), (ACCOUNT, "us-east-1")]:
        with pytest.raises(InvalidRequest) as refused:
            source.authorities(account, region, limit=1, cursor=cursor)
        assert refused.value.code == "InvalidCursor"


def test_a_token_that_aws_does_not_take_any_more_is_an_invalid_cursor(there, source):
    there.root()
    there.root()
    cursor = source.authorities(ACCOUNT, there.region, limit=1, cursor=None).cursor
    refuse(there.pca, "ListCertificateAuthorities", "InvalidNextTokenException")
    with pytest.raises(InvalidRequest) as refused:
        source.authorities(ACCOUNT, there.region, limit=1, cursor=cursor)
    assert refused.value.code == "InvalidCursor"


@pytest.mark.parametrize(("length", "pages"), [(LONGEST_TOKEN, 2), (LONGEST_TOKEN + 1, 1)])
def test_a_token_of_aws_goes_into_the_cursor_unless_no_url_would_hold_it(there, source, length, pages):
    token, asked = "t" * length, []

    def listing(model, params, **_):
        asked.append(token.encode() in params["body"])
        more = {} if asked[-1] else {"NextToken": token}
        return answer(model, {"CertificateAuthorities": []} | more)

    there.pca.meta.events.register("before-call.acm-pca.ListCertificateAuthorities", listing)
    first = source.authorities(ACCOUNT, there.region, limit=1, cursor=None)
    assert (2 if first.cursor else 1) == pages
    if first.cursor:
        assert source.authorities(ACCOUNT, there.region, limit=1, cursor=first.cursor).cursor is None
    assert asked == [False, True]


def test_the_plug_in_says_who_it_is():
    assert (AwsPrivateCa.id, AwsPrivateCa.title) == ("aws", "AWS Private CA")


def test_a_kit_without_a_role_is_the_kits_own_refusal(there):
    def none(*_):
        raise Unprocessable("SourceNotConfigured", "No role.")

    there.kit = type(there.kit)(there.region, there.clock, None, Given(), none, None)
    with pytest.raises(Unprocessable) as refused:
        build(there.kit).authorities(ACCOUNT, there.region, limit=1, cursor=None)
    assert refused.value.code == "SourceNotConfigured"
