"""The chain of one lane, read in ranges of blocks: every hash recomputed from the rows it covers.

A batch's decisions, entries, postings and lots bear ids above the last id of the block before and not above that
of its own: a range of blocks is a range of ids in each table. Rows that fit nowhere are named.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any
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
from loyalty.ledger.verify.frame import Connect, Counted, Notes, count_in, snapshot
from loyalty.ledger.verify.report import Figures, Findings, LaneFigures

RANGE_DECISIONS = 1_000  # what a range should hold; the number of blocks follows from what the last one held
_TURN = 64  # decisions hashed before others get a turn

_BLOCKS = """
SELECT number, id, format, recorded_at, config_number, closes_on, first_position, last_position, previous_hash,
       hash, last_id
FROM blocks WHERE program_id = $1 AND cell = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5
"""
_DECISIONS = """
SELECT id, block_number, kind, member_id, activity_id, actor_kind, actor_id, occurred_at, evaluator,
       sha256(convert_to(detail, 'UTF8')), answer_status, sha256(convert_to(answer, 'UTF8')),
       CASE WHEN strpos(detail, '"counted"') > 0 THEN detail END,
       CASE WHEN starts_with(detail, '{"content_sha256":"') THEN substr(detail, 20, 64) END
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
       issued_activates_at, issued_expires_at
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
        blocks = 32
        while self.number < until:
            before = self.number
            read, decisions = await self._range(until, blocks)
            if not read:
                self._broken("blocks", {"number": until}, f"the lane ends at block {self.number}: it is gone")
                break
            blocks = max(1, min(20_000, read * RANGE_DECISIONS // max(decisions, read // 4, 1)))
            progress(self.number - before)
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

    async def _range(self, until: int, limit: int) -> tuple[int, int]:
        """Verify up to `limit` blocks; how many blocks and decisions that were."""
        who = (self.program_id, self.cell)
        async with snapshot(self.connect, self.program_id) as connection:
            blocks = await connection.fetch(_BLOCKS, *who, self.number, until, limit)
            if not blocks:
                return 0, 0
            ids = (self.last_id, max(block["last_id"] for block in blocks))
            decisions = await connection.fetch(_DECISIONS, *who, *ids)
            entries = await connection.fetch(_ENTRIES, *who, *ids)
            postings = await connection.fetch(_POSTINGS, *who, *ids)
            lots = await connection.fetch(_LOTS, *who, *ids)
            contents = dict(map(tuple, await connection.fetch(_CONTENTS, *who, *ids)))
            await self._events(connection, blocks)
        figures = self.figures
        figures.blocks += len(blocks)
        figures.decisions += len(decisions)
        figures.entries += len(entries)
        figures.postings += len(postings)
        figures.lots += len(lots)
        packed = self._entries(entries, self._postings(postings), self._lots(lots))
        await self._blocks(blocks, decisions, packed, contents)
        return len(blocks), len(decisions)

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
        place = 0
        for block in blocks:
            number, id, format, recorded_at, config, closes_on, _, _, previous, hash, last_id = block
            self._links(number, id, format, recorded_at, config, previous, last_id)
            parts: list[bytes] = [b""]
            first = place
            while place < len(decisions) and decisions[place][0] <= last_id:
                parts += self._decision(decisions[place], number, recorded_at, entries, contents, sums)
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
            counted,
            noted,
        ) = row
        mine = entries.pop(id, ())
        if block_number != number:
            self._broken(
                "decisions", {"id": id}, f"says block {block_number}, but lies among those of {number}"
            )
        if noted is not None and kind == "purchase":
            self._compare_content(activity_id, contents, noted)
        if counted is not None and member_id is not None:
            try:
                count_in(sums, member_id, counted)
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

    async def _events(self, connection: asyncpg.Connection, blocks: list[Any]) -> None:
        first, last = self.position + 1, blocks[-1]["last_position"]
        for block in blocks:
            if block["first_position"] != self.position + 1 or block["last_position"] < self.position:
                self._broken(
                    "blocks",
                    {"number": block["number"]},
                    f"counts its events from {block['first_position']}, but {self.position} came before it",
                )
            self.position = block["last_position"]
        if last < first:
            return
        highest = max(block["last_id"] for block in blocks)
        row = await connection.fetchrow(
            _EVENTS, self.program_id, self.cell, first, last, self.last_id, highest
        )
        assert row is not None
        count, distinct, in_place = row
        self.figures.events += count
        if count != last - first + 1 or distinct != count:
            position = await connection.fetchval(_MISSING_EVENT, self.program_id, self.cell, first, last)
            self._broken("engagement_events", {"position": position}, "is missing or there twice")
        elif not in_place:
            self._broken(
                "engagement_events", {"position": first}, f"or one up to {last} bears an id of another block"
            )
