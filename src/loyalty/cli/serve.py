"""`loyalty serve`: the API on the configured address, in one or several processes."""

import asyncio
import errno
from typing import Annotated

import asyncpg
from cyclopts import App, Parameter

from loyalty.base.logs import configure_logs
from loyalty.base.settings import DURABILITY, Settings, from_process, production_faults
from loyalty.cli.frame import CommandError, Exit, follow_parent, need_schema, unreachable, until_reachable
from loyalty.embedded import EmbeddedError, provide
from loyalty.web.serve import serve as serve_api

app = App(name="serve", help="Serve the API.")


@app.default
def serve(*, with_parent: Annotated[bool, Parameter(show=False, negative="")] = False) -> int:
    """Serve the API until SIGTERM or Ctrl-C; what was accepted is answered first.

    Parameters
    ----------
    with_parent
        End when standard input is closed.
    """
    settings = from_process()
    configure_logs(settings.log_format)
    if with_parent:
        follow_parent()
    try:
        with provide(settings) as complete:
            url = complete.database_url
            if url is not None and not asyncio.run(until_reachable(url, settings.database_wait_s)):
                return Exit.OK  # told to end before there was anything to serve from
            if settings.environment == "production":
                _refuse_unsafe(complete)
            if url is None or complete.secret_key is None:
                raise CommandError("LOYALTY_DATABASE_URL or LOYALTY_SECRET_KEY is not set", Exit.USAGE)
            asyncio.run(need_schema(url))
            return serve_api(complete)
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        raise CommandError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): stop what uses it, or choose"
            " another LOYALTY_PORT or LOYALTY_HOST"
        ) from error


def _refuse_unsafe(settings: Settings) -> None:
    """Raises: CommandError with everything that a production server must not run with."""
    durability = asyncio.run(_durability(settings.database_url)) if settings.database_url else {}
    faults = production_faults(settings, durability)
    if faults:
        raise CommandError("\n  ".join(["Production does not start like this:", *faults]), Exit.USAGE)


async def _durability(url: str) -> dict[str, str]:
    try:
        link = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CommandError(unreachable("PostgreSQL", url, error)) from error
    try:
        return {name: str(await link.fetchval(f"SHOW {name}")) for name in DURABILITY}
    finally:
        await link.close()
