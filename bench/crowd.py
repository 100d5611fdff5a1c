"""A great many members, fast: what the road wrote of a few is written again and again, and chained anew.

Every row that the few left is a text with gaps for whatever must differ: ids (each block's in its own part of time),
receipts, keys, cards, positions, digests. A copy fills them, and COPY reads the rows, block after block of all copies.
So the books are as the program itself writes them, and `loyalty verify` accepts them.
"""

import asyncio
import io
import re
import secrets
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.world import card
from loyalty.base.canonical import name_digest
from loyalty.ledger.chain import (
    FORMAT,
    micros,
    pack_block,
    pack_decision,
    pack_entry,
    pack_lot,
    pack_posting,
)

# Tables in which the few have rows, and the id that tells of which block a row is.
OWN = {
    "members": "id", "identifiers": "member_id", "member_days": "member_id", "counters": "owner_id", "accounts": "id",
    "lots": "id", "entries": "id", "postings": "entry_id", "decisions": "id", "activities": "id",
    "activity_keys": "activity_id", "idempotency_records": "decision_id", "engagement_events": "id", "blocks": "id",
}  # fmt: skip
AT_ONCE = 16  # copies of a block in one COPY a table: more would hold gigabytes of text
LINKS = 2  # tables that are written at one moment

_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAMED = re.compile('(?<="named":")[0-9a-f]{32}(?=")')
_MARK = b"\xfa\x5c\x0d\xe5"  # among packed bytes: here begins an id; the number of its block follows
_BLOCKS = """
SELECT b.number, b.last_id, b.recorded_at, b.config_number, b.hash, b.last_position, d.kind
FROM blocks b, LATERAL (
    SELECT kind FROM decisions d WHERE d.program_id = $1 AND d.block_number = b.number LIMIT 1) d
WHERE b.program_id = $1 ORDER BY b.number
"""
_NAMES = "SELECT decision_id::text, source, external_id FROM activity_keys WHERE program_id = $1"


class NotCopied(Exception):
    """The program has rows that cannot be copied."""


@dataclass
class Block:
    """What one block of the few left, as texts with gaps."""

    place: int
    config_number: int
    lines: dict[str, bytes] = field(default_factory=dict[str, bytes])  # by table
    names: list[tuple[str, bytes] | None] = field(default_factory=list[tuple[str, bytes] | None])
    details: list[bytes] = field(default_factory=list[bytes])
    answers: list[bytes] = field(default_factory=list[bytes])
    events: int = 0
    packed: bytes = b""  # its decisions as they are hashed


