"""The application: every endpoint of web/api under one door, in Litestar's router, behind the guard."""

import asyncio
import inspect
import pkgutil
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from itertools import groupby
from typing import Any, NoReturn, cast

from litestar import Litestar, Request
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp

from loyalty.base import migrations
from loyalty.base.settings import Settings
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.web import api, openapi
from loyalty.web.edge import Door, Endpoint, Pages, Shortcuts, options, route
from loyalty.web.guard import Guard
from loyalty.web.metrics import AccessLog, Metrics
from loyalty.web.reference import error_page, reference
from loyalty.web.types import MethodNotAllowed, RouteNotFound

OpenRuntime = Callable[[Settings], AbstractAsyncContextManager[Runtime]]


def endpoints() -> list[Endpoint]:
    """Every endpoint declared in web/api, by path and method: a new file there joins by itself."""
    found: list[Endpoint] = []
    for module in pkgutil.iter_modules(api.__path__):
        declared: Iterable[Any] = vars(import_module(f"{api.__name__}.{module.name}")).values()
        found.extend(one for one in declared if isinstance(one, Endpoint))
    return sorted(found, key=lambda endpoint: (endpoint.path, endpoint.method))


def describe() -> dict[str, Any]:
    """The OpenAPI document of all endpoints, grouped by the files that declare them."""
    described = endpoints()
    words = {one.tag: inspect.getdoc(sys.modules[one.handler.__module__]) or "" for one in described}
    return openapi.document(described, [(tag, words[tag]) for tag in _GROUPS])


_GROUPS = (
    "Purchases",
    "Holds",
    "Returns",
    "Members",
    "Adjustments",
    "Points",
    "Imports",
    "Rewards",
    "Ledger",
    "Engagement",
    "Program",
    "Access",
    "Operations",
    "Health",
    "Reference",
)


def make_app(
    settings: Settings,
    *,
    runtime: OpenRuntime = open_runtime,
    write_log: Callable[[str], object] | None = None,
) -> Guard:
    """The ASGI application; its lifespan opens the runtime and, at the end, answers everyone accepted."""
    log = AccessLog(settings.log_format, write_log)
    metrics = Metrics(log)
    declared, whole = endpoints(), describe()
    door = Door(metrics, migrations.head(), Pages(openapi.encoded(whole), reference(whole), error_page()))

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None, None]:
        async with runtime(settings) as opened:

            def note(batch: BatchSeen) -> None:
                metrics.note_batch(batch.commands, opened.pipe.depth)

            opened.pipe.observe = note
            opened.aside.observe = metrics.note_long_work
            door.open(opened)
            watching = asyncio.create_task(metrics.watch(opened))
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait({watching})
                log.flush()

    app = Litestar(
        route_handlers=[
            # First, or Litestar answers OPTIONS itself, from one method of the address alone.
            *(
                options(path, [endpoint.method for endpoint in of_path])
                for path, of_path in groupby(declared, lambda endpoint: endpoint.path)
            ),
            *(route(endpoint, door) for endpoint in declared),
        ],
        lifespan=[lifespan],
        exception_handlers={HTTPException: _refuse, Exception: _refuse},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    shortcuts = Shortcuts(declared, door)
    return Guard(cast("ASGIApp", app), metrics, settings.allowed_hosts, shortcuts.serve)


def _refuse(_request: Request[Any, Any, Any], error: Exception) -> NoReturn:
    """Hand what Litestar itself refuses to the guard, which tells every refusal in one form."""
    match error:
        case NotFoundException():
            raise RouteNotFound from None
        case MethodNotAllowedException():
            allowed = (error.headers or {}).get("allow", "")
            raise MethodNotAllowed(allowed=sorted(allowed.split(", "))) from None
        case _:
            raise error
