"""What operators see: health, figures, logs without personal data; and how the server ends."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from loyalty import __version__
from loyalty.base import migrations
from loyalty.base.settings import Settings
from loyalty.embedded.system import free_port, refuse_taken
from loyalty.jobs.overview import Totals, totals
from loyalty.posting.runtime import Runtime
from loyalty.web import metrics, status
from loyalty.web.serve import listen
from loyalty.web.status import Board, judged
from tests.conftest import HOME, Database
from tests.posting.live import head_held, until_blocked
from tests.races.client import Client, Reply, Unknown
from tests.races.proxy import Proxy, relayed
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, World, enrol, long_work, new_shop, opened, parsed, receipt


async def test_health_tells_living_started_and_ready(world: World) -> None:
    anybody = world.client("nobody")
    assert (await anybody.get("/health/live")).json == {"status": "live"}
    assert (await anybody.get("/health/startup")).json == {"status": "started"}
    ready = await anybody.get("/health/ready")
    assert (ready.status, ready.json["status"], ready.json["waiting"]) == (200, "ready", 0)


async def test_a_process_with_another_clock_or_schema_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    anybody = world.client("nobody")
    monkeypatch.setattr("loyalty.web.api.health.CLOCK_SKEW_MS_MAX", -1)
    assert is_problem(await anybody.get("/health/ready"), 503, "not_ready")["check"] == "clock"
    monkeypatch.undo()
    assert (await anybody.get("/health/ready")).status == 200


async def test_without_a_database_everybody_is_told_to_come_back_and_life_goes_on(database: Database) -> None:
    async with relayed(database.app_url) as (url, relay), opened(replace(database, app_url=url)) as world:
        till, anybody = world.client("pos"), world.client("nobody")
        assert (await till.post("/v1/purchases", receipt(), idempotency_key="a")).status == 201
        relay.refusing = True
        await relay.stop()
        for reply in (
            await till.post("/v1/purchases", receipt(), idempotency_key="b"),
            await till.post("/v1/quotes", receipt()),
            await till.get(f"/v1/purchases/{uuid4()}"),
            await anybody.get("/health/ready"),
        ):
            assert is_problem(reply, 503)["retryable"]
            assert int(reply.headers["retry-after"]) >= 1
        assert (await anybody.get("/health/live")).status == 200
        relay.refusing = False
        until = asyncio.get_running_loop().time() + 10
        while (again := await till.post("/v1/purchases", receipt(), idempotency_key="c")).status != 201:
            assert again.status == 503 and asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)
        assert (await anybody.get("/health/ready")).status == 200
        await world.hang_up()


async def test_figures_count_requests_commands_and_batches(world: World) -> None:
    till = world.client("pos")
    body = receipt()
    for _ in range(2):
        await till.post("/v1/purchases", body, idempotency_key="counted")
    await till.post("/v1/purchases", receipt(money="USD"), idempotency_key=uuid4().hex)
    text = await till.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.body.decode())
        for sample in family.samples
    }
    assert samples["loyalty_http_requests_total", "/v1/purchases", "201", "POST"] == 2
    assert samples["loyalty_http_requests_total", "/v1/purchases", "422", "POST"] == 1
    assert samples["loyalty_http_request_seconds_count", "/v1/purchases"] == 3
    assert samples["loyalty_commands_total", "done", "purchase"] == 1
    assert samples["loyalty_commands_total", "purchase", "replayed"] == 1
    assert samples["loyalty_commands_total", "purchase", "refused"] == 1
    assert samples["loyalty_batch_commands_count",] >= 2
    assert ("loyalty_waiting_commands",) in samples


async def test_figures_say_what_is_due_in_the_whole_installation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LOOK_S", 0.01)
    measured = metrics.Metrics(metrics.AccessLog("json"))
    assert b"loyalty_broken_findings" not in measured.text()  # nobody has looked yet
    auditor = world.client("auditor", await new_shop(world.runtime))
    await auditor.post("/v1/verification-runs", None, idempotency_key="due")
    watching = asyncio.create_task(measured.watch(world.runtime))
    async with asyncio.timeout(20):
        while b"loyalty_broken_findings 0.0" not in (text := measured.text()) or b"due_seconds{" not in text:
            await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.wait({watching})
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["loyalty_runs", "queued", "verification"] >= 1
    assert samples["loyalty_runs", "failed", "tiers"] == 0
    assert samples["loyalty_due_seconds", "notices"] > 0  # no worker works here
    now = world.runtime.clock.now()
    due: dict[str, datetime | None] = {"accounts": now - timedelta(minutes=5), "days": None}
    measured.note_jobs(Totals(due, 3, {}), now)
    assert b'loyalty_due_seconds{work="accounts"} 300.0' in measured.text()
    assert b'loyalty_due_seconds{work="days"} 0.0' in measured.text()
    assert b"loyalty_broken_findings 3.0" in measured.text()


async def test_figures_say_when_each_program_was_verified_of_how_much_and_for_how_long(world: World) -> None:
    measured = metrics.Metrics(metrics.AccessLog("json"))
    shop = await new_shop(world.runtime)
    till, auditor = world.client("pos", shop), world.client("auditor", shop)
    await enrol(till, "6035550001")
    body = receipt(member={"card": "6035550001"})
    assert (await till.post("/v1/purchases", body, idempotency_key="r")).status == 201
    program = str(shop.program_id)
    now = world.runtime.clock.now()
    measured.note_jobs(await totals(world.runtime), now)
    assert program.encode() not in measured.text()  # it never was
    await auditor.post("/v1/verification-runs", None, idempotency_key="verify")
    await long_work(world.runtime)
    found = await totals(world.runtime)
    (one,) = (one for one in found.programs if one.program_id == shop.program_id)
    assert one.verified_at is not None and one.verified_seconds is not None
    measured.note_jobs(found, one.verified_at + timedelta(hours=2))
    text = measured.text().decode()
    for figure, value in (
        ("age_seconds", 7200.0),
        ("entries", 1.0),
        ("broken", 0.0),
        ("seconds", one.verified_seconds),
    ):
        assert f'loyalty_verification_{figure}{{program="{program}"}} {value}\n' in text


async def test_anybody_may_know_whether_the_installation_is_well_and_nothing_more(world: World) -> None:
    shop = await new_shop(world.runtime)
    anybody = world.client("nobody")
    first = await anybody.get("/status")
    assert first.status == 200
    told = first.json
    assert set(told) == {
        "status", "degraded", "at", "version", "schema", "database", "due_seconds", "laws_checked_seconds",
    }  # fmt: skip
    assert (told["database"], told["schema"], told["version"]) == ("ready", migrations.head(), __version__)
    assert told["laws_checked_seconds"] is not None
    for secret in (shop.program_id, world.shop.program_id, CONFIGURATION["settings"]["name"]):
        assert str(secret) not in first.body.decode()


async def test_however_many_ask_for_the_status_the_database_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    board = Board(world.runtime, migrations.head())
    monkeypatch.setattr(status, "LOOK_S", 60.0)

    async def counted(runtime: Runtime) -> Totals:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        return await totals(runtime)

    monkeypatch.setattr(status, "totals", counted)
    seen = await asyncio.gather(*(board.read() for _ in range(50)))
    assert looks == 1
    assert len(set(seen)) == 1


async def test_without_a_database_the_status_says_so(database: Database) -> None:
    async with relayed(database.app_url) as (url, relay), opened(replace(database, app_url=url)) as world:
        relay.refusing = True
        await relay.stop()
        told = (await world.client("nobody").get("/status")).json
        assert (told["status"], told["degraded"], told["database"]) == ("degraded", ["database"], "away")
        assert told["schema"] is told["due_seconds"] is told["laws_checked_seconds"] is None
        relay.refusing = False
        await world.hang_up()


async def test_while_the_database_stands_still_the_status_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "WAIT_S", 0.2)
    monkeypatch.setattr(status, "LOOK_S", 0.0)
    async with relayed(database.app_url) as (url, relay), opened(replace(database, app_url=url)) as world:
        anybody = world.client("nobody")
        relay.going.clear()
        async with asyncio.timeout(5):
            for _ in range(2):
                assert (await anybody.get("/status")).json["database"] == "away"
        relay.going.set()
        async with asyncio.timeout(5):
            while (await anybody.get("/status")).json["database"] != "ready":
                pass
        await world.hang_up()


def test_the_status_says_what_is_not_well() -> None:
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    ago = timedelta(seconds=600), timedelta(days=2)
    work, laws = (now - age for age in ago)
    moment = timedelta(seconds=1)

    def degraded(due: datetime | None, verified: datetime | None, broken: int = 0) -> tuple[str, ...]:
        found = Totals({"accounts": due, "days": None}, broken, {}, verified)
        told = judged(now, "0001", "ready", found)
        assert (told.status == "ok") == (not told.degraded)
        return told.degraded

    assert degraded(None, None) == degraded(work, laws) == ()
    assert degraded(work - moment, laws) == ("work",)
    assert degraded(work, laws - moment) == ("laws",)
    assert degraded(None, now, 1) == ("books",)
    assert judged(now, "0000", "other_schema", None).degraded == ("database",)


async def test_every_request_has_a_log_line_and_no_line_names_a_person(world: World) -> None:
    desk = world.client("support")
    body = {
        "identifiers": [
            {"kind": "email", "value": "planted@example.com"},
            {"kind": "card", "value": "PLANTED77"},
        ],
        "profile": {"name": "Planted Person", "birthday_on": "1971-02-03"},
    }
    answers = [
        await desk.post("/v1/members", body, idempotency_key="planted-key"),
        await desk.get("/v1/members/identifier:email:planted%40example.com"),
        await desk.get("/v1/members?q=Planted"),
        await desk.get("/planted/nowhere"),
        await desk.post("/v1/members", {**body, "Planted": "Person"}, idempotency_key="p"),
    ]
    await asyncio.sleep(0.1)
    lines = [json.loads(line) for text in world.log for line in text.splitlines()]
    by_id = {line["request_id"]: line for line in lines}
    for answer in answers:
        line = by_id[answer.headers["x-request-id"]]
        assert line["status"] == answer.status
        assert line["event"] == "request"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line["timestamp"])
    assert by_id[answers[1].headers["x-request-id"]]["route"] == "/v1/members/{member}"
    assert by_id[answers[0].headers["x-request-id"]]["program_id"] == str(world.shop.program_id)
    assert by_id[answers[3].headers["x-request-id"]]["route"] == "-"
    whole = "".join(world.log).lower()
    for planted in ("planted", "1971", desk._key.lower()):
        assert planted not in whole


async def test_an_exception_of_ours_is_told_as_an_incident_and_nothing_leaks(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("loyalty.web.api.program.get_program", broken)
    reply = await world.client("admin").get("/v1/program")
    problem = is_problem(reply, 500, "internal_error")
    assert "inside" not in reply.body.decode()
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "retryable"}


def _command_of(pid: str) -> bytes:
    with contextlib.suppress(FileNotFoundError):  # ended meanwhile
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Served:
    """The program in processes of its own."""

    def __init__(self, database: Database, processes: int, *, first: str = "", **more: str) -> None:
        """`first` is done in a lone process before it serves; `more` are variables."""
        self.port = free_port()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
        environ |= {
            "LOYALTY_DATABASE_URL": database.app_url,
            "LOYALTY_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "LOYALTY_PORT": str(self.port),
            "LOYALTY_PROCESSES": str(processes),
            "LOYALTY_ENVIRONMENT": "test",
            "LOYALTY_HOME": os.environ[HOME],
        } | more
        code = (
            f"{first}\nimport sys; from loyalty.base.settings import from_process; from loyalty.web.serve import serve;"
            " sys.exit(serve(from_process()))"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=environ, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )

    async def ask(self, path: str) -> Reply:
        client = Client(self.port, "")
        try:
            return await client.get(path)
        finally:
            await client.close()

    def workers(self) -> list[int]:
        """Processes that serve."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in _command_of(pid)]

    async def ready(self) -> None:
        for _ in range(400):
            try:
                if (await self.ask("/health/ready")).status == 200:
                    return
            except (OSError, Unknown):
                pass
            await asyncio.sleep(0.05)
        raise AssertionError("not ready")

    async def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, log = await asyncio.to_thread(self.process.communicate, None, 30)
        return self.process.returncode, log.decode()


