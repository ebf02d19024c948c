"""The official SDKs of Alibaba Cloud talk to its emulation: what they understand, plug-ins tested against it do too."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlencode

import pytest
from alibabacloud_cas20200407 import models as cas_models
from alibabacloud_cas20200630 import models as pca_models
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import RFC822Name, load_pem_x509_certificate, load_pem_x509_certificates
from darabonba.exceptions import UnretryableException

from chalicelib.domain.csr import CsrSpec, check, make
from chalicelib.domain.keys import generate
from chalicelib.domain.pem import encode
from tests.support.alibaba import world
from tests.support.alibaba.sdk import (
    CODE,
    active,
    authorities,
    by_name,
    call,
    cas,
    create_intermediate,
    create_server,
    detail,
    issued,
    orders,
    pca,
    private_key,
    uploaded,
)
from tests.support.alibaba.server import ABOUT, KEY, MARK, Double
from tests.support.alibaba.signature import Credential
from tests.support.alibaba.signing import signed
from tests.support.alibaba.state import State
from tests.support.authority import NOW, Authority

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TEMPORARY = Credential("STS.emulated", "sts-secret", "sts-token")


@pytest.fixture(scope="module")
def seeded():
    """The example's world, for tests that only read."""
    state = State()
    world.seed(state, lambda: NOW)
    with Double(KEY, TEMPORARY, state=state, clock=lambda: NOW) as double:
        yield double


@pytest.fixture
def double():
    """An empty emulation of the test's own."""
    with Double(clock=lambda: NOW) as made:
        yield made


def code_of(action, *arguments, **options):
    with pytest.raises(ClientException) as caught:
        action(*arguments, **options)
    return caught.value.code


# --- the world ---


def test_the_tree_is_a_root_and_two_intermediates_of_which_one_is_revoked(seeded):
    client = pca(seeded)
    found = authorities(client).certificate_list
    (root,) = [one for one in found if one.certificate_type == "ROOT"]
    below = {one.common_name: one for one in found if one.certificate_type == "SUB_ROOT"}
    assert (root.common_name, root.status, root.parent_identifier) == (world.ROOT, "ISSUE", None)
    assert {name: one.status for name, one in below.items()} == {world.ACTIVE: "ISSUE", world.RETIRED: "REVOKE"}
    assert {one.parent_identifier for one in below.values()} == {root.identifier}
    assert [one.common_name for one in authorities(client, ca_status="revoke").certificate_list] == [world.RETIRED]
    assert authorities(client, valid_status="notValid").total_count == 0
    own = load_pem_x509_certificate(below[world.ACTIVE].x_509certificate.encode())
    own.verify_directly_issued_by(load_pem_x509_certificate(root.x_509certificate.encode()))
    assert own.not_valid_after_utc == datetime.fromtimestamp(below[world.ACTIVE].after_date / 1000, UTC)


def test_the_example_has_a_certificate_of_every_kind(seeded):
    client = pca(seeded)
    found = by_name(client)
    assert tuple(found) == world.NAMES
    assert found[world.REVOKED].status == "REVOKE"
    assert found[world.EXPIRED].after_date < NOW.timestamp() * 1000 < found[world.SERVERS[0]].after_date
    assert (found[world.TWO_YEARS].days, found[world.RSA].algorithm) == (730, "RSA")
    assert {name for name, one in found.items() if one.certificate_type == "CLIENT"} == set(world.CLIENTS)
    for name in world.WITHOUT_KEY:
        assert code_of(private_key, client, found[name].identifier) == "NotFound"
    with pytest.raises(ValueError, match="parsing"):
        load_pem_x509_certificate(found[world.DAMAGED].x_509certificate.encode())


def test_every_sound_certificate_of_the_example_is_signed_by_its_chain(seeded):
    client = pca(seeded)
    for name in set(world.NAMES) - {world.DAMAGED}:
        told = detail(client, by_name(client)[name].identifier)
        path = load_pem_x509_certificates((told.x_509certificate + told.cert_chain).encode())
        assert len(path) == 3
        for one, above in pairwise(path):
            one.verify_directly_issued_by(above)


