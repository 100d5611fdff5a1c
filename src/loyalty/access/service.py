"""Clients and their keys, staff and their tokens: made, rotated, revoked; each change in the audit log.

Every verb works in the caller's transaction and for the program of `by`. Who may call it is checked before.
A key's or token's text is returned once, when it is made, and stored nowhere.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access import audit, store
from loyalty.access.keys import hash_key, make_key
from loyalty.access.roles import BOUND, Role
from loyalty.access.types import (
    ApiKey,
    AuditEntry,
    Client,
    ClientNotFound,
    KeyInvalid,
    KeyNotActive,
    KeyNotFound,
    Principal,
    Staff,
    StaffNotFound,
    StaffToken,
    TokenNotFound,
)
from loyalty.base.errors import Fault
from loyalty.base.ids import Ids
from loyalty.base.text import composed


async def create_client(
    connection: AsyncConnection, by: Principal, name: str, *, at: datetime, ids: Ids
) -> Client:
    """A new client, without keys yet."""
    client = Client(ids(), name, at)
    await store.add_client(connection, by.program_id, client)
    await audit.record(connection, by, "client.create", str(client.id), at=at, ids=ids)
    return client


async def list_clients(
    connection: AsyncConnection, program_id: UUID, *, after: UUID | None = None, limit: int = 50
) -> list[Client]:
    """Clients in the order of making, those after `after`."""
    return await store.clients_after(connection, program_id, after, limit)


async def create_key(
    connection: AsyncConnection,
    by: Principal,
    client_id: UUID,
    role: Role,
    *,
    random: bytes,
    at: datetime,
    ids: Ids,
    locations: tuple[str, ...] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key of a client, made from 32 random bytes, and its text.

    Raises: ClientNotFound, KeyInvalid.
    """
    if await store.client(connection, by.program_id, client_id) is None:
        raise ClientNotFound
    locations = tuple(dict.fromkeys(composed(one) for one in locations))
    _check_key(role, locations, expires_at, at)
    return await _add_key(
        connection, by, client_id, role, locations, expires_at, random=random, at=at, ids=ids
    )


def _check_key(role: Role, locations: tuple[str, ...], expires_at: datetime | None, at: datetime) -> None:
    """Raises: KeyInvalid with every fault of a key that is made at the instant `at`."""
    faults: list[Fault] = []
    if locations and role not in BOUND:
        faults.append(
            Fault("/locations", "unbound_role", f"A key of the role {role} is not bound to locations.")
        )
    if "" in locations:
        faults.append(Fault("/locations", "too_short", "A location is named by more than blanks."))
    if expires_at is not None and expires_at <= at:
        faults.append(_over("key"))
    if faults:
        raise KeyInvalid(faults=tuple(faults))


def _over(what: str) -> Fault:
    return Fault("/expires_at", "out_of_range", f"The {what} would have expired when it is made.")


async def _add_key(
    connection: AsyncConnection,
    by: Principal,
    client_id: UUID,
    role: Role,
    locations: tuple[str, ...],
    expires_at: datetime | None,
    *,
    random: bytes,
    at: datetime,
    ids: Ids,
) -> tuple[ApiKey, str]:
    text, prefix = make_key("lk", random)
    key = ApiKey(ids(), client_id, prefix, role, locations, at, expires_at, None)
    await store.add_key(connection, by.program_id, key, hash_key(text))
    detail = {"client_id": client_id, "role": role, "locations": locations, "expires_at": expires_at}
    await audit.record(connection, by, "key.create", str(key.id), at=at, ids=ids, detail=detail)
    return key, text


async def rotate_key(
    connection: AsyncConnection,
    by: Principal,
    key_id: UUID,
    *,
    old_ends_at: datetime,
    random: bytes,
    at: datetime,
    ids: Ids,
) -> tuple[ApiKey, str]:
    """A new key of the same client, role, locations and end, and its text; the old one ends at `old_ends_at` or before.

    Both work until then, and both write in the same idempotency scope.
    Raises: KeyNotFound, KeyNotActive.
    """
    # Of two at once the second would set a later end than the first one's, which the database refuses.
    old = await store.key(connection, by.program_id, key_id, lock=True)
    if old is None:
        raise KeyNotFound
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= at):
        raise KeyNotActive(key_id=key_id)
    ends_at = old_ends_at if old.expires_at is None else min(old.expires_at, old_ends_at)
    await store.end_key(connection, by.program_id, key_id, ends_at)
    detail = {"old_ends_at": ends_at}
    await audit.record(connection, by, "key.rotate", str(key_id), at=at, ids=ids, detail=detail)
    return await _add_key(
        connection, by, old.client_id, old.role, old.locations, old.expires_at, random=random, at=at, ids=ids
    )


