"""The words of a replay: receipts in the form of `POST /v1/purchases`, where they go, and what stops a replay."""

from datetime import datetime

from msgspec import Struct

REPORTED_MAX = 20  # faults of a file that are told one by one


class Line(Struct, frozen=True, omit_defaults=True, gc=False):
    """One position of a receipt; `amount_minor` is what was paid for it, `quantity` a decimal text."""

    line_id: str
    sku: str
    quantity: str
    amount_minor: int
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tax_minor: int = 0
    discount_minor: int = 0


class Receipt(Struct, frozen=True, omit_defaults=True):
    """One purchase as the API wants it; encoded as JSON it is the body of the request."""

    source: str
    external_id: str
    occurred_at: datetime  # aware UTC
    money: str
    lines: tuple[Line, ...]
    member: dict[str, str] | None = None  # one identifier by its kind; None: a guest
    location: str | None = None
    channel: str | None = None
    till: str | None = None


class Redeeming(Struct, frozen=True):
    """So many points are paid with before each purchase of a member, once, where there are enough."""

    points_currency: str
    points: int


class ReplayError(Exception):
    """Why a replay cannot begin or go on; the text says where the fault is and what to do."""
