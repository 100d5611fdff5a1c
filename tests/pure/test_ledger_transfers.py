"""Transfers: out of lots, into child lots of another account."""

from itertools import pairwise

from loyalty.ledger.lots import choose
from loyalty.ledger.transfers import transfer
from tests.pure.books import Books, balance, day, figures


def test_points_move_to_child_lots_with_the_same_dates_and_vintage() -> None:
    giver, taker = Books(1), Books(2)
    parent = giver.credit(100, day(3), expires=day(90))
    parts = choose(giver.account, giver.lots, 60)
    out, into = transfer(
        giver.account, giver.lots, taker.account, parts, day(10), new_id=taker.id, decision_id=giver.id()
    )
    giver.post(out)
    taker.post(into)
    (child,) = into.lots
    assert figures(parent) == {"available": 40, "transferred": 60}
    assert figures(child) == {"available": 60, "transferred": -60}
    assert (child.parent_lot_id, child.expires_at, child.vintage_at) == (parent.id, day(90), day(3))
    assert child.arrived_at == day(10)


def test_the_pair_of_entries_cancels() -> None:
    giver, taker = Books(1), Books(2)
    giver.credit(50, expires=day(30))
    giver.credit(50)
    parts = choose(giver.account, giver.lots, 75)
    out, into = transfer(
        giver.account, giver.lots, taker.account, parts, day(10), new_id=taker.id, decision_id=giver.id()
    )
    giver.post(out)
    taker.post(into)
    assert sum(lot.transferred for lot in (*giver.lots.values(), *taker.lots.values())) == 0
    assert giver.account.available + taker.account.available == 100


def test_what_is_received_while_in_debt_repays_it() -> None:
    giver, taker = Books(1), Books(2)
    giver.credit(100)
    own = taker.credit(30)
    taker.spend(30, day(1))
    taker.revoke({own.id: 30}, day(2), negative="floor", floor=30)
    out, into = transfer(
        giver.account,
        giver.lots,
        taker.account,
        choose(giver.account, giver.lots, 100),
        day(3),
        new_id=taker.id,
        decision_id=giver.id(),
    )
    giver.post(out)
    taker.post(into)
    taker.settle(day(3))
    assert balance(taker.account) == (0, 70, 0, 0)


def test_a_child_lot_can_be_passed_on() -> None:
    people = [Books(n) for n in (1, 2, 3)]
    people[0].credit(10, expires=day(90))
    for giver, taker in pairwise(people):
        parts = choose(giver.account, giver.lots, 10)
        for side, draft in zip(
            (giver, taker),
            transfer(
                giver.account,
                giver.lots,
                taker.account,
                parts,
                day(1),
                new_id=taker.id,
                decision_id=taker.id(),
            ),
            strict=True,
        ):
            side.post(draft)
    (last,) = people[2].lots.values()
    assert (last.available, last.expires_at) == (10, day(90))
    assert figures(next(iter(people[1].lots.values()))) == {}
