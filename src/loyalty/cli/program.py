"""`loyalty program`: programs from files, their configurations one after the other."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from cyclopts import App

from loyalty.cli.frame import CommandError, Exit, at_desk, bars, emit, say, second, table, unreadable
from loyalty.insight.ahead.plan import plan as planned
from loyalty.insight.ahead.types import TierPlan
from loyalty.operating.desk import Desk
from loyalty.posting import files
from loyalty.posting.answers import PublishedAnswer
from loyalty.posting.configuration import Configuration, Loaded
from loyalty.posting.validate import faults, refuse_invalid
from loyalty.programs.types import ConfigurationInvalid, Program, ProgramKind

app = App(name="program", help="Create, show, publish and export programs.")


@app.command
def create(file: Path, *, clock_at: datetime | None = None) -> None:
    """Create a program from FILE (TOML; see examples/programs) and print its id.

    Parameters
    ----------
    clock_at
        Where the clock of a sandbox program begins, with an offset; default: now.
    """
    kind, configuration = load_program(file)
    if clock_at is not None:
        if kind is not ProgramKind.SANDBOX:
            raise CommandError(
                "--clock-at is for sandbox programs: a live one lives by the real clock", Exit.USAGE
            )
        if clock_at.tzinfo is None:
            raise CommandError("--clock-at needs an offset, such as 2026-01-01T00:00:00+01:00", Exit.USAGE)
    program = at_desk(lambda desk: desk.create_program(kind, configuration, clock_at))
    print(program)
    say(f"Next: loyalty keys create --role pos --program {program}")


@app.command(name="list")
def list_programs(*, json: bool = False) -> None:
    """Every program of the installation.

    Parameters
    ----------
    json
        Write JSON instead of columns.
    """

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [await _described(desk, program.id) for program in await desk.programs()]

    found = at_desk(work)
    emit(found) if json else table([_row(one) for one in found])


@app.command
def show(*, program: UUID | None = None, json: bool = False) -> None:
    """One program, the configuration in force, and what is scheduled.

    Parameters
    ----------
    program
        Its id; not needed where there is only one.
    json
        Write the whole configuration as JSON.
    """

    async def work(desk: Desk) -> tuple[dict[str, Any], Configuration]:
        chosen = await desk.program(program)
        return await _described(desk, chosen.id), await desk.in_force(chosen.id)

    described, configuration = at_desk(work)
    if json:
        number, whole = described["configuration"], msgspec.to_builtins(configuration)
        emit(described | {"number": number, "configuration": whole})
        return
    table([_row(described)])
    for currency in configuration.settings.points_currencies:
        say(f"points currency {currency.code}: {currency.name}")
    for rule in configuration.ruleset.rules:
        say(f"rule {rule.id}: {rule.name}")
    for reward in configuration.rewards:
        say(f"reward {reward.id}: {reward.name}, {reward.points:,} {reward.points_currency}")
    for ladder in configuration.tier_sets:
        say(f"tier set {ladder.id}: {', '.join(tier.name for tier in ladder.tiers)}")


@app.command
def export(*, program: UUID | None = None) -> None:
    """Write the configuration in force as a program file, for `publish`, or `create` elsewhere.

    Parameters
    ----------
    program
        Its id; not needed where there is only one.
    """

    async def work(desk: Desk) -> str:
        chosen = await desk.program(program)
        return files.dump(chosen.kind, await desk.in_force(chosen.id))

    sys.stdout.buffer.write(at_desk(work).encode())


@app.command
def publish(file: Path, *, program: UUID | None = None, effective_at: datetime | None = None) -> None:
    """Put the configuration in FILE in force, or schedule it, and print its number and instant.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    effective_at
        When it begins to count, with an offset; default: now. Of two for one instant the later published holds.
    """
    if effective_at is not None and effective_at.tzinfo is None:
        raise CommandError("--effective-at needs an offset, such as 2026-01-01T00:00:00+01:00", Exit.USAGE)
    kind, configuration = load_program(file)

    async def work(desk: Desk) -> tuple[PublishedAnswer, datetime, list[Loaded]]:
        chosen = await _of_kind(desk, program, kind, file)
        answer = await desk.publish(chosen.id, configuration, effective_at)
        now = await desk.runtime.now(chosen.id)
        return answer, now, (await desk.runtime.history(chosen.id)).scheduled(now)

    answer, now, scheduled = at_desk(work)
    print(answer.number, answer.effective_at.isoformat())
    state = "is scheduled" if answer.effective_at > now else "is in force"
    say(f"Configuration {answer.number} {state}.")
    for plan in scheduled:
        if plan.number != answer.number:
            say(
                f"Configuration {plan.number} is scheduled for {plan.effective_at.isoformat()} and will hold from then."
            )


@app.command
def plan(file: Path, *, program: UUID | None = None, json: bool = False) -> None:
    """Say who would move on the ladders in FILE, were it published now. Publishes nothing.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of columns, with the ids of the first hundred members of each step.
    """
    kind, configuration = load_program(file)

    async def work(desk: Desk) -> TierPlan:
        chosen = await _of_kind(desk, program, kind, file)
        refuse_invalid(configuration, (await desk.runtime.history(chosen.id)).now.settings)
        now = await desk.runtime.now(chosen.id)
        async with asyncpg.create_pool(desk.runtime.settings.database_url, min_size=1, max_size=1) as pool:
            with bars(f"Program {chosen.id}", {"members": "members"}) as told:
                return await planned(pool.acquire, chosen.id, configuration, now, told)

    found = at_desk(work)
    if json:
        emit(found)
        return
    for one in found.tier_sets:
        moved = sum(move.members for move in one.moves)
        grace = f", {one.in_grace:,} would be in grace and fall when it ends" if one.in_grace else ""
        change = one.change.replace("_", " ")
        say(f"tier set {one.tier_set}: {change}, {moved:,} of {found.members:,} would move{grace}")
    if not found.tier_sets:
        say("There are no tier sets, before or after: nobody moves.")
    table(
        [
            {
                "tier set": one.tier_set,
                "before": move.before or "-",
                "after": move.after or "-",
                "members": f"{move.members:,}",
            }
            for one in found.tier_sets
            for move in one.moves
        ]
    )


async def _of_kind(desk: Desk, program: UUID | None, kind: ProgramKind, file: Path) -> Program:
    """The program that a file is for. Raises: CommandError when it is of another kind."""
    chosen = await desk.program(program)
    if kind is not chosen.kind:
        raise CommandError(
            f"{file} is of a {kind} program, this one is {chosen.kind} and stays so", Exit.REFUSED
        )
    return chosen


async def _described(desk: Desk, program_id: UUID) -> dict[str, Any]:
    program = await desk.program(program_id)
    history, now = await desk.runtime.history(program_id), await desk.runtime.now(program_id)
    in_force = history.at(now)
    return {
        "program": program_id,
        "name": in_force.settings.name,
        "kind": program.kind.value,
        "zone": in_force.settings.zone,
        "money": in_force.settings.money,
        "configuration": in_force.number,
        "scheduled": [
            {"number": one.number, "effective_at": one.effective_at.isoformat()}
            for one in history.scheduled(now)
        ],
        "rules": len(in_force.ruleset.rules),
        "rewards": len(in_force.rewards),
        "created_at": second(program.created_at),
    }


def _row(described: dict[str, Any]) -> dict[str, Any]:
    """A described program as columns."""
    coming = [f"{one['number']} at {one['effective_at']}" for one in described["scheduled"]]
    return described | {"scheduled": ", ".join(coming) or "-"}


def load_program(file: Path) -> tuple[ProgramKind, Configuration]:
    """What a program file says. Raises: CommandError with every fault and its line."""
    try:
        text = file.read_text("utf-8")
        kind, configuration = files.load(text)
        if found := files.in_file(text, faults(configuration)):
            raise ConfigurationInvalid(faults=found)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from error
    except ConfigurationInvalid as error:
        told = "".join(
            f"\n  {fault.pointer}{': ' * bool(fault.pointer)}{fault.detail}" for fault in error.faults
        )
        raise CommandError(f"{file} describes no program:{told}", Exit.USAGE) from error
    return kind, configuration
