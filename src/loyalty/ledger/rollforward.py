"""The roll-forward: what came to members and went from them, period by period, and what they had then.

Pure. A period is a local month or day; what moved counts in the one in which it occurred.
Source: docs/ledger.md, "Roll-forward".
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from loyalty.base.calendar import RoundUp, period_end, period_start
from loyalty.base.ids import NIL
from loyalty.ledger.postings import apply
from loyalty.ledger.settle import settle
from loyalty.ledger.types import Account, Bucket, EntryKind, Hold, Lot

_WITH_MEMBERS = frozenset(
    {Bucket.PENDING, Bucket.AVAILABLE, Bucket.HELD, Bucket.DEFICIT}
)  # deficit: below zero

_BY_KIND = {
    EntryKind.EARN: "earned",
    EntryKind.IMPORT: "imported",
    EntryKind.ADJUST_CREDIT: "adjusted",
    EntryKind.ADJUST_DEBIT: "adjusted",
}
_CAME = {
    Bucket.REDEEMED: "restored",
    Bucket.EXPIRED: "reinstated",
    Bucket.TRANSFERRED: "transferred_in",
}
_WENT = {
    Bucket.REDEEMED: "redeemed",
    Bucket.EXPIRED: "expired",
    Bucket.REVOKED: "revoked",
    Bucket.TRANSFERRED: "transferred_out",
}
OUT = frozenset(_WENT.values())  # columns that are taken off


class Moved(Struct, frozen=True):
    """Points that moved in one way in one period, which is named by its place."""

    place: int
    points_currency: str
    kind: EntryKind
    waived: bool  # by the entry's cause
    source: Bucket
    target: Bucket
    points: int


class Period(Struct, frozen=True):
    """What became of all members' points of one currency in one local month or day.

    opening + what came - what went = closing; both are less what members owe. `owed` is that debt at the end.
    """

    points_currency: str
    period: str  # 2017-01, 2017-01-31
    opening: int
    earned: int
    imported: int
    adjusted: int  # credits less debits by hand
    waived: int  # debts written off
    restored: int  # spent points given back
    reinstated: int  # expired points given back
    transferred_in: int
    redeemed: int
    expired: int
    revoked: int  # of what members still had, or owe now
    transferred_out: int
    closing: int
    owed: int


COLUMNS = Period.__struct_fields__[3:-2]


class RollForward(Struct, frozen=True):
    """Every period from the first movement to `at`, and what the accounts themselves hold then, less what is owed."""

    at: datetime
    periods: tuple[Period, ...]
    accounts: Mapping[str, int]  # by points currency

    def of(self, points_currency: str) -> "RollForward":
        """That of one points currency."""
        return RollForward(
            self.at,
            tuple(one for one in self.periods if one.points_currency == points_currency),
            {code: points for code, points in self.accounts.items() if code == points_currency},
        )

    def differences(self) -> list[str]:
        """What does not add up: periods by themselves, and the last closing with the accounts."""
        found: list[str] = []
        last = dict.fromkeys(self.accounts, 0)
        for one in self.periods:
            moved = sum(
                -points if name in OUT else points
                for name, points in ((name, getattr(one, name)) for name in COLUMNS)
            )
            last[one.points_currency] = one.closing
            if one.opening + moved != one.closing:
                found.append(
                    f"{one.points_currency} {one.period}: opening and movements come to {one.opening + moved:,},"
                    f" closing is {one.closing:,}"
                )
        for code, closing in last.items():
            if closing != self.accounts.get(code, 0):
                found.append(
                    f"{code}: the last closing is {closing:,}, the accounts hold {self.accounts.get(code, 0):,}"
                )
        return found


class Movements(Struct, frozen=True):
    """What a roll-forward is made of."""

    at: datetime
    periods: Sequence[str]  # their names
    moved: Sequence[Moved]
    accounts: Mapping[str, int]

    def rolled(self) -> RollForward:
        """All of it, summed up."""
        return RollForward(self.at, roll(self.moved, self.periods), self.accounts)


def first_days(first_on: date, last_on: date, by: RoundUp) -> list[date]:
    """The day on which each period begins, from the one that holds `first_on` to the one that holds `last_on`."""
    found = [period_start(first_on, by)]
    while (following := period_end(found[-1], by) + timedelta(days=1)) <= last_on:
        found.append(following)
    return found


def unwritten(
    account: Account, lots: dict[UUID, Lot], holds: Iterable[Hold], now: datetime, begins: Sequence[datetime]
) -> Iterator[Moved]:
    """What is due at `now` and in no entry yet, as if it were; the working copies are settled on the way.

    `begins` are the instants at which the periods begin.
    """
    for draft in settle(account, lots, holds, now):
        apply(account, lots, draft, id=NIL, decision_id=NIL)
        place = bisect_right(begins, draft.occurred_at) - 1
        for move in draft.postings:
            yield Moved(
                place, account.points_currency, draft.kind, False, move.source, move.target, move.points
            )


def owned(account: Account) -> int:
    """What the account's owner has, less what it owes."""
    return account.pending + account.available + account.held - account.debt


def roll(moved: Iterable[Moved], periods: Sequence[str]) -> tuple[Period, ...]:
    """By points currency every one of `periods`, those in which nothing moved among them."""
    sums = defaultdict[str, defaultdict[int, Counter[str]]](lambda: defaultdict(Counter))
    for one in moved:
        mine = sums[one.points_currency][one.place]
        net = ((one.target in _WITH_MEMBERS) - (one.source in _WITH_MEMBERS)) * one.points
        mine["net"] += net
        mine["owed"] += ((one.source is Bucket.DEFICIT) - (one.target is Bucket.DEFICIT)) * one.points
        column = _column(one, net)
        if column is not None:
            mine[column] += -net if column in OUT else net
    return tuple(_rolled(sums, periods))


def _rolled(sums: Mapping[str, Mapping[int, Counter[str]]], periods: Sequence[str]) -> Iterator[Period]:
    for code, moved in sorted(sums.items()):
        opening = owed = 0
        for place, name in enumerate(periods):
            mine = moved.get(place) or Counter[str]()
            closing, owed = opening + mine["net"], owed + mine["owed"]
            columns = {column: mine[column] for column in COLUMNS}
            yield Period(
                points_currency=code, period=name, opening=opening, closing=closing, owed=owed, **columns
            )
            opening = closing


def _column(one: Moved, net: int) -> str | None:
    """Where it stands; None: nothing came or went, points only changed their place."""
    if not net:
        return None
    if one.waived and one.kind is EntryKind.ADJUST_CREDIT:
        return "waived"
    return _BY_KIND.get(one.kind) or (_CAME.get(one.source) if net > 0 else _WENT.get(one.target))
