"""The demo's ready calls: one `curl` per main call, to be pasted as it stands, twice and after a restart too.

The API keys stay in header files that only their owner can read (`curl -H @file`), so no key is printed.
"""

import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loyalty.demo.state import directory


class Call(Struct, frozen=True):
    """One call: what it is for, and the line to paste."""

    what: str
    line: str


def header_file(home: Path, role: str) -> Path:
    """Where the headers of a role's key are."""
    return directory(home) / f"{role}.headers"


def headers(api_key: str) -> str:
    """What a header file holds."""
    return f"Authorization: Bearer {api_key}\nContent-Type: application/json\n"


def basket(external_id: str, at: datetime, member: str | None) -> dict[str, Any]:
    """The body of a purchase of two lines by a member (an external id), or by a guest."""
    return {
        "source": "demo-till",
        "external_id": external_id,
        "occurred_at": at.isoformat(timespec="seconds"),
        "money": "USD",
        "member": None if member is None else {"external": member},
        "lines": [
            {
                "line_id": "1",
                "sku": "COF-500",
                "categories": ["coffee"],
                "quantity": "2",
                "amount_minor": 1398,
            },
            {
                "line_id": "2",
                "sku": "BANANAS",
                "categories": ["produce"],
                "quantity": "1.25",
                "amount_minor": 249,
            },
        ],
    }


def ready_calls(
    base_url: str, home: Path, member: str, purchase_id: str, guest_id: str, at: datetime
) -> list[Call]:
    """The main calls about `member` (an external id): `purchase_id` is explained, the guest's `guest_id` claimed.

    `at` dates the purchase that one of them makes and others undo, and names its receipt: pasted again it is the
    same one.
    """

    def line(role: str, path: str, body: dict[str, Any] | None = None, key: str | None = None) -> str:
        parts = ["curl", "-sS", "-H", f"@{header_file(home, role)}"]
        if key is not None:
            parts += ["-H", f"Idempotency-Key: {key}"]
        parts += ["-w", r"\n", base_url + path]
        if body is not None:
            parts += ["-d", msgspec.json.encode(body).decode()]
        return shlex.join(parts)

    receipt = f"DEMO-{at:%Y%m%d-%H%M%S}"
    sale = basket(receipt, at, member)
    name = {field: sale[field] for field in ("source", "external_id")}
    points = {"member": {"external": member}, "points_currency": "points", "points": 20}
    back = {
        "source": sale["source"],
        "external_id": f"{receipt}-return",
        "occurred_at": sale["occurred_at"],
        "of": name,
        "lines": [{"line_id": "1", "quantity": "1"}],
    }
    who = f"/v1/members/identifier:external:{member}"
    return [
        Call("Who is at the till? Card, phone, e-mail or number in one field",
             line("pos", "/v1/members/lookup", {"query": member})),
        Call("What would this basket earn? Nothing is written",
             line("pos", "/v1/quotes", sale)),
        Call("The purchase itself; paste it again and the first answer comes back",
             line("pos", "/v1/purchases", sale, receipt)),
        Call("What the member holds, and what expires next", line("support", f"{who}/balances")),
        Call("The same points lot by lot, each with its last day", line("support", f"{who}/lots?limit=5")),
        Call("Its tier, what is missing to the next one, and what comes by itself", line("support", f"{who}/standing")),
        Call("The statement of the member, in words", line("support", f"{who}/entries?limit=5")),
        Call("Why that many points?", line("support", f"/v1/purchases/{purchase_id}/explanation")),
        Call("20 points pay 0.20 of a basket", line("pos", "/v1/redemptions", points, f"{receipt}-pay")),
        Call("20 more are set aside for an order, until it is paid or a quarter of an hour has passed",
             line("pos", "/v1/holds", points, f"{receipt}-hold")),
        Call("One of the two packets of the purchase above comes back, and its points",
             line("pos", "/v1/purchases/returns", back, f"{receipt}-return")),
        Call("Then the whole purchase is cancelled: what was left of its points is taken back",
             line("pos", "/v1/purchases/cancel", name, f"{receipt}-cancel")),
        Call("A guest bought the same a moment ago; now it is bought by this member",
             line("pos", f"/v1/purchases/{guest_id}/claim", {"member": {"external": member}}, f"{receipt}-claim")),
        Call("Everything that happened, for other systems", line("analyst", "/v1/engagement-events?limit=3")),
    ]  # fmt: skip
