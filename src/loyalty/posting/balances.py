"""What members hold now: what tills and apps ask all day. Those who are asked for at one moment are read at once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from loyalty.ledger import service as ledger
from loyalty.ledger.store import Held
from loyalty.ledger.types import Account, Balances, Lot
from loyalty.members.cells import cell_of
from loyalty.members.types import MemberNotFound
from loyalty.posting import store
from loyalty.posting.commands import MemberRef
from loyalty.posting.configuration import Loaded
from loyalty.posting.visitor import Visitor

_BALANCES = f"""
WITH who AS MATERIALIZED (
    SELECT u.place, i.cell, i.member_id AS id
    FROM unnest($2::integer[], $3::text[], $4::text[]) u(place, kind, value), LATERAL ({store.IDENTIFIED}) i
    UNION ALL SELECT * FROM unnest($5::integer[], $6::smallint[], $7::uuid[])
)
SELECT
  who.place,
  m.merged_into IS NULL,
  (SELECT number FROM configurations WHERE program_id = $1 ORDER BY number DESC LIMIT 1),
  (SELECT now_at FROM sandbox_clocks WHERE program_id = $1),
  ARRAY(SELECT ROW({store.ACCOUNT},
                   ARRAY(SELECT {store.LOT} FROM lots l
                         WHERE l.program_id = $1 AND l.cell = who.cell AND l.account_id = a.id AND l.is_open
                         ORDER BY l.vintage_at),
                   ARRAY(SELECT {store.HOLD} FROM holds h
                         WHERE a.held > 0 AND h.program_id = $1 AND h.cell = who.cell AND h.account_id = a.id
                            AND h.state = 'open'
                         ORDER BY h.held_at))
        FROM (SELECT * FROM accounts WHERE program_id = $1 AND cell = who.cell AND owner_id = who.id
              ORDER BY points_currency OFFSET 0) a)
FROM who, LATERAL (SELECT * FROM members WHERE program_id = $1 AND cell = who.cell AND id = who.id OFFSET 0) m
"""


class BalancesNow(Visitor):
    """The balances that one process reads."""

    async def __call__(self, program_id: UUID, member: MemberRef) -> Balances | None:
        """What a member holds now; None for one who was merged into another, to be resolved first.

        Raises: MemberNotFound, ServerBusy, DatabaseUnavailable.
        """
        return await self._together(self._all, program_id, member)

    async def _all(
        self, program_id: UUID, members: Sequence[MemberRef]
    ) -> list[Balances | MemberNotFound | None]:
        found = await self._read(program_id, list(dict.fromkeys(members)))  # whom many ask for, once
        return [found[member] if member in found else MemberNotFound() for member in members]

    async def _read(self, program_id: UUID, members: Sequence[MemberRef]) -> dict[MemberRef, Balances | None]:
        found: dict[MemberRef, Balances | None] = {}
        async with store.snapshot(self._pool, program_id) as connection:
            rows = await connection.fetch(_BALANCES, program_id, *self._named(members))
            if not rows:
                return found
            history = await self._histories.as_far_as(connection, program_id, rows[0][2])
        if history.empty:
            return found
        now = rows[0][3] or self._clock.now()
        in_force = history.at(now)
        for place, unmerged, _, _, accounts in rows:
            told = None
            if unmerged:
                lots = sum([len(row[-2]) for row in accounts])
                told = await self._aside(program_id, lots, partial(_settled, accounts, in_force, now))
            found[members[place]] = told
        return found

    def _named(self, members: Sequence[MemberRef]) -> tuple[list[Any], ...]:
        """Places, kinds and values of those named by an identifier; places, cells and ids of the others."""
        named: tuple[list[Any], ...] = ([], [], [], [], [], [])
        for place, member in enumerate(members):
            if member.identifier is not None:
                row, columns = (place, member.identifier.kind.value, member.identifier.value), named[:3]
            else:
                assert member.id is not None
                row, columns = (place, cell_of(member.id, self._cells), member.id), named[3:]
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        return named


def _settled(accounts: Iterable[tuple[Any, ...]], in_force: Loaded, now: datetime) -> Balances:
    stored = {row[2]: _held(row) for row in accounts}
    return Balances(now, None, ledger.settled(stored, in_force.currencies.values(), in_force.zone, now))


def _held(row: tuple[Any, ...]) -> Held:
    *account, lots, holds = row
    return Held(
        Account(*account),
        {lot[0]: Lot(*lot) for lot in lots},
        [store.hold_of(hold) for hold in holds],
    )
