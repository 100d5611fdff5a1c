"""Reads somebody's own CSV or Parquet file by a mapping: first every fault, by column and row, then the receipts.

Everything is read as text and parsed exactly (decimals, never floats), in DuckDB, so that a file of any size is
checked without holding it in memory. Nothing is posted while one row is wrong.
"""

import csv
import difflib
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from loyalty.base.money import decimals
from loyalty.replay.mapping import Amount, Categories, Column, Csv, Mapping, Number, Time
from loyalty.replay.reading import Purchases, complaint, literal, workbench
from loyalty.replay.types import REPORTED_MAX, ReplayError

_PLAIN = (
    r"[+-]?[0-9]{1,16}(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?"  # an exponent comes from binary fractions as text
)
_OFFSET = r".*[0-9](Z|z|[+-][0-9]{2}(:?[0-9]{2})?)"
_ROW = "replay_row"  # number of a row as a person counts them; no column of the file can be called like it


@dataclass(frozen=True)
class Field:
    """One column of a line as SQL over a row of the file; what is `expected` of its column must not come out NULL."""

    name: str
    value: str
    column: str = ""
    expected: str | None = None


@contextmanager
def mapped(path: Path, mapping: Mapping, where: str | None = None) -> Generator[Purchases]:
    """The purchases in the file `path` as `mapping` says, for the length of a block.

    `where` is an SQL filter over the file's own columns, all of them text.
    Raises: ReplayError with the first faults of the file, each by row and column.
    """
    with workbench() as link:
        try:
            rows = _rows(link, path, mapping, where)
            fields = _fields(mapping)
            _check_rows(link, rows, fields)
            relation = _relation(rows, fields)
            _check_receipts(link, relation, mapping)
        except duckdb.Error as error:
            raise ReplayError(f"{path} cannot be read: {complaint(error)}") from error
        yield Purchases(
            link,
            relation,
            money=mapping.money,
            zone=ZoneInfo(mapping.zone or "UTC"),
            member_kind=mapping.receipt.member.kind if mapping.receipt.member else "external",
        )


def _rows(link: duckdb.DuckDBPyConnection, path: Path, mapping: Mapping, where: str | None) -> str:
    """SQL of the file's rows, all columns text, numbered as a person counts them (a header line is row 1)."""
    if not path.is_file():
        raise ReplayError(f"{path} is not there, or is no file.")
    parquet = path.suffix.lower() in (".parquet", ".pq")
    source = f"read_parquet({literal(str(path))})" if parquet else _csv(path, mapping.csv)
    first = 1 if parquet else 2
    columns = [str(row[0]) for row in link.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    _check_columns(path, mapping, columns)
    texts = ", ".join(f"nullif(trim({_quoted(name)}::VARCHAR), '') AS {_quoted(name)}" for name in columns)
    numbered = f"SELECT *, row_number() OVER () + {first - 1} AS {_ROW} FROM {source}"
    return f"SELECT {texts}, {_ROW} FROM ({numbered}) WHERE ({where or 'true'})"


def _csv(path: Path, form: Csv) -> str:
    """SQL of a CSV file with nothing left to guess, so that a row of another shape is a fault of that row."""
    try:
        with path.open(
            encoding="utf-8-sig" if form.encoding == "utf-8" else form.encoding, newline=""
        ) as file:
            heading = file.readline()
            delimiter = form.delimiter or max(",;\t|", key=heading.count)
            names = next(csv.reader([heading], delimiter=delimiter, quotechar=form.quote), list[str]())
    except (UnicodeDecodeError, LookupError) as error:
        raise ReplayError(
            f"{path} cannot be read as {form.encoding}: say csv.encoding in the mapping"
        ) from error
    if not names or len(set(names)) < len(names):
        raise ReplayError(
            f"{path} has no heading, or one that names a column twice: {heading.strip()[:200]!r}"
        )
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({literal(str(path))}, auto_detect = false, header = true, columns = {{{columns}}},"
        f" delim = {literal(delimiter)}, quote = {literal(form.quote)}, escape = {literal(form.quote)},"
        f" encoding = {literal(form.encoding)})"
    )


def _check_columns(path: Path, mapping: Mapping, columns: list[str]) -> None:
    faults: list[str] = []
    for name in _named(mapping):
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1)
            faults.append(f'no column "{name}"' + (f' (did you mean "{close[0]}"?)' if close else ""))
    if faults:
        raise ReplayError(f"{path} has {'; '.join(faults)}. Its columns are: {', '.join(columns)}.")


