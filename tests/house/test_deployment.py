"""The container deployment: secrets made once, each container with its own and no more."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loyalty.base.settings import VARIABLES, load_settings, production_faults
from loyalty.cli.frame import Exit
from loyalty.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    assert run(["secrets", "make", str(tmp_path / "secrets")]) == Exit.OK
    return tmp_path / "secrets"


def files(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()
    }


def test_made_secrets_are_never_replaced(made: Path) -> None:
    before = files(made)
    assert run(["secrets", "make", str(made)]) == Exit.OK
    assert files(made) == before
    assert made.joinpath("admin").stat().st_mode & 0o077 == 0


def test_the_containers_settings_are_a_faultless_production(made: Path, services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        environ = {k: v.replace("/secrets", str(made)) for k, v in services[name]["environment"].items()}
        settings = load_settings(environ | {"LOYALTY_ENVIRONMENT": "production"})
        assert production_faults(settings, DURABLE) == []


def test_every_secret_a_container_names_is_made_and_mounted(made: Path, services: dict[str, Any]) -> None:
    known = {f"LOYALTY_{name.upper()}_FILE" for name in VARIABLES} | {"POSTGRES_PASSWORD_FILE"}
    for service in services.values():
        mounts = [volume.split(":")[1] for volume in service.get("volumes", [])]
        for variable, path in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert variable in known
                assert str(Path(path).parent) in mounts
                assert (made / Path(path).relative_to("/secrets")).is_file()


def test_the_running_program_never_sees_the_owners_password(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        assert [volume for volume in services[name]["volumes"] if "admin" in volume] == []
        assert all(volume.endswith(":ro") for volume in services[name]["volumes"])


def test_our_containers_run_without_root_rights_or_a_writable_disk(services: dict[str, Any]) -> None:
    user = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("USER "))
    assert user == "USER 10001:10001"
    for name in ("secrets", "migrate", "api", "worker"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_servers_start_only_when_their_ground_is_ready(services: dict[str, Any]) -> None:
    assert services["postgres"]["depends_on"]["secrets"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
