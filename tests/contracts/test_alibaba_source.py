"""Client and plug-in for Alibaba Cloud over the emulation, which checks signatures: the way of real requests."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import pytest

from chalicelib.alibaba import TRIES, AlibabaClient
from chalicelib.domain import keys, pem
from chalicelib.domain.certificate import ParsedCertificate
from chalicelib.domain.errors import TooManyRequests, Unprocessable
from chalicelib.domain.pca import AuthorityKind, AuthorityRef, AuthorityStatus, Fetched
from chalicelib.ports import AlibabaError
from chalicelib.sources import alibaba
from tests.support import alibaba_api
from tests.support.alibaba import sdk, world
from tests.support.alibaba.server import KEY, Double
from tests.support.alibaba.signature import Credential
from tests.support.alibaba.state import State
from tests.support.authority import NOW, Authority
from tests.support.fakes import FixedClock
from tests.support.records import ACCOUNT

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

REGION = "cn-hangzhou"
TEMPORARY = Credential("STS.emulated", "sts-secret", "sts-token")


class There:
    """The emulation, and the plug-in over the real client, whose waits are noted and not waited."""

    def __init__(self, double):
        self.double = double
        self.slept = []
        self.credential = KEY
        credentials = alibaba_api.Given(alibaba=alibaba_api.KEYS)
        self.source = alibaba.build(alibaba_api.kit(self.client, FixedClock(), credentials))

    def client(self, account_id="", version=alibaba.VERSION, region=REGION):
        given = {
            "access_key_id": self.credential.access_key_id,
            "access_key_secret": self.credential.access_key_secret,
            "security_token": self.credential.security_token or "",
        }
        return AlibabaClient(given, version, region, self.double.endpoint, sleep=self.slept.append)

    def cas(self):
        return self.source.authorities(ACCOUNT, REGION, limit=100, cursor=None).items

    def certificates(self, ref):
        return {one.common_name: one for one in self._pages(ref)}

    def _pages(self, ref, cursor=None):
        page = self.source.certificates(ACCOUNT, ref, limit=10, cursor=cursor)
        yield from page.items
        if page.cursor:
            yield from self._pages(ref, page.cursor)

    def fetch(self, ref, one):
        ((_, found),) = self.source.fetch(ACCOUNT, ref, [one])
        return found


@pytest.fixture
def there():
    with Double(KEY, TEMPORARY, clock=lambda: NOW) as double:
        yield There(double)


@pytest.fixture(scope="module")
def seeded():
    """The example's world, for tests that only read."""
    state = State()
    world.seed(state, lambda: NOW)
    with Double(state=state, clock=lambda: NOW) as double:
        yield There(double)


@pytest.fixture(scope="module")
def active(seeded):
    return next(one.ref for one in seeded.cas() if one.subject.startswith(f"CN={world.ACTIVE},"))


# --- the client


@pytest.mark.parametrize("credential", [KEY, TEMPORARY], ids=["lasting", "temporary"])
def test_requests_are_signed_as_alibaba_checks_it_with_all_parameters_in_the_form(there, credential):
    there.credential = credential
    leaf = Authority.root().issue("www.example.com")
    given = {"Name": "näm e+&", "Cert": leaf.pem, "Key": leaf.key_pem, "Tags": [{"Key": "a", "Value": "b c"}]}
    made = there.client(version="2020-04-07").call("UploadUserCertificate", given)
    told = there.client(version="2020-04-07").call("GetUserCertificateDetail", {"CertId": made["CertId"]})
    assert (told["Name"], told["Tags"]) == ("näm e+&", [{"TagKey": "a", "TagValue": "b c"}])
    assert {call.in_query for call in there.double.calls} == {()}
    assert set(there.double.calls[0].in_form) == {"Name", "Cert", "Key", "Tags.1.Key", "Tags.1.Value"}
    assert {call.access_key_id for call in there.double.calls} == {credential.access_key_id}


def test_what_is_temporary_is_waited_for_and_each_try_is_signed_anew(there):
    there.double.throttle(1)
    there.double.fail(2)
    there.double.hang_up(1)
    assert there.client().call("ListClientCertificate", {})["TotalCount"] == 0
    assert len(there.slept) == 4
    codes = [call.code for call in there.double.calls]
    assert codes == ["Throttling.User", "ServiceUnavailable", "ServiceUnavailable", ""]


def test_what_stays_temporary_is_told_after_all_tries(there):
    there.double.throttle(100)
    with pytest.raises(AlibabaError) as refused:
        there.client().call("ListClientCertificate", {})
    assert (refused.value.code, refused.value.status) == ("Throttling.User", 400)
    assert len(there.double.calls) == TRIES


def test_a_host_that_is_not_there_is_told(there):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        made = AlibabaClient(alibaba_api.KEYS, alibaba.VERSION, REGION, endpoint, sleep=there.slept.append)
        with pytest.raises(AlibabaError) as refused:
            made.call("ListClientCertificate", {})
    assert (refused.value.code, refused.value.status, len(there.slept)) == ("NoAnswer", 0, TRIES - 1)


