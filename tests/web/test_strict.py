"""What cannot be read is refused before anybody asks what it means."""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.errors import LoyaltyError
from loyalty.web.api import wire
from loyalty.web.edge import decode
from loyalty.web.strict import character_faults, may_hide_characters, read_json
from loyalty.web.types import DuplicateKey, InvalidBody, InvalidEncoding, MalformedBody, TooDeep

# What finding as many faults as are told may take; the largest body has ten times as many values.
LINES_MAX = 25_000


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": 1 // why\n}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 01}',
        b'{"a": 1.}',
        b'{"a": +1}',
        b'{"a": "line\nbreak"}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b"\x0c{}",
        b"\xe2\x80\x83{}",
    ],
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "\xff"}',
        b'{"\xc3\x28": 1}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'{"a": "\xed\xa0\x80"}',
    ],
)
def test_text_that_is_not_utf_8_is_refused_as_such(raw: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        read_json(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"\\"]": '])
@pytest.mark.parametrize("depth", [33, 1_000, 100_000])
def test_deep_nesting_is_refused_before_it_is_followed(opening: bytes, depth: int) -> None:
    with pytest.raises(TooDeep):
        read_json(opening * depth)


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    body = {"a": ["[" * 50, '"]{\\"' * 50, "\\"], "b": [{}] * 50}
    assert read_json(json.dumps(body).encode()) == body


def test_thirty_two_levels_are_read() -> None:
    assert read_json(b"[" * 32 + b"]" * 32) is not None


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"points": 1, "points": 2}', "/points"),
        (b'{"points" : 1, "points" : 2}', "/points"),
        (b'{"a": [{"b": 1}, {"b": 1, "b": 1}]}', "/a/1/b"),
        (b'{"a": {"x": 1, "x": 1}, "a": 2}', "/a"),
        (b'{"a": 1, "\\u0061": 2}', "/a"),
        (b'{"a\\u003ab": 1, "a:b": 2}', "/a:b"),
        (b'{"a/b": 1, "a/b": 2}', "/a~1b"),
        (b'{"a": ":::", "a": ":::"}', "/a"),
        (b'{"a": 1e999, "a": 1}', "/a"),
    ],
)
def test_a_key_given_twice_is_named(raw: bytes, pointer: str) -> None:
    with pytest.raises(DuplicateKey) as refused:
        read_json(raw)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_whatever_is_json_is_read_as_python_reads_it(value: Any, escaped: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert read_json(raw) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0123 \n-1.eE').map(str.encode))
def test_no_bytes_at_all_cause_anything_but_a_refusal(raw: bytes) -> None:
    try:
        value = read_json(raw)
    except LoyaltyError:
        return
    if not may_hide_characters(raw):
        assert character_faults(value) == []


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "line\nbreak", "tab\t", "\x7f", "\x85", "\u202egnp.exe", "\u200b", "\ufeff", "\u2028"],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_characters_that_nobody_sees_are_faults_with_their_place(text: str, escaped: bool) -> None:
    value = {"list": [{"name": text}]}
    raw = json.dumps(value, ensure_ascii=escaped).encode()
    assert [(f.pointer, f.code) for f in character_faults(read_json(raw))] == [
        ("/list/0/name", "invalid_characters")
    ]


@pytest.mark.parametrize("half", [b"\\ud800", b"\\ud800\\u0041", b"\\udfff"])
def test_half_of_a_character_is_a_fault_with_its_place(half: bytes) -> None:
    for raw, pointer in ((b'{"list": ["%s"]}' % half, "/list/0"), (b'{"a": {"%s": 1}}' % half, "/a/?")):
        (fault,) = character_faults(read_json(raw))
        assert (fault.pointer[: len(pointer)], fault.code) == (pointer, "invalid_encoding")


def test_names_of_the_world_are_ordinary() -> None:
    value = {"names": ["Zoë", "نیم\u200cفاصله", "李小龍", "O'Brien", "प्रिया", "👩\u200d🚀", "a\u00a0b"]}
    raw = json.dumps(value, ensure_ascii=False).encode()
    assert character_faults(read_json(raw)) == []


def lines_run(read: Callable[[], object]) -> int:
    """How many lines of Python were run: a walk runs some for each value, however fast the machine is."""
    count = 0

    def trace(_frame: object, event: str, _about: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(LoyaltyError):
            read()
    finally:
        sys.settrace(before)
    return count


def test_in_a_megabyte_of_brackets_nobody_looks_at_each() -> None:
    raw = b'["' + b'\\"[' * 300_000 + b'"' + b"[" * 100_000
    with pytest.raises(TooDeep):
        read_json(raw)
    assert lines_run(lambda: read_json(raw)) < 500


def filled(head: bytes, unit: bytes, tail: bytes, size: int) -> bytes:
    return head + b",".join([unit] * ((size - len(head)) // (len(unit) + 1))) + tail


SPOILT = b"{%s}" % b",".join(b'"%d\\u0000":0' % number for number in range(120))


@pytest.mark.parametrize(
    ("head", "unit", "tail"),
    [
        (b'{"items":[', b'{"a":"\\u0000"}', b"]}"),
        (b'{"items":["\\u0041",', b"[0]", b"]}"),
        (b'{"items":["\\u003a",', b'{"":0}', b"]}"),
        (b'{"items":[', b'{"":0}', b'],"a":1,"a":2}'),
        (b'{"items":[', b'{"a":1,"a":2}', b"]}"),
        (b'{"items":["\\ud800",', b'{"":0}', b"]}"),
        (b'{"items":[', b"[" * 30 + b'"\\u0041"' + b"]" * 30, b"]}"),
        (b'{"items":[', SPOILT, b"]}"),
    ],
)
@pytest.mark.parametrize("shape", [wire.PurchaseBatch, wire.QuoteBody])
@pytest.mark.parametrize("size", [262_000, 700_000, 1_048_000])
def test_of_a_body_of_nothing_but_trouble_each_value_is_not_looked_at(
    shape: type[Any], head: bytes, unit: bytes, tail: bytes, size: int
) -> None:
    """Nobody looks at a whole body for what its first part tells, nor at each value for what all tell at once."""
    raw = filled(head, unit, tail, size)
    assert lines_run(lambda: decode(shape, raw)) < LINES_MAX


def test_of_a_batch_with_too_many_items_nobody_reads_them() -> None:
    with pytest.raises(InvalidBody) as refused:
        decode(wire.PurchaseBatch, b'{"items": [%s]}' % b",".join([b'"\\u0000"'] * 501))
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [("/items", "too_many_items")]
