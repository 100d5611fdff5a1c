"""Reads receipts out of a relation of lines with DuckDB, in order, without holding them in memory.

A source (completejourney.py, mapped.py) brings one SQL text whose columns are COLUMNS; sorting, grouping by
receipt, moving dates and shuffling are the same for all of them and stand here.
"""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from loyalty.base.calendar import local_date
from loyalty.replay.types import Line, Receipt, ReplayError

# What a source's relation gives per line. `occurred` is UTC without a zone; receipts of one instant stand in the
# order of `receipt_order`, lines in that of `line_order`; a NULL member is a guest, a NULL line_id a position.
COLUMNS = (
    "source, external_id, occurred, member, location, channel, till,"
    " line_id, sku, categories, tags, quantity, amount_minor, tax_minor, discount_minor"
)
_ROWS = 4_096
_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",  # more is sorted on disk
    "threads": "2",
    "TimeZone": "UTC",
    "autoinstall_known_extensions": "false",  # nothing is fetched from anywhere
}


@contextmanager
def workbench() -> Generator[duckdb.DuckDBPyConnection]:
    """A database of its own for the length of a block; what it sorted on disk goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="loyalty-replay-") as place,
        duckdb.connect(":memory:", config=_LIMITS | {"temp_directory": place}) as link,
    ):
        link.execute("SET enable_progress_bar = false")
        yield link


class Purchases:
    """The receipts of one source.

    `relation` is a SELECT with COLUMNS, receipt_order and line_order; `zone` tells local days; `span` is the
    source's whole period where it is known beforehand, whatever part of it is read.
    """

    def __init__(
        self,
        link: duckdb.DuckDBPyConnection,
        relation: str,
        *,
        money: str,
        zone: ZoneInfo,
        member_kind: str,
        span: tuple[date, date] | None = None,
    ) -> None:
        self._link = link
        self._relation = relation
        self.member_kind = member_kind
        self._span = span
        self.money = money
        self.zone = zone

    def count(self) -> int:
        """How many receipts there are."""
        return self._one("SELECT count(*) FROM (SELECT DISTINCT source, external_id FROM ({relation}))")[0]

    def totals(self) -> tuple[int, int, int]:
        """Lines, members and the sum of all amounts in minor units."""
        return self._one(
            "SELECT count(*), count(DISTINCT member), coalesce(sum(amount_minor), 0)::BIGINT FROM ({relation})"
        )

    def span(self) -> tuple[date, date]:
        """First and last local day of the source.

        Raises: ReplayError when it holds no receipt.
        """
        if self._span is not None:
            return self._span
        first, last = self._one("SELECT min(occurred), max(occurred) FROM ({relation})")
        if first is None:
            raise ReplayError("There is no purchase to replay.")
        return local_date(_aware(first), self.zone), local_date(_aware(last), self.zone)

    def receipts(
        self, *, shift: timedelta = timedelta(), shuffle: int | None = None, limit: int | None = None
    ) -> Iterator[Receipt]:
        """The first `limit` receipts by instant, or in an order that only the seed `shuffle` decides.

        `shift` moves every instant.
        """
        order = "occurred, receipt_order, line_order"
        if shuffle is not None:
            order = f"md5(concat_ws(' ', {int(shuffle)}, source, external_id)), {order}"
        rows = self._execute(f"SELECT {COLUMNS} FROM ({self._relation}) ORDER BY {order}")
        lines: list[Line] = []
        head: tuple[Any, ...] | None = None
        given = 0
        while found := rows.fetchmany(_ROWS):
            for row in found:
                if head is not None and (row[0] != head[0] or row[1] != head[1]):
                    yield self._receipt(head, lines, shift)
                    given += 1
                    if given == limit:
                        return
                    lines = []
                head = row
                lines.append(_line(row, len(lines) + 1))
        if head is not None:
            yield self._receipt(head, lines, shift)

    def _receipt(self, head: tuple[Any, ...], lines: list[Line], shift: timedelta) -> Receipt:
        source, external_id, occurred, member, location, channel, till = head[:7]
        return Receipt(
            source=source,
            external_id=external_id,
            occurred_at=_aware(occurred) + shift,
            money=self.money,
            lines=tuple(lines),
            member=None if member is None else {self.member_kind: member},
            location=location,
            channel=channel,
            till=till,
        )

    def _one(self, statement: str) -> tuple[Any, ...]:
        row = self._execute(statement.replace("{relation}", self._relation)).fetchone()
        assert row is not None
        return row

    def _execute(self, statement: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._link.execute(statement)
        except duckdb.Error as error:
            raise ReplayError(f"The purchases cannot be read: {complaint(error)}") from error


def complaint(error: duckdb.Error) -> str:
    """What DuckDB says is wrong, without its advice and without the picture of the statement."""
    told = takewhile(
        lambda line: line and not line.startswith(("LINE ", "Possible ", "Candidate ")),
        str(error).splitlines(),
    )
    return ", ".join(told).rstrip(".!") or type(error).__name__


def literal(text: str) -> str:
    """`text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _line(row: tuple[Any, ...], position: int) -> Line:
    line_id, sku, categories, tags, quantity, amount_minor, tax_minor, discount_minor = row[7:]
    return Line(
        line_id=line_id or str(position),
        sku=sku,
        quantity=quantity,
        amount_minor=amount_minor,
        categories=tuple(dict.fromkeys(categories or ())),
        tags=tuple(dict.fromkeys(tags or ())),
        tax_minor=tax_minor,
        discount_minor=discount_minor,
    )


def _aware(occurred: datetime) -> datetime:
    return occurred.replace(tzinfo=UTC)
