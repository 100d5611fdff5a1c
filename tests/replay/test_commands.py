"""`loyalty replay` as a user types it, against a real API process: totals, repeats, a clock that goes along."""

import asyncio
import csv
import json
import re
import shlex
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.demo.state import Serving, announced
from loyalty.embedded.system import free_port
from loyalty.operating.processes import Child, until_ready
from loyalty.replay.shift import whole_weeks
from tests.conftest import Database, apart

ROOT = Path(__file__).resolve().parents[2]
MAPPING = """
money = "USD"
zone = "America/New_York"
[receipt]
source = "shop"
external_id = { column = "receipt" }
occurred_at = { column = "time" }
member = { column = "household", kind = "external" }
[line]
sku = "basket"
amount = { column = "total" }
"""
PROGRAM = """
[program]
kind = "sandbox"
name = "Ninety days"
zone = "America/New_York"
money = "USD"
[program.policies]
late_days_max = "off"
unknown_external = "enrol"
[[points_currencies]]
code = "points"
name = "points"
expiry = { kind = "rolling", days = 90 }
[[rules]]
id = "basket"
name = "for the basket"
points_currency = "points"
gives = { kind = "per_spend", points = 1, each_minor = 100 }
"""

# At the edges of days, of a day that is an hour short, and of the ninety days.
PURCHASES = """\
household,receipt,time,total
1,R-1,2017-01-01 00:00:00,10.50
1,R-2,2017-01-01 23:59:59,2.99
1,R-3,2017-04-01 00:00:01,7.00
2,R-4,2017-03-12 03:30:00,0.99
2,R-5,2017-10-02 12:00:00,42.00
2,R-6,2017-10-03 12:00:00,43.00
10,R-7,2017-12-31 23:59:59,5.00
"""
# The points of 2 October are good to 30 December, those of 3 October to the last day of the year.
TOTALS = [
    {"household": "1", "earned": "19", "redeemed": "0", "expired": "19", "outstanding": "0", "tier": ""},
    {"household": "2", "earned": "85", "redeemed": "0", "expired": "42", "outstanding": "43", "tier": ""},
    {"household": "10", "earned": "5", "redeemed": "0", "expired": "0", "outstanding": "5", "tier": ""},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "receipts.csv").write_text(PURCHASES)
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "program.toml").write_text(PROGRAM)
    return tmp_path


def replay(
    files: Path, *more: str, capsys: pytest.CaptureFixture[str], ends: Exit = Exit.OK
) -> dict[str, Any]:
    line = ["replay", str(files / "receipts.csv"), "--mapping", str(files / "mapping.toml"), "--json", *more]
    code = run(line)
    told = capsys.readouterr()
    assert code == ends, told.err
    return json.loads(told.out)


