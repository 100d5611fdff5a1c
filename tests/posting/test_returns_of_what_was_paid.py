"""A purchase paid with held points goes back in parts: what was spent comes back by share, to its own lots."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.posting.commands import UseHold
from loyalty.programs.types import Rolling
from tests.posting.shop import NOW, Reply, Shop, cancel, give_back, hold, imported, line, purchase, shop

LINES = (
    line(600, line_id="1", quantity_milli=3_000),
    line(300, line_id="2", sku="BAG"),
    line(100, line_id="3", sku="CUP"),
)


def paid_with(points: int, **program: Any) -> Shop:
    """Ann had 60 points that end first and 50 that end last; a purchase of 10.00 was paid with some of them."""
    corner = shop(expiry=Rolling(days=90), **program)
    old, new = (NOW - timedelta(days=days) for days in (30, 1))
    corner.done(imported(60, "old", at=old), imported(50, "new", at=new))
    held = corner.done(hold(points))
    corner.done(purchase("R-1", lines=LINES, holds=(UseHold(UUID(held["id"])),)))
    return corner


def given_back(reply: Reply) -> int:
    return sum(one["points"] for one in reply["restored"])


def test_each_part_gives_back_its_share_and_all_parts_the_whole() -> None:
    corner = paid_with(101)
    parts = ({"1": 1_000}, {"2": 1_000}, {"1": 1_000}, {"1": 1_000, "3": 1_000})
    given = [given_back(corner.done(give_back(f"B-{n}", part))) for n, part in enumerate(parts)]
    assert (given, sum(given)) == ([20, 30, 20, 31], 101)
    assert corner.balance() == {"available": 110}


def test_what_was_taken_last_comes_back_first() -> None:
    corner = paid_with(100)
    corner.done(give_back("B-1", {"2": 1_000}))
    (restored,) = [entry for entry in corner.decisions[-1].entries if entry.kind == "restore"]
    lots = {lot.id: lot for held in corner.book.lots.values() for lot in held.values()}
    assert [(p.points, lots[p.lot_id].points) for p in restored.postings] == [(30, 50)]


def test_a_cancel_after_a_part_gives_back_the_rest() -> None:
    corner = paid_with(100)
    corner.done(give_back("B-1", {"1": 3_000}))
    assert given_back(corner.done(cancel("R-1"))) == 40
    assert corner.balance() == {"available": 110}


@pytest.mark.parametrize("order", ["123", "312", "231"])
def test_the_order_of_the_parts_does_not_matter(order: str) -> None:
    corner = paid_with(77)
    for name in order:
        corner.done(give_back(f"B-{name}", {name: 3_000 if name == "1" else 1_000}))
    assert corner.balance() == {"available": 110}
