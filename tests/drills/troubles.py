"""What is broken in the drills, each trouble a short function on the stage. It notes who is in flight when it strikes,
and the moment from which everything that is needed is there again.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
from redis.asyncio import Redis

from tests.drills.stage import Stage
from tests.kills.crowd import CLIENTS

PATIENCE_S = 2.0  # so long nobody is told that the database is away
STATEMENT_S = 10.0  # so long the road waits for a server that says nothing
HEAD_S = 12.5  # so long, and a little, a server leaves the head to a process that stands still
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Drill:
    """A trouble and the stage it needs."""

    trouble: Callable[[Stage], Awaitable[None]]
    apis: int = 1
    sweep: bool = False  # it comes while the worker is amid a sweep
    small_disk: bool = False
    noticed: bool | None = None  # whether callers must, or must not, be told to come again or lose their line

    @property
    def name(self) -> str:
        return self.trouble.__name__

    @property
    def told(self) -> str:
        return " ".join((self.trouble.__doc__ or "").split())


# --- processes -------------------------------------------------------------------------------------------


async def api_killed(stage: Stage) -> None:
    """The API is killed twice under load and started again."""
    (api,) = stage.house.apis
    for _ in range(2):
        await stage.strikes()
        api.kill()
        stage.gives_back()
        await api.start()
        await asyncio.sleep(stage.chance.uniform(0.3, 0.8))


async def worker_killed(stage: Stage) -> None:
    """The worker is killed amid a sweep; another one comes."""
    await stage.amid_sweep()
    await stage.strikes()
    stage.worker.kill()
    stage.gives_back()
    stage.worker.start()


async def both_killed(stage: Stage) -> None:
    """API and worker are killed at one moment, amid a sweep."""
    (api,) = stage.house.apis
    await stage.amid_sweep()
    await stage.strikes()
    api.kill()
    stage.worker.kill()
    stage.gives_back()
    stage.worker.start()
    await api.start()


async def api_stopped(stage: Stage) -> None:
    """The API is told to stop while everybody waits for a lane: whoever was accepted is answered first, at once."""
    (api,) = stage.house.apis
    async with stage.head_held():
        await stage.until(lambda: stage.crowd.in_flight == CLIENTS)
        await asyncio.sleep(0.2)  # all of it has been read by the server
        accepted = stage.crowd.unanswered
        sent = {call.key: call.sendings for call in accepted}
        await stage.strikes()
        api.tell(signal.SIGTERM)
        await asyncio.sleep(0.2)
    assert await api.stop() == 0, "a graceful end is a success"
    await asyncio.sleep(0.05)  # the last answers are on their way through our own loop
    again = [call for call in accepted if call.reply is None or call.sendings != sent[call.key]]
    assert not again, f"{len(again)} of {len(accepted)} accepted commands were not answered before the end"
    stage.gives_back()
    await api.start()


async def api_frozen(stage: Stage) -> None:
    """One of two APIs stands still, perhaps with the lane's head in its hand: the server takes it away, and the other
    goes on; the frozen one wakes up to a session that is gone."""
    frozen, _ = stage.house.apis
    await stage.strikes()
    frozen.tell(signal.SIGSTOP)
    try:
        await asyncio.sleep(HEAD_S)
        waiting = stage.crowd.unanswered
        await asyncio.sleep(PATIENCE_S)
        assert any(call.reply is not None for call in waiting), "the other process does not go on"
    finally:
        frozen.tell(signal.SIGCONT)
    stage.gives_back()


async def one_of_two_killed(stage: Stage) -> None:
    """One of two APIs is killed and stays away for a while; its clients go to the other one."""
    killed, _ = stage.house.apis
    await stage.strikes()
    killed.kill()
    waiting = stage.crowd.unanswered
    await stage.until(lambda: all(call.reply is not None for call in waiting))
    await asyncio.sleep(stage.chance.uniform(0.5, 1.5))
    stage.gives_back()
    await killed.start()


# --- PostgreSQL ------------------------------------------------------------------------------------------


async def postgres_stopped(stage: Stage) -> None:
    """PostgreSQL stops as in a crash, amid a sweep, and stays away for longer than commands are tried again."""
    await stage.amid_sweep()
    await stage.strikes()
    await stage.stop_postgres()
    await asyncio.sleep(PATIENCE_S + stage.chance.uniform(1.0, 2.0))
    stage.gives_back()
    await stage.start_servers()


async def postgres_killed(stage: Stage) -> None:
    """PostgreSQL's first process is killed -9, and the server is started at once."""
    pid = stage.postgres.pid
    assert pid is not None
    await stage.strikes()
    os.kill(pid, signal.SIGKILL)
    stage.gives_back()
    await stage.start_servers()


