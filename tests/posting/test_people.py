"""Members: enrolled, recognised, changed, erased."""

from datetime import timedelta

from loyalty.ledger.types import POINTS_MAX
from loyalty.members.types import Identifier, IdentifierKind, MemberStatus, Profile
from loyalty.posting.commands import AddIdentifier, ChangeMember, EraseMember, MemberRef
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    adjust,
    ago,
    cancel,
    card,
    carded,
    enrol,
    imported,
    purchase,
    shop,
)

MAIL = Identifier(IdentifierKind.EMAIL, "ann@example.org")


def test_whoever_enrols_is_known_by_all_her_identifiers() -> None:
    corner = shop(members=())
    reply = corner.send(enrol(ANN, "second-card"))
    assert (reply.status, reply["status"], reply["enrolled_at"]) == (201, "active", "2026-11-20T15:30:00Z")
    assert corner.done(purchase(of="second-card"))["member_id"] == reply["id"]


def test_to_enrol_again_finds_the_member_and_changes_nothing() -> None:
    corner = shop(members=())
    first = corner.send(enrol(ANN, profile=Profile(name="Ann")))
    again = corner.send(enrol(ANN, "new-card", profile=Profile(name="Eve")))
    assert (again.status, again["id"]) == (200, first["id"])
    assert corner.book.identified(carded(ANN)) is not None
    assert corner.send(adjust(1, of="new-card")).refused == (404, "member_not_found")
    assert [profile.name for profile in corner.book.profiles.values() if profile] == ["Ann"]


def test_identifiers_of_two_members_cannot_enrol_one() -> None:
    corner = shop(members=(ANN, BOB))
    reply = corner.send(enrol(ANN, BOB))
    assert (reply.refused, len(reply["members"])) == ((409, "identifiers_conflict"), 2)


def test_answers_events_and_decisions_hold_no_personal_data() -> None:
    corner = shop(members=())
    secret = Identifier(IdentifierKind.EMAIL, "planted@example.org")
    profile = Profile(name="Planted Person", attributes={"shoe": "planted"})
    corner.done(enrol(ANN))
    kept = [corner.send(ChangeMember(card(ANN), profile=profile)).raw.decode()]
    kept.append(corner.send(AddIdentifier(card(ANN), secret)).raw.decode())
    corner.done(purchase(member=MemberRef(identifier=secret)), EraseMember(MemberRef(identifier=secret)))
    kept += [decision.detail + decision.answer for decision in corner.decisions]
    kept += [str(event) for event in corner.events]
    kept += [str(record) for record in corner.book.records.values()]
    assert "planted" not in "".join(kept).lower()


def test_another_identifier_is_added_once_and_belongs_to_one() -> None:
    corner = shop(members=(ANN, BOB))
    assert corner.send(AddIdentifier(card(ANN), MAIL)).status == 201
    assert corner.send(AddIdentifier(card(ANN), MAIL)).status == 200
    assert corner.send(AddIdentifier(card(BOB), MAIL)).refused == (409, "identifier_taken")
    assert corner.done(purchase(member=MemberRef(identifier=MAIL))).earned == 10
    assert [kind for kind, _ in corner.events].count("loyalty.member.changed") == 1


def test_a_blocked_member_can_be_unblocked_and_the_event_says_only_that_the_status_changed() -> None:
    corner = shop()
    assert corner.send(ChangeMember(card(ANN), MemberStatus.BLOCKED))["status"] == "blocked"
    assert corner.events[-1] == ("loyalty.member.changed", {"changed": ["status"]})
    told = len(corner.events)
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert len(corner.events) == told, "nothing changed, nothing is told"
    corner.done(ChangeMember(card(ANN), MemberStatus.ACTIVE))
    assert corner.send(purchase()).status == 201


def test_the_purchase_of_a_blocked_member_can_still_be_cancelled() -> None:
    corner = shop()
    corner.done(purchase(), ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert corner.send(cancel()).balance == {}


# --- erasing ------------------------------------------------------------------------------------------------


def test_the_erased_lose_their_points_and_nobody_finds_them_again() -> None:
    corner = shop()
    corner.done(imported(30, "1"), imported(20, "2", activates_at=NOW + timedelta(days=9)))
    member_id = corner.book.identified(carded(ANN))
    assert corner.send(EraseMember(card(ANN)))["status"] == "erased"
    account = corner.book.accounts[member_id, "points"]  # type: ignore[index]
    assert (account.available, account.pending) == (0, 0)
    assert [(e.kind, e.cause) for e in corner.decisions[-1].entries] == [
        ("revoke", "member_erased"),
        ("expire", "member_erased"),
    ]
    assert corner.book.profiles[member_id] is None  # type: ignore[index]
    assert corner.send(adjust(1)).refused == (404, "member_not_found")
    assert corner.send(adjust(1, of=ANN)).status == 404


def test_a_debt_is_waived_when_its_member_is_erased() -> None:
    corner = shop()
    corner.done(purchase(), adjust(-10), cancel())
    assert corner.balance() == {"debt": 10}
    corner.done(EraseMember(card(ANN)))
    assert [(e.kind, e.cause) for e in corner.decisions[-1].entries] == [
        ("adjust_credit", "waived"),
        ("repay", None),
    ]
    assert corner.events[-1][1]["entries"][-1]["debt"] == -10


def test_a_debt_is_waived_though_the_account_can_hold_no_more_when_its_member_is_erased() -> None:
    corner = shop(pending_days=1)
    corner.done(purchase())
    corner.now += timedelta(days=2)
    corner.done(adjust(-10), cancel(), adjust(POINTS_MAX))
    assert corner.balance() == {"pending": POINTS_MAX, "debt": 10}
    corner.done(EraseMember(card(ANN)))
    assert [(e.kind, e.cause) for e in corner.decisions[-1].entries] == [
        ("revoke", "member_erased"),
        ("adjust_credit", "waived"),
        ("repay", None),
    ]


def test_what_was_due_before_is_written_before_the_erasure_takes_the_rest() -> None:
    corner = shop()
    corner.done(imported(30, "1", at=ago(days=2), expires_at=NOW + timedelta(days=1)), imported(5, "2"))
    corner.now = NOW + timedelta(days=2)
    corner.done(EraseMember(card(ANN)))
    assert [(e.kind, e.cause) for e in corner.decisions[-1].entries] == [
        ("expire", None),
        ("expire", "member_erased"),
    ]


def test_a_card_of_the_erased_can_be_given_to_somebody_new() -> None:
    corner = shop()
    first = corner.book.identified(carded(ANN))
    corner.done(purchase("R-1"), EraseMember(card(ANN)))
    second = corner.send(enrol(ANN))
    assert (second.status, second["id"] != str(first)) == (201, True)
    assert corner.send(purchase("R-2", 300)).balance == {"available": 3}


def test_nobody_is_erased_twice() -> None:
    corner = shop()
    member_id = corner.book.identified(carded(ANN))
    corner.done(EraseMember(card(ANN)))
    assert corner.send(EraseMember(MemberRef(id=member_id))).refused == (409, "member_erased")
