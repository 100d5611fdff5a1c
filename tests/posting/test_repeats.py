"""One cause, one effect: what a caller gets who sends the same again, or something else under the same name.

Law 3 of docs/ledger.md: the key of a request for a while, the natural key of what happened for ever.
"""

from uuid import UUID

import pytest
from msgspec.structs import replace

from loyalty.base.canonical import Digests
from loyalty.posting.commands import Command, EraseMember, MemberRef, PurchaseLine, Tender
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    OLD_SECRET,
    SECRET,
    adjust,
    ago,
    cancel,
    card,
    enrol,
    forget_lines,
    give_back,
    imported,
    line,
    purchase,
    shop,
)

COMMANDS: list[Command] = [
    purchase("R-2", 700),
    purchase("R-3", of=None),
    cancel("R-1"),
    cancel("R-9"),
    adjust(5),
    adjust(-5),
    imported(5),
    enrol("new-card"),
    enrol(ANN),
    EraseMember(card(ANN)),
]
REFUSALS: list[tuple[Command, str]] = [
    (purchase("R-2", of="nobody"), "member_not_found"),
    (purchase("R-2", at=ago(days=99)), "too_old"),
    (purchase("R-2", money="USD"), "currency_not_supported"),
    (purchase("R-1", 999), "activity_differs"),
    (adjust(-999), "insufficient_points"),
    (enrol(ANN, BOB), "identifiers_conflict"),
]


def _named(command: Command) -> str:
    return type(command).__name__


# --- the key of the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=_named)
def test_the_same_key_and_request_has_the_first_answer_byte_for_byte(command: Command) -> None:
    corner = shop()
    corner.done(purchase("R-1"))
    first = corner.send(command, "k")
    before = (len(corner.decisions), len(corner.events), corner.entries)
    again = corner.send(command, "k", request_id="another")
    assert (again.status, again.raw, again.replayed) == (first.status, first.raw, True)
    assert not first.replayed
    assert (len(corner.decisions), len(corner.events), corner.entries) == before


@pytest.mark.parametrize(("command", "code"), REFUSALS, ids=[code for _, code in REFUSALS])
def test_a_refusal_is_replayed_like_a_success(command: Command, code: str) -> None:
    """Even when it would succeed by now; another key is a new try."""
    corner = shop(members=(ANN, BOB))
    corner.done(purchase("R-1"))
    first = corner.send(command, "k")
    assert (first["code"], first.replayed) == (code, False)
    corner.done(adjust(2_000))
    again = corner.send(command, "k", request_id="another")
    assert (again.status, again.raw, again.replayed) == (first.status, first.raw, True)
    if code == "insufficient_points":
        assert corner.send(command, "other").status == 201


def test_the_same_key_for_another_request_is_refused_and_the_first_answer_stays() -> None:
    corner = shop()
    first = corner.send(adjust(5), "k")
    assert corner.send(adjust(6), "k").refused == (422, "idempotency_key_reused")
    assert corner.send(purchase(), "k").refused == (422, "idempotency_key_reused")
    assert corner.send(adjust(5), "k").raw == first.raw
    assert corner.balance() == {"available": 5}


def test_a_key_belongs_to_the_client_who_used_it() -> None:
    corner = shop()
    other = UUID(int=0x712)
    corner.send(adjust(5), "k")
    assert corner.send(adjust(6), "k", by=other).status == 201
    assert corner.balance() == {"available": 11}


def test_a_retry_is_recognised_while_the_secret_is_being_changed() -> None:
    """What was stored under the old secret is read with both; what is stored now, with the new one alone."""
    corner = shop()
    first = corner.send(adjust(5), "k", digests=Digests(OLD_SECRET))
    both = Digests(SECRET, OLD_SECRET)
    assert corner.send(adjust(5), "k", digests=both).raw == first.raw
    assert corner.send(adjust(6), "k", digests=both).refused[1] == "idempotency_key_reused"
    assert corner.send(adjust(5), "k", digests=Digests(SECRET)).refused[1] == "idempotency_key_reused"
    corner.send(adjust(7), "new", digests=both)
    assert corner.send(adjust(7), "new", digests=Digests(SECRET)).replayed


