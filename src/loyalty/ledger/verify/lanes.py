"""The chain of one lane, read in ranges of blocks: every hash recomputed from the rows it covers.

A batch's decisions, entries, postings and lots bear ids above the last id of the block before and not above that
of its own: a range of blocks is a range of ids in each table. Rows that fit nowhere are named.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from loyalty.base.ids import NIL
from loyalty.ledger.chain import FORMAT, GENESIS, micros, pack_block
from loyalty.ledger.verify.desk import Heard, hear, read_detail
from loyalty.ledger.verify.frame import (
    BY_HAND,
    OF_PROGRAM,
    UNREADABLE,
    Connect,
    Counted,
    Notes,
    Stocked,
    count_in,
    snapshot,
    stock_in,
)
from loyalty.ledger.verify.packed import DECISIONS
from loyalty.ledger.verify.report import Figures, Findings, LaneFigures

RANGE_DECISIONS = 3_000  # what a range should hold; the number of blocks follows from what the last one held
SUMS_KEPT = 50_000  # counters that are summed up before they are noted
_TURN = 64  # decisions handled before others get a turn

_BLOCKS = """
SELECT number, id, format, recorded_at, config_number, closes_on, first_position, last_position, previous_hash,
       hash, last_id
FROM blocks WHERE program_id = $1 AND cell = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5
"""
_ROWS = """
SELECT (SELECT count(*) FROM entries WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4),
       (SELECT count(*) FROM lots WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4),
       (SELECT count(*) FROM postings WHERE program_id = $1 AND cell = $2 AND entry_id > $3 AND entry_id <= $4)
"""
# Asked when there are more rows than belong to decisions.
_ORPHANS = {
    "entries": """
SELECT id, decision_id FROM entries c WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 AND NOT EXISTS (
    SELECT FROM decisions d WHERE d.program_id = $1 AND d.cell = $2 AND d.id > $3 AND d.id <= $4
       AND d.id = c.decision_id)
ORDER BY id
""",
    "lots": """
SELECT id, issuing_entry_id FROM lots c WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 AND NOT EXISTS (
    SELECT FROM entries e WHERE e.program_id = $1 AND e.cell = $2 AND e.id > $3 AND e.id <= $4
       AND e.id = c.issuing_entry_id)
ORDER BY id
""",
    "postings": """
SELECT entry_id, entry_id FROM postings c WHERE program_id = $1 AND cell = $2 AND entry_id > $3 AND entry_id <= $4
   AND NOT EXISTS (
    SELECT FROM entries e WHERE e.program_id = $1 AND e.cell = $2 AND e.id > $3 AND e.id <= $4 AND e.id = c.entry_id)
ORDER BY entry_id
""",
}
# Asked when postings of a decision do not stand at places of their own, or its entries were not recorded with it.
_MISPLACED = """
SELECT * FROM (
    SELECT p.entry_id, p.position, row_number() OVER (PARTITION BY p.entry_id ORDER BY p.position) - 1 AS place
    FROM entries e, LATERAL (
        SELECT entry_id, position FROM postings WHERE program_id = $1 AND cell = $2 AND entry_id = e.id OFFSET 0) p
    WHERE e.program_id = $1 AND e.cell = $2 AND e.id > $3 AND e.id <= $4 AND e.decision_id = $5) found
WHERE position <> place ORDER BY entry_id, position
"""
_RECORDED = """
SELECT id FROM entries
WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 AND decision_id = $5 AND recorded_at <> $6 ORDER BY id
"""
# Each by its key (OFFSET 0), whatever the planner believes of tables without statistics.
_ACCOUNTLESS = """
SELECT u.id FROM (
    SELECT DISTINCT account_id AS id FROM entries WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4) u
LEFT JOIN LATERAL (
    SELECT true AS there FROM accounts WHERE program_id = $1 AND cell = $2 AND id = u.id OFFSET 0) a ON true
