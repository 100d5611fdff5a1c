"""A member's PIN before points go: asked for above so many, proven, counted when wrong, locked, and never kept."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.ledger.verify import verify
from loyalty.members.pins import fits, hashed
from loyalty.posting.commands import Command, EraseMember, SetPin
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PayPolicy, SpendingLimits, SpendingPin, Transfers
from tests.conftest import Database
from tests.posting.live import count, open_shop
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    Reply,
    Shop,
    adjust,
    capture,
    card,
    give,
    hold,
    hold_reward,
    pay,
    purchase,
    redeem,
    reward,
    shop,
    with_pin,
)

SPENDING: list[Command] = [redeem(), pay(200), hold(200), hold_reward(), give(200)]


def set_pin(of: str = ANN) -> SetPin:
    return SetPin(card(of), "scrypt$what$it$is")


def corner(
    *, pin: bool = True, points: int = 1000, more: dict[str, Any] | None = None, **policy: Any
) -> Shop:
    """A shop that asks for the PIN above 100 points; Ann has one, and a thousand points."""
    asked: dict[str, Any] = {"above": 100, "locked_minutes": 30} | policy
    asks = SpendingPin(**asked)
    made = shop(
        rewards=(reward(200),),
        members=(ANN, BOB),
        pay=PayPolicy(points=1, each_minor=1),
        policies={"spending_pin": asks, "transfers": Transfers(enabled=True)} | (more or {}),
    )
    made.done(adjust(points))
    if pin:
        made.done(set_pin())
    return made


def wrong(made: Shop, times: int = 1, command: Command | None = None) -> Reply:
    """The answer to the last of some wrong PINs."""
    replies = [made.send(with_pin(command or pay(200), right=False)) for _ in range(times)]
    return replies[-1]


@pytest.mark.parametrize("command", SPENDING, ids=lambda command: type(command).__name__)
def test_whatever_takes_many_points_needs_the_pin(command: Command) -> None:
    made = corner()
    refused = made.send(command)
    assert refused.refused == (403, "pin_required")
    assert (refused["points"], refused["above"], refused["pin_set"]) == (200, 100, True)
    assert wrong(made, command=command).refused == (403, "pin_wrong")
    assert made.balance() == {"available": 1000}
    made.done(with_pin(command))


def test_small_sums_need_none_and_what_program_and_role_do_not_ask_for_neither() -> None:
    made = corner()
    made.done(pay(100))
    assert made.send(pay(101), role="support").status == 201
    for off in (corner(above=None), corner(roles=("support",))):
        off.done(pay(900))


def test_a_member_without_a_pin_cannot_spend_many_points() -> None:
    made = corner(pin=False)
    refused = made.send(pay(200))
    assert (refused.refused, refused["pin_set"]) == ((403, "pin_required"), False)
    assert made.send(with_pin(pay(200))).refused == (403, "pin_required")
    made.done(with_pin(pay(50)), set_pin(), with_pin(pay(200)))


def test_wrong_ones_are_counted_and_the_last_locks_it_for_a_time() -> None:
    made = corner(attempts=3)
    left = [wrong(made) for _ in range(3)]
    assert [reply["attempts_left"] for reply in left] == [2, 1, 0]
    assert [reply["until"] for reply in left] == [None, None, "2026-11-20T16:00:00Z"]
    locked = made.send(with_pin(pay(200)))
    assert (locked.refused, locked["until"]) == ((403, "pin_locked"), "2026-11-20T16:00:00Z")
    assert made.send(pay(200)).refused == (403, "pin_locked")
    made.done(pay(50))
    made.now = NOW + timedelta(minutes=30)
    assert wrong(made)["attempts_left"] == 2, "after that it begins anew"
    made.done(with_pin(pay(200)))


def test_a_right_one_forgets_the_wrong_ones_before_it() -> None:
    made = corner(attempts=2)
    for _ in range(3):
        assert wrong(made)["attempts_left"] == 1
        made.done(with_pin(pay(101)))


def test_a_wrong_one_that_nobody_asked_for_counts_too() -> None:
    made = corner(attempts=1)
    assert wrong(made, command=pay(1)).refused == (403, "pin_wrong")
    assert made.send(with_pin(pay(1))).refused == (403, "pin_locked")


def test_a_lock_is_told_and_stands_in_the_audit_log_and_a_wrong_pin_alone_does_not() -> None:
    made = corner(attempts=2)
    wrong(made)
    before = len(made.events), len(made.book.audit)
    wrong(made)
    assert (len(made.events), len(made.book.audit)) == (before[0] + 1, before[1] + 1)
    assert made.events[-1] == ("loyalty.pin.locked", {"until": "2026-11-20T16:00:00Z"})
    (_, line) = made.book.audit[-1]
    assert (line.action, line.outcome) == ("pin.lock", "done")
    assert [decision.kind for decision in made.decisions[-2:]] == ["wrong_pin", "wrong_pin"]


def test_the_pin_is_asked_for_last_so_that_nobody_types_one_in_vain() -> None:
    made = corner(points=150, more={"spending_limits": SpendingLimits(member_day_max=140)})
    assert wrong(made).refused == (409, "insufficient_points")
    assert wrong(made, command=pay(150)).refused == (409, "spending_limit")
    assert wrong(made, command=pay(120))["attempts_left"] == 2


def test_one_that_was_changed_meanwhile_proves_nothing() -> None:
    made = corner(attempts=1)
    made.done(set_pin())
    for right in (True, False):
        assert made.send(with_pin(pay(200), right=right)).refused == (409, "pin_changed")
    made.done(with_pin(pay(200), version=2))


def test_a_new_pin_ends_a_lock() -> None:
    made = corner(attempts=1)
    wrong(made)
    made.done(set_pin(), with_pin(pay(200), version=2))


def test_the_same_request_again_is_answered_again_and_counts_once() -> None:
    made = corner(attempts=2)
    first = made.send(with_pin(pay(200), right=False), "k")
    again = made.send(with_pin(pay(200), right=False), "k")
    assert (again.raw, again.replayed) == (first.raw, True)
    assert wrong(made)["attempts_left"] == 0


def test_what_was_set_aside_with_the_pin_needs_it_no_more() -> None:
    made = corner()
    for asked in (hold(300), hold_reward()):
        held = made.done(with_pin(asked))
        made.done(redeem(hold_id=held["id"]))
    made.done(capture(made.done(with_pin(hold(300)))["id"]), purchase())


def test_what_is_told_of_a_pin_says_nothing_of_it() -> None:
    made = corner()
    wrong(made)
    told = str([(decision.detail, decision.answer) for decision in made.decisions]) + str(made.events)
    assert "what$it$is" not in told
    assert ("loyalty.pin.set", {}) in made.events


async def test_a_pin_is_kept_in_a_row_of_its_own_and_goes_with_the_member(
    runtime: Runtime, database: Database
) -> None:
    policies = {"spending_pin": SpendingPin(above=100, attempts=2)}
    live = await open_shop(runtime, pay=PayPolicy(points=1, each_minor=1), policies=policies)
    await live.done(adjust(1000), set_pin())
    replies = [await live.send(with_pin(pay(200), right=False)) for _ in range(3)]
    assert [reply.refused[1] for reply in replies] == ["pin_wrong", "pin_wrong", "pin_locked"]
    assert await count(database, "member_pins", live.id, "locked_until IS NOT NULL AND failed = 0") == 1
    assert await count(database, "audit_log", live.id, "action = 'pin.lock'") == 1
    assert await count(database, "engagement_events", live.id, "type = 'loyalty.pin.locked'") == 1
    await live.done(set_pin(), with_pin(pay(200), version=2))
    assert (await live.send(EraseMember(card(ANN)))).status == 200
    assert await count(database, "member_pins", live.id) == 0
    assert (await verify(runtime.pool.acquire, live.id)).intact


def test_a_pin_is_kept_slowly_hashed_and_salted() -> None:
    kept = hashed("4711", b"a salt of its own")
    assert kept != hashed("4711", b"another salt    ")
    assert "4711" not in kept
    assert kept.startswith("scrypt$14,8,1$")
    assert fits("4711", kept)
    assert not fits("4712", kept)
