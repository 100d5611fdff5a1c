"""`loyalty demo` as a newcomer has it: from nothing, its calls pasted as printed, stopped, started again, removed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from loyalty.access.roles import Role
from loyalty.embedded.system import free_port

pytestmark = [pytest.mark.proof, pytest.mark.realdata]

PURCHASES = 14_489
CALLS = 14
PURCHASE, LOTS, STANDING, PAY, HOLD, RETURN, CANCEL, CLAIM = (
    2,
    4,
    5,
    8,
    9,
    10,
    11,
    12,
)  # their places among the printed calls


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An empty home and a free port; what the demo made is gone afterwards."""
    home = tmp_path_factory.mktemp("newcomer") / "loyalty"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    environ = kept | {"LOYALTY_HOME": str(home), "LOYALTY_PORT": str(free_port())}
    yield environ
    subprocess.run([*loyalty("demo"), "--reset"], env=environ, check=True)
    assert not home.exists()


def loyalty(command: str) -> list[str]:
    return [sys.executable, "-m", "loyalty", command]


@contextmanager
def demo(environ: dict[str, str], within_s: float) -> Iterator[list[str]]:
    """A running demo that has said everything it has to say; gives what it said."""
    said = Path(environ["LOYALTY_HOME"]).parent / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(loyalty("demo"), env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + within_s
        while "reset " not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.1)
        yield said.read_text().splitlines()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, said.read_text()


def pasted(lines: list[str]) -> list[Any]:
    """The answers of all printed calls, each pasted as it stands."""
    answers: list[Any] = []
    for line in lines:
        if line.startswith("curl "):
            pasted = subprocess.run(
                ["bash", "-c", f"{line} -w '\\n%{{http_code}}'"], capture_output=True, text=True, check=True
            )
            body, _, status = pasted.stdout.rpartition("\n")
            assert status.startswith("2"), (line, pasted.stdout)
            answers.append(json.loads(body))
    return answers


def test_the_demo_serves_proves_and_goes_on_where_it_stopped(environ: dict[str, str]) -> None:
    home = Path(environ["LOYALTY_HOME"])
    with demo(environ, within_s=600) as said:
        text = "\n".join(said)
        assert f"{PURCHASES:,} in " in text
        assert f"{PURCHASES:,} recorded" in text
        assert " 0 broken" in text
        file = home / "demo.json"
        assert file.stat().st_mode & 0o777 == 0o600
        told = json.loads(file.read_text())
        assert told["base_url"] == f"http://127.0.0.1:{environ['LOYALTY_PORT']}"
        assert told["money"] == "USD"
        assert set(told["api_keys"]) == set(Role)
        assert len(told["members"]) == 3
        assert not any(key in text for key in told["api_keys"].values())
        first = pasted(said)
        assert len(first) == CALLS
        again = pasted(said)
        for call in (PURCHASE, PAY, HOLD, RETURN, CANCEL, CLAIM):
            assert again[call] == first[call], "what is pasted again is done once"
        assert any("coffee" in line for line in first[PURCHASE]["receipt"]["lines"])
        assert first[CANCEL]["id"] == first[PURCHASE]["id"]
        (part,), (rest,), (given,) = (
            first[RETURN]["revoked"],
            first[CANCEL]["revoked"],
            first[CLAIM]["earned"],
        )
        assert part["points"] and rest["points"]
        assert part["points"] + rest["points"] == given["points"] == first[PURCHASE]["earned"][0]["points"]
        assert first[LOTS]["data"]
        (status,) = first[STANDING]["data"]
        assert [tier["id"] for tier in status["tiers"]] == ["silver", "gold"]
        assert (status["standing"]["missing"] is None) == (status["standing"]["tier"] == "gold")
        old = said
        with httpx2.Client(base_url=told["base_url"]) as client:
            assert client.get("/docs").status_code == 200
        for line, advice in (
            (loyalty("demo"), "set LOYALTY_HOME"),
            ([*loyalty("demo"), "--reset"], "stop it with Ctrl-C"),
        ):
            refused = subprocess.run(line, env=environ, capture_output=True, text=True)
            assert refused.returncode == 1
            assert re.search(rf"runs already \(process \d+\): .*{advice}", refused.stderr)
        assert file.exists()
    assert not file.exists()
    with demo(environ, within_s=120) as said:
        assert "nothing to replay" in "\n".join(said)
        assert pasted(old)[PURCHASE] == first[PURCHASE], "a call printed before the restart still works"
        assert json.loads(file.read_text())["api_keys"] == told["api_keys"]
        assert len(pasted(said)) == CALLS


def test_a_reset_removes_nothing_where_no_demo_was_made(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    refused = subprocess.run(
        [*loyalty("demo"), "--reset"],
        env=os.environ | {"LOYALTY_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing is removed" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]


def test_a_port_in_use_is_told_with_what_to_do(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environ["LOYALTY_PORT"])))
        taken.listen()
        refused = subprocess.run(loyalty("demo"), env=environ, capture_output=True, text=True)
    assert refused.returncode == 1
    assert re.search(r"LOYALTY_PORT=\d+ make demo", refused.stderr)
