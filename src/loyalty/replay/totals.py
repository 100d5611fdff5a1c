"""What every member earned, spent, lost and still has at the program's instant, for comparing with other books.

Reads the ledger and settles in memory what is due there, as every read does; nothing is written.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from msgspec import Struct
from msgspec.structs import astuple, replace
from sqlalchemy import text

from loyalty.access.roles import Role
from loyalty.base.database import reading
from loyalty.base.ids import NIL
from loyalty.ledger.asof import settle_here
from loyalty.ledger.rollforward import Period, RollForward
from loyalty.ledger.store import held
from loyalty.posting.commands import Actor
from loyalty.posting.places import tiers
from loyalty.posting.runtime import Runtime

_OPERATOR = Actor("operator", NIL, Role.ADMIN)
_ALL_LOTS_MS = 120_000  # the figures are summed over every lot of the program

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
    """A member's figures in points, all points currencies together, and its tier."""

    identifier: str
    earned: int
    redeemed: int
    expired: int
    outstanding: int
    tier: str | None  # on the program's first ladder


async def totals(runtime: Runtime, program_id: UUID, kind: str) -> list[Total]:
    """The figures of every member that has an identifier of `kind`, settled and reviewed at the program's instant.

    Order: numbers by value, then other identifiers by text.
    """
    now = await runtime.now(program_id)
    found: list[tuple[UUID, Total]] = []
    async with reading(runtime.engine, program_id, timeout_ms=_ALL_LOTS_MS) as connection:
        rows = (await connection.execute(_STORED, {"program": program_id, "kind": kind})).all()
        for value, member_id, cell, earned, redeemed, expired in rows:
            late = outstanding = 0
            for account, lots, holds in (await held(connection, program_id, cell, member_id)).values():
                before = sum(lot.expired for lot in lots.values())
                settle_here(account, lots, holds, now)
                late += sum(lot.expired for lot in lots.values()) - before
                outstanding += account.pending + account.available + account.held
            found.append((member_id, Total(value, earned, redeemed, expired + late, outstanding, None)))
    # Behind the transaction: it would stand idle for as long as this takes, and be ended for it.
    standings = await tiers(runtime, program_id, [member_id for member_id, _ in found], _OPERATOR)
    tiered = [replace(one, tier=next(iter(standings[id].values()), None)) for id, one in found]
    return sorted(tiered, key=_place)


def write_months(path: Path, rolled: RollForward) -> None:
    """Write the periods of a roll-forward, one line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Period.__struct_fields__)
        writer.writerows(map(astuple, rolled.periods))


def write_totals(path: Path, found: Iterable[Total]) -> None:
    """Write `household,earned,redeemed,expired,outstanding,tier`, one line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("household", *Total.__struct_fields__[1:]))
        writer.writerows(map(astuple, found))


def _place(total: Total) -> tuple[bool, int, str]:
    number = total.identifier.isascii() and total.identifier.isdigit()
    return (not number, int(total.identifier) if number else 0, total.identifier)
