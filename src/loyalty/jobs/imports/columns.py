"""What the columns of each kind of file mean: a header is judged as a whole, then each row becomes a command.

Pure. Every fault of a row names its column and never repeats what stands there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from loyalty.base.calendar import INSTANT_MAX, INSTANT_MIN, local_date, midnight
from loyalty.base.errors import Fault
from loyalty.base.forms import CODES
from loyalty.base.text import TextFault
from loyalty.jobs.imports.types import FileWrong, ImportKind
from loyalty.ledger.types import POINTS_MAX
from loyalty.members.identifiers import normalise
from loyalty.members.profile import normalise_profile
from loyalty.members.types import Identifier, IdentifierInvalid, IdentifierKind, Profile, ProfileInvalid
from loyalty.posting.commands import Command, ImportLot, ImportMember, ImportStanding, MemberRef

T = TypeVar("T")

COLUMNS_MAX = 100
FIELD_MAX = 10_000  # characters
NAME_SHOWN = 40  # characters

IDENTIFIERS = {
    "external_id": IdentifierKind.EXTERNAL,
    "card": IdentifierKind.CARD,
    "phone": IdentifierKind.PHONE,
    "email": IdentifierKind.EMAIL,
}
MEMBER = {f"member_{column}": kind for column, kind in IDENTIFIERS.items()}
_MEMBER_COLUMNS = frozenset({*MEMBER, "member_id"})
_ATTRIBUTE = re.compile(r"attributes\.([a-z][a-z0-9_]{0,63})")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
ROW_ID = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class _Form(msgspec.Struct, frozen=True):
    """The columns of a kind: those that must be there, those of which one must be, those that may be."""

    needed: frozenset[str]
    one_of: frozenset[str]
    others: frozenset[str]


_FORMS = {
    ImportKind.MEMBERS: _Form(
        frozenset(), frozenset(IDENTIFIERS), frozenset({"name", "locale", "birthday_on", "enrolled_at"})
    ),
    ImportKind.LOTS: _Form(
        frozenset({"external_id", "points_currency", "points", "issued_at"}),
        _MEMBER_COLUMNS,
        frozenset({"activates_at", "expires_at", "last_day_on"}),
    ),
    ImportKind.STANDINGS: _Form(
        frozenset({"tier_set", "tier", "since"}), _MEMBER_COLUMNS, frozenset({"until", "last_day_on"})
    ),
}


class Setting(msgspec.Struct, frozen=True):
    """What a row is read by, beside its own words."""

    source: str
    zone: ZoneInfo  # of days
    region: str  # of phone numbers without prefix
    now: datetime


class RowInvalid(Exception):
    """A row that is no command. `faults` have the name of their column, or nothing, as pointer."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("row_invalid")
        self.faults = faults


def columns_of(kind: ImportKind, header: Sequence[str]) -> tuple[str, ...]:
    """The names of a file's columns, in any order. Raises: FileWrong.

    It tells the names that are not known where others are: a line of which none is known may be a person's.
    """
    names = tuple(name.strip() for name in header)
    form = _FORMS[kind]
    known = form.needed | form.one_of | form.others
    wrong: list[str] = []
    if len(names) > COLUMNS_MAX:
        raise FileWrong(f"There are {len(names)} columns; at most {COLUMNS_MAX} are read.")
    for place, name in enumerate(names, 1):
        attribute = kind is ImportKind.MEMBERS and _ATTRIBUTE.fullmatch(name)
        if name not in known and not attribute:
            shown = f", {name[:NAME_SHOWN]!a}," if known.intersection(names) else ""
            wrong.append(f"Column {place}{shown} has a name that is not known.")
        elif name in names[: place - 1]:
            wrong.append(f"Column {place}, {name}, stands there twice.")
    wrong += [f"The column {name} is missing." for name in sorted(form.needed.difference(names))]
    if form.one_of.isdisjoint(names):
        wrong.append(f"One of these columns is needed: {', '.join(sorted(form.one_of))}.")
    if wrong:
        names_known = ", ".join(sorted(known))
        more = ", attributes.NAME" * (kind is ImportKind.MEMBERS)
        raise FileWrong(" ".join([*wrong[:10], f"Known, separated by commas: {names_known}{more}."]))
    return names


