"""What is read before deciding: enough for everyday commands in one visit, asked for where it was not enough."""

from datetime import timedelta
from uuid import UUID

import pytest

from loyalty.members.cells import cell_of
from loyalty.members.types import Member, MemberStatus
from loyalty.posting.book import ActivityKey, Needs, StoredRecord
from loyalty.posting.commands import (
    AddIdentifier,
    AdvanceClock,
    Approve,
    CloseDay,
    Command,
    EraseMember,
    MemberRef,
    Publish,
    UseHold,
)
from loyalty.posting.configuration import History
from loyalty.posting.decide import decide
from loyalty.posting.needs import deep_keys, edge_keys
from loyalty.programs.types import Rolling
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    TILL,
    Shop,
    adjust,
    ago,
    cancel,
    capped,
    capture,
    card,
    carded,
    claim,
    enrol,
    extend,
    freeze,
    give,
    hold,
    hold_reward,
    imported,
    pay,
    program,
    purchase,
    redeem,
    release,
    reward,
    shop,
    stocked,
    submission,
)

PROGRAM = UUID(int=1)
ELSEWHERE = UUID(int=77)  # a member whose lane is not 0
CELLS = 8


def asked(command: Command, key: str | None = "k"):
    return submission(PROGRAM, command, key)


def needed(corner: Shop, command: Command) -> Needs:
    """What the command asks for at its first try; the names in it were read."""
    keys = edge_keys([asked(command)], corner.book.history)
    for name in keys.activity_names:
        corner.book.names.setdefault(name, None)
    for identifier in keys.identifiers:
        corner.book.identifiers.setdefault(identifier, None)
    with pytest.raises(Needs) as raised:
        decide(corner.book, asked(command))
    return raised.value


# --- from the commands alone --------------------------------------------------------------------------------


def test_a_purchase_names_its_key_its_receipt_its_buyer_and_the_months_of_its_caps() -> None:
    keys = edge_keys([asked(purchase(at=ago(days=25)))], shop(capped(10)).book.history)
    assert keys.idempotency == {(TILL, "k")}
    assert keys.activity_names == {("purchase", "pos", "R-1")}
    assert (keys.identifiers, keys.members) == ({carded(ANN)}, set())
    assert keys.periods == {"2026-10"}


def test_a_hold_is_named_by_itself_and_by_the_purchase_that_it_pays() -> None:
    corner = shop()
    corner.done(adjust(10))
    id = UUID(corner.send(hold(10))["id"])
    for command in (extend(str(id)), capture(str(id)), release(str(id)), purchase(holds=(UseHold(id),))):
        assert edge_keys([asked(command)], corner.book.history).holds == {id}
    assert edge_keys([asked(hold(1))], corner.book.history).identifiers == {carded(ANN)}


def test_what_touches_held_points_reads_all_open_lots_and_holds_of_its_member_at_once() -> None:
    corner = shop()
    corner.done(adjust(10))
    id = corner.send(hold(10))["id"]
    (account,) = {account.id for account in corner.book.accounts.values()}
    corner.book.lots_complete.clear()
    for command in (extend(id), capture(id), release(id), purchase(holds=(UseHold(UUID(id)),))):
        corner.book.names.setdefault(("purchase", "pos", "R-1"), None)
        assert deep_keys([asked(command)], corner.book).open_lots == {account}


def test_a_redemption_names_its_hold_and_what_it_is_for() -> None:
    corner = shop(rewards=(reward(1, stocked=True),))
    corner.done(adjust(10), stocked(1))
    id = corner.done(hold_reward())["id"]
    for command in (redeem(hold_id=id), pay(1, hold_id=id)):
        assert edge_keys([asked(command)], corner.book.history).holds == {UUID(id)}
    corner.book.stocks.clear()
    corner.book.set_aside.clear()
    for command in (redeem(hold_id=id), hold_reward()):
        assert deep_keys([asked(command)], corner.book).stocks == {"mug"}
    assert needed(corner, redeem(hold_id=id)).keys.stocks == {"mug"}


def test_what_is_set_aside_of_a_stock_asks_for_the_programs_own_lane() -> None:
    corner = Shop(program(rewards=(reward(1, stocked=True),)), cells=CELLS, held=range(CELLS))
    for number in range(40):
        corner.done(enrol(str(number)))
    away = next(n for n in range(40) if lane_of(corner.book.identified(carded(str(n))) or UUID(int=0)))
    corner.done(adjust(10, str(away)), stocked(2))
    id = corner.done(hold_reward(of=str(away)))["id"]
    del corner.book.lanes[0]
    for command in (hold_reward(of=str(away)), redeem(of=str(away), hold_id=id), extend(id, 60), release(id)):
        assert needed(corner, command).cells == {0}


def test_a_hold_or_a_lot_that_was_not_read_is_asked_for() -> None:
    corner = shop()
    corner.done(adjust(10))
    id = corner.send(hold(10))["id"]
    bought = purchase(holds=(UseHold(UUID(id)),))
    corner.done(bought)
    (account,) = {account.id for account in corner.book.accounts.values()}
    lots = corner.book.lots.pop(account)
    corner.book.lots[account] = {lot.id: lot for lot in lots.values() if lot.open}
    gone = {lot.id for lot in lots.values() if not lot.open}
    assert needed(corner, cancel()).keys.lots == {(0, lot) for lot in gone}
    corner.book.holds.clear()
    assert needed(corner, capture(id)).keys.holds == {UUID(id)}


