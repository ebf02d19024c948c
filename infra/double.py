"""`make run ALIBABA=double`: an emulation of Alibaba Cloud beside the local stack, with certificates to look at.

Environment: `ALIBABA` (empty, or ``double``), `ALIBABA_PORT` (any that is free, and then the same at every start).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from infra.package import ROOT
from infra.say import give_up, step

#: What the emulation's access keys begin with: no real one does.
OURS = "EMULATED"
#: Every answer of the emulation has it, so that nothing else is taken for it.
MARK = "x-certhaven-emulation"
#: It is expected to answer within this many seconds.
PATIENCE = 30.0


class Alibaba(ABC):
    """What the local stack does about Alibaba Cloud."""

    #: Of the template.
    parameters: dict[str, str]
    #: For the person at the terminal.
    about: str

    @abstractmethod
    def start(self) -> None:
        """Start what has to run. Ends with one line when it does not."""

    @abstractmethod
    def give_credentials(self, stack: str, account: str) -> None:
        """Set or take back an account's credentials; the emulator of AWS is up."""

    @abstractmethod
    def stop(self) -> None:
        """End what runs."""


def settle(folder: Path, taken: int) -> Alibaba:
    """Read the environment. Ends with one line when it does not make sense.

    Args:
        folder: that the local stack keeps its data in.
        taken: the local stack's own port.
    """
    wanted = os.environ.get("ALIBABA") or ""
    if wanted not in {"", "double"}:
        give_up(f"ALIBABA is {wanted!r}.", "Leave it out, or try `make run ALIBABA=double`.")
    own = folder / "alibaba"
    if not wanted:
        return _Nothing(own)
    own.mkdir(exist_ok=True)
    return _Double(own, _choose_port(own / "port", taken))


def _choose_port(known: Path, taken: int) -> int:
    """The port that is wanted, else that of the last start, else any: its address is part of the deployed stack."""
    text = os.environ.get("ALIBABA_PORT") or ""
    if text and (not text.isdigit() or not 1 <= int(text) <= 65535):
        give_up(f"ALIBABA_PORT is {text!r}, which is no port number.", "Leave it out to have one chosen.")
    if text:
        port = int(text)
        if port == taken or not _bound(port):
            give_up(f"Port {port} is in use.", "Choose another ALIBABA_PORT, or leave it out.")
    else:
        last = int(known.read_text()) if known.exists() else 0
        port = (_bound(last) if last != taken else 0) or _bound(0)
    known.write_text(str(port))
    return port


def _bound(port: int) -> int:
    """The port itself if it is free, any free one for 0; 0 if it is not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


class _Nothing(Alibaba):
    """No emulation; what an earlier one left is taken back, so that its credentials never reach the real cloud."""

    def __init__(self, folder: Path) -> None:
        self.parameters = {}
        self.about = ""
        self._given = folder / "secret"

    def start(self) -> None:
        """Nothing runs."""

    def give_credentials(self, stack: str, account: str) -> None:
        """Delete the secret that an earlier start with the emulation set."""
        del stack, account
        if self._given.exists():
            client = _secrets_manager()
            name = self._given.read_text()
            if _is_ours(client, name):
                client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
            self._given.unlink()

    def stop(self) -> None:
        """Nothing runs."""


class _Double(Alibaba):
    """The emulation as a child process. It ends with this one, even when this one is killed."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._log = folder / "log"
        self._access_key_id = f"{OURS}{secrets.token_hex(8)}"
        self._access_key_secret = secrets.token_hex(20)
        self._process: subprocess.Popen[bytes] | None = None
        endpoint = f"http://127.0.0.1:{port}"
        self.parameters = {"AlibabaEndpoint": endpoint}
        self.about = f"""
  Alibaba      {endpoint}: Alibaba Cloud is emulated here, and no real one is touched"""

    def start(self) -> None:
        """Start it and wait until it answers."""
        with step("starting the emulation of Alibaba Cloud"):
            environment = {
                **os.environ,
                "ALIBABA_CLOUD_ACCESS_KEY_ID": self._access_key_id,
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self._access_key_secret,
            }
            state = str(self._folder / "state.json")
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "tests.support.alibaba", "--with-parent"),
                        *("--port", str(self._port), "--state", state),
                    ],
                    env=environment,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._await_answer(self._process)

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if process.poll() is not None:
                last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
                give_up(f"The emulation of Alibaba Cloud did not start: {last[0]}", f"Its log is {self._log}.")
            if _answers(self.parameters["AlibabaEndpoint"]):
                return
            time.sleep(0.05)
        give_up(f"The emulation of Alibaba Cloud did not answer within {PATIENCE:.0f} s.", f"Its log is {self._log}.")

    def give_credentials(self, stack: str, account: str) -> None:
        """Set the account's credentials to those that the emulation takes. Ends with one line if it has real ones."""
        client = _secrets_manager()
        name = f"{stack}/alibaba/{account}"
        text = json.dumps({"access_key_id": self._access_key_id, "access_key_secret": self._access_key_secret})
        known = _is_ours(client, name)
        if known is None:
            client.create_secret(Name=name, SecretString=text)
        elif known:
            client.put_secret_value(SecretId=name, SecretString=text)
        else:
            give_up(
                f"The secret {name} holds credentials that are not the emulation's.",
                "Delete it, or start with another CERTHAVEN_STATE.",
            )
        (self._folder / "secret").write_text(name)

    def stop(self) -> None:
        """End it; its data stays."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _answers(endpoint: str) -> bool:
    """Whether the emulation, and nothing else, listens at an address of this machine."""
    with contextlib.suppress(OSError):
        answer = urllib.request.urlopen(endpoint, timeout=2)  # noqa: S310 - http, made here
        with answer:
            return MARK in answer.headers
    return False


def _secrets_manager() -> Any:  # noqa: ANN401 - a boto3 client
    import boto3  # 300 ms, while the emulator starts

    return boto3.client("secretsmanager")


def _is_ours(client: Any, name: str) -> bool | None:  # noqa: ANN401 - a boto3 client
    """Whether a secret holds an access key of the emulation; ``None`` when there is no such secret."""
    try:
        held = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None
    except ValueError:
        return False
    return isinstance(held, dict) and str(held.get("access_key_id", "")).startswith(OURS)
