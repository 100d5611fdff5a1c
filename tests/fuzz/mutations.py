"""What becomes of bytes that were fine: bits flip, pieces go, come or stand twice, one value stands for another.

Everything follows from the random numbers that are given: the same seed, the same bytes.
"""

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.town import Good
from tests.web.fields import Way, placed

TOKENS = (
    b"null", b"true", b"-1", b"0", b"1.0", b"1e400", b"NaN", b"9007199254740993", b"-9223372036854775809",
    b"99999999999999999999", b'""', b'" "', b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"\\u202e"', b"[]", b"{}",
    b"[null]", b"[[[[[[[[]]]]]]]]", b'{"":0}',
    b'"2026-01-01T00:00:00"', b'"2026-02-30T00:00:00Z"', b'"0001-01-01T00:00:00+14:00"',
    b'"1e9"', b'"' + b"x" * 600 + b'"', b"7" * 400, b'"\xf0\x9f\xa6\x8a"', b'"01900000-0000-7000-8000-000000000000"',
)  # fmt: skip
SCRAPS = (
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\x00", b"\xff", b"\r\n", b"\\u0000", b"\\ud83d", b"-", b"e9",
    b".", b"\xe2\x80\x8b", b"\xc3", b"%00", b"[" * 40, b"0", b"9",
)  # fmt: skip
FRAMING = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\t", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Host: y\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"HTTP/1.0", b"HTTP/2",
    b"\xff", b"\r\n\r\n", b"0\r\n\r\n", b"X: " + b"y" * 9_000, b"?a=1&a=1", b"%2e%2e/", b"//", b"Content-Type: x\r\n",
)  # fmt: skip
_LENGTH = re.compile(rb"Content-Length: \d+")


def fresh(chance: Random, content: bytes) -> bytes:
    """The same, but for its own number: what was recorded once would only be told again."""
    if content[:1] != b"{":
        return content

    def renewed(value: Any) -> Any:
        match value:
            case dict():
                return {key: one if key == "of" else numbered(key, one) for key, one in value.items()}
            case list():
                return [renewed(one) for one in value]
            case _:
                return value

    def numbered(key: str, value: Any) -> Any:
        return f"{chance.getrandbits(128):032x}" if key == "external_id" else renewed(value)

    return json.dumps(renewed(json.loads(content))).encode()


def spoilt(
    chance: Random, content: bytes, others: Sequence[bytes], scraps: Sequence[bytes] = SCRAPS
) -> bytes:
    """`content` after one to three mishaps; pieces of `others` may get into it."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, to = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        to = min(to, at + chance.choice((1, 4, 40, 400)))
        match chance.randrange(7):
            case 0 | 1:
                content = _flipped(chance, content)
            case 2:
                content = content[:at] + content[to:]
            case 3:
                content = content[:at] + content[at:to] * chance.choice((2, 3, 20)) + content[to:]
            case 4:
                content = content[:at] + chance.choice(scraps) + content[at:]
            case 5:
                content = content[:at]
            case _:
                other = chance.choice(others)
                content = content[:at] + other[chance.randrange(len(other) + 1) :]
    return content


def _flipped(chance: Random, content: bytes) -> bytes:
    if not content:
        return b"\x01"
    flipped = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def misplaced(chance: Random, value: Any, others: Sequence[Any]) -> bytes:
    """A JSON value with one value inside it gone, strange, or that of another body."""
    ways = _ways(value)
    way = chance.choice(ways[1:] or ways)
    match chance.randrange(4):
        case 0 if way and isinstance(way[-1], str):
            return placed(value, way, None)
        case 1:
            other = chance.choice(others)
            return placed(value, way, json.dumps(_at(other, chance.choice(_ways(other)))).encode())
        case _:
            return placed(value, way, chance.choice(TOKENS))


def _ways(value: Any, way: Way = ()) -> list[Way]:
    found = [way]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += _ways(one, (*way, key))
    return found


def _at(value: Any, way: Way) -> Any:
    for step in way:
        value = value[step]
    return value


def body(chance: Random, good: Good, others: Sequence[bytes]) -> bytes:
    """A body for a call: most times spoilt, sometimes only new."""
    content = fresh(chance, good.content)
    match chance.randrange(10):
        case 0:
            return content
        case 1 | 2 | 3 | 4 if content[:1] in b"{[" and content:
            return misplaced(chance, json.loads(content), [json.loads(one) for one in others])
        case _:
            return spoilt(chance, content, others)


def request(chance: Random, good: Good, others: Sequence[bytes]) -> bytes:
    """A whole request, head and body, that was sent through a bad line."""
    whole = good.request(fresh(chance, good.content))
    match chance.randrange(6):
        case 0:  # as if the body were another request
            return _LENGTH.sub(b"Content-Length: %d" % chance.choice((0, 1, 7, 10**6, 10**20)), whole)
        case 1:
            return whole[: chance.randrange(len(whole))] + chance.choice(FRAMING) + whole[-200:]
        case 2:
            head, _, rest = whole.partition(b"\r\n")
            return _flipped(chance, head) + b"\r\n" + rest
        case _:
            return spoilt(chance, whole, others, FRAMING)


def text(chance: Random, good: str, alphabet: str) -> str:
    """A cursor or credential with some characters flipped, gone, added or swapped; never the same."""
    while True:
        at = chance.randrange(len(good))
        match chance.randrange(5):
            case 0 | 1:
                wrong = good[:at] + chance.choice(alphabet) + good[at + 1 :]
            case 2:
                wrong = good[:at]
            case 3:
                wrong = good + "".join(chance.choices(alphabet, k=chance.choice((1, 2, 4, 40))))
            case _:
                wrong = good[:at] + good[at + 1 :]
        if wrong != good:
            return wrong
