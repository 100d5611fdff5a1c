"""What an operator types: programs from files, clocks, keys, staff; and that all of it stands in the audit log."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from loyalty.access.keys import kind_of
from loyalty.access.service import create_client
from loyalty.access.types import operator
from loyalty.base.database import shared, transaction
from loyalty.base.settings import from_process
from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.jobs.service import queue_run
from loyalty.jobs.store import claim
from loyalty.jobs.types import RunKind
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.operating.desk import DeskError, open_desk
from loyalty.posting.commands import Adjust, AdvanceClock, MemberRef, MoveClock, PurchaseLine, RecordPurchase
from loyalty.programs.service import create_program, list_programs
from loyalty.programs.types import ProgramKind
from loyalty.rules.types import Ruleset
from tests.conftest import Database, apart

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"
JOURNEY = str(EXAMPLES / "journey-a.toml")


class Shell:
    """A terminal: what a command wrote, and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.said = ""  # to stderr, by the last command

    def __call__(self, *line: str, ends: Exit = Exit.OK) -> str:
        """What the command wrote to stdout; to stderr when it did not end well."""
        code = run(line)
        told = self._capsys.readouterr()
        assert code == ends, told.err
        self.said = told.err
        return told.out.strip() if ends is Exit.OK else told.err

    def json(self, *line: str) -> Any:
        return json.loads(self(*line, "--json"))


