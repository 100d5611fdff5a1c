"""Turns for what only so many may have at once, such as connections: who waits is let in party by party.

A party is a program. However many wait for one of them, each of the others is next after one of these.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Hashable


class NoTurn(Exception):
    """The turn did not come in time."""


class Turns:
    """Places for `at_once` visitors."""

    __slots__ = ("_free", "_waiting")

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        # Nobody waits while a place is free. Parties in the order in which they are let in.
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, party: Hashable, within_s: float | None = None) -> AsyncGenerator[None, None]:
        """A place for the length of a block. Raises: NoTurn."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(party, within_s)
        try:
            yield
        finally:
            self._leave()

    def waiting(self, party: Hashable) -> int:
        """How many of a party wait for their turn."""
        return sum(not called.done() for called in self._waiting.get(party, ()))

    async def _wait(self, party: Hashable, within_s: float | None) -> None:
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(called)
        try:
            async with asyncio.timeout(within_s):
                await called
        except BaseException as error:
            if called.done() and not called.cancelled():
                self._leave()  # called at the very moment at which we went
            if isinstance(error, TimeoutError):
                raise NoTurn from None
            raise

    def _leave(self) -> None:
        """Give the place to the next party's first who still waits; that party is then the last."""
        while self._waiting:
            party = next(iter(self._waiting))
            waiting = self._waiting.pop(party)
            while waiting:
                called = waiting.popleft()
                if called.done():
                    continue  # gone
                if waiting:
                    self._waiting[party] = waiting
                called.set_result(None)
                return
        self._free += 1
