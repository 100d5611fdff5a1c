"""Waiting, at the start of a server or worker, for a PostgreSQL that is not there yet."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar
from urllib.parse import urlsplit

from loyalty.base.errors import Busy
from loyalty.posting.store import may_be_run_again

T = TypeVar("T")

_PAUSE_S = (0.1, 5.0)  # first and longest pause before it is tried again

# A line on stderr, in the form of the process's log where that has been set up.
_log = logging.getLogger("loyalty.start")


async def once_reachable(attempt: Callable[[], Awaitable[T]], url: str, within_s: float) -> T:
    """What `attempt` gives once PostgreSQL at `url` takes connections; that it is waited for is said in one line.

    Raises: as `attempt` does when the time is up; at once for what does not pass by itself, such as a wrong password.
    """
    place = urlsplit(url)
    until, pause_s, told = monotonic() + within_s, _PAUSE_S[0], ""
    while True:
        try:
            result = await attempt()
            break
        except Exception as error:
            now = monotonic()
            if now >= until or not (isinstance(error, Busy) or may_be_run_again(error)):
                raise
            why = reason(error)
        if why != told:
            told = why
            _log.warning("Waiting for PostgreSQL at %s:%s: %s", place.hostname, place.port or 5432, why)
        await asyncio.sleep(min(pause_s, until - now))
        pause_s = min(pause_s * 2, _PAUSE_S[1])
    if told:
        _log.warning("PostgreSQL at %s:%s is there", place.hostname, place.port or 5432)
    return result


def reason(error: BaseException) -> str:
    """Why, in one line."""
    if isinstance(error, Busy) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without its number
    return str(error).split("\n")[0] or type(error).__name__
