"""Looks and balances that are asked for at one moment are read in one visit, and answered as if each were alone."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from loyalty.base.database import ServerBusy
from loyalty.base.together import Together
from loyalty.ledger.types import Balances
from loyalty.members.types import MemberNotFound
from loyalty.posting.book import Keys
from loyalty.posting.commands import MemberRef, RecordPurchase
from loyalty.posting.quote import quote
from loyalty.posting.runtime import Runtime
from tests.posting.live import LiveShop, open_shop, visits
from tests.posting.shop import ACTOR, ANN, BOB, Reply, capped, card, purchase, submission

MANY = [
    purchase("R-1", 4_199),
    purchase("R-1", 4_199),
    purchase("R-2", 500, of=BOB),
    purchase("R-3", of="nobody"),
    purchase("R-4", money="USD"),
    purchase("R-5", 99, of=None),
] * 4


async def quoted(shop: LiveShop, commands: Sequence[RecordPurchase]) -> list[Reply]:
    asked = (quote(shop.runtime, shop.id, command, ACTOR, "request-1") for command in commands)
    return [Reply.of(answer) for answer in await asyncio.gather(*asked)]


async def test_quotes_that_wait_together_are_told_as_each_alone_in_a_few_visits(runtime: Runtime) -> None:
    shop = await open_shop(runtime, capped(30), members=(ANN, BOB))
    await shop.done(purchase("R-0", 1_700), purchase("R-2", 300, of=BOB))
    alone = [(await quoted(shop, [command]))[0] for command in MANY]
    assert {reply.status for reply in alone} == {200, 404, 422}
    async with visits(runtime) as seen:
        together = await quoted(shop, MANY)
    assert [reply.raw for reply in together] == [reply.raw for reply in alone]
    assert sum(query.startswith("BEGIN") for query in seen) <= 2


async def test_balances_that_wait_together_are_told_as_each_alone_in_a_few_visits(runtime: Runtime) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB))
    ann = (await shop.done(purchase("R-1", 1_700)))["member_id"]
    await shop.done(purchase("R-2", 900, of=BOB))
    by_id = MemberRef(id=UUID(ann))
    stranger = MemberRef(id=uuid4())
    refs = [card(ANN), by_id, card(BOB), card("nobody"), stranger, card(ANN)] * 4

    async def held() -> list[Balances | BaseException | None]:
        asked = (runtime.balances_now(shop.id, ref) for ref in refs)
        return await asyncio.gather(*asked, return_exceptions=True)

    async with visits(runtime) as seen:
        told = await held()
    assert sum(query.startswith("BEGIN") for query in seen) <= 2
    for place, one in enumerate(told):
        if place % 6 in (3, 4):
            assert isinstance(one, MemberNotFound)
        else:
            assert isinstance(one, Balances)
            assert one.balances[0].available == (9 if place % 6 == 2 else 17)


async def test_what_was_committed_before_a_question_is_in_its_answer_however_many_wait(
    runtime: Runtime,
) -> None:
    shop = await open_shop(runtime)
    asking = True

    async def others() -> None:
        while asking:
            await runtime.balances_now(shop.id, card(ANN))

    crowd = [asyncio.create_task(others()) for _ in range(8)]
    for n in range(1, 21):
        await shop.done(purchase(f"R-{n}", 100))
        found = await runtime.balances_now(shop.id, card(ANN))
        assert found is not None and found.balances[0].available == n
    asking = False
    await asyncio.gather(*crowd)


async def test_a_question_that_breaks_harms_no_other(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(runtime)
    good = asyncio.create_task(quoted(shop, [purchase("R-1")]))
    broken = asyncio.create_task(
        runtime.glances([submission(shop.id, purchase("R-2"), None)], lambda _: 1 // 0, lambda _: Keys.none())
    )
    assert (await good)[0].status == 200
    with pytest.raises(ZeroDivisionError):
        await broken


async def test_who_has_gone_is_not_waited_for_and_too_many_are_refused() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def ask(_program_id: UUID, questions: Sequence[int]) -> list[int | Exception]:
        begun.set()
        await go_on.wait()
        return [question * 2 for question in questions]

    together = Together(waiting_max=2, waiting_ms_max=2_000)
    program_id = uuid4()
    first = [asyncio.create_task(together(ask, program_id, n)) for n in (1, 2)]
    await begun.wait()
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(together(ask, program_id, n)) for n in (3, 4)]
    await asyncio.sleep(0)
    with pytest.raises(ServerBusy):
        await together(ask, program_id, 5)
    waiting[0].cancel()
    go_on.set()
    assert await asyncio.gather(*first, waiting[1]) == [2, 4, 8]
    await together.stop()


async def test_who_waited_too_long_is_refused_and_who_waits_at_the_end_is_let_go() -> None:
    go_on = asyncio.Event()

    async def ask(_program_id: UUID, questions: Sequence[int]) -> list[int | Exception]:
        await go_on.wait()
        return list(questions)

    together = Together(waiting_max=9, waiting_ms_max=200)
    program_id = uuid4()
    first: list[asyncio.Task[int]] = []
    for n in (1, 2):  # one after the other, so that each is a visit
        first.append(asyncio.create_task(together(ask, program_id, n)))
        await asyncio.sleep(0.01)
    late = asyncio.create_task(together(ask, program_id, 3))
    await asyncio.sleep(0.25)
    with pytest.raises(ServerBusy):  # it would wait in vain
        await asyncio.wait_for(together(ask, program_id, 4), 5)
    go_on.set()
    with pytest.raises(ServerBusy):
        await late
    assert await asyncio.gather(*first) == [1, 2]
    go_on.clear()
    last = asyncio.create_task(together(ask, program_id, 4))
    await asyncio.sleep(0.01)
    await together.stop()
    with pytest.raises(asyncio.CancelledError):
        await last
