"""Keys and tokens: shown once, kept as a hash, refused when they should be, and every change in the audit log."""

import asyncio
import base64
from datetime import datetime

import asyncpg
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.access import service
from loyalty.access.authenticate import TRUST_S, Authenticator
from loyalty.access.keys import make_key
from loyalty.access.roles import Role
from loyalty.access.types import (
    ActorKind,
    ApiKey,
    ClientNotFound,
    InvalidCredential,
    KeyInvalid,
    KeyNotActive,
    KeyNotFound,
    Principal,
    StaffNotFound,
    StaffToken,
    TokenNotFound,
)
from loyalty.base.database import make_engine, reading, shared, transaction
from tests.conftest import Database
from tests.rooms.conftest import NOW, chance, ids, later, new_operator


async def new_key(
    engine: AsyncEngine,
    by: Principal,
    role: Role = Role.POS,
    locations: tuple[str, ...] = (),
    expires_at: datetime | None = None,
    at: datetime = NOW,
) -> tuple[ApiKey, str]:
    async with transaction(engine, by.program_id) as connection:
        client = await service.create_client(connection, by, "till", at=NOW, ids=ids)
        return await service.create_key(
            connection,
            by,
            client.id,
            role,
            random=chance(),
            at=at,
            ids=ids,
            locations=locations,
            expires_at=expires_at,
        )


async def new_token(engine: AsyncEngine, by: Principal, role: Role) -> tuple[StaffToken, str]:
    async with transaction(engine, by.program_id) as connection:
        person = await service.create_staff(connection, by, "Ann", role, at=NOW, ids=ids)
        return await service.issue_staff_token(
            connection, by, person.id, expires_at=later(hours=8), random=chance(), at=NOW, ids=ids
        )


async def revoke(engine: AsyncEngine, by: Principal, key: ApiKey, at: datetime) -> ApiKey:
    async with transaction(engine, by.program_id) as connection:
        return await service.revoke_key(connection, by, key.id, at=at, ids=ids)


