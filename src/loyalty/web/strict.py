"""JSON as this API reads it: UTF-8, at most 32 levels, every key once, no half characters, no hidden ones.

What cannot be read is refused with 400; what can be read but holds forbidden characters becomes faults of the texts.
The usual body takes only quick checks; a rare one is walked to say where the trouble is. The walk makes pointers only
of what it finds, and ends when it has found enough: a body of the largest size costs a tenth of a second or two.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn, cast

import msgspec

from loyalty.base.errors import Fault
from loyalty.base.forms import FAULTS_MAX, token
from loyalty.base.text import TextFault, visible
from loyalty.web.types import DuplicateKey, InvalidEncoding, MalformedBody, TooDeep

DEPTH_MAX = 32

_HIDDEN_COLON = re.compile(rb"\\u003[aA]")
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
        return _read_slowly(raw)[0]
    except msgspec.DecodeError:
        return _with_halves(raw)
    # Written again, a value has one colon for each key and the same colons inside its texts: a colon that is gone
    # stood behind a key that was given twice.
    if _colons(raw) != msgspec.json.encode(value).count(b":"):
        _refuse_doubled(raw.decode())
    return value


def _colons(raw: bytes) -> int:
    """How many colons stand in a JSON text, written as such or as an escape."""
    if b"\\u003" not in raw:
        return raw.count(b":")
    return raw.count(b":") + len(_HIDDEN_COLON.findall(raw.replace(b"\\\\", b"")))


def may_hide_characters(raw: bytes) -> bool:
    """Whether some text in `raw` could hold a forbidden character; most bodies show at once that none does."""
    return not raw.isascii() or b"\\" in raw or b"\x7f" in raw


def character_faults(value: Any, most: int = FAULTS_MAX) -> list[Fault]:
    """A fault for every text of `value`, keys included, that holds a forbidden character; the first `most`."""
    if _plain(value):
        return []
    search = _Search(most)
    if type(value) is str:
        search.judge(value)
    elif type(value) in (dict, list):
        search.look_into(value)
    return search.faults


def _plain(value: Any) -> bool:
    """Whether no text of `value` needs a look, told by all of it written as one text: a walk costs far more."""
    try:
        written = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return False  # half of a character
    # What cannot be printed is written as it is, or with a backslash before another letter.
    return written.isprintable() and "\\" not in written.replace("\\\\", "").replace('\\"', "")


class _Search:
    """A walk through a value for texts with forbidden characters. Its depth is bounded by DEPTH_MAX."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.faults: list[Fault] = []
        self.path: list[Any] = []  # keys and indices down to what is looked at

    def look_into(self, value: Any) -> None:
        if type(value) is dict:
            for key in cast("dict[str, Any]", value):
                if not key.isprintable():
                    self.judge(key, key)
                    if len(self.faults) >= self.most:
                        return
        for key, inner in _inside(value):
            if isinstance(inner, str):
                # Not said of ordinary blanks and joiners, hence the others are asked again.
                if not inner.isprintable():
                    self.judge(inner, key)
            elif inner and isinstance(inner, dict | list):
                self.path.append(key)
                self.look_into(inner)
                self.path.pop()
            else:
                continue
            if len(self.faults) >= self.most:
                return

    def judge(self, text: str, *key: Any) -> None:
        if _SURROGATE.search(text):
            self.faults.append(Fault(_pointer(*self.path, *key), "invalid_encoding", "Half of a character."))
            self.most = 0  # the body is refused for that alone
            return
        try:
            visible(text, joiners=True)
        except TextFault as fault:
            self.faults.append(Fault(_pointer(*self.path, *key), fault.code, fault.detail))


def _inside(value: Any) -> Iterable[tuple[Any, Any]]:
    """What stands in an object or a list, each with its key or index."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).items()
    return enumerate(cast("list[Any]", value))


def _pointer(*path: Any) -> str:
    return "".join(f"/{token(str(step))}" for step in path)


def _check_depth(raw: bytes) -> None:
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_ROUND, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"()", b"")  # the innermost pairs go
    # What stands alone now are brackets that nothing closes or opens.
    if b"()" in brackets or brackets.count(b"(") > DEPTH_MAX:
        raise TooDeep(f"The body is nested more than {DEPTH_MAX} levels deep.", depth_max=DEPTH_MAX)


_ROUND = bytes.maketrans(b"[]{}", b"()()")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, every key as often as it stands there; only for saying where one stands twice."""


def _no_constant(_name: str) -> Any:
    raise ValueError


def _read_slowly(raw: bytes) -> tuple[Any, str]:
    """Read with Python's own reader: numbers of any size and half characters. The value, and how it is written.

    Raises: InvalidEncoding, MalformedBody, DuplicateKey.
    """
    try:
        text = raw.decode()
        value = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise InvalidEncoding from None
    except json.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON at line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError):
        raise MalformedBody from None
    written = json.dumps(value, ensure_ascii=False)
    # As in read_json: only where a key is missing does anybody look at each object.
    if _colons(raw) != written.count(":"):
        _refuse_doubled(text)
    return value, written


def _refuse_doubled(text: str) -> NoReturn:
    """Raises: DuplicateKey with the place of the first key that stands twice in `text`, which can be read."""
    path = _path_to_doubled(json.loads(text, object_pairs_hook=_Pairs))
    assert path is not None
    raise DuplicateKey(faults=(Fault(_pointer(*path), "duplicate_key", "This key stands twice."),))


def _path_to_doubled(value: list[Any]) -> list[Any] | None:
    """The keys and indices down to the first key that stands twice; what comes behind it is not looked at."""
    inside: Iterable[tuple[Any, Any]] = enumerate(value)
    if isinstance(value, _Pairs):
        if len(dict(value)) < len(value):
            return [_doubled(value)]
        inside = value
    for key, inner in inside:
        if inner and isinstance(inner, list):
            path = _path_to_doubled(cast("list[Any]", inner))
            if path is not None:
                return [key, *path]
    return None


def _doubled(pairs: _Pairs) -> str:
    """The first key that has stood before."""
    seen = set[str]()
    return next(key for key, _ in pairs if key in seen or seen.add(key))


def _with_halves(raw: bytes) -> Any:
    """The value of bytes whose only fault are halves of characters. Raises: InvalidEncoding, MalformedBody."""
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in raw[:4]:
        raise InvalidEncoding
    value, written = _read_slowly(raw)
    try:
        written.encode()
    except UnicodeEncodeError:
        return value
    raise MalformedBody
