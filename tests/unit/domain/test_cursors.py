from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.cursors import decode_cursor, encode_cursor
from chalicelib.domain.errors import InvalidRequest


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100))
def test_a_cursor_gives_its_position_back_to_its_own_list_only(position):
    cursor = encode_cursor("list", position)
    assert decode_cursor("list", cursor) == position
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor("another list", cursor)
    assert refused.value.code == "InvalidCursor"


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_cursor_that_was_made_up_is_refused(cursor):
    with pytest.raises(InvalidRequest):
        decode_cursor("list", cursor)


@pytest.mark.parametrize("position", ["", "x" * 101, "é", "\x00", "a\nb"])
def test_a_forged_position_that_no_list_has_never_reaches_the_tables(position):
    with pytest.raises(InvalidRequest):
        decode_cursor("list", encode_cursor("list", position))


@pytest.mark.parametrize("length", [101, 4096])
def test_a_list_with_longer_positions_takes_them_up_to_its_own_bound(length):
    cursor = encode_cursor("list", "x" * length)
    assert decode_cursor("list", cursor, longest=length) == "x" * length
    with pytest.raises(InvalidRequest):
        decode_cursor("list", cursor, longest=length - 1)


def test_no_cursor_is_the_beginning():
    assert decode_cursor("list", None) is None