async def test_a_key_lets_in_its_client_with_its_role_and_locations(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    key, text = await new_key(engine, by, Role.POS, ("store-12",))
    principal = await Authenticator(engine)(text, NOW)
    assert principal == Principal(
        ActorKind.CLIENT, key.client_id, Role.POS, by.program_id, key.id, ("store-12",)
    )
    assert principal.at("store-12")
    assert not principal.at("store-13")
    assert not principal.at(None)


async def test_a_staff_token_lets_in_its_person_with_the_persons_role(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    token, text = await new_token(engine, by, Role.AUDITOR)
    principal = await Authenticator(engine)(text, NOW)
    assert principal == Principal(ActorKind.STAFF, token.staff_id, Role.AUDITOR, by.program_id, token.id)
    with pytest.raises(InvalidCredential):
        await Authenticator(engine)(text, later(hours=8))


async def test_whatever_is_wrong_is_told_alike(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    revoked, revoked_text = await new_key(engine, by)
    await revoke(engine, by, revoked, NOW)
    _, expired_text = await new_key(engine, by, expires_at=NOW, at=later(hours=-1))
    _, good = await new_key(engine, by)
    unknown = "lk_" + base64.urlsafe_b64encode(chance()).decode().rstrip("=")
    authenticate = Authenticator(engine)
    told: set[str] = set()
    for token in (
        "", "lk_", revoked_text, expired_text, unknown, "ls" + good[2:], good[:-1], good + " ", " " + good,
        good.lower(), "lk_" + "é" * 43, "x" * 100_000, "a.b.c.d", good + "\n", "\0" * 46, "\ud800" * 46,
    ):  # fmt: skip
        with pytest.raises(InvalidCredential) as caught:
            await authenticate(token, NOW)
        told.add(f"{caught.value.code} {caught.value.detail} {caught.value.facts}")
    assert len(told) == 1
    assert await authenticate(good, NOW)


async def test_a_revoked_key_is_refused_within_five_seconds_by_who_has_just_let_it_in(
    engine: AsyncEngine,
) -> None:
    by = await new_operator(engine)
    key, text = await new_key(engine, by)
    authenticate = Authenticator(engine)
    assert await authenticate(text, NOW)
    assert (await revoke(engine, by, key, NOW)).revoked_at == NOW
    assert TRUST_S < 5
    assert await authenticate(text, later(seconds=TRUST_S - 0.001))  # answered from memory
    with pytest.raises(InvalidCredential):
        await authenticate(text, later(seconds=TRUST_S))
    with pytest.raises(InvalidCredential):
        await Authenticator(engine)(text, NOW)


async def test_a_clock_set_back_does_not_keep_a_revoked_key_alive(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    key, text = await new_key(engine, by)
    authenticate = Authenticator(engine)
    assert await authenticate(text, NOW)
    await revoke(engine, by, key, NOW)
    with pytest.raises(InvalidCredential):
        await authenticate(text, later(hours=-1))


async def test_a_key_expires_to_the_instant_also_when_remembered(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    _, text = await new_key(engine, by, expires_at=later(seconds=2))
    authenticate = Authenticator(engine)
    assert await authenticate(text, NOW)
    assert await authenticate(text, later(seconds=1.9))
    with pytest.raises(InvalidCredential):
        await authenticate(text, later(seconds=2))


async def test_a_key_made_after_it_was_tried_works_at_once(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    random = chance()
    token = "lk_" + base64.urlsafe_b64encode(random).decode().rstrip("=")
    authenticate = Authenticator(engine)
    with pytest.raises(InvalidCredential):
        await authenticate(token, NOW)
    async with transaction(engine, by.program_id) as connection:
        client = await service.create_client(connection, by, "till", at=NOW, ids=ids)
        _, text = await service.create_key(
            connection, by, client.id, Role.POS, random=random, at=NOW, ids=ids
        )
    assert text == token
    assert await authenticate(token, NOW)


async def test_many_callers_with_one_key_ask_the_database_once(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    _, token = await new_key(engine, by)
    asked: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "api_keys" in statement:
            asked.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", count)
    authenticate = Authenticator(engine)
    impatient = [asyncio.create_task(authenticate(token, NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    impatient[0].cancel()
    told = await asyncio.gather(*impatient, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError)
    assert len({principal for principal in told[1:] if isinstance(principal, Principal)}) == 1
    assert len(asked) == 1
    event.remove(engine.sync_engine, "before_cursor_execute", count)


async def test_however_many_strangers_knock_a_key_waits_for_few_visits(database: Database) -> None:
    lone = make_engine(database.app_url, 1)
    by = await new_operator(lone)
    _, token = await new_key(lone, by)
    authenticate, visits = Authenticator(lone), 0

    def count(*_: object) -> None:
        nonlocal visits
        visits += 1

    async with shared(lone):  # until all of them wait
        event.listen(lone.sync_engine, "checkout", count)
        strangers = [asyncio.create_task(authenticate(make_key("lk", chance())[0], NOW)) for _ in range(300)]
        asking = asyncio.create_task(authenticate(token, NOW))
        await asyncio.sleep(0)
    assert (await asking).program_id == by.program_id
    assert visits <= 10
    told = await asyncio.gather(*strangers, return_exceptions=True)
    assert {type(one) for one in told} == {InvalidCredential}
    await lone.dispose()


async def test_what_is_remembered_is_bounded(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    authenticate = Authenticator(engine, kept_max=3)
    for _ in range(6):
        _, token = await new_key(engine, by)
        await authenticate(token, NOW)
    assert len(authenticate._kept) == 3  # pyright: ignore[reportPrivateUsage]


async def test_a_rotation_keeps_client_role_and_locations_and_ends_the_old_key_at_a_given_instant(
    engine: AsyncEngine,
) -> None:
    by = await new_operator(engine)
    old, old_text = await new_key(engine, by, Role.POS, ("store-12",))
    async with transaction(engine, by.program_id) as connection:
        new, new_text = await service.rotate_key(
            connection, by, old.id, old_ends_at=later(hours=1), random=chance(), at=NOW, ids=ids
        )
    assert (new.client_id, new.role, new.locations) == (old.client_id, old.role, old.locations)
    before = {(await Authenticator(engine)(text, NOW)).id for text in (old_text, new_text)}
    assert before == {old.client_id}
    assert await Authenticator(engine)(new_text, later(hours=1))
    with pytest.raises(InvalidCredential):
        await Authenticator(engine)(old_text, later(hours=1))


async def test_a_location_is_one_however_it_is_written(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    key, _ = await new_key(engine, by, Role.POS, ("Caf\u00e9", " Cafe\u0301 ", "store-12"))
    assert key.locations == ("Caf\u00e9", "store-12")
    with pytest.raises(KeyInvalid):
        await new_key(engine, by, Role.POS, ("store-12", " "))


async def test_a_token_that_has_ended_when_it_is_made_is_refused(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    token, _ = await new_token(engine, by, Role.SUPPORT)
    async with transaction(engine, by.program_id) as connection:
        with pytest.raises(KeyInvalid):
            await service.issue_staff_token(
                connection, by, token.staff_id, expires_at=NOW, random=chance(), at=NOW, ids=ids
            )
        assert await service.list_staff_tokens(connection, by.program_id, token.staff_id) == [token]


async def test_a_rotation_never_prolongs_a_key(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    old, _ = await new_key(engine, by, expires_at=later(minutes=5))
    async with transaction(engine, by.program_id) as connection:
        await service.rotate_key(
            connection, by, old.id, old_ends_at=later(hours=1), random=chance(), at=NOW, ids=ids
        )
        kept = await service.list_keys(connection, by.program_id, old.client_id)
    assert [key.expires_at for key in kept] == [later(minutes=5)] * 2


async def test_a_key_that_no_longer_works_cannot_be_rotated(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    revoked, _ = await new_key(engine, by)
    await revoke(engine, by, revoked, NOW)
    expired, _ = await new_key(engine, by, expires_at=NOW, at=later(hours=-1))
    for key in (revoked, expired):
        with pytest.raises(KeyNotActive):
            async with transaction(engine, by.program_id) as connection:
                await service.rotate_key(
                    connection, by, key.id, old_ends_at=later(hours=1), random=chance(), at=NOW, ids=ids
                )


async def test_revoking_twice_keeps_the_first_instant(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    key, _ = await new_key(engine, by)
    await revoke(engine, by, key, NOW)
    assert (await revoke(engine, by, key, later(hours=1))).revoked_at == NOW


async def test_the_application_itself_gives_no_credential_its_life_back(
    engine: AsyncEngine, database: Database
) -> None:
    by, other = await new_operator(engine), await new_operator(engine)
    key, _ = await new_key(engine, by, expires_at=later(hours=60))
    async with transaction(engine, by.program_id) as connection:
        await service.revoke_key(connection, by, key.id, at=NOW, ids=ids)
    link = await asyncpg.connect(database.app_url)
    try:
        for program, change in (
            (by, "revoked_at = NULL"),
            (by, "revoked_at = revoked_at + interval '1 day'"),
            (by, "expires_at = NULL"),
            (by, "expires_at = expires_at + interval '1 day'"),
            (other, "expires_at = expires_at - interval '1 day'"),
        ):
            await link.execute("SELECT set_config('loyalty.program', $1, false)", str(program.program_id))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await link.execute(f"UPDATE api_keys SET {change} WHERE id = $1", key.id)
    finally:
        await link.close()


async def test_another_programs_clients_keys_staff_and_tokens_are_like_missing_ones(
    engine: AsyncEngine,
) -> None:
    theirs, ours = await new_operator(engine), await new_operator(engine)
    key, key_text = await new_key(engine, theirs)
    token, token_text = await new_token(engine, theirs, Role.ADMIN)
    async with transaction(engine, ours.program_id) as connection:
        with pytest.raises(ClientNotFound):
            await service.create_key(
                connection, ours, key.client_id, Role.ADMIN, random=chance(), at=NOW, ids=ids
            )
        with pytest.raises(KeyNotFound):
            await service.rotate_key(
                connection, ours, key.id, old_ends_at=NOW, random=chance(), at=NOW, ids=ids
            )
        with pytest.raises(KeyNotFound):
            await service.revoke_key(connection, ours, key.id, at=NOW, ids=ids)
        with pytest.raises(TokenNotFound):
            await service.revoke_staff_token(connection, ours, token.id, at=NOW, ids=ids)
        with pytest.raises(StaffNotFound):
            await service.issue_staff_token(
                connection, ours, token.staff_id, expires_at=later(hours=1), random=chance(), at=NOW, ids=ids
            )
        with pytest.raises(ClientNotFound):
            await service.list_keys(connection, ours.program_id, key.client_id)
        with pytest.raises(StaffNotFound):
            await service.list_staff_tokens(connection, ours.program_id, token.staff_id)
        assert await service.list_clients(connection, ours.program_id) == []
        assert await service.list_staff(connection, ours.program_id) == []
    assert (await Authenticator(engine)(key_text, NOW)).program_id == theirs.program_id
    assert (await Authenticator(engine)(token_text, NOW)).program_id == theirs.program_id


async def test_a_revoked_token_is_refused(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    token, token_text = await new_token(engine, by, Role.SUPPORT)
    async with transaction(engine, by.program_id) as connection:
        await service.revoke_staff_token(connection, by, token.id, at=NOW, ids=ids)
        listed = await service.list_staff_tokens(connection, by.program_id, token.staff_id)
    assert [one.revoked_at for one in listed] == [NOW]
    with pytest.raises(InvalidCredential):
        await Authenticator(engine)(token_text, NOW)


async def test_lists_go_on_where_they_ended(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    async with transaction(engine, by.program_id) as connection:
        made = [await service.create_client(connection, by, f"till {n}", at=NOW, ids=ids) for n in range(5)]
        first = await service.list_clients(connection, by.program_id, limit=2)
        rest = await service.list_clients(connection, by.program_id, after=first[-1].id, limit=10)
    assert first + rest == made


async def test_every_change_is_in_the_audit_log_and_no_secret_is_anywhere(
    engine: AsyncEngine, database: Database
) -> None:
    by = await new_operator(engine)
    key, key_text = await new_key(engine, by)
    token, token_text = await new_token(engine, by, Role.MANAGER)
    async with transaction(engine, by.program_id) as connection:
        new, new_text = await service.rotate_key(
            connection, by, key.id, old_ends_at=NOW, random=chance(), at=NOW, ids=ids
        )
        await service.revoke_key(connection, by, new.id, at=NOW, ids=ids)
        await service.revoke_staff_token(connection, by, token.id, at=NOW, ids=ids)
    async with reading(engine, by.program_id) as connection:
        log = await service.list_audit_entries(connection, by.program_id)
        older = await service.list_audit_entries(connection, by.program_id, before=log[2].id, limit=2)
    assert [entry.action for entry in reversed(log)] == [
        "client.create", "key.create", "staff.create", "token.issue", "key.rotate", "key.create", "key.revoke",
        "token.revoke",
    ]  # fmt: skip
    assert older == log[3:5]
    assert {(entry.actor_kind, entry.outcome, entry.at) for entry in log} == {
        (ActorKind.OPERATOR, "done", NOW)
    }
    link = await asyncpg.connect(database.superuser_url)
    for table in ("api_keys", "staff_tokens", "audit_log", "clients", "staff"):
        everything = await link.fetchval(f"SELECT string_agg(t::text, ' ') FROM {table} t")
        for secret in (key_text, token_text, new_text):
            assert secret[11:] not in everything
    await link.close()


async def test_a_change_that_is_rolled_back_leaves_no_line_in_the_audit_log(engine: AsyncEngine) -> None:
    by = await new_operator(engine)

    async def make_and_fail() -> None:
        async with transaction(engine, by.program_id) as connection:
            await service.create_client(connection, by, "till", at=NOW, ids=ids)
            await service.revoke_key(connection, by, ids(), at=NOW, ids=ids)

    with pytest.raises(KeyNotFound):
        await make_and_fail()
    async with reading(engine, by.program_id) as connection:
        assert await service.list_audit_entries(connection, by.program_id) == []
        assert await service.list_clients(connection, by.program_id) == []


async def test_authentication_needs_no_more_than_the_shared_tables_and_the_tokens_own_program(
    engine: AsyncEngine, database: Database
) -> None:
    """The application's role sees no staff of any program before the token has said which."""
    by = await new_operator(engine)
    await new_token(engine, by, Role.ADMIN)
    other = make_engine(database.app_url, 1)
    async with shared(other) as connection:
        assert (await connection.execute(text("SELECT count(*) FROM staff"))).scalar_one() == 0
    await other.dispose()
