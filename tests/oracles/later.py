"""The API whose clock is some days ahead: `python -m tests.oracles.later DAYS`, settings from the environment.

What a server does when the same purchases come again next week cannot be waited for.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from loyalty.base.clock import RealClock
from loyalty.base.logs import configure_logs
from loyalty.base.settings import Settings, from_process
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.web.app import make_app
from loyalty.web.serve import listen
from loyalty.web.server import make_server


class AheadClock(RealClock):
    """The machine's clock, put forward."""

    __slots__ = ("_ahead",)

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead // timedelta(milliseconds=1)


def main(days: int) -> None:
    """Serve until SIGTERM."""
    settings = from_process()
    configure_logs(settings.log_format)

    @asynccontextmanager
    async def ahead(given: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(given, clock=AheadClock(timedelta(days=days))) as runtime:
            yield runtime

    server = make_server(make_app(settings, runtime=ahead), settings)
    server.run(sockets=[listen(settings)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
