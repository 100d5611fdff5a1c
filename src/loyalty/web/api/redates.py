"""Other ends for points given before a policy was changed: planned by whoever may, confirmed by a person."""

from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access import audit
from loyalty.access.roles import Permission
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.jobs.redates import confirm, confirmed, plan_of, refuse_other
from loyalty.jobs.service import doing, get_run, queue_run, refuse_crowd
from loyalty.jobs.types import RedatePlanUnfinished, Run, RunKind, RunNotFound, TooManyRuns
from loyalty.posting.commands import Answer
from loyalty.posting.types import PeopleOnly, PointsCurrencyUnknown, RedatePlanStale
from loyalty.web.api import wire
from loyalty.web.api.operations import RunView, run_view
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.once import once

REDATES = "/v1/redates"


class RedateView(RunView, frozen=True):
    """A plan, or the run that does one."""

    redate_id: UUID | None  # of a plan that was confirmed: the run that does it, the last of several


@post(
    REDATES,
    Permission.REDATE,
    keyed=True,
    answers={202: RedateView},
    refusals=(PointsCurrencyUnknown, TooManyRuns),
)
async def plan_redates(call: Call, body: wire.RedatePlanBody) -> Answer:
    """Find which points would end on another day if the policy of expiry now in force were applied to all there are.

    Nothing is changed. The run's result has members, lots and points, also by month of old and new last day, how many
    points would expire at once and of how many members, and the digest by which the plan is confirmed.
    """
    history, now = await call.runtime.history(call.program_id), await call.runtime.now(call.program_id)

    async def queue(connection: AsyncConnection) -> tuple[Answer, bytes]:
        given = plan_of(body.points_currency, history, now)
        at, ids = call.runtime.clock.now(), call.door.ids
        await refuse_crowd(connection, call.program_id, RunKind.REDATE_PLAN)
        return _queued(
            await queue_run(connection, call.program_id, RunKind.REDATE_PLAN, at=at, ids=ids, given=given)
        )

    return await once(call, canonical(body), queue)


@get(f"{REDATES}/{{run}}", Permission.REDATE, answers={200: RedateView}, refusals=(RunNotFound,))
async def read_redates(call: Call, run: UUID) -> Answer:
    """How far a plan, or the run that does one, is; its figures; and whether a plan was confirmed."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = refuse_other(await get_run(connection, call.program_id, run))
        return reply(_view(found, await doing(connection, found)))


@post(
    f"{REDATES}/{{run}}/confirm",
    Permission.REDATE,
    keyed=True,
    answers={202: RedateView},
    refusals=(RunNotFound, PeopleOnly, RedatePlanUnfinished, RedatePlanStale),
)
async def confirm_redates(call: Call, run: UUID, body: wire.RedateConfirmBody) -> Answer:
    """Have a plan done: a person's decision, on the figures that `digest` stands for.

    A second run gives every lot its new end, each member's in a decision of its own. Points that are over by then
    expire. What the policy in force no longer wants is refused, also on the way. Confirmed again, it is the same run.
    """
    history, now = await call.runtime.history(call.program_id), await call.runtime.now(call.program_id)

    async def queue(connection: AsyncConnection) -> tuple[Answer, bytes]:
        plan = await get_run(connection, call.program_id, run)
        if plan.kind is not RunKind.REDATE_PLAN:
            raise RunNotFound
        if call.actor.kind != "staff":
            raise PeopleOnly
        given = confirmed(plan, body.digest, history, now)
        at, ids = call.runtime.clock.now(), call.door.ids
        made, new = await confirm(connection, plan, given, at=at, ids=ids)
        if new:
            detail = {"digest": body.digest}
            await audit.record(
                connection, call.principal, "redate.confirm", str(run), at=at, ids=ids, detail=detail
            )
        return _queued(made)

    return await once(call, canonical((run, body)), queue)


def _queued(run: Run) -> tuple[Answer, bytes]:
    answer = reply(_view(run), 202, {"location": f"{REDATES}/{run.id}"})
    return answer, answer.body


def _view(run: Run, redate_id: UUID | None = None) -> RedateView:
    return RedateView(**msgspec.structs.asdict(run_view(run)), redate_id=redate_id)