def test_a_year_with_the_programs_clock_expires_points_on_their_day(
    installation: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = files / "totals.csv"
    program = str(files / "program.toml")
    found = replay(files, "--program", program, "--clock", "data", "--totals", str(out), capsys=capsys)
    assert (found["posted"], found["recorded"], found["refused"]) == (7, 7, {})
    with out.open() as file:
        assert list(csv.DictReader(file)) == TOTALS
    assert {name: found[name] for name in ("earned", "expired", "outstanding")} == {
        "earned": 109,
        "expired": 61,
        "outstanding": 48,
    }


@pytest.fixture
def shop(installation: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """A served live program of one's own; gives the options that lead a replay there."""
    live = (files / "program.toml").read_text().replace('"sandbox"', '"live"')
    (files / "live.toml").write_text(live)
    assert run(["program", "create", str(files / "live.toml")]) == Exit.OK
    program = capsys.readouterr().out.strip()
    assert run(["keys", "create", "--role", "pos", "--program", program]) == Exit.OK
    (files / "key").write_text(capsys.readouterr().out)
    port = free_port()
    child = Child("serve", {"LOYALTY_PORT": str(port)}, installation / "api.log")
    child.start()
    try:
        asyncio.run(until_ready(f"http://127.0.0.1:{port}", child))
        yield ["--base-url", f"http://127.0.0.1:{port}", "--api-key-file", str(files / "key")]
    finally:
        asyncio.run(child.stop())


def test_a_replay_may_be_repeated_shuffled_and_doubled_without_a_second_effect(
    shop: list[str], files: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    first = replay(files, *shop, "--limit", "4", "--shift", "auto", capsys=capsys)
    assert (first["recorded"], first["replayed"]) == (4, 0)
    rest = replay(files, *shop, "--shift", "auto", "--duplicates", "100", "--shuffle", "7", capsys=capsys)
    assert (rest["posted"], rest["recorded"], rest["replayed"]) == (14, 3, 11)
    entries = apart(_count(database.superuser_url, "entries"))
    again = replay(files, *shop, "--shift", "auto", "--clients", "3", capsys=capsys)
    assert (again["recorded"], again["replayed"]) == (0, 7)
    assert apart(_count(database.superuser_url, "entries")) == entries > 0


def test_the_same_receipt_at_another_time_is_refused_and_counted_by_its_code(
    shop: list[str], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(files, *shop, "--limit", "1", "--shift", "auto", capsys=capsys)
    key = (files / "key").read_text()
    (files / "key").write_text(f"Content-Type: application/json\nAuthorization: Bearer {key}")
    line = [*shop, "--limit", "1", "--shift", "1"]
    other = replay(files, *line, capsys=capsys, ends=Exit.REFUSED)
    assert other["refused"] == {"activity_differs": 1}
    (told,) = other["first_refused"]
    source, mapping = files / "receipts.csv", files / "mapping.toml"
    assert run(["replay", str(source), "--mapping", str(mapping), *line]) == Exit.REFUSED
    said = capsys.readouterr().err
    assert f"  refused: {told['source']} {told['external_id']}: {told['detail']} (activity_differs)\n" in said


@pytest.fixture
def demo(shop: list[str], installation: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The demo's own program, served and announced as a running demo does it."""
    assert run(["program", "create", str(ROOT / "examples" / "programs" / "demo.toml")]) == Exit.OK
    program = capsys.readouterr().out.strip()
    assert run(["keys", "create", "--role", "pos", "--program", program]) == Exit.OK
    keys = {"pos": capsys.readouterr().out.strip()}
    with announced(installation, Serving(shop[1], UUID(program), "USD", keys, {}, ())):
        yield


@pytest.mark.parametrize("name", ["kasse", "receipts"])
def test_the_shipped_files_are_posted_to_the_demo_by_the_command_printed_in_their_mapping(
    demo: None, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "examples" / "mappings" / f"{name}.toml").read_text("utf-8")
    (printed,) = re.findall(r"^#\s+\.venv/bin/loyalty (replay .*)$", text, re.MULTILINE)
    assert run([*shlex.split(printed), "--json"]) == Exit.OK
    figures = json.loads(capsys.readouterr().out)
    assert figures["refused"] == {}
    assert figures["recorded"] == figures["posted"] >= 2


async def _count(url: str, rows: str) -> int:
    link = await asyncpg.connect(url)
    try:
        return await link.fetchval(f"SELECT count(*) FROM {rows}")
    finally:
        await link.close()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["replay", "receipts.csv"], "--mapping"),
        (["replay", "completejourney", "--clock", "data"], "--program"),
        (["replay", "completejourney", "--clients", "0"], "clients"),
        (["replay", "completejourney", "--shift", "soon"], "weeks"),
        (["replay", "completejourney", "--base-url", "http://127.0.0.1:9"], "--api-key-file"),
        (["replay", "completejourney"], "make demo"),
    ],
)
def test_a_wrong_command_line_says_what_is_missing(
    installation: Path, line: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == Exit.USAGE
    assert told in capsys.readouterr().err


def test_a_dry_run_reads_everything_and_posts_nothing(
    installation: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(files, "--dry-run", capsys=capsys) == {
        "purchases": 7,
        "lines": 7,
        "members": 3,
        "amount_minor": 11_148,
        "from_on": "2017-01-01",
        "to_on": "2017-12-31",
    }


@pytest.mark.parametrize("days_ago", range(8))
def test_shifted_data_ends_last_week_on_the_weekday_it_ended(days_ago: int) -> None:
    today = date(2026, 11, 23) - timedelta(days=days_ago)
    for last in (date(2017, 12, 31), date(2017, 12, 28)):
        moved = last + whole_weeks(last, today)
        monday = today - timedelta(days=today.weekday())
        assert monday - timedelta(days=7) <= moved < monday
        assert moved.weekday() == last.weekday()
