"""Long work of the processor is done beside the loop, in a thread: one piece at a time, programs by turns.

While it runs everyone else is served a little slower; on the loop, everyone would stand still until its end.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from loyalty.base.database import ServerBusy
from loyalty.base.turns import NoTurn, Turns

T = TypeVar("T")

# More pieces than this are long work. A piece takes a few microseconds: a lot or an entry is looked at, some lines
# are held against a rule, a thousand characters are read. Where the loop is busy, handing work over takes a SWITCH_S.
LONG = 1_000
JUDGED = 25  # lines held against a rule in one piece
LINE_TEXT = 40  # characters that a line of a purchase is stored in, and more
SWITCH_S = 0.001  # how long the thread may keep the interpreter while the loop wants it; Python's own is 5 ms


class Aside:
    """The thread of one process. Needs: the work it is given shares nothing that changes meanwhile."""

    def __init__(self, *, waiting_ms_max: int) -> None:
        self._within_s = waiting_ms_max / 1000
        self._turns = Turns(1)
        self._reads = Turns(1)
        self._thread = ThreadPoolExecutor(1, "aside")
        self.observe: Callable[[float], None] | None = (
            None  # told how many seconds each work in the thread took
        )
        sys.setswitchinterval(SWITCH_S)

    async def __call__(self, party: Hashable, pieces: int, work: Callable[[], T]) -> T:
        """What `work` comes to: here when it is short, and in the thread when it is long.

        Raises: ServerBusy when the party's turn does not come in time; what `work` raises.
        """
        if pieces <= LONG:
            return work()
        async with self._turn(self._turns, party):
            began = monotonic()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            finally:
                if self.observe is not None:
                    self.observe(monotonic() - began)

    def read(self, party: Hashable) -> contextlib.AbstractAsyncContextManager[None]:
        """A turn for a read that goes through all there ever was: on the loop, too, the rows of one are enough.

        Raises: ServerBusy.
        """
        return self._turn(self._reads, party)

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()

    @contextlib.asynccontextmanager
    async def _turn(self, turns: Turns, party: Hashable) -> AsyncGenerator[None, None]:
        try:
            async with turns.turn(party, self._within_s):
                yield
        except NoTurn:
            raise ServerBusy from None
