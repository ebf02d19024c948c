from __future__ import annotations

import base64
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import der, sm2
from chalicelib.domain.sm2_curve import A, B, G, N, P, secret_multiple, sum_of_multiples
from tests.support import sm2_openssl
from tests.support.authority import private_key
from tests.support.keys import openssl
from tests.support.sm2_builder import (
    Sm2Authority,
    Sm2Key,
    algorithm,
    explicit_parameters,
    pkcs8,
    sec1,
    sm2_key,
    spki,
)

SUBJECT = x509.Name(
    [x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, "国密.example")]
)
SANS = (x509.DNSName("a.example"), x509.DNSName("*.a.example"), x509.IPAddress(ipaddress.ip_address("2001:db8::1")))
scalars = st.integers(min_value=1, max_value=N - 2)

# The worked example of GB/T 32918.5, annex A.2, on the curve that is in use.
STANDARD_SCALAR = 0x3945208F_7B2144B1_3F36E38A_C6D39F95_88939369_2860B51A_42FB81EF_4DF7C5B8
STANDARD_POINT = (
    0x09F9DF31_1E5421A1_50DD7D16_1E4BC5C6_72179FAD_1833FC07_6BB08FF3_56F35020,
    0xCCEA490C_E26775A5_2DC6EA71_8CC1AA60_0AED05FB_F35E084A_6632F607_2DA9AD13,
)
STANDARD_NONCE = 0x59276E27_D506861A_16680F3A_D9C02DCC_EF3CC1FA_3CDBE4CE_6D54B80D_EAC1BC21
STANDARD_MESSAGE = b"message digest"
STANDARD_R = 0xF5A03B06_48D2C463_0EEAC513_E1BB81A1_5944DA38_27D5B741_43AC7EAC_EEE720B3
STANDARD_S = 0xB1B6AA29_DF212FD8_763182BC_0D421CA1_BB9038FD_1F7F42D4_840B69C4_85BBC1AA
STANDARD_DIGEST = 0xF0B43E94_BA45ACCA_ACE692ED_534382EB_17E6AB5A_19CE7B31_F4486FDF_C0D28640


def load_scalar(label: str, encoded: bytes) -> int | None:
    """The scalar alone; that its point is its own is asserted on the way."""
    pair = sm2.load_private_key(label, encoded)
    if pair is None:
        return None
    scalar, point = pair
    assert point == sm2.public_point(scalar)
    return scalar


def der_of(pem: str) -> bytes:
    """The last block's content."""
    return base64.b64decode(pem.rsplit("-----BEGIN", maxsplit=1)[-1].split("-----")[1])


def public_pem(point: sm2.Point) -> str:
    body = base64.encodebytes(sm2.encode_spki(point)).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"


# --- The curve ----------------------------------------------------------------------------------------------------


