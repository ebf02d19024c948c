import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.domain import ber, der
from chalicelib.domain.ber import BerError


def octets(content: bytes) -> bytes:
    return der.encode(der.OCTET_STRING, content)


@st.composite
def trees(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """The same tree in BER with indefinite lengths here and there, and in DER."""
    leaf = st.binary(max_size=20).map(lambda c: (octets(c), octets(c)))

    def node(inner: st.SearchStrategy) -> st.SearchStrategy:
        return st.tuples(st.lists(inner, max_size=4), st.booleans()).map(together)

    def together(parts: tuple[list[tuple[bytes, bytes]], bool]) -> tuple[bytes, bytes]:
        children, indefinite = parts
        loose, strict = b"".join(c[0] for c in children), b"".join(c[1] for c in children)
        plain = der.encode(der.SEQUENCE, strict)
        return (b"\x30\x80" + loose + b"\0\0" if indefinite else der.encode(der.SEQUENCE, loose)), plain

    return draw(st.recursive(leaf, node, max_leaves=15))


def leaves(node: ber.Node) -> list[bytes]:
    return [node.content] if not node.children else [leaf for child in node.children for leaf in leaves(child)]


@given(trees())
def test_indefinite_lengths_mean_the_same_as_definite_ones(tree):
    loose, strict = tree
    assert leaves(ber.read(loose)) == leaves(ber.read(strict))


@given(trees())
def test_what_is_der_already_stays_as_it_stood(tree):
    assert ber.read(tree[1]).raw == tree[1]


@given(st.binary(max_size=200))
@example(b"\x30\x80" * 1000)
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"\x30\x80\x00")
def test_no_input_raises_anything_but_a_ber_error(data):
    try:
        node = ber.read(data)
    except BerError:
        return
    for ask in (node.oid, node.integer, node.octets, lambda: node.child(0), lambda: node.expect(der.SEQUENCE)):
        try:
            ask()
        except BerError:
            continue


def test_data_after_the_end_is_refused():
    with pytest.raises(BerError, match="after the end"):
        ber.read(octets(b"x") + b"\0")


def test_more_elements_than_containers_have_are_refused():
    with pytest.raises(BerError, match="more than"):
        ber.read(der.encode(der.SEQUENCE, b"\x05\x00" * (ber.MAX_ELEMENTS + 1)))


def test_an_octet_string_in_pieces_is_put_together():
    pieces = b"\x24\x80" + octets(b"one") + b"\x24\x80" + octets(b"two") + b"\0\0\0\0"
    assert ber.read(pieces).octets() == b"onetwo"


def test_an_octet_string_of_other_pieces_is_refused():
    with pytest.raises(BerError, match="piece"):
        ber.read(b"\x24\x03\x02\x01\x05").octets()


@given(st.integers(min_value=-(2**40), max_value=2**40))
def test_numbers_are_read_as_they_were_written(number):
    assert ber.read(ber.encode_integer(number)).integer() == number


def test_a_number_longer_than_a_count_is_refused():
    with pytest.raises(BerError, match="number"):
        ber.read(ber.encode_integer(2**80)).integer()


def test_object_identifiers_are_read_as_they_were_written():
    dotted = x509.NameOID.COMMON_NAME.dotted_string
    assert ber.read(ber.encode_oid(dotted)).oid() == dotted


def test_the_repr_shows_no_content():
    assert "secret" not in repr(ber.read(octets(b"secret")))