async def postgres_frozen(stage: Stage) -> None:
    """PostgreSQL stands still for longer than anybody waits for a statement, then does what it was sent long ago."""
    first = stage.postgres.pid
    assert first is not None
    async with stage.superuser() as link:
        others = [row["pid"] for row in await link.fetch("SELECT pid FROM pg_stat_activity")]
    await stage.strikes()
    for pid in (first, *others):
        _tell(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STATEMENT_S + stage.chance.uniform(1.0, 3.0))
    finally:
        for pid in (*others, first):
            _tell(pid, signal.SIGCONT)
    stage.gives_back()


def _tell(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # its session is over
        os.kill(pid, signum)


async def sessions_ended(stage: Stage) -> None:
    """Sessions of the program are ended by the server one by one, again and again."""
    ours = "SELECT pid FROM pg_stat_activity WHERE usename = 'loyalty_app' ORDER BY pid"
    async with stage.superuser() as link:
        for _ in range(60):
            found = [row["pid"] for row in await link.fetch(ours)]
            if found:
                await stage.strikes()
                await link.execute("SELECT pg_terminate_backend($1)", stage.chance.choice(found))
            await asyncio.sleep(0.05)
    stage.gives_back()


async def read_only(stage: Stage) -> None:
    """The database takes no writes for a while, as one that is about to change its role."""
    async with stage.superuser() as link:
        await stage.strikes()
        await link.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await link.execute("SELECT pg_reload_conf()")
        await stage.end_sessions()
        await asyncio.sleep(PATIENCE_S + stage.chance.uniform(1.0, 2.0))
        await link.execute("ALTER SYSTEM RESET default_transaction_read_only")
        stage.gives_back()
        await link.execute("SELECT pg_reload_conf()")


async def no_connections(stage: Stage) -> None:
    """Others hold every connection that the database gives."""
    others: list[asyncpg.Connection] = []
    async with stage.superuser() as link:
        await stage.strikes()
        await link.execute(
            "ALTER ROLE loyalty_app CONNECTION LIMIT 0"
        )  # ours lose theirs, and the others are first
        await stage.end_sessions()
        try:
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                while True:
                    others.append(await asyncpg.connect(stage.servers.superuser_url))
            await link.execute("ALTER ROLE loyalty_app CONNECTION LIMIT -1")
            await asyncio.sleep(PATIENCE_S + stage.chance.uniform(0.5, 1.0))
        finally:
            stage.gives_back()
            for other in others:
                other.terminate()


async def disk_full(stage: Stage) -> None:
    """The disk of the database is full until somebody makes room, and starts the server if it has given up."""
    filler = stage.home / "filler"
    await stage.strikes()
    with filler.open("wb") as file, contextlib.suppress(OSError):  # until there is no room
        while True:
            os.posix_fallocate(file.fileno(), file.tell(), MEBIBYTE)
            file.seek(MEBIBYTE, os.SEEK_CUR)
    before = stage.crowd.refused
    await stage.until(lambda: stage.crowd.refused > before, 30)
    await asyncio.sleep(stage.chance.uniform(1.0, 2.0))
    filler.unlink()
    stage.gives_back()
    await stage.start_servers()


async def head_held(stage: Stage) -> None:
    """A foreign session locks the lane's head for longer than anybody waits for it."""
    async with stage.head_held():
        await stage.strikes()
        await asyncio.sleep(PATIENCE_S + stage.chance.uniform(1.0, 2.0))
    stage.gives_back()


# --- Valkey ----------------------------------------------------------------------------------------------


async def valkey_emptied(stage: Stage) -> None:
    """Valkey is emptied again and again."""
    async with Redis.from_url(stage.servers.redis_url) as link:
        for _ in range(20):
            await stage.strikes()
            await link.flushall()
            await asyncio.sleep(0.1)
    stage.gives_back()


async def valkey_away(stage: Stage) -> None:
    """Valkey stops and is away for some seconds."""
    await stage.strikes()
    await asyncio.to_thread(stage.valkey.stop)
    await asyncio.sleep(stage.chance.uniform(3.0, 5.0))
    stage.gives_back()
    await stage.start_servers()


DRILLS = (
    Drill(api_killed, noticed=True),
    Drill(worker_killed, sweep=True, noticed=False),
    Drill(both_killed, sweep=True, noticed=True),
    Drill(api_stopped),
    Drill(api_frozen, apis=2),
    Drill(one_of_two_killed, apis=2, noticed=True),
    Drill(postgres_stopped, sweep=True, noticed=True),
    Drill(postgres_killed),
    Drill(postgres_frozen),
    Drill(sessions_ended),
    Drill(read_only, noticed=True),
    Drill(no_connections, noticed=True),
    Drill(disk_full, small_disk=True, noticed=True),
    Drill(head_held, noticed=True),
    Drill(valkey_emptied, noticed=False),
    Drill(valkey_away, noticed=False),
)
