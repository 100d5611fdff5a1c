"""Limits against theft: how much a member may spend in a day and a week, and how much may leave at one till.

They bite after all else is in order, and what they refuse is recorded: an attempt is worth knowing of.
Source: docs/adjustments.md, "Spending limits".
"""

from datetime import datetime, timedelta
from uuid import UUID

from loyalty.base.calendar import CapPeriod, local_date, midnight, period_of
from loyalty.posting.answers import AttemptAnswer
from loyalty.posting.book import AuditLine, Work
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.detail import Detail
from loyalty.posting.types import SpendingLimit
from loyalty.rules.types import CounterKey

Limit = tuple[
    str, UUID, CounterKey, int | None, datetime
]  # name, whose, counter, maximum (None: only counted), until


def within_limits(
    work: Work, member_id: UUID, points_currency: str, points: int, till: str | None = None
) -> None:
    """Count `points` that a member is about to spend; the last check of whoever spends, holds or gives away.

    Call it once for what one command takes in all, fees included. A till is the credential of one, and by its name
    where it says it; its counters live in the program's own lane.
    Raises: SpendingLimit; nothing is counted then, but the attempt is recorded.
    """
    limits = _limits(work, member_id, points_currency, till)
    work.book.know_counters((owner, key) for _, owner, key, _, _ in limits)
    for name, owner, key, maximum, until in limits:
        used = work.counter(owner, key)
        if maximum is not None and used + points > maximum:
            raise SpendingLimit(
                limit=name,
                member_id=member_id,
                points_currency=points_currency,
                wanted=points,
                maximum=maximum,
                used=used,
                until=until,
            )
    for owner, key in {(owner, key): None for _, owner, key, _, _ in limits}:
        work.use(owner, key, points)


def _limits(work: Work, member_id: UUID, points_currency: str, till: str | None) -> list[Limit]:
    policy, zone = work.policies.settings.policies.spending_limits, work.policies.zone
    actor = work.submission.actor
    on = local_date(work.now, zone)
    tomorrow, monday = on + timedelta(days=1), on + timedelta(days=7 - on.weekday())
    day = CounterKey(f"member:spend:{points_currency}", on.isoformat())
    found: list[Limit] = []
    if policy.changed_hours:
        changed_at = work.book.changed_at(member_id)
        lower_until = None if changed_at is None else changed_at + timedelta(hours=policy.changed_hours)
        if lower_until is not None and work.now < lower_until:
            until = min(lower_until, midnight(tomorrow, zone))
            found.append(("after_change", member_id, day, policy.changed_day_max, until))
    if (
        policy.member_day_max is not None or policy.changed_hours
    ):  # what is spent before a change counts after it
        found.append(("member_day", member_id, day, policy.member_day_max, midnight(tomorrow, zone)))
    if policy.member_week_max is not None:
        week = CounterKey(f"member:spend:{points_currency}", period_of(on, CapPeriod.WEEK))
        found.append(("member_week", member_id, week, policy.member_week_max, midnight(monday, zone)))
    if policy.till_day_max is not None and actor.role == "pos":
        at_till = CounterKey(f"till:{till or ''}:{points_currency}", on.isoformat())
        found.append(("till_day", actor.id, at_till, policy.till_day_max, midnight(tomorrow, zone)))
    return found


def attempt(work: Work, refusal: SpendingLimit) -> Outcome:
    """The record of an attempt that a limit refused: a decision without entries, its event, a line of the audit log."""
    facts = dict(refusal.facts)
    member_id: UUID = facts.pop("member_id")
    work.audit.append(
        AuditLine(
            work.book.ids(),
            "spending.limit",
            str(member_id),
            "refused",
            encode({**facts, "decision_id": work.decision_id}),
        )
    )
    return Outcome(
        kind="attempt",
        cell=work.book.home(member_id),
        member_id=member_id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=facts),
        status=409,
        answer=AttemptAnswer(**facts),
        event="loyalty.spending.limited",
        event_data=facts,
    )