@pytest.mark.parametrize("status", [200, 502])
def test_a_gateways_page_is_no_answer(there, status):
    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", "13")
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, *_):
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        made = AlibabaClient(alibaba_api.KEYS, alibaba.VERSION, REGION, endpoint, sleep=there.slept.append)
        with pytest.raises(AlibabaError) as refused:
            made.call("ListClientCertificate", {})
        server.shutdown()
        thread.join()
    assert (refused.value.code, len(there.slept)) == ("UnreadableAnswer", TRIES - 1)


def test_nothing_of_a_request_is_logged_even_where_the_sdk_would(there, monkeypatch, capfd, caplog):
    monkeypatch.setenv("DEBUG", "sdk")
    there.client().call("ListClientCertificate", {})
    there.credential = Credential(KEY.access_key_id, "wrong")
    with pytest.raises(AlibabaError):
        there.client().call("ListClientCertificate", {})
    told = caplog.text + "".join(capfd.readouterr())
    assert "Signature" not in told
    assert KEY.access_key_id not in told


# --- the plug-in


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        (Credential("LTAI5tNobody", "x"), "InvalidAccessKeyId.NotFound"),
        (Credential(KEY.access_key_id, "wrong"), "SignatureDoesNotMatch"),
        (Credential(TEMPORARY.access_key_id, TEMPORARY.access_key_secret, "x"), "InvalidSecurityToken.Malformed"),
    ],
)
def test_wrong_credentials_are_told_with_where_they_are_set(there, credential, code):
    there.credential = credential
    with pytest.raises(Unprocessable) as refused:
        there.cas()
    assert refused.value.code == "SourceRefused"
    assert code in refused.value.message
    assert alibaba_api.PLACE in refused.value.hint


def test_throttling_without_end_is_busy(there):
    there.double.throttle(100)
    with pytest.raises(TooManyRequests) as refused:
        there.cas()
    assert refused.value.code == "SourceBusy"


def test_the_tree_of_the_example(seeded, active):
    tree = {one.subject.partition(",")[0].removeprefix("CN="): one for one in seeded.cas()}
    assert tree.keys() == {world.ROOT, world.RETIRED, world.ACTIVE}
    assert tree[world.ROOT].kind is AuthorityKind.ROOT
    assert {one.parent for one in tree.values()} == {None, tree[world.ROOT].id}
    assert tree[world.RETIRED].status is AuthorityStatus.REVOKED
    assert (tree[world.ACTIVE].status, tree[world.ACTIVE].ref) == (AuthorityStatus.ACTIVE, active)


def test_the_certificates_of_the_example(seeded, active):
    found = seeded.certificates(active)
    assert tuple(found) == world.NAMES
    assert {name for name, one in found.items() if one.revoked_at} == {world.REVOKED}
    assert found[world.REVOKED].revoked_at == NOW
    assert {name for name, one in found.items() if one.usage == "client"} == set(world.CLIENTS)
    assert found["Billing Service"].sans == ("billing-service@example.com",)
    assert found[world.EXPIRED].not_after < NOW
    assert found[world.RSA].algorithm == "RSA"
    assert {len(one.fingerprint) for one in found.values()} == {64}


def test_every_certificate_of_the_example_is_fetched_as_far_as_it_can_be(seeded, active):
    listed = seeded.certificates(active)
    fetched = {name: seeded.fetch(active, one.id) for name, one in listed.items()}
    assert all(isinstance(one, Fetched) for one in fetched.values())
    without = {name for name, one in fetched.items() if one.private_key is None}
    assert without == {*world.WITHOUT_KEY, world.REVOKED, world.DAMAGED}
    assert all(bool(one.key_note) == (name in without) for name, one in fetched.items())
    for name in set(fetched) - {world.DAMAGED}:
        path = [leaf(text) for text in (fetched[name].certificate, *fetched[name].chain)]
        assert path[0].fingerprint == listed[name].fingerprint
        assert [below.signed_by(above) for below, above in pairwise(path)] == [True, True]


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
@pytest.mark.parametrize("algorithm", ["RSA_2048", "ECC_256", "SM2_256"])
def test_a_key_of_every_kind_comes_open(there, algorithm, form):
    there.double.pca.key_form = form
    cloud = sdk.pca(there.double)
    below = sdk.create_intermediate(cloud, algorithm).identifier if algorithm != "SM2_256" else sm2_intermediate(there)
    made = sdk.create_server(cloud, below, algorithm=algorithm)
    found = there.fetch(AuthorityRef("alibaba", REGION, below), made.identifier)
    (block,) = pem.private_key_blocks(found.private_key, "private_key").private_keys
    assert block.label == "PRIVATE KEY"
    assert keys.matches(keys.load(block), leaf(found.certificate).public_key)
    assert not any("EncryptedCode" in call.parameters for call in there.double.calls)


def sm2_intermediate(there):
    """Both CAs of SM2: the helper's root is ECC, and SM2 goes with SM2 only."""
    told = {
        "CommonName": "SM2",
        "Organization": "Example",
        "OrganizationUnit": "Operations",
        "Locality": "Hangzhou",
        "State": "Zhejiang",
        "Algorithm": "SM2_256",
        "Years": 5,
    }
    client = there.client()
    root = client.call("CreateRootCACertificate", told)["Identifier"]
    return client.call("CreateSubCACertificate", {**told, "ParentIdentifier": root})["Identifier"]


def leaf(text):
    return ParsedCertificate(pem.certificate_blocks(text, "certificate").certificates[0].der)
