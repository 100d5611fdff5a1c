"""Rewards where members are spread over eight lanes: the stock is one for all of them."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from loyalty.ledger.verify import verify
from loyalty.members.cells import cell_of
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PayPolicy
from tests.posting.live import open_shop
from tests.posting.shop import adjust, cancel_redemption, fulfil, pay, redeem, reward, stocked

MANY = [f"m-{n}" for n in range(30)]


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    return {"cells": 8}


async def test_members_of_all_lanes_take_from_one_stock(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(reward(5, stocked=True),), members=MANY, pay=PayPolicy(1, 1))
    await shop.done(stocked(10), *(adjust(7, of=one) for one in MANY))
    replies = await shop.together(*(redeem(of=one) for one in MANY))
    taken = [reply for reply in replies if reply.status == 201]
    assert sorted(reply.status for reply in replies) == [201] * 10 + [409] * 20
    assert len({cell_of(UUID(reply["member_id"]), 8) for reply in taken}) > 1
    for reply in taken:  # the id of a redemption tells its lane
        assert cell_of(UUID(reply["id"]), 8) == cell_of(UUID(reply["member_id"]), 8)
    paid = await shop.done(pay(2, of=MANY[0]))
    gone = asyncio.gather(*(shop.send(cancel_redemption(reply)) for reply in taken[:4]))
    assert {reply.status for reply in await gone} == {200}
    await shop.done(fulfil(taken[4]), fulfil(paid))
    assert (await shop.done(stocked(by=0)))["stock"] == 4
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings
