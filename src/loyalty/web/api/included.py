"""What a purchase is read together with, so that a till asks once: all of one snapshot with the purchase itself.

Each part is what a call of its own answers, and needs that call's permission.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.ledger.types import Balances
from loyalty.posting import service as posting
from loyalty.posting.answers import PurchaseAnswer
from loyalty.posting.commands import MemberRef
from loyalty.posting.detail import Detail
from loyalty.posting.explain import Explanation
from loyalty.web.api.ledger import balances_as_of, explained
from loyalty.web.edge import Call


class Include(StrEnum):
    EXPLANATION = "explanation"  # why it earned what it earned
    ENTRIES = "entries"  # what it gave and what paid for it, in the ledger
    BALANCES = "balances"  # what its member holds now


Includes = Annotated[
    tuple[Include, ...],
    Meta(
        min_length=1,
        description="Separated by commas. `explanation` and `entries` need a role that reads the ledger.",
        extra_json_schema={"uniqueItems": True},
    ),
]

_NEEDED: Mapping[Include, Permission] = {
    Include.EXPLANATION: Permission.LEDGER_READ,
    Include.ENTRIES: Permission.LEDGER_READ,
    Include.BALANCES: Permission.MEMBER_READ,
}


@dataclass(frozen=True)
class Included:
    """The parts that were asked for; the others are None, and so are the balances of nobody."""

    explanation: Explanation | None = None
    entries: tuple[posting.PostedEntry, ...] | None = None
    balances: Balances | None = None


def refuse_forbidden(call: Call, wanted: tuple[Include, ...]) -> None:
    """Raises: NotAllowed unless the caller may read every part."""
    for word in wanted:
        call.principal.require(_NEEDED[word])


async def included(
    call: Call, connection: AsyncConnection, posted: posting.PostedPurchase, wanted: tuple[Include, ...]
) -> Included:
    """What is asked for of a purchase."""
    explanation = entries = balances = None
    if Include.EXPLANATION in wanted or Include.ENTRIES in wanted:
        decision, why = await explained(call, connection, posted)
        explanation = why if Include.EXPLANATION in wanted else None
        if Include.ENTRIES in wanted:
            entries = await _entries(call, connection, posted, decision)
    if Include.BALANCES in wanted and posted.member_id is not None:
        balances = await balances_as_of(call, connection, MemberRef(id=posted.member_id))
    return Included(explanation, entries, balances)


async def _entries(
    call: Call,
    connection: AsyncConnection,
    posted: posting.PostedPurchase,
    decision: posting.PostedDecision,
) -> tuple[posting.PostedEntry, ...]:
    """The records of what paid for a purchase and of what it, or its claim, gave."""
    if posted.occurred_at is None:
        return ()  # a cancel came first: there never was a purchase
    paid = msgspec.json.decode(decision.detail, type=Detail).captured
    gave = msgspec.json.decode(decision.answer, type=PurchaseAnswer).earned
    cells = call.runtime.settings.cells
    found = [await posting.entry(connection, call.program_id, one.entry_id, cells) for one in (*paid, *gave)]
    return tuple(entry for entry in found if entry is not None)