def test_pages_are_followed_to_the_end(seeded):
    client = pca(seeded)
    pages = [issued(client, active(client), current_page=number, show_size=10) for number in (1, 2, 3, 4)]
    assert [len(one.certificate_list) for one in pages] == [10, 10, 5, 0]
    assert {(one.total_count, one.page_count, one.show_size) for one in pages} == {(25, 3, 10)}
    assert [one.common_name for page in pages for one in page.certificate_list] == list(world.NAMES)
    assert len(issued(client, active(client)).certificate_list) == 20
    assert code_of(issued, client, current_page=0) == "InvalidParameter"


def everything_known(said, understood):
    """Whether each field that was said reached the SDK's model, at every depth."""
    if isinstance(said, dict):
        return all(everything_known(value, understood.get(name)) for name, value in said.items())
    if isinstance(said, list):
        return all(everything_known(one, other) for one, other in zip(said, understood or [], strict=True))
    return said == understood


@pytest.mark.parametrize(
    "action",
    [
        "DescribeCACertificateList", "DescribeCACertificate", "ListClientCertificate", "DescribeClientCertificate",
        "DescribeClientCertificateStatus", "DescribeCertificatePrivateKey", "ListRevokeCertificate",
    ],
)  # fmt: skip
def test_the_sdk_knows_every_field_that_the_private_ca_answers(seeded, action):
    client = pca(seeded)
    chosen = active(client) if "CACert" in action else by_name(client)[world.SERVERS[0]].identifier
    more = {} if action == "DescribeCACertificateList" else {"Identifier": chosen, "EncryptedCode": CODE}
    said = call(seeded, "2020-06-30", action, more)
    assert everything_known(said, getattr(pca_models, f"{action}ResponseBody")().from_map(said).to_map())


def test_the_sdk_knows_every_field_that_the_certificate_service_answers(double):
    leaf = Authority.root().issue("www.example.com")
    given = {"Name": "one", "Cert": leaf.pem, "Key": leaf.key_pem}
    number = call(double, "2020-04-07", "UploadUserCertificate", given)["CertId"]
    csr = {"Algorithm": "ECC", "KeySize": 256, "CommonName": "www.example.com", "CountryCode": "CN"}
    call(double, "2020-04-07", "CreateCsr", {**csr, "Province": "Zhejiang", "Locality": "Hangzhou"})
    for action, more in (
        ("GetUserCertificateDetail", {"CertId": number}),
        ("ListUserCertificateOrder", {"OrderType": "CERT"}),
        ("ListCsr", {}),
    ):
        said = call(double, "2020-04-07", action, more)
        assert everything_known(said, getattr(cas_models, f"{action}ResponseBody")().from_map(said).to_map())


# --- issuing ---


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
@pytest.mark.parametrize("algorithm", ["ECC_256", "RSA_2048"])
def test_a_certificate_that_was_made_there_comes_with_its_key_under_a_passphrase(double, algorithm, form):
    double.pca.key_form = form
    client = pca(double)
    parent = create_intermediate(client)
    made = create_server(
        client, parent.identifier, algorithm=algorithm, domain="a.example.com,192.0.2.1", immediately=2
    )
    certificate = load_pem_x509_certificate(made.x_509certificate.encode())
    certificate.verify_directly_issued_by(load_pem_x509_certificate(parent.certificate.encode()))
    assert load_pem_x509_certificates(made.certificate_chain.encode())[0].subject == certificate.issuer
    text = private_key(client, made.identifier)
    assert load_pem_private_key(text.encode(), CODE.encode()).public_key() == certificate.public_key()
    told = detail(client, made.identifier)
    assert json.loads(told.sans) == [
        {"Type": 2, "Value": "www.example.com"},
        {"Type": 2, "Value": "a.example.com"},
        {"Type": 7, "Value": "192.0.2.1"},
    ]
    assert (told.full_algorithm, told.serial_number) == (algorithm, made.serial_number)


