"""The run of an import: reads the parts, sends rows down the road, notes how far it is with what was rejected.

Whoever takes a run over goes on behind the last noted row. Rows that were sent and not noted are sent again, and are
known again: by their natural key, their identifiers, the instant since when a tier is held.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from loyalty.base.database import ServerBusy, reading, transaction
from loyalty.base.forms import CODES
from loyalty.jobs.imports import store
from loyalty.jobs.imports.columns import MEMBER, RowInvalid, Setting, columns_of, command_of
from loyalty.jobs.imports.reader import Reader, Row
from loyalty.jobs.imports.service import ImportInput
from loyalty.jobs.imports.types import PART_BYTES_MAX, FileWrong, Import, Progress, Rejection
from loyalty.jobs.runs import Report, TakenOver
from loyalty.jobs.store import still_ours
from loyalty.jobs.types import Run
from loyalty.posting.commands import Actor, Answer, Command, ImportLot, Submission
from loyalty.posting.content import recognisable
from loyalty.posting.runtime import Runtime
from loyalty.posting.types import NothingToImport

TOGETHER = 64  # rows on their way at once: tills never find more of a file before them
NOTED_MAX = 1_000  # rows that are noted at once, of which most ask nothing: they are no rows of the kind
REJECTIONS_MAX = 100_000  # rows of a file whose faults are kept; more are only counted
_PIECE = 65_536  # bytes that are read at once
_TURN_S = 0.005  # so long whatever else waits is kept waiting
BUSY_S = 60  # so long a row waits for a busy server before the run is given back

# The column that a refusal of the road is about.
_COLUMNS = {
    "points_currency_unknown": "points_currency",
    "balance_limit_exceeded": "points",
    "contradictory_range": "expires_at",
    "activity_differs": "external_id",
    "tier_set_not_found": "tier_set",
    "standing_differs": "since",
}
# Where the words of a code do not say what is the matter.
_WORDS = {
    ("/since", "out_of_range"): "The beginning is still to come.",
    ("/until", "out_of_range"): "The end has passed already: the tier is no longer held.",
}
_OF_MEMBER = {"member_not_found", "member_blocked", "member_erased", "lots_limit_exceeded"}


class _Judged(NamedTuple):
    """What became of a row: `done`, `unchanged` or `rejected`, and why."""

    what: str
    faults: tuple[Rejection, ...] = ()


async def import_file(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Bring in the file of a run. Raises: FileWrong for a header that cannot be understood."""
    given = msgspec.convert(run.input, ImportInput)
    async with reading(runtime.engine, run.program_id) as connection:
        found = await store.get(connection, run.program_id, given.import_id)
    assert found is not None, "imports stay"
    work = _Work(runtime, run, found, given.actor, report)
    if found.ended_at is None:
        try:
            await work.read()
        except FileWrong:
            await work.remove_parts()
            raise
        async with transaction(runtime.engine, run.program_id) as connection:
            await store.end(connection, run.program_id, found.id, runtime.clock.now())
    await work.remove_parts()
    return work.figures()


