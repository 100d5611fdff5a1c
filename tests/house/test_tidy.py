"""House rules that a reader relies on, each with its reason: where things stand and what pure files may touch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "loyalty"

# In these rooms a file is pure unless it has one of the names below: it decides from values alone, so that the
# same code serves quotes, simulation, backtests and every test without a database.
PURE_ROOMS = ("conditions", "ledger", "members", "posting", "rewards", "rules", "tiers")
IMPURE_NAMES = {
    "balances",  # reads a snapshot
    "catalogue",  # reads a snapshot, then judges as a redemption does
    "checkpoint",  # reads and writes a file
    "files",  # reads a program from its directory
    "glance",  # reads a snapshot
    "histories",  # cache over the database
    "jobs",
    "pipe",
    "places",  # reads a snapshot
    "quote",  # reads a snapshot, then decides as a purchase does
    "reviews",  # reads snapshots for verification
    "runtime",  # connections of one process
    "service",
    "store",
    "tables",
    "verify",
    "visitor",  # connections of one process
}
LIBRARIES = {"msgspec", "loyalty"}
LIBRARIES_OF_FILE = {
    "members/identifiers.py": {"phonenumbers", "email_validator"},  # spelling only, neither asks the network
    "conditions/expression.py": {"cel"},
}
# Modules that read the clock, chance or the world outside.
WORLDLY = {
    "asyncio", "getpass", "glob", "http", "io", "locale", "logging", "multiprocessing", "os", "pathlib", "platform",
    "random", "secrets", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "urllib", "uuid1",
}  # fmt: skip
WORLDLY_BASE = {"clock", "database", "logs", "migrations", "outbox", "provision", "settings", "together"}
CLOCK_OR_CHANCE = {"now", "today", "utcnow", "uuid1", "uuid4", "uuid7"}
FLOATLESS_ROOMS = ("ledger", "posting", "rewards", "rules", "tiers")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def pure_files() -> list[Path]:
    return [
        path
        for room in PURE_ROOMS
        for path in sorted((SOURCE / room).rglob("*.py"))
        if IMPURE_NAMES.isdisjoint({path.stem, path.parent.name}) and path.stem != "__init__"
    ]


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def forbidden_import(path: Path, module: str) -> bool:
    first, *rest = module.split(".")
    if first == "loyalty":
        base = len(rest) > 1 and rest[0] == "base" and rest[1] in WORLDLY_BASE
        return base or rest[-1:] == ["embedded"] or any(part in IMPURE_NAMES for part in rest[1:])
    if first in sys.stdlib_module_names:
        return first in WORLDLY
    return first not in LIBRARIES | LIBRARIES_OF_FILE.get(named(path), set())


@pytest.mark.parametrize("path", pure_files(), ids=named)
def test_a_pure_file_decides_from_values_alone(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    worldly = [module for module in imports(tree) if forbidden_import(path, module)]
    assert worldly == [], "I/O, settings and servers belong into store.py, service.py or pipe.py of the room"
    asked = [
        f"line {node.lineno}: {node.func.attr}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK_OR_CHANCE
    ]
    assert asked == [], "time and chance are arguments (laws, 8): a decision must be repeatable"
    waits = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert waits == [], "a decision never waits: nothing may come between reading the book and deciding"


@pytest.mark.parametrize(
    "path", [p for p in pure_files() if named(p).split("/")[0] in FLOATLESS_ROOMS], ids=named
)
def test_points_and_money_never_pass_through_a_float(path: Path) -> None:
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
        or (isinstance(node, ast.Name) and node.id == "float")
    ]
    assert found == [], "integers only (laws, 10): divide with // or base.numbers, say where it rounds"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=named)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), (
            "two to five lines: what it decides, what it leaves to whom"
        )


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py", "*.sql", "*.md", "*.toml", "Makefile", "scripts/*")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if later.search(line) and path != Path(__file__)
    ]
    assert found == [], "do it, or write an issue: nobody reads a diary in the code"


def test_locks_hold_hashes_and_no_address() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        packages = re.findall(r"^[a-z0-9][\w.-]*(?:\[.*\])?==\S+", text, re.MULTILINE)
        assert packages
        assert len(re.findall(r"==\S+[^\n]*\\\n\s+--hash=sha256:", text)) == len(packages), path.name
        assert not re.search(r"https?://|index-url|find-links", text), path.name
    assert not tracked("uv.lock", "pylock*.toml"), "those files record the index they came from"


def test_no_large_or_built_file_is_tracked() -> None:
    assert [path for path in tracked() if path.stat().st_size > 1024 * 1024] == []
    assert [path for path in tracked() if path.suffix in {".so", ".whl", ".parquet", ".woff2", ".pyc"}] == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in tracked("tests/*.py")
        if re.search(r"mark\.(skip|xfail)|pytest\.(skip|xfail)\(", path.read_text("utf-8"))
        and path != Path(__file__)
    ]
    assert found == [], "a test that does not run proves nothing: mend it or remove it"
