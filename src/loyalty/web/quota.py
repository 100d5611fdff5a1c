"""How many requests of one program this process serves in a second; whoever sends more is told to come back.

A second is the longest memory: nothing that a program sent before keeps its tills waiting now.
"""

from uuid import UUID

BURST_S = 1.0  # so much of its quota a program may have at once


class Quota:
    """The quota of all programs, the same for each."""

    __slots__ = ("_each_s", "_used_until", "per_s")

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s
        self._each_s = 1 / per_s
        self._used_until: dict[UUID, float] = {}  # until when a program has used what comes to it

    def take(self, program_id: UUID, now: float) -> bool:
        """Whether another request of the program is served at `now`, in seconds; it counts if so."""
        used_until = max(self._used_until.get(program_id, now), now)
        if used_until - now >= BURST_S:
            return False
        self._used_until[program_id] = used_until + self._each_s
        return True