async def test_several_processes_share_a_port_their_figures_and_a_quiet_end(database: Database) -> None:
    served = Served(database, 2)
    try:
        await served.ready()
        prefixes: set[str] = set()
        asked = 0
        while len(prefixes) < 2:
            prefixes.add((await served.ask("/health/live")).headers["x-request-id"][:20])
            asked += 1
            await asyncio.sleep(0.01)
        text = (await served.ask("/metrics")).body.decode()
        (count,) = re.findall(r'loyalty_http_requests_total\{.*"/health/live".*\} (\S+)', text)
        assert float(count) == asked
    finally:
        code, log = await served.end()
    assert code == 0, log
    assert '"route":"/health/live"' in log


async def test_who_goes_without_reading_what_was_asked_for_is_no_incident(database: Database) -> None:
    """Of requests that came in one stretch, the first ones: those behind them are the connection's latest."""
    served = Served(database, 1)
    loop = asyncio.get_running_loop()
    try:
        await served.ready()
        for reset in (False, True):
            with socket.socket() as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
                gone.setblocking(False)
                await loop.sock_connect(gone, ("127.0.0.1", served.port))
                await loop.sock_sendall(gone, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
                await asyncio.sleep(0.5)  # as many answers as find room are on their way
            await asyncio.sleep(0.2)
        assert (await served.ask("/health/live")).status == 200
    finally:
        code, log = await served.end()
    assert code == 0, log
    assert '"/openapi.json"' in log
    assert "incident" not in log and "Traceback" not in log, log


async def test_a_process_that_dies_is_started_again(database: Database) -> None:
    served = Served(database, 2)
    try:
        await served.ready()
        workers = served.workers()
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        for _ in range(200):
            alive = served.workers()
            if len(alive) == 2 and workers[0] not in alive:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("nobody took its place")
    finally:
        code, log = await served.end()
    assert code == 0, log
    assert "process_ended" in log


async def until_refused(relay: Proxy, times: int) -> None:
    async with asyncio.timeout(30):
        while relay.refused < times:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_server_whose_database_goes_away_while_it_starts_waits_for_it(
    database: Database, processes: int
) -> None:
    async with relayed(database.app_url) as (url, relay):
        relay.refusing = True
        served = Served(database, processes, LOYALTY_DATABASE_URL=url)
        try:
            await until_refused(relay, 5 * processes)
            assert served.process.poll() is None
            relay.refusing = False
            await served.ready()
        finally:
            code, log = await served.end()
        assert code == 0, log
        assert "Traceback" not in log and "process_ended" not in log, log
        assert f"Waiting for PostgreSQL at 127.0.0.1:{relay.port}: " in log
        assert "is there" in log


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.proof), 2])
async def test_a_server_whose_database_does_not_come_ends_with_a_line(
    database: Database, processes: int
) -> None:
    async with relayed(database.app_url) as (url, relay):
        relay.refusing = True
        served = Served(
            database, processes, LOYALTY_DATABASE_URL=url, LOYALTY_DATABASE_WAIT_S="6"
        )  # so long lives who served
        try:
            _, log = await asyncio.to_thread(served.process.communicate, None, 40)
        finally:
            served.process.kill()
        assert served.process.returncode == 1
        assert "Traceback" not in log.decode(), log
        assert 1 <= log.count(b"database_away") <= processes
        served = Served(database, processes, LOYALTY_DATABASE_URL=url)
        try:
            await until_refused(relay, relay.refused + 5 * processes)
        finally:
            began = asyncio.get_running_loop().time()
            code, text = await served.end()
        assert code == 0, text
        assert asyncio.get_running_loop().time() - began < 5
        assert "Traceback" not in text and "Waiting for" in text, text


