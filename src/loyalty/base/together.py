"""Questions about one program that wait at the same moment are asked in one visit to the database.

There is no timer: a lone question goes at once, and what arrives while others are being answered goes with the next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from loyalty.base.database import ServerBusy

TOGETHER_MAX = 64
AT_ONCE = 2  # visits for one program: while one is at the database, the other is judged

Q = TypeVar("Q")
A = TypeVar("A")


Ask: TypeAlias = Callable[[UUID, Sequence[Q]], Awaitable[Sequence[A | Exception]]]
"""Answers the questions it is given in their order, a refusal of one by that exception in its place."""
Key: TypeAlias = tuple[Ask[Any, Any], UUID]


class _Queue:
    __slots__ = ("visits", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[Any, float, asyncio.Future[Any]]] = deque()
        self.visits = 0


class Together:
    """The questions of one process."""

    def __init__(self, *, waiting_max: int, waiting_ms_max: int) -> None:
        self._waiting_max = waiting_max
        self._waiting_s_max = waiting_ms_max / 1000
        self._queues: dict[Key, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, ask: Ask[Q, A], program_id: UUID, question: Q) -> A:
        """The answer of one question, read after it was asked.

        Raises: ServerBusy when too much waits, or has waited for too long; whatever `ask` raises or gives.
        """
        key = (ask, program_id)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        loop = asyncio.get_running_loop()
        waiting = queue.waiting
        # Half of the longest wait is behind the first: whoever comes now would wait in vain.
        if len(waiting) >= self._waiting_max or (
            waiting and loop.time() - waiting[0][1] > self._waiting_s_max / 2
        ):
            raise ServerBusy
        answer: asyncio.Future[A] = loop.create_future()
        waiting.append((question, loop.time(), answer))
        if queue.visits < AT_ONCE:
            queue.visits += 1
            self._spawn(self._visit(key, queue))
        return await answer

    async def stop(self) -> None:
        """End what is under way, without an answer."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _visit(self, key: Key, queue: _Queue) -> None:
        """Visit after visit until nobody waits."""
        try:
            while batch := self._form(queue):
                await self._answer(key, batch)
        finally:
            queue.visits -= 1
            if not queue.visits:
                del self._queues[key]
                for _, _, answer in queue.waiting:  # only when we were stopped
                    answer.cancel()

    def _form(self, queue: _Queue) -> list[tuple[Any, asyncio.Future[Any]]]:
        """What waits now, oldest first; who waited too long is refused, who has gone is forgotten."""
        batch: list[tuple[Any, asyncio.Future[Any]]] = []
        latest = asyncio.get_running_loop().time() - self._waiting_s_max
        while queue.waiting and len(batch) < TOGETHER_MAX:
            question, since, answer = queue.waiting.popleft()
            if answer.done():
                continue
            if since < latest:
                answer.set_exception(ServerBusy())
            else:
                batch.append((question, answer))
        return batch

    async def _answer(self, key: Key, batch: Sequence[tuple[Any, asyncio.Future[Any]]]) -> None:
        ask, program_id = key
        told: Sequence[Any]
        try:
            told = await ask(program_id, [question for question, _ in batch])
        except Exception as error:
            told = [error] * len(batch)
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), one in zip(batch, told, strict=True):
            if answer.done():
                continue
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)