def slow_sum(one: sm2.Point | None, other: sm2.Point | None) -> sm2.Point | None:
    """The textbook's addition, one inversion each."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % P == 0:
        return None
    rise, run = other[1] - one[1], other[0] - one[0]
    if one == other:
        rise, run = 3 * one[0] ** 2 + A, 2 * one[1]
    slope = rise * pow(run, -1, P)
    x = (slope * slope - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def slow_multiple(scalar: int, point: sm2.Point) -> sm2.Point | None:
    total = None
    for bit in f"{scalar:b}":
        total = slow_sum(total, total)
        if bit == "1":
            total = slow_sum(total, point)
    return total


def test_the_base_point_has_the_order_of_the_standard():
    assert sm2.on_curve(G)
    assert slow_multiple(N, G) is None
    assert slow_multiple(N - 1, G) == (G[0], P - G[1])


@given(scalar=st.integers(min_value=1, max_value=N - 1))
def test_a_blinded_multiple_is_the_textbooks(scalar):
    assert secret_multiple(scalar) == slow_multiple(scalar, G)


@given(
    one=st.integers(min_value=0, max_value=N - 1),
    two=st.integers(min_value=0, max_value=N - 1),
    scalar=st.integers(min_value=1, max_value=4),
)
def test_a_sum_of_multiples_is_the_textbooks(one, two, scalar):
    point = slow_multiple(scalar, G)
    assert sum_of_multiples(one, two, point) == slow_multiple((one + two * scalar) % N, G)


@pytest.mark.parametrize("other", [G, (G[0], P - G[1])], ids=["itself", "its opposite"])
@pytest.mark.parametrize(
    ("one", "two"), [(0, 0), (1, 1), (1, 2), (2, 1), (1, N - 1), (N - 1, 1), (0, 1), (1, 0), (1 << 32, 1 << 32)]
)
def test_equal_and_opposite_points_are_added_rightly(one, two, other):
    assert sum_of_multiples(one, two, other) == slow_sum(slow_multiple(one, G), slow_multiple(two, other))


def test_a_multiple_of_the_order_has_no_public_point():
    with pytest.raises(ValueError, match="order"):
        secret_multiple(N)


@pytest.mark.parametrize(
    "point",
    [(0, 0), (G[0], G[1] + 1), (G[0] + P, G[1]), (G[0], G[1] - P), (-1, G[1]), (P, 0), (G[1], G[0])],
)
def test_a_point_off_the_curve_or_out_of_range_is_told(point):
    assert not sm2.on_curve(point)


# --- Points as octets ---------------------------------------------------------------------------------------------


@given(scalar=scalars)
def test_a_point_is_read_back_from_all_three_forms(scalar):
    point = sm2.public_point(scalar)
    x, y = (number.to_bytes(32, "big") for number in point)
    parity = point[1] & 1
    assert sm2.decode_point(sm2.encode_point(point)) == point
    assert sm2.decode_point(bytes([2 + parity]) + x) == point
    assert sm2.decode_point(bytes([6 + parity]) + x + y) == point
    assert sm2.decode_point(bytes([3 - parity]) + x) == (point[0], P - point[1])
    with pytest.raises(sm2.Sm2Error):
        sm2.decode_point(bytes([7 - parity]) + x + y)


def bad_octets():
    good = sm2.encode_point(STANDARD_POINT)
    off = good[:-1] + bytes([good[-1] ^ 1])
    no_root = next(x for x in range(2, 99) if pow(x**3 + A * x + B, (P - 1) // 2, P) != 1)
    return {
        "empty": b"",
        "infinity": b"\0",
        "infinity, long": bytes(65),
        "zeros": b"\4" + bytes(64),
        "off the curve": off,
        "short": good[:-1],
        "long": good + b"\0",
        "unknown form": b"\5" + good[1:],
        "compressed, without a root": b"\2" + no_root.to_bytes(32, "big"),
        "compressed, too large": b"\2" + (P + G[0] % 2).to_bytes(32, "big"),
        "compressed, as long as both": b"\2" + good[1:],
        "uncompressed, cut": good[:33],
        "x too large": b"\4" + P.to_bytes(32, "big") + (0).to_bytes(32, "big"),
        "a point of P-256": private_key()
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
    }


@pytest.mark.parametrize("octets", bad_octets().values(), ids=bad_octets().keys())
def test_octets_that_are_no_point_of_the_curve_are_refused(octets):
    with pytest.raises(sm2.Sm2Error):
        sm2.decode_point(octets)


# --- Public keys in certificates and requests ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["named", "explicit", "own", "own-null", "own-named"])
def test_a_public_key_is_found_however_its_algorithm_is_written(form):
    assert sm2.spki_point(spki(STANDARD_POINT, form)) == STANDARD_POINT


def test_a_public_key_written_here_is_read_by_openssl():
    read = openssl("pkey", "-pubin", "-pubout", "-text", given=public_pem(STANDARD_POINT))
    assert "ASN1 OID: SM2" in read
    assert "04:09:f9:df:31:1e:54:21:a1:50:dd:7d:16:1e:4b" in read


def test_a_compressed_public_key_is_found():
    compressed = b"\3" + STANDARD_POINT[0].to_bytes(32, "big")
    assert sm2.spki_point(spki(STANDARD_POINT, encoded_point=compressed)) == STANDARD_POINT


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519", "dsa", "bp256"])
def test_a_public_key_of_another_algorithm_or_curve_is_not_sm2(kind):
    public = private_key(kind).public_key()
    encoding = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert sm2.spki_point(encoding) is None


@pytest.mark.parametrize(
    "parameters",
    [
        explicit_parameters(base=sm2.public_point(5)),
        explicit_parameters(order=N - 2),
        explicit_parameters(cofactor=2),
        explicit_parameters(base=(1, 1)),
    ],
    ids=["other base point", "other order", "other cofactor", "base point off the curve"],
)
def test_explicit_parameters_that_differ_in_anything_are_not_sm2(parameters):
    oid = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.2.1"))
    key = der.encode(der.BIT_STRING, b"\0", sm2.encode_point(STANDARD_POINT))
    encoding = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, oid, parameters), key)
    assert sm2.spki_point(encoding) is None
    assert load_scalar("PRIVATE KEY", pkcs8(sec1(5), der.encode(der.SEQUENCE, oid, parameters))) is None
    assert load_scalar("EC PRIVATE KEY", sec1(5, parameters)) is None


def test_a_cofactor_may_be_left_out():
    oid = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.2.1"))
    identifier = der.encode(der.SEQUENCE, oid, explicit_parameters(cofactor=None))
    assert load_scalar("PRIVATE KEY", pkcs8(sec1(5, None), identifier)) == 5


def test_an_sm2_algorithm_with_the_parameters_of_another_curve_is_malformed():
    own, prime256v1 = (
        asn1.encode_der(x509.ObjectIdentifier(oid)) for oid in ("1.2.156.10197.1.301", "1.2.840.10045.3.1.7")
    )
    key = der.encode(der.BIT_STRING, b"\0", sm2.encode_point(STANDARD_POINT))
    encoding = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, own, prime256v1), key)
    with pytest.raises(sm2.Sm2Error):
        sm2.spki_point(encoding)


@pytest.mark.parametrize("octets", bad_octets().values(), ids=bad_octets().keys())
def test_a_public_key_that_says_sm2_and_holds_no_point_is_malformed(octets):
    with pytest.raises(sm2.Sm2Error):
        sm2.spki_point(spki(STANDARD_POINT, encoded_point=octets or b"\0"))


def test_a_public_key_with_a_broken_byte_is_malformed():
    encoding = bytearray(sm2.encode_spki(STANDARD_POINT))
    encoding[encoding.index(b"\x03\x42") + 2] = 1
    encoding[-1] &= 0xFE
    with pytest.raises(sm2.Sm2Error, match="whole number of bytes"):
        sm2.spki_point(bytes(encoding))


@given(st.binary(max_size=120))
def test_octets_that_are_no_public_key_are_not_sm2(octets):
    assert sm2.spki_point(octets) is None


def test_the_public_key_of_any_certificate_can_be_cut_out():
    issued = Sm2Authority.root("P-256 root", key=private_key("p256", 3)).issue("a.example", key=sm2_key(4))
    assert sm2.spki_point(sm2.certificate_spki(issued.certificate)) == sm2_key(4).point
    other = Sm2Authority.root().issue("a.example", key=private_key("rsa2048")).certificate
    assert sm2.certificate_spki(other) == other.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_the_public_key_of_a_version_1_certificate_can_be_cut_out(tmp_path):
    key, request = tmp_path / "key", tmp_path / "request"
    key.write_text(sm2_openssl.key_pem())
    sm2_openssl.run("req", "-new", "-key", key, "-subj", "/CN=old", "-sm3", "-out", request)
    made = sm2_openssl.run("x509", "-req", "-signkey", key, "-sm3", "-in", request).stdout
    certificate = x509.load_pem_x509_certificate(made)
    assert certificate.version is x509.Version.v1
    expected = der_of(sm2_openssl.public_pem(sm2_openssl.key_pem()))
    assert sm2.certificate_spki(certificate) == expected


# --- Private keys -------------------------------------------------------------------------------------------------

OPENSSL_FORMS = ["pkcs8", "pkcs8-explicit", "sm2", "sm2-explicit", "ec", "ec-explicit", "ec-parameters"]


@pytest.mark.parametrize("form", OPENSSL_FORMS)
def test_a_private_key_of_openssl_is_read_in_every_form(form):
    text = sm2_openssl.key_pem(form)
    label = text.split("-----BEGIN ")[-1].split("-----")[0]
    scalar = load_scalar(label, der_of(text))
    assert scalar is not None
    assert sm2.encode_spki(sm2.public_point(scalar)) == der_of(sm2_openssl.public_pem(sm2_openssl.key_pem()))


@pytest.mark.parametrize(
    "form",
    [
        *("pkcs8", "pkcs8-own", "pkcs8-own-null", "pkcs8-own-named", "pkcs8-explicit", "pkcs8-bare"),
        *("ec", "ec-explicit", "ec-bare", "sm2", "sm2-unnamed"),
    ],
)
def test_a_private_key_is_read_in_forms_that_other_software_writes(form):
    assert load_scalar(*sm2_key().as_form(form)) == sm2_key().scalar


def test_a_private_key_written_here_is_read_by_openssl():
    assert der_of(sm2_openssl.public_pem(Sm2Key(STANDARD_SCALAR).pem())) == sm2.encode_spki(STANDARD_POINT)
    assert sm2.encode_private_key(STANDARD_SCALAR, STANDARD_POINT) == sm2.encode_private_key(STANDARD_SCALAR)


@given(scalar=scalars)
def test_a_private_key_is_read_back_as_it_was_written(scalar):
    assert load_scalar("PRIVATE KEY", sm2.encode_private_key(scalar)) == scalar


def test_the_content_of_a_private_key_counts_more_than_its_label():
    _, content = sm2_key().as_form("ec")
    assert load_scalar("PRIVATE KEY", content) == sm2_key().scalar
    _, content = sm2_key().as_form("pkcs8")
    assert load_scalar("SM2 PRIVATE KEY", content) == sm2_key().scalar


def with_other_point(form: str) -> tuple[str, bytes]:
    label, content = sm2_key(1).as_form(form)
    old, new = (sm2.encode_point(sm2_key(number).point) for number in (1, 2))
    return label, content.replace(old, new)


@pytest.mark.parametrize("form", ["pkcs8", "pkcs8-own", "pkcs8-explicit", "ec", "ec-explicit", "sm2", "sm2-unnamed"])
def test_a_private_key_with_the_public_key_of_another_is_refused(form):
    label, content = with_other_point(form)
    with pytest.raises(sm2.Sm2Error, match="another"):
        load_scalar(label, content)


def test_a_private_key_whose_outer_public_key_is_another_is_refused():
    public = der.encode(0x81, b"\0", sm2.encode_point(sm2_key(2).point))
    parts = (asn1.encode_der(1), algorithm(), der.encode(der.OCTET_STRING, sec1(sm2_key(1).scalar)), public)
    with pytest.raises(sm2.Sm2Error, match="another"):
        load_scalar("PRIVATE KEY", der.encode(der.SEQUENCE, *parts))


@pytest.mark.parametrize("scalar", [0, N - 1, N, N + 1, 2**256 - 1], ids=["0", "n-1", "n", "n+1", "all ones"])
@pytest.mark.parametrize("form", ["PRIVATE KEY", "EC PRIVATE KEY", "SM2 PRIVATE KEY"])
def test_a_private_number_out_of_range_is_refused(scalar, form):
    content = sec1(scalar)
    with pytest.raises(sm2.Sm2Error, match="out of range"):
        load_scalar(form, pkcs8(content, algorithm()) if form == "PRIVATE KEY" else content)


@pytest.mark.parametrize("scalar", [1, N - 2], ids=["1", "n-2"])
def test_a_private_number_at_the_edge_of_the_range_is_taken(scalar):
    assert load_scalar("EC PRIVATE KEY", sec1(scalar, point=sm2.public_point(scalar))) == scalar


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *[(kind, "PKCS8") for kind in ("rsa2048", "p256", "bp256", "ed25519", "dsa")],
        *[(kind, "TraditionalOpenSSL") for kind in ("rsa2048", "p256", "bp256", "dsa")],
    ],
)
def test_a_private_key_of_another_algorithm_or_curve_is_left_to_others(kind, form):
    key = private_key(kind)
    content = key.private_bytes(
        serialization.Encoding.DER, getattr(serialization.PrivateFormat, form), serialization.NoEncryption()
    )
    assert load_scalar("PRIVATE KEY" if form == "PKCS8" else "EC PRIVATE KEY", content) is None


def test_a_key_that_names_no_curve_is_only_sm2_by_its_label():
    content = sec1(5, None)
    assert load_scalar("EC PRIVATE KEY", content) is None
    assert load_scalar("SM2 PRIVATE KEY", content) == 5


def test_an_sm2_label_on_the_key_of_another_curve_is_refused():
    content = private_key().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    with pytest.raises(sm2.Sm2Error):
        load_scalar("SM2 PRIVATE KEY", content)


def test_a_key_whose_inner_curve_contradicts_the_outer_is_refused():
    inner = private_key().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    with pytest.raises(sm2.Sm2Error):
        load_scalar("PRIVATE KEY", pkcs8(inner, algorithm()))


def test_a_key_whose_inner_curve_contradicts_the_outer_is_refused_even_without_a_point():
    prime256v1 = asn1.encode_der(x509.ObjectIdentifier("1.2.840.10045.3.1.7"))
    with pytest.raises(sm2.Sm2Error):
        load_scalar("PRIVATE KEY", pkcs8(sec1(5, prime256v1), algorithm()))


def test_a_key_with_garbage_inside_is_refused():
    with pytest.raises(sm2.Sm2Error):
        load_scalar("PRIVATE KEY", pkcs8(b"garbage", algorithm()))


def test_a_key_of_absurd_size_is_not_read():
    def padded(size: int) -> bytes:
        attributes = der.encode(der.CONTEXT_0, der.encode(der.OCTET_STRING, bytes(size)))
        parts = (asn1.encode_der(0), algorithm(), der.encode(der.OCTET_STRING, sec1(5)), attributes)
        return der.encode(der.SEQUENCE, *parts)

    assert load_scalar("PRIVATE KEY", padded(1000)) == 5
    assert load_scalar("PRIVATE KEY", padded(5000)) is None
    with pytest.raises(sm2.Sm2Error):
        load_scalar("SM2 PRIVATE KEY", padded(5000))


@given(st.sampled_from(["pkcs8", "pkcs8-explicit", "ec", "ec-explicit", "sm2"]), st.data())
def test_a_damaged_private_key_gives_itself_nothing_or_one_error(form, data):
    label, content = sm2_key().as_form(form)
    position = data.draw(st.integers(min_value=0, max_value=len(content) - 1))
    damaged = bytearray(content)
    damaged[position] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        scalar = load_scalar(label, bytes(damaged))
    except sm2.Sm2Error:
        return
    assert scalar in {None, sm2_key().scalar}


@given(st.binary(max_size=200), st.sampled_from(["PRIVATE KEY", "EC PRIVATE KEY"]))
def test_octets_that_are_no_private_key_are_left_to_others(octets, label):
    assert load_scalar(label, octets) is None


def test_generated_keys_differ_and_are_in_range():
    made = {sm2.generate_private_key() for _ in range(50)}
    assert len(made) == 50
    assert all(1 <= scalar <= N - 2 for scalar in made)


@pytest.mark.parametrize("scalar", [0, -1, N - 1, N])
def test_no_public_key_belongs_to_a_number_out_of_range(scalar):
    for use in (sm2.public_point, sm2.encode_private_key, sm2.create_csr):
        with pytest.raises(sm2.Sm2Error):
            use(scalar, *((SUBJECT,) if use is sm2.create_csr else ()))


# --- Signatures ---------------------------------------------------------------------------------------------------


def test_the_example_of_the_standard_verifies():
    signature = encode_dss_signature(STANDARD_R, STANDARD_S)
    assert sm2.public_point(STANDARD_SCALAR) == STANDARD_POINT
    assert sm2.verify(STANDARD_POINT, signature, STANDARD_MESSAGE)
    assert (STANDARD_DIGEST + secret_multiple(STANDARD_NONCE)[0]) % N == STANDARD_R


@given(
    scalar=st.sampled_from([1, 2, N - 2, STANDARD_SCALAR]) | scalars,
    message=st.binary(max_size=300),
    identity=st.sampled_from([sm2.DEFAULT_IDENTITY, b"", b"ALICE123@YAHOO.COM", b"x" * 8191]),
)
def test_what_a_key_signs_verifies_under_its_identity_only(scalar, message, identity):
    point = sm2.public_point(scalar)
    signature = sm2.sign(scalar, message, identity)
    assert sm2.verify(point, signature, message, identity)
    assert not sm2.verify(point, signature, message, identity[:-1] + b"?")
    assert not sm2.verify(point, signature, message + b"!", identity)
    assert not sm2.verify((point[0], P - point[1]), signature, message, identity)
    assert sm2.verify_any(point, signature, message) == (identity if identity in {sm2.DEFAULT_IDENTITY, b""} else None)


def test_two_signatures_over_one_message_have_nothing_in_common():
    one, two = (decode_dss_signature(sm2.sign(STANDARD_SCALAR, b"m")) for _ in range(2))
    assert not set(one) & set(two)


def test_giving_the_public_key_changes_nothing_about_a_signature():
    signature = sm2.sign(STANDARD_SCALAR, b"m", point=STANDARD_POINT)
    assert sm2.verify(STANDARD_POINT, signature, b"m")


@pytest.mark.parametrize("identity", ["1234567812345678", "", "someone@example.com"])
def test_openssl_verifies_what_is_signed_here(identity):
    signature = sm2.sign(STANDARD_SCALAR, b"message", identity.encode())
    public = public_pem(STANDARD_POINT)
    assert sm2_openssl.verifies(public, signature, b"message", identity)
    assert not sm2_openssl.verifies(public, signature, b"another message", identity)


@pytest.mark.parametrize("identity", ["1234567812345678", "", "someone@example.com"])
def test_what_openssl_signs_verifies_here(identity):
    key = sm2_openssl.key_pem()
    signature = sm2_openssl.sign(key, b"message", identity)
    point = sm2.spki_point(der_of(sm2_openssl.public_pem(key)))
    assert sm2.verify(point, signature, b"message", identity.encode())
    assert sm2.verify_any(point, signature, b"message") == {
        "1234567812345678": sm2.DEFAULT_IDENTITY,
        "": b"",
    }.get(identity)


def ranges():
    r, s = STANDARD_R, STANDARD_S
    return [(0, s), (N, s), (r, 0), (r, N), (r + N, s), (r, s + N), (-r, s), (r, -s), (r, N - r), (s, r), (1, 1)]


@pytest.mark.parametrize(("r", "s"), ranges())
def test_numbers_out_of_range_or_exchanged_do_not_verify(r, s):
    integers = (asn1.encode_der(number) for number in (r, s))
    signature = der.encode(der.SEQUENCE, *integers)
    assert not sm2.verify(STANDARD_POINT, signature, STANDARD_MESSAGE)


def test_a_signature_whose_point_is_at_infinity_does_not_verify():
    # With d = 1, s·G + t·P is at infinity when s + t = 0, that is when 2·s + r = 0.
    s = 12345
    signature = encode_dss_signature(-2 * s % N, s)
    assert not sm2.verify(G, signature, b"any")


def encodings():
    r, s = (asn1.encode_der(number) for number in (STANDARD_R, STANDARD_S))
    whole = der.encode(der.SEQUENCE, r, s)
    return {
        "trailing octet": whole + b"\0",
        "third integer": der.encode(der.SEQUENCE, r, s, asn1.encode_der(0)),
        "one integer": der.encode(der.SEQUENCE, r),
        "cut": whole[:-1],
        "empty": b"",
        "padded integer": der.encode(der.SEQUENCE, der.encode(der.INTEGER, b"\0", r[2:]), s),
        "long length": b"\x30\x81" + whole[1:],
        "indefinite length": b"\x30\x80" + whole[2:] + b"\0\0",
        "a set": b"\x31" + whole[1:],
        "raw": STANDARD_R.to_bytes(32, "big") + STANDARD_S.to_bytes(32, "big"),
        "huge integers": der.encode(der.SEQUENCE, *[asn1.encode_der(1 << 100_000)] * 2),
    }


@pytest.mark.parametrize("signature", encodings().values(), ids=encodings().keys())
def test_a_signature_in_any_other_encoding_does_not_verify(signature):
    assert not sm2.verify(STANDARD_POINT, signature, STANDARD_MESSAGE)
    assert sm2.verify_any(STANDARD_POINT, signature, STANDARD_MESSAGE) is None


@given(bit=st.integers(min_value=0))
def test_a_signature_with_any_bit_changed_does_not_verify(bit):
    signature = bytearray(encode_dss_signature(STANDARD_R, STANDARD_S))
    bit %= 8 * len(signature)
    signature[bit // 8] ^= 1 << bit % 8
    assert not sm2.verify(STANDARD_POINT, bytes(signature), STANDARD_MESSAGE)


def test_an_ecdsa_signature_does_not_verify():
    key = ec.derive_private_key(5, ec.SECP256R1())
    signature = key.sign(b"m", ec.ECDSA(hashes.SM3()))
    assert sm2.verify_any(sm2.public_point(5), signature, b"m") is None


def test_a_public_key_off_the_curve_verifies_nothing():
    signature = encode_dss_signature(STANDARD_R, STANDARD_S)
    with pytest.raises(sm2.Sm2Error):
        sm2.verify((STANDARD_POINT[0], STANDARD_POINT[1] ^ 1), signature, STANDARD_MESSAGE)


def test_an_identity_longer_than_its_length_field_is_refused():
    with pytest.raises(sm2.Sm2Error, match="8191"):
        sm2.sign(STANDARD_SCALAR, b"m", b"x" * 8192)


# --- Certificates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "found"), [("1234567812345678", b"1234567812345678"), ("", b""), ("someone@example.com", None)]
)
def test_the_identity_of_a_certificate_of_openssl_is_found(identity, found):
    made = sm2_openssl.double_certificate(identity=identity)
    texts = (made.signing, made.encryption, made.intermediate, made.root)
    signing, encryption, intermediate, root = (x509.load_pem_x509_certificate(t.encode()) for t in texts)
    for certificate, issuer in (
        (signing, intermediate),
        (encryption, intermediate),
        (intermediate, root),
        (root, root),
    ):
        point = sm2.spki_point(sm2.certificate_spki(issuer))
        signature, content = certificate.signature, certificate.tbs_certificate_bytes
        assert sm2.verify_any(point, signature, content) == found
        assert sm2.verify(point, signature, content, identity.encode())
    stranger = sm2.spki_point(sm2.certificate_spki(root))
    assert sm2.verify_any(stranger, signing.signature, signing.tbs_certificate_bytes) is None


def test_openssl_verifies_certificates_signed_here():
    root = Sm2Authority.root()
    intermediate = root.intermediate()
    signing, encryption = intermediate.issue_pair("a.example")
    assert sm2_openssl.chain_verifies(signing.pem, intermediate.pem)
    assert sm2_openssl.chain_verifies(encryption.pem, intermediate.pem)
    assert sm2_openssl.chain_verifies(intermediate.pem, root.pem)
    assert not sm2_openssl.chain_verifies(intermediate.issue("a.example", good_signature=False).pem, intermediate.pem)


# --- Requests -----------------------------------------------------------------------------------------------------


def request_pem(content: bytes) -> str:
    body = base64.encodebytes(content).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize("identity", ["1234567812345678", "", "someone@example.com"])
def test_openssl_accepts_a_request_made_here(identity):
    request = request_pem(sm2.create_csr(STANDARD_SCALAR, SUBJECT, SANS, identity=identity.encode()))
    assert sm2_openssl.request_verifies(request, identity)
    assert not sm2_openssl.request_verifies(request, identity + "?")
    text = sm2_openssl.run("req", "-noout", "-text", given=request.encode()).stdout.decode()
    assert "DNS:a.example, DNS:*.a.example, IP Address:2001:DB8:0:0:0:0:0:1" in text
    assert text.count("SM2-with-SM3") == 1


def test_the_key_of_a_request_is_read_from_its_frame():
    content = sm2.create_csr(STANDARD_SCALAR, SUBJECT, SANS)
    assert sm2.spki_point(sm2.csr_spki(content)) == STANDARD_POINT


@given(st.binary(max_size=200))
def test_octets_that_are_no_request_are_an_error(octets):
    with pytest.raises(sm2.Sm2Error):
        sm2.csr_spki(octets)
