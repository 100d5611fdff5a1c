"""What the front door and the operator's desk ask of imports: make one, put its parts, start it, look at it."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.errors import Fault
from loyalty.base.ids import Ids
from loyalty.jobs.imports import store
from loyalty.jobs.imports.types import (
    PARTS_KEPT,
    Import,
    ImportIncomplete,
    ImportKind,
    ImportNotFound,
    ImportStarted,
    ImportTooLarge,
    PartInvalid,
    Progress,
    Rejection,
    TooManyImports,
)
from loyalty.jobs.service import get_run, get_runs, queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.posting.commands import Actor

PARTS_MAX = 10_000
OPEN_MAX = 20  # of one program, over the API


class Seen(NamedTuple):
    """An import, its last run, and the bytes of the parts that are there, by number."""

    one: Import
    run: Run | None
    sizes: dict[int, int]

    @property
    def state(self) -> str:
        """`open`, or that of its run."""
        return "open" if self.run is None else self.run.state.value


class ImportInput(msgspec.Struct, frozen=True):
    """What a run is told: the import, and who started it."""

    import_id: UUID
    actor: Actor


async def refuse_more(connection: AsyncConnection, program_id: UUID, at: datetime) -> None:
    """Let only so many imports be open, each of which may hold a file; some that come at once may all find room.

    Raises: TooManyImports.
    """
    if await store.count_open(connection, program_id, at - PARTS_KEPT) >= OPEN_MAX:
        raise TooManyImports(open_max=OPEN_MAX)


async def begin_import(
    connection: AsyncConnection, program_id: UUID, kind: ImportKind, source: str, *, at: datetime, ids: Ids
) -> Import:
    """A new import, whose file is still to come."""
    one = Import(ids(), kind, source, at, at, None, None, Progress())
    await store.add(connection, program_id, one)
    return one


async def put_part(
    connection: AsyncConnection,
    program_id: UUID,
    import_id: UUID,
    number: int,
    content: bytes,
    digest: str,
    *,
    at: datetime,
    bytes_max: int,
) -> None:
    """Keep a part; the same again, or another in its place, as long as the import was not started.

    A failed import whose parts were removed is open again with the first that comes, and read from the beginning.
    Raises: ImportNotFound, ImportStarted, TooManyImports, PartInvalid, ImportTooLarge.
    """
    one = await _get(connection, program_id, import_id, lock=True)
    sizes = await store.part_sizes(connection, program_id, import_id)
    if one.run_id is not None:
        run = await get_run(connection, program_id, one.run_id)
        if run.state is not RunState.FAILED or sizes:
            raise ImportStarted
    if one.run_id is not None or (not sizes and one.changed_at < at - PARTS_KEPT):
        await refuse_more(connection, program_id, at)  # it counted no more, and would again
    if one.run_id is not None:
        await store.open_anew(connection, program_id, import_id)
    if not 1 <= number <= PARTS_MAX:
        fault = Fault("/part", "out_of_range", f"Parts are numbered from 1 to {PARTS_MAX:,}.")
        raise PartInvalid(faults=(fault,))
    if sha256(content).hexdigest() != digest:
        raise PartInvalid(faults=(Fault("/sha256", "digest_differs", "The bytes have another digest."),))
    if sum((sizes | {number: len(content)}).values()) > bytes_max:
        raise ImportTooLarge(bytes_max=bytes_max)
    await store.put_part(connection, program_id, import_id, number, content)
    await store.touch(connection, program_id, import_id, at)


async def start_import(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, actor: Actor, *, at: datetime, ids: Ids
) -> Run:
    """Queue the run of an import; one that has failed goes on where it was.

    Raises: ImportNotFound, ImportStarted, ImportIncomplete.
    """
    one = await _get(connection, program_id, import_id, lock=True)
    if one.run_id is not None:
        before = await get_run(connection, program_id, one.run_id)
        if before.state is not RunState.FAILED:
            raise ImportStarted
    sizes = await store.part_sizes(connection, program_id, import_id)
    missing = next((n for n, number in enumerate(sizes, 1) if n != number), None)
    if missing or not sizes:
        raise ImportIncomplete(missing=missing or 1)
    given = msgspec.to_builtins(ImportInput(import_id, actor))
    run = await queue_run(connection, program_id, RunKind.IMPORT, at=at, ids=ids, given=given)
    await store.touch(connection, program_id, import_id, at, run.id)
    return run


async def look_at_import(connection: AsyncConnection, program_id: UUID, import_id: UUID) -> Seen:
    """One import. Raises: ImportNotFound."""
    (seen,) = await _seen(connection, program_id, [await _get(connection, program_id, import_id)])
    return seen


async def list_imports(
    connection: AsyncConnection, program_id: UUID, *, before: UUID | None = None, limit: int
) -> list[Seen]:
    """A program's imports, newest first; behind `before`."""
    found = await store.page(connection, program_id, before=before, limit=limit)
    return await _seen(connection, program_id, found)


async def _seen(connection: AsyncConnection, program_id: UUID, some: Sequence[Import]) -> list[Seen]:
    runs = await get_runs(connection, program_id, [one.run_id for one in some if one.run_id is not None])
    sizes = await store.sizes_of(connection, program_id, [one.id for one in some])
    return [
        Seen(one, None if one.run_id is None else runs[one.run_id], sizes.get(one.id, {})) for one in some
    ]


async def list_rejections(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, *, after: tuple[int, int], limit: int
) -> list[Rejection]:
    """Why rows were rejected, in the order of the file. Raises: ImportNotFound."""
    await _get(connection, program_id, import_id)
    return await store.rejections_of(connection, program_id, import_id, after=after, limit=limit)


async def _get(
    connection: AsyncConnection, program_id: UUID, import_id: UUID, *, lock: bool = False
) -> Import:
    one = await store.get(connection, program_id, import_id, lock=lock)
    if one is None:
        raise ImportNotFound
    return one