async def revoke_key(
    connection: AsyncConnection, by: Principal, key_id: UUID, *, at: datetime, ids: Ids
) -> ApiKey:
    """The key, revoked: refused everywhere within 5 s. A key that was revoked before stays as it was.

    Raises: KeyNotFound.
    """
    if await store.key(connection, by.program_id, key_id) is None:
        raise KeyNotFound
    await store.revoke_key(connection, by.program_id, key_id, at)
    await audit.record(connection, by, "key.revoke", str(key_id), at=at, ids=ids)
    revoked = await store.key(connection, by.program_id, key_id)
    assert revoked is not None
    return revoked


async def list_keys(connection: AsyncConnection, program_id: UUID, client_id: UUID) -> list[ApiKey]:
    """All keys a client ever had, oldest first. Raises: ClientNotFound."""
    if await store.client(connection, program_id, client_id) is None:
        raise ClientNotFound
    return await store.keys_of(connection, program_id, client_id)


async def create_staff(
    connection: AsyncConnection, by: Principal, name: str, role: Role, *, at: datetime, ids: Ids
) -> Staff:
    """A new staff member, without tokens yet."""
    person = Staff(ids(), name, role, at)
    await store.add_staff(connection, by.program_id, person)
    await audit.record(connection, by, "staff.create", str(person.id), at=at, ids=ids, detail={"role": role})
    return person


async def list_staff(
    connection: AsyncConnection, program_id: UUID, *, after: UUID | None = None, limit: int = 50
) -> list[Staff]:
    """Staff in the order of making, those after `after`."""
    return await store.staff_after(connection, program_id, after, limit)


async def issue_staff_token(
    connection: AsyncConnection,
    by: Principal,
    staff_id: UUID,
    *,
    expires_at: datetime,
    random: bytes,
    at: datetime,
    ids: Ids,
) -> tuple[StaffToken, str]:
    """A token with which a staff member acts until `expires_at`, made from 32 random bytes, and its text.

    Raises: StaffNotFound, KeyInvalid.
    """
    if await store.staff_member(connection, by.program_id, staff_id) is None:
        raise StaffNotFound
    if expires_at <= at:
        raise KeyInvalid(faults=(_over("token"),))
    text, prefix = make_key("ls", random)
    token = StaffToken(ids(), staff_id, prefix, at, expires_at, None)
    await store.add_token(connection, by.program_id, token, hash_key(text))
    detail = {"staff_id": staff_id, "expires_at": expires_at}
    await audit.record(connection, by, "token.issue", str(token.id), at=at, ids=ids, detail=detail)
    return token, text


async def revoke_staff_token(
    connection: AsyncConnection, by: Principal, token_id: UUID, *, at: datetime, ids: Ids
) -> StaffToken:
    """The token, revoked: refused everywhere within 5 s. Raises: TokenNotFound."""
    if await store.token(connection, by.program_id, token_id) is None:
        raise TokenNotFound
    await store.revoke_token(connection, by.program_id, token_id, at)
    await audit.record(connection, by, "token.revoke", str(token_id), at=at, ids=ids)
    revoked = await store.token(connection, by.program_id, token_id)
    assert revoked is not None
    return revoked


async def list_staff_tokens(
    connection: AsyncConnection, program_id: UUID, staff_id: UUID
) -> list[StaffToken]:
    """All tokens a staff member ever had, oldest first. Raises: StaffNotFound."""
    if await store.staff_member(connection, program_id, staff_id) is None:
        raise StaffNotFound
    return await store.tokens_of(connection, program_id, staff_id)


async def list_audit_entries(
    connection: AsyncConnection, program_id: UUID, *, before: UUID | None = None, limit: int = 50
) -> list[AuditEntry]:
    """The audit log, newest first, what is older than `before`."""
    return await store.audit_before(connection, program_id, before, limit)
