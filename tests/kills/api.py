"""API processes for the tests: started as a user would start them, killed without mercy."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from loyalty.embedded.system import free_port
from tests.conftest import HOME
from tests.races.client import Client, Unknown

SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # one for all processes of a test


SERVE = (Path(sys.executable).with_name("loyalty"), "serve")


class Api:
    """One server process of the program on a port of its own; its log is kept for the scan of texts."""

    def __init__(self, environ: Mapping[str, str], *, command: Sequence[str | Path] = SERVE) -> None:
        self.port = free_port()
        self._command = command
        # In the home of this run, where there is one, and gone with it.
        self.log = Path(tempfile.mkstemp(prefix="loyalty-api-", suffix=".log", dir=os.environ.get(HOME))[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
        self._environ = (
            kept | {"LOYALTY_SECRET_KEY": SECRET} | dict(environ) | {"LOYALTY_PORT": str(self.port)}
        )
        self._process: subprocess.Popen[bytes] | None = None

    ready = "/health/ready"

    async def start(self) -> "Api":
        """Start the process and wait until it says that it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        probe = Client(self.port, "")
        for _ in range(600):
            if self._process.poll() is not None:
                break
            try:
                if (await probe.get(self.ready)).status == 200:
                    await probe.close()
                    return self
            except (OSError, Unknown):
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"the API is not ready; its log ends with:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def tell(self, signum: int) -> None:
        """Send the process a signal, if it lives."""
        assert self._process is not None
        self._process.send_signal(signum)

    async def stop(self) -> int:
        """SIGTERM and wait for the end: the exit code."""
        assert self._process is not None
        self.tell(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the API did not stop within 30 s") from None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None