def _named(mapping: Mapping) -> list[str]:
    """Every column that the mapping speaks of, once, in its order."""
    names: list[str] = []
    for part in (mapping.receipt, mapping.line):
        for key in part.__struct_fields__:
            value = getattr(part, key)
            if isinstance(value, Categories):
                names += value.columns
            elif hasattr(value, "column"):
                names.append(value.column)
    return list(dict.fromkeys(names))


def _fields(mapping: Mapping) -> list[Field]:
    receipt, line = mapping.receipt, mapping.line
    return [
        _text("source", receipt.source, required=True),
        _text("external_id", receipt.external_id, required=True),
        _time(receipt.occurred_at, mapping.zone),
        _text("member", Column(receipt.member.column) if receipt.member else None),
        _text("location", receipt.location),
        _text("channel", receipt.channel),
        _text("till", receipt.till),
        _text("line_id", line.line_id),
        _text("sku", line.sku, required=True),
        _words("categories", line.categories),
        _words("tags", line.tags),
        _quantity(line.quantity),
        _amount("amount_minor", line.amount, mapping, required=True),
        _amount("tax_minor", line.tax, mapping),
        _amount("discount_minor", line.discount, mapping),
    ]


def _text(name: str, given: Column | str | None, *, required: bool = False) -> Field:
    if given is None:
        return Field(name, "NULL::VARCHAR")
    if isinstance(given, str):
        return Field(name, literal(given))
    value = _quoted(given.column)
    return Field(name, value, given.column, "a text" if required else None)


def _time(given: Time, zone: str | None) -> Field:
    raw = _quoted(given.column)
    local = f"timezone({literal(zone)}, {{}})" if zone else "NULL::TIMESTAMPTZ"
    if given.format is None:
        instant = (
            f"CASE WHEN regexp_full_match({raw}, {literal(_OFFSET)}) THEN try_cast({raw} AS TIMESTAMPTZ)"
            f" ELSE {local.format(f'try_cast({raw} AS TIMESTAMP)')} END"
        )
        expected = "a time such as 2026-05-04T17:31:09" + (
            "" if zone else "+02:00 (the mapping names no zone)"
        )
    else:
        parsed = f"try_strptime({raw}, {literal(given.format)})"
        instant = parsed if "%z" in given.format else local.format(parsed)
        expected = f"a time like {given.format}"
        if zone is None and "%z" not in given.format:
            expected += " with an offset (%z), or a zone in the mapping"
    return Field("occurred", f"timezone('UTC', {instant})", given.column, expected)


def _words(name: str, given: Categories | None) -> Field:
    if given is None:
        return Field(name, "NULL::VARCHAR[]")
    columns = [_quoted(column) for column in given.columns]
    if given.separator is None:
        parts = f"[{', '.join(columns)}]"
    else:
        parts = f"flatten([{', '.join(f'string_split({c}, {literal(given.separator)})' for c in columns)}])"
    words = f"list_transform({parts}, lambda word: nullif(trim(word), ''))"
    return Field(name, f"list_filter({words}, lambda word: word IS NOT NULL)")


def _quantity(given: Number | None) -> Field:
    if given is None:
        return Field("quantity", "'1'")
    number = _number(given.column, given.decimal, given.thousands)
    exact = f"{number} >= 0 AND {number} = trunc({number}, 3)"
    value = f"rtrim(rtrim(CASE WHEN {exact} THEN {number}::DECIMAL(19, 3)::VARCHAR END, '0'), '.')"
    expected = "a quantity, zero or more, at most three decimals"
    return Field("quantity", value, given.column, expected)


def _amount(name: str, given: Amount | None, mapping: Mapping, *, required: bool = False) -> Field:
    if given is None:
        return Field(name, "0::BIGINT")
    places = decimals(mapping.money) if given.unit == "major" else 0
    number = _number(given.column, given.decimal, given.thousands)
    exact = "true" if given.round else f"{number} = round({number}, {places})"
    minor = f"(round({number}, {places})::DECIMAL(20, 3) * {10**places})::BIGINT"
    value = f"CASE WHEN {number} >= 0 AND {exact} THEN {minor} END"
    if not required:
        value = f"CASE WHEN {_quoted(given.column)} IS NULL THEN 0 ELSE {value} END"
    expected = f"an amount in {mapping.money}, zero or more"
    if not given.round:
        expected += f", at most {places} decimals" if places else ", whole"
    return Field(name, value, given.column, expected)