def test_a_receipt_is_recognised_while_the_secret_is_being_changed() -> None:
    corner = shop()
    first = corner.send(purchase(), digests=Digests(OLD_SECRET))
    again = corner.send(purchase(), digests=Digests(SECRET, OLD_SECRET))
    assert (again.status, again.raw) == (200, first.raw)


def test_a_receipt_is_recognised_after_its_secret_is_long_gone() -> None:
    corner = shop()
    first = corner.send(purchase(), digests=Digests(OLD_SECRET))
    again = corner.send(purchase(), digests=Digests(SECRET))
    assert (again.status, again.raw) == (200, first.raw)
    assert corner.send(purchase(of=None), digests=Digests(SECRET)).refused[1] == "activity_differs"


def test_a_receipt_without_its_lines_is_recognised_after_its_secret_is_long_gone() -> None:
    corner = shop(members=(ANN, BOB))
    first = corner.send(purchase(), digests=Digests(OLD_SECRET))
    back = corner.send(give_back(), digests=Digests(OLD_SECRET))
    forget_lines(corner)
    again = corner.send(purchase(), digests=Digests(SECRET))
    assert (again.status, again.raw) == (200, first.raw)
    for same in (give_back(), give_back(purchase_id=UUID(first["id"]))):
        again = corner.send(same, digests=Digests(SECRET))
        assert (again.status, again.raw) == (200, back.raw)
    for other, places in (
        (purchase(amount_minor=999), []),
        (purchase(of=BOB), ["/member"]),
        (give_back(till="9"), []),
    ):
        reply = corner.send(other, digests=Digests(SECRET))
        assert (reply.refused, reply["differs"]) == ((409, "activity_differs"), places)


def test_a_blind_return_without_its_lines_is_recognised_after_its_secret_is_long_gone() -> None:
    """Its purchase may have come meanwhile: it was unseen when the goods came back."""
    corner = shop(policies={"blind_returns": "record"})
    back = corner.send(give_back(), digests=Digests(OLD_SECRET))
    corner.done(purchase())
    for forget in (False, True):
        if forget:
            forget_lines(corner)
        again = corner.send(give_back(), digests=Digests(SECRET))
        assert (again.status, again.raw) == (200, back.raw)


def test_an_imported_row_is_recognised_after_its_secret_is_long_gone() -> None:
    """Whatever names the member; another member's row, other points or other dates are another row."""
    corner = shop(members=(ANN, BOB))
    first = corner.send(imported(5), digests=Digests(OLD_SECRET))
    ann = MemberRef(id=UUID(first["member_id"]))
    for same in (imported(5), replace(imported(5), member=ann)):
        again = corner.send(same, digests=Digests(SECRET))
        assert (again.status, again.raw) == (200, first.raw)
    nobodys = replace(imported(5), member=MemberRef(id=UUID(int=5)))
    others = (
        imported(6),
        imported(5, of=BOB),
        imported(5, of="nobody"),
        nobodys,
        imported(5, expires_at=NOW),
    )
    for other in others:
        assert corner.send(other, digests=Digests(SECRET)).refused == (409, "activity_differs")


def test_a_replay_of_an_erased_member_tells_what_was_told() -> None:
    """It is ids and figures; a person is not in it."""
    corner = shop()
    first = corner.send(purchase(), "k")
    corner.done(EraseMember(card(ANN)))
    assert corner.send(purchase(), "k").raw == first.raw


# --- the natural key ----------------------------------------------------------------------------------------


def test_the_same_receipt_under_another_key_is_a_replay() -> None:
    corner = shop()
    first = corner.send(purchase(), "k-1")
    again = corner.send(purchase(), "k-2")
    assert (again.status, again.raw, again.replayed) == (200, first.raw, True)
    third = corner.send(purchase(), "k-2")
    assert (third.status, third.raw, third.replayed) == (200, first.raw, True)
    assert corner.balance() == {"available": 10}


def test_the_same_receipt_without_any_key_is_a_replay_too() -> None:
    corner = shop()
    first = corner.send(purchase(), "k-1")
    asked = corner.send(purchase(), None)
    assert (asked.status, asked.raw) == (200, first.raw)


