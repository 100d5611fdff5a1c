"""A return as it is read, by itself and with its purchase."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.base.numbers import decimal
from loyalty.posting.answers import ReturnAnswer
from loyalty.posting.commands import PurchaseLine
from loyalty.posting.content import ReturnContent
from loyalty.posting.service import PostedReturn

_units = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


class ReturnedLine(Struct, frozen=True):
    line_id: str
    quantity: str


class ReturnView(Struct, frozen=True):
    """A return as we know it."""

    id: UUID
    source: str
    external_id: str
    purchase_id: UUID | None  # null: of a purchase never seen
    member_id: UUID | None
    reported_at: datetime | None  # the till's time; null once retention removed what it told
    recorded_at: datetime
    location: str | None
    till: str | None
    lines: tuple[ReturnedLine, ...] | None  # null when it is not known, or no longer, which they were
    first_answer: ReturnAnswer
    decision_id: UUID


def return_view(posted: PostedReturn, bought: Sequence[PurchaseLine]) -> ReturnView:
    """A return for reading; `bought` are its purchase's lines while they are kept, else none."""
    answer = msgspec.json.decode(posted.answer, type=ReturnAnswer)
    told = None
    if posted.content is not None:
        told = msgspec.json.decode(posted.content, type=ReturnContent)
    lines = None
    if bought and posted.lines is not None:
        lines = tuple(
            ReturnedLine(bought[n].line_id, decimal(min(units, bought[n].quantity_milli)))
            for n, units in _units(posted.lines)
        )
    elif told is not None and told.lines is not None and answer.purchase_id is None:
        lines = tuple(ReturnedLine(line.line_id, decimal(line.quantity_milli or 0)) for line in told.lines)
    return ReturnView(
        posted.id,
        posted.source,
        posted.external_id,
        answer.purchase_id,
        posted.member_id,
        None if told is None else told.occurred_at,
        posted.recorded_at,
        posted.location,
        posted.till,
        lines,
        answer,
        posted.decision_id,
    )


def units_gone(returns: Iterable[PostedReturn]) -> dict[int, int]:
    """Units that went back in all, by position of the line."""
    gone: dict[int, int] = {}
    for one in returns:
        for position, units in _units(one.lines or "[]"):
            gone[position] = gone.get(position, 0) + units
    return gone
