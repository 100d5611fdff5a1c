"""How a refusal is told: the one table from family to HTTP status, RFC 9457 bodies, the catalogue of codes.

The codes are documented in docs/api.md, whose table is made from `catalogue`.
"""

from typing import Any

import msgspec

from loyalty.base.errors import (
    Busy,
    Conflict,
    Forbidden,
    Internal,
    LoyaltyError,
    Malformed,
    MediaRefused,
    MethodRefused,
    NotFound,
    PreconditionFailed,
    PreconditionMissing,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
)

MEDIA_TYPE = "application/problem+json"
AGAIN = "Send again later"

STATUS: dict[type[LoyaltyError], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodRefused: 405,
    Conflict: 409,
    PreconditionFailed: 412,
    TooLarge: 413,
    MediaRefused: 415,
    Refused: 422,
    PreconditionMissing: 428,
    TooMany: 429,
    Internal: 500,
    Busy: 503,
}

_ENCODER = msgspec.json.Encoder()


class CatalogueRow(msgspec.Struct, frozen=True):
    """One code that a caller can meet."""

    code: str
    status: int
    title: str
    retryable: bool
    remedy: str

    @property
    def to_do(self) -> str:
        """What the caller does about it, with `code` in backticks."""
        if self.retryable and not self.remedy.startswith(AGAIN):
            return f"{AGAIN}. {self.remedy}"
        return self.remedy


def status_of(error: LoyaltyError | type[LoyaltyError]) -> int:
    """The HTTP status of a refusal: that of the nearest family it descends from."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUS[family] for family in kind.__mro__ if family in STATUS)


def problem(error: LoyaltyError, request_id: str) -> dict[str, Any]:
    """The members of the problem document, the refusal's facts after the standard ones."""
    body: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": error.title,
        "status": status_of(error),
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
        "retryable": error.retryable,
    }
    if error.faults:
        body["errors"] = [
            {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail} for fault in error.faults
        ]
    assert body.keys().isdisjoint(error.facts), f"{error.code}: a fact hides a standard member"
    return body | error.facts


def render(error: LoyaltyError, request_id: str) -> tuple[int, bytes]:
    """Status and body of the answer to a refused request."""
    body = problem(error, request_id)
    return body["status"], _ENCODER.encode(body)


def retry_headers(error: LoyaltyError) -> dict[str, str]:
    """`Retry-After` for what may be tried again."""
    after = getattr(error, "retry_after_s", None)
    return {} if after is None else {"Retry-After": str(after)}


def catalogue() -> list[CatalogueRow]:
    """Every code of every room imported so far, by status and code.

    Raises: AssertionError when two refusals share a code but not their meaning, or one says not what to do.
    """
    rows: dict[str, CatalogueRow] = {}
    waiting = list(LoyaltyError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "code" in kind.__dict__:
            assert "remedy" in kind.__dict__, f"{kind.__name__} does not say what to do about {kind.code}"
            row = CatalogueRow(kind.code, status_of(kind), kind.title, kind.retryable, kind.remedy)
            assert rows.setdefault(kind.code, row) == row, f"{kind.code} has two meanings"
    return sorted(rows.values(), key=lambda row: (row.status, row.code))
