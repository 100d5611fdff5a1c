"""A migration that adds a column does not stop the processes that run: their rows go where they always went."""

import asyncpg
import pytest

from tests.conftest import Database
from tests.posting.live import open_shop, serving
from tests.posting.shop import adjust, cancel, imported, purchase

ADDED = (
    "activities",
    "activity_keys",
    "accounts",
    "lots",
    "entries",
    "postings",
    "decisions",
    "blocks",
    "counters",
)


@pytest.mark.parametrize("table", [*ADDED, "engagement_events", "idempotency_records"])
async def test_a_column_added_while_a_process_runs_leaves_it_running(database: Database, table: str) -> None:
    owner = await asyncpg.connect(database.owner_url)
    try:
        async with serving(database) as runtime:
            corner = await open_shop(runtime)
            await corner.done(purchase("R-1"))
            await owner.execute(f"ALTER TABLE {table} ADD COLUMN added_later text")
            try:
                await corner.done(purchase("R-2"), adjust(5), imported(7), cancel("R-1"))
            finally:
                await owner.execute(f"ALTER TABLE {table} DROP COLUMN added_later")
    finally:
        await owner.close()
