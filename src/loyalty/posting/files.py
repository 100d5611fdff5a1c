"""A program as a file for people: TOML with its kind, settings, points currencies, rules, rewards and tier sets.

The words are those of the API. What differs: conditions that must all hold may stand one below the other as
`[[rules.when]]`, and a limit that is switched off is written "off". docs/rules.md#files shows a whole file.
"""

import re
import tomllib
from collections.abc import Iterable
from datetime import date, time
from enum import Enum
from typing import Any, TypeVar, cast

import msgspec

from loyalty.base.errors import Fault
from loyalty.base.forms import faults_of
from loyalty.conditions.types import AllOf
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import (
    ConfigurationInvalid,
    PointsCurrency,
    Policies,
    ProgramKind,
)
from loyalty.rewards.types import Reward
from loyalty.rules.types import Lines, Rule
from loyalty.tiers.types import TierSet

_COLUMNS = 110
T = TypeVar("T")
_OFF = "off"

# --- reading ------------------------------------------------------------------------------------------


class _Program(msgspec.Struct, forbid_unknown_fields=True):
    """The table `[program]`: the kind, and the settings that are not lists."""

    kind: ProgramKind
    name: str
    zone: str
    money: str
    policies: Policies = Policies()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    program: _Program
    points_currencies: tuple[PointsCurrency, ...]
    excluded: Lines | None = None
    rules: tuple[Rule, ...] = ()
    rewards: tuple[Reward, ...] = ()
    tier_sets: tuple[TierSet, ...] = ()


def load(text: str) -> tuple[ProgramKind, Configuration]:
    """The program that a file describes.

    Only the form is looked at; whether it can be published, posting/validate.py says.
    Raises: ConfigurationInvalid with every fault, its line and its place as a JSON pointer.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(faults=(Fault("", "malformed", f"This is not TOML: {error}."),)) from None
    file = _formed(_File, _in_api_words(document), text)
    program = file.program
    whole = {
        "settings": {
            "name": program.name,
            "zone": program.zone,
            "money": program.money,
            "points_currencies": file.points_currencies,
            "policies": program.policies,
        },
        "ruleset": {"rules": file.rules, "excluded": file.excluded},
        "rewards": file.rewards,
        "tier_sets": file.tier_sets,
    }
    return program.kind, _formed(Configuration, whole, text)


def _formed(shape: type[T], value: Any, text: str) -> T:
    """`value` as a `shape`. Raises: ConfigurationInvalid with every fault and its place in the file."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        found = faults_of(shape, msgspec.to_builtins(value))  # dates as JSON writes them
        raise ConfigurationInvalid(faults=in_file(text, found)) from None


def _in_api_words(document: dict[str, Any]) -> dict[str, Any]:
    """The document with "off" as no limit and lists of conditions as `all`."""
    policies = _table(_table(document.get("program")).get("policies"))
    if policies.get("late_days_max") == _OFF:
        policies["late_days_max"] = None
    for name in ("rules", "rewards"):
        found: Any = document.get(name)
        for one in map(_table, cast("list[Any]", found) if isinstance(found, list) else []):
            if isinstance(one.get("when"), list):
                one["when"] = {"kind": "all", "of": one["when"]}
    return document


def _table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def in_file(text: str, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """The same faults, told by their place in a file: pointers as the file is laid out, and the line."""
    lines = _lines(text)
    placed: list[Fault] = []
    for fault in faults:
        pointer = re.sub(r"^/settings/points_currencies", "/points_currencies", fault.pointer)
        pointer = re.sub(r"^/settings", "/program", pointer)
        pointer = re.sub(r"^/ruleset", "", pointer)
        if (rule := re.match(r"(/(?:rules|rewards)/\d+/when)/of(/.*)", pointer)) and f"{rule[1]}/0" in lines:
            pointer = rule[1] + rule[2]
        line = max(((len(place), number) for place, number in lines.items() if _within(pointer, place)))[1]
        placed.append(Fault(pointer, fault.code, f"{fault.detail} (line {line})" if line else fault.detail))
    return tuple(placed)


def _within(pointer: str, place: str) -> bool:
    return pointer == place or pointer.startswith(f"{place}/") or not place


def _lines(text: str) -> dict[str, int]:
    """Where each table and key begins, by its JSON pointer; a file written on one line names only what it can."""
    found = {"": 0}
    times: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\-\s]+?)\s*\]", line):
            table = ""
            names = [name.strip() for name in header[2].split(".")]
            for depth, name in enumerate(names, 1):
                table = f"{table}/{name}"
                if depth == len(names) and header[1] == "[[":
                    times[table] = times.get(table, -1) + 1
                if table in times:
                    table = f"{table}/{times[table]}"
            found.setdefault(table, number)
        elif key := re.match(r"\s*([\w\-]+(?:\s*\.\s*[\w\-]+)*)\s*=", line):
            found.setdefault(f"{table}/{re.sub(r'[ .]+', '/', key[1])}", number)
    return found


