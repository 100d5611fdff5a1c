"""Turns: who waits for a place is let in party by party, and nobody who goes keeps one."""

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from loyalty.base.turns import NoTurn, Turns


class Inn:
    """Guests of several parties, let in by turns; each stays until it is shown out."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.inside: list[str] = []  # in the order in which they came in
        self._leave: dict[str, asyncio.Event] = {}

    async def arrive(self, *guests: str) -> list["asyncio.Task[None]"]:
        """Guests by name; the first letter is their party."""
        tasks = [asyncio.create_task(self._stay(guest)) for guest in guests]
        await _everybody_moves()
        return tasks

    async def show_out(self, guests: Iterable[str]) -> None:
        for guest in guests:
            self._leave[guest].set()
            await _everybody_moves()

    async def _stay(self, guest: str) -> None:
        async with self.turns.turn(guest[0]):
            self.inside.append(guest)
            self._leave[guest] = asyncio.Event()
            await self._leave[guest].wait()


async def _everybody_moves() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_however_many_wait_for_one_party_each_other_is_next_after_one_of_them() -> None:
    inn = Inn(2)
    many = [f"a{n}" for n in range(20)]
    tasks = await inn.arrive(*many)
    tasks += await inn.arrive("b0", "b1", "c0")
    assert inn.inside == ["a0", "a1"]
    await inn.show_out(["a0", "a1", "a2", "b0", "c0", "a3"])
    assert inn.inside == ["a0", "a1", "a2", "b0", "c0", "a3", "b1", "a4"]
    await inn.show_out(["b1", *many[4:]])
    await asyncio.gather(*tasks)
    assert inn.inside[8:] == many[5:]


async def test_who_goes_while_waiting_or_just_when_called_keeps_no_place() -> None:
    inn = Inn(1)
    first, waiting, called, last = await inn.arrive("a0", "a1", "a2", "b0")
    waiting.cancel()
    await _everybody_moves()
    inn._leave["a0"].set()
    await asyncio.sleep(0)  # a0 goes, and a2 is called
    called.cancel()
    await _everybody_moves()
    assert inn.inside == ["a0", "b0"]
    await inn.show_out(["b0"])
    for task in (first, waiting, called, last):
        with contextlib.suppress(asyncio.CancelledError):
            await task
    (free,) = await inn.arrive("c0")
    assert inn.inside[-1] == "c0"
    await inn.show_out(["c0"])
    await free


async def test_a_turn_that_does_not_come_in_time_is_none() -> None:
    turns = Turns(1)
    async with turns.turn("a"):
        with pytest.raises(NoTurn):
            async with turns.turn("b", 0.01):
                raise AssertionError("both are inside")
    async with turns.turn("b", 0.01):
        pass


async def test_what_breaks_inside_gives_the_place_back() -> None:
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn("a"):
            _ = 1 // 0
    async with turns.turn("b", 0.01):
        pass
