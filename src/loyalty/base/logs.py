"""Logs of one process: a line of JSON (or text) per event on stderr, with the ids of the request it belongs to.

Personal data stays out of logs: a key that names a person's data, a secret or a body loses its value here, also
in nested values, whoever logged it. Ids and figures pass.
"""

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import msgspec
import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from loyalty.base.settings import LogFormat

REMOVED = "[removed]"

# Whole keys or, split at underscores, any part of one: `member_email` and `emails` too.
PERSONAL = frozenset(
    "name email phone mobile address street postcode birthday birth card identifier profile attribute ip".split()
    + "value values content answer body payload query header headers cookie text reason note comment".split()
    + "password secret token authorization credential signature key".split()
)
# Ids of things, not data of persons, although a part of their name says otherwise.
ALLOWED = frozenset({"key_id", "event_name", "job_name", "content_type", "reason_code", "database_name"})


def configure_logs(form: LogFormat = "json", level: int = logging.INFO) -> None:
    """Send everything that this process logs, its libraries included, to stderr in one form."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        strip_personal,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(serializer=_json)
        if form == "json"
        # Tracebacks without the values of variables: those may be a person's.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info if form == "json" else _unchanged,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "arq"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
    # It begins by naming each of its plugins.
    logging.getLogger("alembic").setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


@contextmanager
def log_context(**ids: str) -> Generator[None]:
    """Give every line logged inside the block these ids: request_id, program_id, key_id, run_id."""
    tokens = bind_contextvars(**ids)
    try:
        yield
    finally:
        reset_contextvars(**tokens)


def strip_personal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """`event` with the values of personal and secret keys removed; the key stays, so that the mistake is seen."""
    for key, value in event.items():
        event[key] = REMOVED if _is_personal(key) else _inner(value)
    return event


def _inner(value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = cast("Mapping[object, object]", value)
        return {key: REMOVED if _is_personal(str(key)) else _inner(item) for key, item in inner.items()}
    if isinstance(value, list | tuple):
        return [_inner(item) for item in cast("list[object]", value)]
    return value


def _is_personal(key: str) -> bool:
    if key in ALLOWED:
        return False
    parts = key.lower().replace("-", "_").split("_")
    return any(part in PERSONAL or part.removesuffix("s") in PERSONAL for part in parts)


def _json(event: Any, **_ignored: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _unchanged(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return event
