"""An installation of one's own for the commands: a fresh database behind the settings of this process."""

from pathlib import Path

import pytest

from tests.conftest import Database

SECRET_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def installation(
    database: Database,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """LOYALTY_… variables point to the module's database; gives the home."""
    home = tmp_path_factory.mktemp("home")
    for name, value in {
        "HOME": str(home),
        "DATABASE_URL": database.app_url,
        "OWNER_DATABASE_URL": database.owner_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": SECRET_KEY,
    }.items():
        monkeypatch.setenv(f"LOYALTY_{name}", value)
    return home
