"""The running service: what `make run` starts, on a free port, with data of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import httpx
import pytest

from infra.local import read_env
from infra.package import ROOT

START_WITHIN = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Stack:
    """One local installation: a folder and a port, started and stopped at will."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None
    values: dict[str, str] = field(default_factory=dict)

    def launch(self, **environment: str) -> subprocess.Popen:
        """Start the launcher and return at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "infra.local"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(self.port), "CERTHAVEN_STATE": str(self.folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )

    def start(self, **environment: str) -> list[str]:
        """Start, wait until it says where it is, and return what it printed."""
        self.process = self.launch(**environment)
        lines = []
        end = time.monotonic() + START_WITHIN
        for line in self.process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Ctrl-C") or time.monotonic() > end:
                break
        else:
            raise AssertionError("the service did not start:\n" + "\n".join(lines))
        self.values = read_env(self.folder / "env")
        return lines

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
            self.process.stdout.close()

    def kill(self) -> None:
        """`kill -9` of everything at once."""
        emulator = int((self.folder / "emulator.pid").read_text())
        os.killpg(self.process.pid, signal.SIGKILL)
        os.killpg(emulator, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def kill_launcher(self) -> None:
        """`kill -9` of the launcher alone: the emulator is left over."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return self.values["CERTHAVEN_URL"]

    @property
    def token(self) -> str:
        return self.values["CERTHAVEN_TOKEN"]

    @property
    def operator_token(self) -> str:
        return self.values["CERTHAVEN_OPERATOR_TOKEN"]

    @property
    def bucket(self) -> str:
        return self.values["CERTHAVEN_DROP_BUCKET"]

    @property
    def drop_queue_url(self) -> str:
        return self.values["CERTHAVEN_DROP_QUEUE"]

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def aws(self, service: str):
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=self.values["AWS_DEFAULT_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @property
    def s3(self):
        return self.aws("s3")

    @property
    def sqs(self):
        return self.aws("sqs")


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The service beside an emulation of Alibaba Cloud, started once for all tests."""
    made = Stack(tmp_path_factory.mktemp("stack"), free_port())
    made.start(ALIBABA="double")
    yield made
    made.stop()


@pytest.fixture
def api(stack):
    """A client with an admin's token of the first account."""
    with stack.client() as client:
        yield client


@pytest.fixture
def operator(stack):
    """A client with an operator's token."""
    with stack.client(stack.operator_token) as client:
        yield client


@pytest.fixture(scope="session")
def account(stack):
    """The id of the first account."""
    with stack.client() as client:
        return client.get("/v1/me").json()["account"]["id"]
