"""`loyalty keys`: API keys of clients. A key's text is printed once, when it is made, and stored nowhere."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter

from loyalty.access.roles import Role
from loyalty.access.types import ApiKey
from loyalty.cli.frame import at_desk, emit, lifetime, say, second, table
from loyalty.operating.desk import Desk

app = App(name="keys", help="Create, list, rotate and revoke API keys.")


@app.command
def create(
    *,
    role: Role,
    client: str = "operator",
    location: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    days: int | None = None,
    program: UUID | None = None,
) -> None:
    """Print a new API key; it is shown this once.

    Parameters
    ----------
    role
        What the key may do.
    client
        Name of the system that will use it, or its id where several have that name; a client of that name is made
        when there is none.
    location
        Locations a till's key is bound to; may be said several times. Default: anywhere.
    days
        How long the key works; default: until it is revoked.
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> str:
        chosen = await desk.program(program)
        owner = await desk.client(chosen.id, client)
        lives = None if days is None else lifetime(days)
        _, text = await desk.create_key(chosen.id, owner, role, locations=location, lives=lives)
        return text

    print(at_desk(work))
    say("Keep it now: it is not shown again.")


@app.command(name="list")
def list_keys(*, program: UUID | None = None, json: bool = False) -> None:
    """Every key of a program, by client; never the keys themselves.

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
                "key": key.id,
                "client": client.name,
                "client_id": client.id,
                "prefix": key.prefix,
                "role": key.role.value,
                "locations": key.locations,
                "created_at": second(key.created_at),
                "expires_at": second(key.expires_at),
                "revoked_at": second(key.revoked_at),
            }
            for client, key in await desk.keys(chosen.id)
        ]

    found = at_desk(work)
    emit(found) if json else table(found)


@app.command
def rotate(key: UUID, *, overlap_minutes: int = 60, program: UUID | None = None) -> None:
    """Print a new key in the place of KEY, with the same rights, the same end and the same idempotency.

    Parameters
    ----------
    key
        Id of the old key (see: keys list).
    overlap_minutes
        How long the old one still works.
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> tuple[ApiKey, str]:
        chosen = await desk.program(program)
        return await desk.rotate_key(chosen.id, key, timedelta(minutes=overlap_minutes))

    made, text = at_desk(work)
    print(text)
    say(f"Keep it now: it is not shown again. The old key works {overlap_minutes} minutes longer at most.")
    if made.expires_at is not None:
        say(
            f"The new one ends at {second(made.expires_at)}, as the old one would have; for a key that lives longer,"
            " make one with `loyalty keys create`."
        )


@app.command
def revoke(key: UUID, *, program: UUID | None = None) -> None:
    """End KEY: it is refused everywhere within five seconds.

    Parameters
    ----------
    key
        Id of the key (see: keys list).
    program
        Id of the program; not needed where there is only one.
    """

    async def work(desk: Desk) -> str:
        chosen = await desk.program(program)
        return (await desk.revoke_key(chosen.id, key)).prefix

    say(f"The key {at_desk(work)}… is revoked.")
