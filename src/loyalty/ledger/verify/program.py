"""What a program is by its own decisions: live or sandbox, by which clock, with which configurations.

The reader of its lane notes what they say; what was decided meanwhile is added in the snapshot that is compared.
"""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import OF_PROGRAM, Connect, Notes, snapshot
from loyalty.ledger.verify.report import Findings

_NEWER = f"""
SELECT id, kind, detail FROM decisions
WHERE program_id = $1 AND cell = 0 AND id > $2 AND kind IN {OF_PROGRAM} ORDER BY id
"""
_CLOCK = """
SELECT p.kind, c.now_at, c.moving_to, c.moved_by FROM programs p LEFT JOIN sandbox_clocks c ON c.program_id = p.id
WHERE p.id = $1
"""
_BEGAN = "SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = 0 AND number = 1"
_CONFIGURATIONS = """
SELECT c.number, encode(sha256(convert_to(
           c.settings::text || c.ruleset::text || coalesce(c.rewards::text, '')
               || coalesce(c.tier_sets::text, ''), 'UTF8')), 'hex'), c.effective_at
FROM configurations c WHERE c.program_id = $1 ORDER BY c.number
"""


class _Note(msgspec.Struct):
    to: datetime | None = None  # of a clock
    program: str | None = None  # of a publication: the program's kind


class _Detail(msgspec.Struct):
    note: _Note


class _Publication(msgspec.Struct, frozen=True):
    """What the decision of a publication says of the configuration."""

    number: int
    effective_at: datetime
    sha256: str


class _PublishDetail(msgspec.Struct, frozen=True):
    note: _Publication


class ProgramReader:
    """Compares what stands of a program as a whole with what the decisions of its own lane say."""

    def __init__(
        self, connect: Connect, program_id: UUID, last_id: UUID, notes: Notes, findings: Findings
    ) -> None:
        """`last_id`: the last id that the chain's reader saw."""
        self.connect = connect
        self.program_id = program_id
        self.last_id = last_id
        self.notes = notes
        self.findings = findings

    async def clock(self) -> None:
        """It is of the kind that it was made; a sandbox's clock stands where it was set, a live program has none."""
        async with snapshot(self.connect, self.program_id) as connection:
            row = await connection.fetchrow(_CLOCK, self.program_id)
            if row is None:
                return  # no such program
            kind, now_at, *moved = row
            began_at = await connection.fetchval(_BEGAN, self.program_id)
            await self._catch_up(connection)
        published = self.notes.of_program("publish")
        if published and (was := _note(published[0][1]).program) != kind:
            self._broken("programs", f"is {kind} now, and was made {was}")
        (set_in, said), (moved_in, wanted) = [
            (last[-1][0], _note(last[-1][1])) if last else (NIL, None)
            for last in (self.notes.of_program(step) for step in ("advance_clock", "move_clock"))
        ]
        if kind != "sandbox":
            if now_at is not None:
                self._broken("sandbox_clocks", "belongs to a program that lives by real time")
            if said is not None:
                self._broken("programs", "lives by real time, but a clock of it was set")
            return
        if now_at is None:
            self._broken("sandbox_clocks", "is missing: the program lives by a clock of its own")
            return
        set_to = said.to if said is not None else began_at
        if set_to is not None and set_to != now_at:
            what = f"stands at {now_at.isoformat()}, but was set to {set_to.isoformat()}"
            self._broken("sandbox_clocks", what)
        meant: list[object] = [None, None]
        if wanted is not None:
            there = set_in > moved_in and set_to is not None and wanted.to is not None and set_to >= wanted.to
            meant = [None if there else wanted.to, moved_in]
        if moved != meant:
            self._broken("sandbox_clocks", "is not on the way on which it was sent last")

    async def configurations(self) -> None:
        """Every configuration is the one whose digest its publication noted, in force from the same instant."""
        async with snapshot(self.connect, self.program_id) as connection:
            stored = {
                row[0]: tuple(row)[1:] for row in await connection.fetch(_CONFIGURATIONS, self.program_id)
            }
            await self._catch_up(connection)
        for _, detail in self.notes.of_program("publish"):
            try:
                note = msgspec.json.decode(detail, type=_PublishDetail).note
            except msgspec.MsgspecError:
                continue  # named with its decision
            found = stored.pop(note.number, None)
            if found is None:
                self._configuration_broken(note.number, "is missing: it was published")
            elif found != (note.sha256, note.effective_at):
                self._configuration_broken(note.number, "is not as it was published")
        for number in stored:
            self._configuration_broken(number, "was never published")

    async def _catch_up(self, connection: asyncpg.Connection) -> None:
        for id, kind, detail in await connection.fetch(_NEWER, self.program_id, self.last_id):
            self.notes.decided(kind, id, detail)

    def _broken(self, table: str, what: str) -> None:
        self.findings.add("clock" if table == "sandbox_clocks" else table, table, {}, what)

    def _configuration_broken(self, number: int, what: str) -> None:
        self.findings.add(("configurations", number), "configurations", {"number": number}, what)


def _note(detail: str | bytes) -> _Note:
    """What a decision notes; nothing of one that cannot be read, which is named with the chain."""
    try:
        return msgspec.json.decode(detail, type=_Detail).note
    except msgspec.MsgspecError:
        return _Note()
