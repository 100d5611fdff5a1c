"""What changes a whole program and takes all its lanes: publishing, moving a sandbox clock, closing a day."""

from datetime import datetime, timedelta
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from loyalty.base.calendar import CLOCK_DIFFERENCE_MAX, midnight
from loyalty.base.errors import Fault
from loyalty.posting.answers import ClockAnswer, DayAnswer, MoveAnswer, PublishedAnswer
from loyalty.posting.book import AuditLine, Work
from loyalty.posting.commands import AdvanceClock, CloseDay, MoveClock, Publish
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.detail import Detail
from loyalty.posting.types import (
    ConfigurationStale,
    DayClosed,
    DayNotOver,
    EffectiveInPast,
)
from loyalty.posting.validate import refuse_invalid
from loyalty.programs.types import ClockBackwards, ClockIsReal, SandboxClock


def publish(work: Work, command: Publish) -> Outcome:
    """Put a configuration in force at its recorded instant, or plan it for a later one.

    Raises: ConfigurationStale, ConfigurationInvalid, EffectiveInPast, ConfigurationFixed.
    """
    _hold_all(work)
    newest = 0 if work.book.history.empty else work.book.history.now.number
    if command.after is not None and command.after != newest:
        raise ConfigurationStale(number=newest)
    refuse_invalid(command.configuration, None if work.book.history.empty else work.book.history.now.settings)
    number = 1
    effective_at = work.now
    if not work.book.history.empty:
        current = work.book.history.now
        number = current.number + 1
        effective_at = _effective_at(command.effective_at, work.now)
    ruleset = replace(command.configuration.ruleset, version=number)
    configuration = replace(command.configuration, ruleset=ruleset)
    work.published = (number, effective_at, configuration)
    _note(work, "configuration.publish", str(number), {"effective_at": effective_at})
    return _outcome(
        work,
        "publish",
        PublishedAnswer(number, effective_at, number, work.decision_id),
        "loyalty.configuration.published",
        {
            "number": number,
            "effective_at": effective_at,
            "ruleset_version": number,
            "program": "live" if work.book.clock is None else "sandbox",
            # Of the very bytes that are stored: the chain answers for policies, rules and rewards too.
            "sha256": sha256("".join(part or "" for part in configuration.stored()).encode()).hexdigest(),
        },
    )


def _effective_at(wanted: datetime | None, now: datetime) -> datetime:
    """The instant that was asked for, never before `now`. Raises: EffectiveInPast."""
    if wanted is not None and wanted < now - CLOCK_DIFFERENCE_MAX:
        fault = Fault(
            "/effective_at", "out_of_range", "The instant has passed: what was judged by then stays."
        )
        raise EffectiveInPast(faults=(fault,), now=now)
    return max(wanted or now, now)


def move_clock(work: Work, command: MoveClock) -> Outcome:
    """Begin to move a sandbox program's clock; a run with the decision's id sets it to each due instant in turn."""
    now = _forward(work, command.to).now
    work.clock = SandboxClock(now, command.to, work.decision_id)
    _note(work, "clock.advance", command.to.isoformat(), {})
    return _outcome(
        work,
        "move_clock",
        MoveAnswer(work.decision_id, "clock", "queued", now, command.to, work.decision_id),
        "loyalty.clock.moving",
        {"to": command.to},
    )


def advance_clock(work: Work, command: AdvanceClock) -> Outcome:
    """Set a sandbox program's clock forward; at the end of its way the move is over."""
    clock = _forward(work, command.to)
    on_its_way = clock.moving_to is not None and command.to < clock.moving_to
    work.clock = SandboxClock(command.to, clock.moving_to if on_its_way else None, clock.moved_by)
    return _outcome(
        work,
        "advance_clock",
        ClockAnswer(command.to, work.decision_id),
        "loyalty.clock.advanced",
        {"to": command.to},
    )


def close_day(work: Work, command: CloseDay) -> Outcome:
    """Close one program day after its end: from this block on no block bears an instant of that day."""
    _hold_all(work)
    ends_at = midnight(command.on + timedelta(days=1), work.policies.zone)
    if work.now < ends_at:
        raise DayNotOver(ends_at=ends_at)
    if any(
        lane.last_closed_on is not None and lane.last_closed_on >= command.on
        for lane in work.book.lanes.values()
    ):
        raise DayClosed(on=command.on)
    work.closes_on = command.on
    return _outcome(
        work,
        "close_day",
        DayAnswer(command.on, work.now, work.decision_id),
        "loyalty.day.closed",
        {"on": command.on},
    )


def _forward(work: Work, to: datetime) -> SandboxClock:
    """The clock that is to be set to `to`. Raises: ClockIsReal, ClockBackwards."""
    _hold_all(work)
    clock = work.book.clock
    if clock is None:
        raise ClockIsReal
    if to < clock.now:
        raise ClockBackwards(now=clock.now)
    return clock


def _hold_all(work: Work) -> None:
    cells = range(work.book.cells)
    work.book.need_cells(cells)
    work.touched.update(cells)


def _note(work: Work, action: str, target: str, facts: dict[str, object]) -> None:
    detail = encode({**facts, "decision_id": work.decision_id})
    work.audit.append(AuditLine(work.book.ids(), action, target, "done", detail))


def _outcome(work: Work, kind: str, answer: Struct, event: str, data: dict[str, object]) -> Outcome:
    return Outcome(
        kind=kind,
        cell=0,
        member_id=None,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=dict(data)),
        status={"publish": 201, "move_clock": 202}.get(kind, 200),
        answer=answer,
        event=event,
        event_data=data,
    )
