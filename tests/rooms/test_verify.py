"""`verify` says that untouched books are whole, runs beside traffic, and names what was tampered with."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.ledger import tables
from loyalty.ledger.verify import Connect, Report, verify
from loyalty.ledger.verify.checkpoint import checkpoints, from_lines, to_lines
from loyalty.ledger.verify.frame import snapshot
from loyalty.ledger.verify.report import PROVES
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.posting.store import OF_THE_MOMENT
from tests.conftest import Database
from tests.laws.shop import serving
from tests.rooms.forger import hash_of
from tests.rooms.traffic import START, Traffic, a_month


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(database: Database) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def superuser(database: Database) -> AsyncIterator[Any]:
    """A connection that the guards do not stop."""
    connection = await asyncpg.connect(database.superuser_url)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def check(pool: Any, traffic: Traffic, **more: Any) -> Report:
    return await verify(pool.acquire, traffic.program, **more)


async def test_untouched_books_are_whole(runtime: Runtime, pool: Any) -> None:
    traffic = await a_month(runtime)
    report = await check(pool, traffic)
    assert report.findings == ()
    assert report.intact
    figures = report.figures
    assert figures.decisions == figures.blocks == 145  # one command at a time
    assert figures.accounts == 9
    assert figures.entries > 60
    assert figures.counters == 14
    assert figures.redemptions == 14
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_the_page_says_which_invariants_each_check_proves() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text("utf-8")
    told: dict[str, set[str]] = {}
    rows = re.findall(r"^\| (I\d+) \| .* \| (.*) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [f"I{n}" for n in range(1, 25)]
    for name, proof in rows:
        for check in PROVES.keys() & set(re.findall(r"`(\w+)`", proof.partition(";")[0])):
            told.setdefault(check, set()).add(name)
    assert told == {check: set(invariants) for check, invariants in PROVES.items()}
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ", page.partition("## Verification")[2], re.MULTILINE)
    assert {check for cell in listed for check in re.findall(r"`(\w+)`", cell)} >= PROVES.keys()


async def test_progress_is_told_and_reaches_its_end(runtime: Runtime, pool: Any) -> None:
    traffic = await a_month(runtime)
    told: list[tuple[str, int, int]] = []
    await check(pool, traffic, progress=lambda *step: told.append(step))
    for phase in ("chain", "accounts", "links"):
        steps = [(done, total) for name, done, total in told if name == phase]
        assert steps[-1][0] == steps[-1][1] > 0


async def test_verification_runs_beside_traffic(runtime: Runtime, pool: Any) -> None:
    traffic = await a_month(runtime)
    await traffic.enrol(20)
    ended = asyncio.Event()

    async def shop(member: int) -> int:
        bought = 0
        while not ended.is_set():
            await traffic.buy(member, 500 + member, START + timedelta(days=39, minutes=bought % 1000))
            bought += 1
        return bought

    tills = [asyncio.create_task(shop(member)) for member in range(25)]
    try:
        reports = [await check(pool, traffic) for _ in range(5)]
    finally:
        ended.set()
        bought = await asyncio.gather(*tills)
    assert [report.findings for report in reports] == [()] * 5
    assert sum(bought) > 50
    assert (await check(pool, traffic)).intact


async def test_a_program_is_verified_without_seeing_another(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    mine, other = await a_month(runtime), await a_month(runtime)
    await superuser.execute(
        "UPDATE accounts SET available = available + 1 WHERE program_id = $1", other.program
    )
    assert (await check(pool, mine)).intact
    assert not (await check(pool, other)).intact


async def test_an_instant_that_is_none_is_named_and_breaks_nothing(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    """PostgreSQL keeps instants that Python cannot say, before its first year and for ever."""
    traffic = await a_month(runtime)
    program = traffic.program
    columns = await superuser.fetch(
        """SELECT c.relname AS table, a.attname AS column FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE a.atttypid = 'timestamptz'::regtype AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND EXISTS (SELECT FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'program_id')
           ORDER BY 1, 2"""
    )
    fallen, silent = list[str](), set[str]()
    strange = cycle(("infinity", "0044-03-15 BC", "-infinity"))
    for table, column in columns:
        where = f"{table} SET {column} = $1 WHERE program_id = $2 AND ctid = $3"
        row = await superuser.fetchrow(
            f"SELECT ctid, {column} FROM {table} WHERE program_id = $1 ORDER BY {column} LIMIT 1", program
        )
        if row is None:
            continue
        at = await superuser.fetchval(
            f"UPDATE {table} SET {column} = '{next(strange)}' WHERE program_id = $1 AND ctid = $2 RETURNING ctid",
            program, row[0],
        )  # fmt: skip
        try:
            if (await check(pool, traffic)).intact:
                silent.add(f"{table}.{column}")
        except Exception as error:
            fallen.append(f"{table}.{column}: {error!r}")
        await superuser.execute(f"UPDATE {where}", row[1], program, at)
    assert not fallen, "\n".join(fallen)
    # What tells when something was written down belongs to no invariant; when a tier is looked at next is a check
    # of `also`.
    assert silent == {
        "audit_log.at",
        "configurations.published_at",
        "engagement_events.occurred_at",
        "engagement_events.recorded_at",
        "idempotency_records.created_at",
        "standings.next_review_at",
    }
    assert (await check(pool, traffic)).intact


# Values that the tables take and no books have, by column. Each is to be named by its own table, or by the one behind
# the arrow.
STRANGE = {
    "blocks.closes_on": ("290000-01-01", "4713-01-01 BC"),
    "blocks.config_number": ("-2147483648",),
    "blocks.format": ("-32768",),
    "configurations.rewards": ("1e400", "[null]"),
    "configurations.ruleset": ("{}", "1e400", "[1.5]"),
    "configurations.settings": ("{}", "1e400", '{"zone": "Europe"}', '{"zone": "\\ud800"}'),
    "configurations.tier_sets": ("{}", "[null]"),
    "engagement_events.data": ('{"amount_minor": "\\ud800"}', '{"amount_minor": "x"}', "[1]"),
    "entries.redates": ("{}", "1e400", "[null]", "[1.5]", '[{"lot_id": "x"}]', '[{"lot_id": "\\ud800"}]'),
    "holds.deadlines": ("{}", "1e400", "[null]", "[1.5]"),
    "holds.parts": ("[null]", "[1.5]", '[["\\ud800", 1]]'),
    "member_days.day": ("290000-01-01", "4713-01-01 BC"),
    "redemptions.parts": ('["\\ud800"]',),
    "returns.taken": ("{}", "1e400", "[null]", "[1.5]"),
    "standings.joined_on": ("290000-01-01", "4713-01-01 BC"),
    "standings.manual": ("1e400",),
    # What the tables take once their checks are gone.
    "decisions.detail": ("no JSON", '{"note": {"proposal": 1}, "counted": [["a", "b", 1e30]]}'),
    "entries.kind→postings": ("gift",),
    "postings.source": ("nowhere",),
    "postings.target": ("nowhere",),
}

SOME_ROW = {
    "engagement_events": "type = 'loyalty.purchase.recorded'",
    "entries": "kind = 'earn'",
    "holds": "state = 'open'",
}


async def test_a_value_that_no_books_have_is_named_and_ends_no_other_check(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    traffic = await a_month(runtime)
    for table in ("decisions", "entries", "postings"):
        for (name,) in await superuser.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'c'", table
        ):
            await superuser.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    unnamed, fallen = set[str](), set[str]()
    for which, values in STRANGE.items():
        column, _, named = which.partition("→")
        table, name = column.split(".")
        type = await superuser.fetchval(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = $1::text::regclass AND attname = $2",
            table, name,
        )  # fmt: skip
        for value in values:
            was, *at = await superuser.fetchrow(
                f"SELECT {name}::text, tableoid, ctid FROM {table} {OF} AND {SOME_ROW.get(table, 'true')}"
                " ORDER BY tableoid, ctid LIMIT 1",
                traffic.program,
            )
            put = f"UPDATE {table} SET {name} = $2::text::{type} {OF} AND (tableoid, ctid) = ($3, $4)"
            at = await superuser.fetchrow(f"{put} RETURNING tableoid, ctid", traffic.program, value, *at)
            try:
                report = await check(pool, traffic, also=(reviews,))
            except Exception as error:
                fallen.add(f"{column} = {value}: {error!r}")
            else:
                if (named or table) not in {finding.table for finding in report.findings}:
                    unnamed.add(f"{column} = {value}")
            await superuser.execute(put, traffic.program, was, *at)
    assert not fallen, "\n".join(fallen)
    assert not unnamed, "\n".join(unnamed)
    assert (await check(pool, traffic)).intact


async def test_what_one_check_breaks_on_hides_nothing_from_the_others(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    traffic = await a_month(runtime)
    for statement in (
        change("blocks", "closes_on = '290000-01-01'", "number = 20"),
        change("accounts", "available = available + 1", AN_ACCOUNT),
        change("counters", "points = points + 1", "true"),
    ):
        await superuser.execute(statement, traffic.program)
    report = await check(pool, traffic)
    told = [(finding.check, finding.table) for finding in report.findings]
    # Counters are compared with a chain that was read to its end, and here it was not.
    assert told == [("values", "blocks"), ("chain", "programs"), ("accounts", "accounts")]
    assert report.lanes == ()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError,
        TimeoutError,
        asyncpg.QueryCanceledError,
        asyncpg.ClientConfigurationError,
        asyncpg.DiskFullError,
    ],
)
async def test_an_outage_is_no_finding(runtime: Runtime, pool: Any, error: type[Exception]) -> None:
    traffic = await a_month(runtime)

    async def struck(*_: Any) -> None:
        raise error("struck")

    with pytest.raises(error):
        await check(pool, traffic, also=(struck,))


async def test_a_lost_connection_is_no_finding(runtime: Runtime, superuser: Any, database: Database) -> None:
    traffic = await a_month(runtime)

    async def cut(connect: Connect, program_id: UUID, _: Any) -> None:
        async with snapshot(connect, program_id) as connection:
            await superuser.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetch("SELECT FROM decisions")

    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
        with pytest.raises(OF_THE_MOMENT):
            await check(pool, traffic, also=(cut,))


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def command_line(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Coroutine[Any, Any, int]]:
    """Runs `loyalty` on the module's database, beside the test's own event loop."""
    for name, value in {
        "HOME": str(tmp_path),
        "DATABASE_URL": database.app_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": base64.b64encode(bytes(range(32))).decode(),
    }.items():
        monkeypatch.setenv(f"LOYALTY_{name}", value)
    return lambda *words: asyncio.to_thread(run, [str(word) for word in words])


async def test_the_operator_verifies_and_keeps_a_checkpoint(
    runtime: Runtime,
    superuser: Any,
    command_line: Callable[..., Coroutine[Any, Any, int]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    traffic = await a_month(runtime)
    program = ("--program", traffic.program)
    file = tmp_path / "checkpoint.jsonl"
    assert await command_line("checkpoint", *program, "--out", file) == Exit.OK
    assert await command_line("verify", *program, "--checkpoint", file) == Exit.OK
    told = capsys.readouterr().out
    assert told.startswith("verify: 1 program, 145 blocks, 145 decisions, ")
    assert ", 2 checkpoints, 0 broken, " in told

    await superuser.execute(change("accounts", "available = available + 1", AN_ACCOUNT), traffic.program)
    assert await command_line("verify", *program) == Exit.DIFFERENCES
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("accounts cell=0 id=")
    assert " 1 broken, " in last

    assert await command_line("verify", *program, "--json") == Exit.DIFFERENCES
    (report,) = msgspec.json.decode(capsys.readouterr().out, type=list[Report])
    (finding,) = report.findings
    assert (finding.table, finding.check, finding.invariants) == ("accounts", "accounts", PROVES["accounts"])
    assert report.began_at.tzinfo is not None and report.seconds > 0

    kept = file.read_bytes()
    assert await command_line("checkpoint", *program, "--out", file) == Exit.USAGE
    assert "is there already" in capsys.readouterr().err
    assert file.read_bytes() == kept

    file.write_text("\n")
    assert await command_line("verify", *program, "--checkpoint", file) == Exit.USAGE
    assert "it notes no block" in capsys.readouterr().err

    noted = await superuser.fetch(
        "SELECT result ->> 'broken', ended_at >= started_at FROM runs WHERE program_id = $1 AND kind = 'verification'"
        " AND state = 'succeeded' ORDER BY id",
        traffic.program,
    )
    assert [tuple(row) for row in noted][:3] == [("0", True), ("1", True), ("1", True)]

    file.write_text("not a checkpoint")
    assert await command_line("verify", *program, "--checkpoint", file) == Exit.USAGE
    assert "line 1" in capsys.readouterr().err


# --- tampering: what is done to the rows → the table whose row is named, and words of what is wrong -------------

OF = "WHERE program_id = $1"
A_LOT = f"id = (SELECT id FROM lots {OF} AND available > 0 ORDER BY id LIMIT 1)"
AN_ENTRY = f"id = (SELECT id FROM entries {OF} AND kind = 'earn' ORDER BY id LIMIT 1 OFFSET 5)"
ITS_POSTINGS = AN_ENTRY.replace("id =", "entry_id =", 1)
A_DECISION = f"id = (SELECT id FROM decisions {OF} AND kind = 'purchase' ORDER BY id LIMIT 1 OFFSET 5)"
A_HOLD = f"id = (SELECT id FROM holds {OF} AND state = 'open' ORDER BY id LIMIT 1)"
AN_ACCOUNT = f"id = (SELECT id FROM accounts {OF} AND available > 0 ORDER BY id LIMIT 1)"
NOBODY = "'ffffffff-ffff-7fff-bfff-000000000001'"
AN_END = f"(SELECT last_position FROM blocks {OF} AND number = 20)"  # position of the last event of a block
NEWEST = f"number = (SELECT max(number) FROM blocks {OF})"


def change(table: str, how: str, which: str) -> str:
    return f"UPDATE {table} SET {how} {OF} AND {which}"


def remove(table: str, which: str) -> str:
    return f"DELETE FROM {table} {OF} AND {which}"


def copy(table: str, which: str, **other: str) -> str:
    """A second row like the one there is, but for the values given."""
    names: list[str] = [str(column.name) for column in getattr(tables, table).columns]
    return (
        f"INSERT INTO {table} ({', '.join(names)}) "
        f"SELECT {', '.join(other.get(name, name) for name in names)} FROM {table} {OF} AND {which}"
    )


TAMPERED = {
    "a balance column": (
        change("accounts", "available = available + 100", AN_ACCOUNT),
        "accounts",
        "its lots make",
    ),
    "a due instant put off": (
        change("accounts", "next_due_at = '2099-01-01'", AN_ACCOUNT),
        "accounts",
        "next due",
    ),
    "a count of entries": (change("accounts", "seq = seq + 1", AN_ACCOUNT), "accounts", "the last is"),
    "an account removed": (remove("accounts", AN_ACCOUNT), "accounts", "is missing"),
    "a lot's points": (
        change("lots", "available = available - 1, redeemed = redeemed + 1", A_LOT),
        "lots",
        "its postings make",
    ),
    "a lot's date": (change("lots", "expires_at = '2099-01-01'", A_LOT), "lots", "other dates"),
    "a lot's date as issued": (change("lots", "issued_expires_at = '2099-01-01'", A_LOT), "blocks", "hash"),
    "a lot's arrival": (change("lots", "arrived_at = '2099-01-01'", A_LOT), "lots", "came last"),
    "a lot closed": (change("lots", "is_open = false", A_LOT), "lots", "marked closed"),
    "a lot removed": (remove("lots", A_LOT), "lots", "is missing"),
    "a lot of nothing": (copy("lots", A_LOT, id=NOBODY), "lots", "no posting moved any"),
    "a hold's state": (
        change("holds", "state = 'captured'", "state = 'released'"),
        "holds",
        "other than its entries",
    ),
    "a hold's points": (
        change("holds", "parts = replace(parts::text, '6]', '7]')::json", A_HOLD),
        "holds",
        "other than its entries",
    ),
    "a hold's deadline": (
        change("holds", "lapses_at = lapses_at + interval '1 day'", A_HOLD),
        "holds",
        "decisions that placed",
    ),
    "an extension undone": (
        change(
            "holds",
            "deadlines = json_build_array(deadlines->0), lapses_at = (deadlines->0->>'lapses_at')::timestamptz",
            A_HOLD,
        ),
        "holds",
        "does not have the deadline",
    ),
    "a hold removed": (remove("holds", A_HOLD), "holds", "is missing"),
    "a hold of nothing": (copy("holds", A_HOLD, id=NOBODY), "holds", "no entry set aside"),
    "an entry's balance": (
        change("entries", "available = available + 1", AN_ENTRY),
        "entries",
        "postings up to it make",
    ),
    "an entry's instant": (
        change("entries", "occurred_at = occurred_at + interval '1 second'", AN_ENTRY),
        "blocks",
        "hash",
    ),
    "an entry's recorded instant": (
        change("entries", "recorded_at = recorded_at + interval '1 second'", AN_ENTRY),
        "entries",
        "instant of its block",
    ),
    "an entry's cause": (change("entries", "cause = 'gift'", AN_ENTRY), "blocks", "hash"),
    "an entry removed": (remove("entries", AN_ENTRY), "postings", "not there"),
    "two entries swapped": (
        change("entries", "seq = 3 - seq", "seq IN (1, 2)"),
        "entries",
        "below that of the entry before it",
    ),
    "a posting's points": (change("postings", "points = points + 1", ITS_POSTINGS), "blocks", "hash"),
    "a posting's place": (
        change("postings", "position = position + 1", ITS_POSTINGS),
        "postings",
        "come before it",
    ),
    "a posting removed": (remove("postings", ITS_POSTINGS), "entries", "postings up to it make"),
    "a decision's detail": (change("decisions", "detail = detail || ' '", A_DECISION), "blocks", "hash"),
    "a stored answer": (change("decisions", "answer = answer || ' '", A_DECISION), "blocks", "hash"),
    "a decision removed": (remove("decisions", A_DECISION), "entries", "which is not there"),
    "a decision put into another block": (
        change("decisions", "block_number = block_number + 1", A_DECISION),
        "decisions",
        "lies among those",
    ),
    "a decision of nobody": (copy("decisions", A_DECISION, id=NOBODY), "decisions", "its block is missing"),
    "a decision that cannot be read": (
        change("decisions", "detail = detail || 'x'", A_DECISION),
        "decisions",
        "cannot be read",
    ),
    "a basket": (
        change(
            "activities", """content = replace(content::text, 'SKU', 'SUK')::json""", "amount_minor = 1700"
        ),
        "activities",
        "other contents",
    ),
    "a purchase removed": (remove("activities", "amount_minor = 1700"), "activities", "is missing"),
    "what a return told": (
        change("activities", """content = '{"occurred_at":"2026-03-02T10:00:00Z"}'""", "amount_minor = 300"),
        "activities",
        "other contents",
    ),
    "a return's lines": (
        change("returns", "lines = '[]'", "amount_minor = 300"),
        "returns",
        "says was returned",
    ),
    "a return's points": (
        change("returns", "taken = '[0]'", "amount_minor = 300"),
        "returns",
        "says was returned",
    ),
    "a return removed": (remove("returns", "amount_minor = 300"), "returns", "is missing"),
    "a return's key removed": (remove("activity_keys", "kind = 'return'"), "activity_keys", "recorded again"),
    "a return of another purchase": (
        change("returns", f"purchase_id = {NOBODY}", "amount_minor = 300"),
        "returns",
        "says was returned",
    ),
    "a rule's name": (
        change(
            "configurations",
            """ruleset = replace(ruleset::text, '"name":"', '"name":"x')::json""",
            "number = 1",
        ),
        "configurations",
        "not as it was published",
    ),
    "a configuration put in force earlier": (
        change("configurations", "effective_at = '2001-01-01'", "number = 1"),
        "configurations",
        "not as it was published",
    ),
    "a configuration removed": (remove("configurations", "number = 1"), "configurations", "is missing"),
    "a block removed": (remove("blocks", "number = 7"), "blocks", "is missing"),
    "a block's instant": (
        change("blocks", "recorded_at = recorded_at - interval '1 day'", "number = 20"),
        "blocks",
        "before the block before it",
    ),
    "a block's hash": (change("blocks", "hash = sha256('forged')", "number = 7"), "blocks", "hash"),
    "the last block removed alone": (remove("blocks", NEWEST), "decisions", "its block is missing"),
    "an event removed": (remove("engagement_events", "position = 9"), "engagement_events", "missing"),
    "the last event removed": (
        remove("engagement_events", f"position = (SELECT max(position) FROM engagement_events {OF})"),
        "engagement_events",
        "missing",
    ),
    "events of which there are none": (
        change("blocks", "last_position = 2000000000", NEWEST),
        "engagement_events",
        "block 145 has events up to 2000000000",
    ),
    "two events of neighbouring blocks": (
        change(
            "engagement_events", f"position = 2 * {AN_END} + 1 - position", f"position - {AN_END} IN (0, 1)"
        ),
        "engagement_events",
        "of another block",
    ),
    "an event put into the next block": (
        change(
            "blocks",
            "last_position = last_position - (number = 20)::int, first_position = first_position - (number = 21)::int",
            "number IN (20, 21)",
        ),
        "engagement_events",
        "of another block",
    ),
    "an account of nobody": (
        copy(
            "accounts",
            AN_ACCOUNT,
            id=NOBODY,
            owner_id=NOBODY,
            seq="0",
            available="0",
            pending="0",
            held="0",
            debt="0",
            active_at="NULL",
            next_due_at="NULL",
            first_entry_id="NULL",
            last_entry_id="NULL",
        ),
        "accounts",
        "nothing opened it",
    ),
    "a counter of nobody": (
        f"INSERT INTO counters (program_id, cell, owner_id, rule_id, period, points)"
        f" SELECT $1, 0, {NOBODY}, 'rule', '2026', 0",
        "counters",
        "counted none",
    ),
    "more of a stock promised than there is": (
        change("reservations", "quantity = 99, ends_at = '2099-01-01'", "true"),
        "stocks",
        "are promised",
    ),
    "a cap counter": (change("counters", "points = 0", "true"), "counters", "decisions counted"),
    "a cap counter removed": (remove("counters", "true"), "counters", "decisions counted"),
    "a replayed answer's decision": (
        change("idempotency_records", f"decision_id = {NOBODY}", "decision_id IS NOT NULL"),
        "idempotency_records",
        "not there",
    ),
    "a receipt's decision": (
        change("activity_keys", f"decision_id = {NOBODY}", "external_id = 'R-3'"),
        "activity_keys",
        "not there",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_tampering_is_named(runtime: Runtime, pool: Any, superuser: Any, what: str) -> None:
    statement, table, words = TAMPERED[what]
    traffic = await a_month(runtime)
    assert not (await superuser.execute(statement, traffic.program)).endswith(" 0"), (
        "nothing was tampered with"
    )
    report = await check(pool, traffic)
    assert not report.intact
    assert any(f.table == table and words in f.what for f in report.findings), report.findings


async def test_baskets_may_be_removed_when_retention_ends(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    traffic = await a_month(runtime)
    await superuser.execute(change("activities", "content = NULL", "true"), traffic.program)
    assert (await check(pool, traffic)).intact


async def test_a_program_without_lanes_is_not_whole(pool: Any) -> None:
    report = await verify(pool.acquire, uuid4())
    assert [finding.table for finding in report.findings] == ["heads"]


async def test_a_forged_block_with_its_own_right_hash_breaks_the_next_one(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    """Whoever recomputes one hash must recompute all that follow."""
    traffic = await a_month(runtime)
    await superuser.execute(
        f"UPDATE decisions SET answer = answer || ' ' {OF} AND {A_DECISION}", traffic.program
    )
    number = await superuser.fetchval(
        f"SELECT block_number FROM decisions {OF} AND {A_DECISION}", traffic.program
    )
    await rehash(superuser, traffic, number, number)
    (finding,) = (await check(pool, traffic)).findings
    assert (finding.key["number"], finding.what) == (
        str(number + 1),
        "does not continue the hash of the block before it",
    )


async def rehash(superuser: Any, traffic: Traffic, first: int, last: int) -> None:
    """What a forger would do: recompute the hashes of blocks `first` to `last`, each continuing the one before."""
    for number in range(first, last + 1):
        before = await superuser.fetchval(
            f"SELECT hash FROM blocks {OF} AND number = $2", traffic.program, number - 1
        )
        await superuser.execute(
            f"UPDATE blocks SET previous_hash = $3 {OF} AND number = $2", traffic.program, number, before
        )
        forged = await hash_of(superuser, traffic.program, number)
        await superuser.execute(
            f"UPDATE blocks SET hash = $3 {OF} AND number = $2", traffic.program, number, forged
        )


# --- what only a checkpoint kept outside can show -------------------------------------------------------------


async def test_a_checkpoint_notes_closed_days_and_the_newest_block(runtime: Runtime, pool: Any) -> None:
    traffic = await a_month(runtime)
    noted = from_lines(to_lines(await checkpoints(pool.acquire, traffic.program)))
    assert [str(one.closes_on) for one in noted] == ["2026-04-10", "None"]
    report = await check(pool, traffic, checkpoint=noted)
    assert report.intact
    assert report.figures.checkpoints == 2
    await traffic.buy(0, 100, START)
    assert (await check(pool, traffic, checkpoint=noted)).intact


async def test_a_chain_written_anew_is_shown_by_the_checkpoint_alone(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    traffic = await a_month(runtime)
    noted = await checkpoints(pool.acquire, traffic.program)
    await superuser.execute(
        f"UPDATE decisions SET answer = answer || ' ' {OF} AND {A_DECISION}", traffic.program
    )
    newest = await superuser.fetchval(f"SELECT max(number) FROM blocks {OF}", traffic.program)
    await rehash(superuser, traffic, 2, newest)
    assert (await check(pool, traffic)).intact
    report = await check(pool, traffic, checkpoint=noted)
    assert [finding.table for finding in report.findings] == ["blocks", "blocks"]
    assert "written anew" in report.findings[0].what


async def test_last_blocks_removed_with_all_they_covered_are_shown_by_the_checkpoint_alone(
    runtime: Runtime, pool: Any, superuser: Any
) -> None:
    traffic = await a_month(runtime)
    await traffic.enrol(1)  # a last block that moved no points
    noted = await checkpoints(pool.acquire, traffic.program)
    newest = await superuser.fetchrow(
        f"SELECT * FROM blocks {OF} ORDER BY number DESC LIMIT 1", traffic.program
    )
    of_it = f"{OF} AND decision_id IN (SELECT id FROM decisions {OF} AND block_number = $2)"
    for statement in (
        f"DELETE FROM standings {OF} AND member_id IN (SELECT member_id FROM decisions {OF} AND block_number = $2)",
        f"DELETE FROM members {OF} AND id IN (SELECT member_id FROM decisions {OF} AND block_number = $2)",
        f"DELETE FROM engagement_events {of_it}",
        f"DELETE FROM idempotency_records {of_it}",
        f"DELETE FROM decisions {OF} AND block_number = $2",
        f"DELETE FROM blocks {OF} AND number = $2",
    ):
        await superuser.execute(statement, traffic.program, newest["number"])
    assert (await check(pool, traffic)).intact
    (finding,) = (await check(pool, traffic, checkpoint=noted)).findings
    assert (finding.key["number"], finding.what[:7]) == (str(newest["number"]), "is gone")
