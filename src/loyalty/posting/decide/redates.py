"""Lots get the ends that the policy of their points currency gives them now.

Which lots, the plan and the command find by the same function, each in what is there when it looks.
"""

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from loyalty.ledger.redates import Figures, NewDates, redated
from loyalty.ledger.types import Lot
from loyalty.ledger.undo import redate
from loyalty.posting.answers import RedatedAnswer
from loyalty.posting.book import Work
from loyalty.posting.commands import MemberRef, RedateLots
from loyalty.posting.configuration import History
from loyalty.posting.decide.outcome import Outcome, balances
from loyalty.posting.detail import Detail
from loyalty.posting.types import NothingDue, RedatePlanStale

POLICY_CHANGED = "policy_changed"


def redate_lots(work: Work, command: RedateLots) -> Outcome:
    """New ends for the open lots of one account; what is over by them expires at once.

    Raises: RedatePlanStale, NothingDue.
    """
    member = work.book.resolve(MemberRef(id=command.member_id))
    code, history = command.points_currency, work.book.history
    if not still_so(history, command.number, code, work.now):
        raise RedatePlanStale(configuration=work.policies.number)
    account = work.account(member.id, code)
    lots = {} if account is None else work.open_lots(account)
    changed = new_dates(lots.values(), code, history, work.now, work.joined_on(member.id))
    if account is None or not changed:
        raise NothingDue
    figures = Figures()
    figures.add(lots, changed, work.now, work.policies.zone)
    work.post(account, redate(account, lots, changed, work.now, POLICY_CHANGED))
    work.settle(account)
    note: dict[str, object] = {
        "points_currency": code,
        "configuration": command.number,
        "lots": figures.lots,
        "points": figures.points,
        "expired": figures.expiring,
    }
    return Outcome(
        kind="redate",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=note),
        status=200,
        answer=RedatedAnswer(
            member_id=member.id,
            points_currency=code,
            lots=figures.lots,
            points=figures.points,
            expired=figures.expiring,
            balances=balances(work, member.id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.points.redated",
        event_data=note,
    )


def still_so(history: History, number: int, points_currency: str, now: datetime) -> bool:
    """Whether points expire now as the configuration `number` says."""
    then, in_force = history.numbered(number), history.at(now)
    return then.currencies[points_currency].expiry == in_force.currencies[points_currency].expiry


def new_dates(
    lots: Iterable[Lot], points_currency: str, history: History, now: datetime, joined_on: date
) -> dict[UUID, NewDates]:
    """An account's open lots that the policy in force dates otherwise, with their new dates."""
    in_force = history.at(now)
    after = in_force.currencies[points_currency]
    found: dict[UUID, NewDates] = {}
    for number, same in _by_policy(lots).items():
        issued = history.numbered(number).currencies[points_currency]
        came = [one.currencies.get(points_currency) for one in history.succession(number, now)]
        since = {one.expiry: one for one in came if one is not None}.values()
        for lot in same:
            dates = redated(lot, issued, since, after, in_force.zone, joined_on)
            if dates is not None:
                found[lot.id] = dates
    return found


def _by_policy(lots: Iterable[Lot]) -> dict[int, list[Lot]]:
    """Open lots by the configuration whose policies dated them."""
    found: dict[int, list[Lot]] = {}
    for lot in lots:
        if lot.open:
            found.setdefault(lot.policy_number, []).append(lot)
    return found
