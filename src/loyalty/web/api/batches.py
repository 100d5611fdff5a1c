"""Batches: every item gets the answer it would have had alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw, Struct

from loyalty.posting.commands import Answer
from loyalty.web.edge import reply

_TURN = 20  # items between two looks at whatever else waits


class ItemResult(Struct, frozen=True):
    """What one item would have been answered alone."""

    index: int
    status: int
    replayed: bool
    body: dict[str, Any]


class BatchResult(Struct, frozen=True):
    results: tuple[ItemResult, ...]


async def each(items: Sequence[Any], answer: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """The answers of all items, in their order; they are asked for together."""
    tasks: list[asyncio.Task[Answer]] = []
    async with asyncio.TaskGroup() as group:
        for index, item in enumerate(items):
            tasks.append(group.create_task(_one(item, answer)))
            if index % _TURN == _TURN - 1:
                await asyncio.sleep(0)
    results = [
        {"index": index, "status": one.status, "replayed": one.replayed, "body": Raw(one.body)}
        for index, one in enumerate(task.result() for task in tasks)
    ]
    return reply({"results": results})


async def _one(item: Any, answer: Callable[[Any], Awaitable[Answer]]) -> Answer:
    return await answer(item)