def test_the_hold_of_a_member_elsewhere_asks_for_that_lane() -> None:
    corner = Shop(program(), cells=CELLS, held=range(CELLS))
    corner.done(enrol(ANN), adjust(10))
    id = UUID(corner.send(hold(10))["id"])
    owner = corner.book.identifiers[carded(ANN)]
    assert owner is not None
    assert cell_of(id, CELLS) == cell_of(owner, CELLS), "a hold tells where it lives"
    del corner.book.lanes[cell_of(id, CELLS)]
    assert needed(corner, release(str(id))).cells == {cell_of(id, CELLS)}


def test_without_caps_no_counter_is_read() -> None:
    assert edge_keys([asked(purchase())], shop().book.history).periods == set()


def test_the_keys_of_a_batch_are_those_of_its_commands() -> None:
    history = shop().book.history
    member = MemberRef(id=ELSEWHERE)
    keys = edge_keys(
        [
            asked(cancel("R-2"), "a"),
            asked(imported(5, "row"), "b"),
            asked(claim(str(UUID(int=5)), by=BOB), None),
            asked(AddIdentifier(member, carded("third"))),
            asked(enrol("fourth")),
            asked(purchase("R-3", of=None)),
        ],
        history,
    )
    assert {kind for kind, *_ in keys.activity_names} == {"purchase", "cancel", "import_row"}
    assert {identifier.value for identifier in keys.identifiers} == {ANN, BOB, "third", "fourth"}
    assert keys.members == {ELSEWHERE}
    assert {key for _, key in keys.idempotency} == {"a", "b", "k"}
    assert not keys.deep


def test_a_program_without_configuration_is_asked_nothing_about_caps() -> None:
    assert edge_keys([asked(purchase())], History([])).periods == set()


# --- from what was read -------------------------------------------------------------------------------------


def reread(corner: Shop) -> Shop:
    """The same books in a new batch: accounts are read, their lots not yet."""
    corner.book.lots_complete.clear()
    corner.book.decisions.clear()
    return corner


def test_a_purchase_needs_no_lots_while_nothing_is_due() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(purchase("R-1"))
    reread(corner).now = NOW + timedelta(days=29)
    assert not deep_keys([asked(purchase("R-2"))], corner.book).deep


def test_a_purchase_needs_the_open_lots_of_an_account_on_which_something_is_due() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(purchase("R-1"))
    (account,) = corner.book.accounts.values()
    reread(corner).now = NOW + timedelta(days=31)
    assert deep_keys([asked(purchase("R-2"))], corner.book).open_lots == {account.id}


def test_what_ends_all_points_needs_the_open_lots() -> None:
    corner = shop()
    corner.done(purchase("R-1"))
    (account,) = corner.book.accounts.values()
    assert deep_keys([asked(EraseMember(card(ANN)))], reread(corner).book).open_lots == {account.id}


@pytest.mark.parametrize(
    "command", [adjust(-5), give(5), hold(5), freeze()], ids=["debit", "transfer", "hold", "freeze"]
)
def test_what_takes_points_needs_all_that_may_stand_against_it(command: Command) -> None:
    corner = shop(members=(ANN, BOB))
    corner.done(purchase("R-1"))
    (account,) = corner.book.accounts.values()
    assert deep_keys([asked(command)], reread(corner).book).owners == {account.owner_id}
    assert not deep_keys([asked(adjust(5))], corner.book).deep


def test_deciding_a_proposal_needs_the_proposal() -> None:
    id = UUID(int=7)
    assert deep_keys([asked(Approve(id))], shop().book).proposals == {id}


def test_a_cancel_needs_the_purchase_and_a_repeat_the_first_decision() -> None:
    corner = shop()
    corner.done(purchase("R-1"))
    held = corner.book.names["purchase", "pos", "R-1"]
    assert held is not None
    again = deep_keys([asked(purchase("R-1"))], reread(corner).book)
    assert (again.decisions, again.activities) == ({(0, held.decision_id)}, set())
    corner.book.activities.clear()
    assert deep_keys([asked(cancel("R-1"))], corner.book).activities == {(0, held.activity_id)}


def test_a_known_key_needs_the_decision_that_it_answered_and_nothing_else() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.send(purchase("R-1"), "k")
    reread(corner).now = NOW + timedelta(days=31)
    keys = deep_keys([asked(purchase("R-1"))], corner.book)
    assert (len(keys.decisions), keys.open_lots, keys.activities) == (1, set(), set())


# --- asked for while deciding -------------------------------------------------------------------------------


