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
import msgspec

from loyalty.base.ids import NIL
from loyalty.ledger.chain import (
    FORMAT,
    GENESIS,
    micros,
    pack_block,
    pack_decision,
    pack_entry,
    pack_lot,
    pack_posting,
    pack_redate,
)
from loyalty.ledger.types import Redate
from loyalty.ledger.verify.desk import Heard, hear
from loyalty.ledger.verify.frame import (
    TELLING,
    Connect,
    Counted,
    Notes,
    Stocked,
    count_in,
    read_changes,
    snapshot,
    stock_in,
)
from loyalty.ledger.verify.report import Figures, Findings, LaneFigures

RANGE_DECISIONS = 1_000  # what a range should hold; the number of blocks follows from what the last one held
_TURN = 64  # decisions hashed before others get a turn

_BLOCKS = """
SELECT number, id, format, recorded_at, config_number, closes_on, first_position, last_position, previous_hash,
       hash, last_id
FROM blocks WHERE program_id = $1 AND cell = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5
"""
_DECISIONS = f"""
SELECT id, block_number, kind, member_id, activity_id, actor_kind, actor_id, occurred_at, evaluator,
       sha256(convert_to(detail, 'UTF8')), answer_status, sha256(convert_to(answer, 'UTF8')),
       {TELLING},
       CASE WHEN starts_with(detail, '{{"content_sha256":"') THEN substr(detail, 20, 64) END
FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 ORDER BY id
"""
_ENTRIES = """
SELECT id, account_id, seq, decision_id, kind, occurred_at, recorded_at, cause, corrects_entry_id, redates::text,
       pending, available, held, debt
FROM entries WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 ORDER BY id
"""
_POSTINGS = """
SELECT entry_id, position, lot_id, points, source, target
FROM postings WHERE program_id = $1 AND cell = $2 AND entry_id > $3 AND entry_id <= $4 ORDER BY entry_id, position
"""
_LOTS = """
SELECT id, account_id, parent_lot_id, issuing_entry_id, decision_id, points, vintage_at, policy_number,
       issued_activates_at, issued_expires_at, slides
FROM lots WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 ORDER BY id
"""
_CONTENTS = """
SELECT id, encode(sha256(convert_to(content::text, 'UTF8')), 'hex')
FROM activities WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4
"""
_EVENTS = """
SELECT count(*), count(DISTINCT position), coalesce(bool_and(id > $5 AND id <= $6), true)
FROM engagement_events WHERE program_id = $1 AND cell = $2 AND position BETWEEN $3 AND $4
"""
_MISSING_EVENT = """
SELECT p FROM generate_series($3::bigint, $4::bigint) p
WHERE (SELECT count(*) FROM engagement_events WHERE program_id = $1 AND cell = $2 AND position = p) <> 1
ORDER BY p LIMIT 1
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


_Packed = tuple[UUID, datetime, bytes]  # an entry: id, recorded instant, bytes

_redates = msgspec.json.Decoder(tuple[Redate, ...]).decode


class _Range(NamedTuple):
    """The rows of some blocks, each table in the order of its ids."""

    blocks: list[Any]
    last_id: UUID
    decisions: list[Any]
    entries: list[Any]
    postings: list[Any]
    lots: list[Any]
    contents: dict[UUID, str | None]  # of activities: the digest of what they were told, while it is kept
    events: tuple[int, int | None, bool]


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
        self._given: dict[UUID, int] = {}  # by entry of the range: points put into `transferred`

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
            return _Range(
                blocks=blocks,
                last_id=ids[1],
                decisions=await connection.fetch(_DECISIONS, *who, *ids),
                entries=await connection.fetch(_ENTRIES, *who, *ids),
                postings=await connection.fetch(_POSTINGS, *who, *ids),
                lots=await connection.fetch(_LOTS, *who, *ids),
                contents=dict(map(tuple, await connection.fetch(_CONTENTS, *who, *ids))),
                events=await self._events(connection, ids, position + 1, blocks[-1]["last_position"]),
            )

    async def _events(
        self, connection: asyncpg.Connection, ids: tuple[UUID, UUID], first: int, last: int
    ) -> tuple[int, int | None, bool]:
        """Events at these positions: how many, the first position that is wrong, whether ids are in place."""
        if last < first:
            return 0, None, True
        who = (self.program_id, self.cell)
        row = await connection.fetchrow(_EVENTS, *who, first, last, *ids)
        assert row is not None
        count, distinct, in_place = row
        wrong = None
        if count != last - first + 1 or distinct != count:
            wrong = await connection.fetchval(_MISSING_EVENT, *who, first, last)
        return count, wrong, in_place

    async def _check(self, rows: _Range) -> None:
        """Recompute one range and compare."""
        figures = self.figures
        figures.blocks += len(rows.blocks)
        figures.decisions += len(rows.decisions)
        figures.entries += len(rows.entries)
        figures.postings += len(rows.postings)
        figures.lots += len(rows.lots)
        figures.events += rows.events[0]
        self._check_events(rows)
        packed = self._entries(rows.entries, self._postings(rows.postings), self._lots(rows.lots))
        await self._blocks(rows.blocks, rows.decisions, packed, rows.contents)

    def _check_events(self, rows: _Range) -> None:
        _, wrong, in_place = rows.events
        if wrong is not None:
            self._broken("engagement_events", {"position": wrong}, "is missing or there twice")
        elif not in_place:
            key: dict[str, object] = {"position": self.position + 1}
            self._broken("engagement_events", key, "or one soon after it bears an id of another block")
        for block in rows.blocks:
            first, last = block["first_position"], block["last_position"]
            if first != self.position + 1 or last < self.position:
                key = {"number": block["number"]}
                self._broken(
                    "blocks", key, f"counts its events from {first}, but {self.position} came before"
                )
            self.position = last

    def _postings(self, rows: list[Any]) -> dict[UUID, list[bytes]]:
        packed: dict[UUID, list[bytes]] = {}
        self._given = {}
        for entry_id, position, lot_id, points, source, target in rows:
            mine = packed.get(entry_id)
            if mine is None:
                mine = packed[entry_id] = []
            if position != len(mine):
                self._broken(
                    "postings",
                    {"entry_id": entry_id, "position": position},
                    f"stands at place {position}, but {len(mine)} come before it",
                )
            mine.append(pack_posting(lot_id, points, source, target))
            if target == "transferred":
                self._given[entry_id] = self._given.get(entry_id, 0) + points
            elif source == "transferred":
                self._given[entry_id] = self._given.get(entry_id, 0) - points
        return packed

    def _lots(self, rows: list[Any]) -> dict[UUID, list[bytes]]:
        packed: dict[UUID, list[bytes]] = {}
        for (
            id,
            account_id,
            parent_id,
            entry_id,
            decision_id,
            points,
            vintage_at,
            policy,
            activates,
            expires,
            slides,
        ) in rows:
            lot = pack_lot(
                id,
                account_id,
                parent_id,
                decision_id,
                points,
                micros(vintage_at),
                policy,
                micros(activates),
                micros(expires),
                slides,
            )
            mine = packed.get(entry_id)
            if mine is None:
                packed[entry_id] = [lot]
            else:
                mine.append(lot)
        return packed

    def _entries(
        self, rows: list[Any], postings: dict[UUID, list[bytes]], lots: dict[UUID, list[bytes]]
    ) -> dict[UUID, list[_Packed]]:
        """Per decision its entries: id, recorded instant, bytes."""
        packed: dict[UUID, list[_Packed]] = {}
        seen: dict[UUID, tuple[int, UUID]] = {}
        given: dict[UUID, int] = {}
        for row in rows:
            (
                id,
                account_id,
                seq,
                decision_id,
                kind,
                occurred_at,
                recorded_at,
                cause,
                corrects,
                redates,
                pending,
                available,
                held,
                debt,
            ) = row
            mine_postings = postings.pop(id, ())
            mine_lots = lots.pop(id, ())
            changed = _redates(redates) if redates else ()
            parts = [
                pack_entry(
                    id,
                    account_id,
                    seq,
                    kind,
                    micros(occurred_at),
                    corrects,
                    pending,
                    available,
                    held,
                    debt,
                    len(changed),
                    len(mine_lots),
                    len(mine_postings),
                    cause,
                )
            ]
            for one in changed:
                parts.append(
                    pack_redate(
                        one.lot_id,
                        micros(one.old_activates_at),
                        micros(one.old_expires_at),
                        micros(one.new_activates_at),
                        micros(one.new_expires_at),
                    )
                )
            parts += mine_lots
            parts += mine_postings
            entry = (id, recorded_at, b"".join(parts))
            mine = packed.get(decision_id)
            if mine is None:
                packed[decision_id] = [entry]
            else:
                mine.append(entry)
            if id in self._given:
                given[decision_id] = given.get(decision_id, 0) + self._given[id]
            known = seen.get(account_id)
            seen[account_id] = (1, id) if known is None else (known[0] + 1, known[1])
        for entry_id in postings:
            self._broken("postings", {"entry_id": entry_id}, "belongs to an entry that is not there")
        for entry_id in lots:
            self._broken("lots", {"issuing_entry_id": entry_id}, "was issued by an entry that is not there")
        self.notes.saw_entries(self.cell, seen)
        self.notes.transferred(given)
        return packed

    async def _blocks(
        self,
        blocks: list[Any],
        decisions: list[Any],
        entries: dict[UUID, list[_Packed]],
        contents: dict[UUID, str | None],
    ) -> None:
        sums: Counted = {}
        stocks: Stocked = {}
        place = 0
        for block in blocks:
            number, id, format, recorded_at, config, closes_on, _, _, previous, hash, last_id = block
            self._links(number, id, format, recorded_at, config, previous, last_id)
            parts: list[bytes] = [b""]
            first = place
            while place < len(decisions) and decisions[place][0] <= last_id:
                parts += self._decision(
                    decisions[place], number, recorded_at, entries, contents, sums, stocks
                )
                place += 1
                if place % _TURN == 0:
                    await asyncio.sleep(0)
            parts[0] = pack_block(
                format,
                self.program_id,
                self.cell,
                number,
                micros(recorded_at),
                config,
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
        for decision_id, orphans in entries.items():
            self._broken(
                "entries", {"id": orphans[0][0]}, f"belongs to decision {decision_id}, which is not there"
            )
        self.notes.counted(self.cell, sums)
        self.notes.stocked(stocks)

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
        entries: dict[UUID, list[_Packed]],
        contents: dict[UUID, str | None],
        sums: Counted,
        stocks: Stocked,
    ) -> list[bytes]:
        (
            id,
            block_number,
            kind,
            member_id,
            activity_id,
            actor_kind,
            actor_id,
            occurred_at,
            evaluator,
            detail_digest,
            answer_status,
            answer_digest,
            changed,
            noted,
        ) = row
        mine = entries.pop(id, ())
        if block_number != number:
            self._broken(
                "decisions", {"id": id}, f"says block {block_number}, but lies among those of {number}"
            )
        if noted is not None and kind in ("purchase", "return"):
            self._compare_content(activity_id, contents, noted)
        if changed is not None:
            try:
                changes = read_changes(changed)
                count_in(sums, member_id, changes)
                stock_in(stocks, changes)
                said = Heard(id, kind, member_id, occurred_at, recorded_at, answer_status, changed)
                hear(self.notes, self.cell, said)
            except msgspec.MsgspecError:
                self._broken("decisions", {"id": id}, "has a detail that cannot be read")
        parts = [
            pack_decision(
                id,
                kind,
                member_id,
                activity_id,
                actor_kind,
                actor_id,
                micros(occurred_at),
                evaluator,
                detail_digest,
                answer_status,
                answer_digest,
                len(mine),
            )
        ]
        for entry_id, entry_recorded_at, packed in mine:
            if entry_recorded_at != recorded_at:
                self._broken("entries", {"id": entry_id}, "was not recorded at the instant of its block")
            parts.append(packed)
        return parts

    def _compare_content(self, activity_id: UUID, contents: dict[UUID, str | None], noted: str) -> None:
        """What a purchase was told is kept apart, until retention removes it, and bears the noted digest."""
        try:
            content = contents[activity_id]
        except KeyError:
            self._broken("activities", {"id": activity_id}, "is missing: a decision was made on it")
            return
        if content is not None and content != noted:
            self._broken(
                "activities", {"id": activity_id}, "has other contents than its decision was made on"
            )