# --- writing ------------------------------------------------------------------------------------------


def dump(kind: ProgramKind, configuration: Configuration) -> str:
    """A file from which `load` reads the same program; what has its default is left out.

    So is the ruleset's version: the next publication gives it another.
    """
    settings, ruleset = _plain(configuration.settings), configuration.ruleset
    program = {"kind": kind.value} | settings
    currencies, policies = program.pop("points_currencies"), program.pop("policies", {})
    blocks = [["[program]", *_pairs(program)]]
    tables = {name: policies.pop(name) for name, value in list(policies.items()) if isinstance(value, dict)}
    if policies:
        blocks.append(["[program.policies]", *_pairs(policies)])
    blocks += [[f"[program.policies.{name}]", *_pairs(table)] for name, table in tables.items()]
    blocks += [["[[points_currencies]]", *_pairs(currency)] for currency in currencies]
    if ruleset.excluded is not None:
        blocks.append(["[excluded]", *_pairs(_plain(ruleset.excluded))])
    for rule in ruleset.rules:
        blocks += _tables("rules", rule)
    for reward in configuration.rewards:
        blocks += _tables("rewards", reward)
    for ladder in configuration.tier_sets:
        plain = _plain(ladder)
        tiers = plain.pop("tiers")
        blocks.append(["[[tier_sets]]", *_pairs(plain)])
        blocks += [["[[tier_sets.tiers]]", *_pairs(tier)] for tier in tiers]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _tables(name_of: str, one: Rule | Reward) -> list[list[str]]:
    """A rule or reward as a table, and what it consists of as tables of their own when it is much or long."""
    plain = _plain(one)
    tables: list[list[str]] = []
    for name in ("gives", "when", "terms"):
        part = plain.get(name)
        if name == "when" and isinstance(one.when, AllOf) and one.when.of:
            tables += [[f"[[{name_of}.when]]", *_pairs(condition)] for condition in part["of"]]
        elif part is not None and len(f"{name} = {_value(part)}") > _COLUMNS:
            tables.append([f"[{name_of}.{name}]", *_pairs(part)])
        else:
            continue
        del plain[name]
    return [[f"[[{name_of}]]", *_pairs(plain)], *tables]


def _plain(value: Any) -> Any:
    """Structs as tables without what has its default; their tag first."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        table: dict[str, Any] = {config.tag_field: config.tag} if config.tag_field else {}
        for field in msgspec.structs.fields(value):
            one = getattr(value, field.name)
            default = field.default_factory() if callable(field.default_factory) else field.default
            if one is None and default is not None:
                table[field.name] = _OFF
            elif one != default:
                table[field.name] = _plain(one)
        return table
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in cast("tuple[Any, ...]", value)]
    return value


def _pairs(table: dict[str, Any]) -> list[str]:
    return [_pair(name, value) for name, value in table.items()]


def _pair(name: str, value: Any) -> str:
    """One key and its value, a long list with one item a line."""
    line = f"{name} = {_value(value)}"
    if isinstance(value, list) and len(line) > _COLUMNS:
        items = "".join(f"    {_value(item)},\n" for item in cast("list[Any]", value))
        return f"{name} = [\n{items}]"
    return line


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return _string(str(value.value))
        case int():
            return f"{value:_}" if abs(value) >= 10_000 else str(value)
        case str():
            return _string(value)
        case date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(_value(item) for item in cast('list[Any]', value))}]"
        case dict():
            pairs = ", ".join(
                f"{name} = {_value(one)}" for name, one in cast("dict[str, Any]", value).items()
            )
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(repr(value))


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
