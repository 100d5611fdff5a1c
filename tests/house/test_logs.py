"""What a log line holds, and what it never holds."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from loyalty.base.logs import REMOVED, configure_logs, log_context


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_carries_the_ids_of_its_request_and_the_next_one_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs()
    with log_context(request_id="r1", program_id="p1"):
        structlog.get_logger("loyalty.test").info("purchase recorded", points=41)
    structlog.get_logger("loyalty.test").info("idle")
    inside, after = lines(capsys)
    assert (inside["event"], inside["request_id"], inside["program_id"], inside["points"]) == (
        "purchase recorded", "r1", "p1", 41,
    )  # fmt: skip
    assert "request_id" not in after


@pytest.mark.parametrize(
    "key",
    ["email", "member_email", "emails", "Phone", "card", "name", "first_name", "value", "body", "request_body",
     "authorization", "api_key", "secret_key", "password", "token"],
)  # fmt: skip
def test_personal_data_and_secrets_lose_their_value(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    structlog.get_logger("loyalty.test").warning("seen", **{key: "ada@example.org"}, details=[{key: "ada"}])
    (line,) = lines(capsys)
    assert line[key] == REMOVED
    assert "ada" not in json.dumps(line)


def test_ids_and_figures_pass(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    structlog.get_logger("loyalty.test").info("seen", key_id="k1", member_id="m1", entry_id="e1", status=201)
    (line,) = lines(capsys)
    assert (line["key_id"], line["member_id"], line["entry_id"], line["status"]) == ("k1", "m1", "e1", 201)


def test_what_a_library_says_of_its_own_parts_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    logging.getLogger("alembic.runtime.plugins").info("setup plugin alembic.autogenerate.tables")
    logging.getLogger("alembic.runtime.migration").warning("seen")
    (line,) = lines(capsys)
    assert line["event"] == "seen"


def test_libraries_log_in_the_same_form_and_an_exception_stays_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed")
    (line,) = lines(capsys)
    assert (line["level"], line["logger"]) == ("error", "uvicorn.error")
    assert "ValueError: broken" in str(line["exception"])
