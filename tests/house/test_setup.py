"""`scripts/setup` in a checkout of its own, where uv is a few lines of shell."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = """#!/bin/sh
case $1 in
    --version) echo "uv 1.0" ;;
    venv) "$5" -m venv --without-pip --clear "$6" ;;
    pip) touch .venv/bin/loyalty && chmod +x .venv/bin/loyalty ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for place in ("scripts", "requirements", "src", ".tools/bin"):
        (tmp_path / place).mkdir(parents=True)
    for file in ("scripts/setup", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "requirements" / "bootstrap.txt").write_text("uv==1.0 \\\n")
    uv = tmp_path / ".tools" / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    return tmp_path


def set_up(checkout: Path, path: str) -> str:
    """What it says when commands are looked for there first."""
    done = subprocess.run(
        [checkout / "scripts" / "setup"],
        env={"PATH": f"{path}:{os.environ['PATH']}", "HOME": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_environment_in_the_path_is_no_other_interpreter(checkout: Path) -> None:
    away = ":".join(one for one in os.environ["PATH"].split(":") if ".venv" not in one)
    assert "setup: ready" in set_up(checkout, away)
    assert set_up(checkout, away) == ""
    assert set_up(checkout, str(checkout / ".venv" / "bin")) == ""
