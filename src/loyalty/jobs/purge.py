"""Removes idempotency records after their thirty days; the natural keys behind them stay for ever.

In chunks, each its own short transaction, in the order of the key, so that nobody waits for it.
"""

from datetime import timedelta
from uuid import UUID

from loyalty.base.database import transaction
from loyalty.jobs import store
from loyalty.jobs.programs import in_every_program
from loyalty.posting.runtime import Runtime

KEPT = timedelta(days=30)
CHUNK = 5_000


async def purge_idempotency(runtime: Runtime, chunk: int = CHUNK) -> int:
    """Delete every record older than KEPT by real time, and return how many there were."""
    before = runtime.clock.now() - KEPT

    async def purge(program_id: UUID) -> int:
        gone = 0
        after: tuple[UUID, str] | None = None
        while True:
            async with transaction(runtime.engine, program_id) as connection:
                some, after = await store.purge_records(connection, program_id, before, after, chunk)
            gone += some
            if after is None:
                return gone

    return await in_every_program(runtime, "records_not_purged", purge)