@pytest.fixture
def shell(installation: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def sandbox(shell: Shell) -> str:
    """A program of one's own with a clock that can be moved."""
    return shell(
        "program", "create", str(EXAMPLES / "journey-a.toml"), "--clock-at", "2017-01-01T00:00:00-05:00"
    )


def test_a_program_is_made_from_a_file_and_listed(shell: Shell, sandbox: str) -> None:
    (listed,) = [row for row in shell.json("program", "list") if row["program"] == sandbox]
    assert (listed["kind"], listed["money"], listed["configuration"]) == ("sandbox", "USD", 1)
    shown = shell.json("program", "show", "--program", sandbox)
    assert shown["configuration"]["ruleset"]["rules"][0]["id"] == "basket"


def test_a_second_configuration_has_the_next_number(shell: Shell, sandbox: str, tmp_path: Path) -> None:
    text = (EXAMPLES / "journey-a.toml").read_text().replace("each_minor = 100", "each_minor = 200")
    (tmp_path / "next.toml").write_text(text)
    told = shell("program", "publish", str(tmp_path / "next.toml"), "--program", sandbox)
    assert told == "2 2017-01-01T05:00:00+00:00"


def test_a_program_stays_of_its_kind(shell: Shell, sandbox: str, tmp_path: Path) -> None:
    text = (EXAMPLES / "journey-a.toml").read_text().replace('kind = "sandbox"', 'kind = "live"')
    (tmp_path / "live.toml").write_text(text)
    told = shell("program", "publish", str(tmp_path / "live.toml"), "--program", sandbox, ends=Exit.REFUSED)
    assert "is of a live program, this one is sandbox" in told
    assert shell.json("program", "show", "--program", sandbox)["number"] == 1


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        (("clock", "advance", "--days", "nan"), Exit.USAGE),
        (("clock", "advance", "--days", "inf"), Exit.USAGE),
        (("clock", "advance", "--days", "1e300"), Exit.USAGE),
        (("clock", "advance", "9999-12-31T23:59:59Z"), Exit.REFUSED),
        (("keys", "create", "--role", "pos", "--days", "99999999"), Exit.USAGE),
        (("program", "publish", JOURNEY, "--effective-at", "9999-12-31T23:59:59Z"), Exit.REFUSED),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_instants_beyond_all_calendars_are_refused(
    shell: Shell, sandbox: str, line: tuple[str, ...], ends: Exit
) -> None:
    shell(*line, "--program", sandbox, ends=ends)
    assert shell.json("program", "show", "--program", sandbox)["number"] == 1


def test_a_worker_with_one_connection_is_told_that_it_could_do_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_POOL_SIZE", "1")
    assert "a worker needs 2" in shell("worker", ends=Exit.USAGE)


def test_no_sandbox_begins_beyond_all_calendars(shell: Shell) -> None:
    told = shell("program", "create", JOURNEY, "--clock-at", "9999-12-31T23:59:59Z", ends=Exit.REFUSED)
    assert "out_of_range" in told


def test_what_is_in_force_and_what_is_scheduled_are_told_apart(shell: Shell, sandbox: str) -> None:
    file, at, later = str(EXAMPLES / "journey-a.toml"), ["--program", sandbox], "2017-02-01T05:00:00+00:00"
    assert shell("program", "publish", file, "--effective-at", later, *at) == f"2 {later}"
    shell("program", "publish", file, *at)
    assert f"Configuration 2 is scheduled for {later}" in shell.said
    shown = shell.json("program", "show", *at)
    assert (shown["configuration"]["settings"]["zone"], shown["number"]) == ("America/New_York", 3)
    assert shown["scheduled"] == [{"number": 2, "effective_at": later}]
    assert f"2 at {later}" in shell("program", "list")
    past = shell("program", "publish", file, "--effective-at", "2016-01-01T00:00:00Z", *at, ends=Exit.REFUSED)
    assert "effective_in_past" in past
    shell("clock", "advance", later, *at)
    (listed,) = [row for row in shell.json("program", "list") if row["program"] == sandbox]
    assert (listed["configuration"], listed["scheduled"]) == (2, [])


def test_what_is_in_force_is_exported_and_can_be_published_again(
    shell: Shell, sandbox: str, tmp_path: Path
) -> None:
    at, exported = ["--program", sandbox], tmp_path / "exported.toml"
    before = shell.json("program", "show", *at)["configuration"]
    exported.write_text(shell("program", "export", *at), "utf-8")
    shell("program", "publish", str(exported), *at)
    after = shell.json("program", "show", *at)["configuration"]
    assert [one["ruleset"].pop("version", 0) for one in (before, after)] == [1, 2]
    assert before == after


def test_a_file_that_is_no_program_is_told_with_the_place(shell: Shell, tmp_path: Path) -> None:
    text = (EXAMPLES / "journey-a.toml").read_text().replace("points = 1,", 'points = "one",')
    (tmp_path / "wrong.toml").write_text(text)
    assert "/rules/0" in shell("program", "create", str(tmp_path / "wrong.toml"), ends=Exit.USAGE)
    assert "cannot be read" in shell("program", "create", str(tmp_path / "none.toml"), ends=Exit.USAGE)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            ('zone = "America/New_York"', 'zone = "America/Newyork"'),
            "/program/zone: There is no such time zone. (line 7)",
        ),
        (
            ('points_currency = "points"', 'points_currency = "stars"'),
            "/rules/0/points_currency: The program has no points currency stars. (line",
        ),
        (('kind = "sandbox"', 'kind = "sandboxed"'), "/program/kind: One of: live, sandbox. (line 5)"),
        (('money = "USD"', 'money = "Dollar"'), "/program/money: "),
        (("[[rules]]", "[[rules]"), "This is not TOML"),
    ],
)
def test_a_wrong_file_makes_no_program_and_tells_every_place_and_line(
    shell: Shell, tmp_path: Path, wrong: tuple[str, str], told: str
) -> None:
    text = (EXAMPLES / "journey-a.toml").read_text()
    assert wrong[0] in text
    (tmp_path / "wrong.toml").write_text(text.replace(*wrong, 1))
    before = shell.json("program", "list")
    assert told in shell("program", "create", str(tmp_path / "wrong.toml"), ends=Exit.USAGE)
    assert shell.json("program", "list") == before


def test_a_program_whose_making_was_cut_short_is_none(shell: Shell, sandbox: str) -> None:
    async def make_half() -> str:
        async with open_desk(from_process()) as desk:
            id, runtime = desk.ids(), desk.runtime
            await create_program(
                runtime.engine, id, ProgramKind.LIVE, runtime.settings.cells, runtime.clock.now()
            )
            return str(id)

    half = asyncio.run(make_half())
    listed = [row["program"] for row in shell.json("program", "list")]
    assert sandbox in listed
    assert half not in listed
    assert "no program" in shell("keys", "create", "--role", "pos", "--program", half, ends=Exit.REFUSED)


