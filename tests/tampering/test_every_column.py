"""Whoever may write anything changes one value of one row: `verify` sees it, column by column.

What it does not see is listed here with the reason, so that a new column must be thought about. How whole rows,
chains and accounts are forged, and what only a checkpoint shows, is in tests/rooms/test_verify.py.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from loyalty.ledger.verify import verify
from loyalty.posting.reviews import reviews
from tests.conftest import Database
from tests.laws.shop import serving
from tests.rooms.traffic import Traffic, a_month

BOOKS = (
    "blocks", "decisions", "entries", "postings", "lots", "accounts", "counters", "activities", "activity_keys",
    "idempotency_records", "holds", "returns", "redemptions", "stocks", "reservations", "proposals", "freezes",
    "member_changes", "members", "member_days", "standings", "tier_moves",
)  # fmt: skip

NOT_SEEN = {
    "idempotency_records.scope": "whose key it was is known to the record alone",
    "idempotency_records.key": "the same",
    "idempotency_records.fingerprint": "the same; another one makes a retry be refused, never answered",
    "idempotency_records.created_at": "only says when the record may be purged",
    "activities.till": "only says where it was rung up; while its content is kept that says so too",
    "activity_keys.content_digest": "the same; another one makes a repeat be refused, never doubled",
}

# The tables' own checks let no single one of these change: the nine figures of a lot sum to 0, an answer is either
# a decision's or a refusal's. Two at once are changed in tests/rooms/test_verify.py.
REFUSED = {
    *(f"lots.{b}" for b in "issued pending available held redeemed expired revoked transferred deficit".split()),
    "lots.points",
    "blocks.number",
    "idempotency_records.refusal",
}  # fmt: skip

# Another value of the same type, so that nothing but verify can object.
OTHER = {
    "uuid": "gen_random_uuid()",
    "bigint": "coalesce({c}, 0) + 1",
    "integer": "coalesce({c}, 0) + 1",
    "smallint": "coalesce({c}, 0) + 1",
    "timestamp with time zone": "coalesce({c}, '2026-03-05') + interval '1 hour'",
    "date": "coalesce({c}, '2026-03-05') + 1",
    "boolean": "NOT {c}",
    "bytea": "sha256({c})",
    "text": "coalesce({c}, '') || 'x'",
}
# Values that are different ones of their own kind.
OWN = {
    "activity_keys.state": "CASE {c} WHEN 'recorded' THEN 'cancelled' ELSE 'recorded' END",
    "activity_keys.kind": "CASE {c} WHEN 'purchase' THEN 'return' ELSE 'purchase' END",
    "activities.content": "json_build_object('lines', json_build_array())",
    "members.status": "CASE {c} WHEN 'blocked' THEN 'active' ELSE 'blocked' END",
    "member_days.points": """'{{"points": 7}}'""",
    "standings.manual": """json_build_object('tier', 'silver', 'given_at', '2026-04-01T00:00:00Z', 'until', NULL,
        'reason', 'goodwill')""",
    "returns.lines": "'[[0, 7]]'",
    "returns.taken": "'[7]'",
    "returns.given": "'[7]'",
    "proposals.state": "CASE {c} WHEN 'approved' THEN 'rejected' ELSE 'approved' END",
    "proposals.kind": "CASE {c} WHEN 'adjustment' THEN 'write_off' ELSE 'adjustment' END",
    "entries.kind": "CASE {c} WHEN 'earn' THEN 'adjust_credit' ELSE 'earn' END",
    "entries.redates": """json_build_array(json_build_object('lot_id', account_id, 'old_activates_at', NULL,
        'old_expires_at', NULL, 'new_activates_at', NULL, 'new_expires_at', NULL))""",
    "holds.state": "CASE {c} WHEN 'released' THEN 'captured' ELSE 'released' END",
    "holds.parts": "json_build_array(json_build_array(account_id, 6))",
    "holds.deadlines": "json_build_array()",
    "redemptions.state": "CASE {c} WHEN 'cancelled' THEN 'issued' ELSE 'cancelled' END",
    "redemptions.parts": "json_build_array(json_build_array(id, 1))",
    "decisions.actor_kind": "CASE {c} WHEN 'client' THEN 'staff' ELSE 'client' END",
    "postings.source": "CASE {c} WHEN 'issued' THEN 'transferred' ELSE {c} END",
    "postings.target": "CASE {c} WHEN 'pending' THEN 'available' WHEN 'expired' THEN 'redeemed' ELSE 'pending' END",
}


class Column(NamedTuple):
    table: str
    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


class Books(NamedTuple):
    traffic: Traffic
    link: Any
    auditor: Any

    async def columns(self) -> list[Column]:
        rows = await self.link.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = ANY($1) AND column_name <> 'program_id' ORDER BY 1, 2",
            list(BOOKS),
        )
        return [Column(*row) for row in rows]

    async def intact(self) -> bool:
        return (await verify(self.auditor.acquire, self.traffic.program, also=(reviews,))).intact

    async def missed(self, table: str) -> bool:
        """Whether one row is missed when it is gone; it is put back."""
        gone = await self.link.fetch(
            f"DELETE FROM {table} t WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM {table} WHERE program_id = $1"
            f" OFFSET (SELECT least(7, count(*) - 1) FROM {table} WHERE program_id = $1) LIMIT 1) RETURNING t.*",
            self.traffic.program,
        )
        missed = not await self.intact()
        await self.link.copy_records_to_table(table, records=[tuple(row) for row in gone])
        assert gone
        return missed

    async def seen(self, column: Column) -> bool | None:
        """Whether a change of one row is seen; None when the table's own checks refuse any change. It is undone."""
        name, table = column.name, column.table
        other = OWN.get(str(column), OTHER.get(column.type, "")).format(c=name)
        for rows in ("9", "0", "3", "1", "2", "5"):  # some row that may be changed
            changed = f"{name}::text IS DISTINCT FROM ({other})::text"
            chosen = f"SELECT tableoid, ctid FROM {table} WHERE program_id = $1 AND {changed} OFFSET {rows} LIMIT 1"
            where = f"(tableoid, ctid) = ({chosen})"
            old = await self.link.fetchval(
                f"SELECT {name}::text FROM {table} WHERE {where}", self.traffic.program
            )
            try:
                new = await self.link.fetchrow(
                    f"UPDATE {table} SET {name} = {other} WHERE {where} RETURNING tableoid, ctid",
                    self.traffic.program,
                )
            except (asyncpg.CheckViolationError, asyncpg.UniqueViolationError):
                continue
            if new is None:
                continue
            seen = not await self.intact()
            await self.link.execute(
                f"UPDATE {table} SET {name} = $1::text::{column.type} WHERE (tableoid, ctid) = ($2, $3)",
                old,
                *new,
            )
            return seen
        return None


