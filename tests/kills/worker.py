"""Worker processes for the tests: started as a user would start them, killed without mercy; and work for them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from loyalty.jobs.road import send
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.posting.commands import AdvanceClock, Command, Enrol, ImportLot, MemberRef
from loyalty.posting.content import recognisable
from loyalty.posting.runtime import Runtime

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
END = NOON + timedelta(days=30)


class Worker:
    """A worker process."""

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
        self._environ, self._log = kept | dict(environ), log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = (Path(sys.executable).with_name("loyalty"), "worker")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing given back."""
        living = self._living()
        living.kill()
        living.wait()

    def stop(self) -> int:
        """SIGTERM and wait for the end: the exit code."""
        living = self._living()
        living.send_signal(signal.SIGTERM)
        return living.wait(30)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _living(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        assert self.running, f"the worker had ended: {self._log.read_text()[-2000:]}"
        return self._process


async def lots_due(runtime: Runtime, program_id: UUID, members: int, lots: int) -> None:
    """Members of a sandbox that began at NOON, each with lots that all end at one instant, and the clock at it."""
    refs = [MemberRef(identifier=Identifier(IdentifierKind.CARD, f"6035{n:08}")) for n in range(members)]
    enrolled: dict[str, Command] = {
        f"m{n}": Enrol((ref.identifier,)) for n, ref in enumerate(refs) if ref.identifier
    }
    brought: dict[str, Command] = {
        f"l{n}-{m}": recognisable(
            ImportLot(ref, "points", 7, "old", f"{n}-{m}", NOON - timedelta(days=m), None, END),
            runtime.digests,
        )
        for n, ref in enumerate(refs)
        for m in range(lots)
    }
    for commands in (enrolled, brought):
        done, left = await send(runtime, program_id, commands, ())
        assert (done, left) == (len(commands), [])
    assert await send(runtime, program_id, {"clock": AdvanceClock(END)}, ()) == (1, [])
