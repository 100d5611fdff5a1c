"""Batches: every item gets the answer it would have had alone; one upload never fills a lane."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw, Struct

from loyalty.posting.commands import Answer
from loyalty.web.edge import Call, reply

TOGETHER = 64  # items of one upload that are under way at once; the rest of a lane is for others
_TURN = 20  # items between two looks at whatever else waits


class ItemResult(Struct, frozen=True):
    """What one item would have been answered alone."""

    index: int
    status: int
    replayed: bool
    body: dict[str, Any]


class BatchResult(Struct, frozen=True):
    results: tuple[ItemResult, ...]


async def each(call: Call, items: Sequence[Any], answer: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """The answers of all items, in their order; some are asked for together, each with its share of the body."""
    call.size = -(-call.size // max(1, len(items)))
    answers: dict[int, Answer] = {}
    coming = iter(enumerate(items))

    async def one_after_the_other() -> None:
        for index, item in coming:
            answers[index] = await answer(item)
            if index % _TURN == _TURN - 1:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(TOGETHER, len(items))):
            group.create_task(one_after_the_other())
    results = [
        {"index": index, "status": one.status, "replayed": one.replayed, "body": Raw(one.body)}
        for index, one in sorted(answers.items())
    ]
    return reply({"results": results})
