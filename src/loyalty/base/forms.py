"""All faults of a body or a file at once: a value walked against the type it should have.

msgspec stops at its first fault; this is asked only when a value was refused, and then finds every one. A Struct
that knows more than its fields' types has a `check`; it is asked where everything inside it has the right form.
The codes stand in docs/api.md.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any, Protocol, cast, runtime_checkable
from uuid import UUID

import msgspec
from msgspec import inspect

from loyalty.base.calendar import INSTANT_MAX, INSTANT_MIN
from loyalty.base.errors import Fault

FAULTS_MAX = 100  # a body of ten thousand faults is told the first hundred

CODES: dict[str, str] = {
    "required": "The field is missing.",
    "reserved": "The books use the word for something of their own.",
    "unknown_field": "The object has no such field.",
    "wrong_type": "The value is of another kind than the field.",
    "not_integer": "The number is written with a fraction or an exponent; whole numbers only.",
    "not_a_number": "The text is not a plain decimal number.",
    "too_many_decimals": "The number has more decimals than can be kept.",
    "out_of_range": "The value is smaller or larger than allowed.",
    "too_short": "The text is shorter than allowed.",
    "too_long": "The text is longer than allowed.",
    "too_few_items": "The list is shorter than allowed.",
    "too_many_items": "The list is longer than allowed.",
    "invalid_format": "The text does not have the expected form.",
    "invalid_characters": "The text holds characters that cannot be shown.",
    "invalid_encoding": "The text is not UTF-8, or holds half of a character.",
    "unknown_value": "The value is none of those the field takes.",
    "unknown_currency": "There is no such money.",
    "unknown_time_zone": "There is no such time zone.",
    "invalid_datetime": "The text is not an instant such as 2026-05-04T17:31:09+02:00.",
    "offset_required": "The instant has no offset from UTC.",
    "invalid_date": "The text is not a date such as 2026-05-04.",
    "no_such_day": "There is no such day.",
    "invalid_time": "The text is not a clock time such as 17:31:00, without an offset.",
    "invalid_id": "The text is not a UUID.",
    "duplicate_key": "The key stands twice in one object.",
    "choose_one": "Exactly one of the alternatives must be given.",
    "nothing_to_do": "None of the fields that change something is given.",
    "duplicate_line_id": "Two lines have the same line_id.",
    "unknown_line": "The purchase has no such line.",
    "total_mismatch": "The parts do not add up to the whole.",
    "configuration_fixed": "Money, zone and points currencies of a program stay as they are.",
    "contradictory_range": "The end lies before the beginning, or the two exclude each other.",
    "unbound_role": "Keys of this role are not bound to locations.",
    # of names and identifiers
    "not_a_phone_number": "The text is no phone number of the program's country, nor one with a country's prefix.",
    "not_an_email": "The text is no address that mail can be sent to.",
    "invalid_locale": "The text is no locale such as de-AT.",
    "invalid_name": "The name of an attribute has small letters, digits and _ and begins with a letter.",
    "invalid_type": "The value of an attribute is a text, a whole number, true or false.",
    "too_many": "More of these than are kept.",
    # of imported files
    "digest_differs": "The bytes that came have another SHA-256 than was said.",
    "not_csv": "The row is not CSV: behind a closing quote comes the next comma or the end of the line.",
    "lone_cr": "A field without quotes holds a line break: a CR that no LF follows.",
    "unclosed_quote": "A quote that begins a field is not closed.",
    "header_again": "The row is the header once more.",
    "wrong_field_count": "The row has more or fewer fields than the header.",
    # of configurations
    "duplicate": "The same is named twice.",
    "duplicate_reward_id": "Two rewards have the same id.",
    "duplicate_rule_id": "Two rules have the same id.",
    "empty_list": "The list must name something.",
    "empty_window": "The window names no time, or none at all is inside it.",
    "excludes_everything": "Nothing could ever earn.",
    "invalid": "The value does not fit the file's form.",
    "malformed": "The file cannot be read.",
    "misplaced_condition": "The condition looks at what is not there: a basket for a reward, a member for a rule.",
    "multiplier_without_base": "There are no base points that the multiplier could multiply.",
    "nothing_to_judge": "The rule has no conditions that could be judged again.",
    "never_matches": "Nothing could ever fulfil the condition.",
    "not_qualifying": "The points currency counts towards no tier.",
    "says_nothing": "The terms say nothing.",
    "never_good": "The points would have ended before they become available.",
    "not_spendable": "The points currency cannot be spent.",
    "too_deep": "Conditions are nested too deeply.",
    "too_many_conditions": "The rule or reward has more conditions than are judged.",
    "unknown_points_currency": "The program has no such points currency.",
    "unknown_tier": "The tier set has no such tier.",
    "unknown_tier_set": "The program has no such tier set.",
    "unprintable_name": "The name cannot be printed on a receipt.",
    "window_backwards": "The window ends before it begins.",
    "worth_nothing": "The smallest payment would pay nothing.",
}

Form = Callable[[str], tuple[str, str] | None]
"""A form finer than a pattern, as `Meta(extra={"form": …})`: code and sentence of what is wrong, or None."""


@runtime_checkable
class Checked(Protocol):
    """A Struct whose fields must also fit each other; its check speaks for everything inside it."""

    def check(self, at: str) -> Iterable[Fault]:
        """Faults of this object, which stands at the pointer `at`."""
        ...


def faults_of(shape: Any, value: Any) -> list[Fault]:
    """Every fault of `value` as a `shape`, at most FAULTS_MAX; empty when it fits."""
    walk = _Walk()
    with suppress(_Enough):
        walk.visit(_described(shape), value, "")
    return [*walk.faults, *walk.misfits][:FAULTS_MAX]


def token(key: str) -> str:
    """A key as one step of a JSON pointer, cut where it is absurdly long, half characters replaced."""
    return key[:80].encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")


@lru_cache(1024)
def _described(shape: Any) -> inspect.Type:
    return inspect.type_info(shape)


class _Enough(Exception):
    pass


class _Walk:
    def __init__(self) -> None:
        self.faults: list[Fault] = []  # of form
        self.misfits: list[Fault] = []  # found by checks of objects without a fault of form

    def add(self, at: str, code: str, detail: str | None = None) -> None:
        self.faults.append(Fault(at, code, detail or CODES[code]))
        if len(self.faults) == FAULTS_MAX:
            raise _Enough

    def wrong(self, at: str, wanted: str, value: Any) -> None:
        found = next((word for known, word in _FOUND if isinstance(value, known)), "something else")
        self.add(at, "wrong_type", f"Expected {wanted}, found {found}.")

    def visit(self, kind: inspect.Type, value: Any, at: str, form: Form | None = None) -> None:
        match kind:
            case inspect.Metadata():
                extra = cast("dict[str, Any]", getattr(kind, "extra", None) or {})
                self.visit(kind.type, value, at, extra.get("form", form))
            case inspect.StructType():
                self.object(kind, value, at)
            case inspect.UnionType():
                self.union(kind, value, at, form)
            case inspect.StrType():
                self.text(kind, value, at, form)
            case inspect.IntType():
                self.whole(kind, value, at)
            case inspect.VarTupleType() | inspect.ListType():
                self.list(kind, value, at)
            case inspect.DictType():
                self.mapping(kind, value, at)
            case inspect.EnumType():
                self.word(tuple(member.value for member in kind.cls), value, at)
            case inspect.LiteralType():
                self.word(tuple(kind.values), value, at)
            case inspect.DateTimeType():
                self.instant(value, at)
            case inspect.UUIDType():
                self.converted(UUID, "invalid_id", value, at)
            case inspect.DateType():
                self.converted(date, "invalid_date", value, at)
            case inspect.TimeType():
                self.converted(time, "invalid_time", value, at)
            case inspect.BoolType():
                if not isinstance(value, bool):
                    self.wrong(at, "true or false", value)
            case inspect.AnyType():
                pass
            case _:
                raise TypeError(f"a wire type may not use {kind!r}")

    def object(self, kind: inspect.StructType, value: Any, at: str) -> None:
        if not isinstance(value, dict):
            self.wrong(at, "an object", value)
            return
        given = cast("dict[str, Any]", value)
        faults, misfits = len(self.faults), len(self.misfits)
        known = {kind.tag_field}
        for field in kind.fields:
            known.add(field.encode_name)
            where = f"{at}/{token(field.encode_name)}"
            if field.encode_name in given:
                self.visit(field.type, given[field.encode_name], where)
            elif field.required:
                self.add(where, "required")
        if kind.forbid_unknown_fields:
            for name in given:
                if name not in known:
                    self.add(f"{at}/{token(name)}", "unknown_field")
        if len(self.faults) == faults and issubclass(kind.cls, Checked):
            del self.misfits[misfits:]  # this check speaks for the objects inside too
            self.misfits.extend(cast("Checked", msgspec.convert(value, kind.cls)).check(at))

    def union(self, kind: inspect.UnionType, value: Any, at: str, form: Form | None) -> None:
        choices = [choice for choice in kind.types if not isinstance(choice, inspect.NoneType)]
        if value is None and len(choices) < len(kind.types):
            return
        structs = [choice for choice in choices if isinstance(choice, inspect.StructType)]
        if len(structs) > 1:
            self.tagged(structs, value, at)
            return
        fitting = [choice for choice in choices if _written_as(choice)[1](value)]
        if len(choices) == 1 or fitting:
            self.visit((fitting or choices)[0], value, at, form)
        else:
            self.wrong(at, " or ".join(sorted({_written_as(choice)[0] for choice in choices})), value)

    def tagged(self, structs: list[inspect.StructType], value: Any, at: str) -> None:
        field = structs[0].tag_field
        assert field is not None, "a union of objects needs a tag"
        if not isinstance(value, dict):
            self.wrong(at, "an object", value)
            return
        given, by_tag = cast("dict[str, Any]", value), {struct.tag: struct for struct in structs}
        tag = given.get(field)
        if field not in given:
            self.add(f"{at}/{field}", "required")
        elif isinstance(tag, str) and tag in by_tag:
            self.object(by_tag[tag], given, at)
        else:
            self.word(tuple(by_tag), tag, f"{at}/{field}")

    def text(self, kind: inspect.StrType, value: Any, at: str, form: Form | None) -> None:
        if not isinstance(value, str):
            self.wrong(at, "text", value)
        elif kind.min_length is not None and len(value) < kind.min_length:
            self.add(at, "too_short", f"The text has {len(value)} characters; at least {kind.min_length}.")
        elif kind.max_length is not None and len(value) > kind.max_length:
            self.add(at, "too_long", f"The text has {len(value)} characters; at most {kind.max_length}.")
        elif form is not None and (told := form(value)):
            self.add(at, *told)
        elif kind.pattern is not None and not re.search(kind.pattern, value):
            self.add(at, "invalid_format", f"The text must match the pattern {kind.pattern}")

    def whole(self, kind: inspect.IntType, value: Any, at: str) -> None:
        if isinstance(value, float):
            self.add(at, "not_integer")
        elif not isinstance(value, int) or isinstance(value, bool):
            self.wrong(at, "a whole number", value)
        elif (kind.ge is not None and value < kind.ge) or (kind.le is not None and value > kind.le):
            low = "" if kind.ge is None else f"at least {kind.ge:,}"
            high = "" if kind.le is None else f"at most {kind.le:,}"
            self.add(at, "out_of_range", f"The number must be {' and '.join(filter(None, (low, high)))}.")

    def list(self, kind: inspect.VarTupleType | inspect.ListType, value: Any, at: str) -> None:
        if not isinstance(value, list):
            self.wrong(at, "a list", value)
            return
        items = cast("list[Any]", value)
        if kind.min_length is not None and len(items) < kind.min_length:
            self.add(at, "too_few_items", f"The list has {len(items)} items; at least {kind.min_length}.")
        if kind.max_length is not None and len(items) > kind.max_length:
            self.add(at, "too_many_items", f"The list has {len(items)} items; at most {kind.max_length}.")
            return
        for index, item in enumerate(items):
            self.visit(kind.item_type, item, f"{at}/{index}")

    def mapping(self, kind: inspect.DictType, value: Any, at: str) -> None:
        if not isinstance(value, dict):
            self.wrong(at, "an object", value)
            return
        items = cast("dict[str, Any]", value)
        if kind.max_length is not None and len(items) > kind.max_length:
            self.add(at, "too_many_items", f"The object has {len(items)} keys; at most {kind.max_length}.")
            return
        for key, item in items.items():
            where = f"{at}/{token(key)}"
            self.visit(kind.key_type, key, where)
            self.visit(kind.value_type, item, where)

    def word(self, words: tuple[Any, ...], value: Any, at: str) -> None:
        if not isinstance(value, str):
            self.wrong(at, "text", value)
        elif value not in words:
            self.add(at, "unknown_value", f"One of: {', '.join(map(str, words))}.")

    def instant(self, value: Any, at: str) -> None:
        if not isinstance(value, str):
            self.wrong(at, "text", value)
            return
        try:
            instant = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            self.add(at, "invalid_datetime")
            return
        if instant.tzinfo is None:
            self.add(at, "offset_required")
        elif not INSTANT_MIN <= instant < INSTANT_MAX:
            self.add(at, "out_of_range", "The instant must lie in the years 1970 to 2199.")

    def converted(self, kind: type[UUID | date | time], code: str, value: Any, at: str) -> None:
        if not isinstance(value, str):
            self.wrong(at, "text", value)
            return
        try:
            converted = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            self.add(at, code)
            return
        if isinstance(converted, time) and converted.tzinfo is not None:
            self.add(at, code)


def _written_as(kind: inspect.Type) -> tuple[str, Callable[[Any], bool]]:
    """What JSON value a type is written as: its name, and whether a value is one."""
    match kind:
        case inspect.Metadata():
            return _written_as(kind.type)
        case inspect.BoolType():
            return "true or false", lambda value: isinstance(value, bool)
        case inspect.IntType():
            return (
                "a whole number",
                lambda value: isinstance(value, int | float) and not isinstance(value, bool),
            )
        case inspect.StructType() | inspect.DictType():
            return "an object", lambda value: isinstance(value, dict)
        case inspect.VarTupleType() | inspect.ListType():
            return "a list", lambda value: isinstance(value, list)
        case _:
            return "text", lambda value: isinstance(value, str)


_FOUND: tuple[tuple[type, str], ...] = (
    (str, "text"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number with a fraction or an exponent"),
    (type(None), "null"),
    (list, "a list"),
    (dict, "an object"),
)
