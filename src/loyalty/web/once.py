"""One cause, one effect, for calls whose effect is no command of the road: keys, clients, runs.

The idempotency record is written in the transaction of the effect. Of two at once the second waits for the first
one's commit, finds its record, undoes its own work and replays. A refusal is not kept: what stood in the way, a
missing part of a file or a plan that is not finished, may be gone at the next try.
"""

from collections.abc import Awaitable, Callable

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.database import transaction
from loyalty.posting.commands import Answer
from loyalty.posting.tables import idempotency_records
from loyalty.posting.types import IdempotencyKeyReused
from loyalty.web.edge import Call

Effect = Callable[[AsyncConnection], Awaitable[tuple[Answer, bytes]]]
"""Does the work in the transaction; its answer, and the body that a replay of it gets."""


class _Raced(Exception):
    pass


async def once(call: Call, content: bytes, effect: Effect) -> Answer:
    """The answer of the effect, or the first answer again when this key has had it.

    `content` is the canonical form of what is asked. Raises: IdempotencyKeyReused, and whatever `effect` refuses.
    """
    assert call.key is not None, "only for endpoints that take a key"
    prints = call.fingerprints(content)
    for _ in range(2):
        try:
            async with transaction(call.runtime.engine, call.program_id) as connection:
                replay = await _replay(connection, call, prints)
                if replay is not None:
                    return replay
                answer, kept = await effect(connection)
                await _keep(connection, call, prints[0], answer.status, kept)
                return answer
        except _Raced:
            continue
    raise AssertionError("a record that stood in the way is gone")


async def _replay(connection: AsyncConnection, call: Call, prints: tuple[bytes, ...]) -> Answer | None:
    record = idempotency_records.c
    query = select(record.fingerprint, record.status, record.refusal).where(
        record.program_id == call.program_id, record.scope == call.principal.id, record.key == call.key
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.fingerprint not in prints:
        raise IdempotencyKeyReused
    return Answer(row.status, row.refusal.encode(), replayed=True)


async def _keep(
    connection: AsyncConnection, call: Call, fingerprint: bytes, status: int, kept: bytes
) -> None:
    row = {
        "program_id": call.program_id,
        "scope": call.principal.id,
        "key": call.key,
        "fingerprint": fingerprint,
        "created_at": call.runtime.clock.now(),
        "status": status,
        "refusal": kept.decode(),
    }
    try:
        await connection.execute(insert(idempotency_records), row)
    except IntegrityError as error:
        raise _Raced from error
