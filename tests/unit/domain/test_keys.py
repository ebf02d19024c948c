"""Private keys: recognised, loaded without trust, and matched by use."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chalicelib.domain import der, keys, looks, pem, sm2
from chalicelib.domain.certificate import ParsedCertificate, PublicKey, describe_public_key, describe_sm2_point
from chalicelib.domain.findings import Finding
from chalicelib.domain.keys import PrivateKey
from tests.support.authority import Authority
from tests.support.keys import (
    curve_pem,
    key_der,
    key_pem,
    openssl,
    private_key,
    pss_pem,
    public_pem,
    rsa_numbers,
    sm2_pem,
)


def block(text: str) -> pem.Block:
    (found,) = pem.private_key_blocks(text, "private_key").private_keys
    return found


def loaded(text: str) -> PrivateKey:
    key = keys.load(block(text))
    assert isinstance(key, PrivateKey), key
    return key


def refused(text: str) -> Finding:
    finding = keys.load(block(text), "private_key")
    assert isinstance(finding, Finding)
    assert finding.param == "private_key"
    assert finding.hint
    return finding


@cache
def certified(kind: str, number: int = 0, *, pss: bool = False) -> PublicKey:
    """The public key of a certificate for a test key."""
    issued = Authority.root(kind="rsa2048" if pss else "p256").issue(
        "example.com", key=private_key(kind, number), pss=pss
    )
    return ParsedCertificate(issued.der).public_key


KINDS = {
    "rsa1024": ("RSA", 1024, "", "RSA 1024"),
    "rsa2048": ("RSA", 2048, "", "RSA 2048"),
    "rsa3072": ("RSA", 3072, "", "RSA 3072"),
    "p256": ("ECDSA", 256, "P-256", "ECDSA P-256"),
    "p384": ("ECDSA", 384, "P-384", "ECDSA P-384"),
    "p521": ("ECDSA", 521, "P-521", "ECDSA P-521"),
    "ed25519": ("Ed25519", 256, "", "Ed25519"),
    "ed448": ("Ed448", 456, "", "Ed448"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_supported_key_is_loaded_and_matches_its_certificate(kind):
    key = loaded(key_pem(kind))
    assert (key.kind, key.size, key.curve, key.label) == KINDS[kind]
    assert key.pem().decode() == key_pem(kind)
    assert key.public_fingerprint == hashlib.sha256(pem.scan(public_pem(kind)).blocks[0].der).hexdigest()
    assert keys.matches(key, certified(kind))
    assert not keys.matches(key, certified("p256" if kind != "p256" else "p384"))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519", "ed448"])
def test_another_key_of_the_same_kind_does_not_match(kind):
    other = loaded(key_pem(kind, number=7))
    assert not keys.matches(other, certified(kind))


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_ec_key_that_carries_another_key_s_point_is_refused(kind, form):
    mine, other = (private_key(kind, number) for number in (1, 2))
    points = [
        k.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for k in (mine, other)
    ]
    whole = mine.private_bytes(
        serialization.Encoding.DER, getattr(serialization.PrivateFormat, form), serialization.NoEncryption()
    )
    content = whole.replace(*points)
    assert content != whole
    label = "PRIVATE KEY" if form == "PKCS8" else "EC PRIVATE KEY"
    block = pem.scan(pem.encode(label, content)).blocks[0]
    assert keys.load(block).code == "PrivateKeyFormatIncorrect"


@pytest.mark.parametrize(
    ("kind", "form"),
    [("rsa2048", "traditional"), ("p256", "traditional")]
    + [(kind, "openssh") for kind in ("rsa2048", "p256", "p384", "p521", "ed25519")],
)
def test_every_form_of_a_key_comes_out_the_same(kind, form):
    assert loaded(key_pem(kind, form=form)).pem() == loaded(key_pem(kind)).pem()


@pytest.mark.parametrize(
    ("kind", "form", "label"),
    [
        ("rsa2048", "traditional", "PRIVATE KEY"),
        ("rsa2048", "pkcs8", "RSA PRIVATE KEY"),
        ("p256", "traditional", "PRIVATE KEY"),
        ("p256", "pkcs8", "EC PRIVATE KEY"),
        ("p256", "pkcs8", "ANY PRIVATE KEY"),
    ],
)
def test_a_wrong_label_does_not_keep_a_key_out(kind, form, label):
    assert loaded(pem.encode(label, key_der(kind, form=form))).pem() == loaded(key_pem(kind)).pem()


def test_an_ec_key_with_its_parameters_before_it_is_loaded():
    text = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert "EC PARAMETERS" in text
    assert loaded(text).label == "ECDSA P-256"


def test_an_ec_key_with_explicit_parameters_of_a_known_curve_is_loaded():
    assert loaded(curve_pem("prime256v1", "explicit")).label == "ECDSA P-256"


def test_a_key_for_pss_keeps_its_algorithm():
    key = loaded(pss_pem())
    assert (key.kind, key.size) == ("RSA-PSS", 2048)
    assert key.pem().decode() == pss_pem()


def test_a_key_for_pss_matches_a_certificate_for_pss():
    text = openssl("req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=example.com", given=pss_pem())
    certificate = ParsedCertificate(pem.certificate_blocks(text, "certificate").certificates[0].der)
    assert certificate.public_key.kind == "RSA-PSS"
    assert keys.matches(loaded(pss_pem()), certificate.public_key)


# --- encrypted ----------------------------------------------------------------------------------------------------


def openssh_encrypted() -> str:
    """The head of a key that ssh-keygen encrypted: magic, cipher, KDF."""
    head = b"openssh-key-v1\0" + b"\0\0\0\x0aaes256-ctr" + b"\0\0\0\x06bcrypt"
    return pem.encode("OPENSSH PRIVATE KEY", head + bytes(120))


ENCRYPTED = {
    "PKCS #8": (lambda: key_pem("p256", passphrase=b"secret"), "openssl pkey -in"),
    "RSA, traditional": (lambda: key_pem("rsa2048", form="traditional", passphrase=b"secret"), "openssl rsa -in"),
    "EC, traditional": (lambda: key_pem("p256", form="traditional", passphrase=b"secret"), "openssl pkey -in"),
    "OpenSSH": (
        openssh_encrypted,
        "openssl pkey -in",
    ),
    "PKCS #8 under the wrong label": (
        lambda: key_pem("p256", passphrase=b"secret").replace("ENCRYPTED ", ""),
        "openssl pkey -in",
    ),
    "one line": (
        lambda: " ".join(key_pem("rsa2048", form="traditional", passphrase=b"secret").split("\n")),
        "openssl rsa -in",
    ),
}


@pytest.mark.parametrize("name", ENCRYPTED)
def test_an_encrypted_key_is_told_with_the_command_that_decrypts_it(name):
    build, command = ENCRYPTED[name]
    finding = refused(build())
    assert finding.code == "PrivateKeyEncrypted"
    assert f"{command} encrypted.key -out decrypted.key" in finding.hint


# --- not usable ---------------------------------------------------------------------------------------------------

UNSUPPORTED = {
    "DSA": (lambda: key_pem("dsa"), "DSA"),
    "traditional DSA": (lambda: key_pem("dsa", form="traditional"), "DSA"),
    "X25519": (lambda: key_pem("x25519"), "X25519"),
    "X448": (lambda: key_pem("x448"), "X448"),
    "Diffie-Hellman": (
        lambda: openssl("genpkey", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"),
        "Diffie-Hellman",
    ),
    "secp256k1": (lambda: key_pem("k256"), "secp256k1"),
    "brainpool": (lambda: key_pem("bp256"), "brainpoolP256r1"),
    "P-224": (lambda: key_pem("p224"), "P-224"),
    "explicit parameters": (lambda: curve_pem("brainpoolP256r1", "explicit"), "not known here"),
    "binary curve": (lambda: curve_pem("sect283r1"), "not known here"),
    "unknown OID": (
        lambda: pem.encode("PRIVATE KEY", key_der("ed25519").replace(b"\x2b\x65\x70", b"\x2b\x65\x7f")),
        "1.3.101.127",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_key_is_called_by_its_name(name):
    build, words = UNSUPPORTED[name]
    finding = refused(build())
    assert finding.code == "UnsupportedAlgorithm"
    assert words in finding.message
    assert "Ed25519" in finding.message


def test_a_short_curve_is_weak():
    finding = refused(key_pem("p192"))
    assert finding.code == "WeakKey"
    assert "192 bits" in finding.message


def test_an_rsa_key_too_short_to_sign_with_is_weak():
    assert refused(openssl("genrsa", "512")).code == "WeakKey"


@cache
def right_numbers() -> dict[str, int]:
    """The numbers of an RSA key, in the order of RSAPrivateKey (RFC 8017, A.1.2)."""
    key = rsa_numbers()
    return {
        "version": 0,
        "n": key.public_numbers.n,
        "e": key.public_numbers.e,
        "d": key.d,
        "p": key.p,
        "q": key.q,
        "dp": key.dmp1,
        "dq": key.dmq1,
        "qinv": key.iqmp,
    }


def numbers_pem(**changes: int) -> str:
    """The RSA key in PKCS #1 with some of its numbers changed."""
    encoded = [
        der.encode(der.INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
        for number in (right_numbers() | changes).values()
    ]
    return pem.encode("RSA PRIVATE KEY", der.encode(der.SEQUENCE, *encoded))


def test_the_numbers_unchanged_are_a_key():
    assert keys.matches(loaded(numbers_pem()), certified("rsa2048"))


def test_an_enormous_rsa_key_is_refused_by_its_size_alone():
    """The library would test the primes of such a key for half a minute."""
    finding = refused(numbers_pem(n=(1 << 16383) + 1))
    assert finding.code == "UnsupportedAlgorithm"
    assert "16384 bits" in finding.message
    assert str(keys.MAX_RSA_BITS) in finding.message


def test_more_bytes_than_any_key_has_are_refused():
    assert refused(pem.encode("RSA PRIVATE KEY", der.encode(0x30, *[b"\x02\x01\x01"] * 9, bytes(20_000)))).code == (
        "PrivateKeyFormatIncorrect"
    )


RSA_NUMBERS = ["n", "e", "d", "p", "q", "dp", "dq", "qinv"]
MUTATIONS = {
    "one more": lambda number: number + 1,
    "two more": lambda number: number + 2,
    "one less": lambda number: number - 1,
    "negative": lambda number: -number,
    "zero": lambda number: 0,
    "one": lambda number: 1,
    "half": lambda number: number // 2,
    "double": lambda number: number * 2,
}


def usable(text: str, public: PublicKey) -> bool:
    """Whether a key text would be taken as the key of a certificate."""
    read = pem.private_key_blocks(text, "private_key")
    held = [keys.load(found) for found in read.private_keys]
    return any(isinstance(key, PrivateKey) and keys.matches(key, public) for key in held)


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", RSA_NUMBERS)
def test_an_rsa_key_with_one_wrong_number_is_refused(name, mutation):
    wrong = MUTATIONS[mutation](right_numbers()[name])
    assert not usable(numbers_pem(**{name: wrong}), certified("rsa2048"))


@given(st.sampled_from(RSA_NUMBERS), st.integers(min_value=0, max_value=(1 << 2048) - 1))
@settings(max_examples=100)
def test_no_other_number_will_do_in_an_rsa_key(name, number):
    assume(number != right_numbers()[name])
    assert not usable(numbers_pem(**{name: number}), certified("rsa2048"))


def test_exchanged_primes_are_refused_unless_their_companions_are_too():
    right = rsa_numbers()
    assert not usable(numbers_pem(p=right.q, q=right.p), certified("rsa2048"))
    exchanged = numbers_pem(p=right.q, q=right.p, dp=right.dmq1, dq=right.dmp1, qinv=pow(right.p, -1, right.q))
    assert usable(exchanged, certified("rsa2048"))


def test_composite_primes_are_found_out_by_the_signature():
    """p·q is right and the exponents fit, but p is no prime: only using the key shows it."""
    three = [private_key(f"rsa{bits}").private_numbers().p for bits in (1024, 2048, 3072)]
    p, q, e = three[0] * 3, three[1], 65537
    while (p - 1) % e == 0 or (q - 1) % e == 0:
        e += 2
    phi = (p - 1) * (q - 1)
    d = pow(e, -1, phi)
    text = numbers_pem(n=p * q, e=e, d=d, p=p, q=q, dp=d % (p - 1), dq=d % (q - 1), qinv=pow(q, -1, p))
    public = describe_public_key(rsa.RSAPublicNumbers(e, p * q).public_key())
    key = keys.load(block(text))
    assert isinstance(key, Finding) or not keys.matches(key, public)


@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa2048"])
@given(data=st.data())
@settings(max_examples=60)
def test_a_flipped_bit_anywhere_is_never_taken_for_the_key(kind, data):
    content = bytearray(key_der(kind))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    if not usable(pem.encode("PRIVATE KEY", bytes(content)), certified(kind)):
        return
    # Bits that say nothing of the key, such as the version, may flip: then the same key must come out.
    assert loaded(pem.encode("PRIVATE KEY", bytes(content))).pem().decode() == key_pem(kind)


def test_an_ec_key_with_the_public_point_of_another_is_refused():
    mine, other = (key_der("p256", number, "traditional") for number in (0, 7))
    finding = refused(pem.encode("EC PRIVATE KEY", mine[:-64] + other[-64:]))
    assert finding.code == "PrivateKeyFormatIncorrect"


@given(
    st.binary(max_size=200), st.sampled_from(["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "SM2 PRIVATE KEY"])
)
@settings(max_examples=100)
def test_any_content_is_answered(content, label):
    for kind in (None, *der.Kind):
        answer = keys.load(pem.Block(label, content, kind=kind))
        assert isinstance(answer, Finding | PrivateKey)


@given(st.data())
@settings(max_examples=100)
def test_any_mutilated_key_is_answered(data):
    source = data.draw(st.sampled_from([("rsa1024", "pkcs8"), ("rsa1024", "traditional"), ("p256", "pkcs8")]))
    content = bytearray(key_der(source[0], form=source[1]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(60, len(content) - 1)))] = data.draw(st.integers(0, 255))
    kind = der.kind(bytes(content))
    assert isinstance(keys.load(pem.Block("PRIVATE KEY", bytes(content), kind=kind)), Finding | PrivateKey)


def test_every_private_key_of_the_library_s_vectors_is_answered():
    vectors = pytest.importorskip("cryptography_vectors")
    root = vectors.__path__[0]
    answers: dict[str, str] = {}
    for path in sorted(Path(root).rglob("*.pem")):
        text = looks.decode(path.read_bytes())
        for found in pem.private_key_blocks(text, "private_key").private_keys:
            key = keys.load(found)
            answers[str(path.relative_to(root))] = key.label if isinstance(key, PrivateKey) else key.code
    assert len(answers) > 90
    assert set(answers.values()) >= {"RSA 2048", "ECDSA P-256", "PrivateKeyEncrypted", "UnsupportedAlgorithm"}


@pytest.mark.parametrize("what", ["certificate", "public key", "CSR", "PGP"])
def test_blocks_that_are_no_private_key_are_told_apart(what):
    texts = {
        "certificate": lambda: Authority.root().pem,
        "public key": public_pem,
        "CSR": lambda: openssl("req", "-new", "-key", "/dev/stdin", "-subj", "/CN=x", given=key_pem()),
        "PGP": lambda: pem.encode("PGP PRIVATE KEY BLOCK", b"\x95\x01"),
    }
    finding = keys.classify(pem.scan(texts[what]()).blocks[0])
    assert finding is not None
    assert finding.code == "PrivateKeyFormatIncorrect"
    assert what in finding.message


# --- secrecy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_a_key_shows_itself_nowhere(kind):
    key = loaded(key_pem(kind))
    shown = f"{key!r} {key} {replace(key, pkcs8=b'x')!r} {[key]}"
    assert shown.count(key.label) == 4
    assert "pkcs8" not in shown
    assert not [n for n in range(len(key.pkcs8) - 4) if repr(key.pkcs8[n : n + 4])[2:-1] in shown]


# --- SM2 ----------------------------------------------------------------------------------------------------------


def sm2_public(text: str) -> PublicKey:
    spki = pem.scan(openssl("pkey", "-pubout", given=text)).blocks[0].der
    point = sm2.spki_point(spki)
    assert point is not None
    return describe_sm2_point(point)


def test_an_sm2_key_is_loaded_and_matches_by_its_point():
    key = loaded(sm2_pem())
    assert (key.kind, key.size, key.label) == ("SM2", 256, "SM2")
    assert keys.matches(key, sm2_public(sm2_pem()))
    assert not keys.matches(key, sm2_public(sm2_pem(1)))
    assert not keys.matches(key, certified("p256"))


def test_an_sm2_key_is_written_as_openssl_reads_it():
    written = loaded(sm2_pem()).pem().decode()
    assert openssl("pkey", "-pubout", given=written) == openssl("pkey", "-pubout", given=sm2_pem())


def test_an_sm2_key_with_the_public_point_of_another_is_not_taken_for_the_other():
    mine, other = (bytearray(pem.scan(sm2_pem(n)).blocks[0].der) for n in (0, 1))
    forged = pem.encode("PRIVATE KEY", bytes(mine[:-64] + other[-64:]))
    assert not usable(forged, sm2_public(sm2_pem(1)))


# --- making keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "size", "label"),
    [
        ("RSA", 2048, "RSA 2048"),
        ("ECC", 256, "ECDSA P-256"),
        ("ECC", 384, "ECDSA P-384"),
        ("ECC", 521, "ECDSA P-521"),
        ("SM2", 256, "SM2"),
    ],
)
def test_a_new_key_is_one_that_would_be_loaded(algorithm, size, label):
    key = keys.generate(algorithm, size)
    assert key.label == label
    again = loaded(key.pem().decode())
    assert again.public == key.public
    assert again.pem() == key.pem()
    assert keys.matches(key, again.public)


@pytest.mark.parametrize(("algorithm", "size"), [("RSA", 1024), ("ECC", 255), ("DSA", 2048)])
def test_no_other_key_is_made(algorithm, size):
    with pytest.raises(KeyError):
        keys.generate(algorithm, size)


def test_two_new_keys_differ():
    assert keys.generate("ECC", 256).public_fingerprint != keys.generate("ECC", 256).public_fingerprint
