"""Each program's configurations, compiled once per process; the number read under the head says when they are old."""

from uuid import UUID

from loyalty.posting import store
from loyalty.posting.configuration import History, Published


class Histories:
    """A cache of `History` by program."""

    def __init__(self) -> None:
        self._published: dict[UUID, list[Published]] = {}
        self._histories: dict[UUID, History] = {}

    def known(self, program_id: UUID) -> History | None:
        """The history as this process knows it, perhaps an old one; None when it was never read."""
        return self._histories.get(program_id)

    async def of(self, connection: store.Connection, program_id: UUID) -> History:
        """The history as this process knows it, read on `connection` the first time."""
        found = self._histories.get(program_id)
        return found if found is not None else await self.refresh(connection, program_id)

    async def refresh(self, connection: store.Connection, program_id: UUID) -> History:
        """The history with what was published since. Needs: a connection that shows the program's rows."""
        known = self._published.get(program_id, [])
        fresh = await store.published(connection, program_id, known[-1].number if known else 0)
        if not fresh and program_id in self._histories:
            return self._histories[program_id]
        published = [*known, *fresh]
        history = History(published)
        if published:  # a program without configuration gets one soon: look again next time
            self._published[program_id] = published
            self._histories[program_id] = history
        return history
