"""`loyalty servers`: the embedded pair by hand; other commands start and stop it by themselves."""

import shlex

from cyclopts import App

from loyalty.base.settings import from_process, mask_url
from loyalty.cli.frame import CommandError, Exit, emit, say, table
from loyalty.embedded import EmbeddedError, destroy, status, stop, tools
from loyalty.embedded.servers import keep, unused

app = App(name="servers", help="Start, stop and look at the embedded PostgreSQL and Valkey.")


@app.command(name="start")
def start_servers() -> None:
    """Start the embedded servers and keep them until `loyalty servers stop`."""
    settings = from_process()
    try:
        servers = keep(settings.home)
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
    say(f"The data is in {settings.home}; stop with: loyalty servers stop")
    table(
        [
            {"server": "postgres", "address": mask_url(servers.database_url)},
            {"server": "valkey", "address": mask_url(servers.redis_url)},
        ]
    )


@app.command(name="stop")
def stop_servers() -> None:
    """Stop the embedded servers, also under programs that use them."""
    home = from_process().home
    stop(home)
    with unused(home) as free:
        if not free:
            say("Programs that use them answer 503 until they run again: loyalty servers start")


@app.command(name="reset")
def reset_servers(*, yes: bool = False) -> None:
    """Stop the embedded servers and remove all their data, passwords and keys.

    Parameters
    ----------
    yes
        Really do it.
    """
    home = from_process().home
    with unused(home) as free:
        if not free:
            raise CommandError(f"Programs use the servers of {home}: stop them first", Exit.REFUSED)
        if not yes:
            raise CommandError(
                f"This removes all data, passwords and keys of the servers in {home}; say --yes to do it",
                Exit.REFUSED,
            )
        destroy(home)


@app.command(name="env")
def show_environment() -> None:
    """Lines for a shell, after which psql, pg_basebackup and PostgreSQL's other tools mean the embedded server.

    They stand in docs/operations.md, "Backup and restore": eval "$(loyalty servers env)". Passwords are not shown; the
    tools find them in a file of the home.
    """
    try:
        found = tools(from_process().home)
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
    print(f'export PATH={shlex.quote(str(found.bin))}:"$PATH"')
    for name, value in found.environ.items():
        print(f"export {name}={shlex.quote(value)}")


@app.command(name="status")
def show_status(*, json: bool = False) -> int:
    """Which embedded servers run; exit code 1 when one does not.

    Parameters
    ----------
    json
        Write JSON instead of columns.
    """
    found = status(from_process().home)
    rows = [
        {"server": name, "state": "runs" if pid else "stopped", "pid": pid or "-"}
        for name, pid in found.items()
    ]
    emit(found) if json else table(rows)
    return Exit.OK if all(found.values()) else Exit.FAILED
