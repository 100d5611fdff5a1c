"""Holds: points set aside for a sale, then taken, given back, or timed out.

Held points do not expire. What is given back after its lot expired expires in the same entry, unless the
hold has a grace. Source: docs/ledger.md, "Holds".
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from loyalty.ledger.lots import Parts, choose, ended, moves
from loyalty.ledger.types import (
    Account,
    Bucket,
    EntryDraft,
    EntryKind,
    Hold,
    HoldCaptured,
    HoldLapsed,
    HoldReleased,
    HoldState,
    InsufficientPoints,
    Lot,
    Posting,
    Redate,
)

H = TypeVar("H", bound=Hold)

_ENDED = {
    HoldState.CAPTURED: HoldCaptured,
    HoldState.RELEASED: HoldReleased,
    HoldState.LAPSED: HoldLapsed,
}


def hold(
    account: Account,
    lots: Mapping[UUID, Lot],
    points: int,
    occurred_at: datetime,
    *,
    hold_id: UUID,
    lapses_at: datetime,
    good_until: datetime | None = None,
) -> tuple[Hold, EntryDraft]:
    """Set `points` aside in spending order: available → held. Post the draft under the id of the hold.

    Raises: InsufficientPoints.
    """
    parts = choose(account, lots, points)
    draft = EntryDraft(account.id, EntryKind.HOLD, occurred_at, moves(parts, Bucket.AVAILABLE, Bucket.HELD))
    return Hold(hold_id, account.id, occurred_at, lapses_at, parts, good_until), draft


def refuse_ended(hold: Hold) -> None:
    """Raises: HoldCaptured, HoldReleased, HoldLapsed for what is over, with the instant at which it ended."""
    if hold.state is not HoldState.OPEN:
        raise _ENDED[hold.state](hold_id=hold.id, state=hold.state, ended_at=hold.ended_at)


def capture(hold: H, points: int, occurred_at: datetime, cause: str | None = None) -> tuple[H, EntryDraft]:
    """Take `points` of a hold for good, in the order they were set aside; the rest stays held.

    Expired meanwhile or not, they count as taken when they were held.
    Raises: InsufficientPoints when the hold has fewer.
    """
    taken, left = _split(hold, points)
    postings = moves(taken, Bucket.HELD, Bucket.REDEEMED)
    draft = EntryDraft(
        hold.account_id, EntryKind.CAPTURE, occurred_at, postings, cause=cause, corrects_entry_id=hold.id
    )
    after = msgspec.structs.replace(hold, parts=left, captured=hold.captured + points)
    if not left:
        after.state, after.ended_at = HoldState.CAPTURED, occurred_at
    return after, draft


def release(
    account: Account, lots: Mapping[UUID, Lot], hold: H, occurred_at: datetime, cause: str | None = None
) -> tuple[H, EntryDraft]:
    """Give back what is left of a hold: held → available. Settle afterwards."""
    draft = _give_back(account, lots, hold, occurred_at, EntryKind.RELEASE, cause)
    after = msgspec.structs.replace(hold, parts=(), state=HoldState.RELEASED, ended_at=occurred_at)
    return after, draft


def lapse(account: Account, lots: Mapping[UUID, Lot], hold: Hold) -> EntryDraft:
    """Give back what is left of a hold whose time is over, and end it."""
    draft = _give_back(account, lots, hold, hold.lapses_at, EntryKind.LAPSE)
    hold.parts, hold.state, hold.ended_at = (), HoldState.LAPSED, hold.lapses_at
    return draft


def _give_back(
    account: Account,
    lots: Mapping[UUID, Lot],
    hold: Hold,
    occurred_at: datetime,
    kind: EntryKind,
    cause: str | None = None,
) -> EntryDraft:
    postings: list[Posting] = []
    redates: list[Redate] = []
    grace = hold.good_until is not None and hold.good_until > occurred_at
    for lot_id, points in hold.parts:
        lot = lots[lot_id]
        postings.append(Posting(lot_id, points, Bucket.HELD, Bucket.AVAILABLE))
        end = account.end_of(lot)
        if end is None or end > occurred_at:
            continue
        if grace:
            redates.append(
                Redate(lot_id, lot.activates_at, lot.expires_at, lot.activates_at, hold.good_until)
            )
        else:
            postings.append(Posting(lot_id, points, Bucket.AVAILABLE, Bucket.EXPIRED))
            redates.extend(ended(account, (lot,)))
    return EntryDraft(
        account.id,
        kind,
        occurred_at,
        tuple(postings),
        cause=cause,
        corrects_entry_id=hold.id,
        redates=tuple(redates),
    )


def _split(hold: Hold, points: int) -> tuple[Parts, Parts]:
    held = hold.held
    if points > held:
        raise InsufficientPoints("The hold has fewer points than wanted.", wanted=points, available=held)
    taken: list[tuple[UUID, int]] = []
    left: list[tuple[UUID, int]] = []
    for lot_id, part in hold.parts:
        use = min(part, points)
        points -= use
        if use:
            taken.append((lot_id, use))
        if part > use:
            left.append((lot_id, part - use))
    return tuple(taken), tuple(left)
