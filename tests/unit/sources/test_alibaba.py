"""The plug-in for Alibaba Cloud PCA over a fake of `AlibabaApi`; the contract test has the real client and protocol."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import alibaba as client
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.cursors import encode_cursor
from chalicelib.domain.errors import InvalidRequest, NotFound, Unprocessable
from chalicelib.domain.pca import AuthorityKind, AuthorityRef, AuthorityStatus
from chalicelib.ports import AlibabaError
from chalicelib.sources import alibaba
from tests.support.alibaba_api import PLACE, REF, REGION, There
from tests.support.records import ACCOUNT, OTHER_ACCOUNT

REVOKED_AT = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)


@pytest.fixture
def there():
    return There()


# --- where it is, and what it needs


def test_its_regions_are_those_that_the_client_knows(there):
    assert tuple(there.source.regions()) == tuple(client.ENDPOINTS[client.PRODUCTS[alibaba.VERSION]])


@pytest.mark.parametrize(
    ("given", "missing", "there_already"),
    [
        (None, ["`access_key_id`", "`access_key_secret`"], []),
        ({"access_key_id": "LTAI5tFake", "access_key_secret": " \n"}, ["`access_key_secret`"], ["`access_key_id`"]),
        ({"access_key_secret": "fake-secret"}, ["`access_key_id`"], ["`access_key_secret`"]),
    ],
)
def test_missing_credentials_are_told_with_their_place_and_nothing_is_asked(there, given, missing, there_already):
    there.credentials.providers = {"alibaba": given}
    needed = there.source.setup_needed(ACCOUNT)
    assert PLACE in needed
    assert all(field in needed for field in missing)
    assert not any(field in needed for field in there_already)
    for ask in (there.cas, there.page, lambda: there.fetch("a"), lambda: there.source.authority(ACCOUNT, REF)):
        with pytest.raises(Unprocessable) as refused:
            ask()
        assert (refused.value.code, refused.value.hint) == ("SourceNotConfigured", needed)
    assert there.api.calls == []


def test_a_region_without_pca_is_refused_with_those_that_have_it(there):
    away = replace(REF, region="eu-central-1")
    for ask in (
        lambda: there.source.authorities(ACCOUNT, away.region, limit=1, cursor=None),
        lambda: there.source.authority(ACCOUNT, away),
        lambda: there.page(ref=away),
        lambda: there.source.fetch(ACCOUNT, away, ["a"]),
    ):
        with pytest.raises(Unprocessable) as refused:
            ask()
        assert refused.value.code == "RegionNotSupported"
        assert "cn-hangzhou, ap-southeast-1" in refused.value.hint


# --- the tree


def test_the_tree_is_told_as_the_certificates_have_it(there):
    there.api.authorities["middle"] |= {"KeySize": 9, "SerialNumber": "00", "AfterDate": 0, "SubjectDN": "CN=wrong"}
    root, middle = there.cas().items
    own = ParsedCertificate(there.middle.der)
    assert (root.kind, root.parent, root.status) == (AuthorityKind.ROOT, None, AuthorityStatus.ACTIVE)
    assert (middle.kind, middle.parent, middle.ref) == (AuthorityKind.INTERMEDIATE, root.id, REF)
    assert (middle.subject, middle.serial_number) == (own.subject, own.serial_number)
    assert (middle.not_before, middle.not_after) == (own.not_before, own.not_after)
    assert (middle.algorithm, middle.key_size, middle.region) == ("ECC", 256, REGION)
    assert middle.certificate == there.middle.pem
    assert there.source.authority(ACCOUNT, REF) == middle


def test_a_ca_whose_certificate_cannot_be_read_is_told_by_its_fields(there):
    there.api.authorities["middle"] |= {"X509Certificate": "damaged", "SerialNumber": "0A:BC"}
    middle = there.source.authority(ACCOUNT, REF)
    assert (middle.subject, middle.serial_number) == ("CN=Middle,O=Example", "0abc")
    assert (middle.algorithm, middle.key_size, middle.certificate) == ("ECC", 256, "")
    assert middle.not_after == there.middle.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("told", "later", "status"),
    [
        ("ISSUE", 0, AuthorityStatus.ACTIVE),
        ("ISSUE", 4000, AuthorityStatus.EXPIRED),
        ("REVOKE", 4000, AuthorityStatus.REVOKED),
        ("FORBIDDEN", 0, AuthorityStatus.DISABLED),
    ],
)
def test_the_status_of_a_ca_is_alibabas_and_the_clocks(there, told, later, status):
    there.api.authorities["middle"]["Status"] = told
    there.clock.advance(timedelta(days=later))
    assert there.source.authority(ACCOUNT, REF).status is status


def test_a_ca_without_a_certificate_is_not_listed_and_not_found(there):
    there.api.authorities["new"] = {"Identifier": "new", "CertificateType": "SUB_ROOT"}
    assert [one.ref.name for one in there.cas().items] == ["root", "middle"]
    with pytest.raises(NotFound, match="no certificate"):
        there.source.authority(ACCOUNT, replace(REF, name="new"))


@pytest.mark.parametrize("code", ["NotFound", "CertificateNotExist", "InvalidParameter"])
def test_a_ca_that_alibaba_does_not_know_is_not_found(there, code):
    unknown = replace(REF, name="unknown")
    there.refuse("DescribeCACertificate", code)
    for ask in (lambda: there.source.authority(ACCOUNT, unknown), lambda: there.page(ref=unknown)):
        with pytest.raises(NotFound) as refused:
            ask()
        assert refused.value.code == "AuthorityNotFound"


def test_another_ca_than_was_asked_for_is_not_taken_for_it(there):
    there.api.authorities["other"] = there.api.authorities["middle"]
    with pytest.raises(NotFound):
        there.source.authority(ACCOUNT, replace(REF, name="other"))
    with pytest.raises(NotFound):
        there.source.authority(ACCOUNT, AuthorityRef("aws", REGION, "middle"))


# --- what a CA issued


def test_a_certificate_is_listed_as_it_says_itself(there):
    made = there.issue("a", "a.example.com", "b.example.com", CommonName="wrong", Sha2="00", KeySize=1)
    (listed,) = there.page().items
    own = ParsedCertificate(made.der)
    assert (listed.id, listed.authority_id, listed.common_name) == ("a", str(REF), "a.example.com")
    assert listed.sans == ("a.example.com", "b.example.com")
    assert (listed.fingerprint, listed.serial_number) == (own.fingerprint, own.serial_number)
    assert (listed.not_before, listed.not_after) == (own.not_before, own.not_after)
    assert (listed.algorithm, listed.key_size, listed.usage) == ("ECDSA", 256, "server")
    assert (listed.revoked_at, listed.has_private_key) == (None, True)


@pytest.mark.parametrize("text", ["", None, "damaged", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"])
def test_a_certificate_that_cannot_be_read_is_listed_by_its_fields(there, text):
    made = there.issue("a", X509Certificate=text)
    told = made.fingerprint.upper()
    there.api.issued["a"]["Sha2"] = ":".join(told[i : i + 2] for i in range(0, 64, 2))
    (listed,) = there.page().items
    own = ParsedCertificate(made.der)
    assert (listed.fingerprint, listed.serial_number) == (own.fingerprint, own.serial_number)
    assert (listed.not_before, listed.not_after) == (own.not_before, own.not_after)
    assert (listed.common_name, listed.algorithm, listed.key_size) == ("a.example.com", "ECDSA", 256)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[{"Type":1,"Value":"a@example.com"},{"Type":7,"Value":"192.0.2.1"}]', ("a@example.com", "192.0.2.1")),
        ('[{"Type":2,"Value":"x.example.com"},{"Type":2,"Value":"x.example.com"}]', ("x.example.com",)),
        ('[{"Type":2}, 7, {"Value":""}]', ("a.example.com",)),
        ('{"Type":2}', ("a.example.com",)),
        ("no JSON", ("a.example.com",)),
        (None, ("a.example.com",)),
    ],
)
def test_alternative_names_are_those_of_the_list_or_else_of_the_certificate(there, text, names):
    there.issue("a", Sans=text)
    assert there.page().items[0].sans == names


def test_a_fingerprint_that_is_none_is_left_out(there):
    there.issue("a", X509Certificate="", Sha2="SHA1 of something")
    assert there.page().items[0].fingerprint == ""


def test_a_certificate_that_is_not_issued_yet_is_not_listed(there):
    there.issue("a")
    there.api.issued["a"] = {"Identifier": "a", "ParentIdentifier": "middle", "Status": "CHECKING", "BeforeDate": None}
    assert there.page().items == ()


@pytest.mark.parametrize("filters", [True, False], ids=["by CA", "all only"])
@pytest.mark.parametrize("shows", [1000, 20])
def test_every_certificate_of_a_ca_comes_once_whatever_the_list_can_do(filters, shows):
    there = There(filters=filters, shows=shows)
    made = there.issue("first")
    for number in range(130):
        there.api.add(f"other-{number}", made, "elsewhere")
        there.api.add(f"mine-{number}", made, "middle")
    for limit in (1000, 50, 7):
        found = [one.id for page in there.everything(limit) for one in page.items]
        assert found == ["first", *(f"mine-{number}" for number in range(130))]


@given(limits=st.lists(st.integers(1, 90), min_size=1, max_size=30))
def test_pages_of_any_sizes_are_the_list(limits):
    there = There()
    made = there.issue("0")
    for number in range(1, 120):
        there.api.add(str(number), made, "middle")
    found, cursor = [], None
    for limit in [*limits, 1000, 1000]:
        page = there.page(limit, cursor)
        assert len(page.items) <= limit
        found += [one.id for one in page.items]
        if (cursor := page.cursor) is None:
            break
    assert found == [str(number) for number in range(120)]


def test_a_page_of_a_thousand_is_one_request_for_fifty(there):
    made = there.issue("0")
    for number in range(1, 1000):
        there.api.add(str(number), made, "middle")
    there.api.calls.clear()
    page = there.page(1000)
    assert (len(page.items), page.cursor) == (1000, None)
    assert there.api.asked == {"ListClientCertificate": 1000 // alibaba.PAGE}


def test_the_search_for_one_ca_among_many_stops_and_can_go_on():
    there = There(filters=False)
    made = there.issue("a", parent="elsewhere")
    for number in range(alibaba.PAGE * alibaba.MOST_REQUESTS):
        there.api.add(f"other-{number}", made, "elsewhere")
    there.api.add("mine", made, "middle")
    first, second = there.everything(100)
    assert (first.items, [one.id for one in second.items]) == ((), ["mine"])


def test_a_root_issues_to_cas_only(there):
    there.issue("a")
    assert there.page(ref=replace(REF, name="root")).items == ()
    assert there.api.asked["ListClientCertificate"] == 1


def test_a_list_that_cannot_be_had_for_one_ca_is_read_whole(there):
    there.issue("a")
    call = there.api.call

    def refusing(action, parameters):
        if action == "ListClientCertificate" and parameters["Identifier"]:
            raise AlibabaError("NotFound", "There is no such certificate.", 400)
        return call(action, parameters)

    there.api.call = refusing
    assert [one.id for one in there.page().items] == ["a"]


def test_revoked_certificates_say_when_at_one_request_for_fifty(there):
    made = [there.issue(f"c{number}", Status="REVOKE" if number % 2 else "ISSUE") for number in range(120)]
    at = int(REVOKED_AT.timestamp() * 1000)
    there.api.revoked = {f"{one.certificate.serial_number:X}": at for one in made}
    found = {one.id: one.revoked_at for one in there.page().items}
    assert found == {f"c{n}": REVOKED_AT if n % 2 else None for n in range(100)}
    assert there.api.asked["DescribeClientCertificateStatus"] == 1


@pytest.mark.parametrize("refused", [True, False])
def test_a_revocation_whose_time_is_not_told_is_of_now(there, refused):
    there.issue("a", Status="REVOKE")
    if refused:
        there.refuse("DescribeClientCertificateStatus", "NoPermission")
    assert there.page().items[0].revoked_at == there.clock.now


@pytest.mark.parametrize("position", ["1", "ca.50.0.0", "ca.20.1.0", "mine.50.1.0", "ca.50.1.x", "ca.50.12345678.0"])
def test_a_position_that_is_none_is_no_cursor(there, position):
    for scope, ask in (
        (f"alibaba authorities {ACCOUNT} {REGION}", there.cas),
        (f"alibaba certificates {ACCOUNT} {REF}", there.page),
    ):
        with pytest.raises(InvalidRequest) as refused:
            ask(1, encode_cursor(scope, position))
        assert refused.value.code == "InvalidCursor"


def test_a_cursor_is_for_its_account_alone(there):
    cursor = there.cas(1).cursor
    with pytest.raises(InvalidRequest):
        there.source.authorities(OTHER_ACCOUNT, REGION, limit=1, cursor=cursor)
