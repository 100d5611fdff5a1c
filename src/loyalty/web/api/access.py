"""Who may call: clients and their keys, staff. A key is shown once, when it is made; its replay says so."""

import secrets
from datetime import timedelta
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access import service
from loyalty.access.keys import RANDOM_BYTES
from loyalty.access.roles import Permission, Role
from loyalty.access.types import ApiKey, Client, ClientNotFound, KeyInvalid, KeyNotActive, KeyNotFound, Staff
from loyalty.base.canonical import canonical
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.posting.commands import Answer
from loyalty.web.api import wire
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.once import once

CLIENTS = "/v1/clients"
KEYS = "/v1/clients/{client}/keys"


class ClientPage(Struct, frozen=True):
    data: tuple[Client, ...]
    next_cursor: str | None


class StaffPage(Struct, frozen=True):
    data: tuple[Staff, ...]
    next_cursor: str | None


class KeyList(Struct, frozen=True):
    data: tuple[ApiKey, ...]
    next_cursor: None = None


class MadeKey(Struct, frozen=True):
    """A new key. `secret` is the key itself: null in a replay, since it is stored nowhere."""

    key: ApiKey
    secret: str | None


@post(CLIENTS, Permission.CLIENTS_MANAGE, keyed=True, answers={201: Client})
async def create_client(call: Call, body: wire.ClientBody) -> Answer:
    """Make a client: a system that will call with keys of its own."""

    async def make(connection: AsyncConnection) -> tuple[Answer, bytes]:
        answer = reply(
            await service.create_client(
                connection, call.principal, body.name, at=call.runtime.clock.now(), ids=call.door.ids
            ),
            201,
        )
        return answer, answer.body

    return await once(call, canonical(body), make)


@get(CLIENTS, Permission.CLIENTS_MANAGE, answers={200: ClientPage}, refusals=(InvalidCursor,))
async def list_clients(call: Call, query: wire.PageQuery) -> Answer:
    """The program's clients, oldest first."""
    after = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await service.list_clients(
            connection, call.program_id, after=UUID(after[0]) if after else None, limit=query.limit + 1
        )
    return call.page(found, query.limit, lambda client: [str(client.id)])


@post(
    KEYS, Permission.CLIENTS_MANAGE, keyed=True, answers={201: MadeKey}, refusals=(ClientNotFound, KeyInvalid)
)
async def create_key(call: Call, client: UUID, body: wire.KeyBody) -> Answer:
    """Make a key for a client. Keep `secret`: it is never shown again."""

    async def make(connection: AsyncConnection) -> tuple[Answer, bytes]:
        return _shown_once(
            *await service.create_key(
                connection,
                call.principal,
                client,
                Role(body.role),
                random=secrets.token_bytes(RANDOM_BYTES),
                at=call.runtime.clock.now(),
                ids=call.door.ids,
                locations=body.locations,
                expires_at=None if body.expires_at is None else wire.utc(body.expires_at),
            )
        )

    return await once(call, canonical((client, body)), make)


@get(KEYS, Permission.CLIENTS_MANAGE, answers={200: KeyList}, refusals=(ClientNotFound,))
async def list_keys(call: Call, client: UUID) -> Answer:
    """All keys a client ever had, oldest first, by their prefixes."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        return reply(KeyList(tuple(await service.list_keys(connection, call.program_id, client))))


@post(
    f"{KEYS}/{{key}}/rotate",
    Permission.CLIENTS_MANAGE,
    keyed=True,
    answers={201: MadeKey},
    refusals=(KeyNotFound, KeyNotActive),
)
async def rotate_key(call: Call, client: UUID, key: UUID, body: wire.RotateBody) -> Answer:
    """Make a key that takes the place of another; the old one works for a while longer.

    Both write in the same idempotency scope, so a retry under the new key finds what the old one did.
    """

    async def make(connection: AsyncConnection) -> tuple[Answer, bytes]:
        await _own_key(connection, call, client, key)
        now = call.runtime.clock.now()
        return _shown_once(
            *await service.rotate_key(
                connection,
                call.principal,
                key,
                old_ends_at=now + timedelta(minutes=body.overlap_minutes),
                random=secrets.token_bytes(RANDOM_BYTES),
                at=now,
                ids=call.door.ids,
            )
        )

    return await once(call, canonical((client, key, body)), make)


@post(
    f"{KEYS}/{{key}}/revoke",
    Permission.CLIENTS_MANAGE,
    keyed=True,
    answers={200: ApiKey},
    refusals=(KeyNotFound,),
)
async def revoke_key(call: Call, client: UUID, key: UUID, body: wire.Nothing) -> Answer:
    """End a key for good: it is refused everywhere within five seconds."""

    async def end(connection: AsyncConnection) -> tuple[Answer, bytes]:
        await _own_key(connection, call, client, key)
        answer = reply(
            await service.revoke_key(
                connection, call.principal, key, at=call.runtime.clock.now(), ids=call.door.ids
            )
        )
        return answer, answer.body

    return await once(call, canonical((client, key, body)), end)


@get("/v1/staff", Permission.STAFF_MANAGE, answers={200: StaffPage}, refusals=(InvalidCursor,))
async def list_staff(call: Call, query: wire.PageQuery) -> Answer:
    """The program's staff, oldest first. Staff and their tokens are made on the command line."""
    after = call.page_start(query.cursor)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await service.list_staff(
            connection, call.program_id, after=UUID(after[0]) if after else None, limit=query.limit + 1
        )
    return call.page(found, query.limit, lambda person: [str(person.id)])


def _shown_once(key: ApiKey, text: str) -> tuple[Answer, bytes]:
    return reply(MadeKey(key, text), 201), msgspec.json.encode(MadeKey(key, None))


async def _own_key(connection: AsyncConnection, call: Call, client: UUID, key: UUID) -> None:
    """Raises: KeyNotFound unless the key is that client's."""
    try:
        keys = await service.list_keys(connection, call.program_id, client)
    except ClientNotFound:
        raise KeyNotFound from None
    if all(one.id != key for one in keys):
        raise KeyNotFound
