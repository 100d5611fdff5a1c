"""Programs' configurations, each compiled once per process; the number read under the head says when they are old."""

from uuid import UUID

from loyalty.posting import store
from loyalty.posting.configuration import History


class Histories:
    """A cache of `History` by program."""

    def __init__(self) -> None:
        self._histories: dict[UUID, History] = {}

    def known(self, program_id: UUID) -> History | None:
        """The history as this process knows it, perhaps an old one; None when it was never read."""
        return self._histories.get(program_id)

    async def of(self, connection: store.Connection, program_id: UUID) -> History:
        """The history as this process knows it, read on `connection` the first time."""
        found = self._histories.get(program_id)
        return found if found is not None else await self.refresh(connection, program_id)

    async def as_far_as(self, connection: store.Connection, program_id: UUID, number: int | None) -> History:
        """The history up to the configuration `number`, the newest that was read (None: there is none)."""
        found = await self.of(connection, program_id)
        known = None if found.empty else found.now.number
        return found if known == number else await self.refresh(connection, program_id)

    async def refresh(self, connection: store.Connection, program_id: UUID) -> History:
        """The history with what was published since. Needs: a connection that shows the program's rows."""
        known = self._histories.get(program_id) or History([])
        fresh = await store.published(connection, program_id, 0 if known.empty else known.now.number)
        if not fresh:
            return known  # a program without configuration gets one soon: look again next time
        history = self._histories[program_id] = known.with_more(fresh)
        return history