class _Turn:
    """Gives way to whatever else waits when it has taken long enough, be it by many rows or by large ones."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def over(self) -> None:
        if time.monotonic() - self._since > _TURN_S:
            await asyncio.sleep(0)
            self._since = time.monotonic()


class _Work:
    def __init__(self, runtime: Runtime, run: Run, found: Import, actor: Actor, report: Report) -> None:
        self.runtime = runtime
        self.run = run
        self.program_id = run.program_id
        self.found = found
        self.actor = actor
        self.report = report
        self.progress = found.progress
        self.columns: tuple[str, ...] = ()
        self.sizes: dict[int, int] = {}
        self.turn = _Turn()

    def figures(self) -> dict[str, int]:
        told = msgspec.structs.asdict(self.progress)
        del told["read_to"]  # where the file goes on, which stands in its own row
        return told

    async def read(self) -> None:
        """The file from where it was left to its end."""
        async with reading(self.runtime.engine, self.program_id) as connection:
            self.sizes = await store.part_sizes(connection, self.program_id, self.found.id)
        async with aclosing(self._rows(0, 0)) as rows:
            header = await anext(rows, None)
        if header is None:
            raise FileWrong("The file is empty.")
        if header.fault is not None:
            raise FileWrong(f"The first line cannot be read ({header.fault}): {CODES[header.fault]}")
        self.columns = columns_of(self.found.kind, header.fields)
        start = (header.ends, header.lines)
        if self.progress.read_to:
            start = (self.progress.read_to, self.progress.line)
        some: list[Row] = []
        asking = size = 0
        async with aclosing(self._rows(*start)) as rows:
            async for row in rows:
                some.append(row)
                asking += row.fault is None and len(row.fields) == len(self.columns)
                size += sum(map(len, row.fields))
                if asking == TOGETHER or len(some) == NOTED_MAX or size > PART_BYTES_MAX:
                    await self._bring_in(some)
                    some, asking, size = [], 0, 0
        if some:
            await self._bring_in(some)

    async def remove_parts(self) -> None:
        """One by one: a large file would take a statement too long. Not once another has the run: they may be new."""
        async with reading(self.runtime.engine, self.program_id) as connection:
            sizes = await store.part_sizes(connection, self.program_id, self.found.id)
        for number in sizes:
            async with transaction(self.runtime.engine, self.program_id) as connection:
                if not await still_ours(connection, self.run):
                    return
                await store.remove_part(connection, self.program_id, self.found.id, number)

    async def _rows(self, at: int, lines: int) -> AsyncGenerator[Row]:
        reader, ends = Reader(at, lines), 0
        for number, size in self.sizes.items():
            ends += size
            if ends <= at:
                continue
            async with reading(self.runtime.engine, self.program_id) as connection:
                content = await store.part(connection, self.program_id, self.found.id, number)
            for start in range(max(0, at - ends + size), size, _PIECE):
                await self.turn.over()
                for row in reader.feed(content[start : start + _PIECE]):
                    await self.turn.over()
                    if row.fields or row.fault:
                        yield row
        for row in reader.end():
            await self.turn.over()
            if row.fields or row.fault:
                yield row

    async def _bring_in(self, rows: Sequence[Row]) -> None:
        """Send some rows, then note what became of them."""
        now = await self.runtime.now(self.program_id)
        in_force = (await self.runtime.history(self.program_id)).at(now)
        setting = Setting(self.found.source, in_force.zone, in_force.settings.policies.phone_region, now)
        asked: list[Command | _Judged] = []
        for row in rows:  # all of them before the first is sent, so that they are few batches
            await self.turn.over()
            asked.append(self._asked(row, setting))
        judged = await asyncio.gather(*map(self._judge, rows, asked))
        before, counts = self.progress, [one.what for one in judged]
        faults = [fault for one in judged for fault in one.faults] if before.rejected < REJECTIONS_MAX else []
        after = Progress(
            rows[-1].ends,
            rows[-1].lines,
            before.rows + len(rows),
            before.done + counts.count("done"),
            before.unchanged + counts.count("unchanged"),
            before.rejected + counts.count("rejected"),
        )
        async with transaction(self.runtime.engine, self.program_id) as connection:
            noted = await store.advance(
                connection, self.run, self.found.id, before.read_to, after, faults, self.runtime.clock.now()
            )
        if not noted:
            raise TakenOver
        self.progress = after
        self.report(self.figures())

    def _asked(self, row: Row, setting: Setting) -> Command | _Judged:
        """What a row asks of the road, or why it asks nothing."""
        if row.fault is not None:
            return _rejected(row, [(None, row.fault, CODES[row.fault])])
        try:
            command = command_of(self.found.kind, self.columns, row.fields, setting)
        except RowInvalid as invalid:
            return _rejected(row, [(one.pointer or None, one.code, one.detail) for one in invalid.faults])
        return recognisable(command, self.runtime.digests) if isinstance(command, ImportLot) else command

    async def _judge(self, row: Row, asked: Command | _Judged) -> _Judged:
        if isinstance(asked, _Judged):
            return asked
        answer = await self._sent(row, asked)
        if answer.status < 400:
            return _Judged("unchanged" if answer.replayed else "done")
        problem = msgspec.json.decode(answer.body)
        code: str = problem["code"]
        if code == NothingToImport.code:
            return _Judged("unchanged")
        # Details of the road may repeat what was sent; titles and the words of codes never do.
        faults: list[tuple[str | None, str, str]] = [
            (
                self._column(row, one["pointer"][1:]),
                one["code"],
                _WORDS.get((one["pointer"], one["code"])) or CODES.get(one["code"]) or problem["title"],
            )
            for one in problem.get("errors", ())
        ]
        return _rejected(row, faults or [(self._column(row, self._about(code)), code, problem["title"])])

    async def _sent(self, row: Row, command: Command) -> Answer:
        """The answer of the road, however busy it is for a while. Raises: ServerBusy."""
        name = f"import {self.found.id} line {row.line}"
        for _ in range(BUSY_S):
            answer = await self.runtime.pipe.submit(Submission(self.program_id, command, self.actor, name))
            if "Retry-After" not in answer.headers:  # which a clock that is being moved says too
                return answer
            await asyncio.sleep(1)
        raise ServerBusy

    def _about(self, code: str) -> str | None:
        if code in _OF_MEMBER:
            return "member"
        if code == "in_future":
            return "enrolled_at" if "enrolled_at" in self.columns else "issued_at"
        return _COLUMNS.get(code)

    def _column(self, row: Row, name: str | None) -> str | None:
        """The column of this row that says what the road calls by a name."""
        given = {column for column, field in zip(self.columns, row.fields, strict=True) if field.strip()}
        if name == "member":
            return next(column for column in (*MEMBER, "member_id") if column in given)
        if name in ("expires_at", "until") and name not in given:
            return "last_day_on"
        return name


def _rejected(row: Row, faults: Sequence[tuple[str | None, str, str]]) -> _Judged:
    told = (Rejection(row.line, position, *fault) for position, fault in enumerate(faults, 1))
    return _Judged("rejected", tuple(told))
