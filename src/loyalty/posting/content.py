"""A purchase as the till told it: kept beside the books, so that retention can remove it without touching them.

The decision keeps a digest of it and what of each line could earn; with the content the facts are whole again.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from loyalty.base.canonical import Digests, canonical
from loyalty.conditions.types import Facts, LineFacts
from loyalty.posting.commands import (
    ImportLot,
    MemberRef,
    PurchaseLine,
    ReceiptName,
    RecordPurchase,
    ReturnLine,
    ReturnPurchase,
    Tender,
    UseHold,
)


class Content(Struct, frozen=True, omit_defaults=True):
    """Stored as JSON in `activities.content`; who bought is not in it."""

    money: str
    lines: tuple[PurchaseLine, ...]
    occurred_at: datetime  # as sent
    till: str | None = None
    location: str | None = None
    channel: str | None = None
    tenders: tuple[Tender, ...] = ()
    holds: tuple[UseHold, ...] = ()


def content_of(command: RecordPurchase) -> Content:
    return Content(
        money=command.money,
        lines=command.lines,
        occurred_at=command.occurred_at,
        till=command.till,
        location=command.location,
        channel=command.channel,
        tenders=command.tenders,
        holds=command.holds,
    )


def row_sha256(command: ImportLot, member_id: UUID) -> str:
    """Hex digest of a row without its secret's digests and without whatever names its member but the id."""
    row = replace(command, member=MemberRef(id=member_id), content_digests=())
    return sha256(canonical(row)).hexdigest()


def recognisable(command: ImportLot, digests: Digests) -> ImportLot:
    """The command with what the same row is known by when it comes again, from whichever door."""
    return replace(command, content_digests=digests.of(b"import", canonical(command)))


class ReturnContent(Struct, frozen=True, omit_defaults=True):
    """A return as the till told it, its purchase by id; by its receipt when that was never seen."""

    occurred_at: datetime
    purchase_id: UUID | None = None
    of: ReceiptName | None = None
    lines: tuple[ReturnLine, ...] | None = None  # None: all that was left
    money: str | None = None
    till: str | None = None
    location: str | None = None


def return_content_of(command: ReturnPurchase, purchase_id: UUID | None) -> ReturnContent:
    return ReturnContent(
        occurred_at=command.occurred_at,
        purchase_id=purchase_id,
        of=command.of if purchase_id is None else None,
        lines=command.lines,
        money=command.money,
        till=command.till,
        location=command.location,
    )


def facts_of(
    content: Content | RecordPurchase, occurred_at: datetime, basis: Mapping[str, tuple[int, ...]]
) -> Facts:
    """What the rules judge: the purchase at the instant it counts for, with what of each line may earn."""
    return Facts(
        occurred_at=occurred_at,
        lines=tuple(
            [
                LineFacts(line.sku, line.categories, line.tags, line.quantity_milli, line.amount_minor)
                for line in content.lines
            ]
        ),
        basis=dict(basis),
        channel=content.channel,
        location=content.location,
    )
