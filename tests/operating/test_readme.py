"""The README's first purchase does what it says, on the demo's own program."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.embedded.system import free_port
from loyalty.operating.processes import Child, until_ready
from tests.conftest import apart

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str) -> str:
    """The first code block of a language in the README."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def shop(installation: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[httpx2.Client]:
    """The demo's program on the evening of the purchase, whenever this test runs."""
    text = (ROOT / "examples" / "programs" / "demo.toml").read_text("utf-8")
    (installation / "demo.toml").write_text(text.replace('kind = "live"', 'kind = "sandbox"'))
    evening = "2026-11-20T18:00:00-05:00"
    assert run(["program", "create", str(installation / "demo.toml"), "--clock-at", evening]) == Exit.OK
    assert run(["keys", "create", "--role", "pos"]) == Exit.OK
    key = capsys.readouterr().out.split()[-1]
    address = f"http://127.0.0.1:{free_port()}"
    child = Child("serve", {"LOYALTY_PORT": address.rpartition(":")[2]}, installation / "api.log")
    child.start()
    try:
        apart(until_ready(address, child))
        with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            yield client
    finally:
        apart(child.stop())


def told(answer: dict[str, Any]) -> Any:
    """An answer without what is different every time."""
    earned = [{k: v for k, v in lot.items() if k not in ("entry_id", "lot_id")} for lot in answer["earned"]]
    different = ("id", "member_id", "decision_id", "recorded_at")
    return {k: v for k, v in answer.items() if k not in different} | {"earned": earned}


def test_the_first_purchase_is_answered_as_the_readme_shows_and_once(shop: httpx2.Client) -> None:
    words = shlex.split(block("sh"))
    body, key = (
        words[words.index("-d") + 1],
        next(word for word in words if word.startswith("Idempotency-Key")),
    )
    headers = {"Content-Type": "application/json", "Idempotency-Key": key.partition(": ")[2]}
    path = next(word for word in words if word.startswith("http")).partition(":8080")[2]
    first, again = (shop.post(path, content=body, headers=headers) for _ in range(2))
    assert first.status_code == 201
    assert told(first.json()) == told(json.loads(block("json")))
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"


def test_the_documents_that_are_linked_are_there() -> None:
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text("utf-8")):
            if "://" not in target:
                assert (file.parent / target).exists(), f"{file.name} links {target}"
