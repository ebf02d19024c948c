"""Building the package: what Chalice makes of app.py, merged with infra/template.yaml.

The same zip and the same template go to the local emulator and to AWS.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.say import give_up, step

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".build"
#: Chalice's stage that describes the package; deployments differ by stack name only.
CHALICE_STAGE = "package"


@dataclass(frozen=True, slots=True)
class Package:
    """A built package: the SAM template, and the zip that every function runs from."""

    template: Path
    archive: Path
    digest: str


def sources() -> Iterator[Path]:
    """Every file that the package depends on."""
    yield ROOT / "app.py"
    yield from sorted(p for p in (ROOT / "chalicelib").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    yield from sorted((ROOT / ".chalice").glob("*.json"))
    yield from (ROOT / "requirements.txt", ROOT / "requirements-nodeps.txt", ROOT / "infra" / "template.yaml")


def digest_of_sources() -> str:
    """SHA-256 over names and contents of all sources, shortened."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Package:
    """The package of the sources as they are; built only when it is not there yet."""
    digest = digest_of_sources()
    folder = BUILD / digest
    package = Package(folder / "sam.yaml", folder / "deployment.zip", digest)
    if package.template.exists() and package.archive.exists():
        return package
    with step("building the package"):
        _vendor()
        BUILD.mkdir(exist_ok=True)
        making = BUILD / f"{digest}.{os.getpid()}"
        _chalice(making)
        for old in BUILD.iterdir():
            if old.is_dir() and old != making:
                shutil.rmtree(old, ignore_errors=True)
        making.rename(folder)
    return package


def _vendor() -> None:
    """Put beside the sources what has to be installed without its dependencies."""
    wanted = (ROOT / "requirements-nodeps.txt").read_text()
    folder, stamp = ROOT / "vendor", ROOT / "vendor" / ".requirements"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--target", str(folder), "-r", "requirements-nodeps.txt"], "installing vendored libraries")
    stamp.write_text(wanted)


def _chalice(folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("chalice")), "package", "--stage", CHALICE_STAGE]
    command += ["--template-format", "yaml", "--merge-template", "infra/template.yaml", str(folder)]
    _run(command, "packaging with Chalice")


def _run(command: list[str], what: str) -> None:
    environment = {**os.environ, "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        if any("Could not find a version" in line or "NewConnectionError" in line for line in lines):
            give_up("The package registry cannot be reached.", "Check the network and try again.")
        give_up(f"{what.capitalize()} failed: {lines[-1]}", f"Try `{' '.join(command)}` to see all.")


def main() -> None:
    """`make package`: build, and say where it is."""
    package = build()
    size = package.archive.stat().st_size / 1_000_000
    print(f"  template  {package.template.relative_to(ROOT)}")
    print(f"  archive   {package.archive.relative_to(ROOT)} ({size:.1f} MB)")


if __name__ == "__main__":
    main()
