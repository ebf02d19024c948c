"""`make run ALIBABA=double`: the emulation as a process of its own, its port, and the account's credentials."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import boto3
import pytest
from alibabacloud_tea_openapi.exceptions import ClientException

from infra import double
from infra.package import ROOT
from tests.support.alibaba import world
from tests.support.alibaba.sdk import active, by_name, issued, pca
from tests.support.alibaba.signature import Credential
from tests.support.records import ulid
from tests.support.tables import REGION

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TAKEN = 8799


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing is set, whoever runs the tests."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name in ("ALIBABA", "ALIBABA_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def wanted(environment):
    environment.setenv("ALIBABA", "double")
    return environment


@pytest.fixture
def secrets(aws):
    return boto3.client("secretsmanager", region_name=REGION)


class Running:
    """An emulation as a process, seen as the SDK helpers want it."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.alibaba", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ready = self.process.stdout.readline()
        self.address = self.ready.strip().rpartition("/")[2]

    def end(self, number=None):
        """By a signal, or by the end of the input; gives exit code and what was printed."""
        if number is not None:
            self.process.send_signal(number)
        printed = self.process.communicate(timeout=10)
        return self.process.returncode, *printed


def port_of(made):
    return int(made.parameters["AlibabaEndpoint"].rpartition(":")[2])


def test_it_runs_alone_and_keeps_its_world(tmp_path):
    key = Credential("chosen", "chosen secret")
    arguments = (
        *("--access-key-id", key.access_key_id, "--access-key-secret", key.access_key_secret),
        *("--state", str(tmp_path / "state.json")),
    )
    first = Running(*arguments)
    client = pca(first, key)
    before = {name: one.sha_2 for name, one in by_name(client).items()}
    with pytest.raises(ClientException, match="access key"):
        issued(pca(first))
    assert tuple(before) == world.NAMES
    code, out, err = first.end(signal.SIGTERM)
    assert (code, err) == (0, "")
    assert "ListClientCertificate 200" in out
    assert "ListClientCertificate 404 InvalidAccessKeyId.NotFound" in out
    second = Running(*arguments)
    assert {name: one.sha_2 for name, one in by_name(pca(second, key)).items()} == before
    assert second.end(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_it_ends_with_whoever_started_it_or_before(number):
    code, _, err = Running("--with-parent", "--empty").end(number)
    assert (code, err) == (0, "")


def test_a_taken_port_is_one_clear_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, _, err = Running("--port", str(other.getsockname()[1])).end()
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be used" in err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ALIBABA": "real"}, "ALIBABA is 'real'. Leave it out"),
        ({"ALIBABA": "double", "ALIBABA_PORT": "x"}, "which is no port number"),
        ({"ALIBABA": "double", "ALIBABA_PORT": str(TAKEN)}, f"Port {TAKEN} is in use"),
    ],
)
def test_settings_that_make_no_sense_are_one_clear_line(environment, tmp_path, capsys, settings, said):
    for name, value in settings.items():
        environment.setenv(name, value)
    with pytest.raises(SystemExit):
        double.settle(tmp_path, TAKEN)
    assert said in capsys.readouterr().err


def test_without_it_there_is_nothing(tmp_path):
    made = double.settle(tmp_path, TAKEN)
    made.start()
    made.give_credentials("stack", ulid())
    made.stop()
    assert (made.parameters, made.about, list(tmp_path.iterdir())) == ({}, "", [])


def test_the_port_stays_as_long_as_it_is_free(wanted, tmp_path):
    first = port_of(double.settle(tmp_path, TAKEN))
    assert port_of(double.settle(tmp_path, TAKEN)) == first
    assert port_of(double.settle(tmp_path, first)) != first
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (tmp_path / "alibaba" / "port").write_text(str(other.getsockname()[1]))
        moved = port_of(double.settle(tmp_path, TAKEN))
        assert moved != other.getsockname()[1]
    assert port_of(double.settle(tmp_path, TAKEN)) == moved
    wanted.setenv("ALIBABA_PORT", str(first))
    assert port_of(double.settle(tmp_path, TAKEN)) == first


def test_the_accounts_credentials_open_the_emulation(wanted, tmp_path, secrets):
    account = ulid()
    for _ in range(2):
        made = double.settle(tmp_path, TAKEN)
        made.start()
        try:
            made.give_credentials("certhaven-local", account)
            held = secrets.get_secret_value(SecretId=f"certhaven-local/alibaba/{account}")["SecretString"]
            key = Credential(**json.loads(held))
            made.address = made.parameters["AlibabaEndpoint"].removeprefix("http://")
            client = pca(made, key)
            assert issued(client, active(client)).total_count == len(world.NAMES)
        finally:
            made.stop()
    assert "no real one is touched" in made.about
    assert key.access_key_secret not in (tmp_path / "alibaba" / "log").read_text()


def test_the_emulations_credentials_do_not_stay_for_the_real_cloud(wanted, tmp_path, secrets):
    account = ulid()
    double.settle(tmp_path, TAKEN).give_credentials("certhaven-local", account)
    wanted.delenv("ALIBABA")
    for _ in range(2):
        double.settle(tmp_path, TAKEN).give_credentials("certhaven-local", account)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId=f"certhaven-local/alibaba/{account}")


def test_real_credentials_are_neither_replaced_nor_deleted(wanted, tmp_path, secrets, capsys):
    account = ulid()
    name = f"certhaven-local/alibaba/{account}"
    double.settle(tmp_path, TAKEN).give_credentials("certhaven-local", account)
    for own in ('{"access_key_id": "LTAI5tReal", "access_key_secret": "real"}', "not JSON", "[]"):
        secrets.put_secret_value(SecretId=name, SecretString=own)
        with pytest.raises(SystemExit):
            double.settle(tmp_path, TAKEN).give_credentials("certhaven-local", account)
        assert f"The secret {name} holds credentials" in capsys.readouterr().err
    wanted.delenv("ALIBABA")
    double.settle(tmp_path, TAKEN).give_credentials("certhaven-local", account)
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "[]"


def test_an_emulation_that_does_not_start_is_one_clear_line(wanted, tmp_path, capsys):
    made = double.settle(tmp_path, TAKEN)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port_of(made)))
        other.listen()
        with pytest.raises(SystemExit):
            made.start()
    made.stop()
    assert "The emulation of Alibaba Cloud did not start: Port" in capsys.readouterr().err