def test_a_passphrase_has_32_octets_at_most(double):
    client = pca(double)
    made = create_server(client, create_intermediate(client).identifier)
    assert private_key(client, made.identifier, "x" * 32)
    assert code_of(private_key, client, made.identifier, "x" * 33) == "InvalidParameter"


def test_a_client_certificate_names_a_mail_address(double):
    client = pca(double)
    request = pca_models.CreateClientCertificateRequest(
        parent_identifier=create_intermediate(client).identifier, common_name="Somebody", algorithm="ECC_256",
        before_time=int(NOW.timestamp()), after_time=int((NOW + timedelta(days=30)).timestamp()),
        san_type=1, san_value="somebody@example.com", immediately=1, alias_name="mine",
    )  # fmt: skip
    made = client.create_client_certificate(request).body
    certificate = load_pem_x509_certificate(made.x_509certificate.encode())
    names = certificate.extensions.get_extension_for_class(type(certificate.extensions[-1].value)).value
    assert names.get_values_for_type(RFC822Name) == ["somebody@example.com"]
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (NOW, NOW + timedelta(days=30))
    told = detail(client, made.identifier)
    assert (told.certificate_type, told.alias_name, told.days) == ("CLIENT", "mine", 30)


def test_nobody_has_the_key_of_a_certificate_for_a_csr(double):
    client = pca(double)
    text = encode("CERTIFICATE REQUEST", make(check(CsrSpec("own.example.com", "ECC")), generate("ECC", 256)))
    request = pca_models.CreateServerCertificateWithCsrRequest(
        parent_identifier=create_intermediate(client).identifier, csr=text, days=90
    )
    made = client.create_server_certificate_with_csr(request).body
    assert detail(client, made.identifier).common_name == "own.example.com"
    assert code_of(private_key, client, made.identifier) == "NotFound"


def test_an_sm2_authority_issues_for_sm2_only(double):
    client = pca(double)
    assert code_of(create_intermediate, client, "SM2_256") == "InvalidParameter"
    root = pca_models.CreateRootCACertificateRequest(
        algorithm="SM2_256", common_name="SM2", organization="Example", organization_unit="Operations",
        locality="Hangzhou", state="Zhejiang", years=10,
    )  # fmt: skip
    client.create_root_cacertificate(root)
    (told,) = [one for one in authorities(client).certificate_list if one.common_name == "SM2"]
    assert (told.algorithm, told.sign_algorithm, told.key_size) == ("SM2", "SM3WITHSM2", 256)


def test_a_revoked_certificate_says_so_everywhere(double):
    client = pca(double)
    made = create_server(client, create_intermediate(client).identifier)
    request = pca_models.CreateRevokeClientCertificateRequest(identifier=made.identifier)
    client.create_revoke_client_certificate(request)
    assert code_of(client.create_revoke_client_certificate, request) == "InvalidParameter"
    assert [one.status for one in issued(client).certificate_list] == ["REVOKE"]
    (listed,) = client.list_revoke_certificate(pca_models.ListRevokeCertificateRequest()).body.certificate_list
    assert (listed.serial_number, listed.revoke_date) == (made.serial_number, "2026-06-15T00:00Z")
    asked = pca_models.DescribeClientCertificateStatusRequest(identifier=f"{made.identifier},nobody")
    known, unknown = client.describe_client_certificate_status(asked).body.certificate_status
    assert (known.status, known.revoke_time) == ("revoked", NOW.timestamp() * 1000)
    assert unknown.status == "unknown"


def test_a_revoked_authority_issues_nothing(double):
    client = pca(double)
    parent = create_intermediate(client).identifier
    client.update_cacertificate_status(pca_models.UpdateCACertificateStatusRequest(identifier=parent, status="REVOKE"))
    asked = pca_models.DescribeCACertificateRequest(identifier=parent)
    assert client.describe_cacertificate(asked).body.certificate.status == "REVOKE"
    assert code_of(create_server, client, parent) == "InvalidParameter"


