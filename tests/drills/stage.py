"""The stage of a drill: a durable cluster of its own, the program's processes on it, and a crowd in front of them."""

import asyncio
import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from loyalty.base.settings import load_settings
from loyalty.embedded import Postgres, Servers, Valkey, ensure
from loyalty.embedded.system import account
from loyalty.jobs.worker import QUEUE
from loyalty.operating.desk import open_desk
from loyalty.programs.types import ProgramKind
from tests.drills.onlookers import Onlookers
from tests.kills.api import Api
from tests.kills.cluster import demand_durability, durable
from tests.kills.crowd import CLIENTS, MEMBERS, OPENING, Crowd
from tests.kills.worker import NOON, Worker, lots_due
from tests.posting.shop import program
from tests.races.house import House, environ, open_program

SWEPT = 2_000  # members with one lot each that is due, where the trouble comes amid a sweep
SWEEP_S = 120.0  # two intervals of it
STILL_DUE = "SELECT count(*) FROM accounts WHERE program_id = $1 AND next_due_at IS NOT NULL"
SMALL_DISK = "512m"


class LeftOut(Exception):
    """This machine cannot play the drill; the text says what it would need."""


class Void(AssertionError):
    """The drill proves nothing: the trouble met nobody."""


@dataclass
class Stage:
    """Whatever a trouble may lay hands on."""

    home: Path
    servers: Servers
    durability: str
    house: House
    worker: Worker
    crowd: Crowd
    onlookers: Onlookers
    sandbox: UUID | None  # the program that is being swept
    chance: random.Random
    logs: list[Path]  # kept when the drill fails
    before: set[str] = field(default_factory=set)  # decisions of clients from before the crowd came
    at_strikes: list[int] = field(default_factory=list)  # commands in flight when the trouble struck
    mended_at: float = 0.0
    _clients: list[asyncio.Task[None]] = field(default_factory=list)

    # --- the crowd ---------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """The worker works, the crowd comes, and people who only look. A sweep begins under the eyes of the crowd."""
        if self.sandbox is None:
            self.worker.start()
            await self._worked()
        self._let_in()
        if self.sandbox is not None:
            self.worker.start()

    async def _worked(self) -> None:
        """Wait for the worker's first sign of life."""
        async with asyncio.timeout(30), Redis.from_url(self.servers.redis_url) as link:
            while not await link.exists(f"{QUEUE}:health-check"):
                await asyncio.sleep(0.02)

    def _let_in(self) -> None:
        ports = [api.port for api in self.house.apis]
        for n in range(CLIENTS):
            first = n % len(ports)
            self._clients.append(asyncio.create_task(self.crowd.client(*ports[first:], *ports[:first])))
        self._clients += [asyncio.create_task(self.onlookers.look(port)) for port in ports]

    async def let_out(self, within_s: float) -> None:
        """Nobody sends anything new; everybody waits for the last answer."""
        self.crowd.closing = self.onlookers.closing = True
        await asyncio.wait_for(asyncio.gather(*self._clients), within_s)

    async def served_again(self, within_s: float) -> float:
        """Every process is ready and whoever waited is answered: seconds since what was broken was given back."""
        waiting = self.crowd.unanswered
        async with asyncio.timeout(within_s):
            for api in self.house.apis:
                await self.onlookers.ready(api.port)
            while any(call.reply is None for call in waiting):
                await asyncio.sleep(0.01)
        return time.monotonic() - self.mended_at

    # --- what a trouble says and does ----------------------------------------------------------------------

    async def strikes(self) -> None:
        """At the next moment at which it meets enough: note who is in flight."""
        self.at_strikes.append(await self.crowd.busy())

    def gives_back(self) -> None:
        """From now on it may recover."""
        self.mended_at = time.monotonic()

    async def until(self, what: Callable[[], bool], within_s: float = 15.0) -> None:
        """Wait for something that the trouble needs. Raises: Void when it does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not what():
                    await asyncio.sleep(0.01)
                return
        raise Void("what the trouble waits for did not come")

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """A session that is none of the program's."""
        link = await asyncpg.connect(
            self.servers.superuser_url, server_settings={"application_name": "drill"}
        )
        try:
            yield link
        finally:
            link.terminate()

    @asynccontextmanager
    async def head_held(self) -> AsyncIterator[None]:
        """The program's lane is locked by a foreign session for the length of a block."""
        async with self.superuser() as link, link.transaction():
            await link.execute("SELECT FROM heads WHERE program_id = $1 FOR UPDATE", self.house.program)
            yield

    async def end_sessions(self) -> None:
        """Every session of the program is ended by the server."""
        async with self.superuser() as link:
            await link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loyalty_app'"
            )

    @property
    def postgres(self) -> Postgres:
        return Postgres(self.home, durable=True)

    @property
    def valkey(self) -> Valkey:
        return Valkey(self.home)

    async def stop_postgres(self) -> None:
        """Stop it as a crash does, but in order: no checkpoint, no goodbye."""
        control = (self.postgres.bin / "pg_ctl", "-D", self.postgres.data, "-w", "-m", "immediate", "stop")
        assert (await asyncio.to_thread(account().run, control)).returncode == 0

    async def start_servers(self) -> None:
        """Whatever does not run of the two servers runs again where it ran before."""
        assert await asyncio.to_thread(ensure, self.home, durable=True) == self.servers

    # --- what is due ---------------------------------------------------------------------------------------

    async def amid_sweep(self) -> None:
        """Wait for a place within the sweep. Raises: Void when it is through already."""
        place = self.chance.randrange(SWEPT // 4, SWEPT)
        async with self.superuser() as link, asyncio.timeout(SWEEP_S):
            while (left := await link.fetchval(STILL_DUE, self.sandbox)) > place:
                await asyncio.sleep(0.002)
        if not left:
            raise Void("the sweep was over before the trouble came")

    async def swept(self) -> None:
        """What was due is done within two intervals of the sweep, each lot once."""
        async with self.superuser() as link:
            async with asyncio.timeout(SWEEP_S):
                while await link.fetchval(STILL_DUE, self.sandbox):
                    await asyncio.sleep(0.1)
            gone = await link.fetchrow(
                "SELECT count(*), count(DISTINCT lot_id), sum(points) FROM postings"
                " WHERE target = 'expired' AND program_id = $1",
                self.sandbox,
            )
        assert gone is not None
        assert tuple(gone) == (SWEPT, SWEPT, 7 * SWEPT), f"of {SWEPT} lots expired {tuple(gone)}"

    # --- what is there ---------------------------------------------------------------------------------------

    async def decisions(self) -> set[str]:
        """The decisions of clients that stand in the books."""
        async with self.superuser() as link:
            rows = await link.fetch(
                "SELECT id FROM decisions WHERE program_id = $1 AND actor_kind = 'client'", self.house.program
            )
        return {str(row["id"]) for row in rows}

    async def quiet(self) -> None:
        """No session of the program is in a transaction or waits for a lock. Needs: nothing is being asked."""
        async with self.superuser() as link:
            busy = await link.fetch(
                "SELECT application_name, state, wait_event_type FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND (state LIKE 'idle in transaction%' OR wait_event_type = 'Lock')"
            )
        assert not busy, f"sessions that hold on: {[tuple(row) for row in busy]}"

    async def close(self) -> None:
        """Whatever still runs is ended, as at the end of a drill that failed."""
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self.house.hang_up()
        if self.worker.running:
            self.worker.kill()
        for api in self.house.apis:
            if api.running:
                api.kill()


@asynccontextmanager
async def opened(
    chance: random.Random, *, apis: int = 1, sweep: bool = False, small_disk: bool = False
) -> AsyncIterator[Stage]:
    """A stage on which everything runs and nobody asks anything yet. Raises: LeftOut."""
    with contextlib.ExitStack() as ground:
        home = ground.enter_context(_home(small_disk=small_disk))
        servers = ground.enter_context(durable(home))
        stage = await _built(home, servers, chance, apis=apis, sweep=sweep)
        try:
            await asyncio.gather(*(api.start() for api in stage.house.apis))
            members = [await stage.house.member(OPENING) for _ in range(MEMBERS)]
            stage.crowd.members += members
            stage.onlookers.members += members
            stage.before = await stage.decisions()
            yield stage
        except Exception as error:
            error.add_note(f"logs: {', '.join(map(str, stage.logs))}")
            raise
        else:
            for log in stage.logs:
                log.unlink()
        finally:
            await stage.close()


async def _built(home: Path, servers: Servers, chance: random.Random, *, apis: int, sweep: bool) -> Stage:
    durability = await demand_durability(servers.superuser_url)
    env = environ(servers.database_url, servers.redis_url)
    id, key = await open_program(servers.database_url, servers.redis_url)
    house = House(servers.database_url, servers.superuser_url, id, key, [Api(env) for _ in range(apis)], env)
    sandbox = await _due(env) if sweep else None
    log = Path(tempfile.mkstemp(prefix="loyalty-worker-", suffix=".log")[1])
    crowd, onlookers = Crowd(house, [], chance), Onlookers(key)
    return Stage(
        home, servers, durability, house, Worker(env, log), crowd, onlookers, sandbox, chance,
        [log, *(api.log for api in house.apis)],
    )  # fmt: skip


async def _due(env: dict[str, str]) -> UUID:
    """A sandbox in which much is due, and nobody has settled it."""
    async with open_desk(load_settings(env)) as desk:
        sandbox = await desk.create_program(ProgramKind.SANDBOX, program(), NOON)
        await lots_due(desk.runtime, sandbox, SWEPT, 1)
        return sandbox


@contextmanager
def _home(*, small_disk: bool) -> Iterator[Path]:
    """A directory for the servers, on a small disk of its own if wanted."""
    home = Path(tempfile.mkdtemp(prefix="loyalty-drill-"))
    if not small_disk:
        yield home
        return
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0711", "tmpfs", str(home))
    try:
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            raise LeftOut("needs root that may mount a small disk")
        try:
            yield home
        finally:
            subprocess.run(("umount", "--lazy", str(home)), check=True)
    finally:
        home.rmdir()
