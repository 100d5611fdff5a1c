"""Laws 2 and 9 over random histories of one account: sums, bounds, now and at every past instant, and settle.

A history is a list of steps with their instants; it can be lived with or without sweeps in between.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.ledger import undo
from loyalty.ledger.asof import replay, settle_here
from loyalty.ledger.expiry import sliding
from loyalty.ledger.settle import next_due
from loyalty.ledger.transfers import transfer
from loyalty.ledger.types import Account, Bucket, Entry, InsufficientPoints, Lot
from loyalty.programs.types import Activity, Inactivity
from tests.pure.books import UTC_ZONE, Books, day

MEMBERS_OWN = (Bucket.PENDING, Bucket.AVAILABLE, Bucket.HELD)


class Step(NamedTuple):
    verb: str
    pause: int  # days since the step before
    points: int
    choice: int  # picks a lot, a hold, an entry
    late: int  # days by which a credit is back-dated
    activates: int | None  # days after a credit
    expires: int | None
    slides: Inactivity | None  # of a credit that expires


def steps() -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        verb=st.sampled_from(sorted(VERBS)),
        pause=st.integers(0, 12),
        points=st.integers(1, 60),
        choice=st.integers(0, 99),
        late=st.sampled_from((0, 0, 0, 3, 15)),
        activates=st.sampled_from((None, None, 0, 2, 9)),
        expires=st.sampled_from((None, 1, 5, 10, 30)),
        slides=st.sampled_from(
            (None, Inactivity(days=6), Inactivity(days=11, resets=(Activity.REDEEM,)), Inactivity(months=1))
        ),
    )


histories = st.lists(st.deferred(steps), max_size=25)


# --- living a history -----------------------------------------------------------------------------------------


def credit(books: Books, step: Step, now: datetime) -> None:
    at = now - timedelta(days=step.late)
    books.credit(
        step.points,
        at,
        activates=None if step.activates is None else at + timedelta(days=step.activates),
        expires=None if step.expires is None else at + timedelta(days=step.expires),
        slides=None if step.expires is None or step.slides is None else sliding(step.slides),
    )


def spend(books: Books, step: Step, now: datetime) -> None:
    books.spend(step.points, now)


def hold(books: Books, step: Step, now: datetime) -> None:
    grace = now + timedelta(days=20) if step.choice % 3 == 0 else None
    books.hold(step.points, now, now + timedelta(days=1 + step.choice % 8), grace)


def with_hold(books: Books, step: Step, then: Callable[[Any], object]) -> None:
    open_holds = [hold for hold in books.holds if hold.parts]
    if open_holds:
        then(open_holds[step.choice % len(open_holds)])


def capture(books: Books, step: Step, now: datetime) -> None:
    with_hold(books, step, lambda held: books.capture(held, step.points, now))


def release(books: Books, step: Step, now: datetime) -> None:
    with_hold(books, step, lambda held: books.release(held, now))


def revoke(books: Books, step: Step, now: datetime) -> None:
    lots = list(books.lots.values())
    if lots:
        lot = lots[step.choice % len(lots)]
        policy = ("prevent", "floor", "waive")[step.choice % 3]
        left = lot.points - lot.revoked
        if left > 0:
            books.revoke({lot.id: min(step.points, left)}, now, negative=policy, floor=100)


def restore(books: Books, step: Step, now: datetime) -> None:
    spent = [lot for lot in books.lots.values() if lot.redeemed]
    if spent:
        lot = spent[step.choice % len(spent)]
        books.restore([(lot.id, min(step.points, lot.redeemed))], now)


def reinstate(books: Books, step: Step, now: datetime) -> None:
    lost = [lot for lot in books.lots.values() if lot.expired]
    if lost:
        lot = lost[step.choice % len(lost)]
        parts = ((lot.id, min(step.points, lot.expired)),)
        until = None if step.expires is None else now + timedelta(days=step.expires)
        books.post(undo.reinstate(books.account, books.lots, parts, now, until))


def redate(books: Books, step: Step, now: datetime) -> None:
    there = [lot for lot in books.lots.values() if lot.open]
    if there:
        lot = there[step.choice % len(there)]
        new = lot.activates_at, None if step.expires is None else now + timedelta(days=step.expires - 8)
        books.post(undo.redate(books.account, books.lots, {lot.id: new}, now))


def give(books: Books, step: Step, now: datetime) -> None:
    taker = Books(99)
    available = [(lot.id, lot.available) for lot in books.lots.values() if lot.available]
    if available:
        out, _ = transfer(
            books.account,
            books.lots,
            taker.account,
            tuple(available[:2]),
            now,
            new_id=taker.id,
            decision_id=taker.id(),
        )
        books.post(out)


VERBS: dict[str, Callable[[Books, Step, datetime], None]] = {
    verb.__name__: verb
    for verb in (credit, spend, hold, capture, release, revoke, restore, reinstate, redate, give)
} | {"earn": credit, "import": credit}


def live(history: Sequence[Step], *, sweeps: Sequence[float] = (), until: datetime | None = None) -> Books:
    """The books after `history`; a sweep settles at each of `sweeps` (parts of each pause), as if a job came."""
    books = Books()
    now = day(20)
    for step in history:
        for part in sweeps:
            books.settle(now + part * timedelta(days=step.pause))
        now += timedelta(days=step.pause)
        books.settle(now)
        books.account.settled_at = now
        try:
            VERBS[step.verb](books, step, now)
        except InsufficientPoints:
            continue
        books.settle(now)
        books.account.next_due_at = next_due(books.account, books.lots, books.holds)
    if until is not None:
        books.settle(until)
    return books


# --- an independent reading of entries ----------------------------------------------------------------------


def sums(entries: Sequence[Entry]) -> dict[Any, dict[Bucket, int]]:
    """Per lot and bucket the sum of postings."""
    total: dict[Any, dict[Bucket, int]] = defaultdict(lambda: defaultdict(int))
    for entry in entries:
        for posting in entry.postings:
            total[posting.lot_id][posting.source] -= posting.points
            total[posting.lot_id][posting.target] += posting.points
    return total


def balances(entries: Sequence[Entry]) -> tuple[int, int, int, int]:
    total = sums(entries)
    own = [sum(buckets[b] for buckets in total.values()) for b in MEMBERS_OWN]
    return own[0], own[1], own[2], -sum(buckets[Bucket.DEFICIT] for buckets in total.values())


def content(entries: Sequence[Entry]) -> list[Any]:
    """What entries say, without ids: lots are named by the order of their issue."""
    names: dict[Any, int] = {}
    told: list[Any] = []
    for entry in entries:
        for lot in entry.lots:
            names[lot.id] = len(names)
        moves = sorted((names[p.lot_id], p.points, p.source, p.target) for p in entry.postings)
        told.append(
            (entry.kind, entry.occurred_at, moves, entry.pending, entry.available, entry.held, entry.debt)
        )
    return told


def state(account: Account, lots: dict[Any, Lot]) -> list[Any]:
    told: list[Any] = [(account.pending, account.available, account.held, account.debt)]
    return told + sorted(
        [getattr(lot, b.value) for b in Bucket] + [str(account.end_of(lot))] for lot in lots.values()
    )


# --- laws -------------------------------------------------------------------------------------------------------


@given(histories)
def test_lots_explain_the_balance_after_every_entry(history: list[Step]) -> None:
    books = live(history)
    for count, entry in enumerate(books.entries, 1):
        assert entry.seq == count
        assert (entry.pending, entry.available, entry.held, entry.debt) == balances(books.entries[:count])
    for lot_id, buckets in sums(books.entries).items():
        lot = books.lots[lot_id]
        assert {b: getattr(lot, b.value) for b in Bucket} == {b: buckets[b] for b in Bucket}
        assert sum(buckets.values()) == 0
    account = books.account
    assert (account.pending, account.available, account.held, account.debt) == balances(books.entries)
    assert account.seq == len(books.entries)


@given(histories)
def test_buckets_keep_their_bounds_in_recorded_order_and_at_every_past_instant(history: list[Step]) -> None:
    books = live(history)
    entries = books.entries
    then = [
        [entry for entry in entries if entry.occurred_at <= at]
        for at in sorted({e.occurred_at for e in entries})
    ]
    for known in (*(entries[:count] for count in range(len(entries))), *then):
        for lot_id, buckets in sums(known).items():
            assert all(buckets[b] >= 0 for b in MEMBERS_OWN)
            assert sum(buckets[b] for b in MEMBERS_OWN) <= books.lots[lot_id].points
            assert all(buckets[b] >= 0 for b in (Bucket.REDEEMED, Bucket.EXPIRED, Bucket.REVOKED))
        assert balances(known)[3] >= 0


@given(histories)
def test_debt_and_available_points_are_never_both_there_after_a_command(history: list[Step]) -> None:
    for count in range(len(history) + 1):
        account = live(history[:count]).account
        assert not (account.available and account.debt)


@given(histories)
def test_points_are_never_spent_before_they_are_active_nor_after_they_expired(history: list[Step]) -> None:
    books = live(history)
    for entry in books.entries:
        for posting in entry.postings:
            if posting.source is Bucket.AVAILABLE and posting.target in (Bucket.REDEEMED, Bucket.HELD):
                account, lots = replay_to(books, entry)
                lot = lots[posting.lot_id]
                end = account.end_of(lot)
                assert end is None or entry.occurred_at < end
                assert lot.activates_at is None or entry.occurred_at >= lot.activates_at


def replay_to(books: Books, entry: Entry) -> tuple[Account, dict[Any, Lot]]:
    account = books.account
    before = books.entries[: entry.seq - 1]
    return replay(account.id, account.owner_id, "points", before, entry.occurred_at, UTC_ZONE)


@given(histories, st.lists(st.floats(0, 1), max_size=3).map(sorted))
def test_settling_late_equals_settling_in_time(history: list[Step], sweeps: list[float]) -> None:
    """One jump over many due instants writes the same entries as many steps, to the last figure."""
    end = day(20 + sum(step.pause for step in history) + 60)
    late = live(history, until=end)
    in_time = live(history, sweeps=sweeps, until=end)
    assert content(late.entries) == content(in_time.entries)
    assert state(late.account, late.lots) == state(in_time.account, in_time.lots)
    assert late.account.next_due_at == in_time.account.next_due_at


@settings(max_examples=60)
@given(histories, st.integers(0, 400))
def test_an_as_of_reading_does_not_depend_on_sweeps(history: list[Step], hours: int) -> None:
    """Read up to the end of what happened; holds apart, whose own records are not entries."""
    history = [step for step in history if step.verb != "hold"]
    as_of = day(20) + timedelta(hours=hours)
    read: list[Any] = []
    for books in (live(history), live(history, sweeps=(0.3, 0.9), until=day(400))):
        account, lots = replay(
            books.account.id, books.account.owner_id, "points", books.entries, as_of, UTC_ZONE
        )
        account.next_due_at = next_due(account, lots)
        settle_here(account, lots, (), as_of)
        assert not (account.available and account.debt)
        read.append(state(account, lots))
    assert read[0] == read[1]


@given(histories)
def test_the_stored_due_instant_is_the_next_at_which_something_happens(history: list[Step]) -> None:
    books = live(history)
    due = books.account.next_due_at
    if due is None:
        assert books.settle(day(10_000)) == []
    else:
        assert books.settle(due - timedelta(microseconds=1)) == []
        assert books.settle(due) != []
