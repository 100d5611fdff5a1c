"""Rows where no reader of a lane would come by, and a clock that no decision set."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import Findings

_HEADS = "SELECT cell FROM heads WHERE program_id = $1 ORDER BY cell"
_CELLS = "SELECT cells FROM deployment"
_TABLES = (
    "blocks", "decisions", "entries", "postings", "lots", "accounts", "counters", "holds", "activities", "returns",
    "redemptions", "engagement_events", "members", "member_profiles", "member_changes", "member_pins", "proposals",
    "freezes", "member_days", "standings", "tier_moves",
)  # fmt: skip
_ELSEWHERE = """
SELECT cell FROM {table} WHERE program_id = $1 AND cell < 0
UNION ALL SELECT cell FROM {table} WHERE program_id = $1 AND cell >= $2 LIMIT 1
"""
_CLOCK = """
SELECT p.kind, c.now_at, c.moving_to, c.moved_by FROM programs p LEFT JOIN sandbox_clocks c ON c.program_id = p.id
WHERE p.id = $1
"""
_MADE = """
SELECT detail FROM decisions WHERE program_id = $1 AND cell = 0 AND kind = 'publish' ORDER BY id LIMIT 1
"""
_LAST = """
SELECT id, detail FROM decisions WHERE program_id = $1 AND cell = 0 AND kind = $2 ORDER BY id DESC LIMIT 1
"""
_BEGAN = "SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = 0 AND number = 1"


class _Note(msgspec.Struct):
    to: datetime | None = None  # of a clock
    program: str | None = None  # of a publication: the program's kind


class _Detail(msgspec.Struct):
    note: _Note


async def strays(connect: Connect, program_id: UUID, findings: Findings) -> None:
    """The program has the lanes of its deployment and no rows beside them; its clock stands where it was set."""
    async with snapshot(connect, program_id) as connection:
        cells: int = await connection.fetchval(_CELLS) or 0
        heads = [cell for (cell,) in await connection.fetch(_HEADS, program_id)]
        for cell in sorted({*heads} ^ {*range(cells)}):
            what = "is no lane of this deployment" if cell in heads else "is missing: the lane has no head"
            findings.add("heads", "heads", {"cell": cell}, what)
        for table in _TABLES:
            cell = await connection.fetchval(_ELSEWHERE.format(table=table), program_id, cells)
            if cell is not None:
                findings.add(("cell", table), table, {"cell": cell}, "lies in no lane of the program")
        row: Any = await connection.fetchrow(_CLOCK, program_id)
        if row is None:
            return  # no such program
        kind, now_at, *moved = row
        made = await connection.fetchval(_MADE, program_id)
        if made is not None and (was := _note(made).program) != kind:
            findings.add("programs", "programs", {}, f"is {kind} now, and was made {was}")
        (set_in, said), (moved_in, wanted) = [
            (NIL, None) if last is None else (last[0], _note(last[1]))
            for last in [
                await connection.fetchrow(_LAST, program_id, step) for step in ("advance_clock", "move_clock")
            ]
        ]
        if kind != "sandbox":
            if now_at is not None:
                findings.add("clock", "sandbox_clocks", {}, "belongs to a program that lives by real time")
            if said is not None:
                findings.add("programs", "programs", {}, "lives by real time, but a clock of it was set")
            return
        if now_at is None:
            findings.add("clock", "sandbox_clocks", {}, "is missing: the program lives by a clock of its own")
            return
        set_to = said.to if said is not None else await connection.fetchval(_BEGAN, program_id)
        if set_to is not None and set_to != now_at:
            what = f"stands at {now_at.isoformat()}, but was set to {set_to.isoformat()}"
            findings.add("clock", "sandbox_clocks", {}, what)
        meant: list[object] = [None, None]
        if wanted is not None:
            there = set_in > moved_in and set_to is not None and wanted.to is not None and set_to >= wanted.to
            meant = [None if there else wanted.to, moved_in]
        if moved != meant:
            findings.add("clock", "sandbox_clocks", {}, "is not on the way on which it was sent last")


def _note(detail: str) -> _Note:
    """What a decision notes; nothing of one that cannot be read, which is named with the chain."""
    try:
        return msgspec.json.decode(detail, type=_Detail).note
    except msgspec.MsgspecError:
        return _Note()