def test_a_repeated_client_token_makes_nothing_twice(double):
    client = pca(double)
    parent = create_intermediate(client).identifier
    request = pca_models.CreateClientCertificateRequest(
        parent_identifier=parent, common_name="Somebody", algorithm="ECC_256", days=1, client_token="once"
    )
    first, second = (client.create_client_certificate(request).body.identifier for _ in range(2))
    assert first == second
    assert issued(client).total_count == 1


# --- uploaded certificates ---


def test_an_upload_can_be_read_listed_and_deleted(double):
    client = cas(double)
    root = Authority.root()
    leaf = root.issue("www.example.com", "example.com")
    tags = [cas_models.UploadUserCertificateRequestTags(key="team", value="web")]
    made = uploaded(client, "one", leaf.pem + root.pem, leaf.key_pem, tags=tags)
    asked = cas_models.GetUserCertificateDetailRequest(cert_id=made.cert_id)
    told = client.get_user_certificate_detail(asked).body
    assert (told.cert, told.key) == (leaf.pem + root.pem, leaf.key_pem)
    assert (told.id, told.cert_identifier) == (made.cert_id, f"{made.cert_id}-cn-hangzhou")
    assert (told.name, told.common, told.sans) == ("one", "www.example.com", "www.example.com,example.com")
    assert told.sha_2.lower() == leaf.fingerprint
    assert [(one.tag_key, one.tag_value) for one in told.tags] == [("team", "web")]
    assert [one.common_name for one in told.cert_chain] == ["www.example.com", "Root"]
    filtered = cas_models.GetUserCertificateDetailRequest(cert_id=made.cert_id, cert_filter=True)
    assert client.get_user_certificate_detail(filtered).body.key is None
    (listed,) = orders(client, "UPLOAD").certificate_order_list
    assert (listed.certificate_id, listed.upload, listed.expired) == (made.cert_id, True, False)
    gone = cas_models.DeleteUserCertificateRequest(cert_id=made.cert_id)
    client.delete_user_certificate(gone)
    assert code_of(client.delete_user_certificate, gone) == "NotFound"
    assert orders(client, "CERT").total_count == 0


def test_uploads_that_make_no_sense_are_refused(double):
    client = cas(double)
    root, stranger = Authority.root(), Authority.root("Stranger", number=902)
    leaf, old = root.issue("www.example.com"), root.issue("old.example.com", days=1)
    other = root.issue("other.example.com", kind="p384")
    uploaded(client, "taken", leaf.pem, leaf.key_pem)
    for name, pem, key, code in (
        ("taken", leaf.pem, leaf.key_pem, "NameRepeat"),
        ("n" * 64, leaf.pem, leaf.key_pem, "InvalidParameter"),
        ("new", leaf.pem, None, "MissingParameter"),
        ("new", "no certificate", leaf.key_pem, "ParseCertificateFailed"),
        ("new", leaf.pem, other.key_pem, "InvalidParameter"),
        ("new", old.pem, old.key_pem, "CertificateExpired"),
        ("new", leaf.pem + other.pem + stranger.pem, leaf.key_pem, "CertificateChainNotMatch"),
    ):
        assert code_of(uploaded, client, name, pem, key) == code


def test_uploads_are_listed_in_pages_by_keyword_and_status(double):
    client = cas(double)
    root = Authority.root()
    for number in range(5):
        leaf = root.issue(f"n{number}.example.com", days=20 if number == 0 else 90)
        uploaded(client, f"n{number}", leaf.pem, leaf.key_pem)
    pages = [orders(client, "CERT", show_size=2, current_page=number) for number in (1, 2, 3)]
    assert [[one.name for one in page.certificate_order_list] for page in pages] == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert [one.name for one in orders(client, "UPLOAD", keyword="n3.").certificate_order_list] == ["n3"]
    assert [one.name for one in orders(client, "CERT", status="WILLEXPIRED").certificate_order_list] == ["n0"]


