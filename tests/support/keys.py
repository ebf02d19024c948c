"""Private keys for tests, made once per process, in every form that people have them in."""

from __future__ import annotations

import subprocess
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x448, x25519

from tests.support.authority import private_key as _private_key

#: Kinds that may be asked for beside those of `authority.private_key`.
_OTHERS = {"x25519": x25519.X25519PrivateKey, "x448": x448.X448PrivateKey}

FORMATS = {
    "pkcs8": serialization.PrivateFormat.PKCS8,
    "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
    "openssh": serialization.PrivateFormat.OpenSSH,
}


@cache
def private_key(kind: str = "p256", number: int = 0):
    """A key of a kind (rsa2048, p256, ed25519, x25519, dsa, …); the same one for the same number."""
    return _OTHERS[kind].generate() if kind in _OTHERS else _private_key(kind, number)


def public_pem(kind: str = "p256", number: int = 0) -> str:
    """Its public half."""
    return (
        private_key(kind, number)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def key_der(kind: str = "p256", number: int = 0, form: str = "pkcs8") -> bytes:
    """A key in DER, without passphrase."""
    return private_key(kind, number).private_bytes(
        serialization.Encoding.DER, FORMATS[form], serialization.NoEncryption()
    )


def key_pem(kind: str = "p256", number: int = 0, form: str = "pkcs8", passphrase: bytes | None = None) -> str:
    """A key in PEM, with a passphrase when one is given."""
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return private_key(kind, number).private_bytes(serialization.Encoding.PEM, FORMATS[form], protection).decode()


@cache
def openssl(*arguments: str, given: str = "") -> str:
    """What the openssl command prints: for keys that the library cannot make."""
    done = subprocess.run(["openssl", *arguments], input=given.encode(), capture_output=True, check=True)
    return done.stdout.decode()


@cache
def pss_pem(bits: int = 2048) -> str:
    """An RSA key that is only for PSS (id-RSASSA-PSS)."""
    return openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", f"rsa_keygen_bits:{bits}")


@cache
def sm2_pem(number: int = 0) -> str:
    """An SM2 key in PKCS #8."""
    del number
    return openssl.__wrapped__("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2")


def curve_pem(curve: str, encoding: str = "named_curve") -> str:
    """An EC key on any curve that openssl knows, its parameters named or explicit."""
    return openssl(
        "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-pkeyopt", f"ec_param_enc:{encoding}"
    )


def rsa_numbers(kind: str = "rsa2048", number: int = 0) -> rsa.RSAPrivateNumbers:
    """The numbers of an RSA key."""
    return private_key(kind, number).private_numbers()
