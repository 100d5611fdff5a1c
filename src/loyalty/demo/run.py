"""The demo from nothing to a serving API: servers, schema, program, processes, purchases, proof, a statement.

It serves before the purchases are in and goes on serving until it is told to stop. A later run goes on from the
data it finds.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import shlex
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import msgspec

from loyalty.base import migrations
from loyalty.base.settings import Settings
from loyalty.demo.calls import basket, ready_calls
from loyalty.demo.program import NotOurs, Prepared, prepare
from loyalty.demo.state import Serving, State, announced, directory, forget, made_here, write_state
from loyalty.embedded import destroy, provide
from loyalty.embedded.system import refuse_taken
from loyalty.operating.processes import Child, until_ready
from loyalty.replay.completejourney import completejourney
from loyalty.replay.progress import in_words
from loyalty.replay.run import Order, run

SLICE = "household_id % 10 = 1"
MEMBERS = ("1", "101", "131")  # households of the slice that shop all year
CLIENTS = 16

Say = Callable[[str], None]


class DemoError(Exception):
    """Why the demo cannot run; the text says what to do."""


def demo(settings: Settings, *, everything: bool, stop: Callable[[], Awaitable[object]], say: Say) -> None:
    """Do all of it, and serve until `stop` returns; `everything` takes all purchases instead of a slice.

    Raises: DemoError, EmbeddedError, ProcessError, ReplayError, DeskError.
    """
    began = time.monotonic()
    settings = msgspec.structs.replace(settings, environment="demo")
    another = "for another one set LOYALTY_HOME and LOYALTY_PORT"
    with _alone(settings, another), _free_port(settings), provide(settings) as complete:
        say(f"servers    PostgreSQL and Valkey run, their data is in {settings.home}")
        if complete.owner_database_url is None:
            raise DemoError("LOYALTY_OWNER_DATABASE_URL is not set: the demo brings the schema up to date")
        say(f"schema     {migrations.upgrade(complete.owner_database_url)}")
        asyncio.run(_until(stop, _story(complete, everything, began, say)))
        say("Stopped.")


def reset(settings: Settings) -> None:
    """Remove the demo's data, the servers' included. Raises: DemoError while it runs, and where it never ran."""
    if settings.home.is_dir():
        if not made_here(settings.home):
            raise DemoError(
                f"No demo has been made in {settings.home}: nothing is removed. What else is there goes with"
                " `loyalty servers reset --yes`"
            )
        with _alone(settings, "stop it with Ctrl-C or `kill`, then reset again"):
            destroy(settings.home)
            forget(settings.home)
        with contextlib.suppress(OSError):  # something of somebody else is left in it
            settings.home.rmdir()


async def _story(settings: Settings, everything: bool, began: float, say: Say) -> None:
    try:
        prepared = await prepare(settings)
    except NotOurs:
        raise DemoError(
            f"{settings.home} holds programs of your own. Give the demo a place of its own: unset LOYALTY_HOME,"
            " or set it to another directory"
        ) from None
    say(
        f"program    {prepared.name} ({prepared.zone}), {'made' if prepared.made_now else 'found'}:"
        f" {prepared.state.program_id}"
    )
    base_url = f"http://{settings.host}:{settings.port}"
    async with _processes(settings, base_url) as watch:
        say(f"serving    {base_url}, {time.monotonic() - began:.1f} s after the servers were asked for")
        state = prepared.state
        members = tuple({"external": member} for member in MEMBERS)
        serving = Serving(
            base_url, state.program_id, state.money, state.api_keys, state.staff_tokens, members
        )
        with announced(settings.home, serving):
            await _purchases(settings, prepared, base_url, everything, say)
            await _verify(state, say)
            async with httpx2.AsyncClient(
                base_url=base_url,
                headers={"Authorization": f"Bearer {state.api_keys['support']}"},
                timeout=10,
            ) as support:
                statement = await _statement(support, MEMBERS[0])
                purchase_id = await _interesting(support, statement)
            now = datetime.now(ZoneInfo(prepared.zone))
            guest_id = await _guest(base_url, state.api_keys["pos"], now)
            _tell_statement(statement, ZoneInfo(prepared.zone), say)
            _tell_product(settings, base_url, purchase_id, guest_id, now, say)
            await watch()


async def _purchases(
    settings: Settings, prepared: Prepared, base_url: str, everything: bool, say: Say
) -> None:
    """Bring the purchases in, unless an earlier run did."""
    state = prepared.state
    wanted = "all" if everything else SLICE
    say(
        "purchases  the public Complete Journey grocery data set (84.51°/dunnhumby, dates shifted;"
        " its packager labels it simulated/educational)"
    )
    if wanted in state.replayed or "all" in state.replayed:
        say("           all recorded by an earlier run: nothing to replay")
        return
    say(f"           all times are moved by {state.shift_weeks} weeks, so that they end last week")
    order = Order(clients=CLIENTS, shift=timedelta(weeks=state.shift_weeks))
    with completejourney(None if everything else SLICE) as purchases:
        _, members, _ = purchases.totals()
        say(
            f"           {purchases.count():,} baskets of {members:,} households through the API with"
            f" {CLIENTS} clients"
        )
        figures = await run(purchases, order, base_url, state.api_keys["pos"])
    say(f"           {figures.posted:,} in {figures.seconds:.1f} s: {in_words(figures)}")
    if figures.refused:
        raise DemoError("The API refused purchases: see the counts above.")
    write_state(settings.home, msgspec.structs.replace(state, replayed=(*state.replayed, wanted)))


async def _verify(state: State, say: Say) -> None:
    say(f"proof      {_loyalty()} verify --program {state.program_id}")
    command = [sys.executable, "-m", "loyalty", "verify", "--program", str(state.program_id)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    for line in told.decode().splitlines():
        say(f"           {line}")
    if process.returncode != 0:
        raise DemoError("The books are not right: see above.")


async def _statement(support: httpx2.AsyncClient, member: str) -> list[dict[str, Any]]:
    answer = await support.get(f"/v1/members/identifier:external:{member}/entries", params={"limit": 50})
    answer.raise_for_status()
    return answer.json()["data"]


async def _interesting(support: httpx2.AsyncClient, statement: list[dict[str, Any]]) -> str:
    """A recent purchase of the statement for which more than one rule gave points; else the last one."""
    purchases = [line["activity_id"] for line in statement if line["activity_id"] and line["kind"] == "earn"]
    for purchase_id in purchases[:20]:
        answer = await support.get(f"/v1/purchases/{purchase_id}/explanation")
        answer.raise_for_status()
        if sum(rule["points"] > 0 for rule in answer.json()["explanation"]["rules"]) > 1:
            return purchase_id
    return purchases[0]


async def _guest(base_url: str, api_key: str, now: datetime) -> str:
    """A purchase by nobody, made now so that somebody can claim it."""
    body = basket(f"GUEST-{now:%Y%m%d-%H%M%S}", now, None)
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": body["external_id"]}
    async with httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=10) as till:
        answer = await till.post("/v1/purchases", json=body)
    answer.raise_for_status()
    return answer.json()["id"]


def _tell_statement(statement: list[dict[str, Any]], zone: ZoneInfo, say: Say) -> None:
    say(f"statement  of member {MEMBERS[0]}, newest first")
    for line in statement[:6]:
        on = datetime.fromisoformat(line["occurred_at"]).astimezone(zone).date()
        say(f"           {on}  balance {line['available']:>6,}  {line['words']}")


def _tell_product(
    settings: Settings, base_url: str, purchase_id: str, guest_id: str, now: datetime, say: Say
) -> None:
    say("")
    say("The API is running. Paste these, from top to bottom:")
    for call in ready_calls(base_url, settings.home, MEMBERS[0], purchase_id, guest_id, now):
        say("")
        say(f"# {call.what}")
        say(call.line)
    say("")
    say(f"API reference  {base_url}/docs")
    say(f"health         {base_url}/health/ready")
    say(f"keys           {settings.home}/demo.json has one per role; only you can read it")
    say(f"your own data  {_loyalty()} replay FILE --mapping MAPPING (see examples/mappings)")
    say("stop           Ctrl-C; the next `make demo` goes on from here")
    say("reset          make demo ARGS=--reset")


def _loyalty() -> str:
    """The command as one may paste it."""
    return shlex.quote(str(Path(sys.executable).with_name("loyalty")))


@asynccontextmanager
async def _processes(settings: Settings, base_url: str) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """API and worker for the length of a block; gives a function that waits until one of them has ended."""
    logs = directory(settings.home)
    environ = {
        "LOYALTY_HOST": settings.host,
        "LOYALTY_PORT": str(settings.port),
        "LOYALTY_ENVIRONMENT": "demo",
    }
    children = [Child(command, environ, logs / f"{command}.log") for command in ("serve", "worker")]

    async def watch() -> None:
        while True:
            for child in children:
                child.check()
            await asyncio.sleep(0.5)

    try:
        for child in children:
            child.start()
        await until_ready(base_url, children[0])
        yield watch
    finally:
        await asyncio.gather(*(child.stop() for child in children))


async def _until(stop: Callable[[], Awaitable[object]], story: Awaitable[None]) -> None:
    """Go through the story, but no longer than until `stop` returns. Raises what the story raises."""
    told, stopped = asyncio.ensure_future(story), asyncio.ensure_future(stop())
    await asyncio.wait({told, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not told.done():
        told.cancel()
        await asyncio.wait({told})
    if not told.cancelled():
        told.result()


@contextmanager
def _alone(settings: Settings, otherwise: str) -> Generator[None]:
    """One demo per home. Raises: DemoError with the process that runs it, and what to do `otherwise`."""
    place = directory(settings.home)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise DemoError(
                f"The demo of {settings.home} runs already (process {lock.read()}): {otherwise}"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _free_port(settings: Settings) -> Generator[None]:
    """Raises: DemoError before anything is made, when nobody could be served."""
    try:
        refuse_taken(settings.host, settings.port)
    except OSError as error:
        advice = (
            f"stop what uses it, or choose another port: LOYALTY_PORT={settings.port + 1} make demo"
            if error.errno == errno.EADDRINUSE
            else "choose another LOYALTY_HOST or LOYALTY_PORT"
        )
        raise DemoError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): {advice}"
        ) from error
    yield
