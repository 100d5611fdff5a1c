"""The command line: exit codes, what goes to stdout, what the doctor finds and advises."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from loyalty.base import migrations
from loyalty.base.database import DatabaseUnavailable
from loyalty.base.ids import NIL
from loyalty.base.settings import Settings
from loyalty.cli.doctor import examine
from loyalty.cli.frame import Exit
from loyalty.cli.main import COMMANDS, run
from loyalty.embedded import Servers, destroy, running, status
from loyalty.ledger.rollforward import COLUMNS, Period, RollForward
from loyalty.operating.desk import Desk, DeskError
from tests.conftest import Database


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home") / "loyalty"
    monkeypatch.setenv("LOYALTY_HOME", str(home))
    yield home
    destroy(home)


def test_every_command_module_is_mounted_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(__file__).resolve().parents[2] / "src" / "loyalty" / "cli"
    modules = {path.stem for path in place.glob("*.py")} - {"__init__", "main", "frame"}
    assert modules == set(COMMANDS)
    for name in COMMANDS:
        assert run([name, "--help"]) == Exit.OK
        assert f"loyalty {name}" in capsys.readouterr().out


@pytest.mark.parametrize("line", [["nonsense"], ["doctor", "--nonsense"], ["servers", "explode"]])
def test_a_wrong_command_line_is_2(line: list[str]) -> None:
    assert run(line) == Exit.USAGE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("keys create", 'Command "keys create" needs --role.'),
        ("redate plan", 'Command "redate plan" needs --points-currency.'),
        ("keys revoke", 'Command "keys revoke" needs KEY.'),
        ("keys create --role", "--role requires an argument."),
    ],
)
def test_what_is_missing_in_a_command_line_is_named(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == Exit.USAGE
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "program create {}",
        "replay receipts.csv --mapping {}",
        "replay completejourney --base-url http://127.0.0.1:1 --api-key-file {}",
    ],
)
def test_a_file_that_cannot_be_read_is_named_once(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent")
    assert run(line.format(absent).split()) == Exit.USAGE
    assert capsys.readouterr().err == f"{absent} cannot be read: No such file or directory\n"
    (tmp_path / "absent").write_bytes(b"\xff")
    assert run(line.format(absent).split()) == Exit.USAGE
    assert capsys.readouterr().err == f"{absent} cannot be read: not UTF-8 text\n"


def test_a_wrong_setting_is_2_and_named_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOYALTY_CELLS", "many")
    assert run(["doctor"]) == Exit.USAGE
    assert "LOYALTY_CELLS = 'many'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "told", [DatabaseUnavailable(), DeskError("busy", "Too much is waiting.", busy=True)]
)
def test_a_server_that_is_away_is_1_and_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
    redis_url: str,
    capsys: pytest.CaptureFixture[str],
    told: Exception,
) -> None:
    """It goes away while a command is at work."""

    async def away(*_: object) -> None:
        raise told

    monkeypatch.setenv("LOYALTY_DATABASE_URL", database.app_url)
    monkeypatch.setenv("LOYALTY_REDIS_URL", redis_url)
    monkeypatch.setattr(Desk, "program", away)
    assert run(["clock", "advance", "--days", "1"]) == Exit.FAILED
    words = capsys.readouterr().err
    assert str(told.args[0] if isinstance(told, DatabaseUnavailable) else told) in words
    assert "Refused" not in words


def test_settings_are_data_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_PORT", "9000")
    assert run(["config", "show", "--json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)
    assert {"setting": "LOYALTY_PORT", "value": "9000", "origin": "environment"} in rows


def test_migrating_an_emptyhome_prints_the_newest_revision(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate"]) == Exit.OK
    assert capsys.readouterr().out == migrations.head() + "\n"
    assert run(["servers", "status"]) == Exit.FAILED  # the last user has stopped them


def test_migrating_without_the_owner_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, database: Database, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", database.app_url)
    monkeypatch.setenv("LOYALTY_REDIS_URL", redis_url)
    assert run(["migrate"]) == Exit.FAILED
    assert "LOYALTY_OWNER_DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["program create examples/programs/cafe.toml", "keys list", "verify", "checkpoint", "serve", "worker"],
)
@pytest.mark.parametrize("there", [True, False])
def test_before_the_first_migration_a_command_says_what_is_missing(
    line: str,
    there: bool,
    servers: Servers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = servers.database_url if there else servers.database_url + "_of_nobody"
    monkeypatch.setenv("LOYALTY_DATABASE_URL", url)
    monkeypatch.setenv("LOYALTY_REDIS_URL", servers.redis_url)
    monkeypatch.setenv("LOYALTY_SECRET_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert run(line.split()) == Exit.FAILED
    (told,) = capsys.readouterr().err.splitlines()
    assert ("run `loyalty migrate`" if there else "does not exist") in told


def settings_of(home: Path, database_url: str, redis_url: str, **more: object) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = {"home": home, "port": port, "database_url": database_url, "redis_url": redis_url}
    return Settings(**(known | {"secret_key": bytes(range(32))} | more))  # pyright: ignore[reportArgumentType]


async def wrong(settings: Settings) -> dict[str, str]:
    return {finding.about: finding.advice for finding in await examine(settings) if finding.state == "wrong"}


async def test_the_doctor_is_content_with_a_migrated_database(
    home: Path, database: Database, redis_url: str
) -> None:
    assert await wrong(settings_of(home, database.app_url, redis_url)) == {}


def test_a_reset_needs_a_yes_and_then_removes_the_data(home: Path) -> None:
    run(["migrate"])
    assert run(["servers", "reset"]) == Exit.REFUSED
    assert (home / "credentials.json").exists()
    assert run(["servers", "reset", "--yes"]) == Exit.OK
    assert not home.exists()


def test_a_reset_is_refused_and_a_stop_told_while_a_program_uses_the_servers(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(home):
        assert run(["servers", "reset", "--yes"]) == Exit.REFUSED
        assert all(status(home).values())
        assert run(["servers", "stop"]) == Exit.OK
        assert "until they run again" in capsys.readouterr().err
    assert run(["servers", "stop"]) == Exit.OK
    assert capsys.readouterr().err == ""
    assert run(["servers", "reset", "--yes"]) == Exit.OK
    assert not home.exists()


@pytest.mark.parametrize("command", [["migrate"], ["servers", "start"], ["program", "list"], ["serve"]])
def test_a_home_that_is_a_file_is_refused(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("LOYALTY_HOME", str(tmp_path / "taken"))
    assert run(command) == Exit.FAILED
    assert f"{tmp_path}/taken cannot be the home of servers (File exists)" in capsys.readouterr().err


async def test_the_doctor_finds_a_home_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert "LOYALTY_HOME" in (await wrong(Settings(home=tmp_path / "taken", port=1)))["disk"]


def test_a_reset_leaves_strangers_files_in_the_home_alone(home: Path) -> None:
    run(["migrate"])
    (home / "letter").write_text("dear diary")
    assert run(["servers", "reset", "--yes"]) == Exit.OK
    assert [path.name for path in home.iterdir()] == ["letter"]


async def test_the_doctor_is_content_before_the_first_start_and_makes_nothing(home: Path) -> None:
    findings = await examine(Settings(home=home, port=1))
    assert "made at the first start" in findings[-1].seen
    assert not home.exists()


async def test_the_doctor_refuses_a_program_that_would_run_as_the_owner(
    home: Path, database: Database, redis_url: str
) -> None:
    for url in (database.owner_url, database.superuser_url):
        assert "loyalty_app" in (await wrong(settings_of(home, url, redis_url)))["role"]


async def test_the_doctor_names_what_does_not_answer(home: Path) -> None:
    found = await wrong(settings_of(home, "postgresql://a:pw@127.0.0.1:1/x", "redis://127.0.0.1:1/0"))
    assert set(found) == {"database", "valkey"}
    assert "127.0.0.1:1" in found["database"]
    assert "pw@" not in found["database"]


async def test_the_doctor_sees_an_old_schema(home: Path, servers: Servers, redis_url: str) -> None:
    # The run's own database exists and was never migrated.
    assert (await wrong(settings_of(home, servers.database_url, redis_url)))[
        "schema"
    ] == "run `loyalty migrate`"


async def test_the_doctor_tells_production_that_the_test_database_may_lose_commits(
    home: Path, database: Database, redis_url: str
) -> None:
    found = await examine(settings_of(home, database.app_url, redis_url, environment="production"))
    assert [finding.seen.split(":")[0] for finding in found if finding.about == "production"] == [
        "PostgreSQL runs with fsync = off",
        "PostgreSQL runs with full_page_writes = off",
        "PostgreSQL runs with synchronous_commit = off",
    ]


def test_the_doctor_names_what_production_lacks_as_a_start_does(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOYALTY_ENVIRONMENT", "production")
    assert run(["doctor"]) == Exit.FAILED
    told = capsys.readouterr().out
    assert "embedded, made at the first start" not in told
    assert run(["serve"]) == Exit.USAGE
    _, *faults = capsys.readouterr().err.splitlines()
    assert [fault.split()[0] for fault in faults] == [
        "LOYALTY_DATABASE_URL",
        "LOYALTY_REDIS_URL",
        "LOYALTY_SECRET_KEY",
    ]
    for fault in faults:
        assert f"wrong  production: {fault.strip()}\n       → " in told
    assert not home.exists()


async def test_the_doctor_names_a_missing_key_beside_servers_of_ones_own(
    home: Path, database: Database, redis_url: str
) -> None:
    settings = settings_of(home, database.app_url, redis_url, environment="production", secret_key=None)
    found = [finding.seen for finding in await examine(settings) if finding.state == "wrong"]
    assert "LOYALTY_SECRET_KEY is not set" in found[0]
    assert len(found) == 4  # and what the test server leaves undone


async def test_the_doctor_sees_a_taken_port(home: Path, database: Database, redis_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_of(home, database.app_url, redis_url, port=taken.getsockname()[1])
        assert "LOYALTY_PORT" in (await wrong(settings))["port"]


def test_a_month_in_which_a_debt_was_paid_is_told_though_no_points_came_or_went(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points that were pending until then paid it: what members have, less what they owe, is the same."""
    quiet = Period("points", "2026-01", 0, **dict.fromkeys(COLUMNS, 0), closing=0, owed=0)
    months = (
        replace(quiet, earned=10, revoked=10, owed=10),
        replace(quiet, period="2026-02", owed=10),
        replace(quiet, period="2026-03"),
        replace(quiet, period="2026-04"),
    )
    rolled = RollForward(datetime(2026, 5, 1, tzinfo=UTC), months, {"points": 0})
    monkeypatch.setattr("loyalty.cli.rollforward.at_desk", lambda _: (NIL, rolled))
    run(["rollforward"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["period", "2026-01", "2026-03"]