def test_the_desk_makes_no_program_of_what_it_refuses(shell: Shell, sandbox: str) -> None:
    async def make_wrong() -> tuple[int, int]:
        async with open_desk(from_process()) as desk:
            right = await desk.in_force(UUID(sandbox))
            (rule,) = right.ruleset.rules
            ruleset = Ruleset(rules=(replace(rule, points_currency="stars"),))
            before = len(await list_programs(desk.runtime.engine))
            with pytest.raises(DeskError, match="stars"):
                await desk.create_program(ProgramKind.LIVE, replace(right, ruleset=ruleset))
            return before, len(await list_programs(desk.runtime.engine))

    before, after = asyncio.run(make_wrong())
    assert before == after


def test_a_sandbox_clock_goes_forward_only(shell: Shell, sandbox: str) -> None:
    at = ["--program", sandbox]
    assert (
        shell("clock", "advance", "2017-01-01T23:59:59.999999-05:00", *at)
        == "2017-01-02T04:59:59.999999+00:00"
    )
    assert shell("clock", "advance", "--days", "1.5", *at) == "2017-01-03T16:59:59.999999+00:00"
    assert shell("clock", "show", *at) == "2017-01-03T16:59:59.999999+00:00"
    back = shell("clock", "advance", "2017-01-01T00:00:00-05:00", *at, ends=Exit.REFUSED)
    assert "clock_backwards" in back


def test_a_clock_on_its_way_says_where_to_and_that_a_worker_must_take_it_there(
    shell: Shell, sandbox: str
) -> None:
    async def asked() -> str:
        async with open_desk(from_process()) as desk:
            answer = await desk.submit(UUID(sandbox), MoveClock(datetime(2017, 2, 1, tzinfo=UTC)))
            return json.loads(answer)["id"]

    run_id = asyncio.run(asked())  # and whoever asked is killed
    told = shell("clock", "advance", "--days", "1", "--program", sandbox, ends=Exit.REFUSED)
    assert told.startswith("Refused (clock_moving): The clock stands at 2017-01-01T05:00:00+00:00")
    assert "on its way to 2017-02-01T00:00:00+00:00" in told
    assert run_id in told and "`loyalty worker`" in told


def test_a_changed_policy_is_planned_and_confirmed(shell: Shell, sandbox: str, tmp_path: Path) -> None:
    of = ("--program", sandbox)
    text = (EXAMPLES / "journey-a.toml").read_text()
    plan = shell.json("redate", "plan", "--points-currency", "points", *of)
    assert (plan["lots"], plan["months"], plan["configuration"]) == (0, {}, 1)
    assert "configuration: 1" in shell("redate", "plan", "--points-currency", "points", *of)
    done = shell.json("redate", "confirm", plan["run"], *of)
    assert (done["members"], done["lots"]) == (0, 0)
    (tmp_path / "next.toml").write_text(re.sub(r"(?m)^expiry = .*$", 'expiry = { kind = "never" }', text))
    shell("program", "publish", str(tmp_path / "next.toml"), *of)
    assert "redate_plan_stale" in shell("redate", "confirm", plan["run"], *of, ends=Exit.REFUSED)
    assert "run_not_found" in shell("redate", "confirm", str(uuid4()), *of, ends=Exit.REFUSED)
    assert "points_currency_unknown" in shell(
        "redate", "plan", "--points-currency", "stars", *of, ends=Exit.REFUSED
    )


def test_a_live_programs_clock_cannot_be_moved(shell: Shell) -> None:
    program = shell("program", "create", str(EXAMPLES / "demo.toml"))
    assert "clock_is_real" in shell(
        "clock", "advance", "--days", "1", "--program", program, ends=Exit.REFUSED
    )


