"""Holds: points set aside for a sale, and everything that may become of them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import ChangeMember, EraseMember, UseHold
from loyalty.posting.detail import Detail
from loyalty.programs.types import PointsCurrency, Rolling
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    Shop,
    adjust,
    cancel,
    capture,
    card,
    enrol,
    extend,
    hold,
    imported,
    purchase,
    release,
    shop,
)

NOBODYS = str(UUID(int=7))


def rich(points: int = 100, **program_of: Any) -> Shop:
    """Ann with some points."""
    corner = shop(**program_of)
    corner.done(adjust(points))
    return corner


def pass_time(corner: Shop, **time: float) -> None:
    corner.now = corner.now + timedelta(**time)


def use(hold_id: str, points: int | None = None) -> UseHold:
    return UseHold(UUID(hold_id), points)


def test_a_hold_sets_points_aside_and_says_until_when() -> None:
    corner = rich()
    reply = corner.send(hold(60, reference="order-1"))
    assert (reply.status, reply["state"], reply["points"], reply["held"]) == (201, "open", 60, 60)
    assert reply["lapses_at"] == "2026-11-20T15:45:00Z", "a quarter of an hour, as the program says"
    assert reply.balance == {"available": 40, "held": 60}
    assert corner.send(adjust(-41)).refused == (409, "insufficient_points")
    kind, data = corner.events[-1]
    assert (kind, data["hold_id"], data["points"]) == ("loyalty.points.held", reply["id"], 60)
    assert [(one["kind"], one["available"], one["held"]) for one in data["entries"]] == [("hold", -60, 60)]


def test_the_caller_or_the_program_says_how_long() -> None:
    corner = rich(policies={"hold_minutes": 5, "hold_days_max": 1})
    assert corner.send(hold(1))["lapses_at"] == "2026-11-20T15:35:00Z"
    assert corner.send(hold(1, minutes=1_440))["lapses_at"] == "2026-11-21T15:30:00Z"
    reply = corner.send(hold(1, minutes=1_441))
    assert (reply.refused, reply["lapses_at_max"]) == ((422, "hold_too_long"), "2026-11-21T15:30:00Z")


def test_what_is_not_there_cannot_be_held() -> None:
    corner = rich()
    corner.done(hold(60))
    reply = corner.send(hold(41))
    assert (reply.refused, reply["wanted"], reply["available"]) == ((409, "insufficient_points"), 41, 40)
    assert corner.send(hold(1, of=BOB)).refused == (404, "member_not_found")
    assert corner.send(hold(1, currency="stars")).refused == (422, "points_currency_unknown")


def test_points_that_are_only_counted_are_not_held() -> None:
    corner = shop(currencies=(PointsCurrency("status", "status points", spendable=False),))
    assert corner.send(hold(1, currency="status")).refused == (422, "points_not_spendable")


def test_several_holds_stand_side_by_side() -> None:
    corner = rich()
    first, second = corner.send(hold(30)), corner.send(hold(50))
    assert first["id"] != second["id"]
    assert corner.send(release(first["id"])).balance == {"available": 50, "held": 50}
    assert corner.send(capture(second["id"])).balance == {"available": 50}


def test_a_capture_takes_the_points_for_good() -> None:
    corner = rich()
    held = corner.send(hold(60))
    reply = corner.send(capture(held["id"]))
    assert (reply.status, reply["state"], reply["taken"], reply["captured"], reply["held"]) == (
        200, "captured", 60, 60, 0,
    )  # fmt: skip
    assert reply.balance == {"available": 40}
    again = corner.send(capture(held["id"]))
    assert (again.refused, again["state"], again["ended_at"]) == (
        (409, "hold_captured"), "captured", "2026-11-20T15:30:00Z",
    )  # fmt: skip


def test_of_a_part_that_is_captured_the_rest_stays_held() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    reply = corner.send(capture(id, 25))
    assert (reply["state"], reply["held"], reply.balance) == ("open", 35, {"available": 40, "held": 35})
    assert corner.send(capture(id, 36)).refused == (409, "insufficient_points")
    reply = corner.send(capture(id, 35))
    assert (reply["state"], reply["captured"], reply.balance) == ("captured", 60, {"available": 40})


def test_or_it_goes_back_if_the_caller_says_so() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    reply = corner.send(capture(id, 25, release_rest=True))
    assert (reply["state"], reply["taken"], reply["released"], reply["held"]) == ("captured", 25, 35, 0)
    assert reply.balance == {"available": 75}
    assert corner.send(capture(id)).refused == (409, "hold_captured")


def test_more_than_is_held_cannot_be_captured() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    reply = corner.send(capture(id, 61))
    assert (reply.refused, reply["wanted"], reply["available"]) == ((409, "insufficient_points"), 61, 60)
    assert corner.balance() == {"available": 40, "held": 60}


def test_to_release_twice_is_to_release_once() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    first = corner.send(release(id))
    assert (first.status, first["state"], first["released"], first.balance) == (
        200, "released", 60, {"available": 100},
    )  # fmt: skip
    second = corner.send(release(id))
    assert (second.status, second["state"], second["released"], second.balance) == (
        200, "released", 0, {"available": 100},
    )  # fmt: skip
    assert corner.entries == ["adjust_credit", "hold", "release"]
    assert corner.send(capture(id)).refused == (409, "hold_released")
    assert corner.send(extend(id)).refused == (409, "hold_released")


def test_a_hold_lapses_by_itself_at_its_deadline_and_not_before() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    corner.now = NOW + timedelta(minutes=15) - timedelta(microseconds=1)
    assert corner.send(adjust(-41)).refused == (409, "insufficient_points")
    corner.now = NOW + timedelta(minutes=15)
    assert corner.send(adjust(-41)).balance == {"available": 59}
    assert corner.entries == ["adjust_credit", "hold", "lapse", "adjust_debit"]
    assert corner.send(release(id))["state"] == "lapsed"


def test_a_hold_that_ran_out_is_told_as_such_whether_anybody_noticed_or_not() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    pass_time(corner, hours=3)
    for command in (capture(id), extend(id, 600)):
        reply = corner.send(command)
        assert (reply.refused, reply["state"], reply["ended_at"]) == (
            (409, "hold_lapsed"), "lapsed", "2026-11-20T15:45:00Z",
        )  # fmt: skip
    assert corner.entries == ["adjust_credit", "hold"], "a refusal writes nothing"
    reply = corner.send(release(id))
    assert (reply.status, reply["state"], reply["released"], reply.balance) == (
        200, "lapsed", 60, {"available": 100},
    )  # fmt: skip
    assert reply["ended_at"] == "2026-11-20T15:45:00Z"
    assert corner.entries == ["adjust_credit", "hold", "lapse"]


def test_an_extension_puts_the_deadline_off_and_never_forward() -> None:
    corner = rich(policies={"hold_days_max": 1})
    id = corner.send(hold(60))["id"]
    pass_time(corner, minutes=10)
    assert corner.send(extend(id))["lapses_at"] == "2026-11-20T15:55:00Z"
    assert corner.send(extend(id, 1))["lapses_at"] == "2026-11-20T15:55:00Z"
    assert corner.events[-1][0] == "loyalty.points.hold_extended", "the second changed nothing"
    assert len([kind for kind, _ in corner.events if kind == "loyalty.points.hold_extended"]) == 1
    corner.now = NOW + timedelta(minutes=20)
    assert corner.send(capture(id, 10)).status == 200, "the first deadline counts no more"
    reply = corner.send(extend(id, 1_440))
    assert (reply.refused, reply["lapses_at_max"]) == ((422, "hold_too_long"), "2026-11-21T15:30:00Z")
    corner.now = NOW + timedelta(minutes=25)
    assert corner.send(capture(id)).refused == (409, "hold_lapsed")


def test_after_an_extension_nothing_is_due_at_the_first_deadline() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    corner.done(extend(id, 60))
    owner = corner.book.identifiers[card(ANN).identifier]  # type: ignore[index]
    assert corner.book.accounts[owner, "points"].next_due_at == NOW + timedelta(hours=1)  # type: ignore[index]


def test_what_does_not_exist_cannot_be_touched() -> None:
    corner = rich()
    for command in (extend(NOBODYS), capture(NOBODYS), release(NOBODYS)):
        assert corner.send(command).refused == (404, "hold_not_found")


def test_the_blocked_spend_nothing_but_have_their_points_back() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    for command in (hold(1), capture(id), extend(id)):
        assert corner.send(command).refused == (409, "member_blocked")
    assert corner.send(release(id)).balance == {"available": 100}


def test_a_till_sees_the_holds_of_its_own_locations() -> None:
    corner = rich()
    north = corner.send(hold(10, location="north"), bound_to=("north",))["id"]
    anywhere = corner.send(hold(10))["id"]
    for command in (extend(north), capture(north), release(north)):
        assert corner.send(command, bound_to=("south",)).refused == (404, "hold_not_found")
    bought = purchase(holds=(use(north),))
    assert corner.send(bought, bound_to=("south",)).refused == (404, "hold_not_found")
    assert corner.send(capture(north), bound_to=("north",)).status == 200
    assert corner.send(capture(anywhere), bound_to=("south",)).status == 200


def test_an_erased_member_has_no_holds() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    corner.done(EraseMember(card(ANN)))
    assert corner.entries == ["adjust_credit", "hold", "release", "expire"]
    assert corner.send(capture(id)).refused == (409, "hold_released")
    assert corner.send(release(id)).balance == {}


# --- over the end of a lot ------------------------------------------------------------------------------------


def short_lived(grace: int = 0, **program: Any) -> tuple[Shop, str]:
    """100 points that are good for two days more, 60 of them held for three days."""
    corner = shop(expiry=Rolling(days=30), hold_grace_days=grace, **program)
    corner.done(imported(100, at=NOW - timedelta(days=28)))
    return corner, corner.send(hold(60, minutes=3 * 1_440))["id"]


def test_held_points_do_not_expire_and_may_be_captured_after_their_end() -> None:
    corner, id = short_lived()
    pass_time(corner, days=2, hours=12)
    reply = corner.send(capture(id, 50))
    assert (reply["taken"], reply.balance) == (50, {"held": 10})
    assert corner.entries == ["import", "hold", "expire", "capture"]


def test_what_comes_back_after_its_end_expires_in_the_same_entry() -> None:
    corner, id = short_lived()
    pass_time(corner, days=2, hours=12)
    reply = corner.send(release(id))
    assert (reply["released"], reply["expired"], reply.balance) == (0, 60, {})
    assert corner.entries == ["import", "hold", "expire", "release"]


def test_unless_the_program_grants_some_days_of_grace() -> None:
    corner, id = short_lived(grace=2)
    pass_time(corner, days=2, hours=12)
    reply = corner.send(release(id))
    assert (reply["released"], reply["expired"], reply.balance) == (60, 0, {"available": 60})
    corner.now = NOW + timedelta(days=5, hours=7)  # the second day after that of the deadline, in Berlin
    assert corner.send(adjust(-1)).balance == {"available": 59}
    pass_time(corner, hours=2)
    assert corner.send(purchase("R-9", 0)).balance == {}


def test_a_lapse_gives_the_same_grace() -> None:
    corner, _ = short_lived(grace=2)
    pass_time(corner, days=4)
    assert corner.send(purchase("R-9", 0)).balance == {"available": 60}
    assert corner.entries == ["import", "hold", "expire", "lapse"]


def test_what_comes_back_pays_what_is_owed_first() -> None:
    corner = shop()
    corner.done(purchase("R-1", 6_000))
    id = corner.send(hold(60))["id"]
    corner.done(cancel("R-1"))
    assert corner.balance() == {"held": 60, "debt": 60}
    assert corner.send(release(id)).balance == {}
    assert corner.entries == ["earn", "hold", "revoke", "release", "repay"]


# --- in a purchase --------------------------------------------------------------------------------------------


def test_a_purchase_captures_the_holds_it_names() -> None:
    corner = rich(300)
    first, second = corner.send(hold(200))["id"], corner.send(hold(50))["id"]
    reply = corner.send(purchase("R-1", holds=(use(first, 120), use(second))))
    assert reply["captured"] == [
        {"hold_id": first, "points_currency": "points", "points": 120, "released": 80, "expired": 0},
        {"hold_id": second, "points_currency": "points", "points": 50, "released": 0, "expired": 0},
    ]
    assert (reply.earned, reply.balance) == (10, {"available": 140})
    assert reply["receipt"]["lines"][:2] == ["120 points spent", "50 points spent"]
    assert corner.send(release(first))["state"] == "captured"
    assert corner.entries == ["adjust_credit", "hold", "hold", "capture", "release", "capture", "earn"]
    assert corner.events[-1][1]["captured"][0]["points"] == 120


def test_its_decision_keeps_which_points_of_which_lots_it_took() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(imported(30, "a", at=NOW - timedelta(days=2)), imported(30, "b"))
    id = corner.send(hold(50))["id"]
    corner.done(purchase("R-1", holds=(use(id, 40),)))
    (kept,) = msgspec.json.decode(corner.decisions[-1].detail, type=Detail).captured
    assert ([points for _, points in kept.parts], str(kept.hold_id)) == ([30, 10], id)


@pytest.mark.parametrize(
    "what", ["unknown", "lapsed", "released", "captured", "too much", "another's", "nobody's"]
)
def test_a_hold_that_cannot_pay_is_told_with_its_place_and_nothing_is_bought(what: str) -> None:
    corner = rich(300)
    corner.done(purchase("R-0"))
    good, bad = corner.send(hold(10, minutes=60))["id"], corner.send(hold(10, minutes=10))["id"]
    code, status, member = f"hold_{what}", 409, ANN
    match what:
        case "unknown":
            bad, code, status = NOBODYS, "hold_not_found", 404
        case "lapsed":
            pass_time(corner, minutes=11)
        case "released":
            corner.done(release(bad))
        case "captured":
            corner.done(capture(bad))
        case "too much":
            code = "insufficient_points"
        case "another's":
            corner.done(enrol(BOB), adjust(50, of=BOB))
            bad, code = corner.send(hold(5, of=BOB))["id"], "hold_of_another_member"
        case _:
            good, code, member = bad, "hold_of_another_member", None
    before = (corner.entries, corner.balance())
    uses = (use(bad, 11 if what == "too much" else None),)
    if good != bad:
        uses = (use(good), *uses)
    reply = corner.send(purchase("R-1", of=member, at=corner.now, holds=uses))
    assert (reply.refused, reply["pointer"]) == ((status, code), f"/holds/{len(uses) - 1}")
    assert (corner.entries, corner.balance()) == before


def test_a_purchase_sent_again_captures_once() -> None:
    corner = rich()
    id = corner.send(hold(60))["id"]
    bought = purchase("R-1", holds=(use(id),))
    first, again = corner.send(bought), corner.send(bought)
    assert (again.status, again.raw, corner.balance()) == (200, first.raw, {"available": 50})
    differs = corner.send(purchase("R-1", holds=(use(id, 59),)))
    assert (differs.refused, differs["differs"]) == ((409, "activity_differs"), ["/holds/0/points"])


def test_a_cancel_gives_what_was_captured_back_to_its_lots() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(imported(30, "a", at=NOW - timedelta(days=2)), imported(30, "b"))
    id = corner.send(hold(50))["id"]
    corner.done(purchase("R-1", holds=(use(id, 40),)))
    taken = [entry for entry in corner.decisions[-1].entries if entry.kind == "capture"]
    reply = corner.send(cancel("R-1"))
    assert reply["restored"] == [{"points_currency": "points", "points": 40, "expired": 0, "reinstated": 0}]
    assert (reply["revoked"][0]["points"], reply.balance) == (10, {"available": 60})
    assert reply["receipt"]["lines"][:2] == ["10 points taken back", "40 points given back"]
    restored = corner.decisions[-1].entries[0]
    assert (restored.kind, restored.corrects_entry_id) == ("restore", taken[0].id)
    assert [p.points for p in restored.postings] == [10, 30], "taken last, back first"
    corner.now = NOW + timedelta(days=28)
    assert corner.send(purchase("R-2", 0)).balance == {"available": 30}, "with their own dates"


def test_what_expired_meanwhile_comes_back_and_expires_and_the_cancel_says_so() -> None:
    corner, id = short_lived()
    corner.done(purchase("R-1", 0, holds=(use(id),)))
    pass_time(corner, days=3)
    reply = corner.send(cancel("R-1"))
    assert reply["restored"] == [{"points_currency": "points", "points": 60, "expired": 60, "reinstated": 0}]
    assert reply.balance == {}
    assert corner.entries[-2:] == ["restore", "expire"]


def test_what_expired_meanwhile_is_good_for_some_days_where_the_program_says_so() -> None:
    corner, id = short_lived(policies={"returned_days": 2})
    corner.done(purchase("R-1", 0, holds=(use(id),)))
    pass_time(corner, days=3)
    reply = corner.send(cancel("R-1"))
    assert reply["restored"] == [{"points_currency": "points", "points": 60, "expired": 0, "reinstated": 60}]
    assert (reply.balance, corner.entries[-3:]) == ({"available": 60}, ["restore", "expire", "reinstate"])
    pass_time(corner, days=1)
    assert corner.send(purchase("R-2", 0, at=corner.now)).balance == {"available": 60}
    pass_time(corner, days=1)
    assert corner.send(purchase("R-3", 0, at=corner.now)).balance == {}


def test_points_that_come_back_are_there_to_pay_for_what_is_taken_back() -> None:
    corner = rich(50, negative="prevent")
    id = corner.send(hold(50))["id"]
    corner.done(purchase("R-1", 5_000, holds=(use(id),)), adjust(-50))
    assert corner.send(cancel("R-1")).balance == {}
    assert corner.entries[-2:] == ["restore", "revoke"]


def test_nothing_comes_back_to_the_erased() -> None:
    corner = rich()
    id = corner.send(hold(50))["id"]
    corner.done(purchase("R-1", holds=(use(id),)), EraseMember(card(ANN)))
    reply = corner.send(cancel("R-1"))
    assert (reply["restored"], reply.balance) == ([], {})
