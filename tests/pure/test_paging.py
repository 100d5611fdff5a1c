"""A cursor opens what gave it out, and nothing else."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.canonical import Digests
from loyalty.base.paging import CURSOR_MAX, Cursors, InvalidCursor

PROGRAM, OTHER = UUID(int=1), UUID(int=2)
CURSORS = Cursors(Digests(b"k" * 32))


@given(st.lists(st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=40), st.none()), max_size=5))
def test_a_cursor_gives_back_what_was_sealed(values: list[int | str | None]) -> None:
    assert CURSORS.open("clients", PROGRAM, b"", CURSORS.seal("clients", PROGRAM, b"", values)) == values


def test_ids_come_back_as_text() -> None:
    assert CURSORS.open("x", PROGRAM, b"", CURSORS.seal("x", PROGRAM, b"", [OTHER])) == [str(OTHER)]


def test_a_cursor_of_another_list_program_or_filter_is_refused() -> None:
    cursor = CURSORS.seal("clients", PROGRAM, b"filter", [7])
    for kind, program, scope in (
        ("staff", PROGRAM, b"filter"), ("clients", OTHER, b"filter"), ("clients", PROGRAM, b""),
        ("client", PROGRAM, b"sfilter"),
    ):  # fmt: skip
        with pytest.raises(InvalidCursor):
            CURSORS.open(kind, program, scope, cursor)


def test_every_changed_bit_is_noticed() -> None:
    cursor = CURSORS.seal("clients", PROGRAM, b"", [12345])
    sealed = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(sealed) * 8):
        sealed[place // 8] ^= 1 << place % 8
        forged = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        with pytest.raises(InvalidCursor):
            CURSORS.open("clients", PROGRAM, b"", forged)
        sealed[place // 8] ^= 1 << place % 8


def test_a_cursor_has_one_spelling() -> None:
    cursor = CURSORS.seal("clients", PROGRAM, b"", [7])
    assert len(cursor) % 4  # so that its last character has bits to spare
    for other in (
        cursor + "=",
        cursor + "==",
        " " + cursor,
        cursor + "\n",
        cursor[:-1],
        cursor + "A",
        cursor.lower(),
    ):
        with pytest.raises(InvalidCursor):
            CURSORS.open("clients", PROGRAM, b"", other)
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/":
        if last != cursor[-1]:
            with pytest.raises(InvalidCursor):
                CURSORS.open("clients", PROGRAM, b"", cursor[:-1] + last)


@given(st.text(st.characters(), max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.open("clients", PROGRAM, b"", text)


def test_a_text_too_long_for_a_cursor_is_refused_unread() -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.open("clients", PROGRAM, b"", "A" * (CURSOR_MAX + 1))


def test_a_rotated_secret_opens_old_cursors_and_seals_no_new_ones() -> None:
    old, new = Cursors(Digests(b"o" * 32)), Cursors(Digests(b"n" * 32, b"o" * 32))
    assert new.open("x", PROGRAM, b"", old.seal("x", PROGRAM, b"", [1])) == [1]
    with pytest.raises(InvalidCursor):
        old.open("x", PROGRAM, b"", new.seal("x", PROGRAM, b"", [1]))