WHERE a.there IS NULL
"""
_ENTRIES_OF = """
SELECT count(*), (array_agg(id ORDER BY seq))[1] FROM entries WHERE program_id = $1 AND cell = $2 AND account_id = $3
"""
_CONTENTS = """
SELECT id, convert_to(content::text, 'UTF8')
FROM activities WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4
"""
# $5: the first positions of blocks; $6: the last id before them, and theirs.
_EVENTS = """
SELECT count(*), count(DISTINCT position),
       min(position) FILTER (WHERE (id > ($6::uuid[])[block] AND id <= ($6::uuid[])[block + 1]) IS NOT TRUE)
FROM (
    SELECT id, position, width_bucket(position, $5::bigint[]) AS block
    FROM engagement_events WHERE program_id = $1 AND cell = $2 AND position BETWEEN $3 AND $4) e
"""
# The first position that no event has, or several: events are counted, not positions, of which a block may claim any
# number.
_MISSING_EVENT = """
SELECT coalesce(min(least(position, place)) FILTER (WHERE position <> place), $3::bigint + count(*))
FROM (
    SELECT position, $3::bigint + row_number() OVER (ORDER BY position) - 1 AS place
    FROM engagement_events WHERE program_id = $1 AND cell = $2 AND position BETWEEN $3 AND $4) e
