"""Looks at a program as a command would find it: read from a snapshot, decided in memory, nothing written.

Looks that wait at the same moment share a snapshot and what is read in it; each is decided as if it were alone.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from loyalty.base.aside import LONG
from loyalty.base.ids import Ids
from loyalty.posting import store
from loyalty.posting.book import Book, Keys, Lane, Needs, Work
from loyalty.posting.commands import Submission
from loyalty.posting.decide import effort
from loyalty.posting.needs import edge_keys
from loyalty.posting.visitor import Visitor
from loyalty.programs.types import ProgramNotFound

T = TypeVar("T")

BREATH = 8  # looks decided before others get the processor


class _Look(Struct, frozen=True):
    asked: Sequence[Submission]
    look: Callable[[Work], Any]
    deep: Callable[[Book], Keys]


class _TakesLong(Exception):
    """A look that shares no visit with others: it would hold them up, and their connection."""


class Glances(Visitor):
    """The looks of one process. What a look says is what was committed when it was asked, or later."""

    async def __call__(
        self, asked: Sequence[Submission], look: Callable[[Work], T], deep: Callable[[Book], Keys]
    ) -> T:
        """What `look` comes to, shown the first of the submissions.

        What commands as `asked` name, and then `deep`, is read before; what the look still misses is read too.
        Raises: ProgramNotFound, and what `look` raises; ServerBusy, DatabaseUnavailable.
        """
        program_id, one = asked[0].program_id, _Look(asked, look, deep)
        if effort(self._histories.known(program_id), asked[0]) <= LONG:
            with contextlib.suppress(_TakesLong):
                return await self._together(self._all, program_id, one)
        async with self._aside.read(program_id):
            (told,) = await self._all(program_id, [one], alone=True)
        if isinstance(told, Exception):
            raise told
        return told

    async def _all(self, program_id: UUID, looks: Sequence[_Look], *, alone: bool = False) -> list[Any]:
        async with store.snapshot(self._pool, program_id) as connection:
            book = await self._book(connection, program_id, [one for look in looks for one in look.asked])
            keys = Keys.none()
            for look in looks:
                keys.add(look.deep(book))
            await store.load_more(connection, book, keys)
            told: list[Any] = []
            for place, look in enumerate(looks, start=1):
                if not place % BREATH:
                    await asyncio.sleep(0)
                told.append(await self._one(connection, book, look, alone=alone))
            return told

    async def _book(
        self, connection: store.Connection, program_id: UUID, asked: Sequence[Submission]
    ) -> Book:
        total = self._cells
        history = await self._histories.of(connection, program_id)
        keys = edge_keys(asked, history)
        loaded = await store.load(connection, program_id, [], keys, total)
        history = await self._histories.as_far_as(connection, program_id, loaded.config_number)
        if history.empty:
            raise ProgramNotFound
        lanes = {cell: Lane(cell, 0, store.GENESIS, None, None, 0) for cell in range(total)}
        now = loaded.clock.now if loaded.clock else self._clock.now()
        ids = Ids(self._clock.now_ms, lambda: 0)
        book = Book(program_id, history, lanes, now, ids, total, loaded.clock)
        store.fill(book, keys, loaded.rest)
        return book

    async def _one(self, connection: store.Connection, book: Book, look: _Look, *, alone: bool) -> Any:
        """What one look comes to, or the exception that it raises; _TakesLong unless it is `alone`."""
        asked: list[Keys] = []
        try:
            while True:
                try:
                    pieces = book.pieces + effort(book.history, look.asked[0])
                    if pieces > LONG and not alone:
                        return _TakesLong()
                    return await self._aside(
                        book.program_id, pieces, lambda: look.look(Work(book, look.asked[0]))
                    )
                except Needs as needs:
                    if needs.keys in asked:  # it would never end
                        raise RuntimeError("a look asked for the same again") from None
                    asked.append(needs.keys)
                    await store.load_more(connection, book, needs.keys)
        except (*store.TOO_SLOW, *store.OF_THE_MOMENT):
            raise
        except Exception as error:
            return error
