"""The SQL of clients, keys, staff, tokens and the audit log.

`api_keys` and `staff_tokens` are found by hash before a program is known, so row-level security does not stand
behind them: every other statement on them names its program. Lists are in the order of ids, which is of making.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Role
from loyalty.access.tables import api_keys, audit_log, clients, staff, staff_tokens
from loyalty.access.types import ApiKey, AuditEntry, Client, Staff, StaffToken
from loyalty.base.rows import columns, struct, values


class Found(msgspec.Struct, frozen=True):
    """What stands behind the hash of a key or token."""

    id: UUID
    program_id: UUID
    owner_id: UUID  # client or staff member
    expires_at: datetime | None
    revoked_at: datetime | None
    role: Role | None = None  # of a key; a staff member has their own
    locations: tuple[str, ...] = ()


async def add_client(connection: AsyncConnection, program_id: UUID, client: Client) -> None:
    await connection.execute(insert(clients), {"program_id": program_id, **values(client)})


async def client(connection: AsyncConnection, program_id: UUID, client_id: UUID) -> Client | None:
    query = select(*columns(clients, Client)).where(
        clients.c.program_id == program_id, clients.c.id == client_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Client)


async def clients_after(
    connection: AsyncConnection, program_id: UUID, after: UUID | None, limit: int
) -> list[Client]:
    query = select(*columns(clients, Client)).where(clients.c.program_id == program_id)
    if after is not None:
        query = query.where(clients.c.id > after)
    rows = await connection.execute(query.order_by(clients.c.id).limit(limit))
    return [struct(row, Client) for row in rows]


async def add_key(connection: AsyncConnection, program_id: UUID, key: ApiKey, hash: bytes) -> None:
    row = {"program_id": program_id, "hash": hash, **values(key), "locations": list(key.locations)}
    await connection.execute(insert(api_keys), row)


async def key(
    connection: AsyncConnection, program_id: UUID, key_id: UUID, *, lock: bool = False
) -> ApiKey | None:
    """One key; with `lock` nobody else changes it until the transaction ends."""
    query = select(*columns(api_keys, ApiKey)).where(
        api_keys.c.program_id == program_id, api_keys.c.id == key_id
    )
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else struct(row, ApiKey)


async def keys_of(connection: AsyncConnection, program_id: UUID, client_id: UUID) -> list[ApiKey]:
    query = (
        select(*columns(api_keys, ApiKey))
        .where(api_keys.c.program_id == program_id, api_keys.c.client_id == client_id)
        .order_by(api_keys.c.id)
    )
    return [struct(row, ApiKey) for row in await connection.execute(query)]


async def end_key(
    connection: AsyncConnection, program_id: UUID, key_id: UUID, expires_at: datetime | None
) -> None:
    """Let a key expire at an instant."""
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.program_id == program_id, api_keys.c.id == key_id)
        .values(expires_at=expires_at)
    )


async def revoke_key(connection: AsyncConnection, program_id: UUID, key_id: UUID, at: datetime) -> None:
    """Mark a key as revoked; the first instant stays."""
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.program_id == program_id, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=at)
    )


async def add_staff(connection: AsyncConnection, program_id: UUID, person: Staff) -> None:
    await connection.execute(insert(staff), {"program_id": program_id, **values(person)})


async def staff_member(connection: AsyncConnection, program_id: UUID, staff_id: UUID) -> Staff | None:
    query = select(*columns(staff, Staff)).where(staff.c.program_id == program_id, staff.c.id == staff_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Staff)


async def staff_after(
    connection: AsyncConnection, program_id: UUID, after: UUID | None, limit: int
) -> list[Staff]:
    query = select(*columns(staff, Staff)).where(staff.c.program_id == program_id)
    if after is not None:
        query = query.where(staff.c.id > after)
    return [struct(row, Staff) for row in await connection.execute(query.order_by(staff.c.id).limit(limit))]


async def add_token(connection: AsyncConnection, program_id: UUID, token: StaffToken, hash: bytes) -> None:
    await connection.execute(insert(staff_tokens), {"program_id": program_id, "hash": hash, **values(token)})


async def token(connection: AsyncConnection, program_id: UUID, token_id: UUID) -> StaffToken | None:
    query = select(*columns(staff_tokens, StaffToken)).where(
        staff_tokens.c.program_id == program_id, staff_tokens.c.id == token_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, StaffToken)


async def tokens_of(connection: AsyncConnection, program_id: UUID, staff_id: UUID) -> list[StaffToken]:
    query = (
        select(*columns(staff_tokens, StaffToken))
        .where(staff_tokens.c.program_id == program_id, staff_tokens.c.staff_id == staff_id)
        .order_by(staff_tokens.c.id)
    )
    return [struct(row, StaffToken) for row in await connection.execute(query)]


async def revoke_token(connection: AsyncConnection, program_id: UUID, token_id: UUID, at: datetime) -> None:
    """Mark a token as revoked; the first instant stays."""
    await connection.execute(
        update(staff_tokens)
        .where(
            staff_tokens.c.program_id == program_id,
            staff_tokens.c.id == token_id,
            staff_tokens.c.revoked_at.is_(None),
        )
        .values(revoked_at=at)
    )


async def keys_by_hash(connection: AsyncConnection, hashes: Sequence[bytes]) -> dict[bytes, Found]:
    """The keys with these hashes, of whatever program, by hash."""
    query = select(
        api_keys.c.hash,
        api_keys.c.id,
        api_keys.c.program_id,
        api_keys.c.client_id.label("owner_id"),
        api_keys.c.role,
        api_keys.c.locations,
        api_keys.c.expires_at,
        api_keys.c.revoked_at,
    ).where(api_keys.c.hash.in_(hashes))
    return {row.hash: struct(row, Found) for row in await connection.execute(query)}


async def tokens_by_hash(connection: AsyncConnection, hashes: Sequence[bytes]) -> dict[bytes, Found]:
    """The staff tokens with these hashes, of whatever program, by hash."""
    query = select(
        staff_tokens.c.hash,
        staff_tokens.c.id,
        staff_tokens.c.program_id,
        staff_tokens.c.staff_id.label("owner_id"),
        staff_tokens.c.expires_at,
        staff_tokens.c.revoked_at,
    ).where(staff_tokens.c.hash.in_(hashes))
    return {row.hash: struct(row, Found) for row in await connection.execute(query)}


async def add_audit_entry(connection: AsyncConnection, program_id: UUID, entry: AuditEntry) -> None:
    await connection.execute(insert(audit_log), {"program_id": program_id, **values(entry)})


async def audit_before(
    connection: AsyncConnection, program_id: UUID, before: UUID | None, limit: int
) -> list[AuditEntry]:
    """The newest audit entries older than `before`, newest first."""
    query = select(*columns(audit_log, AuditEntry)).where(audit_log.c.program_id == program_id)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    rows = await connection.execute(query.order_by(audit_log.c.id.desc()).limit(limit))
    return [struct(row, AuditEntry) for row in rows]
