"""The table of bad inputs: what is sent, and the one refusal that must come of it.

A row stands for one or more of the numbered kinds of bad input in `KINDS`. Rows about values apply to every field of
that kind in every good body (good.py), rows about heads, addresses and queries to every endpoint: an endpoint or a
field that is new is sent all of them by itself.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from re import search
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from msgspec import inspect

from loyalty.base.problems import catalogue
from loyalty.posting.commands import MemberRef
from loyalty.web.api import wire
from loyalty.web.edge import Endpoint
from loyalty.web.types import Batch
from tests.web.fields import Field, Way, fields, placed, pointer, written
from tests.web.good import GOOD

JSON = dict[str, Any]
SOMEBODY = "01900000-0000-7000-8000-000000000000"
SHOUTED = "01AB0000-0000-7000-8000-000000000000"
PART = b"card\n"


class Bad(NamedTuple):
    """One bad request and what must come of it."""

    kinds: tuple[int, ...]
    what: str
    request: bytes
    status: int
    codes: tuple[str, ...]  # one of them is the problem's
    at: str | None = None  # pointer of the one fault, or name of the parameter
    fault: str | None = None  # code of that fault
    in_item: bool = False  # told in the answer of the batch's item
    header: str | None = None  # that the answer must have


def path_of(endpoint: Endpoint, **parts: str) -> str:
    """A well-formed address of the endpoint; `parts` of it may be others."""
    path = endpoint.path
    for name, kind in endpoint.parts.items():
        path = path.replace(f"{{{name}}}", parts.get(name) or {int: "1", str: "mug"}.get(kind, SOMEBODY))
    return path


@cache
def codes() -> frozenset[str]:
    """Every code that a refusal may have."""
    return frozenset(row.code for row in catalogue())


def no_problem(status: int, problem: JSON) -> str | None:
    """What makes a document no problem document of ours; None when it is one."""
    if problem.get("status") != status or problem.get("code") not in codes():
        return f"{status} with {str(problem)[:300]}"
    if problem["type"] != f"/docs/errors#{problem['code']}" or not isinstance(problem["retryable"], bool):
        return f"{problem['type']} {problem['retryable']}"
    return None if problem["title"] and problem["detail"] else "it says nothing"


class Target:
    """An endpoint as it is called well, but for things that are not there; bad requests are made from that."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self.endpoint = endpoint
        self.key = key
        self.body: Any = None if endpoint.body in (None, bytes) else GOOD[endpoint.body]
        self.content = PART if endpoint.csv else b"" if self.body is None else written(self.body)
        needed = [one for one in endpoint.parameters.values() if one.required]
        self.query = "&".join(f"{one.name}={good_value(one.kind)}" for one in needed)
        if endpoint.csv:
            self.query = f"sha256={hashlib.sha256(PART).hexdigest()}"
        self.is_batch = isinstance(endpoint.body, type) and issubclass(endpoint.body, Batch)

    def fields(self) -> list[Field]:
        return [] if self.body is None else list(fields(self.endpoint.body, self.body))

    def request(
        self,
        content: bytes | None = None,
        *,
        path: str | None = None,
        query: str | None = None,
        head: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> bytes:
        """The good request with other content, address or further lines of its head, or `without` lines of it."""
        content = self.content if content is None else content
        query = self.query if query is None else query
        lines = {"Host": "x", "Authorization": f"Bearer {self.key}"}
        if self.endpoint.body is not None:
            lines["Content-Type"] = "text/csv" if self.endpoint.csv else "application/json"
            lines["Content-Length"] = str(len(content))
        if self.endpoint.keyed:
            lines["Idempotency-Key"] = uuid4().hex
        told = [f"{name}: {value}" for name, value in lines.items() if name not in without]
        address = (path or path_of(self.endpoint)) + (f"?{query}" if query else "")
        first = f"{self.endpoint.method} {address} HTTP/1.1"
        return "\r\n".join([first, *told, *head, "", ""]).encode() + content


def bad_inputs(endpoint: Endpoint, key: str) -> Iterator[Bad]:
    """Everything bad that can be sent to an endpoint with the credential `key`."""
    target = Target(endpoint, key)
    yield from wrong_queries(target)
    yield from wrong_addresses(target)
    if endpoint.method != "GET":
        yield from wrong_heads(target)
    if target.body is not None:
        yield from unreadable_bodies(target)
        yield from wrong_values(target)
        yield from wrong_objects(target)
        yield from contradictions(target)


# --- bodies that cannot be read -----------------------------------------------------------------------------------

DEEP = b"[" * 1_000 + b"]" * 1_000

UNREADABLE: list[tuple[tuple[int, ...], str, Callable[[bytes], bytes], str]] = [
    ((66,), "cut short", lambda good: good[: len(good) * 2 // 3] or b"{", "malformed_body"),
    ((66,), "a comma too many", lambda good: good[:-1] + b",}", "malformed_body"),
    ((66,), "a comment", lambda good: good + b" // why", "malformed_body"),
    ((66,), "single quotes", lambda _: b"{'a': 1}", "malformed_body"),
    ((66,), "text behind it", lambda good: good + good, "malformed_body"),
    ((9,), "NaN", lambda _: b'{"a":NaN}', "malformed_body"),
    ((9,), "-Infinity", lambda _: b'{"a":-Infinity}', "malformed_body"),
    ((5,), "five thousand digits", lambda _: b'{"a":' + b"7" * 5_000 + b"}", "malformed_body"),
    ((41,), "bytes that are no text", lambda _: b'{"a":"\xff"}', "invalid_encoding"),
    ((41,), "half a character in bytes", lambda _: b'{"a":"\xed\xa0\x80"}', "invalid_encoding"),
    ((42,), "UTF-16", lambda good: good.decode().encode("utf-16"), "invalid_encoding"),
    ((42,), "a byte order mark", lambda good: b"\xef\xbb\xbf" + good, "invalid_encoding"),
    ((67,), "a thousand levels of an unknown field", lambda _: b'{"a":' + DEEP + b"}", "too_deep"),
    ((67,), "a hundred thousand levels", lambda _: b'{"a":' * 100_000, "too_deep"),
    ((68,), "a key twice", lambda _: b'{"a":1,"a":2}', "duplicate_key"),
    ((68,), "a key twice, once as an escape", lambda _: b'{"a":1,"\\u0061":2}', "duplicate_key"),
]  # fmt: skip


def unreadable_bodies(target: Target) -> Iterator[Bad]:
    for kinds, what, spoil, code in UNREADABLE:
        yield Bad(kinds, what, target.request(spoil(target.content)), 400, (code,))
    if not target.endpoint.body_optional:
        yield Bad((65,), "nothing", target.request(b""), 400, ("malformed_body",))
    for token in (b"null", b"[]", b'"x"', b"7", b"true", b"1e400"):
        yield Bad((65,), token.decode(), target.request(token), 422, ("invalid_body",), "", "wrong_type")
    for field in islice((one for one in target.fields() if one.way), 1):
        spoilt = placed(target.body, field.way, DEEP)
        yield Bad((67,), "a thousand levels of a field", target.request(spoilt), 400, ("too_deep",))
    for field in target.fields():
        if isinstance(field.value, dict) and field.value:
            key, value = next(iter(field.value.items()))
            twice = written(field.value)[:-1] + b",%s:%s}" % (written(key), written(value))
            what, at = f"{key} twice", pointer((*field.way, key))
            request = target.request(placed(target.body, field.way, twice))
            yield Bad((68,), what, request, 400, ("duplicate_key",), at, "duplicate_key")


# --- values ---------------------------------------------------------------------------------------------------------


def is_a(*kinds: type[inspect.Type]) -> Callable[[Field], bool]:
    return lambda field: isinstance(field.kind, kinds)


whole = is_a(inspect.IntType)
free_text = is_a(inspect.StrType)
instant = is_a(inspect.DateTimeType)
word = is_a(inspect.EnumType, inspect.LiteralType)
listed = is_a(inspect.VarTupleType, inspect.ListType)
mapping = is_a(inspect.DictType)
object_ = is_a(inspect.StructType)
text = is_a(
    inspect.StrType, inspect.EnumType, inspect.LiteralType, inspect.DateTimeType, inspect.UUIDType,
    inspect.DateType, inspect.TimeType,
)  # fmt: skip

_TOO_SHORT = {
    "_money": "unknown_currency",
    "_quantity": "wrong_type",
}  # what a finer form calls an empty text


def of(applies: Callable[[Field], Any], *tokens: str) -> Callable[[Field], Sequence[str]]:
    """These JSON texts where it applies."""
    return lambda field: tokens if applies(field) else ()


def of_sole(applies: Callable[[Field], Any], *tokens: str) -> Callable[[Field], Sequence[str]]:
    """These where it applies and nothing of another kind would do."""
    return of(lambda field: field.sole and applies(field), *tokens)


def of_form(name: str, *tokens: str) -> Callable[[Field], Sequence[str]]:
    return of(lambda field: field.form == name, *tokens)


def against_pattern(field: Field, token: str) -> Sequence[str]:
    """The text where only the field's pattern refuses it."""
    kind = field.kind
    if not free_text(field) or field.form or not kind.pattern or len(token) < (kind.min_length or 0):
        return ()
    return () if search(kind.pattern, token) or len(token) > (kind.max_length or 10**9) else (quoted(token),)


def quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


VALUES: list[tuple[tuple[int, ...], str, Callable[[Field], Sequence[str]], str]] = [
    # whole numbers
    ((1,), "below the least", lambda f: (str(f.kind.ge - 1),) if whole(f) else (), "out_of_range"),
    ((2, 16), "nothing", of(lambda f: whole(f) and f.kind.ge == 1, "0", "-0"), "out_of_range"),
    ((3,), "above the most", lambda f: (str(f.kind.le + 1),) if whole(f) else (), "out_of_range"),
    ((3,), "one that JavaScript cannot count", of(whole, str(2**53 + 1)), "out_of_range"),
    ((4,), "one too large for 64 bits", of(whole, str(2**63), str(2**64), "9" * 400), "out_of_range"),
    ((6, 12, 13), "a fraction", of(whole, "1.5", "0.1", "10.005"), "not_integer"),
    ((7, 16), "a whole one with a fraction or exponent", of(whole, "1.0", "1e3", "1E-0", "-0.0"), "not_integer"),
    ((8,), "one beyond all", of(whole, "1e400", "-1e400"), "not_integer"),
    ((14,), "no number", of_sole(whole, "true", '"12"', "[]", "{}"), "wrong_type"),
    ((15,), "digits in a text",
     of_sole(whole, *map(quoted, ("١٢", "１２", "1_000", "1,000", " 12 ", "+12", "0x10", "012"))), "wrong_type"),
    # quantities
    ((10,), "no number in a text", of_form("_quantity", '"NaN"', '"sNaN"', '"-Infinity"'), "not_a_number"),
    ((11,), "an exponent in a text", of_form("_quantity", '"1e999999"', '"1e3"'), "out_of_range"),
    ((11, 12), "too fine", of_form("_quantity", quoted("0." + "0" * 390 + "1"), '"0.5125"'), "too_many_decimals"),
    ((57,), "less than nothing, too much", of_form("_quantity", '"-1"', '"1000000000"'), "out_of_range"),
    ((15,), "a number as nobody writes it",
     of_form("_quantity", *map(quoted, ("١٢", "１２", "1_000", "1,000", " 12 ", "+12", "0x10", "012", "1.", ".5"))),
     "wrong_type"),
    # money and zones
    ((21,), "no currency",
     of_form("_money", *map(quoted, ("usd", "US$", "EURO", "UЅD", "978"))), "unknown_currency"),
    # time
    ((26,), "without an offset", of(instant, '"2026-01-01T00:00:00"'), "offset_required"),
    ((27,), "seconds since 1970", of(instant, "1767225600", "1767225600.5"), "wrong_type"),
    ((27,), "no instant",
     of(instant, '"tomorrow"', '"Thu, 01 Jan 2026 00:00:00 GMT"', '"2026-W01-1T00:00:00Z"', '"2026-01-01"'),
     "invalid_datetime"),
    ((28,), "no such day or time",
     of(instant, '"2026-02-30T00:00:00Z"', '"2027-02-29T00:00:00Z"', '"2026-13-01T00:00:00Z"', '"2026-01-01T24:00:00Z"',
        '"2026-01-01T00:00:60Z"', '"2026-01-01T00:00:00+24:00"'), "invalid_datetime"),
    ((29,), "at the end of all time",
     of(instant, '"9999-12-31T23:59:59-12:00"', '"0001-01-01T00:00:00+14:00"', '"1969-12-31T23:59:59Z"'),
     "out_of_range"),
    ((37,), "a year with a sign", of(instant, '"+002026-01-01T00:00:00Z"'), "invalid_datetime"),
    ((27, 28), "no day",
     of(is_a(inspect.DateType), '"2026-02-30"', '"2027-02-29"', '"2026-13-01"', '"20260101"', '"tomorrow"',
        '"2026-01-01T00:00:00Z"', '""'), "invalid_date"),
    ((27, 28), "no time of day",
     of(is_a(inspect.TimeType), '"24:00:00"', '"10:00:60"', '"10:60:00"', '"10:00:00Z"', '"noon"', '""'),
     "invalid_time"),
    ((27, 48), "a number", of(is_a(inspect.DateType, inspect.TimeType, inspect.UUIDType), "7"), "wrong_type"),
    # texts
    ((39, 47), "control characters", of(text, '"a\\u0000b"', '"a\\r\\nb"', '"a\x7fb"'), "invalid_characters"),
    ((44,), "characters that nobody sees",
     of(text, '"\\u202ea"', '"a\u200bb"'), "invalid_characters"),
    ((45,), "nothing", of(lambda f: free_text(f) and f.kind.min_length, '""'), "too_short"),
    ((21, 45), "nothing, of a finer form",
     of(lambda f: f.form in _TOO_SHORT, '""'), ""),
    ((45,), "nothing where there is a pattern", lambda f: against_pattern(f, ""), "invalid_format"),
    ((45,), "a blank where there is a pattern", lambda f: against_pattern(f, " "), "invalid_format"),
    ((15, 45), "letters that do not fit", lambda f: against_pattern(f, "!Ü"), "invalid_format"),
    ((45,), "a blank, or no ASCII", of_form("_receipt_id", '" "', '"a "', '"é"'), "invalid_characters"),
    ((45,), "too long",
     lambda f: (quoted("x" * (f.kind.max_length + 1)),) if free_text(f) and f.kind.max_length else (), "too_long"),
    ((45,), "too long for its pattern", lambda f: against_pattern(f, "x" * 300), "invalid_format"),
    ((14,), "no text", of_sole(text, "7", "true", "[]", "{}"), "wrong_type"),
    ((48,), "no id",
     of(is_a(inspect.UUIDType), '"77"', '""', *(quoted(one) for one in (f"{SOMEBODY}.", f"{SOMEBODY} "))),
     "invalid_id"),
    ((14,), "none of its words",
     lambda f: ('"nonsense"', '""', quoted(f"{f.value} "), quoted(f.value.upper())) if word(f) else (),
     "unknown_value"),
    ((14,), "neither true nor false", of_sole(is_a(inspect.BoolType), "1", "0", '"true"', "[]"), "wrong_type"),
    # lists and objects
    ((14, 55), "null", of(lambda f: f.way and not f.nullable and f.kind, "null"), "wrong_type"),
    ((14,), "no list", of(listed, "7", '"x"', "{}"), "wrong_type"),
    ((55,), "an empty list", of(lambda f: listed(f) and f.kind.min_length, "[]"), "too_few_items"),
    ((56,), "one too many",
     lambda f: (many(f.value[0], f.kind.max_length + 1),) if listed(f) and f.kind.max_length and f.value else (),
     "too_many_items"),
    ((14,), "no object", of(lambda f: f.way and (object_(f) or mapping(f)), "7", '"x"', "[]"), "wrong_type"),
    ((52,), "too many of its own fields",
     lambda f: (json.dumps({f"a{n}": 1 for n in range(f.kind.max_length + 1)}),)
     if mapping(f) and f.kind.max_length else (), "too_many_items"),
]  # fmt: skip


def many(value: Any, number: int) -> str:
    return f"[{','.join([json.dumps(value)] * number)}]"


def wrong_values(target: Target) -> Iterator[Bad]:
    large = True
    for field in target.fields():
        for kinds, what, tokens, code in VALUES:
            for token in tokens(field):
                wanted = code or _TOO_SHORT[field.form]
                yield wrong(target, kinds, f"{what}: {token[:40]}", field, field.way, token, wanted)
        if text(field):
            half = wrong(target, (40,), "half a character", field, field.way, '"\\ud800"', "invalid_encoding")
            yield half._replace(status=400, codes=("invalid_encoding",))
        if large and free_text(field) and field.kind.max_length:
            yield wrong(target, (45,), "a megabyte", field, field.way, quoted("x" * 1_000_000), "too_long")
            large = False
        if listed(field) and field.value and not in_items(field):
            way = (*field.way, 0)
            yield wrong(target, (55,), "null in a list", field, way, "null", "wrong_type")


def in_items(field: Field) -> bool:
    """Whether a list's items are looked at one by one, or may be null."""
    kind = field.kind.item_type
    return isinstance(kind, inspect.UnionType) or "shape" in (getattr(kind, "extra", None) or {})


def wrong(
    target: Target, kinds: tuple[int, ...], what: str, field: Field, way: Way, token: str | None, code: str
) -> Bad:
    """The good body with another JSON text at `way`, refused for that place."""
    content = placed(target.body, way, None if token is None else token.encode())
    at, in_item = pointer(way[field.item :]), bool(field.item)
    return Bad(
        kinds, f"{at} {what}", target.request(content), 422, ("invalid_body",), at, code, in_item=in_item
    )


# --- objects --------------------------------------------------------------------------------------------------------

# What nobody sets from outside, and names that mean something to programs.
MASS = ("balance", "program_id", "role", "tier", "created_at", "verified")
STRANGE = ("__proto__", "$where", "", "a/b~c")


def wrong_objects(target: Target) -> Iterator[Bad]:
    for field in target.fields():
        if mapping(field) and field.value:
            value = json.dumps(next(iter(field.value.values())))
            for key in ("", "__proto__", "$where", "Ä"):
                yield wrong(target, (52,), "a key", field, (*field.way, key), value, "invalid_format")
        if not object_(field):
            continue
        known = [one.encode_name for one in field.kind.fields]
        for key in (*MASS, *STRANGE) if not field.way else MASS[:1]:
            if key not in known:
                yield wrong(target, (69,), "unknown", field, (*field.way, key), "1", "unknown_field")
        for key in known[:1]:
            yield wrong(target, (70,), "in capitals", field, (*field.way, key.upper()), "1", "unknown_field")
            for mark in ("\u200b", "\ufeff"):
                way = (*field.way, mark + key)
                yield wrong(target, (70,), "with a mark", field, way, "1", "invalid_characters")
        for one in field.kind.fields:
            if one.required:
                yield wrong(target, (), "missing", field, (*field.way, one.encode_name), None, "required")
        if field.kind.tag and field.way:
            way = (*field.way, field.kind.tag_field)
            yield wrong(target, (124,), "of no kind", field, way, '"nonsense"', "unknown_value")


CONTRADICTIONS: list[tuple[tuple[int, ...], type, Callable[[JSON], JSON], str, str]] = [
    ((2, 16), wire.AdjustmentBody, lambda _: {"points": 0}, "/points", "out_of_range"),
    ((19,), wire.PurchaseBody, lambda _: {"tenders": [{"type": "card", "amount_minor": 1}]}, "/tenders",
     "total_mismatch"),
    ((20,), wire.PurchaseBody, lambda b: {"lines": [b["lines"][0] | {"tax_minor": 6}]}, "/lines/0/tax_minor",
     "out_of_range"),
    ((24,), wire.LineBody, lambda _: {"money": "USD"}, "/money", "unknown_field"),
    ((35,), wire.ImportLotBody, lambda _: {"expires_at": "2026-01-01T00:00:00Z"}, "/expires_at",
     "contradictory_range"),
    ((53,), wire.ProfileBody, lambda _: {"locale": "xx-INVALID"}, "/locale", "invalid_format"),
    ((53,), wire.ProfileBody, lambda _: {"locale": "x" * 200}, "/locale", "invalid_format"),
    ((54,), wire.PurchaseBody, lambda b: {"lines": b["lines"] * 2, "tenders": []}, "/lines/1/line_id",
     "duplicate_line_id"),
    ((54,), wire.ReturnBody, lambda b: {"lines": b["lines"][:1] * 2}, "/lines/1/line_id", "duplicate_line_id"),
    ((54,), wire.PurchaseBody, lambda b: {"holds": b["holds"] * 2}, "/holds/1/id", "duplicate"),
    ((56,), wire.PurchaseBody, lambda b: {"lines": [{}] * 10_001}, "/lines", "too_many_items"),
    ((14,), wire.MemberName, lambda _: {"phone": "+43664", "email": "a@example.com"}, "", "choose_one"),
    ((14,), wire.HoldBody, lambda _: {"reward": "mug"}, "", "choose_one"),
    ((14,), wire.RedemptionBody, lambda _: {"points": 5, "points_currency": "points"}, "", "choose_one"),
    ((14,), wire.StockBody, lambda _: {"add": 5}, "", "choose_one"),
    ((14,), wire.ChangeMemberBody, lambda _: {"profile": None}, "/profile", "required"),
]  # fmt: skip


def contradictions(target: Target) -> Iterator[Bad]:
    """Fields that are fine each by itself."""
    for field in target.fields():
        for kinds, shape, change, at, code in CONTRADICTIONS:
            if object_(field) and issubclass(field.kind.cls, shape):
                changed = json.dumps(field.value | change(field.value))
                one = wrong(target, kinds, code, field, field.way, changed, code)
                yield one._replace(at=f"{one.at}{at}")


# --- heads ----------------------------------------------------------------------------------------------------------

MEDIA = (
    "text/plain", "application/xml", "application/jsonp", "application/x-www-form-urlencoded", "", "*/*",
    "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/json; charset=latin-42",
    "application/json;x=y", "text/csv; charset=utf-16",
)  # fmt: skip
CODINGS = ("gzip", "br", "zstd", "deflate", "gzip, gzip", "what")
CHUNK = b"20000\r\n" + b" " * 0x20000 + b"\r\n"


def wrong_heads(target: Target) -> Iterator[Bad]:
    endpoint = target.endpoint
    accept = {"POST": "accept-post", "PATCH": "accept-patch"}.get(endpoint.method)
    unsupported = Bad((71, 72, 87), "", b"", 415, ("unsupported_media_type",), header=accept)
    content = target.content if target.content != b"{}" else b'{"x":1}'
    for media in MEDIA:
        request = target.request(content, head=[f"Content-Type: {media}"], without=["Content-Type"])
        yield unsupported._replace(what=f"media type {media!r}", request=request)
    request = target.request(content, without=["Content-Type"])
    yield unsupported._replace(what="no media type", request=request)
    for coding in CODINGS:
        request = target.request(content, head=[f"Content-Encoding: {coding}"])
        yield unsupported._replace(kinds=(73,), what=f"coded as {coding}", request=request)
    limit = 4 << 20 if endpoint.csv else 1 << 20
    large = Bad((74,), "", b"", 413, ("body_too_large",))
    for length in (limit + 1, 10**14):
        request = target.request(b"", head=[f"Content-Length: {length}"], without=["Content-Length"])
        yield large._replace(what=f"{length} bytes declared", request=request)
    if not endpoint.csv:
        head = target.request(b"", head=["Transfer-Encoding: chunked"], without=["Content-Length"])
        yield large._replace(what="too much in chunks", request=head + CHUNK * 9)
    twice = Bad((101,), "two credentials", b"", 400, ("malformed_request",))
    yield twice._replace(request=target.request(head=["Authorization: Bearer x"]))
    if endpoint.keyed:
        missing = target.request(without=["Idempotency-Key"])
        yield Bad((84,), "no key", missing, 400, ("idempotency_key_missing",))
        for key in ("", "k" * 256, "Schlüssel", "a\tb"):
            request = target.request(head=[f"Idempotency-Key: {key}"], without=["Idempotency-Key"])
            yield Bad((84,), f"key {key[:10]!r}", request, 400, ("idempotency_key_invalid",))
        request = target.request(head=["Idempotency-Key: a"])
        yield Bad((84,), "two keys", request, 400, ("malformed_request",))
    if "If-Match" in endpoint.takes:
        for tag in ("7", 'W/"7"', '"x"', '"1", "2"', ""):
            request = target.request(head=[f"If-Match: {tag}"])
            yield Bad((83,), f"If-Match {tag}", request, 400, ("malformed_request",))


# --- addresses and queries ------------------------------------------------------------------------------------------

NOT_THERE = ("not_found", "member_not_found", "route_not_found")
ODD = (
    "1_000", "%D9%A1", "..", "..%2F..%2Fadmin", "%252e", "%00", "a%00b", "%FF", "a%5Cb", "%0d%0a",
    f"{SOMEBODY};x=1", f"{SOMEBODY}.", f"{SOMEBODY}%20", f"{SOMEBODY}%2F",
)  # fmt: skip
ODD_PARTS: dict[Any, tuple[str, ...]] = {
    UUID: (*ODD, SHOUTED, f"{{{SOMEBODY}}}", SOMEBODY.replace("-", ""), "1", "9" * 30),
    MemberRef: (
        *ODD,
        SHOUTED,
        SOMEBODY.replace("-", ""),
        "identifier:",
        "identifier:pin:1",
        "card:1",
    ),
    int: (*ODD, "9" * 30, "01", "-1", "%2B1", "1.0", "1e3", "0x1"),
    str: (*ODD, "Mug", "x" * 65, "a.b"),
}


def wrong_addresses(target: Target) -> Iterator[Bad]:
    for name, kind in target.endpoint.parts.items():
        for odd in ODD_PARTS[kind]:
            path = path_of(target.endpoint, **{name: odd})
            yield Bad((39, 48, 49, 50), f"{name} {odd[:40]}", target.request(path=path), 404, NOT_THERE)
    for path in (f"{path_of(target.endpoint)}/", f"/{path_of(target.endpoint)}"):
        yield Bad((48, 49), path, target.request(path=path), 404, NOT_THERE)


UNKNOWN = [
    ((86, 91), "filtre", "filtre=x"),
    ((90,), "sort", "sort=id;drop"),
    ((90,), "sort", "sort=(select%20password_hash)"),
    ((92,), "offset", "offset=4611686018427387904"),
    ((93,), "expand", "expand=member.member.member"),
    ((93,), "fields", "fields=name"),
    ((101,), "access_token", "access_token=x"),
    ((86,), "", "&"),
]
INSTANTS = ("2026-01-01", "1767225600", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00", "tomorrow", "")


def good_value(kind: inspect.Type) -> str:
    """The plainest text that a parameter of this kind takes."""
    match kind:
        case inspect.IntType():
            return str(kind.ge)
        case inspect.DateTimeType():
            return "2026-01-01T00:00:00Z"
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.VarTupleType(item_type=inspect.EnumType(cls=cls)):
            return next(iter(cls)).value
        case inspect.UUIDType():
            return SOMEBODY
        case _:
            return "x" * max(1, getattr(kind, "min_length", None) or 1)


def wrong_texts(kind: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    """Kinds and texts that no parameter of this kind takes."""
    yield from (((39, 88), one) for one in ("%FF", "1%00", "x" * 1_025))
    match kind:
        case inspect.IntType():
            assert kind.ge is not None and kind.le is not None
            near = (str(kind.ge - 1), str(kind.le + 1))
            odd = ("9" * 25, "abc", "1.0", "1e2", "+1", "%2B1", "01", "%D9%A1", "", "1_0")
            yield from (((88,), one) for one in (*near, *odd))
        case inspect.DateTimeType():
            yield from (((26, 27, 29), one) for one in INSTANTS)
            yield (38,), "2026-01-01T00:00:00+02:00"  # the + means a blank
        case inspect.EnumType():
            yield from (((91,), one) for one in ("nonsense", "", next(iter(kind.cls)).value.upper()))
        case inspect.VarTupleType():
            good = good_value(kind)
            yield from (((91, 93), one) for one in ("nonsense", f"{good},{good}", f"{good}.{good}", ","))
        case inspect.UUIDType():
            yield from (((48,), one) for one in ("77", "", f"{SOMEBODY}."))
        case _:
            if kind.min_length:
                yield (45,), ""
            if kind.max_length and kind.max_length < 1_025:
                yield (45,), "x" * (kind.max_length + 1)


def wrong_queries(target: Target) -> Iterator[Bad]:
    endpoint = target.endpoint
    for kinds, name, query in UNKNOWN:
        if name not in endpoint.parameters:
            request = target.request(query=f"{query}&{target.query}")
            yield Bad(kinds, query, request, 400, ("unknown_parameter",), name)
    for parameter in endpoint.parameters.values():
        name, good = parameter.name, good_value(parameter.kind)
        twice = Bad((85,), "", b"", 400, ("duplicate_parameter",), name)
        for again in (name, f"%{ord(name[0]):02X}{name[1:]}"):
            query = f"{name}={good}&{again}={good}"
            yield twice._replace(what=query, request=target.request(query=query))
        wrong = Bad((), "", b"", 400, ("invalid_parameter",), name)
        for kinds, odd in wrong_texts(parameter.kind):
            request = target.request(query=f"{name}={odd}&{target.query}".strip("&"))
            yield wrong._replace(kinds=kinds, what=f"{name}={odd[:40]}", request=request)
        if parameter.required:
            yield wrong._replace(what=f"no {name}", request=target.request(query=""), at=None)
        if name == "cursor" and not endpoint.parts:
            for odd in ("x", "%F0%9F%A6%8A", "A" * 1_000, "AAAA=", "%2E%2E%2F"):
                request = target.request(query=f"{name}={odd}&{target.query}".strip("&"))
                yield Bad((89,), f"cursor {odd[:10]}", request, 400, ("invalid_cursor",))


def wrong_methods(endpoints: Iterable[Endpoint]) -> Iterator[tuple[str, str, set[str]]]:
    """Method and address that do not go together, and the methods that do."""
    served: dict[str, set[str]] = {}
    for one in endpoints:
        methods = served.setdefault(path_of(one), {"OPTIONS"})
        methods |= {"GET", "HEAD"} if one.method == "GET" else {one.method}
    for path, methods in served.items():
        for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods):
            yield method, path, methods
