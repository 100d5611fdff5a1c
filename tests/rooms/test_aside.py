"""Work aside: long work leaves the loop to others, one piece at a time, and programs take turns."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from loyalty.base.aside import LONG, Aside
from loyalty.base.database import ServerBusy

ENDS_S = 30  # after which a test that would wait for ever fails


@pytest_asyncio.fixture
async def aside() -> AsyncIterator[Aside]:
    made = Aside(waiting_ms_max=60_000)
    yield made
    made.close()


def waits_for(event: threading.Event, answer: str) -> Callable[[], str]:
    def work() -> str:
        assert event.wait(ENDS_S), "the loop stood still"
        return answer

    return work


async def test_the_loop_goes_on_while_long_work_is_done(aside: Aside) -> None:
    goes = threading.Event()
    working = asyncio.create_task(aside("A", LONG + 1, waits_for(goes, "done")))
    await asyncio.sleep(0)
    goes.set()  # by the loop, which the work has waited for
    assert await working == "done"


async def test_short_work_is_done_here_and_now(aside: Aside) -> None:
    seen: list[float] = []
    aside.observe = seen.append
    assert await aside("A", LONG, threading.current_thread) is threading.current_thread()
    assert await aside("A", LONG + 1, threading.current_thread) is not threading.current_thread()
    assert len(seen) == 1


async def test_programs_take_turns(aside: Aside) -> None:
    order, goes = list[str](), threading.Event()

    async def look(party: str, name: str) -> None:
        def work() -> None:
            assert goes.wait(ENDS_S)
            order.append(name)

        await aside(party, LONG + 1, work)

    looks = [asyncio.create_task(look(name[0], name)) for name in ("a1", "a2", "a3", "b1", "b2")]
    await asyncio.sleep(0)
    goes.set()
    await asyncio.gather(*looks)
    assert order == ["a1", "a2", "b1", "a3", "b2"]


async def test_what_the_work_raises_is_raised(aside: Aside) -> None:
    def breaks() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await aside("A", LONG + 1, breaks)
    assert await aside("A", LONG + 1, lambda: 1) == 1


async def test_who_waits_too_long_is_told_so_and_nothing_is_done() -> None:
    aside, goes, done = Aside(waiting_ms_max=1), threading.Event(), list[int]()
    first = asyncio.create_task(aside("A", LONG + 1, waits_for(goes, "done")))
    await asyncio.sleep(0)
    with pytest.raises(ServerBusy):
        await aside("B", LONG + 1, lambda: done.append(1))
    goes.set()
    assert (await first, done) == ("done", [])
    async with aside.read("A"):
        with pytest.raises(ServerBusy):
            async with aside.read("B"):
                done.append(1)
    assert done == []
    aside.close()


async def test_who_leaves_keeps_no_turn(aside: Aside) -> None:
    goes = threading.Event()
    gone = asyncio.create_task(aside("A", LONG + 1, waits_for(goes, "gone")))
    await asyncio.sleep(0)
    gone.cancel()
    behind = asyncio.create_task(aside("B", LONG + 1, lambda: "behind"))
    await asyncio.sleep(0)
    goes.set()
    assert await behind == "behind"
