"""Query strings, read as strictly as bodies: known parameters only, each once, in their plain form.

A call's parameters are one frozen Struct; what is wrong with an address is always 400, with the parameter's name.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec
from msgspec import inspect

from loyalty.base.calendar import INSTANT_MAX, INSTANT_MIN
from loyalty.base.text import TextFault, visible
from loyalty.web.types import DuplicateParameter, InvalidParameter, UnknownParameter

T = TypeVar("T", bound=msgspec.Struct)

VALUE_MAX = 1_024  # a cursor is the longest


class NoQuery(msgspec.Struct, frozen=True):
    """A call without query parameters."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its name on the wire and in the Struct, and how its text is read."""

    name: str
    field: str
    kind: inspect.Type
    required: bool


def parameters_of(shape: type[msgspec.Struct]) -> dict[str, Parameter]:
    """The parameters of a call, by their names on the wire."""
    described = inspect.type_info(shape)
    assert isinstance(described, inspect.StructType)
    return {
        field.encode_name: Parameter(field.encode_name, field.name, _single(field.type), field.required)
        for field in described.fields
    }


def read_query(shape: type[T], known: dict[str, Parameter], query: bytes) -> T:
    """The parameters that a query string gives.

    Raises: UnknownParameter, DuplicateParameter, InvalidParameter.
    """
    given: dict[str, Any] = {}
    if query:
        for part in query.split(b"&"):
            name, _, text = part.partition(b"=")
            parameter = known.get(_decoded(name, "name"))
            if parameter is None:
                raise UnknownParameter(parameter=_shown(name), allowed=sorted(known))
            if parameter.field in given:
                raise DuplicateParameter(parameter=parameter.name)
            given[parameter.field] = _value(parameter, _decoded(text, parameter.name))
    for parameter in known.values():
        if parameter.required and parameter.field not in given:
            raise InvalidParameter(f"The parameter {parameter.name} is needed.", parameter=parameter.name)
    return shape(**given)


def _single(kind: inspect.Type) -> inspect.Type:
    """The type of a parameter that is given."""
    while isinstance(kind, inspect.UnionType | inspect.Metadata):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            (kind,) = (choice for choice in kind.types if not isinstance(choice, inspect.NoneType))
    return kind


def _decoded(raw: bytes, name: str) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
        if len(text) > VALUE_MAX:
            raise InvalidParameter(f"A parameter has at most {VALUE_MAX} characters.", parameter=name)
        visible(text)
    except (UnicodeDecodeError, TextFault):
        raise InvalidParameter("The parameter is not readable text.", parameter=name) from None
    return text


def _value(parameter: Parameter, text: str) -> Any:
    kind, name = parameter.kind, parameter.name
    match kind:
        case inspect.IntType():
            return _whole(kind, text, name)
        case inspect.DateTimeType():
            return _instant(text, name)
        case inspect.UUIDType():
            try:
                return msgspec.convert(text, UUID)
            except msgspec.ValidationError:
                raise InvalidParameter(f"{name} must be an id.", parameter=name) from None
        case inspect.EnumType() if issubclass(kind.cls, StrEnum):
            words = [member.value for member in kind.cls]
            if text not in words:
                raise InvalidParameter(f"{name} must be one of: {', '.join(words)}.", parameter=name)
            return kind.cls(text)
        case inspect.VarTupleType(item_type=inspect.EnumType(cls=cls)):
            words, given = [member.value for member in cls], text.split(",")
            if len(set(given)) < len(given) or not set(given) <= set(words):
                raise InvalidParameter(
                    f"{name} must be some of: {', '.join(words)}; each once, separated by commas.",
                    parameter=name,
                )
            return tuple(map(cls, given))
        case inspect.StrType():
            least, most = kind.min_length or 0, kind.max_length or VALUE_MAX
            if not least <= len(text) <= most:
                raise InvalidParameter(f"{name} must have {least} to {most} characters.", parameter=name)
            return text
        case _:
            raise TypeError(f"no query parameter can be a {kind!r}")


def _whole(kind: inspect.IntType, text: str, name: str) -> int:
    low, high = kind.ge, kind.le
    assert low is not None and high is not None, f"{name} needs bounds"
    digits = text.removeprefix("-")
    plain = text.isascii() and digits.isdigit() and len(digits) <= 19 and str(int(text)) == text
    if plain and low <= int(text) <= high:
        return int(text)
    raise InvalidParameter(f"{name} must be a whole number from {low} to {high}.", parameter=name)


def _instant(text: str, name: str) -> datetime:
    try:
        instant = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        instant = None
    if instant is not None and instant.tzinfo is not None and INSTANT_MIN <= instant < INSTANT_MAX:
        return instant
    hint = " A + in an address means a blank: write %2B." if " " in text[10:] else ""
    raise InvalidParameter(
        f"{name} must be an instant with an offset, such as 2026-05-04T15:31:09Z.{hint}", parameter=name
    )


def _shown(raw: bytes) -> str:
    return raw[:80].decode("ascii", "replace")
