"""What is asked of the ledger: balances now and as of, lots, statement. Every answer is settled, nothing is written.

The caller brings a reading connection of the program, where the owner's rows are, the points currencies and
zone of the configuration in force, and the program clock's instant.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.aside import LONG, Aside
from loyalty.base.calendar import RoundUp, local_date, midnight
from loyalty.base.ids import NIL
from loyalty.ledger import rollforward, store
from loyalty.ledger.asof import held_then, replay, settle_here
from loyalty.ledger.expiry import expiring, last_day_on
from loyalty.ledger.postings import apply
from loyalty.ledger.settle import next_due, settle
from loyalty.ledger.statement import figures, line, newest_first
from loyalty.ledger.types import (
    Account,
    Balance,
    Balances,
    Entry,
    EntryKind,
    Expiring,
    HoldNotFound,
    HoldState,
    HoldView,
    Lot,
    LotView,
    PlacedHold,
    Statement,
    StatementLine,
)
from loyalty.programs.types import PointsCurrency

_TOGETHER = 500  # accounts read at once for a roll-forward


class Owner(msgspec.Struct, frozen=True):
    """Whose points, and where: a member or household with the cell of its rows."""

    program_id: UUID
    cell: int
    id: UUID


async def balances(
    connection: AsyncConnection,
    aside: Aside,
    owner: Owner,
    currencies: Iterable[PointsCurrency],
    zone: ZoneInfo,
    now: datetime,
    *,
    as_of: datetime | None = None,
    recorded_by: datetime | None = None,
) -> Balances:
    """What the owner holds, of every points currency; with `as_of` or `recorded_by` what it held then.

    `as_of`: what had happened by then (at most `now`); `recorded_by`: as was known then, cut to the last
    recorded instant of the lane. Asked again with both, the answer stays the same for ever, once there is a block of
    a later instant: several may bear the same.
    """
    instant = now if as_of is None else min(as_of, now)
    stored: dict[str, store.Held] = {}
    known = None
    if as_of is None and recorded_by is None:
        stored = await store.held(connection, owner.program_id, owner.cell, owner.id)
    else:
        known = await store.last_recorded_at(connection, owner.program_id, owner.cell)
        if known is not None:
            known = known if recorded_by is None else min(recorded_by, known)
            stored = await _as_of(connection, aside, owner, instant, known, zone)
    found = await aside(
        owner.program_id, _lots_in(stored), partial(settled, stored, currencies, zone, instant)
    )
    return Balances(instant, known, found)


def settled(
    stored: Mapping[str, store.Held], currencies: Iterable[PointsCurrency], zone: ZoneInfo, now: datetime
) -> tuple[Balance, ...]:
    """The balance of every points currency at `now`; the working copies in `stored` are settled on the way."""
    found: list[Balance] = []
    for currency in currencies:
        held = stored.get(currency.code)
        if held is None:
            found.append(Balance(currency.code, 0, 0, 0, 0, None))
            continue
        settle_here(held.account, held.lots, held.holds, now)
        found.append(_balance(held.account, held.lots, zone))
    return tuple(found)


async def _as_of(
    connection: AsyncConnection,
    aside: Aside,
    owner: Owner,
    as_of: datetime,
    recorded_by: datetime,
    zone: ZoneInfo,
) -> dict[str, store.Held]:
    accounts = await store.accounts_of(connection, owner.program_id, owner.cell, owner.id)
    ids = {account.id: code for code, account in accounts.items()}
    entries = await store.history(connection, aside, owner.program_id, owner.cell, ids, recorded_by)
    placed = [one.id for mine in entries.values() for one in mine if one.kind is EntryKind.HOLD]
    deadlines = await store.deadlines(connection, owner.program_id, owner.cell, placed)

    def again() -> dict[str, store.Held]:
        found: dict[str, store.Held] = {}
        for id, code in ids.items():
            mine = entries.get(id, ())
            then, lots = replay(id, owner.id, code, mine, as_of, zone)
            holds = held_then(id, mine, deadlines, as_of, recorded_by)
            then.next_due_at = next_due(then, lots, holds)
            found[code] = store.Held(then, lots, holds)
        return found

    return await aside(owner.program_id, sum(map(len, entries.values())), again)


async def has_many_lots(connection: AsyncConnection, owner: Owner) -> bool:
    """Whether the owner's lots are long work (base/aside.py), so that not many may be read at once."""
    return await store.open_lots(connection, owner.program_id, owner.cell, owner.id) > LONG