@pytest.fixture(scope="module")
async def books(database: Database) -> AsyncIterator[Books]:
    link = await asyncpg.connect(database.superuser_url)
    await link.execute("SET session_replication_role = replica")
    async with (
        serving(database) as runtime,
        asyncpg.create_pool(database.app_url, min_size=1, max_size=1) as auditor,
    ):
        yield Books(await a_month(runtime), link, auditor)
    await link.close()


async def test_no_value_of_the_books_changes_unseen(books: Books) -> None:
    assert await books.intact()
    unseen: set[str] = set()
    refused: set[str] = set()
    columns = await books.columns()
    for column in columns:
        match await books.seen(column):
            case None:
                refused.add(str(column))
            case False:
                unseen.add(str(column))
            case True:
                pass
    assert await books.intact(), "the changes were not undone"
    assert unseen == set(NOT_SEEN)
    assert refused == REFUSED
    print(f"\n{len(columns)} columns of {len(BOOKS)} tables, {len(NOT_SEEN)} of them beyond the books")


@pytest.mark.parametrize("table", [table for table in BOOKS if table != "idempotency_records"])
async def test_no_row_of_the_books_goes_unmissed(books: Books, table: str) -> None:
    """Records of requests alone may go: they are purged when their time is over."""
    assert await books.missed(table)
    assert await books.intact(), "the row was not put back"