"""
_NEWEST = """
SELECT number, last_id, last_position FROM blocks WHERE program_id = $1 AND cell = $2 ORDER BY number DESC LIMIT 1
"""
_BEYOND = {
    table: f"SELECT {key} FROM {table} WHERE program_id = $1 AND cell = $2 AND {key} > $3 ORDER BY {key} LIMIT 1"
    for table, key in (
        ("decisions", "id"),
        ("entries", "id"),
        ("postings", "entry_id"),
        ("lots", "id"),
        ("engagement_events", "position"),
    )
}


class _Range(NamedTuple):
    """The rows of some blocks, in the order of their ids."""

    blocks: list[Any]
    last_id: UUID
    decisions: list[Any]
    rows: tuple[int, int, int]  # entries, lots and postings that there are
    # Of accounts that are not there: how many entries they have, and the first.
    accountless: list[tuple[UUID, int, UUID]]
    contents: dict[UUID, bytes | None]  # of activities: what they were told, while it is kept
    events: tuple[int, int | None, int | None]


class LaneReader:
    """Reads one lane up to the block that was its newest when verification began."""

    def __init__(
        self,
        connect: Connect,
        program_id: UUID,
        cell: int,
        notes: Notes,
        findings: Findings,
        figures: Figures,
    ) -> None:
        self.connect = connect
        self.program_id = program_id
        self.cell = cell
        self.notes = notes
        self.findings = findings
        self.figures = figures
        # The block before.
        self.number = 0
        self.hash = GENESIS
        self.last_id = NIL
        self.recorded_at: datetime | None = None
        self.config_number = 0
        self.position = 0
        self.ended = False  # all was read and noted
        self._missing: set[UUID] = set()  # accounts that were named
        self._sums: Counted = {}  # not noted yet

    async def read(self, until: int, progress: Callable[[int], None]) -> LaneFigures | None:
        """Verify all blocks up to number `until`; None when the lane has none."""
        rows = await self._fetch(self.number, self.last_id, self.position, until, 32)
        while rows is not None:
            before = self.number
            read, end = len(rows.blocks), rows.blocks[-1]
            limit = max(1, min(20_000, read * RANGE_DECISIONS // max(len(rows.decisions), read // 4, 1)))
            # The database reads the next range while this one is hashed.
            upcoming = asyncio.ensure_future(
                self._fetch(end["number"], rows.last_id, end["last_position"], until, limit)
            )
            try:
                await self._check(rows)
            except BaseException:
                upcoming.cancel()
                await asyncio.wait([upcoming])
                raise
            progress(self.number - before)
            rows = await upcoming
        self._note_sums()
        self.ended = True
        if self.number < until:
            self._broken("blocks", {"number": until}, f"is gone: the lane ends at block {self.number}")
        if self.recorded_at is None:
            return None
        return LaneFigures(self.cell, self.number, self.recorded_at, self.hash.hex())

    async def rows_beyond(self) -> None:
        """Name rows above the lane's newest block: they were never part of the chain, or their block is gone."""
        async with snapshot(self.connect, self.program_id) as connection:
            newest = await connection.fetchrow(_NEWEST, self.program_id, self.cell)
            number, last_id, position = newest or (0, NIL, 0)
            for table, query in _BEYOND.items():
                bound = position if table == "engagement_events" else last_id
                beyond = await connection.fetchval(query, self.program_id, self.cell, bound)
                if beyond is not None:
                    key = {"position" if table == "engagement_events" else "id": beyond}
                    self._broken(
                        table, key, f"lies above the lane's newest block {number}: its block is missing"
                    )

    def _broken(self, table: str, key: dict[str, object], what: str) -> None:
        self.findings.add(("lane", self.cell, table), table, {"cell": self.cell, **key}, what)

    async def _fetch(
        self, number: int, last_id: UUID, position: int, until: int, limit: int
    ) -> _Range | None:
        """The rows of up to `limit` blocks behind the given one; None when there are no more."""
        who = (self.program_id, self.cell)
        if number >= until:
            return None
        async with snapshot(self.connect, self.program_id) as connection:
            blocks = await connection.fetch(_BLOCKS, *who, number, until, limit)
            if not blocks:
                return None
            ids = (last_id, max(block["last_id"] for block in blocks))
            # A range is many rows of each table, also where the planner expects one.
            await connection.execute("SET LOCAL enable_nestloop = off")
            decisions = await connection.fetch(DECISIONS, *who, *ids)
            await connection.execute("SET LOCAL enable_nestloop = on")
            rows: Any = await connection.fetchrow(_ROWS, *who, *ids)
            return _Range(
                blocks=blocks,
                last_id=ids[1],
                decisions=decisions,
                rows=tuple(rows),
                accountless=[
                    (id, *(await connection.fetchrow(_ENTRIES_OF, *who, id) or ()))
                    for (id,) in await connection.fetch(_ACCOUNTLESS, *who, *ids)
                ],
                contents=dict(map(tuple, await connection.fetch(_CONTENTS, *who, *ids))),
                events=await self._events(connection, blocks, last_id, position + 1),
            )

    async def _events(
        self, connection: asyncpg.Connection, blocks: list[Any], last_id: UUID, first: int
    ) -> tuple[int, int | None, int | None]:
        """Events of blocks from position `first` on: how many, and the first positions that are not there once, or have
        the id of another block.
        """
        last = blocks[-1]["last_position"]
        if last < first:
            return 0, None, None
        where = (self.program_id, self.cell, first, last)
        firsts = [block["first_position"] for block in blocks]
        row = await connection.fetchrow(
            _EVENTS, *where, firsts, [last_id, *(block["last_id"] for block in blocks)]
        )
        assert row is not None
        count, distinct, misplaced = row
        wrong = None
        if count != last - first + 1 or distinct != count:
            wrong = await connection.fetchval(_MISSING_EVENT, *where)
        return count, wrong, misplaced

    async def _check(self, rows: _Range) -> None:
        """Recompute one range and compare."""
        figures, after = self.figures, self.last_id
        entries, lots, postings = rows.rows
        figures.blocks += len(rows.blocks)
        figures.decisions += len(rows.decisions)
        figures.entries += entries
        figures.postings += postings
        figures.lots += lots
        figures.events += rows.events[0]
        self._check_events(rows)
        self._check_accounts(rows)
        doubtful: list[tuple[UUID, datetime]] = []
        if await self._blocks(rows.blocks, rows.decisions, rows.contents, doubtful) != rows.rows:
            await self._name_orphans(after, rows.last_id)
        for decision_id, recorded_at in doubtful:
            await self._name_entries(after, rows.last_id, decision_id, recorded_at)

    async def _name_orphans(self, *ids: UUID) -> None:
        words = {
            "entries": "belongs to decision {}, which is not there",
            "lots": "was issued by an entry that is not there",
            "postings": "belongs to an entry that is not there",
        }
        async with snapshot(self.connect, self.program_id) as connection:
            for table, query in _ORPHANS.items():
                key = "entry_id" if table == "postings" else "id"
                for id, of in await connection.fetch(query, self.program_id, self.cell, *ids):
                    self._broken(table, {key: id}, words[table].format(of))

    async def _name_entries(self, after: UUID, until: UUID, decision_id: UUID, recorded_at: datetime) -> None:
        which = (self.program_id, self.cell, after, until, decision_id)
        async with snapshot(self.connect, self.program_id) as connection:
            misplaced = await connection.fetch(_MISPLACED, *which)
            strange = await connection.fetch(_RECORDED, *which, recorded_at)
        for entry_id, position, place in misplaced:
            key: dict[str, object] = {"entry_id": entry_id, "position": position}
            self._broken("postings", key, f"stands at place {position}, but {place} come before it")
        for (entry_id,) in strange:
            self._broken("entries", {"id": entry_id}, "was not recorded at the instant of its block")

    def _check_events(self, rows: _Range) -> None:
        _, wrong, misplaced = rows.events
        if misplaced is not None:
            self._broken("engagement_events", {"position": misplaced}, "bears an id of another block")
        for block in rows.blocks:
            first, last = block["first_position"], block["last_position"]
            if wrong is not None and self.position < wrong <= last:
                what = f"is missing or there twice: block {block['number']} has events up to {last}"
                self._broken("engagement_events", {"position": wrong}, what)
            if first != self.position + 1 or last < self.position:
                key: dict[str, object] = {"number": block["number"]}
                self._broken(
                    "blocks", key, f"counts its events from {first}, but {self.position} came before"
                )
            self.position = last

    def _check_accounts(self, rows: _Range) -> None:
        for id, number, entry_id in rows.accountless:
            if id not in self._missing:
                self._missing.add(id)
                self.findings.add(
                    ("account", id),
                    "accounts",
                    {"cell": self.cell, "id": id},
                    f"is missing: it has {number} entries, {entry_id} the first of them",
                    check="accounts",
                )

    async def _blocks(
        self,
        blocks: list[Any],
        decisions: list[Any],
        contents: dict[UUID, bytes | None],
        doubtful: list[tuple[UUID, datetime]],
    ) -> tuple[int, int, int]:
        """Compare the blocks' hashes; how many entries, lots and postings belong to their decisions."""
        stocks: Stocked = {}
        given: dict[UUID, int] = {}
        entries = lots = postings = place = 0
        for block in blocks:
            number, id, format, recorded_at, config, closes_on, _, _, previous, hash, last_id = block
            self._links(number, id, format, recorded_at, config, previous, last_id)
            instant = micros(recorded_at)
            recorded = instant.to_bytes(8, "big", signed=True)
            parts: list[bytes] = [b""]
            first = place
            while place < len(decisions) and decisions[place][0] <= last_id:
                row = decisions[place]
                decision_id, _, _, _, _, status, _, detail, answer, before, behind, mine, *of_entries = row
                self._decision(row, number, recorded_at, contents, stocks)
                parts += (
                    before,
                    sha256(detail).digest(),
                    (status & 0xFFFF).to_bytes(2, "big"),
                    sha256(answer).digest(),
                    behind,
                )
                if mine is not None:
                    issued, moved, placed, at, transferred = of_entries
                    entries, lots, postings = entries + mine, lots + issued, postings + moved
                    if at != recorded or not placed:
                        doubtful.append((decision_id, recorded_at))
                    if transferred:
                        given[decision_id] = transferred
                place += 1
                if place % _TURN == 0:
                    await asyncio.sleep(0)
            parts[0] = pack_block(
                format & 0xFFFF,  # what no block has becomes bytes that none has, and no error
                self.program_id,
                self.cell & 0xFFFF,
                number,
                instant,
                config & 0xFFFF_FFFF,
                None if closes_on is None else closes_on.isoformat(),
                previous,
                place - first,
            )
            if sha256(b"".join(parts)).digest() != hash:
                self._broken(
                    "blocks",
                    {"number": number},
                    f"its hash is not that of its {place - first} decisions with their entries, postings and lots: "
                    f"one of them was changed, added or removed",
                )
            self.number, self.hash, self.last_id = number, hash, last_id
            self.recorded_at, self.config_number = recorded_at, config
        if len(self._sums) > SUMS_KEPT:
            self._note_sums()
        self.notes.stocked(stocks)
        self.notes.transferred(given)
        return entries, lots, postings

    def _note_sums(self) -> None:
        self.notes.counted(self.cell, self._sums)
        self._sums = {}

    def _links(
        self,
        number: int,
        id: UUID,
        format: int,
        recorded_at: datetime,
        config: int,
        previous: bytes,
        last_id: UUID,
    ) -> None:
        key: dict[str, object] = {"number": number}
        if number != self.number + 1:
            self._broken("blocks", {"number": self.number + 1}, "is missing: the next one is " + str(number))
        elif previous != self.hash:
            self._broken("blocks", key, "does not continue the hash of the block before it")
        if format != FORMAT:
            self._broken("blocks", key, f"has format {format}, which is not known")
        if self.recorded_at is not None and recorded_at < self.recorded_at:
            self._broken("blocks", key, "was recorded before the block before it")
        if config < self.config_number:
            self._broken("blocks", key, "names an older configuration than the block before it")
        if not self.last_id < id <= last_id:
            self._broken("blocks", key, "does not bear an id of its own place in the lane")

    def _decision(
        self,
        row: Any,
        number: int,
        recorded_at: datetime,
        contents: dict[UUID, bytes | None],
        stocks: Stocked,
    ) -> None:
        """Note what a decision of block `number` says of rows beside the chain."""
        id, block_number, kind, member_id, activity_id, answer_status, occurred_at, text = row[:8]
        if block_number != number:
            self._broken(
                "decisions", {"id": id}, f"says block {block_number}, but lies among those of {number}"
            )
        if self.cell == 0 and kind in OF_PROGRAM:
            self.notes.decided(kind, id, text)
        try:
            detail = read_detail(text)
            if detail.content_sha256 is not None and kind in ("purchase", "return"):
                self._compare_content(activity_id, contents, detail.content_sha256)
            if detail.counted or detail.used:
                count_in(self._sums, member_id, detail)
            if detail.stocked:
                stock_in(stocks, detail)
            if detail.enrolled or detail.stood or kind in BY_HAND:
                said = Heard(id, kind, member_id, occurred_at, recorded_at, answer_status, detail)
                hear(self.notes, self.cell, said)
        except UNREADABLE:
            self._broken("decisions", {"id": id}, "has a detail that cannot be read")

    def _compare_content(self, activity_id: UUID, contents: dict[UUID, bytes | None], noted: str) -> None:
        """What a purchase was told is kept apart, until retention removes it, and bears the noted digest."""
        try:
            content = contents[activity_id]
        except KeyError:
            self._broken("activities", {"id": activity_id}, "is missing: a decision was made on it")
            return
        if content is not None and sha256(content).hexdigest() != noted:
            self._broken(
                "activities", {"id": activity_id}, "has other contents than its decision was made on"
            )