@pytest.mark.proof
async def test_processes_that_die_without_their_database_come_back_with_it(database: Database) -> None:
    async with relayed(database.app_url) as (url, relay):
        served = Served(database, 2, LOYALTY_DATABASE_URL=url)
        try:
            await served.ready()
            await asyncio.sleep(6)  # long enough to have served
            relay.refusing = True
            first, other = served.workers()
            os.kill(first, signal.SIGKILL)
            for _ in range(40):
                await asyncio.sleep(0.25)
                assert served.process.poll() is None
                assert other in served.workers(), "a healthy process was taken along"
            relay.refusing = False
            await served.ready()
            for _ in range(80):
                if len(served.workers()) == 2:
                    break
                await asyncio.sleep(0.25)
            assert len(served.workers()) == 2
        finally:
            code, log = await served.end()
    assert code == 0, log
    assert log.count("process_ended") == 1, "who took its place waited"


async def test_a_server_that_is_told_to_end_answers_whom_it_has_accepted(database: Database) -> None:
    async with opened(database) as world:
        key = world.shop.keys["pos"]
    served = Served(database, 1, first="from loyalty.web import server; server.LAST_S = 20")
    recorded: list[str] = []
    told_so: list[bool] = []  # by tills whose next call finds nobody: whether the last answer said so

    async def till(pause_s: float) -> None:
        client, closes = Client(served.port, key), False
        try:
            while True:
                body = receipt()
                reply = await client.post("/v1/purchases", body, idempotency_key=uuid4().hex)
                assert reply.status == 201, reply
                recorded.append(body["external_id"])
                closes = reply.headers.get("connection") == "close"
                await asyncio.sleep(pause_s)
        except ConnectionRefusedError:
            told_so.append(closes)
        finally:
            await client.close()

    try:
        await served.ready()
        tills = [asyncio.create_task(till(n * 0.01)) for n in range(16)]
        while len(recorded) < 50:
            await asyncio.sleep(0.01)
    finally:
        code, log = await served.end()
    await asyncio.gather(*tills)
    assert code == 0, log
    assert told_so == [True] * 16  # nobody's line was cut
    assert "incident" not in log
    async with opened(database) as world:
        reader = world.with_key(key)
        for external_id in recorded:
            reply = await reader.get(f"/v1/purchases?source=store-12-pos&external_id={external_id}")
            assert reply.status == 200
        await world.hang_up()


