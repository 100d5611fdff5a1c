"""How forecasts and plans read: members chunk by chunk, each in one short snapshot, with what they ask for of them."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
from msgspec.structs import fields

from loyalty.base.ids import NIL
from loyalty.ledger.types import Account, Hold, Lot
from loyalty.ledger.verify.frame import Connect, Progress, snapshot
from loyalty.posting import store
from loyalty.posting.book import Stands
from loyalty.posting.configuration import History
from loyalty.posting.histories import Histories
from loyalty.posting.ways import Way
from loyalty.programs.types import ProgramNotFound
from loyalty.tiers.types import Day, Move

CHUNK = 500  # members in one snapshot

_THERE = "program_id = $1 AND enrolled_at <= $2 AND status <> 'erased' AND merged_into IS NULL"
_COUNT = f"SELECT count(*) FROM members WHERE {_THERE}"
_MEMBERS = f"""
SELECT id, cell, enrolled_at FROM members WHERE {_THERE} AND (cell, id) > ($3, $4) ORDER BY cell, id LIMIT $5
"""
_ACCOUNT_FIELDS = [one.name for one in fields(Account) if one.name != "settled_at"]
_DUE = f"""
SELECT {", ".join(f"a.{name}" for name in _ACCOUNT_FIELDS)}, u.cell
FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM accounts WHERE program_id = $1 AND cell = u.cell AND owner_id = u.id OFFSET 0) a
WHERE a.next_due_at <= $4
"""
_LOTS = f"""
SELECT {", ".join(f"l.{one.name}" for one in fields(Lot))}
FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM lots WHERE program_id = $1 AND cell = u.cell AND account_id = u.id AND is_open OFFSET 0) l
"""
_HOLDS = f"""
SELECT {store.HOLD} FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM holds WHERE program_id = $1 AND cell = u.cell AND account_id = u.id AND state = 'open' OFFSET 0) h
"""
_STANDINGS = f"""
SELECT s.member_id, {store.STANDING} FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM standings WHERE program_id = $1 AND cell = u.cell AND member_id = u.id OFFSET 0) s
"""
_DAYS = f"""
SELECT d.member_id, {store.DAY} FROM unnest($2::uuid[], $3::smallint[], $4::date[]) u(id, cell, since), LATERAL (
    SELECT * FROM member_days WHERE program_id = $1 AND cell = u.cell AND member_id = u.id AND day >= u.since
    OFFSET 0) d
"""


class Person(NamedTuple):
    id: UUID
    cell: int
    joined_at: datetime


class Held(NamedTuple):
    """An account with all its open lots and holds, as stored."""

    account: Account
    lots: dict[UUID, Lot]
    holds: list[Hold]


class Walked(NamedTuple):
    """Where a member comes to stand on a ladder, and its steps on the way."""

    member_id: UUID
    tier_set: str
    stands: Stands
    moves: tuple[Move, ...]


class Chunk(NamedTuple):
    """Some members, in a snapshot that is still open."""

    connection: asyncpg.Connection
    program_id: UUID
    history: History
    people: list[Person]

    async def due(self, until: datetime) -> list[Held]:
        """Their accounts on which something falls due by an instant."""
        found: dict[UUID, Held] = {}
        where: list[int] = []
        for *row, cell in await self._fetch(_DUE, self.people, until):
            account = Account(*row)
            found[account.id] = Held(account, {}, [])
            where.append(cell)
        accounts = list(zip(found, where, strict=True))
        for row in await self._fetch(_LOTS, accounts):
            lot = Lot(*row)
            found[lot.account_id].lots[lot.id] = lot
        for (row,) in await self._fetch(_HOLDS, [one for one in accounts if found[one[0]].account.held]):
            hold = store.hold_of(row)
            found[hold.account_id].holds.append(hold)
        return list(found.values())

    async def walk(self, ladders: Mapping[str, tuple[History, datetime]]) -> list[Walked]:
        """Where each of them comes to stand on these tier sets, by a history up to an instant."""
        if not ladders:
            return []
        standings = await self._standings()
        ways: list[tuple[UUID, str, Way]] = []
        since: dict[UUID, date] = {}
        for id, _, joined_at in self.people:
            for tier_set, (history, until) in ladders.items():
                way = Way(history, tier_set, standings.get((id, tier_set)), joined_at, until)
                ways.append((id, tier_set, way))
                if way.since is not None:
                    since[id] = min(way.since, since.get(id, date.max))
        days = await self._days(since)
        return [Walked(id, tier_set, *way.walk(days.get(id, ()))) for id, tier_set, way in ways]

    async def _standings(self) -> dict[tuple[UUID, str], Stands]:
        """Where they were left, by member and tier set."""
        rows = await self._fetch(_STANDINGS, self.people)
        kept = [(id, Stands(store.standing_of(*row), judged_by)) for id, judged_by, *row in rows]
        return {(id, one.standing.tier_set): one for id, one in kept}

    async def _days(self, since: Mapping[UUID, date]) -> dict[UUID, list[Day]]:
        """What some of them did, each since a date."""
        wanted = [one for one in self.people if one.id in since]
        found: dict[UUID, list[Day]] = {}
        for id, *row in await self._fetch(_DAYS, wanted, [since[one.id] for one in wanted]):
            found.setdefault(id, []).append(store.day_of(*row))
        return found

    async def _fetch(
        self, query: str, whose: Iterable[tuple[UUID, int] | Person], *more: object
    ) -> list[asyncpg.Record]:
        listed = list(whose)
        if not listed:
            return []
        ids, cells = [one[0] for one in listed], [one[1] for one in listed]
        return await self.connection.fetch(query, self.program_id, ids, cells, *more)


async def chunks(
    connect: Connect, program_id: UUID, now: datetime, progress: Progress | None = None
) -> AsyncGenerator[Chunk]:
    """All members of a program who had joined by `now` and are neither erased nor merged into others, lane by lane.

    What happens while this goes on is seen by those chunks that come later. Raises: ProgramNotFound.
    """
    histories = Histories()
    async with snapshot(connect, program_id) as connection:
        total = await connection.fetchval(_COUNT, program_id, now)
    done, after = 0, (-1, NIL)
    while True:
        async with snapshot(connect, program_id) as connection:
            history = await histories.refresh(connection, program_id)
            if history.empty:
                raise ProgramNotFound
            rows = await connection.fetch(_MEMBERS, program_id, now, *after, CHUNK)
            people = [Person(*row) for row in rows]
            yield Chunk(connection, program_id, history, people)
        done += len(people)
        if progress is not None:
            progress("members", done, max(total, done))
        if len(people) < CHUNK:
            return
        after = (people[-1].cell, people[-1].id)
