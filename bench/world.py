"""What every contender works on: the shop's basket of five lines, the fixed rules, ten thousand members.

The instant of all purchases is the last Wednesday evening in the program's zone, so that the same rules match
whenever the bench runs.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from asyncpg.pgproto.pgproto import UUID  # the kind that a server has, which reads its ids with the driver

RULES = Path(__file__).with_name("rules.json")
SOURCE = "store-12-pos"
CLIENT = UUID("01900000-0000-7000-8000-00000000000c")
PROGRAM = UUID("01900000-0000-7000-8000-0000000000a0")
BASELINE_PROGRAM = UUID("01900000-0000-7000-8000-0000000000b0")
SPENDING_PROGRAM = UUID("01900000-0000-7000-8000-0000000000a1")
SPENDING_BASELINE_PROGRAM = UUID("01900000-0000-7000-8000-0000000000b1")
SWEPT_PROGRAM = UUID("01900000-0000-7000-8000-0000000000a2")
SWEPT_COPY_PROGRAM = UUID("01900000-0000-7000-8000-0000000000b2")
BUYING_PROGRAM = UUID("01900000-0000-7000-8000-0000000000a3")
GROWN_PROGRAM = UUID("01900000-0000-7000-8000-0000000000a4")
FLOODING_PROGRAM = UUID("01900000-0000-7000-8000-0000000000a5")
MEMBERS = 10_000
BEFORE = 3  # purchases of each member before anything is measured
HOT = 8_000  # purchases on one account before another one is the only one: a member may hold no more than 10,000 lots
LEAST_KEPT = 100_000  # members of a great run: with fewer it is a try, and its figures are not kept

LINES: tuple[dict[str, Any], ...] = (
    {
        "line_id": "1",
        "sku": "COF-500",
        "categories": ["grocery", "coffee"],
        "quantity": "2",
        "amount_minor": 1398,
    },
    {
        "line_id": "2",
        "sku": "BRD-750",
        "categories": ["grocery", "bakery"],
        "quantity": "1",
        "amount_minor": 449,
    },
    {
        "line_id": "3",
        "sku": "APL-1000",
        "categories": ["fresh", "fruit"],
        "quantity": "1.285",
        "amount_minor": 383,
    },
    {
        "line_id": "4",
        "sku": "CLN-1500",
        "categories": ["household", "cleaning"],
        "quantity": "3",
        "amount_minor": 2997,
    },
    {
        "line_id": "5",
        "sku": "BAG",
        "categories": ["household"],
        "quantity": "1",
        "amount_minor": 25,
        "tags": ["no-points"],
    },
)
AMOUNT_MINOR = sum(line["amount_minor"] for line in LINES)


def only_member(before: int, members: int) -> int:
    """Whose purchase comes next when so many went before, all on one account."""
    return before // HOT % members


def card(number: int) -> str:
    """The card of member `number`, counted from 0."""
    return f"60355500{number:08d}"


@cache
def file() -> dict[str, Any]:
    return msgspec.json.decode(RULES.read_bytes())


def occurred_at(now: datetime) -> datetime:
    """Last Wednesday, 17:31:09 in the program's zone, at least a day before `now`."""
    local = (now - timedelta(days=1)).astimezone(ZoneInfo(file()["settings"]["zone"]))
    wednesday = local - timedelta(days=(local.isoweekday() - 3) % 7)
    at = wednesday.replace(hour=17, minute=31, second=9, microsecond=0)
    return (at if at <= local else at - timedelta(days=7)).astimezone(UTC)


def purchase_body(card: str, external_id: str, at: datetime) -> bytes:
    """The body of POST /v1/purchases as a till sends it."""
    return msgspec.json.encode(
        {
            "source": SOURCE,
            "till": "17",
            "external_id": external_id,
            "occurred_at": at,
            "member": {"card": card},
            "money": "EUR",
            "location": "store-12",
            "channel": "pos",
            "lines": LINES,
        }
    )