def test_a_key_is_shown_once_rotated_and_revoked(
    shell: Shell, sandbox: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--program", sandbox]
    text = shell("keys", "create", "--role", "pos", "--client", "Till", "--location", "12", *at)
    assert kind_of(text) == "lk"
    (key,) = shell.json("keys", "list", *at)
    assert (key["client"], key["role"], key["locations"]) == ("Till", "pos", ["12"])
    assert (key["expires_at"], key["revoked_at"]) == (None, None)
    assert text not in json.dumps(key)
    assert text.startswith(key["prefix"])
    assert kind_of(shell("keys", "rotate", key["key"], "--overlap-minutes", "5", *at)) == "lk"
    old, new = sorted(shell.json("keys", "list", *at), key=lambda row: row["created_at"])
    assert old["expires_at"]
    assert (new["client"], new["locations"], new["expires_at"]) == ("Till", ["12"], None)
    capsys.readouterr()
    assert run(["keys", "rotate", key["key"], *at]) == Exit.OK
    assert f"The new one ends at {old['expires_at']}, as the old one would have" in capsys.readouterr().err
    assert "12         " in shell("keys", "list", *at), "columns show what is in a list"
    shell("keys", "revoke", new["key"], *at)
    assert "key_not_active" in shell("keys", "rotate", new["key"], *at, ends=Exit.REFUSED)
    assert "key_not_found" in shell("keys", "revoke", str(uuid4()), *at, ends=Exit.REFUSED)


def test_of_two_clients_of_one_name_one_is_named_by_its_id(shell: Shell, sandbox: str) -> None:
    async def another() -> None:
        async with open_desk(from_process()) as desk, transaction(desk.runtime.engine, program) as connection:
            await create_client(connection, operator(program), "Till", at=desk.now(), ids=desk.ids)

    at, program = ["--program", sandbox], UUID(sandbox)
    shell("keys", "create", "--role", "pos", "--client", "Till", *at)
    asyncio.run(another())
    (key,) = shell.json("keys", "list", *at)
    told = shell("keys", "create", "--role", "pos", "--client", "Till", *at, ends=Exit.REFUSED)
    assert "client_ambiguous" in told
    assert key["client_id"] in told
    shell("keys", "create", "--role", "pos", "--client", key["client_id"], *at)
    assert {row["client_id"] for row in shell.json("keys", "list", *at)} == {key["client_id"]}


def test_a_key_that_would_be_of_no_use_is_refused(shell: Shell, sandbox: str) -> None:
    at = ["--program", sandbox]
    dead = shell("keys", "create", "--role", "pos", "--days", "0", *at, ends=Exit.REFUSED)
    assert "/expires_at" in dead
    unbound = shell("keys", "create", "--role", "admin", "--location", "12", *at, ends=Exit.REFUSED)
    assert "/locations" in unbound
    assert shell.json("keys", "list", *at) == []


def test_staff_get_tokens_that_can_be_ended(
    shell: Shell, sandbox: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--program", sandbox]
    person = shell("staff", "add", "Ada", "--role", "manager", *at)
    assert [row["staff"] for row in shell.json("staff", "list", *at)] == [person]
    assert "/expires_at" in shell("staff", "token", person, "--days", "0", *at, ends=Exit.REFUSED)
    assert run(["staff", "token", person, "--days", "1", *at]) == Exit.OK
    told = capsys.readouterr()
    assert kind_of(told.out.strip()) == "ls"
    (token,) = shell.json("staff", "tokens", *at)
    assert (token["token"], token["staff"], token["name"]) == (told.err.split()[-3], person, "Ada")
    shell("staff", "revoke", token["token"], *at)
    (ended,) = shell.json("staff", "tokens", *at)
    assert (token["revoked_at"], bool(ended["revoked_at"])) == (None, True)


def test_where_there_are_several_programs_one_must_be_named(shell: Shell, sandbox: str) -> None:
    shell("program", "create", str(EXAMPLES / "cafe.toml"))
    assert "--program" in shell("clock", "show", ends=Exit.REFUSED)
    assert "no program" in shell("clock", "show", "--program", str(uuid4()), ends=Exit.REFUSED)


def test_every_change_stands_in_the_audit_log_as_the_operators(
    shell: Shell, sandbox: str, database: Database
) -> None:
    at = ["--program", sandbox]
    shell("clock", "advance", "--days", "1", *at)
    shell("keys", "create", "--role", "pos", *at)
    shell("staff", "add", "Ada", "--role", "support", *at)
    rows = apart(_audited(database.superuser_url, UUID(sandbox)))
    assert {row["action"] for row in rows} == {
        "program.create",
        "configuration.publish",
        "clock.advance",
        "client.create",
        "key.create",
        "staff.create",
    }
    assert {row["actor_kind"] for row in rows} == {"operator"}


async def _audited(url: str, program_id: UUID) -> list[asyncpg.Record]:
    link = await asyncpg.connect(url)
    try:
        return await link.fetch("SELECT action, actor_kind FROM audit_log WHERE program_id = $1", program_id)
    finally:
        await link.close()


def test_a_file_is_brought_in_with_figures_and_what_was_rejected(
    shell: Shell, sandbox: str, tmp_path: Path
) -> None:
    file = tmp_path / "crm.csv"
    file.write_text("card,name\n6035550001,Ann\n6035550002,Bob\n1,Eve\n")
    line = ("import", "members", str(file), "--source", "crm", "--program", sandbox)
    assert run(line) == Exit.REFUSED
    told = shell._capsys.readouterr().out  # pyright: ignore[reportPrivateUsage]
    assert told.splitlines() == [
        "line 4, card: At least 4 characters are needed, blanks around not counted. (too_short)",
        "import members: 3 rows, 2 done, 0 unchanged, 1 rejected",
    ]
    file.write_text("card,name\n6035550001,Ann\n6035550002,Bob\n6035550003,Eve\n")
    assert shell(*line) == "import members: 3 rows, 1 done, 2 unchanged, 0 rejected"
    second, first = shell.json("import", "list", "--program", sandbox)
    assert [(one["kind"], one["source"], one["state"]) for one in (first, second)] == [
        ("members", "crm", "succeeded")
    ] * 2
    assert [(one["done"], one["unchanged"], one["rejected"]) for one in (first, second)] == [
        (2, 0, 1),
        (1, 2, 0),
    ]
    assert [line.split()[0] for line in shell("import", "list", "--program", sandbox).splitlines()] == [
        "import", second["import"], first["import"]
    ]  # fmt: skip
    file.write_text("card;name\n6035550001;Ann\n")
    assert "Refused (import_file_wrong): Column 1 has a name" in shell(*line, ends=Exit.REFUSED)
    line = ("import", "lots", str(tmp_path / "none.csv"), "--source", "crm", "--program", sandbox)
    missing = shell(*line, ends=Exit.USAGE)
    assert "none.csv cannot be read: No such file or directory" in missing


def test_what_is_due_is_told_with_its_age_and_the_runs_that_wait(shell: Shell, sandbox: str) -> None:
    async def ask() -> None:
        async with open_desk(from_process()) as desk, shared(desk.runtime.engine) as connection:
            await desk.submit(UUID(sandbox), AdvanceClock(datetime(2017, 1, 4, 5, tzinfo=UTC)))
            await queue_run(connection, UUID(sandbox), RunKind.VERIFICATION, at=desk.now(), ids=desk.ids)

    asyncio.run(ask())
    (told,) = shell.json("jobs", "--program", sandbox)
    assert told["days"] == {"count": 3, "since": "2017-01-02T05:00:00Z"}
    assert told["notices"] == {"count": 4, "since": "2017-01-01T05:00:00Z"}
    assert told["accounts"] == told["standings"] == {"count": 0, "since": None}
    assert [(run["kind"], run["state"], run["tries"]) for run in told["runs"]] == [
        ("verification", "queued", 0)
    ]
    lines = shell("jobs", "--program", sandbox).splitlines()
    assert lines[0].startswith(f"Program {sandbox} (sandbox), 2017-01-04 05:00 UTC")
    assert ["days", "to", "close", "3", "2017-01-02", "05:00", "UTC", "2", "days,", "0:00:00"] in [
        line.split() for line in lines
    ]
    assert any("verification" in line and "queued" in line for line in lines)
    assert len(shell("jobs").splitlines()) >= len(lines)


def test_a_run_whose_worker_has_died_says_when_it_was_last_seen(shell: Shell, sandbox: str) -> None:
    async def die(ago: timedelta) -> None:
        async with open_desk(from_process()) as desk, shared(desk.runtime.engine) as connection:
            now = desk.now()
            run = await queue_run(connection, UUID(sandbox), RunKind.VERIFICATION, at=now, ids=desk.ids)
            await claim(connection, UUID(sandbox), run.id, now - ago, now)

    def told() -> list[str]:
        lines = shell("jobs", "--program", sandbox).splitlines()
        column = next(line.index("last seen") for line in lines if "last seen" in line)
        return [line[column:].split("  ")[0] for line in lines if "verification" in line]

    asyncio.run(die(timedelta()))
    assert told() == ["-"]
    asyncio.run(die(timedelta(days=400)))
    alive, dead = sorted(told())
    assert alive == "-"
    assert dead == f"{datetime.now(UTC) - timedelta(days=400):%Y-%m-%d}{dead[10:]}"


def test_books_that_were_verified_at_the_desk_are_known_as_verified(shell: Shell, sandbox: str) -> None:
    at = ("--program", sandbox)
    assert "verified never" in shell("jobs", *at)
    (report,) = shell.json("verify", *at)
    assert (report["intact"], report["broken"], report["findings"]) == (True, 0, [])
    (told,) = shell.json("jobs", *at)
    assert told["verified_at"] >= report["began_at"]
    assert told["verified_seconds"] >= report["seconds"] > 0
    assert (told["verified_entries"], told["broken"]) == (report["figures"]["entries"], 0)
    assert ", 0 broken" in shell("jobs", *at)


async def _some_points(program: str) -> None:
    async with open_desk(from_process()) as desk:
        who = MemberRef(identifier=Identifier(IdentifierKind.EXTERNAL, "1"))
        at = datetime(2017, 1, 1, 5, tzinfo=UTC)  # the sandbox's first instant
        await desk.submit(
            UUID(program),
            RecordPurchase("till", "R-1", at, "USD", (PurchaseLine("1", "A", 1000, 4_200),), who),
        )
        await desk.submit(UUID(program), Adjust(who, "points", 8, "goodwill"))


def test_all_points_are_told_by_month_and_by_day(shell: Shell, sandbox: str, database: Database) -> None:
    line = ["rollforward", "--program", sandbox]
    assert shell.json(*line)["periods"] == []
    apart(_some_points(sandbox))
    shell("clock", "advance", "2017-04-01T03:59:59Z", "--program", sandbox)  # the last instants of March
    assert shell(*line).splitlines() == [
        "period   opening  earned  adjusted  redeemed  expired  closing",
        "2017-01  0        42      8         0         0        50",
    ]
    assert "3 periods to 2017-04-01T03:59:59+00:00, all adds up" in shell.said
    shell("clock", "advance", "--days", "1", "--program", sandbox)
    told = shell.json(*line, "--by", "day", "--points-currency", "points")
    assert (len(told["periods"]), told["accounts"], told["differences"]) == (91, {"points": 0}, [])
    last = told["periods"][-1]
    assert (last["period"], last["opening"], last["expired"], last["closing"]) == ("2017-04-01", 50, 50, 0)
    assert [row.split()[0] for row in shell(*line, "--by", "day").splitlines()] == [
        "period",
        "2017-01-01",
        "2017-04-01",
    ]
    assert "no points 'stars'" in shell(*line, "--points-currency", "stars", ends=Exit.USAGE)

    async def meddle() -> None:
        link = await asyncpg.connect(database.superuser_url)
        await link.execute(
            f"UPDATE accounts SET available = 49, next_due_at = NULL WHERE program_id = '{sandbox}'"
        )
        await link.close()

    apart(meddle())
    shell(*line, ends=Exit.DIFFERENCES)
    assert "points: the last closing is 0, the accounts hold 49" in shell.said
