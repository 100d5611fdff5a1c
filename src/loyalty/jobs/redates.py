"""Redates after a policy was changed: a run plans, a person looks at its figures, another run does what was confirmed.

Both go through all accounts of a points currency, lane by lane, in small snapshots, and note how far they are: a
worker that takes one over goes on there. What is done twice changes nothing the second time.
"""

import hashlib
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.calendar import local_date
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.ids import NIL, Ids
from loyalty.jobs.road import send, stopped
from loyalty.jobs.runs import Report, keep
from loyalty.jobs.service import queue_run
from loyalty.jobs.store import of_plan
from loyalty.jobs.types import RedatePlanUnfinished, Run, RunKind, RunNotFound, RunState
from loyalty.ledger import store
from loyalty.ledger.asof import settle_here
from loyalty.ledger.redates import Figures, NewDates
from loyalty.ledger.store import Held
from loyalty.members.store import joined_at
from loyalty.posting.commands import RedateLots
from loyalty.posting.configuration import History
from loyalty.posting.decide.redates import new_dates, still_so
from loyalty.posting.runtime import Runtime
from loyalty.posting.types import PointsCurrencyUnknown, RedatePlanStale

CHUNK = 200  # accounts in one snapshot

Changed = tuple[Held, dict[UUID, NewDates]]


class Input(Struct, frozen=True):
    """What a run is for: the number is that of the configuration in force when the plan was asked for."""

    points_currency: str
    number: int
    plan: UUID | None = None  # of what was confirmed


class Place(Struct):
    """How far a run is, and what it counted so far; callers are shown `accounts` and `figures` of it."""

    cell: int = 0
    after: UUID = NIL  # account
    accounts: int = 0
    figures: Figures = msgspec.field(default_factory=Figures)
    counted: bool = False  # whether the figures hold those of the accounts that come next


def plan_of(points_currency: str, history: History, now: datetime) -> dict[str, Any]:
    """The input of a plan. Raises: PointsCurrencyUnknown."""
    in_force = history.at(now)
    if points_currency not in in_force.currencies:
        raise PointsCurrencyUnknown(points_currency=points_currency)
    return msgspec.to_builtins(Input(points_currency, in_force.number))


def confirmed(plan: Run, digest: str, history: History, now: datetime) -> dict[str, Any]:
    """The input of the run that does what `plan` found. Raises: RedatePlanUnfinished, RedatePlanStale.

    A plan is good for the program day on which it was made: tomorrow more of the points would be over at once.
    """
    if plan.state is not RunState.SUCCEEDED or plan.result is None:
        raise RedatePlanUnfinished(state=plan.state)
    told = msgspec.convert(plan.input, Input)
    in_force = history.at(now)
    same = digest == plan.result["digest"] and still_so(history, told.number, told.points_currency, now)
    if not same or plan.result["day"] != local_date(now, in_force.zone).isoformat():
        raise RedatePlanStale(configuration=in_force.number)
    return msgspec.to_builtins(msgspec.structs.replace(told, plan=plan.id))


async def confirm(
    connection: AsyncConnection, plan: Run, given: dict[str, Any], *, at: datetime, ids: Ids
) -> tuple[Run, bool]:
    """The run that does a plan, and whether it is new: a plan is done once, however often it is confirmed.

    One that failed is followed by another. Needs: a transaction, in which nobody else confirms this plan.
    """
    known = await of_plan(connection, plan)
    if known is not None:
        return known, False
    return await queue_run(connection, plan.program_id, RunKind.REDATE, at=at, ids=ids, given=given), True


def refuse_other(run: Run) -> Run:
    """A run that is about redates. Raises: RunNotFound."""
    if run.kind not in (RunKind.REDATE_PLAN, RunKind.REDATE):
        raise RunNotFound
    return run


async def plan_redates(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """What the policy in force would change of the lots there are; the digest stands for these figures."""
    told = msgspec.convert(run.input, Input)
    place = _begin(run)
    day = local_date(await runtime.now(run.program_id), (await runtime.history(run.program_id)).now.zone)
    async for _ in _walk(runtime, run, told, place):
        report(msgspec.to_builtins(place))
    figures = msgspec.to_builtins(place.figures.ordered())
    result = {
        "points_currency": told.points_currency,
        "configuration": told.number,
        "day": day.isoformat(),
        **figures,
    }
    return {**result, "digest": hashlib.sha256(canonical(result)).hexdigest()}


async def redate_everybody(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Send one command for every account that has something to change.

    Raises: RedatePlanStale when the policy is no longer that of the plan.
    """
    told = msgspec.convert(run.input, Input)
    place = _begin(run)
    async for now, history, found in _walk(runtime, run, told, place):
        # Now, or who takes over would find some of them done and not count them.
        await keep(runtime, run, report, msgspec.to_builtins(place))
        owners = [held.account.owner_id for held, _ in found]
        commands = {f"redate {id}": RedateLots(id, told.points_currency, told.number) for id in owners}
        fine = frozenset({"nothing_due", "member_erased"})  # somebody else did it; gone meanwhile
        _, left = await send(runtime, run.program_id, commands, fine)
        if RedatePlanStale.code in left:
            raise RedatePlanStale(configuration=history.at(now).number)
        if left:
            raise stopped("not redated", left)
    return {"points_currency": told.points_currency, **msgspec.to_builtins(place.figures.ordered())}


def _begin(run: Run) -> Place:
    """Where an earlier try of the run left off."""
    told = run.progress or {}
    return msgspec.convert(told, Place) if "after" in told else Place()


async def _walk(
    runtime: Runtime, run: Run, told: Input, place: Place
) -> AsyncGenerator[tuple[datetime, History, list[Changed]]]:
    """Chunk after chunk, the accounts of which lots would change, counted; `place` is moved on behind each."""
    history = await runtime.history(run.program_id)
    while place.cell < runtime.settings.cells:
        now = await runtime.now(run.program_id)
        async with reading(runtime.engine, run.program_id) as connection:
            some = await store.accounts_after(
                connection, run.program_id, place.cell, told.points_currency, place.after, CHUNK
            )
            joined = await joined_at(
                connection, run.program_id, place.cell, [held.account.owner_id for held in some]
            )
        found: list[Changed] = []
        zone = history.now.zone
        for held in some:
            settle_here(held.account, held.lots, held.holds, now)
            if changed := new_dates(
                held.lots.values(),
                told.points_currency,
                history,
                now,
                local_date(joined[held.account.owner_id], zone),
            ):
                found.append((held, changed))
        if not place.counted:
            place.accounts += len(some)
            for held, changed in found:
                place.figures.add(held.lots, changed, now, history.at(now).zone)
        place.counted = True
        yield now, history, found
        place.counted = False
        if len(some) == CHUNK:
            place.after = some[-1].account.id
        else:
            place.cell, place.after = place.cell + 1, NIL