def command_of(kind: ImportKind, columns: Sequence[str], fields: Sequence[str], setting: Setting) -> Command:
    """What a row asks for. Raises: RowInvalid with every fault."""
    if len(fields) != len(columns):
        detail = f"The row has {len(fields)} fields; the header has {len(columns)}."
        raise RowInvalid([Fault("", "wrong_field_count", detail)])
    if tuple(field.strip() for field in fields) == tuple(columns):  # files were put one behind the other
        raise RowInvalid([Fault("", "header_again", CODES["header_again"])])
    cells = _Cells(dict(zip(columns, fields, strict=True)))
    match kind:
        case ImportKind.MEMBERS:
            command = _member(cells, setting)
        case ImportKind.LOTS:
            command = _lot(cells, setting)
        case ImportKind.STANDINGS:
            command = _standing(cells, setting)
    if cells.faults or command is None:
        raise RowInvalid(cells.faults)
    return command


class _Cells:
    """The fields of one row by column, and the faults that were found on the way."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = {column: value.strip() for column, value in values.items()}
        self.faults = [
            Fault(column, "too_long", f"At most {FIELD_MAX:,} characters are read.")
            for column, value in values.items()
            if len(value) > FIELD_MAX
        ]
        for fault in self.faults:
            self.values[fault.pointer] = ""

    def fault(self, column: str, code: str, detail: str | None = None) -> None:
        self.faults.append(Fault(column, code, detail or CODES[code]))

    def take(self, column: str, parse: Callable[[str], T]) -> T | None:
        """The value of a field; None where nothing stands there, or what is wrong."""
        raw = self.values.get(column)
        if not raw:
            return None
        try:
            return parse(raw)
        except TextFault as fault:
            self.fault(column, fault.code, fault.detail)
        except IdentifierInvalid as invalid:
            self.fault(column, invalid.faults[0].code, invalid.faults[0].detail)
        return None

    def need(self, column: str, parse: Callable[[str], T]) -> T | None:
        if not self.values.get(column) and not any(fault.pointer == column for fault in self.faults):
            self.fault(column, "required", "Nothing stands here.")
        return self.take(column, parse)

    def end(self, column: str, zone: ZoneInfo) -> datetime | None:
        """An end, as an instant or as the last day that is good."""
        at, on = self.take(column, _instant(zone)), self.take("last_day_on", _day)
        if at is not None and on is not None:
            self.fault("last_day_on", "choose_one", f"Give {column} or last_day_on.")
        return at if on is None else midnight(on + timedelta(days=1), zone)

    def member(self, region: str) -> MemberRef | None:
        given = [column for column in self.values if column in _MEMBER_COLUMNS and self.values[column]]
        if len(given) != 1:
            if not self.faults:
                self.fault("", "choose_one", "The member is named by exactly one of its columns.")
            return None
        column = given[0]
        if column == "member_id":
            id = self.take(column, _uuid)
            return None if id is None else MemberRef(id=id)
        identifier = self.take(column, _identifier(MEMBER[column], region))
        return None if identifier is None else MemberRef(identifier=identifier)


def _member(cells: _Cells, setting: Setting) -> ImportMember | None:
    identifiers = [
        found
        for column, kind in IDENTIFIERS.items()
        if (found := cells.take(column, _identifier(kind, setting.region))) is not None
    ]
    enrolled_at = cells.take("enrolled_at", _instant(setting.zone))
    values = cells.values
    profile = Profile(
        values.get("name") or None,
        values.get("locale") or None,
        cells.take("birthday_on", _day),
        {found[1]: values[name] for name in values if (found := _ATTRIBUTE.fullmatch(name)) and values[name]},
    )
    try:
        profile = normalise_profile(profile, local_date(setting.now, setting.zone))
    except ProfileInvalid as invalid:
        for fault in invalid.faults:
            cells.fault(fault.pointer[1:].replace("/", "."), fault.code, fault.detail)
    if not identifiers and not cells.faults:
        cells.fault("", "required", f"One of these must be given: {', '.join(IDENTIFIERS)}.")
    return ImportMember(tuple(identifiers), profile, setting.source, enrolled_at)


def _lot(cells: _Cells, setting: Setting) -> ImportLot | None:
    instant = _instant(setting.zone)
    member = cells.member(setting.region)
    row_id = cells.need("external_id", _row_id)
    currency = cells.need("points_currency", _word)
    points = cells.need("points", _points)
    issued_at = cells.need("issued_at", instant)
    activates_at = cells.take("activates_at", instant)
    expires_at = cells.end("expires_at", setting.zone)
    if member is None or row_id is None or currency is None or points is None or issued_at is None:
        return None
    return ImportLot(
        member, currency, points, setting.source, row_id, issued_at, activates_at, expires_at
    )  # fmt: skip


def _standing(cells: _Cells, setting: Setting) -> ImportStanding | None:
    member = cells.member(setting.region)
    tier_set, tier = cells.need("tier_set", _word), cells.need("tier", _word)
    since = cells.need("since", _instant(setting.zone))
    until = cells.end("until", setting.zone)
    if until is not None and since is not None and until <= since:
        column = "until" if cells.values.get("until") else "last_day_on"
        cells.fault(column, "contradictory_range", "The tier would end before it began.")
    if member is None or tier_set is None or tier is None or since is None:
        return None
    return ImportStanding(member, tier_set, tier, since, until)


# --- fields -------------------------------------------------------------------------------------------------


def _identifier(kind: IdentifierKind, region: str) -> Callable[[str], Identifier]:
    return lambda raw: normalise(kind, raw, region)


def _instant(zone: ZoneInfo) -> Callable[[str], datetime]:
    """An instant with its offset, or a day: its beginning in the program's zone."""

    def parse(raw: str) -> datetime:
        try:
            instant = midnight(_day(raw), zone) if _DAY.fullmatch(raw) else msgspec.convert(raw, datetime)
        except msgspec.ValidationError:
            raise _wrong("invalid_datetime") from None
        if instant.tzinfo is None:
            raise _wrong("offset_required")
        if not INSTANT_MIN <= instant < INSTANT_MAX:
            raise _wrong("out_of_range", "The instant must lie in the years 1970 to 2199.")
        return instant.astimezone(UTC)

    return parse


