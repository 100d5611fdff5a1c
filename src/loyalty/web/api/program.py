"""The program itself: its configurations, published as numbered wholes, and a sandbox's clock."""

import re
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.jobs.service import queue_move
from loyalty.jobs.types import RunKind, TooManyRuns
from loyalty.posting.answers import MoveAnswer, PublishedAnswer
from loyalty.posting.commands import Answer, MoveClock, Publish
from loyalty.posting.configuration import Configuration
from loyalty.posting.types import ConfigurationFixed, ConfigurationStale, EffectiveInPast
from loyalty.posting.validate import changes_what_is_fixed, faults, refuse_invalid
from loyalty.programs import store
from loyalty.programs.service import get_program
from loyalty.programs.types import (
    ClockBackwards,
    ClockIsReal,
    ClockMoving,
    ConfigurationInvalid,
    ProgramKind,
    ProgramNotFound,
    ProgramSettings,
)
from loyalty.rewards.types import Catalogue
from loyalty.rules.types import Ruleset
from loyalty.tiers.types import TierSets
from loyalty.web.api import wire
from loyalty.web.api.operations import RunView, ask_for
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.types import ConfigurationNotFound, FaultView, MalformedRequest

CONFIGURATIONS = "/v1/program/configurations"
ETAG = {"ETag": "A configuration's number; send it as If-Match when publishing the next one."}


class Scheduled(Struct, frozen=True):
    """A configuration that is published and not in force yet."""

    number: int
    effective_at: datetime


class ProgramView(Struct, frozen=True):
    """The program as it is now."""

    id: UUID
    kind: ProgramKind
    created_at: datetime
    now: datetime  # by the program's own clock
    moving_to: datetime | None  # while a sandbox's clock is being moved: where to
    configuration: int  # number of the one in force
    settings: ProgramSettings
    scheduled: tuple[Scheduled, ...]  # what comes in force later, in that order


class ConfigurationSummary(Struct, frozen=True):
    number: int
    effective_at: datetime
    published_at: datetime
    ruleset_version: int
    rules: int
    rewards: int
    tier_sets: int


class ConfigurationPage(Struct, frozen=True):
    data: tuple[ConfigurationSummary, ...]
    next_cursor: str | None


class ConfigurationView(Struct, frozen=True):
    number: int
    effective_at: datetime
    published_at: datetime
    settings: ProgramSettings
    ruleset: Ruleset
    rewards: Catalogue
    tier_sets: TierSets


class Judgement(Struct, frozen=True):
    """Whether a configuration can be published, and everything that stands against it."""

    valid: bool
    faults: tuple[FaultView, ...]


@get(
    "/v1/program",
    Permission.CONFIG_READ,
    answers={200: ProgramView},
    refusals=(ProgramNotFound,),
    headers=ETAG,
)
async def read_program(call: Call) -> Answer:
    """The program of this credential: its time, the configuration in force, and what is scheduled.

    The ETag names the newest number, in force or scheduled: whoever publishes next publishes over that one.
    """
    runtime, program_id = call.runtime, call.program_id
    program = await get_program(runtime.engine, program_id)
    history, now = await runtime.history(program_id), await runtime.now(program_id)
    async with reading(runtime.engine, program_id) as connection:
        clock = await store.sandbox_clock(connection, program_id)
    in_force = history.at(now)
    scheduled = tuple(Scheduled(one.number, one.effective_at) for one in history.scheduled(now))
    view = ProgramView(
        program.id,
        program.kind,
        program.created_at,
        now,
        clock and clock.moving_to,
        in_force.number,
        in_force.settings,
        scheduled,
    )
    return reply(view, headers={"etag": f'"{history.now.number}"'})


@get(CONFIGURATIONS, Permission.CONFIG_READ, answers={200: ConfigurationPage}, refusals=(InvalidCursor,))
async def list_configurations(call: Call, query: wire.PageQuery) -> Answer:
    """Every configuration that was ever published, oldest first."""
    after = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        rows = await store.load_published(
            connection, call.program_id, after[0] if after else 0, query.limit + 1
        )
    summaries = [
        ConfigurationSummary(
            row.number,
            row.effective_at,
            row.published_at,
            read.ruleset.version,
            len(read.ruleset.rules),
            len(read.rewards),
            len(read.tier_sets),
        )
        for row in rows
        for read in (_read(row),)
    ]
    return call.page(summaries, query.limit, lambda one: [one.number])


