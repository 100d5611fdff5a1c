"""What every member earned, spent, lost and still has at the program's instant, for comparing with other books.

Reads the ledger and settles in memory what is due there, as every read does; nothing is written.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import text

from loyalty.base.calendar import add_months, local_date
from loyalty.base.database import reading
from loyalty.ledger.asof import settle_here
from loyalty.ledger.store import held
from loyalty.posting.runtime import Runtime

# Summed before they are joined: whatever the planner knows of fresh tables, each one is read once.
_STORED = text(
    "WITH sums AS MATERIALIZED ("
    " SELECT account_id, coalesce(sum(points) FILTER (WHERE parent_lot_id IS NULL), 0)::bigint AS earned,"
    " sum(redeemed)::bigint AS redeemed, sum(expired)::bigint AS expired"
    " FROM lots WHERE program_id = :program GROUP BY account_id),"
    " owners AS MATERIALIZED ("
    " SELECT a.owner_id, sum(earned)::bigint AS earned, sum(redeemed)::bigint AS redeemed,"
    " sum(expired)::bigint AS expired"
    " FROM accounts a JOIN sums ON sums.account_id = a.id WHERE a.program_id = :program GROUP BY a.owner_id)"
    " SELECT i.value, i.member_id, i.cell, coalesce(earned, 0), coalesce(redeemed, 0), coalesce(expired, 0)"
    " FROM identifiers i LEFT JOIN owners o ON o.owner_id = i.member_id"
    " WHERE i.program_id = :program AND i.kind = :kind"
)


class Total(Struct, frozen=True):
    """A member's figures in points, all points currencies together."""

    identifier: str
    earned: int
    redeemed: int
    expired: int
    outstanding: int


async def totals(runtime: Runtime, program_id: UUID, kind: str) -> list[Total]:
    """The figures of every member that has an identifier of `kind`, settled at the program's instant.

    Order: numbers by value, then other identifiers by text.
    """
    now = await runtime.now(program_id)
    found: list[Total] = []
    async with reading(runtime.engine, program_id) as connection:
        rows = (await connection.execute(_STORED, {"program": program_id, "kind": kind})).all()
        for value, member_id, cell, earned, redeemed, expired in rows:
            late = outstanding = 0
            for account, lots, holds in (await held(connection, program_id, cell, member_id)).values():
                before = sum(lot.expired for lot in lots.values())
                settle_here(account, lots, holds, now)
                late += sum(lot.expired for lot in lots.values()) - before
                outstanding += account.pending + account.available + account.held
            found.append(Total(value, earned, redeemed, expired + late, outstanding))
    return sorted(found, key=_place)


class Month(Struct, frozen=True):
    """What became of all members' points in one local month.

    opening + earned - redeemed - expired + other = closing
    """

    month: str  # 2017-01
    opening: int
    earned: int
    redeemed: int  # less what was given back
    expired: int  # less what was reinstated
    other: int
    closing: int


# What is with members (pending, available, held) by month; the posting table says how points come and go.
_MONTHS = text(
    "SELECT to_char(e.occurred_at AT TIME ZONE :zone, 'YYYY-MM') AS month,"
    " coalesce(sum(p.points) FILTER (WHERE p.source = 'issued'), 0)::bigint,"
    " (coalesce(sum(p.points) FILTER (WHERE p.target = 'redeemed'), 0)"
    "  - coalesce(sum(p.points) FILTER (WHERE p.source = 'redeemed'), 0))::bigint,"
    " (coalesce(sum(p.points) FILTER (WHERE p.target = 'expired'), 0)"
    "  - coalesce(sum(p.points) FILTER (WHERE p.source = 'expired' AND p.target = 'available'), 0))::bigint,"
    " (coalesce(sum(p.points) FILTER (WHERE p.target IN ('pending', 'available', 'held')), 0)"
    "  - coalesce(sum(p.points) FILTER (WHERE p.source IN ('pending', 'available', 'held')), 0))::bigint"
    " FROM postings p JOIN entries e ON e.program_id = p.program_id AND e.cell = p.cell AND e.id = p.entry_id"
    " WHERE p.program_id = :program GROUP BY 1"
)
_DUE = text("SELECT cell, owner_id FROM accounts WHERE program_id = :program AND next_due_at <= :now")


async def months(runtime: Runtime, program_id: UUID, zone: ZoneInfo) -> list[Month]:
    """The roll-forward of all points by local month, from the first with a movement to that of the program's instant.

    What is due and not yet written counts in the month in which it fell due.
    """
    now = await runtime.now(program_id)
    moved: dict[str, tuple[int, int, int, int]] = {}
    async with reading(runtime.engine, program_id) as connection:
        for month, *figures in await connection.execute(_MONTHS, {"program": program_id, "zone": zone.key}):
            moved[month] = (figures[0], figures[1], figures[2], figures[3])
        due = (await connection.execute(_DUE, {"program": program_id, "now": now})).all()
        for cell, owner_id in dict.fromkeys((cell, owner_id) for cell, owner_id in due):
            for account, lots, holds in (await held(connection, program_id, cell, owner_id)).values():
                before = {id: lot.expired for id, lot in lots.items()}
                settle_here(account, lots, holds, now)
                for id, lot in lots.items():
                    lost = lot.expired - before[id]
                    if lost:
                        assert lot.expires_at is not None
                        month = _month(max(lot.expires_at, lot.arrived_at), zone)
                        earned, redeemed, expired, net = moved.get(month, (0, 0, 0, 0))
                        moved[month] = (earned, redeemed, expired + lost, net - lost)
    return list(_rolled(moved, _month(now, zone)))


def _rolled(moved: Mapping[str, tuple[int, int, int, int]], last: str) -> Iterator[Month]:
    """One month after the other, those in which nothing moved among them."""
    on, end = (date.fromisoformat(f"{month}-01") for month in (min(moved, default=last), last))
    opening = 0
    while on <= end:
        month = on.isoformat()[:7]
        earned, redeemed, expired, net = moved.get(month, (0, 0, 0, 0))
        other = net - earned + redeemed + expired
        yield Month(month, opening, earned, redeemed, expired, other, opening + net)
        opening += net
        on = add_months(on, 1)


def _month(at: datetime, zone: ZoneInfo) -> str:
    return local_date(at, zone).isoformat()[:7]


def write_months(path: Path, found: Iterable[Month]) -> None:
    """Write `month,opening,earned,redeemed,expired,other,closing`, one line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Month.__struct_fields__)
        for month in found:
            writer.writerow(astuple(month))


def write_totals(path: Path, found: Iterable[Total]) -> None:
    """Write `household,earned,redeemed,expired,outstanding`, one line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("household", "earned", "redeemed", "expired", "outstanding"))
        for total in found:
            writer.writerow(
                (total.identifier, total.earned, total.redeemed, total.expired, total.outstanding)
            )


def _place(total: Total) -> tuple[bool, int, str]:
    number = total.identifier.isascii() and total.identifier.isdigit()
    return (not number, int(total.identifier) if number else 0, total.identifier)
