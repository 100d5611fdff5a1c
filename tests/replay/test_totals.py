"""Every member's totals, read in two parts that do not wait for each other."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from loyalty.posting.commands import Actor
from loyalty.posting.runtime import Runtime
from loyalty.replay import totals as read
from loyalty.replay.totals import totals
from tests.conftest import Database
from tests.posting.live import open_shop, serving, superuser
from tests.posting.shop import ANN, BOB, ladder, purchase


async def test_no_transaction_stands_idle_while_everybodys_tier_is_worked_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, idle = read.tiers, list[int]()

    async def watched(runtime: Runtime, program_id: UUID, members: Sequence[UUID], actor: Actor) -> Any:
        async with superuser(database) as link:
            query = """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle in transaction'
            """
            idle.append(await link.fetchval(query))
        return await really(runtime, program_id, members, actor)

    monkeypatch.setattr(read, "tiers", watched)
    async with serving(database) as runtime:
        shop = await open_shop(runtime, members=(ANN, BOB), tier_sets=(ladder(),))
        await shop.done(purchase("R-1", 70_000, of=BOB))
        found = await totals(runtime, shop.id, "card")
    assert idle == [0]
    assert [(one.identifier, one.tier) for one in found] == [(ANN, None), (BOB, "gold")]
