"""A look at a program as a command would find it: read from a snapshot, decided in memory, nothing written."""

from collections.abc import Callable
from typing import TypeVar

from loyalty.base.ids import Ids
from loyalty.posting import store
from loyalty.posting.book import Book, Keys, Lane, Needs, Work
from loyalty.posting.commands import Submission
from loyalty.posting.configuration import History
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramNotFound

T = TypeVar("T")

_VISITS_MAX = 12


async def glance(
    runtime: Runtime,
    submission: Submission,
    look: Callable[[Work], T],
    *,
    edge: Callable[[History], Keys],
    deep: Callable[[Book], Keys],
) -> T:
    """What `look` comes to.

    `edge` and `deep` say what is read before it is asked; what it still misses is read too.
    Raises: ProgramNotFound, and what `look` raises.
    """
    program_id, total = submission.program_id, runtime.settings.cells
    lanes = {cell: Lane(cell, 0, store.GENESIS, None, None, 0) for cell in range(total)}
    async with store.snapshot(runtime.pool, program_id) as connection:
        history = await runtime.histories.of(connection, program_id)
        keys = edge(history)
        loaded = await store.load(connection, program_id, [], keys, total)
        if (loaded.config_number or 0) != (0 if history.empty else history.now.number):
            history = await runtime.histories.refresh(connection, program_id)
        if history.empty:
            raise ProgramNotFound
        now = loaded.clock.now if loaded.clock else runtime.clock.now()
        ids = Ids(runtime.clock.now_ms, lambda: 0)
        book = Book(program_id, history, lanes, now, ids, total, loaded.clock)
        store.fill(book, keys, loaded.rest)
        await store.load_more(connection, book, deep(book))
        for _ in range(_VISITS_MAX):
            try:
                return look(Work(book, submission))
            except Needs as needs:
                await store.load_more(connection, book, needs.keys)
        raise RuntimeError("a look asked for more too often")
