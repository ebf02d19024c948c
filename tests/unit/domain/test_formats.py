"""Conversions, each judged by the tools that people use; and files made to hurt."""

from __future__ import annotations

import base64
import time
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain import ber, contents, der, formats, jks, keys, pbe, pem
from chalicelib.domain.errors import CerthavenError, InvalidRequest, TooLarge, Unprocessable
from chalicelib.domain.formats import Bundle, convert, to_jks, to_pfx
from tests.support.authority import Authority, Issued
from tests.support.keys import key_der, key_pem, private_key, pss_pem, sm2_pem
from tests.support.tools import Folder, folder, keytool, needs_keytool, openssl

__all__ = ["folder"]

SECRET = "correct horse"
ROOT = Authority.root()
INTERMEDIATE = ROOT.intermediate()


def leaf(kind: str = "p256", name: str = "shop.example.com") -> Issued:
    return INTERMEDIATE.issue(name, kind=kind)


def whole(issued: Issued, *, key: str | None = None) -> str:
    """What people keep in one file, in no good order."""
    return ROOT.pem + (key or issued.key_pem) + issued.pem + INTERMEDIATE.pem


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def labels(text: str) -> list[str]:
    return [block.label for block in pem.scan(text).blocks]


def ders(text: str) -> list[bytes]:
    return [block.der for block in pem.scan(text).blocks]


def refusal(*arguments: str | None) -> CerthavenError:
    with pytest.raises(CerthavenError) as caught:
        convert(*arguments)
    return caught.value