async def test_whoever_cannot_be_waited_for_is_told_to_come_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody whose body does not arrive, and somebody whose command is under way when the time is up."""
    for name, seconds in (("LAST_S", 0.1), ("GRACE_S", 1)):
        monkeypatch.setattr(f"loyalty.web.server.{name}", seconds)
    async with opened(database) as world:
        till = world.client("pos")
        head = (
            "POST /v1/{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
            f"Authorization: Bearer {world.shop.keys['pos']}\r\nIdempotency-Key: k\r\n\r\n"
        )
        slow = [
            asyncio.create_task(world.raw(head.format(what).encode(), within_s=20))
            for what in ("quotes", "purchases")
        ]
        async with head_held(database, world.shop.program_id) as holder:
            waiting = asyncio.create_task(till.post("/v1/purchases", receipt(), idempotency_key="w"))
            await until_blocked(database, holder)
            world.end()
            reply = await waiting
        told = [parsed(await one) for one in slow]
        await world.hang_up()
    for one, code in zip((*told, reply), ("shutting_down", *["outcome_unknown"] * 2), strict=True):
        assert is_problem(one, 503, code)["retryable"]
        assert one.headers["connection"] == "close"
        assert one.headers["retry-after"] == "1"


def test_two_installations_never_share_a_port() -> None:
    """Not even when both were bound before one of them listened: the second would serve nobody and not know it."""
    settings = Settings(environment="test", home=Path("/nowhere"), port=free_port())
    with socket.socket() as early:
        early.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        early.bind((settings.host, settings.port))
        with listen(settings):
            with pytest.raises(OSError, match="in use"):
                early.listen()
            with pytest.raises(OSError, match="in use"):
                refuse_taken(settings.host, settings.port)
    many = structs.replace(settings, processes=2)
    refuse_taken(many.host, many.port)
    with listen(many) as one, listen(many) as other:
        one.listen()
        other.listen()
        with pytest.raises(OSError, match="in use"):
            refuse_taken(many.host, many.port)


def test_a_port_is_given_out_once() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)
