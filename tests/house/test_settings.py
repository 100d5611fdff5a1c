"""Settings: what a process reads, how it says what is wrong, and what production refuses."""

import base64
import os
import re
from pathlib import Path

import msgspec
import pytest

from loyalty.base.settings import (
    VARIABLES,
    Settings,
    SettingsError,
    default_home,
    explain_settings,
    load_settings,
    mask_url,
    production_faults,
)
from loyalty.embedded.servers import provide
from loyalty.embedded.system import credentials

KEY = base64.b64encode(bytes(range(32))).decode()
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def faults_of(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.faults


def test_nothing_set_is_a_working_development_setting() -> None:
    settings = load_settings({"PATH": "/bin", "HOME": "/nowhere"})
    assert settings.environment == "development"
    assert (settings.host, settings.port, settings.cells, settings.database_url) == (
        "127.0.0.1",
        8080,
        1,
        None,
    )


def test_every_setting_has_a_variable_and_every_variable_a_setting() -> None:
    assert list(VARIABLES) == [field.name for field in msgspec.structs.fields(Settings)]


def test_all_faults_are_told_at_once_each_with_variable_value_and_expected_form() -> None:
    faults = faults_of(
        LOYALTY_PORT="http",
        LOYALTY_CELLS="65",
        LOYALTY_LOG_FORMAT="xml",
        LOYALTY_POOLSIZE="3",
        LOYALTY_QUOTA="3",
    )
    assert faults == [
        "LOYALTY_POOLSIZE is not a setting: did you mean LOYALTY_POOL_SIZE?",
        "LOYALTY_QUOTA is not a setting",
        "LOYALTY_PORT = 'http': expected a whole number from 1 to 65,535",
        "LOYALTY_CELLS = '65': expected a whole number from 1 to 64",
        "LOYALTY_LOG_FORMAT = 'xml': expected json or text",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOYALTY_DATABASE_URL", "mysql://u:hunter2@db/loyalty"),
        ("LOYALTY_DATABASE_URL", "postgresql://u:hunter2@db"),
        ("LOYALTY_DATABASE_URL", "postgresql://u:hunter2@db:port/loyalty"),
        ("LOYALTY_REDIS_URL", "http://:hunter2@cache"),
        ("LOYALTY_SECRET_KEY", "hunter2"),
    ],
)
def test_a_wrong_secret_is_named_but_never_repeated(name: str, value: str) -> None:
    (fault,) = faults_of(**{name: value})
    assert fault.startswith(f"{name} = *** (hidden): expected ")
    assert "hunter2" not in fault


@pytest.mark.parametrize("value", ["", "-1", "1.0", " 8080", "8e3", "٣", "70000", "_"])
def test_a_number_is_plain_digits_in_its_range(value: str) -> None:
    assert len(faults_of(LOYALTY_PORT=value)) == 1


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    assert load_settings({"LOYALTY_SECRET_KEY_FILE": str(file)}).secret_key == bytes(range(32))


def test_a_generated_secret_is_the_same_where_it_is_set(tmp_path: Path) -> None:
    elsewhere = Settings(
        home=tmp_path, database_url="postgresql://elsewhere/x", redis_url="redis://elsewhere"
    )
    with provide(elsewhere) as made:
        text = credentials(tmp_path)["secret_key"]
    for name in ("secret_key", "secret_key_previous"):
        assert getattr(load_settings({f"LOYALTY_{name.upper()}": text}), name) == made.secret_key


def test_variable_and_file_together_or_an_absent_file_are_faults(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert faults_of(LOYALTY_SECRET_KEY=KEY, LOYALTY_SECRET_KEY_FILE=absent) == [
        "LOYALTY_SECRET_KEY and LOYALTY_SECRET_KEY_FILE are both set: keep one"
    ]
    (fault,) = faults_of(LOYALTY_SECRET_KEY_FILE=absent)
    assert fault.endswith("cannot be read (No such file or directory)")


def test_effective_values_name_their_origin_and_mask_their_secrets() -> None:
    rows = explain_settings(
        {
            "LOYALTY_PORT": "9000",
            "LOYALTY_SECRET_KEY": KEY,
            "LOYALTY_DATABASE_URL": "postgresql://app:pw@db:5432/l",
        }
    )
    shown = {name: (value, origin) for name, value, origin in rows}
    assert shown["LOYALTY_PORT"] == ("9000", "environment")
    assert shown["LOYALTY_HOST"] == ("127.0.0.1", "default")
    assert shown["LOYALTY_DATABASE_URL"] == ("postgresql://app:***@db:5432/l", "environment")
    assert KEY not in str(rows)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p%40w@h/d?password=other", "postgresql://u:***@h/d"),
        ("postgresql://u:p@h:x/d", "***"),
    ],
)
def test_an_address_is_printed_without_its_password(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def production(**changes: object) -> Settings:
    settings = Settings(
        environment="production",
        home=Path("/srv"),
        database_url="postgresql://loyalty_app:x@db/loyalty",
        redis_url="redis://cache",
        secret_key=bytes(range(32)),
    )
    return msgspec.structs.replace(settings, **changes)


def test_production_starts_with_own_servers_own_key_and_durable_commits() -> None:
    assert production_faults(production(), DURABLE) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"database_url": None}, "LOYALTY_DATABASE_URL"),
        ({"redis_url": None}, "LOYALTY_REDIS_URL"),
        ({"secret_key": None}, "LOYALTY_SECRET_KEY"),
        ({"secret_key": bytes(32)}, "LOYALTY_SECRET_KEY"),
        ({"secret_key_previous": b"short"}, "LOYALTY_SECRET_KEY_PREVIOUS"),
        ({"secret_key_previous": bytes(range(32))}, "LOYALTY_SECRET_KEY_PREVIOUS"),
    ],
)
def test_production_refuses_embedded_servers_and_weak_keys(changes: dict[str, object], named: str) -> None:
    (fault,) = production_faults(
        production(**changes), {} if changes.get("database_url", "") is None else DURABLE
    )
    assert fault.startswith(named)


@pytest.mark.parametrize("name", list(DURABLE))
@pytest.mark.parametrize("value", ["off", None])
def test_production_refuses_a_database_that_may_lose_commits(name: str, value: str | None) -> None:
    answers = {key: answer for key, answer in (DURABLE | {name: value}).items() if answer is not None}
    (fault,) = production_faults(production(), answers)
    assert name in fault


def test_two_checkouts_keep_their_data_apart() -> None:
    home = default_home(os.environ)
    assert home == Path(__file__).resolve().parents[2] / "var" / "loyalty"


def test_the_operations_page_lists_every_setting_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `LOYALTY_(\w+)` \|", page, re.MULTILINE)
    assert rows == [name.upper() for name in VARIABLES]
