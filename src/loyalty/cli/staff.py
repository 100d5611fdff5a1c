"""`loyalty staff`: people at the desk and their tokens, made here until the console has sign-in."""

from typing import Any
from uuid import UUID

from cyclopts import App

from loyalty.access.roles import Role
from loyalty.cli.frame import at_desk, emit, lifetime, say, second, table
from loyalty.operating.desk import Desk

app = App(name="staff", help="Add staff, list them, issue and revoke their tokens.")


@app.command
def add(name: str, *, role: Role, program: UUID | None = None) -> None:
    """Add a staff member and print the id.

    Parameters
    ----------
    name
        The person's name, as colleagues know it.
    role
        What the person may do.
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> UUID:
        chosen = await desk.program(program)
        return (await desk.add_staff(chosen.id, name, role)).id

    print(at_desk(work))


@app.command(name="list")
def list_staff(*, program: UUID | None = None, json: bool = False) -> None:
    """All staff of a program.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of columns.
    """

    async def work(desk: Desk) -> list[dict[str, Any]]:
        chosen = await desk.program(program)
        return [
            {
                "staff": person.id,
                "name": person.name,
                "role": person.role.value,
                "created_at": second(person.created_at),
            }
            for person in await desk.staff(chosen.id)
        ]

    found = at_desk(work)
    emit(found) if json else table(found)


@app.command
def tokens(*, program: UUID | None = None, json: bool = False) -> None:
    """Every token of a program, by person; never the tokens themselves.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of columns.
    """

    async def work(desk: Desk) -> list[dict[str, Any]]:
        chosen = await desk.program(program)
        return [
            {
                "token": token.id,
                "staff": person.id,
                "name": person.name,
                "prefix": token.prefix,
                "created_at": second(token.created_at),
                "expires_at": second(token.expires_at),
                "revoked_at": second(token.revoked_at),
            }
            for person, token in await desk.tokens(chosen.id)
        ]

    found = at_desk(work)
    emit(found) if json else table(found)


@app.command
def token(staff: UUID, *, days: int = 30, program: UUID | None = None) -> None:
    """Print a new token of a staff member; it is shown this once.

    Parameters
    ----------
    staff
        Id of the person (see: staff list).
    days
        How long the token works.
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> tuple[UUID, UUID, str]:
        chosen = await desk.program(program)
        issued, text = await desk.issue_token(chosen.id, staff, lifetime(days))
        return chosen.id, issued.id, text

    program_id, token_id, text = at_desk(work)
    print(text)
    ending = f"loyalty staff revoke {token_id} --program {program_id}"
    say(f"Keep it now: it is not shown again. End it with: {ending}")


@app.command
def revoke(token: UUID, *, program: UUID | None = None) -> None:
    """End a token: it is refused everywhere within five seconds.

    Parameters
    ----------
    token
        Id of the token (see: staff tokens).
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> str:
        chosen = await desk.program(program)
        return (await desk.revoke_token(chosen.id, token)).prefix

    say(f"The token {at_desk(work)}… is revoked.")
