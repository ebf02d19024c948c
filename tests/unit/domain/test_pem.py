"""PEM as people paste it."""

from __future__ import annotations

import base64
import html
import json
import sys
import textwrap
import urllib.parse
from functools import cache

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain import looks, pem
from chalicelib.domain.findings import CODES, Severity
from chalicelib.domain.pem import Fault, Repair
from tests.support.authority import Authority
from tests.support.keys import key_der, key_pem, openssl, private_key, public_pem

CERTIFICATE = "-----BEGIN CERTIFICATE-----"
END_CERTIFICATE = "-----END CERTIFICATE-----"


@cache
def chain() -> tuple[str, ...]:
    """Leaf, intermediate and root, each as PEM; the leaf's base64 is padded, which signatures' lengths decide."""
    root = Authority.root()
    intermediate = root.intermediate()
    leaf = next(c for c in (intermediate.issue("example.com").pem for _ in range(99)) if "=" in c)
    return leaf, intermediate.pem, root.pem


@cache
def bundle() -> str:
    return "".join(chain())


@cache
def ders() -> tuple[bytes, ...]:
    return tuple(base64.b64decode("".join(c.splitlines()[1:-1])) for c in chain())


@cache
def leaf() -> str:
    """A certificate with plus signs in its base64, of three columns wide enough to tell."""
    authority = Authority.root()
    return next(c for c in (authority.issue(f"h{n}.example.com").pem for n in range(99)) if c.count("+") > 2)


def body(text: str) -> str:
    return "".join(line for line in text.splitlines() if not line.startswith("-"))


def found(text: str) -> tuple[bytes, ...]:
    return tuple(block.der for block in pem.scan(text).blocks)


def each_line(text: str, shape: str) -> str:
    return "\n".join(shape.format(line) for line in text.splitlines())