def _number(column: str, decimal: str, thousands: str | None) -> str:
    """SQL of an exact number, NULL for anything else: also for groups of digits that are not thousands."""
    raw = text = _quoted(column)
    form = _PLAIN
    if decimal != "." or thousands is not None:
        whole = "[0-9]{1,16}"
        if thousands is not None:
            whole = f"({whole}|[0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}}){{1,5}})"
            text = f"replace({text}, {literal(thousands)}, '')"
        form = f"[+-]?{whole}({re.escape(decimal)}[0-9]+)?"
        text = f"replace({text}, {literal(decimal)}, '.')"
    return f"CASE WHEN regexp_full_match({raw}, {literal(form)}) THEN try_cast({text} AS DECIMAL(38, 18)) END"


def _relation(rows: str, fields: list[Field]) -> str:
    values = ", ".join(f"{field.value} AS {field.name}" for field in fields)
    return f"SELECT {values}, external_id AS receipt_order, {_ROW} AS line_order FROM ({rows})"


def _check_rows(link: duckdb.DuckDBPyConnection, rows: str, fields: list[Field]) -> None:
    """Raises: ReplayError when a field of a row cannot be read."""
    checked = [field for field in fields if field.expected is not None]
    values = ", ".join(f"{field.value} AS value_{position}" for position, field in enumerate(checked))
    given = ", ".join(
        f"{_quoted(field.column)} AS given_{position}" for position, field in enumerate(checked)
    )
    faults = " UNION ALL ".join(
        f"SELECT {_ROW}, {position} AS position, given_{position} AS given FROM parsed WHERE value_{position} IS NULL"
        for position in range(len(checked))
    )
    found = link.execute(
        f"WITH parsed AS (SELECT {_ROW}, {values}, {given} FROM ({rows})), faults AS ({faults})"
        f" SELECT *, count(*) OVER () FROM faults ORDER BY {_ROW}, position LIMIT {REPORTED_MAX}"
    ).fetchall()
    told: list[str] = []
    for row, position, text, _ in found:
        seen = "is empty" if text is None else f"is {text[:60]!r}"
        field = checked[int(position)]
        told.append(f'row {row}, column "{field.column}": {seen}, expected {field.expected}')
    _tell(told, found[0][3] if found else 0)


def _check_receipts(link: duckdb.DuckDBPyConnection, relation: str, mapping: Mapping) -> None:
    """Raises: ReplayError when rows of one receipt contradict each other."""
    receipt = mapping.receipt
    shared = (receipt.occurred_at, receipt.member, receipt.location, receipt.channel, receipt.till)
    names = ("occurred", "member", "location", "channel", "till")
    columns = {
        name: given.column
        for name, given in zip(names, shared, strict=True)
        if given is not None and not isinstance(given, str)
    }
    window = "OVER (PARTITION BY source, external_id ORDER BY line_order)"
    firsts = ", ".join(f"first_value({name}) {window} AS first_{name}" for name in columns)
    faults = " UNION ALL ".join(
        f"SELECT line_order, {literal(column)} AS field, first_row, external_id FROM seen"
        f" WHERE {name} IS DISTINCT FROM first_{name}"
        for name, column in columns.items()
    )
    found = link.execute(
        f"WITH seen AS (SELECT *, first_value(line_order) {window} AS first_row, {firsts} FROM ({relation})),"
        f" faults AS ({faults})"
        f" SELECT *, count(*) OVER () FROM faults ORDER BY line_order, field LIMIT {REPORTED_MAX}"
    ).fetchall()
    told = [
        f'row {row}, column "{column}": differs from row {first} of the same receipt {external_id!r}'
        for row, column, first, external_id, _ in found
    ]
    _tell(told, found[0][4] if found else 0)


def _tell(told: list[str], all_of_them: int) -> None:
    if told:
        more = all_of_them - len(told)
        rest = [f"… and {more:,} more"] if more else []
        raise ReplayError("\n  ".join(["The file does not fit its mapping:", *told, *rest]))


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
