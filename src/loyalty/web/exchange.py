"""What is known of one request while it is served, and of its answer afterwards."""

from collections.abc import Callable
from time import perf_counter_ns
from uuid import UUID

Write = Callable[[int, bytes, bytes], bool]
"""Sends an answer in one piece: status, header lines, body. False when it must be sent by ASGI messages."""


class Exchange:
    """One request and its answer: its id, the headers we read, and what the log line says about it."""

    __slots__ = (
        "credential_id",
        "headers",
        "method",
        "program_id",
        "request_id",
        "route",
        "started_ns",
        "status",
        "write",
    )

    def __init__(
        self, request_id: str, method: str, write: Write | None = None, arrived_ns: int | None = None
    ) -> None:
        self.request_id = request_id
        self.method = method
        self.started_ns = perf_counter_ns() if arrived_ns is None else arrived_ns
        self.headers: dict[bytes, bytes] = {}
        self.route = "-"  # the template, never the path: a path may name a member
        self.program_id: UUID | None = None
        self.credential_id: UUID | None = None
        self.status = 0
        self.write = write