DAMAGES = {
    "nothing": (lambda t: t, set()),
    "Windows line ends": (lambda t: t.replace("\n", "\r\n"), {Repair.LINE_ENDINGS}),
    "double carriage returns": (lambda t: t.replace("\n", "\r\r\n"), {Repair.LINE_ENDINGS}),
    "old Mac line ends": (lambda t: t.replace("\n", "\r"), {Repair.LINE_ENDINGS}),
    "byte order mark": (lambda t: "\ufeff" + t, {Repair.BYTE_ORDER_MARK}),
    "UTF-8 mark in Latin-1": (lambda t: "\xef\xbb\xbf" + t, {Repair.BYTE_ORDER_MARK}),
    "UTF-16 with NULs": (lambda t: t.encode("utf-16-le").decode("latin-1"), {Repair.UTF16}),
    "UTF-16 with NULs and mark": (
        lambda t: (b"\xff\xfe" + t.encode("utf-16-le")).decode("latin-1"),
        {Repair.UTF16, Repair.BYTE_ORDER_MARK},
    ),
    "indentation": (lambda t: textwrap.indent(t, "    "), {Repair.INDENTATION}),
    "trailing spaces": (lambda t: t.replace("\n", " \t\n"), {Repair.INDENTATION}),
    "no-break spaces": (lambda t: textwrap.indent(t, "\u00a0"), {Repair.INVISIBLE}),
    "zero-width spaces": (lambda t: t.replace("\n", "\u200b\n"), {Repair.INVISIBLE}),
    "mail quoting": (lambda t: textwrap.indent(t, "> "), {Repair.MAIL_QUOTING}),
    "mail quoted twice": (lambda t: textwrap.indent(t, ">> > "), {Repair.MAIL_QUOTING}),
    "literal \\n": (lambda t: t.replace("\n", "\\n"), {Repair.ESCAPES}),
    "literal \\r\\n": (lambda t: t.replace("\n", "\\r\\n"), {Repair.ESCAPES}),
    "literal \\\\n": (lambda t: t.replace("\n", "\\\\n"), {Repair.ESCAPES}),
    "JSON string": (json.dumps, {Repair.ESCAPES}),
    "JSON in JSON": (lambda t: json.dumps(json.dumps(t)), {Repair.ESCAPES}),
    "JSON object": (lambda t: json.dumps({"certificate": t, "name": "x"}), {Repair.ESCAPES}),
    "JSON of PHP": (lambda t: json.dumps(t).replace("/", "\\/"), {Repair.ESCAPES}),
    "JSON of .NET": (lambda t: json.dumps(t).replace("+", "\\u002B"), {Repair.ESCAPES}),
    "C string": (lambda t: each_line(t, '"{}\\n" \\'), {Repair.ESCAPES, Repair.QUOTES}),
    "JavaScript": (lambda t: each_line(t, "'{}\\n' +"), {Repair.ESCAPES, Repair.QUOTES}),
    "Python list": (lambda t: each_line(t, '"{}",'), {Repair.QUOTES}),
    "HTML numbers": (lambda t: t.replace("+", "&#43;").replace("\n", "&#10;"), {Repair.HTML}),
    "HTML hex numbers": (lambda t: t.replace("/", "&#x2F;").replace("-", "&#x2d;"), {Repair.HTML}),
    "HTML breaks": (lambda t: html.escape(t).replace("\n", "<br/>\n"), {Repair.HTML}),
    "URL escapes": (urllib.parse.quote, {Repair.URL}),
    "URL escapes of dashes too": (lambda t: urllib.parse.quote(t).replace("-", "%2D"), {Repair.URL}),
    "form": (lambda t: urllib.parse.urlencode({"c": t}), {Repair.URL}),
    "form decoded twice": (lambda t: t.replace("+", " "), {Repair.PLUS_SIGNS}),
    "joined markers": (lambda t: t.replace("-----\n-----BEGIN", "----------BEGIN"), {Repair.JOINED}),
    "markers sharing dashes": (lambda t: t.replace("-----\n-----BEGIN", "-----BEGIN"), {Repair.JOINED}),
    "spaces for newlines": (lambda t: t.replace("\n", " "), {Repair.ONE_LINE}),
    "no newlines at all": (lambda t: t.replace("\n", ""), {Repair.ONE_LINE, Repair.JOINED}),
    "base64 in one line": (
        lambda t: "".join(f"{CERTIFICATE}\n{body(c)}\n{END_CERTIFICATE}\n" for c in t.split(END_CERTIFICATE)[:-1]),
        {Repair.ONE_LINE},
    ),
    "odd widths": (
        lambda t: "\n".join(line[:50] + "\n" + line[50:] if "-" not in line else line for line in t.splitlines()),
        {Repair.LINE_WIDTH},
    ),
    "blank lines": (lambda t: t.replace("\n", "\n\n"), {Repair.BLANK_LINES}),
    "X509 CERTIFICATE": (lambda t: t.replace(" CERT", " X509 CERT"), {Repair.LABEL}),
    "misspelt label": (lambda t: t.replace("CERTIFICATE", "CERTFICATE"), {Repair.LABEL}),
    "another label": (lambda t: t.replace("CERTIFICATE", "PRIVATE KEY"), {Repair.LABEL}),
    "lower case": (lambda t: t.replace("BEGIN CERTIFICATE", "begin certificate"), {Repair.MARKER}),
    "no space in markers": (lambda t: t.replace(" CERT", "CERT"), {Repair.MARKER}),
    "spaces in markers": (lambda t: t.replace("-----BEGIN", "----- BEGIN"), {Repair.MARKER}),
    "four dashes": (lambda t: t.replace("-----", "----"), {Repair.MARKER}),
    "six dashes": (lambda t: t.replace("-----BEGIN", "------BEGIN"), {Repair.MARKER}),
    "em dashes": (lambda t: t.replace("-----", "\u2014\u2014-"), {Repair.MARKER}),
    "en dashes": (lambda t: t.replace("-----", "\u2013\u2013-"), {Repair.MARKER}),
    "no final newline": (lambda t: t.removesuffix("\n"), {Repair.FINAL_NEWLINE}),
    "text before": (lambda t: "Bag Attributes\n    friendlyName: a\\nb front-end certificate\n" + t, set()),
    "text between": (
        lambda t: t.replace(CERTIFICATE, "subject=CN = x\nissuer=CN = y\n" + CERTIFICATE),
        {Repair.SURROUNDING_TEXT},
    ),
    "no padding": (lambda t: t.replace("=", ""), {Repair.PADDING}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_loses_nothing_is_mended_and_named(name):
    damage, repairs = DAMAGES[name]
    scan = pem.scan(damage(bundle()))
    assert tuple(b.der for b in scan.blocks) == ders()
    assert scan.problems == ()
    assert {b.label for b in scan.blocks} == {"CERTIFICATE"}
    assert repairs <= set(scan.repairs)
    assert set(scan.repairs) <= repairs | pem.TRIVIAL


@pytest.mark.parametrize("name", DAMAGES)
def test_plus_signs_survive_every_repair(name):
    assert found(DAMAGES[name][0](leaf())) == found(leaf())


def test_an_untouched_bundle_needs_no_repair():
    assert pem.scan(bundle()).repairs == ()


OUTER = ["nothing", "Windows line ends", "byte order mark", "JSON string", "JSON object", "HTML numbers", "URL escapes"]
INNER = ["indentation", "mail quoting", "odd widths", "trailing spaces", "four dashes", "blank lines", "text between"]


@given(st.lists(st.sampled_from(INNER), max_size=3), st.sampled_from(OUTER))
@settings(max_examples=60)
def test_damages_on_top_of_each_other_are_mended_too(inner, outer):
    text = bundle()
    for name in [*inner, outer]:
        text = DAMAGES[name][0](text)
    assert found(text) == ders()


def test_text_output_of_openssl_around_certificates_is_passed_over():
    text = "".join(openssl("x509", "-text", given=c) for c in chain())
    scan = pem.scan(text)
    assert tuple(b.der for b in scan.blocks) == ders()
    assert scan.repairs == (Repair.SURROUNDING_TEXT,)
    assert scan.blocks[0].line > 20


def test_trust_settings_of_openssl_are_cut_off():
    trusted = openssl("x509", "-trustout", "-addtrust", "serverAuth", given=chain()[0])
    assert "TRUSTED" in trusted
    scan = pem.scan(trusted)
    assert scan.blocks[0].der == ders()[0]
    assert scan.blocks[0].label == "CERTIFICATE"
    assert scan.blocks[0].original_label == "TRUSTED CERTIFICATE"
    assert Repair.TRUST in scan.repairs


def test_blocks_know_their_line_and_number():
    scan = pem.scan("subject=x\n\n" + bundle().replace("\n", "\r\n"))
    lines = bundle().splitlines()
    assert [b.line for b in scan.blocks] == [n + 3 for n, line in enumerate(lines) if line == CERTIFICATE]
    assert [b.number for b in scan.blocks] == [1, 2, 3]


def test_headers_of_an_encrypted_key_are_kept():
    text = key_pem("rsa2048", form="traditional", passphrase=b"secret")
    for damaged in (text, text.replace("\n", "\r\n"), text.replace("\n", "\\n"), " ".join(text.split("\n"))):
        (block,) = pem.scan(damaged).blocks
        assert [name for name, _ in block.headers] == ["Proc-Type", "DEK-Info"]
        assert dict(block.headers)["Proc-Type"] == "4,ENCRYPTED"
        assert block.der == pem.scan(text).blocks[0].der


def test_a_repr_shows_no_key():
    block = pem.scan(key_pem()).blocks[0]
    assert repr(block.der)[2:20] not in repr(block)


# --- damage that cannot be mended ---------------------------------------------------------------------------------


def second(old: str, new: str) -> str:
    """The bundle with a change in its second certificate only."""
    assert old in chain()[1]
    return chain()[0] + chain()[1].replace(old, new, 1) + chain()[2]


def middle() -> str:
    return chain()[1].splitlines()[4]


BROKEN = {
    "END missing": (lambda: second(END_CERTIFICATE + "\n", ""), Fault.BEGIN_WITHOUT_END),
    "BEGIN missing": (lambda: second(CERTIFICATE + "\n", ""), Fault.END_WITHOUT_BEGIN),
    "BEGIN misspelt": (lambda: second("BEGIN", "BEGN"), Fault.END_WITHOUT_BEGIN),
    "both markers missing": (
        lambda: second(CERTIFICATE + "\n", "").replace(chain()[1][-26:] + CERTIFICATE, CERTIFICATE),
        Fault.STRAY_BASE64,
    ),
    "labels differ": (lambda: second("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"), Fault.LABELS_DIFFER),
    "three dashes": (lambda: second("-----BEGIN", "---BEGIN"), Fault.MARKER_DAMAGED),
    "seven dashes": (lambda: second("CERTIFICATE-----", "CERTIFICATE-------"), Fault.MARKER_DAMAGED),
    "no dashes after": (lambda: second("CERTIFICATE-----", "CERTIFICATE"), Fault.MARKER_DAMAGED),
    "no dashes before": (lambda: second("-----END", "END"), Fault.MARKER_DAMAGED),
    "no label": (lambda: second("BEGIN CERTIFICATE", "BEGIN"), Fault.MARKER_DAMAGED),
    "bad character": (lambda: second(middle(), middle()[:10] + "*" + middle()[11:]), Fault.BAD_CHARACTER),
    "ellipsis": (lambda: second(middle(), "[...]"), Fault.BAD_CHARACTER),
    "a line missing": (lambda: second(middle() + "\n", ""), Fault.TRUNCATED),
    "a line twice": (lambda: second(middle(), middle() + "\n" + middle()), Fault.TRAILING_DATA),
    "a character missing": (lambda: second(middle(), middle()[1:]), None),
    "nothing inside": (lambda: second(body(chain()[1])[:64], "").replace("x", "x"), Fault.NOT_DER),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_block_is_named_and_its_neighbours_are_kept(name):
    build, fault = BROKEN[name]
    scan = pem.scan(build())
    assert [b.der for b in scan.blocks] == [ders()[0], ders()[2]]
    (problem,) = scan.problems
    assert fault is None or problem.fault is fault
    assert problem.number == 2
    assert str(problem.line) in problem.message
    assert len(chain()[0].splitlines()) < problem.line <= len((chain()[0] + chain()[1]).splitlines())
    assert problem.hint


def test_an_empty_block_is_a_problem():
    scan = pem.scan(f"{CERTIFICATE}\n{END_CERTIFICATE}\n")
    assert [p.fault for p in scan.problems] == [Fault.EMPTY]


def test_a_bad_character_is_named_by_line_and_column():
    lines = chain()[0].splitlines()
    lines[3] = lines[3][:20] + "!" + lines[3][21:]
    (problem,) = pem.scan("intro\n" + "\n".join(lines)).problems
    assert "line 5, column 21" in problem.message


def test_two_certificates_in_one_block_are_not_taken_for_one():
    joined = bundle().replace(f"{END_CERTIFICATE}\n{CERTIFICATE}\n", "")
    assert pem.scan(joined).blocks == ()
    assert len(pem.scan(joined).problems) == 1


@given(st.data())
@settings(max_examples=300)
def test_no_single_slip_loses_a_certificate_in_silence(data):
    text = bundle()
    at = data.draw(st.integers(0, len(text) - 1))
    slip = data.draw(st.sampled_from(["drop", "double", "space", "newline", "dash", "line", "cut"]))
    if slip == "line":
        lines = text.splitlines(keepends=True)
        del lines[at % len(lines)]
        damaged = "".join(lines)
    elif slip == "cut":
        damaged = text[:at]
        if damaged.rstrip("-\n").endswith(END_CERTIFICATE.rstrip("-")):
            return
    else:
        new = {"drop": "", "double": text[at] * 2, "space": " ", "newline": "\n", "dash": "-"}[slip]
        damaged = text[:at] + new + text[at + 1 :]
    scan = pem.scan(damaged)
    whole = tuple(b.der for b in scan.blocks) == ders()
    assert whole or scan.problems or (slip == "cut" and not scan.markers)


def test_blocks_are_limited():
    scan = pem.scan(chain()[0] * (pem.MAX_BLOCKS + 1))
    assert len(scan.blocks) == pem.MAX_BLOCKS
    assert [p.fault for p in scan.problems] == [Fault.TOO_MANY_BLOCKS]
    assert pem.scan(chain()[0] * pem.MAX_BLOCKS).problems == ()


def test_damaged_blocks_are_limited_too():
    scan = pem.scan((CERTIFICATE + "\n") * 1000)
    assert len(scan.problems) == pem.MAX_BLOCKS + 1
    assert scan.problems[-1].fault is Fault.TOO_MANY_BLOCKS


HOSTILE = {
    "dashes": "-",
    "em dashes": "\u2014",
    "BEGIN": "BEGIN",
    "END": "END ",
    "dashed words": "-----BEGIN ",
    "markers": CERTIFICATE + "\n",
    "END markers": END_CERTIFICATE,
    "backslashes": "\\",
    "escapes": "\\n-----BEGIN CERTIFICATE-----\\",
    "entities": "&#0",
    "percents": "%2",
    "breaks": "<br ",
    "spaces": " ",
    "newlines": "\n",
    "quotes": '" +',
    "greater": "> ",
    "equals": "=",
    "headers": "Proc-Type: 4,ENCRYPTED\n",
    "colons": "a:",
    "stray": "MIIBMIIB" * 8 + "\n",
    "letters": "A ",
    "nul": "\0",
    "invisible": "\u200b\u00a0",
    "carriage": "\r",
    "digits": "&#1111111",
}


def calls(text: str) -> int:
    """How many functions, of Python and of C, reading `text` calls."""
    count = 0

    def tick(frame, event, argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(tick)
    try:
        pem.certificate_blocks(text, "certificate")
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("opening", ["", CERTIFICATE + "\n"])
@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_no_faster_than_the_text(name, opening):
    unit = HOSTILE[name]
    small, large = (opening + unit * (size // len(unit)) for size in (2_000, 16_000))
    assert calls(large) <= 9 * calls(small)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_anything_is_read_to_its_end(name):
    unit = HOSTILE[name]
    text = CERTIFICATE + "\n" + unit * (1_000_000 // len(unit))
    assert pem.certificate_blocks(text, "certificate").findings
    assert pem.private_key_blocks(unit * (1_000_000 // len(unit)), "private_key").findings


# --- findings -----------------------------------------------------------------------------------------------------


def codes(text: pem.PemText) -> list[str]:
    return [f.code for f in text.findings]


def test_sound_certificates_give_no_finding():
    read = pem.certificate_blocks(bundle(), "certificate")
    assert tuple(b.der for b in read.certificates) == ders()
    assert read.findings == ()


def test_trivial_repairs_give_no_finding():
    text = "\ufeffBag Attributes\n" + textwrap.indent(bundle(), " ").replace("\n", "\r\n").rstrip()
    assert pem.certificate_blocks(text, "certificate").findings == ()


def test_repairs_are_told_in_one_warning():
    text = json.dumps(textwrap.indent(bundle(), "> "))
    (warning,) = pem.certificate_blocks(text, "chain").findings
    assert (warning.code, warning.severity, warning.param) == ("InputRepaired", Severity.WARNING, "chain")
    assert Repair.ESCAPES.value in warning.message
    assert Repair.MAIL_QUOTING.value in warning.message


def test_a_key_among_certificates_is_given_too():
    read = pem.certificate_blocks(bundle() + key_pem(), "certificate")
    assert [b.der for b in read.private_keys] == [key_der()]
    assert len(read.certificates) == 3
    assert read.findings == ()


def test_certificates_among_keys_are_given_too():
    read = pem.private_key_blocks(key_pem() + bundle(), "private_key")
    assert len(read.certificates) == 3
    assert len(read.private_keys) == 1
    assert read.findings == ()


def test_every_private_key_is_given():
    read = pem.certificate_blocks(bundle() + key_pem() + key_pem("p384"), "certificate")
    assert [b.der for b in read.private_keys] == [key_der(), key_der("p384")]


@pytest.mark.parametrize("form", ["EC PARAMETERS", "SM2 PARAMETERS", "DH PARAMETERS"])
def test_parameters_beside_a_key_are_passed_over(form):
    parameters = pem.encode(form, bytes.fromhex("06082a8648ce3d030107"))
    read = pem.private_key_blocks(parameters + key_pem(form="traditional"), "private_key")
    assert len(read.private_keys) == 1
    assert read.findings == ()


@pytest.mark.parametrize(
    ("field", "code"),
    [("certificate", "CertificateFormatIncorrect"), ("private_key", "PrivateKeyFormatIncorrect")],
)
def test_parameters_alone_are_refused(field, code):
    read = {"certificate": pem.certificate_blocks, "private_key": pem.private_key_blocks}[field]
    assert codes(read(pem.encode("EC PARAMETERS", bytes.fromhex("06082a8648ce3d030107")), field)) == [code]


def test_every_damaged_block_is_a_finding():
    text = second(CERTIFICATE + "\n", "") + chain()[0][:300]
    read = pem.certificate_blocks(text, "certificate")
    assert codes(read) == ["CertificateFormatIncorrect"] * 2
    assert all(f.severity is Severity.ERROR for f in read.findings)


def test_a_damaged_key_among_certificates_is_told_as_a_key():
    read = pem.certificate_blocks(bundle() + key_pem().replace("-----END", "--END"), "certificate")
    assert codes(read) == ["PrivateKeyFormatIncorrect"]


@pytest.mark.parametrize("blank", ["", "  \n\t"])
def test_blank_fields_are_missing(blank):
    assert codes(pem.certificate_blocks(blank, "certificate")) == ["CertificateMissing"]
    assert codes(pem.private_key_blocks(blank, "private_key")) == ["PrivateKeyMissing"]


def csr() -> str:
    return openssl("req", "-new", "-key", "/dev/stdin", "-subj", "/CN=example.com", given=key_pem())


WRONG_IN_KEY_FIELD = {
    "a certificate": bundle,
    "a public key": public_pem,
    "a certificate signing request": csr,
    "PKCS #7": lambda: pem.encode("PKCS7", b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"),
    "a PGP block": lambda: pem.encode("PGP PRIVATE KEY BLOCK", b"\x95\x01"),
}


@pytest.mark.parametrize("what", WRONG_IN_KEY_FIELD)
def test_what_is_no_private_key_is_called_by_its_name(what):
    read = pem.private_key_blocks(WRONG_IN_KEY_FIELD[what](), "private_key")
    assert read.private_keys == ()
    assert codes(read) == ["PrivateKeyFormatIncorrect"]
    assert what in read.findings[0].message
    assert read.findings[0].hint


@pytest.mark.parametrize("what", ["a public key", "a certificate signing request", "PKCS #7"])
def test_what_is_no_certificate_is_called_by_its_name(what):
    read = pem.certificate_blocks(WRONG_IN_KEY_FIELD[what](), "certificate")
    assert codes(read) == ["CertificateFormatIncorrect"]
    assert what in read.findings[0].message


def test_a_key_alone_is_no_certificate():
    read = pem.certificate_blocks(key_pem(), "certificate")
    assert codes(read) == ["CertificateFormatIncorrect"]
    assert len(read.private_keys) == 1


def test_a_csr_beside_certificates_is_left_out_with_a_warning():
    read = pem.certificate_blocks(bundle() + csr(), "certificate")
    assert [(f.code, f.severity) for f in read.findings] == [("InputRepaired", Severity.WARNING)]
    assert "signing request" in read.findings[0].message


def test_a_container_beside_certificates_is_never_left_out():
    read = pem.certificate_blocks(bundle() + WRONG_IN_KEY_FIELD["PKCS #7"](), "certificate")
    assert codes(read) == ["CertificateFormatIncorrect"]


def test_a_csr_labelled_as_certificate_is_told_as_what_it_is():
    mislabelled = csr().replace("CERTIFICATE REQUEST", "CERTIFICATE")
    read = pem.certificate_blocks(mislabelled, "certificate")
    assert codes(read)[0] == "CertificateFormatIncorrect"
    assert "signing request" in read.findings[0].message


@given(st.data())
@settings(max_examples=150)
def test_no_finding_quotes_a_key(data):
    text = key_pem("p256", form=data.draw(st.sampled_from(["pkcs8", "traditional"])))
    secret = body(text)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        until = at + data.draw(st.integers(0, 30))
        text = text[:at] + data.draw(st.sampled_from(["", "-", " ", "\n", "*", "BEGIN ", "-----END "])) + text[until:]
    read = pem.private_key_blocks(text, "private_key")
    told = " ".join(f.message + f.hint for f in read.findings).upper()
    assert not [n for n in range(len(secret) - 11) if secret[n : n + 12].upper() in told]


@given(st.text() | st.text(alphabet="-BEGIND CERTFAK\n\\&%#;=+/:>\"'\0\ufeff\u2014"))
@settings(max_examples=300)
def test_any_text_is_answered(text):
    for read in (pem.certificate_blocks(text, "certificate"), pem.private_key_blocks(text, "private_key")):
        assert read.findings
        assert all(f.code in CODES and f.message and f.hint for f in read.findings)


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ ", min_size=1, max_size=30), st.binary(min_size=1, max_size=400))
def test_what_is_encoded_is_found_again(label, content):
    label = " ".join(label.split()) or "X"
    text = pem.encode(label, content)
    assert all(len(line) <= 64 for line in text.splitlines()[1:-1])
    assert text.endswith(f"-----END {label}-----\n")
    blocks = pem.scan(text).blocks
    assert not blocks or blocks[0].der == content


def test_encoding_is_canonical():
    assert pem.encode("CERTIFICATE", ders()[0]) == chain()[0]


# --- files and things that are no PEM ------------------------------------------------------------------------------

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_are_read_in_any_usual_encoding(encoding):
    text = "friendlyName: Müller\r\n" + bundle()
    assert looks.decode(text.encode(encoding)) == text


def test_utf_16_with_a_big_endian_mark_is_read():
    assert looks.decode(b"\xfe\xff" + bundle().encode("utf-16-be")) == bundle()


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_file_is_read_and_answered(content):
    assert looks.looks_like(content).what
    assert pem.certificate_blocks(looks.decode(content), "certificate").findings


def pfx() -> bytes:
    issued = Authority.root().issue("example.com")
    return pkcs12.serialize_key_and_certificates(
        b"x", issued.key, issued.certificate, None, BestAvailableEncryption(b"secret")
    )


def pkcs7() -> bytes:
    return base64.b64decode(body(openssl("crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", given=chain()[0])))


FILES = {
    "binary certificate": (lambda: ders()[0], "a certificate in binary (DER)"),
    "binary key": (key_der, "a private key (PKCS #8) in binary (DER)"),
    "binary PKCS #1 key": (lambda: key_der("rsa2048", form="traditional"), "an RSA private key"),
    "binary SEC 1 key": (lambda: key_der("p256", form="traditional"), "an EC private key"),
    "binary DSA key": (lambda: key_der("dsa", form="traditional"), "a DSA private key"),
    "binary CSR": (lambda: base64.b64decode(body(csr())), "CSR"),
    "binary public key": (lambda: base64.b64decode(body(public_pem())), "a public key"),
    "PFX": (pfx, "PKCS #12"),
    "PKCS #7": (pkcs7, "PKCS #7"),
    "JKS": (lambda: bytes.fromhex("feedfeed00000002") + b"\0" * 40, "JKS"),
    "JCEKS": (lambda: bytes.fromhex("cececece00000002") + b"\0" * 40, "JCEKS"),
    "ZIP": (lambda: b"PK\x03\x04\x14\0", "ZIP"),
    "executable": (lambda: b"\x7fELF\x02\x01\x01" + bytes(range(32)), "binary"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_not_text_are_known_by_their_content(name):
    build, words = FILES[name]
    for given_as in (build(), looks.decode(build())):
        assert words in looks.looks_like(given_as).what
    finding = pem.certificate_blocks(looks.decode(build()), "certificate").findings[0]
    assert finding.code == "CertificateFormatIncorrect"
    assert words in finding.message


@pytest.mark.parametrize("name", ["PFX", "PKCS #7", "JKS", "binary certificate"])
def test_the_conversion_tool_is_pointed_to_where_it_serves(name):
    assert "POST /v1/conversions" in looks.looks_like(FILES[name][0]()).hint


TEXTS = {
    "bare base64": (lambda: body(chain()[0]), "a certificate in base64 without its markers"),
    "base64 with half its markers": (
        lambda: "-----\n" + body(chain()[0]) + "\n-----",
        "a certificate in base64 without its markers",
    ),
    "bare base64 key": (lambda: "\n".join(key_pem().splitlines()[1:-1]), "a private key (PKCS #8) in base64"),
    "bare base64 of nothing known": (lambda: base64.b64encode(b"x" * 60).decode(), "base64 without markers"),
    "base64 of PFX": (lambda: base64.encodebytes(pfx()).decode(), "PKCS #12"),
    "base64 of PEM": (lambda: base64.b64encode(bundle().encode()).decode(), "Kubernetes"),
    "cut base64": (lambda: "A" * 61, "base64 without markers, cut off"),
    "PuTTY key": (lambda: "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\n", "PuTTY"),
    "OpenSSH public key": (lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host", "OpenSSH public key"),
    "web page": (lambda: "<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "path": (lambda: "/etc/ssl/cert.pem", "the name of a file"),
    "Windows path": (lambda: "C:\\certs\\cert.pem\n", "the name of a file"),
    "file name": (lambda: "server.crt", "the name of a file"),
    "shell path": (lambda: "$(cat ~/x)", "text without PEM markers"),
    "nothing": (lambda: "\ufeff \n", "nothing"),
    "mangled binary": (lambda: ders()[0].decode("utf-8", "replace"), "binary"),
    "prose": (lambda: "See the attached file.", "text without PEM markers"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_without_pem_are_known_for_what_they_are(name):
    build, words = TEXTS[name]
    look = looks.looks_like(build())
    assert words in look.what
    assert look.hint


def test_bare_base64_is_told_its_markers():
    assert "BEGIN CERTIFICATE" in looks.looks_like(body(chain()[0])).hint


def test_openssh_keys_are_taken_with_a_warning():
    read = pem.private_key_blocks(key_pem("ed25519", form="openssh"), "private_key")
    assert len(read.private_keys) == 1
    assert codes(read) == ["InputRepaired"]
    assert private_key("ed25519") is not None
