"""Reading the outermost shape of DER."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import der


@given(st.sampled_from([0x02, 0x04, 0x30, 0xA0]), st.integers(0, 70_000), st.binary(max_size=5))
def test_an_element_is_read_as_long_as_it_was_written(tag, length, rest):
    encoded = der.encode(tag, bytes(length))
    element = der.element(encoded + rest)
    assert element is not None
    assert (element.tag, element.end - element.start, element.end) == (tag, length, len(encoded))


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_the_parts_of_a_sequence_are_found_in_order(parts):
    encoded = der.encode(der.SEQUENCE, *(der.encode(der.OCTET_STRING, part) for part in parts))
    outer = der.element(encoded)
    assert [encoded[e.start : e.end] for e in der.children(encoded, outer)] == parts


@given(st.binary(max_size=200))
def test_any_bytes_have_a_kind_or_none(content):
    assert der.kind(content) in {None, *der.Kind}


@pytest.mark.parametrize("content", ["", "30", "3085", "1f8103", "30ff00", "3084ffffff"])
def test_what_has_no_readable_header_is_no_element(content):
    assert der.element(bytes.fromhex(content)) is None


def test_a_length_beyond_the_data_is_told_as_it_stands():
    assert der.element(bytes.fromhex("308401000000")) == der.Element(0x30, 6, 6 + (1 << 24))


def test_a_pfx_of_indefinite_length_is_still_known():
    assert der.kind(bytes.fromhex("3080020103308006092a864886f70d010701a080")) is der.Kind.PKCS12