def same_key(text: str, key: object) -> bool:
    """Whether the PEM text of a key is that key, by its public half."""
    loaded = serialization.load_pem_private_key(text.encode(), None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return loaded.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pfx_is_read_by_openssl_with_leaf_chain_and_key(kind, folder: Folder):
    issued = leaf(kind)
    made = convert("pem", "pfx", whole(issued), None, SECRET)
    path = folder.put("a.pfx", made.content)
    text = openssl("pkcs12", "-in", path, "-passin", f"pass:{SECRET}", "-nodes").decode()
    certificates = [b.der for b in pem.scan(text).blocks if b.label == "CERTIFICATE"]
    assert certificates == [issued.der, INTERMEDIATE.der, ROOT.der]
    assert same_key(text[text.index("-----BEGIN PRIVATE") :], issued.key)
    assert "friendlyName: shop.example.com-2026-" in text


@pytest.mark.parametrize("kind", ["rsa2048", "p384", "ed25519", "ed448"])
@pytest.mark.parametrize("options", [(), ("-legacy",), ("-nomac",), ("-keypbe", "NONE", "-certpbe", "NONE")])
def test_a_pfx_of_openssl_becomes_leaf_chain_and_key(kind, options, folder: Folder):
    issued = leaf(kind)
    openssl(
        *("pkcs12", "-export", "-in", folder.put("all.pem", issued.pem + ROOT.pem + INTERMEDIATE.pem)),
        *("-inkey", folder.put("a.key", issued.key_pem), "-passout", f"pass:{SECRET}", "-out", folder.at("a.pfx")),
        *options,
    )
    made = convert("pfx", "pem", b64(folder.read("a.pfx")), SECRET)
    assert ders(made.output)[:3] == [issued.der, INTERMEDIATE.der, ROOT.der]
    assert labels(made.output) == ["CERTIFICATE"] * 3 + ["PRIVATE KEY"]
    assert same_key(made.output[made.output.index("-----BEGIN PRIVATE") :], issued.key)


def test_contents_say_what_is_inside():
    made = convert("pem", "pfx", whole(leaf("rsa2048")), None, SECRET)
    assert made.contents == (
        "certificate shop.example.com",
        "certificate Intermediate",
        "certificate Root",
        "private key RSA 2048",
    )
    assert made.file_name == "shop.example.com.pfx"
    assert not made.is_text


def test_a_pfx_without_mac_and_encryption_takes_any_passphrase():
    issued = leaf()
    bare = pkcs12.serialize_key_and_certificates(
        b"a", issued.key, issued.certificate, None, serialization.NoEncryption()
    )
    outer = ber.read(bare)
    bare = der.encode(der.SEQUENCE, *(child.raw for child in outer.children[:2]))
    for passphrase in (None, "", "anything"):
        assert labels(convert("p12", "pem", b64(bare), passphrase).output) == ["CERTIFICATE", "PRIVATE KEY"]


def test_a_pfx_in_indefinite_form_is_read():
    issued = leaf()
    made = convert("pem", "pfx", whole(issued), None, SECRET).content
    version, content, mac = ber.read(made).children
    oid, wrapped = content.children
    octets = wrapped.children[0].content
    pieces = b"".join(der.encode(der.OCTET_STRING, octets[i : i + 500]) for i in range(0, len(octets), 500))
    loose = b"\x30\x80" + version.raw + b"\x30\x80" + oid.raw
    loose += b"\xa0\x80\x24\x80" + pieces + b"\0\0" * 3 + mac.raw + b"\0\0"
    assert ders(convert("pfx", "pem", b64(loose), SECRET).output)[0] == issued.der


def test_a_pfx_of_several_keys_gives_each_leaf_with_its_chain():
    one, two = leaf("p256", "one.example.com"), ROOT.issue("two.example.com", kind="p384", number=7)
    safe = b"".join(
        _bag("10.1.3", der.encode(der.SEQUENCE, ber.encode_oid("1.2.840.113549.1.9.22.1"), _explicit(_octets(c))))
        for c in (ROOT.der, two.der, INTERMEDIATE.der, one.der)
    )
    safe += b"".join(_bag("10.1.1", private_der(i)) for i in (one, two))
    made = convert("pfx", "pem", b64(_pfx(safe)))
    assert ders(made.output)[:4] == [one.der, INTERMEDIATE.der, ROOT.der, two.der]
    assert made.contents[4:] == ("private key ECDSA P-256", "private key ECDSA P-384")
    assert refusal("pfx", "jks", b64(_pfx(safe)), SECRET).code == "ConversionInputIncorrect"


def private_der(issued: Issued) -> bytes:
    return issued.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _octets(content: bytes) -> bytes:
    return der.encode(der.OCTET_STRING, content)


def _explicit(content: bytes) -> bytes:
    return der.encode(der.CONTEXT_0, content)


def _sequence(*parts: bytes) -> bytes:
    return der.encode(der.SEQUENCE, *parts)


def _bag(kind: str, content: bytes) -> bytes:
    return _sequence(ber.encode_oid(f"1.2.840.113549.1.12.{kind}"), _explicit(content))


def _data(content: bytes) -> bytes:
    return _sequence(ber.encode_oid("1.2.840.113549.1.7.1"), _explicit(_octets(content)))


def _pfx(bags: bytes, mac: bytes = b"") -> bytes:
    """A PKCS #12 file of bags that are not encrypted."""
    return _sequence(ber.encode_integer(3), _data(_sequence(_data(_sequence(bags)))), mac)


def _mac(iterations: int) -> bytes:
    sha256 = _sequence(ber.encode_oid("2.16.840.1.101.3.4.2.1"))
    return _sequence(_sequence(sha256, _octets(b"m" * 32)), _octets(b"salt"), ber.encode_integer(iterations))


def _encrypted_key(derivation: bytes) -> bytes:
    cipher = _sequence(ber.encode_oid("2.16.840.1.101.3.4.1.42"), _octets(b"i" * 16))
    scheme = _sequence(ber.encode_oid(pbe.PBES2), _sequence(derivation, cipher))
    return _sequence(scheme, _octets(b"c" * 64))


def _pbkdf2(iterations: int) -> bytes:
    return _sequence(ber.encode_oid(pbe.PBKDF2), _sequence(_octets(b"salt"), ber.encode_integer(iterations)))


def _scrypt(cost: int, block: int = 8, parallel: int = 1) -> bytes:
    numbers = b"".join(map(ber.encode_integer, (cost, block, parallel)))
    return _sequence(ber.encode_oid("1.3.6.1.4.1.11591.4.11"), _sequence(_octets(b"salt"), numbers))


COSTLY = {
    "the MAC of a PFX": ("pfx", _pfx(b"", _mac(20_000_000))),
    "a MAC of an absurd number": ("pfx", _pfx(b"", _mac(2**60))),
    "a key in a PFX": ("pfx", _pfx(_bag("10.1.2", _encrypted_key(_pbkdf2(20_000_000))))),
    "a key in PKCS #8": ("pkcs8", _encrypted_key(_pbkdf2(1_000_001))),
    "the memory of scrypt": ("pkcs8", _encrypted_key(_scrypt(2**20, 16))),
    "the repetitions of scrypt": ("pkcs8", _encrypted_key(_scrypt(2**14, 8, 2**20))),
    "a PKCS #12 scheme": (
        "pkcs8",
        _sequence(
            _sequence(
                ber.encode_oid("1.2.840.113549.1.12.1.3"),
                _sequence(_octets(b"saltsalt"), ber.encode_integer(30_000_000)),
            ),
            _octets(b"c" * 64),
        ),
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_too_many_iterations_are_refused_before_they_are_run(what):
    source, content = COSTLY[what]
    begin = time.process_time()
    assert refusal(source, "pem", b64(content), SECRET).code == "IterationsExceeded"
    assert time.process_time() - begin < 0.2


def test_many_small_costs_are_refused_together():
    budget = pbe.Budget()
    for _ in range(pbe.TOTAL_ITERATIONS // pbe.MAX_ITERATIONS):
        budget.spend(pbe.MAX_ITERATIONS)
    with pytest.raises(Unprocessable) as caught:
        budget.spend(1)
    assert caught.value.code == "IterationsExceeded"


def test_a_huge_rsa_key_is_refused_at_once():
    p, q = 2**8191 + 1, 2**8190 + 1
    numbers = (0, p * q, 65537, 3, p, q, 3, 3, 3)
    rsa = _sequence(*(ber.encode_integer(n) for n in numbers))
    algorithm = _sequence(ber.encode_oid("1.2.840.113549.1.1.1"), b"\x05\0")
    key = _sequence(ber.encode_integer(0), algorithm, _octets(rsa))
    begin = time.process_time()
    for source, content in (("pfx", _pfx(_bag("10.1.1", key))), ("pkcs8", key), ("der", key)):
        assert refusal(source, "pem", b64(content)).code == "UnsupportedAlgorithm"
    assert time.process_time() - begin < 0.5


def test_more_keys_than_any_file_has_are_refused():
    bags = _bag("10.1.1", key_der("p256")) * 21
    assert isinstance(refusal("pfx", "pem", b64(_pfx(bags))), TooLarge)


def test_a_file_beyond_the_limit_is_refused_unread():
    assert isinstance(refusal("pfx", "pem", b64(bytes(formats.MAX_OCTETS + 1)), SECRET), TooLarge)
    assert isinstance(refusal("pem", "der", "A" * (formats.MAX_CHARACTERS + 1)), TooLarge)


@pytest.mark.parametrize("source", ["pfx", "jks", "pkcs8"])
def test_a_wrong_passphrase_is_told_apart_from_none(source):
    issued = leaf()
    made = convert("pem", source, whole(issued) if source != "pkcs8" else issued.key_pem, None, SECRET)
    wrong = refusal(source, "pem", b64(made.content), "wrong")
    assert isinstance(wrong, Unprocessable)
    assert wrong.code == "PassphraseIncorrect"
    missing = refusal(source, "pem", b64(made.content))
    assert isinstance(missing, InvalidRequest)
    assert missing.code == "PassphraseMissing"


@pytest.mark.parametrize("passphrase", ["ünïcödé", "密码", "🔑 key", " ", "a" * 1000])
@pytest.mark.parametrize("target", ["pfx", "jks"])
def test_passphrases_of_any_characters_open_what_they_sealed(target, passphrase):
    issued = leaf()
    made = convert("pem", target, whole(issued), None, passphrase)
    assert ders(convert(target, "pem", b64(made.content), passphrase).output)[0] == issued.der


@pytest.mark.parametrize("source", ["pfx", "jks", "pkcs8"])
def test_half_a_surrogate_pair_is_a_passphrase_of_no_file(source):
    issued = leaf()
    text = issued.key_pem if source == "pkcs8" else whole(issued)
    content = convert("pem", source, text, None, SECRET).content
    assert refusal(source, "pem", b64(content), "\ud83d").code == "PassphraseIncorrect"
    assert isinstance(refusal("pem", source, text, None, "\ud83d"), InvalidRequest | Unprocessable)


def test_a_sealed_file_wants_a_passphrase():
    for target in ("pfx", "p12", "jks"):
        for passphrase in (None, ""):
            assert refusal("pem", target, whole(leaf()), None, passphrase).code == "PassphraseMissing"


def test_the_passphrase_of_the_input_seals_the_output_when_no_other_is_given():
    issued = leaf()
    pfx = convert("pem", "pfx", whole(issued), SECRET).content
    store = convert("pfx", "jks", b64(pfx), SECRET).content
    assert ders(convert("jks", "pem", b64(store), SECRET).output)[0] == issued.der


def test_a_key_of_another_certificate_is_refused():
    stranger = key_pem("p256", 99)
    assert refusal("pem", "pfx", whole(leaf(), key=stranger), None, SECRET).code == "KeyMismatch"


@pytest.mark.parametrize("target", ["pfx", "jks", "pkcs8"])
def test_what_is_written_with_a_key_wants_one(target):
    assert refusal("pem", target, leaf().pem, None, SECRET).code == "ConversionInputIncorrect"


def test_no_other_certificate_gets_into_a_pfx():
    stranger = Authority.root("Stranger", number=55).issue("other.example", number=56)
    made = convert("pem", "pfx", whole(leaf()) + stranger.pem, None, SECRET)
    assert "certificate other.example" not in made.contents
    assert len(made.contents) == 4


# JKS


@needs_keytool
@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_a_jks_is_read_by_keytool(kind, folder: Folder):
    issued = leaf(kind)
    path = folder.put("a.jks", convert("pem", "jks", whole(issued), None, SECRET).content)
    pfx = folder.at("b.p12")
    keytool(
        *("-importkeystore", "-noprompt", "-srckeystore", path, "-srcstoretype", "jks", "-srcstorepass", SECRET),
        *("-destkeystore", pfx, "-deststoretype", "pkcs12", "-deststorepass", SECRET),
    )
    text = openssl("pkcs12", "-in", pfx, "-passin", f"pass:{SECRET}", "-nodes").decode()
    assert next(b.der for b in pem.scan(text).blocks if b.label == "CERTIFICATE") == issued.der
    assert same_key(text[text.index("-----BEGIN PRIVATE") :], issued.key)


@needs_keytool
def test_a_pfx_is_read_by_keytool(folder: Folder):
    path = folder.put("a.pfx", convert("pem", "pfx", whole(leaf()), None, SECRET).content)
    listing = keytool("-list", "-keystore", path, "-storetype", "pkcs12", "-storepass", SECRET).decode()
    assert "shop.example.com-2026-ecdsa256" in listing
    assert "PrivateKeyEntry" in listing


@needs_keytool
@pytest.mark.parametrize("store", ["jks", "jceks", "pkcs12"])
def test_a_keystore_of_keytool_gives_every_alias(store, folder: Folder):
    path = folder.at("a.jks")
    common = ("-keystore", path, "-storetype", store, "-storepass", SECRET)
    keytool(
        *("-genkeypair", "-alias", "one", "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=one.example"),
        *("-keypass", SECRET, *common),
    )
    keytool("-importcert", "-noprompt", "-alias", "trusted", "-file", folder.put("r.pem", ROOT.pem), *common)
    made = convert("jks", "pem", b64(folder.read("a.jks")), SECRET)
    assert set(made.contents) == {"certificate one.example", "certificate Root", "private key RSA 2048"}
    assert labels(made.output)[-1] == "PRIVATE KEY"
    assert refusal("jks", "pem", b64(folder.read("a.jks")), "wrong").code == "PassphraseIncorrect"


@needs_keytool
def test_a_secret_key_in_a_keystore_is_refused_with_words(folder: Folder):
    keytool(
        *("-genseckey", "-alias", "s", "-keyalg", "AES", "-keysize", "128", "-storetype", "jceks"),
        *("-keystore", folder.at("s.jceks"), "-storepass", SECRET, "-keypass", SECRET),
    )
    refused = refusal("jks", "pem", b64(folder.read("s.jceks")), SECRET)
    assert refused.code == "FormatUnsupported"
    assert "secret" in refused.message


@pytest.mark.filterwarnings("ignore::UserWarning")  # what the library has to say about damaged certificates
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_is_refused_or_read_and_nothing_else(data):
    source = data.draw(st.sampled_from(sorted(SOUND)))
    content = bytearray(SOUND[source])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    with suppress(CerthavenError):
        assert convert(source, "pem", b64(bytes(content)), SECRET).contents


@settings(max_examples=60)
@given(st.binary(max_size=120), st.sampled_from(sorted(formats.PAIRS)))
def test_noise_is_refused_in_every_format(content, source):
    if source == "jks":
        content = jks.MAGICS[len(content) % 2] + b"\0\0\0\2" + content
    assert refusal(source, formats.PAIRS[source][0], b64(content), SECRET).message


@settings(max_examples=60)
@given(st.text(max_size=60), st.sampled_from(sorted(formats.PAIRS)))
def test_any_text_is_refused_in_every_format(text, source):
    assert refusal(source, formats.PAIRS[source][0], text, SECRET).message


def test_a_keystore_that_claims_many_entries_is_refused_unread():
    assert isinstance(refusal("jks", "pem", b64(jks.MAGICS[0] + b"\0\0\0\2" + b"\xff" * 40), SECRET), TooLarge)


# PKCS #7


@pytest.mark.parametrize("target", ["pkcs7", "p7b"])
def test_a_pkcs7_is_read_by_openssl(target, folder: Folder):
    issued = leaf()
    made = convert("pem", target, whole(issued))
    form = "PEM" if target == "pkcs7" else "DER"
    path = folder.put("a.p7b", made.content)
    text = openssl("pkcs7", "-in", path, "-inform", form, "-print_certs").decode()
    assert set(ders(text)) == {issued.der, INTERMEDIATE.der, ROOT.der}
    assert made.is_text is (form == "PEM")
    assert not any("private key" in line for line in made.contents)


@pytest.mark.parametrize("form", ["PEM", "DER"])
@pytest.mark.parametrize("source", ["pkcs7", "p7b"])
def test_a_pkcs7_of_openssl_becomes_leaf_and_chain_in_order(form, source, folder: Folder):
    issued = leaf()
    path = folder.put("all.pem", ROOT.pem + INTERMEDIATE.pem + issued.pem)
    content = openssl("crl2pkcs7", "-nocrl", "-certfile", path, "-outform", form)
    text = content.decode() if form == "PEM" else b64(content)
    assert ders(convert(source, "pem", text).output) == [issued.der, INTERMEDIATE.der, ROOT.der]
    assert ders(convert(source, "pem", b64(content)).output)[0] == issued.der


def test_a_pkcs7_in_the_terms_of_sm2_is_read():
    issued = leaf()
    usual = pkcs7.serialize_certificates([issued.certificate], serialization.Encoding.DER)
    inner = ber.read(usual).child(1)
    content = _sequence(ber.encode_oid("1.2.156.10197.6.1.4.2.2"), inner.raw)
    assert ders(convert("p7b", "pem", b64(content)).output) == [issued.der]


def test_a_pkcs7_without_certificates_is_refused():
    empty = pkcs7.serialize_certificates([ROOT.certificate], serialization.Encoding.DER)
    signed = ber.read(empty).child(1).child(0)
    bare = _sequence(*(c.raw for c in signed.children if c.tag != 0xA0))
    refused = refusal("pkcs7", "pem", b64(_sequence(ber.encode_oid("1.2.840.113549.1.7.2"), _explicit(bare))))
    assert refused.code == "ConversionInputIncorrect"
    assert "no certificates" in refused.message


# PKCS #8, DER, PEM


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["traditional", "pkcs8", "openssh"])
def test_every_form_of_a_pem_key_becomes_pkcs8(kind, form):
    if (form, kind) in {("traditional", "ed25519"), ("traditional", "ed448"), ("openssh", "ed448")}:
        form = "pkcs8"
    made = convert("pem", "pkcs8", key_pem(kind, form=form))
    assert labels(made.output) == ["PRIVATE KEY"]
    assert same_key(made.output, private_key(kind))


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_a_pem_key_encrypted_the_old_way_is_opened(kind):
    text = key_pem(kind, form="traditional", passphrase=SECRET.encode())
    assert same_key(convert("pem", "pkcs8", text, SECRET).output, private_key(kind))
    assert refusal("pem", "pkcs8", text, "wrong").code == "PassphraseIncorrect"
    assert refusal("pem", "pkcs8", text).code == "PassphraseMissing"


@pytest.mark.parametrize("cipher", ["aes128", "aes192", "aes256", "des3", "des"])
def test_every_usual_cipher_of_old_pem_keys_is_known(cipher, folder: Folder):
    path = folder.put("a.key", key_pem("rsa2048"))
    options = ("-provider", "legacy", "-provider", "default")
    text = openssl("rsa", "-in", path, "-traditional", f"-{cipher}", "-passout", f"pass:{SECRET}", *options).decode()
    assert same_key(convert("pem", "pkcs8", text, SECRET).output, private_key("rsa2048"))


SCHEMES = (
    ("-v2", "aes-128-cbc"),
    ("-v2", "aes-192-cbc"),
    ("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"),
    ("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"),
    ("-v2", "des-ede3-cbc"),
    ("-v2", "sm4-cbc"),
    ("-scrypt",),
    ("-v1", "PBE-SHA1-3DES"),
    ("-v1", "PBE-SHA1-2DES"),
    ("-v1", "PBE-SHA1-RC2-40"),
    ("-v1", "PBE-SHA1-RC2-128"),
    ("-v1", "PBE-SHA1-RC4-128"),
    ("-v1", "PBE-MD5-DES"),
    ("-v1", "PBE-SHA1-DES"),
    ("-v1", "PBE-MD5-RC2-64"),
    ("-v1", "PBE-SHA1-RC2-64"),
)


@pytest.mark.parametrize("scheme", SCHEMES, ids=" ".join)
def test_every_scheme_of_openssl_for_pkcs8_is_opened(scheme, folder: Folder):
    path = folder.put("a.key", key_pem("p256"))
    options = ("-provider", "legacy", "-provider", "default")
    text = openssl("pkcs8", "-topk8", "-in", path, "-passout", f"pass:{SECRET}", *scheme, *options).decode()
    assert labels(text) == ["ENCRYPTED PRIVATE KEY"]
    assert same_key(convert("pkcs8", "pem", text, SECRET).output, private_key("p256"))


def test_an_encrypted_pkcs8_is_opened_by_openssl(folder: Folder):
    made = convert("pem", "pkcs8", key_pem("p384"), None, SECRET)
    assert labels(made.output) == ["ENCRYPTED PRIVATE KEY"]
    plain = openssl("pkey", "-in", folder.put("a.key", made.content), "-passin", f"pass:{SECRET}").decode()
    assert same_key(plain, private_key("p384"))


def test_a_key_that_is_only_for_pss_stays_so_in_pkcs8():
    made = convert("pem", "pkcs8", pss_pem(), None, SECRET)
    assert made.contents == ("private key RSA-PSS 2048",)
    assert "private key RSA-PSS 2048" in convert("pkcs8", "pem", made.output, SECRET).contents


def test_pfx_to_pem_protects_the_key_if_asked():
    made = convert("pem", "pfx", whole(leaf()), None, SECRET)
    text = convert("pfx", "pem", b64(made.content), SECRET, "another").output
    assert labels(text) == ["CERTIFICATE"] * 3 + ["ENCRYPTED PRIVATE KEY"]
    assert labels(convert("pem", "pkcs8", text, "another").output) == ["PRIVATE KEY"]


@pytest.mark.parametrize("what", ["certificate", "key", "request"])
def test_one_object_goes_to_der_and_back(what, folder: Folder):
    issued = leaf()
    key = folder.put("a.key", issued.key_pem)
    text = {
        "certificate": issued.pem,
        "key": issued.key_pem,
        "request": openssl("req", "-new", "-key", key, "-subj", "/CN=a.example").decode(),
    }[what]
    made = convert("pem", "der", text)
    assert [made.content] == ders(text)
    assert convert("der", "pem", made.output).output == text


def test_several_objects_do_not_fit_in_one_der():
    refused = refusal("pem", "der", whole(leaf()))
    assert refused.code == "ConversionInputIncorrect"
    assert "certificate shop.example.com" in refused.message


def test_base64_is_read_however_it_was_written():
    issued = leaf()
    plain = b64(issued.der)
    url = base64.urlsafe_b64encode(issued.der).decode().rstrip("=")
    lines = "\r\n".join(plain[i : i + 76] for i in range(0, len(plain), 76))
    for text in (plain, url, lines, f"  {lines}\n\n", f"data:application/pkix-cert;base64,{plain}", issued.pem):
        assert ders(convert("der", "pem", text).output) == [issued.der]


def test_pem_in_one_more_base64_is_read():
    issued = leaf()
    assert convert("pem", "der", b64(issued.pem.encode())).content == issued.der


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pfx", lambda: leaf().pem),
        ("jks", lambda: b64(leaf().der)),
        ("pkcs8", lambda: b64(leaf().der)),
        ("pkcs8", lambda: key_pem("p256", form="traditional")),
        ("der", lambda: b64(_pfx(b""))),
        ("pkcs7", lambda: leaf().pem),
        ("pem", lambda: b64(leaf().der)),
    ],
)
def test_another_format_than_was_said_is_named(source, text):
    refused = refusal(source, "pem" if source != "pem" else "der", text(), SECRET)
    assert refused.code == "ConversionInputIncorrect"
    assert "looks like" in refused.message


def test_a_conversion_that_is_not_offered_lists_those_that_are():
    for source, target in (("pem", "pem"), ("der", "pfx"), ("pfx", "der"), ("zip", "pem"), ("pem", "exe")):
        refused = refusal(source, target, leaf().pem)
        assert isinstance(refused, InvalidRequest)
        assert refused.code == "FormatUnsupported"
        assert "pem to der, pfx, p12, jks" in refused.hint


# SM2


@pytest.mark.parametrize("target", ["pfx", "p12", "jks"])
def test_sm2_has_no_form_in_pfx_and_jks(target, folder: Folder):
    key = folder.put("sm2.key", sm2_pem())
    certificate = openssl("req", "-x509", "-new", "-sm3", "-key", key, "-subj", "/CN=sm2.example").decode()
    refused = refusal("pem", target, certificate + sm2_pem(), None, SECRET)
    assert refused.code == "FormatUnsupported"
    assert "SM2" in refused.message


def test_an_sm2_key_under_sm4_is_opened(folder: Folder):
    key = folder.put("sm2.key", sm2_pem())
    text = openssl("pkcs8", "-topk8", "-v2", "sm4-cbc", "-in", key, "-passout", f"pass:{SECRET}").decode()
    made = convert("pkcs8", "pem", text, SECRET)
    assert made.contents == ("private key SM2",)
    point = openssl("pkey", "-in", folder.put("b.key", made.content), "-pubout")
    assert point == openssl("pkey", "-in", key, "-pubout")


def test_an_sm2_key_is_encrypted_so_that_openssl_opens_it(folder: Folder):
    made = convert("pem", "pkcs8", sm2_pem(), None, SECRET)
    plain = openssl("pkey", "-in", folder.put("e.key", made.content), "-passin", f"pass:{SECRET}", "-pubout")
    assert plain == openssl("pkey", "-in", folder.put("p.key", sm2_pem()), "-pubout")


# Bundles


def bundle(issued: Issued, **more: object) -> Bundle:
    return Bundle(issued.pem, (INTERMEDIATE.pem, ROOT.pem), issued.key_pem.encode(), **more)


def test_a_bundle_as_pem_is_leaf_chain_and_key():
    issued = leaf()
    text = bundle(issued).pem().decode()
    assert text == issued.pem + INTERMEDIATE.pem + ROOT.pem + issued.key_pem


def test_an_sm2_bundle_ends_with_the_encryption_pair():
    issued, twin = leaf(), leaf(name="twin.example.com")
    pair = bundle(issued, encryption_certificate=twin.pem.rstrip(), encryption_private_key=twin.key_pem.encode())
    assert pair.pem().decode().endswith(issued.key_pem + twin.pem + twin.key_pem)


def test_a_bundle_without_key_is_still_pem():
    issued = leaf()
    assert Bundle(issued.pem).pem().decode() == issued.pem


@pytest.mark.parametrize(("write", "source"), [(to_pfx, "pfx"), (to_jks, "jks")])
def test_a_bundle_is_sealed_under_its_name(write, source):
    issued = leaf("rsa2048")
    content = write(bundle(issued), "Mein Zertifikat ü", SECRET)
    assert ders(convert(source, "pem", b64(content), SECRET).output)[:3] == [issued.der, INTERMEDIATE.der, ROOT.der]
    if source == "pfx":
        friendly = pkcs12.load_pkcs12(content, SECRET.encode()).cert.friendly_name
        assert friendly.decode() == "Mein Zertifikat ü"
    with pytest.raises(Unprocessable) as caught:
        write(Bundle(issued.pem), "name", SECRET)
    assert caught.value.code == "PrivateKeyAbsent"


def test_no_repr_shows_a_key():
    issued = leaf()
    key = keys.load(pem.scan(issued.key_pem).blocks[0])
    secret = issued.key_pem.splitlines()[1]
    opened = contents.read_pem(whole(issued), None)
    made = convert("pem", "pkcs8", issued.key_pem)
    shown = repr(bundle(issued)) + repr(opened) + repr(made) + repr(key)
    assert secret not in shown
    assert repr(issued.key_pem.encode())[2:40] not in shown


def test_no_refusal_quotes_the_key_or_the_passphrase():
    issued = leaf()
    secret = issued.key_pem.splitlines()[1]
    damaged = issued.key_pem.replace(secret, secret[:-3] + "*" + secret[-2:])
    texts = [
        refusal("pem", "pfx", issued.pem + damaged, "hunter2-secret"),
        refusal("pem", "der", whole(issued), "hunter2-secret"),
        refusal("pkcs8", "pem", _broken_key(issued), "hunter2-secret"),
    ]
    for refused in texts:
        told = f"{refused} {refused.message} {refused.hint} {refused!r}"
        assert secret[:20] not in told
        assert "hunter2" not in told


def _broken_key(issued: Issued) -> str:
    content = bytearray(private_der(issued))
    content[40] ^= 1
    return b64(bytes(content))


SOUND = {
    "pfx": convert("pem", "pfx", whole(leaf()), None, SECRET).content,
    "jks": convert("pem", "jks", whole(leaf()), None, SECRET).content,
    "pkcs7": convert("pem", "p7b", whole(leaf())).content,
    "pkcs8": private_der(leaf()),
    "der": leaf().der,
}
