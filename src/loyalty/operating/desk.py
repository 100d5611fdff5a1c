"""The operator's desk: programs, clocks, keys and staff, each change with its line in the audit log.

What changes points or configuration goes down the one road like every other command; a refusal of the road comes
back as an exception that tells the same code.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.access import audit, service
from loyalty.access.keys import RANDOM_BYTES
from loyalty.access.roles import Role
from loyalty.access.types import ApiKey, Client, Staff, StaffToken, operator
from loyalty.base.calendar import INSTANT_MAX, INSTANT_MIN
from loyalty.base.clock import random62
from loyalty.base.database import reading, transaction
from loyalty.base.errors import Busy, LoyaltyError
from loyalty.base.ids import NIL, Ids
from loyalty.base.problems import STATUS, problem
from loyalty.base.settings import Settings
from loyalty.jobs.redates import confirm, confirmed, plan_of, refuse_other
from loyalty.jobs.runs import execute
from loyalty.jobs.service import get_run, note_done, queue_move, queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger.verify import Report
from loyalty.posting.answers import MoveAnswer, PublishedAnswer
from loyalty.posting.commands import Actor, Command, Idempotency, MoveClock, Publish, Submission
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.posting.validate import refuse_invalid
from loyalty.programs.service import create_program, get_program, list_programs
from loyalty.programs.store import sandbox_clock
from loyalty.programs.types import ClockMoving, Program, ProgramKind, ProgramNotFound

_POLL_S = 0.1  # between two looks at a run that somebody else does
OPERATOR = Actor("operator", NIL, Role.ADMIN)


class DeskError(Exception):
    """What the operator asked for was refused, or names nothing; the text says why and `code` is stable.

    `busy` where it was not refused: a server is away, or too much waits.
    """

    def __init__(self, code: str, text: str, *, busy: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.busy = busy


@dataclass(frozen=True)
class Desk:
    """A runtime in the hands of the operator."""

    runtime: Runtime
    ids: Ids

    async def submit(self, program_id: UUID, command: Command) -> bytes:
        """The answer of one command. Raises: DeskError when it is refused."""
        request_id = str(self.ids())
        # A key of its own: run again after a commit of unknown outcome, it finds that it was done.
        once = Idempotency(request_id, OPERATOR.id, self.runtime.digests.of(request_id.encode()))
        answer = await self.runtime.pipe.submit(
            Submission(program_id, command, OPERATOR, request_id, idempotency=once)
        )
        if answer.status >= 400:
            raise _refusal(msgspec.json.decode(answer.body))
        return answer.body

    async def note(self, program_id: UUID, action: str, target: str, **detail: Any) -> None:
        """One line of the audit log."""
        async with transaction(self.runtime.engine, program_id) as connection:
            await audit.record(
                connection, operator(program_id), action, target, at=self.now(), ids=self.ids, detail=detail
            )

    async def note_verified(self, report: Report, began_at: datetime) -> None:
        """Keep what a verification at the desk found as a run, as if a worker had done it."""
        program_id, result = report.program_id, msgspec.to_builtins(report, str_keys=True)
        async with transaction(self.runtime.engine, program_id) as connection:
            await note_done(
                connection,
                program_id,
                RunKind.VERIFICATION,
                began_at=began_at,
                ended_at=self.now(),
                ids=self.ids,
                result=result,
            )

    def now(self) -> datetime:
        """Real time, by which credentials live."""
        return self.runtime.clock.now()

    # --- programs ----------------------------------------------------------------------------------------

    async def programs(self) -> list[Program]:
        """Every program of the installation, oldest first; not what was never finished."""
        found: list[Program] = []
        for program in await list_programs(self.runtime.engine):
            # One whose maker died before its first configuration was in force is none to anybody.
            with contextlib.suppress(ProgramNotFound):
                await self.runtime.history(program.id)
                found.append(program)
        return found

    async def program(self, program_id: UUID | None) -> Program:
        """The program with this id, or the only one there is. Raises: DeskError."""
        if program_id is not None:
            try:
                await self.runtime.history(program_id)
                return await get_program(self.runtime.engine, program_id)
            except ProgramNotFound:
                raise DeskError("program_not_found", f"There is no program {program_id}.") from None
        programs = await self.programs()
        if len(programs) == 1:
            return programs[0]
        if not programs:
            raise DeskError("program_not_found", "There is no program yet: loyalty program create FILE")
        raise DeskError(
            "program_needed", "There are several programs: name one with --program (see: program list)."
        )

    async def create_program(
        self, kind: ProgramKind, configuration: Configuration, clock_at: datetime | None = None
    ) -> UUID:
        """A new program with its first configuration in force; a sandbox's clock begins at `clock_at`.

        Raises: DeskError when the configuration is refused; there is then no program.
        """
        try:
            refuse_invalid(configuration, None)
        except LoyaltyError as refusal:
            raise _refusal(problem(refusal, "")) from None
        program_id = self.ids()
        runtime = self.runtime
        _refuse_far(clock_at)
        cells = runtime.settings.cells
        await create_program(runtime.engine, program_id, kind, cells, runtime.clock.now(), clock_at)
        await self.publish(program_id, configuration)
        await self.note(program_id, "program.create", str(program_id), kind=kind)
        return program_id

    async def in_force(self, program_id: UUID) -> Configuration:
        """The configuration by which the program judges what happens now."""
        found = (await self.runtime.history(program_id)).at(await self.runtime.now(program_id))
        return Configuration(found.settings, found.ruleset, found.rewards, tuple(found.ladders.values()))

    async def publish(
        self, program_id: UUID, configuration: Configuration, effective_at: datetime | None = None
    ) -> PublishedAnswer:
        """Put a configuration in force. Raises: DeskError."""
        _refuse_far(effective_at)
        body = await self.submit(
            program_id, Publish(configuration, effective_at and effective_at.astimezone(UTC))
        )
        return msgspec.json.decode(body, type=PublishedAnswer)

    async def advance_clock(self, program_id: UUID, to: datetime) -> datetime:
        """Move a sandbox program's clock forward and wait until it stands there. Raises: DeskError."""
        _refuse_far(to)
        runtime = self.runtime
        try:
            body = await self.submit(program_id, MoveClock(to.astimezone(UTC)))
        except DeskError as refused:
            if refused.code == ClockMoving.code:
                await self._refuse_moving(program_id)
            raise
        run_id = msgspec.json.decode(body, type=MoveAnswer).id
        await queue_move(runtime.engine, program_id, run_id, self.now())
        await self._done(program_id, run_id)
        return await runtime.now(program_id)

    async def _refuse_moving(self, program_id: UUID) -> None:
        """Raises: DeskError with what is to be done, unless the clock has come there meanwhile."""
        async with reading(self.runtime.engine, program_id) as connection:
            clock = await sandbox_clock(connection, program_id)
        if clock is not None and clock.moving_to is not None:
            raise DeskError(
                ClockMoving.code,
                f"The clock stands at {clock.now.isoformat()} and is on its way to {clock.moving_to.isoformat()}:"
                f" run {clock.moved_by} takes it there, and needs a `loyalty worker` to finish it"
                " (`loyalty jobs` shows it).",
            )

    # --- redates -----------------------------------------------------------------------------------------

    async def plan_redates(self, program_id: UUID, points_currency: str) -> Run:
        """The run that found what would change, done here. Raises: DeskError."""
        history, now = await self.runtime.history(program_id), await self.runtime.now(program_id)
        try:
            given = plan_of(points_currency, history, now)
        except LoyaltyError as refusal:
            raise _refusal(problem(refusal, "")) from None
        return await self._run(program_id, RunKind.REDATE_PLAN, given)

    async def confirm_redates(self, program_id: UUID, plan_id: UUID) -> Run:
        """The run that did what the plan found, done here. Raises: DeskError."""
        history, now = await self.runtime.history(program_id), await self.runtime.now(program_id)
        try:
            async with reading(self.runtime.engine, program_id) as connection:
                plan = refuse_other(await get_run(connection, program_id, plan_id))
            given = confirmed(plan, (plan.result or {}).get("digest", ""), history, now)
        except LoyaltyError as refusal:
            raise _refusal(problem(refusal, "")) from None
        async with transaction(self.runtime.engine, program_id) as connection:
            made: dict[str, Any] = {"at": self.now(), "ids": self.ids}
            run, new = await confirm(connection, plan, given, **made)
            if new:
                by = operator(program_id)
                await audit.record(connection, by, "redate.confirm", str(plan_id), **made)
        return await self._done(program_id, run.id)

    async def _run(self, program_id: UUID, kind: RunKind, given: dict[str, Any]) -> Run:
        """Long work done here and now as a worker would do it, unless one takes it first. Raises: DeskError."""
        async with transaction(self.runtime.engine, program_id) as connection:
            run = await queue_run(connection, program_id, kind, at=self.now(), ids=self.ids, given=given)
        return await self._done(program_id, run.id)

    async def _done(self, program_id: UUID, run_id: UUID) -> Run:
        """A run once it is over: done here, unless a worker has it. Raises: DeskError when it failed."""
        while True:
            await execute(self.runtime, program_id, run_id, WORKS)
            async with reading(self.runtime.engine, program_id) as connection:
                run = await get_run(connection, program_id, run_id)
            if run.ended_at is not None:
                break
            await asyncio.sleep(_POLL_S)
        if run.state is RunState.FAILED:
            told = run.result or {}
            raise DeskError(told["code"], told.get("detail", f"Run {run.id} has failed."))
        return run

    # --- credentials -------------------------------------------------------------------------------------

    async def client(self, program_id: UUID, name: str) -> Client:
        """The client of this name or id, made when there is none. Raises: DeskError where several have the name."""
        async with transaction(self.runtime.engine, program_id) as connection:
            named: list[Client] = []
            after: UUID | None = None
            while clients := await service.list_clients(connection, program_id, after=after, limit=200):
                named += [client for client in clients if name in (client.name, str(client.id))]
                after = clients[-1].id
            if len(named) > 1:
                raise DeskError(
                    "client_ambiguous",
                    f"Several clients are called {name}; say which by its id: "
                    + ", ".join(str(client.id) for client in named),
                )
            if named:
                return named[0]
            return await service.create_client(
                connection, operator(program_id), name, at=self.now(), ids=self.ids
            )

    async def create_key(
        self,
        program_id: UUID,
        client: Client,
        role: Role,
        *,
        locations: tuple[str, ...] = (),
        lives: timedelta | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key of a client and its text, shown this once. Raises: KeyInvalid."""
        now = self.now()
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.create_key(
                connection,
                operator(program_id),
                client.id,
                role,
                random=secrets.token_bytes(RANDOM_BYTES),
                at=now,
                ids=self.ids,
                locations=locations,
                expires_at=None if lives is None else now + lives,
            )

    async def keys(self, program_id: UUID) -> list[tuple[Client, ApiKey]]:
        """Every key a program ever had, by client."""
        found: list[tuple[Client, ApiKey]] = []
        async with reading(self.runtime.engine, program_id) as connection:
            after: UUID | None = None
            while clients := await service.list_clients(connection, program_id, after=after, limit=200):
                for client in clients:
                    keys = await service.list_keys(connection, program_id, client.id)
                    found += [(client, key) for key in keys]
                after = clients[-1].id
        return found

    async def rotate_key(self, program_id: UUID, key_id: UUID, overlap: timedelta) -> tuple[ApiKey, str]:
        """A new key in the place of an old one, which works on for `overlap`, and its text."""
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.rotate_key(
                connection,
                operator(program_id),
                key_id,
                old_ends_at=self.now() + overlap,
                random=secrets.token_bytes(RANDOM_BYTES),
                at=self.now(),
                ids=self.ids,
            )

    async def revoke_key(self, program_id: UUID, key_id: UUID) -> ApiKey:
        """The key, refused everywhere within 5 s."""
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.revoke_key(
                connection, operator(program_id), key_id, at=self.now(), ids=self.ids
            )

    async def add_staff(self, program_id: UUID, name: str, role: Role) -> Staff:
        """A new staff member, without tokens yet."""
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.create_staff(
                connection, operator(program_id), name, role, at=self.now(), ids=self.ids
            )

    async def staff(self, program_id: UUID) -> list[Staff]:
        """All staff of a program, in the order of making."""
        found: list[Staff] = []
        async with reading(self.runtime.engine, program_id) as connection:
            after: UUID | None = None
            while some := await service.list_staff(connection, program_id, after=after, limit=200):
                found += some
                after = some[-1].id
        return found

    async def tokens(self, program_id: UUID) -> list[tuple[Staff, StaffToken]]:
        """Every token a program's staff ever had, by person."""
        people = await self.staff(program_id)
        async with reading(self.runtime.engine, program_id) as connection:
            return [
                (person, token)
                for person in people
                for token in await service.list_staff_tokens(connection, program_id, person.id)
            ]

    async def issue_token(self, program_id: UUID, staff_id: UUID, lives: timedelta) -> tuple[StaffToken, str]:
        """A token of a staff member and its text, shown this once. Raises: KeyInvalid."""
        now = self.now()
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.issue_staff_token(
                connection,
                operator(program_id),
                staff_id,
                expires_at=now + lives,
                random=secrets.token_bytes(RANDOM_BYTES),
                at=now,
                ids=self.ids,
            )

    async def revoke_token(self, program_id: UUID, token_id: UUID) -> StaffToken:
        """The token, refused everywhere within 5 s."""
        async with transaction(self.runtime.engine, program_id) as connection:
            return await service.revoke_staff_token(
                connection, operator(program_id), token_id, at=self.now(), ids=self.ids
            )


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncGenerator[Desk]:
    """A desk for the length of a block. Needs: addresses and secret in `settings`."""
    async with open_runtime(settings) as runtime:
        yield Desk(runtime, Ids(runtime.clock.now_ms, random62))


def _refuse_far(at: datetime | None) -> None:
    if at is not None and not INSTANT_MIN <= at < INSTANT_MAX:
        raise DeskError("out_of_range", f"{at.isoformat()} does not lie between 1970 and 2199.")


def _refusal(told: dict[str, Any]) -> DeskError:
    """What a problem document tells, for the operator."""
    faults = [f"\n  {fault['pointer']}: {fault['detail']}" for fault in told.get("errors", [])]
    return DeskError(told["code"], told["detail"] + "".join(faults), busy=told["status"] == STATUS[Busy])