async def lots(
    connection: AsyncConnection,
    aside: Aside,
    owner: Owner,
    zone: ZoneInfo,
    now: datetime,
    *,
    points_currency: str | None = None,
) -> list[LotView]:
    """The lots with points still there, of one points currency or all: those that expire first come first."""
    stored = await store.held(connection, owner.program_id, owner.cell, owner.id)

    def views() -> list[LotView]:
        found: list[LotView] = []
        for code, held in stored.items():
            if points_currency in (None, code):
                settle_here(held.account, held.lots, held.holds, now)
                found += [_view(held.account, lot, zone) for lot in held.lots.values() if lot.open]
        found.sort(key=lambda lot: (lot.expires_at is None, lot.expires_at or now, lot.earned_at, lot.id))
        return found

    return await aside(owner.program_id, _lots_in(stored), views)


async def hold(connection: AsyncConnection, program_id: UUID, cell: int, id: UUID, now: datetime) -> HoldView:
    """A hold as it stands at `now`. Raises: HoldNotFound."""
    found = await store.hold(connection, program_id, cell, id)
    if found is None:
        raise HoldNotFound
    return hold_view(found, now)


async def open_holds(connection: AsyncConnection, owner: Owner, now: datetime) -> list[HoldView]:
    """The owner's holds that are open at `now`: those that lapse first come first."""
    stored = await store.open_holds(connection, owner.program_id, owner.cell, owner.id)
    found = [hold_view(one, now) for one in stored]
    return sorted(
        (one for one in found if one.state is HoldState.OPEN), key=lambda one: (one.lapses_at, one.id)
    )


def hold_view(hold: PlacedHold, now: datetime) -> HoldView:
    """A hold as it stands at `now`, whether its lapse was written or not."""
    over = hold.state is HoldState.OPEN and hold.lapses_at <= now
    return HoldView(
        id=hold.id,
        state=HoldState.LAPSED if over else hold.state,
        member_id=hold.owner_id,
        points_currency=hold.points_currency,
        points=hold.points,
        held=0 if over else hold.held,
        captured=hold.captured,
        held_at=hold.held_at,
        lapses_at=hold.lapses_at,
        ended_at=hold.lapses_at if over else hold.ended_at,
        reference=hold.reference,
        till=hold.till,
        location=hold.location,
        decision_id=hold.deadlines[0].decision_id,
        reward=hold.reward,
        quantity=hold.quantity,
    )


async def statement(
    connection: AsyncConnection,
    aside: Aside,
    owner: Owner,
    currencies: Sequence[PointsCurrency],
    zone: ZoneInfo,
    now: datetime,
    *,
    limit: int,
    before: Mapping[str, int] | None = None,
) -> Statement:
    """A page of the owner's entries in `currencies`, newest first, each with the balance it left.

    The first page begins with what is due at `now` and not yet written. `before` is the last page's own.
    """
    accounts = await store.accounts_of(connection, owner.program_id, owner.cell, owner.id)
    shown = {code.code: code for code in currencies if code.code in accounts}
    lines: list[StatementLine] = []
    if before is None and any(_is_due(accounts[code], now) for code in shown):
        stored = await store.held(connection, owner.program_id, owner.cell, owner.id)
        for code, currency in shown.items():
            unwritten = partial(_unwritten, stored[code], currency, zone, now)
            lines += await aside(owner.program_id, len(stored[code].lots), unwritten)
    wanted = {accounts[code].id: (before or {}).get(code) for code in shown}
    # One entry more than shown: it tells the balance before the last one, and whether there is another page.
    pages = await store.page(connection, owner.program_id, owner.cell, wanted, limit + 1)
    for code, currency in shown.items():
        lines += _written(pages[accounts[code].id], currency, zone, limit)
    ordered = newest_first(lines)
    due = sum(1 for one in ordered if one.id is None)
    taken = ordered[: due + limit]
    more = len(ordered) > due + limit or any(len(page.entries) > limit for page in pages.values())
    if not more:
        return Statement(tuple(taken), None)
    bounds: dict[str, int] = {}
    for code in shown:
        entries = pages[accounts[code].id].entries
        if entries:
            # Of what was shown the last; where nothing was, all that was there for this page.
            bounds[code] = entries[0].seq + 1
    bounds |= {one.points_currency: one.seq for one in taken if one.seq is not None}
    return Statement(tuple(taken), (dict(before) if before else {}) | bounds)


