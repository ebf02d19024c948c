"""Starting, stopping and killing the local stack."""

from __future__ import annotations

import signal
import socket
import subprocess
import time

import pytest

from infra.package import ROOT
from tests.e2e.conftest import Stack, free_port
from tests.e2e.test_dropped_files import drop, wait_for
from tests.e2e.test_upload_by_api import fresh, upload


@pytest.fixture
def own(tmp_path):
    """An installation of the test's own."""
    made = Stack(tmp_path, free_port())
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def private_key_of(stack, certificate_id):
    with stack.client() as api:
        return api.get(f"/v1/certificates/{certificate_id}/download").text.partition("-----BEGIN PRIVATE KEY-----")[2]


def test_a_second_start_and_one_after_kill_9_keep_tokens_addresses_and_keys(own):
    own.start()
    before = own.values
    with own.client() as api:
        made, _ = upload(api, "kept.example.com")
    key = private_key_of(own, made["id"])
    assert key
    own.stop()
    own.start()
    assert own.values == before
    assert private_key_of(own, made["id"]) == key
    with own.client() as api:
        later, _ = upload(api, "later.example.com")
    time.sleep(10)
    own.kill()
    printed = own.start()
    assert own.values == before
    assert private_key_of(own, made["id"]) == key
    assert private_key_of(own, later["id"])
    assert any(line.startswith("Certhaven is up") for line in printed)


def test_a_taken_port_is_one_clear_line(own):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        process = own.launch()
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f"Port {own.port} cannot be used" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PORT": "http"}, "which is no port number"),
        ({"EMULATOR_PYTHON": "/nowhere/python"}, "The emulator is not installed"),
        ({"CERTHAVEN_STATE": "/proc/nowhere"}, "cannot be made"),
    ],
)
def test_settings_that_make_no_sense_are_one_clear_line(own, environment, said):
    process = own.launch(**environment)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert said in printed
    assert "Traceback" not in printed


def test_an_emulator_left_over_from_a_killed_launcher_is_replaced(own):
    own.start()
    own.kill_launcher()
    own.start()
    with own.client() as api:
        assert api.get("/v1/me").status_code == 200


def test_a_kill_of_everything_right_after_the_first_start_leaves_a_stack_that_works(own):
    own.start()
    own.kill()
    own.start()
    with own.client() as api:
        assert api.get("/v1/me").status_code == 200


def test_a_start_on_another_port_takes_dropped_files_and_leaves_nothing_lying(own):
    own.start()
    first = own.port
    own.stop()
    assert not (own.folder / "tmp").exists()
    own.port = free_port()
    own.start()
    assert str(first) not in (own.folder / "env").read_text()
    leaf, middle, _ = fresh("moved.example.com")
    drop(own, own.values["CERTHAVEN_ACCOUNT"], {"moved.pem": leaf.pem + middle.pem + leaf.key_pem})
    assert wait_for(own, f"done/{own.values['CERTHAVEN_ACCOUNT']}/moved.json")["name"] == "moved"


def test_data_in_use_is_not_deleted(stack):
    done = subprocess.run(["sh", "infra/reset.sh", stack.folder], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "Stop it first" in done.stderr) == (1, True)
    assert (stack.folder / "env").exists()


def test_ctrl_c_while_it_starts_leaves_no_process_and_no_traceback(own):
    process = own.launch()
    for line in process.stdout:
        if "starting the local AWS emulator" in line or (own.folder / "emulator.pid").exists():
            break
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert "Traceback" not in printed
    assert not (own.folder / "emulator.pid").exists()


def test_the_env_file_is_for_its_owner_only(stack):
    assert (stack.folder / "env").stat().st_mode & 0o077 == 0
