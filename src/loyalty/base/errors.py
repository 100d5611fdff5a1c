"""The families of refusals. A concrete refusal lives in the `types.py` of the room that knows, with a
stable `code` and typed facts; how a family becomes an HTTP status stands once, in base/problems.py.
"""

from typing import Any, ClassVar


class Fault:
    """One fault of a body: where (JSON pointer), which (stable code) and a sentence for a person."""

    __slots__ = ("code", "detail", "pointer")

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        self.pointer = pointer
        self.code = code
        self.detail = detail


class LoyaltyError(Exception):
    """A refusal: a stable `code`, a fixed `title`, facts as fields; nothing was changed.

    `remedy` tells the caller in one sentence what to do; it stands in the catalogue, not in answers.
    `facts` are ids and figures only, never personal data: they may be stored in an answer.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    remedy: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, *, faults: tuple[Fault, ...] = (), **facts: Any) -> None:
        super().__init__(self.code)
        self.detail = detail or self.title
        self.faults = faults
        self.facts = facts


class Malformed(LoyaltyError):
    """The request cannot be read (400)."""


class Unauthenticated(LoyaltyError):
    """No valid credential (401)."""


class Forbidden(LoyaltyError):
    """A valid credential that may not do this (403)."""


class NotFound(LoyaltyError):
    """No such thing in this program; a foreign id is told the same (404)."""


class Conflict(LoyaltyError):
    """The state of things forbids it (409)."""


class Refused(LoyaltyError):
    """Readable, but wrong (422)."""


class MethodRefused(LoyaltyError):
    """The path exists, the method does not (405)."""


class TooLarge(LoyaltyError):
    """The body is larger than is read (413)."""


class MediaRefused(LoyaltyError):
    """The body is in a form that is not read (415)."""


class PreconditionFailed(LoyaltyError):
    """What is to be changed has changed since it was read (412)."""


class PreconditionMissing(LoyaltyError):
    """The change must say which state it was made for (428)."""


class TooMany(LoyaltyError):
    """More requests than the caller may send; later again (429)."""

    retryable = True
    retry_after_s: ClassVar[int] = 1


class Internal(LoyaltyError):
    """Our fault (500); the incident is logged under the request's id."""


class Busy(LoyaltyError):
    """Not now; the same request may be sent again (503)."""

    retryable = True
    retry_after_s: ClassVar[int] = 1


class LawBroken(AssertionError):
    """A law of docs/ledger.md does not hold: a bug or a tampered row, never an input's fault."""