def test_orders_are_listed_apart_from_certificates(seeded):
    client = cas(seeded)
    assert {one.domain: one.status for one in orders(client, "CPACK").certificate_order_list} == {
        "www.example.com": "ISSUED",
        "new.example.com": "PAYED",
    }
    assert orders(client, None, status="PAYED").total_count == 1
    assert orders(client, "BUY").total_count == orders(client, "CERT").total_count == 0
    assert code_of(orders, client, "NONE") == "InvalidParameter"


def test_a_certificate_of_the_private_ca_can_be_copied(double):
    client = pca(double)
    made = create_server(client, create_intermediate(client).identifier)
    number = detail(client, made.identifier).id
    client.upload_pca_cert_to_cas(pca_models.UploadPcaCertToCasRequest(ids=f"{number}"))
    assert detail(client, made.identifier).upload_flag == 1
    (listed,) = orders(cas(double), "CERT").certificate_order_list
    assert (listed.serial_no, listed.upload) == (made.serial_number, False)
    missing = pca_models.UploadPcaCertToCasRequest(ids="1")
    assert code_of(client.upload_pca_cert_to_cas, missing) == "NotFound"


def test_signing_requests_are_made_and_listed(double):
    client = cas(double)
    request = cas_models.CreateCsrRequest(
        algorithm="ECC", key_size=256, common_name="www.example.com", country_code="CN", province="Zhejiang",
        locality="Hangzhou", sans="a.example.com,b.example.com", name="mine",
    )  # fmt: skip
    made = client.create_csr(request).body
    assert made.csr.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    (listed,) = client.list_csr(cas_models.ListCsrRequest(key_word="www", algorithm="ECC")).body.csr_list
    assert (listed.csr_id, listed.name, listed.has_private_key) == (made.csr_id, "mine", True)
    assert client.list_csr(cas_models.ListCsrRequest(algorithm="RSA")).body.total_count == 0


# --- who may ask, and how it is refused ---


def raw(double, request):
    """Send a request as it is; gives status and code."""
    connection = http.client.HTTPConnection(double.address, timeout=5)
    path = f"{request.path}?{request.query}" if request.query else request.path
    connection.request(request.method, path, request.body, dict(request.headers))
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.headers[MARK] == "alibaba"
    assert body["RequestId"]
    assert set(body) >= {"HostId", "Message", "Recommend"} or answer.status == 200
    return answer.status, body.get("Code", "")


def listing(double, **options):
    return signed(KEY, host=double.address, **{"at": datetime.now(UTC), **options})


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        (Credential("LTAI5tNobody", "x"), "InvalidAccessKeyId.NotFound"),
        (Credential(KEY.access_key_id, "wrong"), "SignatureDoesNotMatch"),
        (Credential(TEMPORARY.access_key_id, TEMPORARY.access_key_secret), "MissingSecurityToken"),
        (Credential(TEMPORARY.access_key_id, TEMPORARY.access_key_secret, "x"), "InvalidSecurityToken.Malformed"),
    ],
)
def test_credentials_that_are_not_right_are_refused(seeded, credential, code):
    assert code_of(authorities, pca(seeded, credential)) == code


def test_temporary_credentials_and_old_signatures_are_taken(seeded):
    assert authorities(pca(seeded, TEMPORARY)).total_count == 3
    assert authorities(pca(seeded, signature_algorithm="v2")).total_count == 3
    assert code_of(authorities, pca(seeded, Credential(KEY.access_key_id, "x"), signature_algorithm="v2")) == (
        "SignatureDoesNotMatch"
    )


