"""The program itself: its configurations, published as numbered wholes, and a sandbox's clock."""

import re
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.posting.answers import ClockAnswer, PublishedAnswer
from loyalty.posting.commands import AdvanceClock, Answer, Publish
from loyalty.posting.configuration import Configuration
from loyalty.posting.types import ConfigurationFixed, ConfigurationStale, EffectiveInPast
from loyalty.posting.validate import changes_what_is_fixed, faults
from loyalty.programs import store
from loyalty.programs.service import get_program
from loyalty.programs.types import (
    ClockBackwards,
    ClockIsReal,
    ConfigurationInvalid,
    ProgramKind,
    ProgramNotFound,
    ProgramSettings,
)
from loyalty.rewards.types import Catalogue
from loyalty.rules.types import Ruleset
from loyalty.web.api import wire
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
    in_force = history.at(now)
    scheduled = tuple(Scheduled(one.number, one.effective_at) for one in history.scheduled(now))
    view = ProgramView(
        program.id, program.kind, program.created_at, now, in_force.number, in_force.settings, scheduled
    )
    return reply(view, headers={"etag": f'"{history.now.number}"'})


@get(CONFIGURATIONS, Permission.CONFIG_READ, answers={200: ConfigurationPage}, refusals=(InvalidCursor,))
async def list_configurations(call: Call, query: wire.PageQuery) -> Answer:
    """Every configuration that was ever published, oldest first."""
    after = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        rows = await store.load_published(connection, call.program_id, after=after[0] if after else 0)
    summaries = [
        ConfigurationSummary(
            row.number,
            row.effective_at,
            row.published_at,
            ruleset.version,
            len(ruleset.rules),
            len(_rewards(row)),
        )
        for row in rows[: query.limit + 1]
        for ruleset in (msgspec.json.decode(row.ruleset, type=Ruleset),)
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
    """One configuration with its settings, rules and rewards. It never changes."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        rows = await store.load_published(connection, call.program_id, after=number - 1)
    if not rows or rows[0].number != number:
        raise ConfigurationNotFound
    row = rows[0]
    view = ConfigurationView(
        row.number,
        row.effective_at,
        row.published_at,
        msgspec.json.decode(row.settings, type=ProgramSettings),
        msgspec.json.decode(row.ruleset, type=Ruleset),
        _rewards(row),
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
    """Publish settings, rules and rewards together under the next number.

    In force from its recorded instant, or planned for `effective_at`; what is in force holds until then, and what is
    published meanwhile too. Of two for the same instant the higher number holds: so a plan is replaced or withdrawn.
    With `If-Match` it is refused (412) when another configuration has been published since the one it was made from.
    """
    effective_at = None if body.effective_at is None else wire.utc(body.effective_at)
    configuration = Configuration(body.settings, body.ruleset, body.rewards)
    return await call.submit(Publish(configuration, effective_at, _seen(call)))


@post(f"{CONFIGURATIONS}/validate", Permission.CONFIG_READ, answers={200: Judgement})
async def validate_configuration(call: Call, body: wire.ConfigurationBody) -> Answer:
    """Say everything that stands against publishing a configuration now. Nothing is written."""
    configuration = Configuration(body.settings, body.ruleset, body.rewards)
    newest = (await call.runtime.history(call.program_id)).now
    found = [*faults(configuration), *changes_what_is_fixed(configuration, newest.settings)]
    return reply(Judgement(not found, tuple(FaultView(one.pointer, one.code, one.detail) for one in found)))


@post(
    "/v1/clock/advance",
    Permission.CLOCK_ADVANCE,
    keyed=True,
    answers={200: ClockAnswer},
    refusals=(ClockIsReal, ClockBackwards),
)
async def advance_clock(call: Call, body: wire.AdvanceBody) -> Answer:
    """Set a sandbox program's clock forward.

    What falls due meanwhile (points becoming available, points expiring) shows in every later read, and is
    written with the next movement of each account.
    """
    return await call.submit(AdvanceClock(wire.utc(body.to)))


def _rewards(row: store.PublishedRow) -> Catalogue:
    return msgspec.json.decode(row.rewards or "[]", type=Catalogue)


def _seen(call: Call) -> int | None:
    """The configuration that the caller says was in force."""
    named = call.exchange.headers.get(b"if-match")
    if named is None or named == b"*":
        return None
    if not re.fullmatch(rb'"[0-9]{1,9}"', named):
        raise MalformedRequest('If-Match must be the ETag of a configuration, such as "7".')
    return int(named[1:-1])