def test_a_late_credit_that_is_over_already_asks_for_the_lots() -> None:
    """Its account had nothing due, so nothing was read; expiring needs all that is open."""
    corner = shop(expiry=Rolling(days=30))
    corner.done(purchase("R-1"))
    (account,) = corner.book.accounts.values()
    needs = needed(reread(corner), purchase("R-2", at=ago(days=30)))
    assert (needs.keys.open_lots, needs.cells) == ({account.id}, frozenset())


def test_a_credit_while_in_debt_asks_for_the_lots() -> None:
    corner = shop()
    corner.done(purchase("R-1"), adjust(-10), cancel("R-1"))
    (account,) = corner.book.accounts.values()
    assert needed(reread(corner), purchase("R-2")).keys.open_lots == {account.id}


def test_a_month_that_only_the_newest_rules_count_is_asked_for() -> None:
    corner = shop(capped(10))
    (member_id,) = corner.book.new_members
    corner.book.counted.clear()
    corner.book.newcomers.clear()
    needs = needed(corner, purchase())
    assert (needs.keys.periods, needs.keys.members) == ({"2026-11"}, {member_id})


def test_what_a_command_changes_before_it_asks_is_forgotten() -> None:
    corner = shop()
    corner.done(purchase("R-1"), adjust(-10), cancel("R-1"))
    before = (len(corner.decisions), corner.balance(), dict(corner.book.new_records))
    needed(reread(corner), purchase("R-2"))
    assert (len(corner.decisions), corner.balance(), dict(corner.book.new_records)) == before
    assert ("purchase", "pos", "R-2") not in corner.book.new_names


# --- lanes --------------------------------------------------------------------------------------------------


def lane_of(member_id: UUID) -> int:
    return cell_of(member_id, CELLS)


@pytest.fixture
def split() -> Shop:
    """A program of eight lanes of which the batch holds only Ann's; guests are in lane 0."""
    corner = Shop(program(BASE), cells=CELLS, held=range(CELLS))
    ann = corner.done(enrol(ANN))["id"]
    while (bob := UUID(corner.done(enrol(f"b-{len(corner.decisions)}"))["id"])) and (
        lane_of(bob) == lane_of(UUID(ann)) or lane_of(bob) == 0
    ):
        pass
    corner.book.identifiers[carded(BOB)] = bob
    hers = lane_of(UUID(ann))
    for cell in set(corner.book.lanes) - {hers}:
        del corner.book.lanes[cell]
    return corner


def test_a_members_command_is_decided_in_her_lane_alone(split: Shop) -> None:
    assert split.send(adjust(5)).status == 201


@pytest.mark.parametrize(
    "command",
    [adjust(5, of=BOB), purchase(of=BOB), imported(5, of=BOB), EraseMember(card(BOB))],
    ids=lambda command: type(command).__name__,
)
def test_whoever_lives_in_another_lane_is_decided_there(split: Shop, command: Command) -> None:
    bob = split.book.identifiers[carded(BOB)]
    assert bob is not None
    assert needed(split, command).cells == {lane_of(bob)}


def test_what_belongs_to_nobody_lives_in_the_programs_own_lane(split: Shop) -> None:
    if 0 in split.book.lanes:
        del split.book.lanes[0]
    for command in (purchase(of=None), cancel("R-1"), claim(str(UUID(int=5)))):
        assert needed(split, command).cells == {0}


def test_a_cancel_goes_to_the_lane_of_its_purchase(split: Shop) -> None:
    other = next(cell for cell in range(CELLS) if cell not in split.book.lanes)
    held = ActivityKey("recorded", UUID(int=5), other, UUID(int=6), b"x")
    split.book.names["purchase", "pos", "R-1"] = held
    assert deep_keys([asked(cancel("R-1"))], split.book).activities == set(), (
        "it is not read without its lane"
    )
    assert needed(split, cancel("R-1")).cells == {other}


def test_a_repeat_goes_to_the_lane_of_the_first_decision(split: Shop) -> None:
    other = next(cell for cell in range(CELLS) if cell not in split.book.lanes)
    command = asked(adjust(5))
    assert command.idempotency is not None
    record = StoredRecord(command.idempotency.fingerprints[0], 201, (other, UUID(int=6)), None)
    split.book.records[TILL, "k"] = record
    assert needed(split, adjust(5)).cells == {other}


@pytest.mark.parametrize(
    "command", [Publish(program()), AdvanceClock(NOW), CloseDay(NOW.date())], ids=lambda c: type(c).__name__
)
def test_what_concerns_the_whole_program_takes_all_lanes(split: Shop, command: Command) -> None:
    assert needed(split, command).cells == set(range(CELLS)) - set(split.book.lanes)


def test_whoever_is_enrolled_gets_an_id_of_a_lane_that_is_held(split: Shop) -> None:
    lanes = {lane_of(UUID(split.send(enrol(f"new-{n}"))["id"])) for n in range(20)}
    assert lanes == set(split.book.lanes)


def test_the_survivor_of_a_merge_is_asked_for() -> None:
    corner = shop()
    ann = corner.book.identified(carded(ANN))
    assert ann is not None
    survivor = UUID(int=9)
    corner.book.members[ann] = Member(ann, MemberStatus.MERGED, NOW, survivor)
    assert needed(corner, adjust(5)).keys.members == {survivor}