async def grow(superuser_url: str, program_id: UUID, few: int, members: int) -> int:
    """Make copies of the only members of a program until there are at least so many; how many there are.

    Needs: a program in which nothing was done but to enrol these few and to record purchases of theirs.
    Raises: NotCopied.
    """
    copies = -(-members // few) - 1
    async with asyncpg.create_pool(
        superuser_url, min_size=LINKS, max_size=LINKS, server_settings={"timezone": "UTC"}
    ) as pool:
        stored = await pool.fetch(_BLOCKS, program_id)
        first = next(place for place, block in enumerate(stored) if block["kind"] == "enrol")
        if not first or any(block["kind"] not in ("enrol", "purchase") for block in stored[first:]):
            raise NotCopied("more was done than to enrol the few and to serve them")
        async with pool.acquire() as link:
            blocks = await _Reader(link, program_id, stored[first - 1 :]).read()
        chain = _Chain(program_id, few, copies, blocks, stored[-1])
        writing: asyncio.Future[Any] | None = None
        for block in blocks:
            for after in range(0, copies, AT_ONCE):
                lines = await asyncio.to_thread(
                    chain.lines, block, range(after, min(after + AT_ONCE, copies))
                )
                if writing is not None:
                    await writing
                writing = asyncio.gather(
                    *(
                        pool.copy_to_table(table, source=io.BytesIO(text), format="text")
                        for table, text in lines.items()
                    )
                )
        if writing is not None:
            await writing
        await pool.execute("VACUUM ANALYZE")
    return few * (copies + 1)


class _Chain:
    """The lane behind the few, as far as it has been written."""

    def __init__(self, program_id: UUID, few: int, copies: int, blocks: Sequence[Block], newest: Any) -> None:
        self._program_id = program_id
        self._few = few
        self._copies = copies
        self._blocks = len(blocks)
        self._first_ms = (newest["last_id"].int >> 80) + 1
        self._recorded_at = micros(newest["recorded_at"])
        self._number: int = newest["number"]
        self._position: int = newest["last_position"]
        self._hash: bytes = newest["hash"]
        self._keys = [secrets.token_hex(8).encode() for _ in range(copies)]

    def lines(self, block: Block, copies: Iterable[int]) -> dict[str, bytes]:
        """By table the rows of these copies of a block, continuing the chain."""
        filled: dict[str, list[bytes]] = {table: [] for table in block.lines}
        for copy in copies:
            values = self._values(block, copy)
            self._number += 1
            head = pack_block(
                FORMAT,
                self._program_id,
                0,
                self._number,
                self._recorded_at,
                block.config_number,
                None,
                self._hash,
                len(block.details),
            )
            values[b"b"] = b"%d" % self._number
            values[b"q"] = self._hash.hex().encode()
            self._hash = sha256(head + block.packed % values).digest()
            values[b"h"] = self._hash.hex().encode()
            for table, text in block.lines.items():
                filled[table].append(text % values)
        return {table: b"".join(texts) for table, texts in filled.items()}

    def _values(self, block: Block, copy: int) -> dict[bytes, bytes]:
        """What fills the gaps of one copy, but for the chain's own."""
        values = {b"j": b"%08x" % copy, b"k": self._keys[copy]}
        for place in range(self._blocks):
            ms = self._first_ms + place * self._copies + copy
            values[b"u%d" % place] = b"%08x-%04x" % (ms >> 16, ms & 0xFFFF)
            values[b"U%d" % place] = ms.to_bytes(6, "big")
        for member in range(self._few):
            values[b"c%d" % member] = card((copy + 1) * self._few + member).encode()
        values[b"f"] = b"%d" % (self._position + 1)
        for event in range(block.events):
            self._position += 1
            values[b"p%d" % event] = b"%d" % self._position
        values[b"l"] = b"%d" % self._position
        for number, name in enumerate(block.names):
            if name is not None:
                source, receipt = name
                values[b"n%d" % number] = name_digest(source, (receipt % values).decode()).encode()
        for letter, texts in ((b"d", block.details), (b"a", block.answers)):
            for number, text in enumerate(texts):
                said = text % values
                values[letter + b"%d" % number] = said
                values[letter.upper() + b"%d" % number] = sha256(said).digest()
        return values


class _Reader:
    """Makes texts with gaps of what is stored."""

    def __init__(self, link: Any, program_id: UUID, stored: Sequence[Any]) -> None:
        """`stored`: the block before the first of the few, and theirs."""
        self._link = link
        self._program_id = program_id
        self._stored = stored
        self._newest: datetime = stored[-1]["recorded_at"]
        self._recorded = {block["recorded_at"] for block in stored[1:]}
        self._places: dict[str, tuple[int, int]] = {}  # of an id: its block, and which one there
        self._said: list[tuple[str, str]] = []  # what every text says otherwise, and how
        self._names: dict[str, tuple[str, str]] = {}  # of a decision: source and receipt
        self._cards = 0  # seen so far

    async def read(self) -> list[Block]:
        ranges = [(before["last_id"], block["last_id"]) for before, block in pairwise(self._stored)]
        texts = [{table: await self._copied(table, *ids) for table in OWN} for ids in ranges]
        columns = {table: await self._columns(table) for table in OWN}
        self._names = {row[0]: (row[1], row[2]) for row in await self._link.fetch(_NAMES, self._program_id)}
        self._know(texts)
        self._say_otherwise()
        found: list[Block] = []
        for place, (ids, lines) in enumerate(zip(ranges, texts, strict=True)):
            block = Block(place, self._stored[place + 1]["config_number"])
            for table, text in lines.items():
                rows = [
                    dict(zip(columns[table], line.split("\t"), strict=True)) for line in text.splitlines()
                ]
                block.lines[table] = "".join(
                    "\t".join(self._opened(table, row, number, block).values()) + "\n"
                    for number, row in enumerate(rows)
                ).encode()
            block.packed = await self._packed(*ids)
            found.append(block)
        return found

    async def _copied(self, table: str, after: UUID, until: UUID) -> str:
        text, own = io.BytesIO(), OWN[table]
        await self._link.copy_from_query(
            f"SELECT * FROM {table} WHERE program_id = '{self._program_id}' AND {own} > '{after}'"
            f" AND {own} <= '{until}' ORDER BY {own}",
            output=text,
            format="text",
        )
        return text.getvalue().decode()

    async def _columns(self, table: str) -> list[str]:
        statement = await self._link.prepare(f"SELECT * FROM {table}")
        return [column.name for column in statement.get_attributes()]

    def _know(self, texts: Sequence[dict[str, str]]) -> None:
        """Every id that came of these blocks, which block's it is, and which one there, in the order of ids."""
        lasts = [str(block["last_id"]) for block in self._stored]
        counts = [0] * len(texts)
        for id in sorted({id for lines in texts for text in lines.values() for id in _ID.findall(text)}):
            block = bisect_left(lasts, id) - 1
            if 0 <= block < len(texts):
                self._places[id] = (block, counts[block])
                counts[block] += 1

    def _say_otherwise(self) -> None:
        """Receipts are the copy's own, and everything was recorded at the instant of the newest block."""
        runs = {receipt.rpartition("-")[0] for _, receipt in self._names.values()}
        if len(runs) > 1:
            raise NotCopied(f"receipts of several kinds: {', '.join(sorted(runs))}")
        self._said = [(f"{run}-", "R-%(j)b-") for run in runs]
        for at in self._recorded:
            self._said += zip(_written(at), _written(self._newest), strict=True)

    def _gapped(self, text: str) -> str:
        text = _ID.sub(self._gap, text.replace("%", "%%"))
        for old, new in self._said:
            text = text.replace(old, new)
        return text

    def _gap(self, found: "re.Match[str]") -> str:
        place = self._places.get(found[0])
        return found[0] if place is None else f"%(u{place[0]})b-7000-8000-{place[1]:012x}"

    def _opened(self, table: str, row: dict[str, str], number: int, block: Block) -> dict[str, str]:
        """A row with its gaps, those included that only its column tells; what digests are made of is kept."""
        name = self._names.get(row["id"]) if table == "decisions" else None
        row = {column: self._gapped(value) for column, value in row.items()}
        match table:
            case "decisions":
                if "\\" in row["detail"] + row["answer"]:
                    raise NotCopied("a detail or an answer has characters that COPY writes otherwise")
                block.names.append(None if name is None else (name[0], self._gapped(name[1]).encode()))
                block.details.append(_NAMED.sub(f"%(n{number})b", row["detail"]).encode())
                block.answers.append(row["answer"].encode())
                row |= {"block_number": "%(b)b", "detail": f"%(d{number})b", "answer": f"%(a{number})b"}
            case "blocks":
                row |= {"number": "%(b)b", "first_position": "%(f)b", "last_position": "%(l)b"}
                row |= {"previous_hash": r"\\x%(q)b", "hash": r"\\x%(h)b"}
            case "engagement_events":
                row["position"] = f"%(p{number})b"
                block.events += 1
            case "idempotency_records":
                row["key"] = f"%(k)b{row['key'][16:]}"
            case "identifiers":
                row["value"] = f"%(c{self._cards})b"
                self._cards += 1
            case _:
                pass
        return row

    async def _packed(self, after: UUID, until: UUID) -> bytes:
        """What is hashed of a block's decisions, with gaps."""
        lots: dict[UUID, list[bytes]] = {}
        for row in await self._rows("lots", after, until):
            lots.setdefault(row["issuing_entry_id"], []).append(
                pack_lot(
                    self._id(row["id"]),
                    self._id(row["account_id"]),
                    None,
                    self._id(row["decision_id"]),
                    row["points"],
                    micros(row["vintage_at"]),
                    row["policy_number"],
                    micros(row["issued_activates_at"]),
                    micros(row["issued_expires_at"]),
                    None,
                )
            )
        postings: dict[UUID, list[bytes]] = {}
        for row in await self._rows("postings", after, until):
            postings.setdefault(row["entry_id"], []).append(
                pack_posting(self._id(row["lot_id"]), row["points"], row["source"], row["target"])
            )
        entries: dict[UUID, list[bytes]] = {}
        for row in await self._rows("entries", after, until):
            issued, moved = lots.get(row["id"], []), postings.get(row["id"], [])
            packed = pack_entry(
                self._id(row["id"]),
                self._id(row["account_id"]),
                row["seq"],
                row["kind"],
                micros(row["occurred_at"]),
                None,
                row["pending"],
                row["available"],
                row["held"],
                row["debt"],
                0,
                len(issued),
                len(moved),
                row["cause"],
            )
            entries.setdefault(row["decision_id"], []).append(b"".join([packed, *issued, *moved]))
        parts: list[bytes] = []
        marks = {_MARK + block.to_bytes(2, "big"): b"U%d" % block for block in range(len(self._stored) - 1)}
        for number, row in enumerate(await self._rows("decisions", after, until)):
            detail, answer = b"D%d" % number, b"A%d" % number
            marks |= {sha256(gap).digest(): gap for gap in (detail, answer)}
            mine = entries.get(row["id"], [])
            occurred_at = row["occurred_at"]
            parts += [
                pack_decision(
                    self._id(row["id"]),
                    row["kind"],
                    self._id(row["member_id"]),
                    row["activity_id"] and self._id(row["activity_id"]),
                    row["actor_kind"],
                    row["actor_id"],
                    micros(self._newest if occurred_at in self._recorded else occurred_at),
                    row["evaluator"],
                    sha256(detail).digest(),
                    row["answer_status"],
                    sha256(answer).digest(),
                    len(mine),
                ),
                *mine,
            ]
        text = b"".join(parts).replace(b"%", b"%%")
        for mark, gap in marks.items():
            text = text.replace(mark.replace(b"%", b"%%"), b"%(" + gap + b")b")
        return text

    async def _rows(self, table: str, after: UUID, until: UUID) -> Any:
        own = OWN[table]
        order = f"{own}, position" if table == "postings" else own
        return await self._link.fetch(
            f"SELECT * FROM {table} WHERE program_id = $1 AND {own} > $2 AND {own} <= $3 ORDER BY {order}",
            self._program_id,
            after,
            until,
        )

    def _id(self, id: UUID) -> UUID:
        """What stands for an id among packed bytes."""
        block, place = self._places[str(id)]
        return UUID(bytes=_MARK + block.to_bytes(2, "big") + b"\x70\x00\x80\x00" + place.to_bytes(6, "big"))


def _written(at: datetime) -> tuple[str, str]:
    """An instant as PostgreSQL writes it, and as JSON does."""
    plain = f"{at:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") + "+00"
    return plain, msgspec.json.encode(at).decode().strip('"')
