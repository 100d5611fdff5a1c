"""How much verification looks at at once: no snapshot lasts as long as a large program would make it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from loyalty.base.ids import NIL
from loyalty.ledger.verify import desk, verify
from loyalty.ledger.verify.desk import DeskReader
from loyalty.ledger.verify.frame import Notes
from loyalty.ledger.verify.lanes import LaneReader
from loyalty.ledger.verify.program import ProgramReader
from loyalty.ledger.verify.report import Figures, Findings
from loyalty.ledger.verify.strays import strays
from loyalty.members.types import MemberStatus
from loyalty.posting.commands import AdvanceClock, ChangeMember, Publish
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import open_shop, serving, superuser
from tests.posting.shop import NOW, adjust, card, enrol, freeze, ladder, program, purchase, unfreeze

MEMBERS = [f"M-{n}" for n in range(7)]


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def test_rows_beside_the_ledger_are_compared_page_by_page_beside_traffic(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decided between two pages is about rows that were compared, and about rows that were not yet."""
    monkeypatch.setattr(desk, "PAGE", 2)
    shop = await open_shop(runtime, members=MEMBERS, tier_sets=(ladder(),))
    await shop.done(*(purchase(f"R-{of}", 70_000, of=of) for of in MEMBERS))
    frozen, pages = set[str](), 0

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        nonlocal pages
        of = MEMBERS[pages % len(MEMBERS)]
        pages += 1
        await shop.done(unfreeze(of) if of in frozen else freeze(of), enrol(f"new-{pages}"))
        await shop.done(ChangeMember(card(of), MemberStatus.ACTIVE if of in frozen else MemberStatus.BLOCKED))
        frozen.symmetric_difference_update({of})
        async with runtime.pool.acquire() as connection:
            yield connection

    findings = Findings()
    await findings.during("desk", DeskReader(connect, shop.id, 0, Notes(), findings).read(NIL))
    assert (findings.told(), pages > 15) == ((), True)
    async with superuser(database) as link:
        await link.execute("DELETE FROM freezes WHERE program_id = $1", shop.id)
    report = await verify(runtime.pool.acquire, shop.id)
    assert {(found.table, found.what) for found in report.findings} == {
        ("freezes", "is missing: a decision speaks of it")
    }
    assert report.broken == len(MEMBERS)


async def test_what_the_chain_has_shown_is_not_looked_for_again(runtime: Runtime, database: Database) -> None:
    """A kind of decision that no index knows is noted while the lane is read."""
    shop = await open_shop(runtime, clock_at=NOW)
    await shop.done(*(adjust(1) for _ in range(50)))

    async def looked_at() -> int:
        """Rows of decisions that PostgreSQL has fetched so far."""
        async with superuser(database) as link:
            return await link.fetchval(
                "SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint"
                " FROM pg_stat_user_tables WHERE relname LIKE 'decisions%'"
            )

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        link = await asyncpg.connect(database.app_url)
        try:
            yield link
            await link.execute("SELECT pg_stat_force_next_flush()")
        finally:
            await link.close()

    notes, findings = Notes(), Findings()
    lane = LaneReader(connect, shop.id, 0, notes, findings, Figures())
    async with superuser(database) as link:
        blocks = await link.fetchval("SELECT max(number) FROM blocks WHERE program_id = $1", shop.id)
    await findings.during("chain", lane.read(blocks, lambda _: None))
    await shop.done(AdvanceClock(NOW.replace(hour=23)), Publish(program()))
    before = await looked_at()
    await findings.during("lanes", strays(connect, shop.id, findings))
    reader = ProgramReader(connect, shop.id, lane.last_id, notes, findings)
    await findings.during("lanes", reader.clock())
    await findings.during("configurations", reader.configurations())
    assert findings.told() == ()
    assert await looked_at() - before < 50, "fewer than there are"
