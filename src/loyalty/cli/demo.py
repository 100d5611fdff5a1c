"""`loyalty demo`: everything from nothing with one command, asking nothing."""

import asyncio
import signal
from typing import Annotated

from cyclopts import App, Parameter

from loyalty.base.settings import from_process
from loyalty.cli.frame import CommandError, Exit, refusal, say
from loyalty.demo.run import DemoError, demo
from loyalty.demo.run import reset as reset_demo
from loyalty.embedded import EmbeddedError
from loyalty.operating.desk import DeskError
from loyalty.operating.processes import ProcessError
from loyalty.replay.types import ReplayError

app = App(name="demo", help="Everything on embedded servers, with a year of real purchases.")

Flag = Annotated[bool, Parameter(negative="")]


@app.default
def run_demo(*, all: Flag = False, reset: Flag = False) -> None:  # noqa: A002 - the word of the command line
    """Start servers, make a program, replay purchases through the API, prove the books, and serve until Ctrl-C.

    A second run goes on from the data it finds.

    Parameters
    ----------
    all
        All 155,848 purchases instead of a tenth of the households.
    reset
        Remove the demo's data and servers, and do nothing else.
    """
    settings = from_process()
    if settings.environment == "production":
        raise CommandError("The demo does not run in a production environment", Exit.USAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is open is closed, as with Ctrl-C
    try:
        if reset:
            reset_demo(settings)
            say(f"The demo's data in {settings.home} is gone.")
            return
        demo(settings, everything=all, stop=_told_to_stop, say=print_now)
    except (DemoError, EmbeddedError, ProcessError, ReplayError) as error:
        raise CommandError(str(error)) from error
    except DeskError as error:
        raise refusal(error) from error


def print_now(text: str) -> None:
    """The demo's story is what it is for: it goes to stdout, a line at a time."""
    print(text, flush=True)


async def _told_to_stop() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    await stop.wait()
