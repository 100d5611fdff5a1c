"""Lots of a member get the ends of a changed policy: in one entry, once, and only while it is that policy."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from loyalty.posting.commands import Publish, RedateLots
from loyalty.programs.types import NeverExpires, Rolling, Transfers
from loyalty.rules.types import Fixed, Rule, Terms
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    Shop,
    ago,
    capped,
    carded,
    give,
    hold,
    imported,
    program,
    purchase,
    reinstate,
    release,
    shop,
)

DAY = timedelta(days=1)
MONTH, QUARTER = Rolling(days=30), Rolling(days=90)


def redate(at: Shop, number: int | None = None, of: str = ANN) -> RedateLots:
    owner = at.book.identifiers[carded(of)]
    assert owner is not None
    return RedateLots(owner, "points", number or at.book.history.now.number)


def ends(at: Shop) -> list[str]:
    lots = [lot for mine in at.book.lots.values() for lot in mine.values() if lot.open]
    return sorted("never" if lot.expires_at is None else f"{lot.expires_at:%m-%d}" for lot in lots)


def changed(*, expiry: Any = QUARTER, **more: Any) -> Publish:
    return Publish(program(expiry=expiry, **more))


def test_every_lot_that_the_policy_dated_gets_its_new_end_in_one_entry() -> None:
    made = shop(expiry=MONTH)
    made.done(purchase("R-1", at=ago(days=3)), purchase("R-2"), imported(5, expires_at=NOW + DAY))
    assert ends(made) == ["11-21", "12-16", "12-19"]
    made.done(changed())
    reply = made.done(redate(made))
    assert (reply["lots"], reply["points"], reply["expired"]) == (2, 20, 0)
    assert ends(made) == ["02-14", "02-17", "11-21"]
    (entry,) = made.decisions[-1].entries
    assert (entry.kind.value, len(entry.redates), entry.cause) == ("redate", 2, "policy_changed")
    assert made.events[-1][0] == "loyalty.points.redated"
    assert made.events[-1][1]["lots"] == 2
    assert made.send(redate(made)).refused == (409, "nothing_due")


def test_what_is_over_by_its_new_end_expires_at_once_and_held_points_when_they_come_back() -> None:
    made = shop(expiry=QUARTER)
    made.done(purchase(at=ago(days=29), amount_minor=10_000), purchase("R-2", amount_minor=500))
    held = made.done(hold(40))["id"]
    made.done(changed(expiry=Rolling(days=20)))
    reply = made.done(redate(made))
    assert (reply["points"], reply["expired"], reply.balance) == (105, 60, {"available": 5, "held": 40})
    assert [entry.kind.value for entry in made.decisions[-1].entries] == ["redate", "expire"]
    assert made.decisions[-1].entries[1].occurred_at == NOW
    assert made.done(release(held)).balance == {"available": 5}


def test_reinstated_points_and_those_of_the_new_policy_stay_as_they_are() -> None:
    made = shop(expiry=MONTH, reinstate_days=10)
    made.done(imported(5, at=ago(days=31)), reinstate(), changed(), purchase())
    before = ends(made)
    assert made.send(redate(made)).refused == (409, "nothing_due")
    assert ends(made) == before


def test_points_that_an_older_policy_would_have_dated_alike_keep_the_dates_that_a_rule_gave_them() -> None:
    """A bonus of 90 days, once the policy's too, but not since: the policy never dated it."""
    bonus = Rule("bonus", "a bonus", "points", Fixed(30), terms=Terms(QUARTER))
    made = shop(expiry=QUARTER)
    made.done(changed(expiry=MONTH))
    made.done(Publish(program(BASE, bonus, expiry=MONTH)), purchase())
    made.done(changed(expiry=NeverExpires()))
    assert made.done(redate(made))["points"] == 10
    assert ends(made) == ["02-17", "never"]


def test_points_that_were_given_away_are_redated_with_the_taker() -> None:
    free = {"transfers": Transfers(enabled=True)}
    made = shop(members=(ANN, BOB), expiry=MONTH, policies=free)
    made.done(purchase(), give(4), changed(policies=free))
    assert made.done(redate(made))["points"] == 6
    assert made.done(redate(made, of=BOB))["points"] == 4
    assert ends(made) == ["02-17", "02-17"]


def test_a_plan_of_a_policy_that_was_changed_again_is_refused() -> None:
    made = shop(expiry=MONTH)
    made.done(purchase(), changed(), changed(expiry=NeverExpires()))
    refused = made.send(redate(made, 2))
    assert (refused.refused, refused["configuration"]) == ((409, "redate_plan_stale"), 3)
    made.done(redate(made))
    assert ends(made) == ["never"]
    # Other rules are no other policy.
    made.done(changed(), Publish(program(capped(5), expiry=QUARTER)))
    assert made.done(redate(made, 4))["points"] == 10
    assert ends(made) == ["02-17"]


def test_of_whoever_is_unknown_or_never_had_points_nothing_is_due() -> None:
    made = shop(members=(ANN, BOB), expiry=MONTH)
    made.done(changed())
    assert made.send(redate(made, of=BOB)).refused == (409, "nothing_due")
    assert made.send(RedateLots(UUID(int=5), "points", 2)).refused == (404, "member_not_found")
