"""Imports at the operator's desk: a file takes the way that the API takes, parts and a run, done here at once."""

import asyncio
import contextlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from loyalty.base.database import reading, transaction
from loyalty.jobs.imports.service import (
    Seen,
    begin_import,
    list_imports,
    list_rejections,
    look_at_import,
    put_part,
    start_import,
)
from loyalty.jobs.imports.types import PART_BYTES_MAX, ImportKind, Progress, Rejection
from loyalty.jobs.runs import execute
from loyalty.jobs.types import Run, RunState
from loyalty.jobs.works import WORKS
from loyalty.operating.desk import OPERATOR, Desk

SHOWN = 10  # rejections

Told = Callable[[int, int, int], None]  # rows, bytes read, bytes in all


class Brought(Struct, frozen=True):
    """What became of a file."""

    id: UUID
    run: Run
    progress: Progress
    rejections: tuple[Rejection, ...]  # the first


async def bring_in(
    desk: Desk, program_id: UUID, kind: ImportKind, file: Path, source: str, told: Told
) -> Brought:
    """Bring in a file; a worker that was quicker does the work. Raises: OSError, ImportTooLarge."""
    engine, limit = desk.runtime.engine, desk.runtime.settings.import_bytes_max
    with file.open("rb") as content:
        async with transaction(engine, program_id) as connection:
            one = await begin_import(connection, program_id, kind, source, at=desk.now(), ids=desk.ids)
        number = size = 0
        while part := content.read(PART_BYTES_MAX):
            number, size, digest = number + 1, size + len(part), sha256(part).hexdigest()
            async with transaction(engine, program_id) as connection:
                await put_part(
                    connection, program_id, one.id, number, part, digest, at=desk.now(), bytes_max=limit
                )
    async with transaction(engine, program_id) as connection:
        run = await start_import(connection, program_id, one.id, OPERATOR, at=desk.now(), ids=desk.ids)
    telling = asyncio.create_task(_tell(desk, program_id, one.id, size, told))
    try:
        while True:
            await execute(desk.runtime, program_id, run.id, WORKS)
            async with reading(engine, program_id) as connection:
                found, seen, _ = await look_at_import(connection, program_id, one.id)
                if seen is not None and seen.state in (RunState.SUCCEEDED, RunState.FAILED):
                    first = await list_rejections(connection, program_id, one.id, after=(0, 0), limit=SHOWN)
                    return Brought(one.id, seen, found.progress, tuple(first))
            await asyncio.sleep(1)
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


async def every_import(desk: Desk, program_id: UUID) -> list[Seen]:
    """All imports of a program, newest first."""
    found: list[Seen] = []
    before: UUID | None = None
    async with reading(desk.runtime.engine, program_id) as connection:
        while some := await list_imports(connection, program_id, before=before, limit=200):
            found += some
            before = some[-1].one.id
    return found


async def _tell(desk: Desk, program_id: UUID, import_id: UUID, size: int, told: Told) -> None:
    while True:
        async with reading(desk.runtime.engine, program_id) as connection:
            found, _, _ = await look_at_import(connection, program_id, import_id)
        told(found.progress.rows, found.progress.read_to, size)
        await asyncio.sleep(1)