def test_requests_that_are_old_repeated_or_changed_are_refused(seeded):
    first = listing(seeded, nonce="used once")
    assert raw(seeded, first) == (200, "")
    assert raw(seeded, first) == (400, "SignatureNonceUsed")
    old = listing(seeded, at=datetime.now(UTC) - timedelta(minutes=16), nonce="old")
    assert raw(seeded, old) == (400, "IllegalTimestamp")
    sent = listing(seeded, body=urlencode({"ShowSize": "1"}).encode(), nonce="changed")
    changed = type(sent)(sent.method, sent.path, sent.query, sent.headers, b"ShowSize=9")
    assert raw(seeded, changed) == (400, "SignatureDoesNotMatch")


def test_what_is_not_there_or_not_given_is_refused(seeded):
    with pytest.raises(ClientException) as caught:
        call(seeded, "2020-06-30", "MakeCoffee", {})
    assert (caught.value.code, caught.value.status_code) == ("InvalidAction.NotFound", 404)
    assert code_of(call, seeded, "1999-01-01", "ListCsr", {}) == "InvalidVersion"
    assert code_of(call, seeded, "2020-06-30", "DescribeCACertificate", {"Unknown": "x"}) == "MissingParameter"
    assert code_of(call, seeded, "2020-06-30", "DescribeCACertificate", {"Identifier": "x"}) == "NotFound"
    assert code_of(call, seeded, "2020-06-30", "ListClientCertificate", {"ShowSize": "many"}) == "InvalidParameter"


def test_throttling_reaches_the_sdk_as_such_and_ends(double):
    double.throttle(2, "ListCsr", retry_after=3)
    assert authorities(pca(double)).total_count == 0
    for _ in range(2):
        with pytest.raises(ThrottlingException) as caught:
            cas(double).list_csr(cas_models.ListCsrRequest())
        assert (caught.value.code, caught.value.retry_after) == ("Throttling.User", 3)
    assert cas(double).list_csr(cas_models.ListCsrRequest()).body.total_count == 0


def test_failures_can_be_ordered(double):
    double.fail(1)
    double.hang_up(1)
    with pytest.raises(ServerException) as caught:
        authorities(pca(double))
    assert (caught.value.code, caught.value.status_code) == ("ServiceUnavailable", 503)
    with pytest.raises(UnretryableException):
        authorities(pca(double))
    assert authorities(pca(double)).total_count == 0


def test_calls_say_where_parameters_stood_and_keep_no_secret(double):
    leaf = Authority.root().issue("www.example.com")
    uploaded(cas(double), "one", leaf.pem, leaf.key_pem)
    call(double, "2020-04-07", "UploadUserCertificate", {"Name": "two", "Cert": leaf.pem, "Key": leaf.key_pem})
    by_sdk, by_form = double.calls
    assert (set(by_sdk.in_query), by_sdk.in_form) == ({"Name", "Cert", "Key"}, ())
    assert (by_form.in_query, set(by_form.in_form)) == ((), {"Name", "Cert", "Key"})
    assert (by_form.action, by_form.status, by_form.parameters["Name"]) == ("UploadUserCertificate", 200, "two")
    assert not any("PRIVATE KEY" in text for text in by_form.parameters.values())


def test_a_browser_is_told_what_this_is(seeded):
    connection = http.client.HTTPConnection(seeded.address, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode(), answer.headers[MARK]) == (200, ABOUT, "alibaba")
    connection.close()


def test_many_clients_at_once_get_a_number_each(double):
    parent = create_intermediate(pca(double)).identifier
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: create_server(pca(double), parent, f"n{number}.example.com"), range(24)))
    found = issued(pca(double), show_size=100).certificate_list
    assert len({one.id for one in found} | {one.identifier for one in found}) == 48


def test_a_state_file_outlives_the_emulation(tmp_path):
    file = tmp_path / "state.json"
    with Double(state=State(file), clock=lambda: NOW) as first:
        made = create_server(pca(first), create_intermediate(pca(first)).identifier)
    assert file.stat().st_mode & 0o077 == 0
    with Double(state=State(file), clock=lambda: NOW) as second:
        told = detail(pca(second), made.identifier)
        later = create_server(pca(second), told.parent_identifier)
    assert told.serial_number == made.serial_number
    assert later.identifier != made.identifier
