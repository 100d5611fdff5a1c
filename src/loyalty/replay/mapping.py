"""A mapping file says which column of somebody's CSV or Parquet file is what (TOML; docs/replay.md lists it all).

Every value is either the name of a column in a table of its own, `{ column = "receipt_no" }`, or one text for all
rows, `"shop-7"`.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from loyalty.replay.types import ReplayError

Name = Annotated[str, Meta(min_length=1)]
Mark = Annotated[str, Meta(min_length=1, max_length=1)]


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """The text of a column, blanks around it taken off."""

    column: Name


class Categories(Struct, frozen=True, forbid_unknown_fields=True):
    """Words of a line out of several columns, or out of one that holds a list parted by `separator`."""

    columns: Annotated[tuple[Name, ...], Meta(min_length=1)]
    separator: Mark | None = None


class Time(Struct, frozen=True, forbid_unknown_fields=True):
    """An instant: ISO 8601, or in `format` (the letters of strptime); without an offset it is read in `zone`."""

    column: Name
    format: Name | None = None


class Member(Struct, frozen=True, forbid_unknown_fields=True):
    """Who bought: an identifier of one kind; an empty field is a guest."""

    column: Name
    kind: Literal["card", "phone", "email", "external"]


class Number(Struct, frozen=True, forbid_unknown_fields=True):
    """A decimal number of at most three decimals."""

    column: Name
    decimal: Mark = "."
    thousands: Mark | None = None


class Amount(Struct, frozen=True, forbid_unknown_fields=True):
    """Money of a whole line. `round` takes numbers with more decimals than the currency has, half away from zero."""

    column: Name
    unit: Literal["major", "minor"] = "major"  # 12.50, or 1250
    decimal: Mark = "."
    thousands: Mark | None = None
    round: bool = False


class ReceiptColumns(Struct, frozen=True, forbid_unknown_fields=True):
    """What all lines of a receipt share; rows of equal source and external_id are one receipt."""

    source: Name | Column
    external_id: Column
    occurred_at: Time
    member: Member | None = None
    location: Name | Column | None = None
    channel: Name | Column | None = None
    till: Name | Column | None = None


class LineColumns(Struct, frozen=True, forbid_unknown_fields=True):
    """What one row says about its line."""

    sku: Name | Column
    amount: Amount
    line_id: Column | None = None  # default: the position in the receipt
    quantity: Number | None = None  # default: 1
    categories: Categories | None = None
    tags: Categories | None = None
    tax: Amount | None = None
    discount: Amount | None = None


class Csv(Struct, frozen=True, forbid_unknown_fields=True):
    """The form of a CSV file, whose first row names the columns."""

    delimiter: Mark | None = None  # default: what the heading has most of: comma, semicolon, tab or bar
    quote: Mark = '"'  # doubled inside a quoted text
    encoding: Name = "utf-8"


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole mapping file."""

    money: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    receipt: ReceiptColumns
    line: LineColumns
    zone: Name | None = None  # of times that bear no offset, and of local days
    csv: Csv = Csv()


def load_mapping(text: str, name: str) -> Mapping:
    """The mapping in `text`; `name` is the file's, for the message.

    Raises: ReplayError with the place of the fault.
    """
    try:
        mapping = msgspec.toml.decode(text, type=Mapping)
        if mapping.zone is not None:
            ZoneInfo(mapping.zone)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ReplayError(f"The mapping {name} is not right: {error}") from error
    except (KeyError, ValueError, OSError) as error:  # ZoneInfo, by the kind of nonsense it was given
        raise ReplayError(
            f'The mapping {name} is not right: zone is no time zone; expected a name such as "Europe/Berlin"'
        ) from error
    return mapping
