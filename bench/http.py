"""Our contender over HTTP: the program as it is served, under a lean load in a process of its own.

Server, load and PostgreSQL share the same cores; each one's processor time is told apart.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from uuid import UUID

import msgspec

from bench.cluster import Cluster, family_cpu_us
from bench.load import Plan, Report
from bench.sample import Sample, Stretch
from bench.world import CLIENT, MEMBERS, PROGRAM, card, occurred_at, purchase_body
from loyalty.access.roles import Role
from loyalty.access.service import create_client, create_key
from loyalty.access.types import ActorKind, Principal
from loyalty.base.database import make_engine, transaction
from loyalty.base.ids import Ids
from loyalty.embedded.system import free_port

CONNECTIONS = 128
START_S = 30


class HttpBroken(Exception):
    """The server did not start or did not answer as it must."""


@dataclass(frozen=True)
class Server:
    """A running server and who may call it."""

    port: int
    pid: int
    authorization: str | None


@dataclass(frozen=True)
class Site:
    """What may be served on the bench's cluster, and by whom it may be called."""

    cluster: Cluster
    authorization: str

    @staticmethod
    def opened(cluster: Cluster, program_id: UUID = PROGRAM) -> "Site":
        """A site of a program of the bench with a till's key. Needs: the program."""
        return Site(cluster, f"Bearer {asyncio.run(_key(cluster, program_id))}")

    def served(
        self, processes: int, *, profile: Path | None = None, **settings: str
    ) -> AbstractContextManager[Server]:
        """The program as `loyalty serve` runs it in production; under the sampler when `profile` says where to."""
        command = [str(Path(sys.executable).with_name("loyalty")), "serve"]
        environ = self.environ() | {"LOYALTY_PROCESSES": str(processes)} | settings
        if profile is not None:
            command, environ = (
                [sys.executable, "-m", "bench.profile"],
                environ | {"BENCH_PROFILE": str(profile)},
            )
        return _serving(command, environ, "/health/ready", self.authorization)

    def noop(self, ours: Server) -> AbstractContextManager[Server]:
        """The floor under reads: answers of the same size as `ours` gives now, from routes that do nothing."""
        said = {
            "quote": msgspec.json.decode(call(ours, "/v1/quotes", self._quote(card(0)))),
            "balance": msgspec.json.decode(call(ours, self._balance(card(0)))),
        }
        said_path = self.cluster.home / "noop.json"
        said_path.write_bytes(msgspec.json.encode(said))
        environ = self.environ() | {"BENCH_SAID": str(said_path)}
        return _serving([sys.executable, "-m", "bench.noop"], environ, self._balance(card(0)), None)

    def plan(self, what: str, members: int, connections: int, stretch: Stretch) -> Plan:
        """The load of one kind of read; the server's port and credential come when it runs."""
        post = what == "quote"
        return Plan(
            port=0,
            connections=connections,
            warm_s=stretch.warm_s,
            seconds=stretch.seconds,
            method="POST" if post else "GET",
            path="/v1/quotes" if post else self._balance("{card}"),
            members=members,
            run=secrets.token_hex(4),
            body=self._quote("{card}").decode() if post else "",
        )

    def environ(self) -> dict[str, str]:
        """How the program finds the cluster."""
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "LOYALTY_ENVIRONMENT": "production",
            "LOYALTY_HOME": str(self.cluster.home),
            "LOYALTY_DATABASE_URL": self.cluster.servers.database_url,
            "LOYALTY_REDIS_URL": self.cluster.servers.redis_url,
            "LOYALTY_SECRET_KEY": base64.b64encode(hashlib.sha512(b"bench").digest()).decode(),
        }

    @staticmethod
    def _quote(card: str) -> bytes:
        return purchase_body(card, "Q-1", occurred_at(datetime.now(UTC)))

    @staticmethod
    def _balance(card: str) -> str:
        return f"/v1/members/identifier:card:{card}/balances"


@contextlib.contextmanager
def _serving(
    command: list[str], environ: dict[str, str], ready: str, authorization: str | None
) -> Iterator[Server]:
    """A server process for the length of a block, ready when `ready` answers 200."""
    port = free_port()
    log = open(os.path.join(environ["LOYALTY_HOME"], f"server-{port}.log"), "wb")  # noqa: SIM115 - outlives this line
    process = subprocess.Popen(
        [part.replace("{port}", str(port)) for part in command],
        env=environ | {"LOYALTY_PORT": str(port)},
        stdout=log,
        stderr=log,
    )
    try:
        _wait_ready(process, f"http://127.0.0.1:{port}{ready}", log.name)
        yield Server(port, process.pid, authorization)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@dataclass
