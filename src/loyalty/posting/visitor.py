"""What those who visit the database for programs share: the road, looks and balances of one process."""

import asyncpg

from loyalty.base.aside import Aside
from loyalty.base.clock import Clock
from loyalty.base.together import Together
from loyalty.posting.histories import Histories


class Visitor:
    """One process's means of visiting."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        clock: Clock,
        histories: Histories,
        together: Together,
        aside: Aside,
        cells: int,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._histories = histories
        self._together = together
        self._aside = aside
        self._cells = cells
