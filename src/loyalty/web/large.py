"""Large bodies: room for their bytes, and turns to be made sense of.

One of a megabyte may keep a process for a tenth of a second or two, in which nobody else is served, and lies in memory
from its first byte to its last. So only so many bytes of them are here at once, and they are decoded one at a time.
Small bodies know nothing of this.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from uuid import UUID

from loyalty.access.types import Principal
from loyalty.base.database import ServerBusy
from loyalty.base.turns import NoTurn, Turns

LARGE = 16 * 1024  # bytes of a body
BYTES_MAX = 128 * 1024 * 1024  # of all large bodies that are being read
SHARES = 4  # one program has one of so many at most


class LargeBodies:
    """The large bodies of one process."""

    def __init__(self, body_bytes_max: int, wait_s: float) -> None:
        self._share = max(BYTES_MAX // SHARES, body_bytes_max)
        self._held: Counter[UUID] = Counter()  # bytes, by program
        self._wait_s = wait_s
        self._credentials: defaultdict[UUID, Turns] = defaultdict(lambda: Turns(1))  # of each program
        self._programs = Turns(1)
        self._rest_until = 0.0

    @contextmanager
    def room(self, program_id: UUID) -> Generator[Callable[[int], None], None, None]:
        """Room for a body: `hold` so many bytes of it, more as it grows. Raises: ServerBusy, from `hold`."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            more = size - held
            if more <= 0:
                return
            if (
                self._held[program_id] + more > self._share
                or self._held.total() + more > SHARES * self._share
            ):
                raise ServerBusy
            self._held[program_id] += more
            held = size

        try:
            yield hold
        finally:
            self._held[program_id] -= held
            if not self._held[program_id]:
                del self._held[program_id]

    @asynccontextmanager
    async def turn(self, principal: Principal) -> AsyncGenerator[None, None]:
        """The turn to decode one: programs take turns, and the credentials of each. Raises: ServerBusy.

        After one the loop belongs for as long to everybody else: a single look around would not be enough for those
        whose answers take several.
        """
        program_id = principal.program_id
        try:
            async with (
                self._credentials[program_id].turn(principal.credential_id, self._wait_s),
                self._programs.turn(program_id, self._wait_s),
            ):
                await asyncio.sleep(max(0.0, self._rest_until - monotonic()))
                began = monotonic()
                try:
                    yield
                finally:
                    ended = monotonic()
                    self._rest_until = ended + (ended - began)
        except NoTurn:
            raise ServerBusy from None
