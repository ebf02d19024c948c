"""SM2 certificates, keys and signatures made and judged by the openssl command: an implementation that is not ours."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from tests.support.keys import openssl

DEFAULT_IDENTITY = "1234567812345678"

_CONFIG = """
[ ca ]
default_ca = here
[ here ]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sm3
policy = anything
unique_subject = no
copy_extensions = copy
[ anything ]
countryName = optional
organizationName = optional
commonName = optional
[ root ]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ intermediate ]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ signing ]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, nonRepudiation
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ encryption ]
basicConstraints = critical, CA:FALSE
keyUsage = critical, keyEncipherment, dataEncipherment, keyAgreement
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ req ]
distinguished_name = anything
"""


@dataclass(frozen=True)
class DoubleCertificate:
    """PEM texts: an SM2 root, an intermediate, and the two certificates of one server, with their keys (PKCS #8)."""

    root: str
    intermediate: str
    signing: str
    encryption: str
    root_key: str
    intermediate_key: str
    signing_key: str
    encryption_key: str


@cache
def double_certificate(
    *,
    identity: str = DEFAULT_IDENTITY,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    domain: str = "sm2.example.com",
) -> DoubleCertificate:
    """Made with openssl in a folder of its own, which is removed.

    Args:
        identity: under which everything is signed; empty for the empty one.
        not_before: of all certificates; now when absent.
        not_after: of all certificates; in ten years when absent.
        domain: of the server.
    """
    with tempfile.TemporaryDirectory() as name:
        maker = _Maker(Path(name), identity, _dates(not_before, not_after))
        root, root_key = maker.issue("root", "/C=CN/O=Example/CN=SM2 Root", None)
        middle, middle_key = maker.issue("intermediate", "/C=CN/O=Example/CN=SM2 Intermediate", "root")
        server = f"/C=CN/O=Example/CN={domain}"
        signing, signing_key = maker.issue("signing", server, "intermediate", domain)
        encryption, encryption_key = maker.issue("encryption", server, "intermediate", domain)
    return DoubleCertificate(root, middle, signing, encryption, root_key, middle_key, signing_key, encryption_key)


def _dates(not_before: datetime | None, not_after: datetime | None) -> list[str]:
    dates = ["-days", "3650"]
    if not_before is not None:
        dates += ["-startdate", f"{not_before:%Y%m%d%H%M%SZ}"]
    if not_after is not None:
        dates += ["-enddate", f"{not_after:%Y%m%d%H%M%SZ}"]
    return dates


class _Maker:
    """One folder in which openssl plays an authority."""

    def __init__(self, folder: Path, identity: str, dates: list[str]) -> None:
        self.folder = folder
        self.identity = identity
        self.dates = dates
        self.config = folder / "config"
        self.config.write_text(_CONFIG.format(folder=folder))
        (folder / "index").touch()

    def issue(self, section: str, subject: str, issuer: str | None, domain: str = "") -> tuple[str, str]:
        """Certificate and key for a subject; `issuer` is the section of an earlier one, ``None`` for itself."""
        key, request, made = (self.folder / f"{section}.{kind}" for kind in ("key", "csr", "pem"))
        key.write_text(new_key())
        extra = ["-addext", f"subjectAltName=DNS:{domain}"] if domain else []
        arguments = ["-new", "-key", key, "-sm3", "-subj", subject, "-config", self.config, "-out", request]
        run("req", *arguments, *extra, *_option("-sigopt", self.identity))
        by = ["-selfsign", "-keyfile", key]
        if issuer:
            by = ["-cert", self.folder / f"{issuer}.pem", "-keyfile", self.folder / f"{issuer}.key"]
        options = [*_option("-sigopt", self.identity), *_option("-vfyopt", self.identity)]
        arguments = ["-batch", "-notext", "-config", self.config, "-extensions", section, "-in", request, "-out", made]
        run("ca", *arguments, *by, *self.dates, *options)
        return made.read_text(), key.read_text()


def _option(name: str, identity: str) -> list[str]:
    """Without the option, openssl takes the empty identity."""
    return [name, f"distid:{identity}"] if identity else []


def run(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run openssl; a failure raises."""
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=True)


def new_key() -> str:
    """A new SM2 key in PKCS #8."""
    return run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2").stdout.decode()


@cache
def _the_key() -> str:
    return new_key()


@cache
def key_pem(form: str = "pkcs8") -> str:
    """One and the same SM2 key, in the forms that openssl of several ages writes.

    Args:
        form: ``pkcs8``; ``sm2`` and ``sm2-explicit`` (SM2 PRIVATE KEY, openssl 3); ``ec`` and ``ec-explicit`` (EC
            PRIVATE KEY, openssl 1.1); ``ec-parameters`` (the same below EC PARAMETERS); ``pkcs8-explicit``.
    """
    given = _the_key()
    if form == "pkcs8":
        return given
    encoding = ("-param_enc", "explicit") if form.endswith("explicit") else ()
    text = openssl("ec", *encoding, given=given)
    if form == "pkcs8-explicit":
        return openssl("pkcs8", "-topk8", "-nocrypt", given=text)
    if form.startswith("ec"):
        text = text.replace("SM2 PRIVATE KEY", "EC PRIVATE KEY")
    if form == "ec-parameters":
        parameters = openssl("ecparam", "-name", "SM2").replace("SM2 PARAMETERS", "EC PARAMETERS")
        return parameters + text
    return text


def public_pem(key: str) -> str:
    """The public half of a private key in PEM."""
    return openssl("pkey", "-pubout", given=key)


def sign(key: str, message: bytes, identity: str = DEFAULT_IDENTITY) -> bytes:
    """openssl's signature over `message`, in DER."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text(key)
        (folder / "message").write_bytes(message)
        arguments = ("-sign", "-rawin", "-digest", "sm3", "-inkey", folder / "key", "-in", folder / "message")
        return run("pkeyutl", *arguments, *_option("-pkeyopt", identity)).stdout


def verifies(public: str, signature: bytes, message: bytes, identity: str = DEFAULT_IDENTITY) -> bool:
    """Whether openssl finds that the signature holds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text(public)
        (folder / "message").write_bytes(message)
        (folder / "signature").write_bytes(signature)
        arguments = ["-verify", "-rawin", "-digest", "sm3", "-pubin", "-inkey", folder / "key"]
        arguments += ["-in", folder / "message", "-sigfile", folder / "signature", *_option("-pkeyopt", identity)]
        done = subprocess.run(["openssl", "pkeyutl", *map(str, arguments)], capture_output=True, check=False)
    return done.returncode == 0 and b"Signature Verified Successfully" in done.stdout


def request_verifies(request: str, identity: str = DEFAULT_IDENTITY) -> bool:
    """Whether openssl finds that a request's own signature holds. (It exits with 0 either way.)"""
    arguments = ("req", "-noout", "-verify", *_option("-vfyopt", identity))
    return b"verify OK" in run(*arguments, given=request.encode()).stderr


def chain_verifies(certificate: str, issuer: str, identity: str = DEFAULT_IDENTITY) -> bool:
    """Whether openssl finds that `issuer` signed `certificate`; dates are not looked at."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "leaf").write_text(certificate)
        (folder / "issuer").write_text(issuer)
        arguments = ["-partial_chain", "-no_check_time", "-trusted", folder / "issuer"]
        arguments += [*_option("-vfyopt", identity), folder / "leaf"]
        done = subprocess.run(["openssl", "verify", *map(str, arguments)], capture_output=True, check=False)
    return done.returncode == 0
