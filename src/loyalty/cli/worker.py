"""`loyalty worker`: does what is due: runs that were asked for, the closing of days, the removal of old records."""

import asyncio
import signal
from typing import Annotated

import uvloop
from cyclopts import App, Parameter

from loyalty.base.logs import configure_logs
from loyalty.base.settings import from_process
from loyalty.cli.frame import CommandError, Exit, follow_parent, need_schema, until_reachable
from loyalty.embedded import EmbeddedError, provide
from loyalty.jobs.worker import work

app = App(name="worker", help="Do what is due: asked-for runs, closing of days, removal of old records.")


@app.default
def worker(*, with_parent: Annotated[bool, Parameter(show=False, negative="")] = False) -> None:
    """Work until SIGTERM or Ctrl-C. Several workers share the work; one that dies loses none of it.

    Parameters
    ----------
    with_parent
        End when standard input is closed.
    """
    settings = from_process()
    if settings.pool_size < 2:
        raise CommandError(
            "LOYALTY_POOL_SIZE=1: a worker needs 2, one to hold its turn and one to work", Exit.USAGE
        )
    configure_logs(settings.log_format)
    if with_parent:
        follow_parent()

    async def run(database_url: str) -> None:
        if not await until_reachable(database_url, settings.database_wait_s):
            return  # told to end before there was anything to work on
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await need_schema(database_url)
        await work(complete, stop)

    try:
        with provide(settings) as complete:
            if complete.database_url is None or complete.redis_url is None or complete.secret_key is None:
                raise CommandError(
                    "LOYALTY_DATABASE_URL, LOYALTY_REDIS_URL or LOYALTY_SECRET_KEY is not set", Exit.USAGE
                )
            uvloop.run(run(complete.database_url))
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
