"""Files of a former system: members, opening lots and standings, told in parts and brought in by a run."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.database import reading, transaction
from loyalty.base.paging import InvalidCursor
from loyalty.jobs.imports import service
from loyalty.jobs.imports.types import (
    ImportIncomplete,
    ImportKind,
    ImportNotFound,
    ImportStarted,
    ImportTooLarge,
    PartInvalid,
    Rejection,
    TooManyImports,
)
from loyalty.jobs.service import refuse_crowd
from loyalty.jobs.types import RunKind, RunState, TooManyRuns
from loyalty.posting.commands import Answer
from loyalty.web.api import wire
from loyalty.web.edge import Call, get, post, put, reply
from loyalty.web.once import once

IMPORTS = "/v1/imports"
IMPORT = "/v1/imports/{import_id}"


class ImportView(Struct, frozen=True):
    """One file and how far it is. Rows are done, unchanged (they were there already) or rejected."""

    id: UUID
    kind: ImportKind
    source: str
    state: str  # open, or that of its run: queued, running, succeeded, failed
    run_id: UUID | None  # the last that was started for it
    created_at: datetime
    bytes: int  # of the parts that are here
    received: tuple[int, ...]  # their numbers; none once the import has ended
    line: int  # of the file, up to which all is done
    rows: int
    done: int
    unchanged: int
    rejected: int
    failure: dict[str, Any] | None  # why nothing, or not all, was taken


class PartQuery(Struct, frozen=True):
    sha256: Annotated[
        str, Meta(min_length=64, max_length=64, description="Of the bytes of the body, in small hex digits.")
    ]


class ImportPage(Struct, frozen=True):
    data: tuple[ImportView, ...]
    next_cursor: str | None


class RejectionPage(Struct, frozen=True):
    data: tuple[Rejection, ...]
    next_cursor: str | None


@post(IMPORTS, Permission.IMPORT, keyed=True, answers={201: ImportView}, refusals=(TooManyImports,))
async def begin_import(call: Call, body: wire.ImportBody) -> Answer:
    """Announce a file of members, lots or standings. Its parts come next, then its start."""

    async def begin(connection: AsyncConnection) -> tuple[Answer, bytes]:
        now = call.runtime.clock.now()
        await service.refuse_more(connection, call.program_id, now)
        one = await service.begin_import(
            connection, call.program_id, body.kind, body.source, at=now, ids=call.door.ids
        )
        answer = reply(
            await _view(connection, call, one.id), 201, {"location": IMPORT.format(import_id=one.id)}
        )
        return answer, answer.body

    return await once(call, canonical(body), begin)


@put(
    f"{IMPORT}/parts/{{part}}",
    Permission.IMPORT,
    answers={200: ImportView},
    refusals=(ImportNotFound, ImportStarted, TooManyImports, PartInvalid, ImportTooLarge),
)
async def put_import_part(call: Call, import_id: UUID, part: int, query: PartQuery, body: bytes) -> Answer:
    """Put one part of the file, numbered from 1 on: at most 4 MiB of it, cut anywhere.

    The same part again changes nothing, another takes its place, in any order. `received` of the import tells what is
    here: an upload that was cut off goes on with what is missing. A file whose run has failed is put once more when its
    parts were removed, and read from the beginning.
    """
    async with transaction(call.runtime.engine, call.program_id) as connection:
        await service.put_part(
            connection,
            call.program_id,
            import_id,
            part,
            body,
            query.sha256,
            at=call.runtime.clock.now(),
            bytes_max=call.runtime.settings.import_bytes_max,
        )
        return reply(await _view(connection, call, import_id))


@post(
    f"{IMPORT}/start",
    Permission.IMPORT,
    keyed=True,
    answers={202: ImportView},
    refusals=(ImportNotFound, ImportStarted, ImportIncomplete, TooManyRuns),
)
async def start_import(call: Call, import_id: UUID, body: wire.Nothing) -> Answer:
    """Have the file brought in. One whose run has failed is started again and goes on where it was.

    When its parts were removed, after a week or for a wrong header, they are put once more before.
    """

    async def start(connection: AsyncConnection) -> tuple[Answer, bytes]:
        await refuse_crowd(connection, call.program_id, RunKind.IMPORT)
        await service.start_import(
            connection,
            call.program_id,
            import_id,
            call.actor,
            at=call.runtime.clock.now(),
            ids=call.door.ids,
        )
        location = {"location": IMPORT.format(import_id=import_id)}
        answer = reply(await _view(connection, call, import_id), 202, location)
        return answer, answer.body

    return await once(call, canonical([body, import_id]), start)


@get(IMPORTS, Permission.IMPORT, answers={200: ImportPage}, refusals=(InvalidCursor,))
async def list_imports(call: Call, query: wire.PageQuery) -> Answer:
    """Imports and how far each is, newest first."""
    before = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await service.list_imports(
            connection, call.program_id, before=UUID(before[0]) if before else None, limit=query.limit + 1
        )
    return call.page([_shown(one) for one in found], query.limit, lambda one: [str(one.id)])


@get(IMPORT, Permission.IMPORT, answers={200: ImportView}, refusals=(ImportNotFound,))
async def read_import(call: Call, import_id: UUID) -> Answer:
    """How far an import is, and what became of its rows so far."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        return reply(await _view(connection, call, import_id))


@get(
    f"{IMPORT}/rejections",
    Permission.IMPORT,
    answers={200: RejectionPage},
    refusals=(ImportNotFound, InvalidCursor),
)
async def list_import_rejections(call: Call, import_id: UUID, query: wire.PageQuery) -> Answer:
    """Why rows were rejected, in the order of the file: line, column and reason, never what stood there.

    `column` is null where the row as a whole is wrong. The faults of the first 100,000 rejected rows are kept.
    """
    after = call.page_start(query.cursor, import_id)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await service.list_rejections(
            connection,
            call.program_id,
            import_id,
            after=(after[0], after[1]) if after else (0, 0),
            limit=query.limit + 1,
        )
    return call.page(found, query.limit, lambda one: [one.line, one.position], import_id)


async def _view(connection: AsyncConnection, call: Call, import_id: UUID) -> ImportView:
    return _shown(await service.look_at_import(connection, call.program_id, import_id))


def _shown(seen: service.Seen) -> ImportView:
    one, run, sizes = seen
    progress = one.progress
    return ImportView(
        id=one.id,
        kind=one.kind,
        source=one.source,
        state=seen.state,
        run_id=one.run_id,
        created_at=one.created_at,
        bytes=sum(sizes.values()),
        received=tuple(sizes),
        line=progress.line,
        rows=progress.rows,
        done=progress.done,
        unchanged=progress.unchanged,
        rejected=progress.rejected,
        failure=run.result if run is not None and run.state is RunState.FAILED else None,
    )
