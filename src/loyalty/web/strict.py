"""JSON as this API reads it: UTF-8, at most 32 levels, every key once, no half characters, no hidden ones.

What cannot be read is refused with 400; what can be read but holds forbidden characters becomes faults of the texts.
The usual body takes only quick checks; a rare one is walked to say where the trouble is.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from loyalty.base.errors import Fault
from loyalty.base.text import TextFault, visible
from loyalty.web.types import DuplicateKey, InvalidEncoding, MalformedBody, TooDeep

DEPTH_MAX = 32

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(raw: bytes) -> Any:
    """The value that the bytes say. Halves of characters stand in it as they are: see character_faults.

    Raises: MalformedBody, InvalidEncoding, TooDeep, DuplicateKey.
    """
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:
        _check_depth(raw)
    try:
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError:
        raise InvalidEncoding from None
    except msgspec.ValidationError:
        # A number outside every range; Python's reader can hold it, so that its place is found.
        return _checked(_read_slowly(raw))
    except msgspec.DecodeError:
        return _checked(_with_halves(raw))
    # Written again, a value has one colon for each key and the same colons inside its texts: a colon that is gone
    # stood behind a key that was given twice. An escape may hide a colon, so its presence asks for the slow way.
    if b"\\" in raw or raw.count(b":") != msgspec.json.encode(value).count(b":"):
        _checked(_read_slowly(raw))
    return value


def character_faults(raw: bytes, value: Any) -> list[Fault]:
    """A fault for every text of `value`, read from `raw`, that holds a forbidden character."""
    if raw.isascii() and b"\\" not in raw and b"\x7f" not in raw:
        return []
    faults: list[Fault] = []
    for pointer, text in _texts("", value):
        if text.isprintable():  # not said of ordinary blanks and joiners, hence the others are asked again
            continue
        if _SURROGATE.search(text):
            faults.append(Fault(pointer, "invalid_encoding", "Half of a character."))
            continue
        try:
            visible(text, joiners=True)
        except TextFault as fault:
            faults.append(Fault(pointer, fault.code, fault.detail))
    return faults


def token(key: str) -> str:
    """A key as one step of a JSON pointer, cut where it is absurdly long, half characters replaced."""
    return key[:80].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")


def _check_depth(raw: bytes) -> None:
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    depth = 0
    for byte in b"".join(outside).translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise TooDeep(f"The body is nested more than {DEPTH_MAX} levels deep.", depth_max=DEPTH_MAX)
        else:
            depth -= 1


_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class _Doubled(dict[str, Any]):
    """An object in which `key` was given twice; only for saying where."""

    key: str = ""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    doubled, seen = _Doubled(value), set[str]()
    for key, _ in pairs:
        if key in seen:
            doubled.key = key
        seen.add(key)
    return doubled


def _no_constant(_name: str) -> Any:
    raise ValueError


_SLOW = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant)


def _read_slowly(raw: bytes) -> Any:
    """Read with Python's own reader: numbers of any size, half characters, doubled keys marked."""
    try:
        return _SLOW.decode(raw.decode())
    except UnicodeDecodeError:
        raise InvalidEncoding from None
    except (ValueError, RecursionError):
        raise MalformedBody from None


def _checked(value: Any) -> Any:
    """`value` of the slow reader, refused when a key stands twice."""
    for pointer, inner in _values("", value):
        if isinstance(inner, _Doubled):
            where = f"{pointer}/{token(inner.key)}"
            raise DuplicateKey(faults=(Fault(where, "duplicate_key", "This key stands twice."),))
    return value


def _with_halves(raw: bytes) -> Any:
    """The value of bytes whose only fault are halves of characters. Raises: InvalidEncoding, MalformedBody."""
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in raw[:4]:
        raise InvalidEncoding
    value = _read_slowly(raw)
    if not any(_SURROGATE.search(text) for _, text in _texts("", value)):
        raise MalformedBody
    return value


def _values(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    """`value` and everything inside it, each with its pointer. Depth is bounded by DEPTH_MAX."""
    yield pointer, value
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _values(f"{pointer}/{token(key)}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _values(f"{pointer}/{index}", inner)


def _texts(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text inside `value`, keys included, with its pointer."""
    for where, inner in _values(pointer, value):
        if isinstance(inner, str):
            yield where, inner
        elif isinstance(inner, dict):
            for key in cast("dict[str, Any]", inner):
                yield f"{where}/{token(key)}", key