class Http:
    """Loads against a running server; `cluster` is where its purchases land."""

    cluster: Cluster
    at: datetime
    members: int = MEMBERS
    recorded: int = 0
    hot: int = 0  # purchases so far that were all on one account

    def purchases(
        self, server: Server, connections: int, stretch: Stretch, *, hot: bool = False, rate: float = 0
    ) -> Sample:
        """One stretch of purchases, as many as there can be or so many a second; every answer must be a 201."""
        plan = self._purchases(server, connections, stretch, rate)
        report, cpu = self._load(server, msgspec.structs.replace(plan, hot=self.hot) if hot else plan)
        self.recorded += report.answered
        self.hot += report.answered if hot else 0
        return _sample(report, cpu)

    def flood(self, server: Server, connections: int, stretch: Stretch, rate: float) -> Report:
        """So many purchases a second, of which the server may refuse what is too much."""
        plan = self._purchases(server, connections, stretch, rate)
        report, _ = self._load(server, msgspec.structs.replace(plan, may_refuse=True))
        self.recorded += report.statuses.get("201", 0)
        return report

    def _purchases(self, server: Server, connections: int, stretch: Stretch, rate: float) -> Plan:
        return Plan(
            port=server.port,
            connections=connections,
            warm_s=stretch.warm_s,
            seconds=stretch.seconds,
            method="POST",
            path="/v1/purchases",
            members=self.members,
            run=secrets.token_hex(4),
            body=purchase_body("{card}", "{external_id}", self.at).decode(),
            authorization=server.authorization,
            keyed=True,
            rate=rate,
        )

    def reads(self, server: Server, plan: Plan) -> Sample:
        """One stretch of requests that write nothing."""
        plan = msgspec.structs.replace(plan, port=server.port, authorization=server.authorization)
        report, cpu = self._load(server, plan)
        return _sample(report, cpu)

    def writes(self, server: Server, plan: Plan) -> tuple[Sample, int]:
        """One stretch of requests that write, and how many were answered before, in and after it."""
        report, cpu = self._load(server, plan)
        return _sample(report, cpu), report.answered

    def _load(self, server: Server, plan: Plan) -> tuple[Report, dict[str, float]]:
        load = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert load.stdin is not None and load.stdout is not None and load.stderr is not None
        with load:
            load.stdin.write(msgspec.json.encode(plan))
            load.stdin.close()
            load.stdout.readline()  # warm
            python, postgres = family_cpu_us(server.pid), self.cluster.cpu_us()
            time.sleep(plan.seconds)
            python, postgres = family_cpu_us(server.pid) - python, self.cluster.cpu_us() - postgres
            line = load.stdout.readline()
            if not line:
                raise HttpBroken(load.stderr.read().decode()[-2000:])
        report = msgspec.json.decode(line, type=Report)
        if report.first_bad is not None or not report.done:
            raise HttpBroken(f"{plan.method} {plan.path} was answered {report.statuses}: {report.first_bad}")
        return report, {
            "python": python / report.done,
            "postgres": postgres / report.done,
            "client": report.cpu_us / report.done,
        }


async def _key(cluster: Cluster, program_id: UUID) -> str:
    """The text of a new API key of role pos."""
    now = datetime.now(UTC)
    ids = Ids(lambda: int(time.time() * 1000), lambda: secrets.randbits(62))
    operator = Principal(ActorKind.OPERATOR, CLIENT, Role.ADMIN, program_id, CLIENT)
    engine = make_engine(cluster.servers.database_url, 1)
    try:
        async with transaction(engine, program_id) as connection:
            client = await create_client(connection, operator, "bench", at=now, ids=ids)
            made = await create_key(
                connection, operator, client.id, Role.POS, random=secrets.token_bytes(32), at=now, ids=ids
            )
            return made[1]
    finally:
        await engine.dispose()


def call(server: Server, path: str, body: bytes | None = None) -> bytes:
    """One request for its answer's bytes: a POST when there is a body."""
    headers = {"Authorization": server.authorization} if server.authorization else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def _sample(report: Report, cpu: dict[str, float]) -> Sample:
    return Sample(
        done=report.done,
        seconds=report.seconds,
        mean_us=report.mean_us,
        p50_us=report.p50_us,
        p99_us=report.p99_us,
        cpu_us=cpu,
    )


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: str) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(URLError, OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    with open(log, "rb") as file:
        raise HttpBroken(f"the server is not ready; it said:\n{file.read()[-3000:].decode(errors='replace')}")