def test_the_same_receipt_by_another_client_is_a_replay() -> None:
    corner = shop()
    first = corner.send(purchase(), "k", by=UUID(int=1))
    assert corner.send(purchase(), "k", by=UUID(int=2)).raw == first.raw


def test_the_same_number_from_another_till_system_is_another_receipt() -> None:
    corner = shop()
    corner.done(purchase("1"), imported(5, "1"))
    assert corner.balance() == {"available": 15}


@pytest.mark.parametrize(
    ("changed", "pointers"),
    [
        (purchase(lines=(line(999), line(5, line_id="2"))), ["/lines/0/amount_minor"]),
        (
            purchase(lines=(line(1_000, quantity_milli=2_000), line(5, line_id="2", tags=("sale",)))),
            ["/lines/0/quantity", "/lines/1/tags"],
        ),
        (purchase(lines=(line(1_000),)), ["/lines/1"]),
        (purchase(lines=(line(1_000), line(5, line_id="2")), till="17"), ["/till"]),
        (
            purchase(lines=(line(1_000), line(5, line_id="2")), at=ago(hours=1), money="USD"),
            ["/money", "/occurred_at"],
        ),
        (
            purchase(lines=(line(1_000), line(5, line_id="2")), tenders=(Tender("cash", 1_005),)),
            ["/tenders"],
        ),
        (purchase(lines=(line(1_000), line(5, line_id="2")), of=BOB), ["/member"]),
    ],
    ids=["amount", "quantity and tags", "a line less", "till", "time and money", "tenders", "somebody else"],
)
def test_other_content_under_the_same_receipt_names_what_differs(
    changed: Command, pointers: list[str]
) -> None:
    corner = shop(members=(ANN, BOB))
    lines: tuple[PurchaseLine, ...] = (line(1_000), line(5, line_id="2"))
    first = corner.send(purchase(lines=lines))
    reply = corner.send(changed)
    assert (reply.refused, reply["first_id"]) == ((409, "activity_differs"), first["id"])
    assert sorted(reply["differs"]) == pointers
    assert corner.entries == ["earn"]


def test_when_its_lines_were_removed_a_receipt_is_still_recognised() -> None:
    corner = shop()
    first = corner.send(purchase())
    forget_lines(corner)
    assert corner.send(purchase()).raw == first.raw
    other = corner.send(purchase(amount_minor=999))
    assert (other.refused, other["differs"]) == ((409, "activity_differs"), [])


def test_a_key_that_was_answered_with_a_receipts_first_answer_is_used_up() -> None:
    corner = shop()
    corner.send(purchase("R-1"), "a")
    assert corner.send(purchase("R-1"), "b").status == 200
    assert corner.send(purchase("R-2"), "b").refused == (422, "idempotency_key_reused")


def test_other_content_under_a_cancelled_receipt_differs_all_the_same() -> None:
    corner = shop()
    corner.done(purchase("R-1"), cancel("R-1"))
    assert corner.send(purchase("R-1", 999)).refused == (409, "activity_differs")


def test_a_receipt_recorded_for_somebody_else_is_not_shown_to_be_hers() -> None:
    """The refusal names the place, never whom."""
    corner = shop(members=(ANN, BOB))
    corner.done(purchase(of=ANN))
    assert ANN not in corner.send(purchase(of=BOB)).raw.decode()


def test_a_guests_receipt_is_not_that_of_an_id_that_nobody_has() -> None:
    corner = shop()
    corner.done(purchase(of=None))
    nobodys = purchase(member=MemberRef(id=UUID(int=5)))
    assert corner.send(nobodys, digests=Digests(OLD_SECRET)).refused == (409, "activity_differs")


def test_a_purchase_that_came_after_its_cancel_is_refused_under_every_key() -> None:
    corner = shop()
    corner.done(cancel("R-1"))
    assert [corner.send(purchase("R-1"), key).refused for key in ("a", "a", "b")] == [
        (409, "purchase_cancelled")
    ] * 3


def test_the_clock_plays_no_part_in_a_repeat() -> None:
    """A till that was offline for a month may send everything again."""
    corner = shop(policies={"late_days_max": 30})
    first = corner.send(purchase())
    corner.now = NOW.replace(year=2028)
    again = corner.send(purchase())
    assert (again.status, again.raw) == (200, first.raw)