@get(
    f"{CONFIGURATIONS}/{{number}}",
    Permission.CONFIG_READ,
    answers={200: ConfigurationView},
    refusals=(ConfigurationNotFound,),
    headers=ETAG,
)
async def read_configuration(call: Call, number: int) -> Answer:
    """One configuration with its settings, rules, rewards and tier sets. It never changes."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        rows = await store.load_published(connection, call.program_id, number - 1, 1)
    if not rows or rows[0].number != number:
        raise ConfigurationNotFound
    row = rows[0]
    read = _read(row)
    view = ConfigurationView(
        row.number,
        row.effective_at,
        row.published_at,
        read.settings,
        read.ruleset,
        read.rewards,
        read.tier_sets,
    )
    return reply(view, headers={"etag": f'"{row.number}"'})


@post(
    CONFIGURATIONS,
    Permission.CONFIG_PUBLISH,
    keyed=True,
    answers={201: PublishedAnswer},
    refusals=(ConfigurationInvalid, EffectiveInPast, ConfigurationFixed, ConfigurationStale),
    takes={"If-Match": "ETag of the configuration that this one was made from."},
)
async def publish_configuration(call: Call, body: wire.PublishBody) -> Answer:
    """Publish settings, rules, rewards and tier sets together under the next number.

    In force from its recorded instant, or planned for `effective_at`; what is in force holds until then, and what is
    published meanwhile too. Of two for the same instant the higher number holds: so a plan is replaced or withdrawn.
    With `If-Match` it is refused (412) when another configuration has been published since the one it was made from.
    """
    effective_at = None if body.effective_at is None else wire.utc(body.effective_at)
    configuration = Configuration(body.settings, body.ruleset, body.rewards, body.tier_sets)
    return await call.submit(Publish(configuration, effective_at, _seen(call)))


@post(f"{CONFIGURATIONS}/validate", Permission.CONFIG_READ, answers={200: Judgement})
async def validate_configuration(call: Call, body: wire.ConfigurationBody) -> Answer:
    """Say everything that stands against publishing a configuration now. Nothing is written."""
    configuration = Configuration(body.settings, body.ruleset, body.rewards, body.tier_sets)
    newest = (await call.runtime.history(call.program_id)).now
    found = [*faults(configuration), *changes_what_is_fixed(configuration, newest.settings)]
    return reply(Judgement(not found, tuple(FaultView(one.pointer, one.code, one.detail) for one in found)))


@post(
    f"{CONFIGURATIONS}/plan",
    Permission.FORECAST,
    keyed=True,
    answers={202: RunView},
    refusals=(ConfigurationInvalid, ConfigurationFixed, TooManyRuns),
)
async def plan_configuration(call: Call, body: wire.ConfigurationBody) -> Answer:
    """Have worked out who would move on its ladders, were a configuration published now. Nothing is published.

    Ask the run for the outcome (`GET /v1/runs/{run}`): members by tier set, tier before and after, with the ids of
    the first hundred.
    """
    configuration = Configuration(body.settings, body.ruleset, body.rewards, body.tier_sets)
    refuse_invalid(configuration, (await call.runtime.history(call.program_id)).now.settings)
    return await ask_for(call, RunKind.TIER_PLAN, body, {"configuration": msgspec.to_builtins(configuration)})


@post(
    "/v1/clock/advance",
    Permission.CLOCK_ADVANCE,
    keyed=True,
    answers={202: MoveAnswer},
    refusals=(ClockIsReal, ClockBackwards, ClockMoving),
)
async def advance_clock(call: Call, body: wire.AdvanceBody) -> Answer:
    """Have a sandbox program's clock moved forward: a run sets it to each due instant and each midnight on the way.

    What falls due on the way (points, holds, tiers) is written before the clock goes on, and each day is closed.
    Until the run (`GET /v1/runs/{run}`) is over nothing else is written: 409 `clock_moving`. Reads go on.
    """
    answer = await call.submit(MoveClock(wire.utc(body.to)))
    if answer.status != 202:
        return answer
    run_id = msgspec.json.decode(answer.body, type=MoveAnswer).id
    await queue_move(call.runtime.engine, call.program_id, run_id, call.runtime.clock.now())
    return replace(answer, headers={**answer.headers, "location": f"/v1/runs/{run_id}"})


def _read(row: store.PublishedRow) -> Configuration:
    return Configuration.read(row.settings, row.ruleset, row.rewards, row.tier_sets)


def _seen(call: Call) -> int | None:
    """The configuration that the caller says was in force."""
    named = call.exchange.headers.get(b"if-match")
    if named is None or named == b"*":
        return None
    if not re.fullmatch(rb'"[0-9]{1,9}"', named):
        raise MalformedRequest('If-Match must be the ETag of a configuration, such as "7".')
    return int(named[1:-1])
