"""The command `loyalty`: one module per sub-command, imported only when it is called.

A sub-command is a module with `app = App(name="…", help="…")`, named like the module, and a line in COMMANDS.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, CycloptsPanel, MissingArgumentError

from loyalty import __version__
from loyalty.base.errors import Busy, LoyaltyError
from loyalty.base.logs import configure_logs
from loyalty.base.settings import SettingsError
from loyalty.cli.frame import CommandError, Exit, say

if TYPE_CHECKING:
    from rich.panel import Panel

COMMANDS = {
    "checkpoint": "Note where the chain stands in a file that an auditor keeps.",
    "clock": "Show a program's clock; set a sandbox program's clock forward.",
    "config": "Show the effective settings and where each comes from.",
    "demo": "Everything on embedded servers, with a year of real purchases.",
    "doctor": "Check this machine, the settings and the servers, and say what to do.",
    "forecast": "Say what happens by itself in the coming year.",
    "import": "Bring in members, opening lots and standings from CSV files.",
    "jobs": "What is due and since when, long work, and the last nightly work.",
    "keys": "Create, list, rotate and revoke API keys.",
    "migrate": "Bring the database to the newest schema.",
    "program": "Create, show, publish and export programs.",
    "redate": "Apply a changed policy of expiry to the points there are: plan, look, confirm.",
    "replay": "Post real purchases to the API: the public grocery data, or a file of your own.",
    "rollforward": "All members' points period by period, checked against the accounts.",
    "secrets": "Make the passwords and keys of a deployment, once.",
    "serve": "Serve the API.",
    "servers": "Start, stop and look at the embedded PostgreSQL and Valkey.",
    "staff": "Add staff, list them, issue and revoke their tokens.",
    "verify": "Recompute the books and name whatever is broken.",
    "worker": "Do what is due: asked-for runs, closing of days, removal of old records.",
}


def build() -> App:
    """The whole command line; nothing of a sub-command is imported yet."""
    app = App(
        name="loyalty",
        help="A loyalty points backend.",
        help_epilogue="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 refused, 4 differences found.",
        version=__version__,
        help_format="plaintext",
        error_formatter=_fault,
    )
    for name, help_line in COMMANDS.items():
        app.command(f"loyalty.cli.{name}:app", name=name, help=help_line)
    return app


def _fault(error: CycloptsError) -> "Panel":
    """What is wrong with a command line; of what was not said at all, that it is missing."""
    if isinstance(error, MissingArgumentError) and error.argument is not None and error.keyword is None:
        name = error.argument.name
        asked = name if error.argument.index is None else name.removeprefix("--").upper()
        error.msg = f'Command "{" ".join(error.command_chain or ())}" needs {asked}.'
    return CycloptsPanel(error)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = build()(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return Exit.USAGE  # cyclopts has said what is wrong
    except SettingsError as error:
        say("The settings are not right:")
        for fault in error.faults:
            say(f"  {fault}")
        return Exit.USAGE
    except CommandError as error:
        say(str(error))
        return error.code
    except Busy as error:  # a server is away, or not yet ready
        say(f"{error.detail} ({error.code})")
        return Exit.FAILED
    except LoyaltyError as error:
        say(f"Refused ({error.code}): {error.detail}")
        for fault in error.faults:
            say(f"  {fault.pointer}: {fault.detail}")
        return Exit.REFUSED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return Exit.OK
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else Exit.OK


def main() -> None:
    """Entry point of the console script."""
    configure_logs("text", logging.WARNING)
    sys.exit(run(sys.argv[1:]))