async def movements(
    connection: AsyncConnection, program_id: UUID, cells: int, zone: ZoneInfo, now: datetime, by: RoundUp
) -> rollforward.Movements:
    """All that moved members' points from the first movement to `now`, by local month or day.

    What is due and not yet written counts as if it were. Needs: a snapshot in which nothing is later than `now`.
    """
    first = await store.first_occurred_at(connection, program_id)
    days = rollforward.first_days(local_date(first or now, zone), local_date(now, zone), by)
    begins = [midnight(on, zone) for on in days]
    moved, accounts = list[rollforward.Moved](), Counter[str]()
    for cell in range(cells):
        moved += await store.moved(connection, program_id, cell, begins)
        accounts.update(await store.owned(connection, program_id, cell))
        after: tuple[datetime, UUID] | None = None
        more = True
        while more:
            due = await store.due(connection, program_id, cell, now, after, _TOGETHER)
            more = len(due) == _TOGETHER
            for account, open_lots, open_holds in due:
                assert account.next_due_at is not None, "it was found by it"
                after = account.next_due_at, account.id
                before = rollforward.owned(account)
                moved += rollforward.unwritten(account, open_lots, open_holds, now, begins)
                accounts[account.points_currency] += rollforward.owned(account) - before
    names = [on.isoformat()[: 7 if by is RoundUp.MONTH else 10] for on in days]
    return rollforward.Movements(now, names, moved, accounts)


def _is_due(account: Account, now: datetime) -> bool:
    return account.next_due_at is not None and account.next_due_at <= now


def _lots_in(stored: Mapping[str, store.Held]) -> int:
    return sum(len(held.lots) for held in stored.values())


def _unwritten(
    held: store.Held, currency: PointsCurrency, zone: ZoneInfo, now: datetime
) -> list[StatementLine]:
    account = held.account
    found: list[StatementLine] = []
    for draft in settle(account, held.lots, held.holds, now):
        left = (account.pending, account.available, account.held, account.debt)
        entry = apply(account, held.lots, draft, id=NIL, decision_id=NIL)
        found.append(
            line(
                entry,
                left,
                currency=currency,
                zone=zone,
                recorded_at=None,
                about=None,
            )
        )
    return found


def _written(page: store.Page, currency: PointsCurrency, zone: ZoneInfo, limit: int) -> list[StatementLine]:
    older: list[Entry | None] = [*page.entries[1:], None]
    return [
        line(
            entry,
            figures(previous) if previous is not None else (0, 0, 0, 0),
            currency=currency,
            zone=zone,
            recorded_at=page.recorded_at[entry.id],
            about=page.about.get(entry.decision_id),
        )
        for entry, previous in zip(page.entries[:limit], older, strict=False)
    ]


def _balance(account: Account, lots: Mapping[UUID, Lot], zone: ZoneInfo) -> Balance:
    ends = expiring(account, lots.values())
    first = min(ends, default=None)
    next_end = None if first is None else Expiring(ends[first], first, last_day_on(first, zone))
    return Balance(
        account.points_currency, account.available, account.pending, account.held, account.debt, next_end
    )


def _view(account: Account, lot: Lot, zone: ZoneInfo) -> LotView:
    end = account.end_of(lot)
    return LotView(
        id=lot.id,
        points_currency=account.points_currency,
        points=lot.points,
        available=lot.available,
        pending=lot.pending,
        held=lot.held,
        earned_at=lot.vintage_at,
        activates_at=lot.activates_at,
        expires_at=end,
        last_day_on=None if end is None else last_day_on(end, zone),
        slides=lot.sliding,
        decision_id=lot.decision_id,
    )
