"""Rows in, Structs out: for Structs whose fields carry the names of their table's columns."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Subquery, Table

T = TypeVar("T", bound=msgspec.Struct)


def columns(table: Table | Subquery, kind: type[T]) -> list[ColumnElement[Any]]:
    """The columns that make up a `kind`, in the order of its fields."""
    return [table.c[name] for name in kind.__struct_fields__]


def struct(row: Row[*tuple[Any, ...]], kind: type[T]) -> T:
    """The Struct of one row that was selected with `columns`."""
    return msgspec.convert(row, kind, from_attributes=True)


def values(record: msgspec.Struct) -> dict[str, Any]:
    """What an INSERT takes of a Struct."""
    return msgspec.structs.asdict(record)
