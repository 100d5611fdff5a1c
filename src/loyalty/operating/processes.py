"""Server processes that this one starts and ends with itself: the API and the worker of a demo or a replay.

A child holds the reading end of a pipe; when we are gone, killed included, the pipe closes and the child stops.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

START_S = 60.0
_STOP_S = 15.0
_TAIL_LINES = 12


class ProcessError(Exception):
    """A child did not start or has ended by itself; the text holds the end of its log."""


class Child:
    """One `loyalty` sub-process with the environment of this one and `environ` over it; it writes to `log`."""

    def __init__(self, command: str, environ: Mapping[str, str], log: Path) -> None:
        self.command = command
        self._environ = dict(os.environ) | dict(environ)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; the log of the one before is kept beside, for whoever asks how that ended."""
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".before.log"))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "loyalty", self.command, "--with-parent"],
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop our children in order
            )

    def check(self) -> None:
        """Raises: ProcessError when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ProcessError(
                f"`loyalty {self.command}` ended with code {self._process.returncode}; {self._log} ends with:\n"
                + self._tail()
            )

    async def stop(self) -> None:
        """Ask the process to end, and end it when it does not."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, _STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        if process.stdin is not None:
            process.stdin.close()

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").splitlines()
            return "\n".join(f"  {line[:300]}" for line in lines[-_TAIL_LINES:])
        return "  (no log was written)"


async def until_ready(base_url: str, child: Child) -> None:
    """Wait until the API at `base_url` serves. Raises: ProcessError when it ends or takes longer than START_S."""
    try:
        async with asyncio.timeout(START_S), httpx2.AsyncClient(base_url=base_url, timeout=2) as probe:
            while True:
                child.check()
                with contextlib.suppress(httpx2.HTTPError):
                    if (await probe.get("/health/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise ProcessError(f"{base_url} did not become ready within {START_S:.0f} s") from error