def _day(raw: str) -> date:
    try:
        on = date.fromisoformat(raw) if _DAY.fullmatch(raw) else None
    except ValueError:
        raise _wrong("no_such_day") from None
    if on is None:
        raise _wrong("invalid_date")
    if not 1900 <= on.year < 2199:
        raise _wrong("out_of_range", "The day must lie in the years 1900 to 2198.")
    return on


def _points(raw: str) -> int:
    if re.fullmatch(r"[+-]?\d+[.,]\d*", raw, re.ASCII):
        raise _wrong("not_integer")
    if not re.fullmatch(r"[+-]?\d+", raw, re.ASCII):
        raise _wrong("not_a_number", "Expected a whole number in the digits 0 to 9.")
    if len(raw) > 17 or not 1 <= int(raw) <= POINTS_MAX:
        raise _wrong("out_of_range", f"Points go from 1 to {POINTS_MAX:,}.")
    return int(raw)


def _word(raw: str) -> str:
    if not _WORD.fullmatch(raw):
        raise _wrong("invalid_format")
    return raw


def _row_id(raw: str) -> str:
    if not ROW_ID.fullmatch(raw):
        raise _wrong("invalid_characters", "Printable ASCII only, at most 128 characters.")
    return raw


def _uuid(raw: str) -> UUID:
    try:
        return msgspec.convert(raw, UUID)
    except msgspec.ValidationError:
        raise _wrong("invalid_id") from None


def _wrong(code: str, detail: str | None = None) -> TextFault:
    return TextFault(code, detail or CODES[code])
