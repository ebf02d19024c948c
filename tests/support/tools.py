"""The command-line tools that files must get along with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_keytool = pytest.mark.skipif(shutil.which("keytool") is None, reason="keytool is not installed")


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    """What openssl writes to its output; it must succeed."""
    return _run("openssl", *arguments, given=given)


def keytool(*arguments: str) -> bytes:
    """What keytool writes to its output; it must succeed."""
    return _run("keytool", "-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en", *arguments)


def _run(*command: str, given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout


class Folder:
    """A folder that tools read from and write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, content: bytes | str) -> str:
        """Write a file; gives its path."""
        path = self.path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def at(self, name: str) -> str:
        """The path of a file that a tool is to write."""
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        """The content of a file that a tool wrote."""
        return (self.path / name).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)
