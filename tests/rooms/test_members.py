"""Finding members: one field, masked answers, an audit log that says who asked and never for what."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy import event, insert
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.access.service import list_audit_entries
from loyalty.access.types import Principal
from loyalty.base.canonical import Digests
from loyalty.base.database import reading, transaction
from loyalty.members import service, store
from loyalty.members.cells import cell_of
from loyalty.members.identifiers import normalise
from loyalty.members.store import LOOKED_MAX, Place
from loyalty.members.tables import identifiers, member_profiles, members
from loyalty.members.types import (
    Identifier,
    IdentifierKind,
    Lookup,
    MaskedPerson,
    MemberNotFound,
    MemberStatus,
    Profile,
)
from tests.conftest import Database
from tests.rooms.conftest import NOW, ids, new_operator

DIGESTS = Digests(b"s" * 32)
_MANY = """
INSERT INTO member_profiles
SELECT $1, 0, lpad(n::text, 32, 'f')::uuid, '{"name": "Zoe Other"}' FROM generate_series(1, $2::int) n
"""
_READ_HERE = (
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'member_profiles'"
)


async def new_member(
    engine: AsyncEngine,
    by: Principal,
    name: str | None = None,
    cells: int = 1,
    merged_into: UUID | None = None,
    **named: str,
) -> UUID:
    """A member with identifiers given as kind=text; written directly, as posting does under the head."""
    member_id = ids()
    place = {"program_id": by.program_id, "cell": cell_of(member_id, cells)}
    status = MemberStatus.ACTIVE if merged_into is None else MemberStatus.MERGED
    async with transaction(engine, by.program_id) as connection:
        row = {**place, "id": member_id, "status": status, "enrolled_at": NOW, "merged_into": merged_into}
        await connection.execute(insert(members), row)
        if name is not None:
            profile = msgspec.to_builtins(Profile(name=name))
            await connection.execute(
                insert(member_profiles), {**place, "member_id": member_id, "profile": profile}
            )
        for kind, value in named.items():
            identifier = normalise(IdentifierKind(kind), value, "DE")
            row = {**place, "kind": identifier.kind, "value": identifier.value, "member_id": member_id}
            await connection.execute(insert(identifiers), row)
    return member_id


async def look_up(engine: AsyncEngine, by: Principal, text: str) -> Lookup:
    async with transaction(engine, by.program_id) as connection:
        return await service.lookup(connection, by, text, region="DE", digests=DIGESTS, at=NOW, ids=ids)


async def search(
    engine: AsyncEngine, by: Principal, text: str, *, cells: int = 1, **page: Any
) -> list[MaskedPerson]:
    async with transaction(engine, by.program_id) as connection:
        found, _ = await service.search(
            connection, by, text, cells=cells, digests=DIGESTS, at=NOW, ids=ids, **page
        )
        return found


async def test_one_field_finds_a_member_by_whatever_is_at_hand(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    zoe = await new_member(
        engine,
        by,
        "Zoe Miller",
        card="6035550001",
        phone="030 123456",
        email="zoe@example.com",
        external="crm/77",
    )
    for text in (
        "6035 5500 01",
        "+49 30 123456",
        "030/123456",
        "ZOE@example.com",
        "crm/77",
        "tel:030-123456",
    ):
        (found,) = (await look_up(engine, by, text)).candidates
        assert found.id == zoe


async def test_a_cashier_sees_masks_only(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    await new_member(engine, by, "Zoe Miller", card="6035550001", phone="030 123456", email="zoe@example.com")
    (found,) = (await look_up(engine, by, "6035550001")).candidates
    assert found.name == "Z••• M•••"
    assert {one.kind.value: one.value for one in found.identifiers} == {
        "card": "•••001", "phone": "•••456", "email": "z•••@e•••.com",
    }  # fmt: skip


async def test_a_text_that_means_two_members_gives_both_to_choose_from(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    by_phone = await new_member(engine, by, "Ann", phone="030 123456")
    by_card = await new_member(engine, by, "Bob", card="030123456")
    found = await look_up(engine, by, "030123456")
    assert {one.id for one in found.candidates} == {by_phone, by_card}


async def test_a_member_found_in_two_ways_is_one_candidate(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    ann = await new_member(engine, by, "Ann", card="030123456", phone="030 123456", external="030123456")
    assert [one.id for one in (await look_up(engine, by, "030123456")).candidates] == [ann]


async def test_a_stranger_is_nobody_and_the_answer_says_what_could_be_enrolled(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    found = await look_up(engine, by, "stranger@example.com")
    assert found.candidates == ()
    assert found.read_as[0] is IdentifierKind.EMAIL


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "\ud800", "x" * 100_000, "'; DROP TABLE members", "%", "\u202e"]
)
async def test_a_hostile_text_finds_nobody_and_breaks_nothing(engine: AsyncEngine, text: str) -> None:
    by = await new_operator(engine)
    await new_member(engine, by, "Zoe", card="6035550001")
    assert (await look_up(engine, by, text)).candidates == ()
    assert await search(engine, by, text) == []


async def test_another_programs_members_are_nobody(engine: AsyncEngine) -> None:
    theirs, ours = await new_operator(engine), await new_operator(engine)
    zoe = await new_member(engine, theirs, "Zoe Miller", card="6035550001")
    card = Identifier(IdentifierKind.CARD, "6035550001")
    assert (await look_up(engine, ours, "6035550001")).candidates == ()
    assert await search(engine, ours, "Zoe") == []
    async with reading(engine, ours.program_id) as connection:
        assert await service.find(connection, ours.program_id, card) is None
        for named in (zoe, card):
            with pytest.raises(MemberNotFound):
                await service.view(connection, ours.program_id, named, 1)
    async with reading(engine, theirs.program_id) as connection:
        assert await service.find(connection, theirs.program_id, card) == zoe


async def test_the_same_card_may_belong_to_a_member_of_each_program(engine: AsyncEngine) -> None:
    one, other = await new_operator(engine), await new_operator(engine)
    mine = await new_member(engine, one, card="6035550001")
    theirs = await new_member(engine, other, card="6035550001")
    assert [found.id for found in (await look_up(engine, one, "6035550001")).candidates] == [mine]
    assert [found.id for found in (await look_up(engine, other, "6035550001")).candidates] == [theirs]


@pytest.mark.parametrize("cells", [1, 8])
async def test_a_member_is_shown_whole_by_id_and_by_identifier_whatever_its_cell(
    engine: AsyncEngine, cells: int
) -> None:
    by = await new_operator(engine)
    for n in range(8):
        card = normalise(IdentifierKind.CARD, f"60355500{n:02}", "DE")
        member_id = await new_member(
            engine, by, f"Zoe {n}", cells, card=card.value, email=f"z{n}@example.com"
        )
        async with reading(engine, by.program_id) as connection:
            person = await service.view(connection, by.program_id, member_id, cells)
            assert person == await service.view(connection, by.program_id, card, cells)
        assert person.profile == Profile(name=f"Zoe {n}")
        assert [one.value for one in person.identifiers] == [card.value, f"z{n}@example.com"]


async def test_a_merged_member_answers_as_the_survivor(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    survivor = await new_member(engine, by, "Zoe", 8, card="6035550001")
    old = await new_member(engine, by, None, 8, merged_into=survivor)
    async with reading(engine, by.program_id) as connection:
        assert (await service.view(connection, by.program_id, old, 8)).member.id == survivor


async def test_an_erased_member_is_an_id_without_a_person(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    bare = await new_member(engine, by)
    async with reading(engine, by.program_id) as connection:
        person = await service.view(connection, by.program_id, bare, 1)
    assert (person.profile, person.identifiers) == (Profile(), ())


async def test_names_are_searched_in_any_letter_case_and_wildcards_are_letters(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    made = {
        name: await new_member(engine, by, name)
        for name in ("Zoé MÜLLER", "100% Bob_by", "100 Bobby", "C:\\Ann")
    }

    async def found(text: str) -> set[str]:
        seen = {one.id for one in await search(engine, by, text)}
        return {name for name, member_id in made.items() if member_id in seen}

    assert await found("müller") == {"Zoé MÜLLER"}
    assert await found("ZOE\u0301") == {"Zoé MÜLLER"}
    assert await found("%") == {"100% Bob_by"}
    assert await found("b_b") == {"100% Bob_by"}
    assert await found("b") == {"100% Bob_by", "100 Bobby"}
    assert await found("\\a") == {"C:\\Ann"}
    assert await found("nobody") == set()


async def test_a_search_is_bounded_and_goes_on_where_it_ended(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    made = [await new_member(engine, by, f"Ann {n}") for n in range(5)]
    first = await search(engine, by, "ann", limit=2)
    rest = await search(engine, by, "ann", after=first[-1].id, limit=10)
    assert [one.id for one in first + rest] == made


async def test_a_search_goes_on_from_lane_to_lane(engine: AsyncEngine) -> None:
    by = await new_operator(engine)
    made = [await new_member(engine, by, f"Ann {n}", 8) for n in range(20)]
    found: list[UUID] = []
    while page := await search(engine, by, "ann", cells=8, after=found[-1] if found else None, limit=3):
        found += [one.id for one in page]
    assert found == sorted(made, key=lambda id: (cell_of(id, 8), id))


async def test_a_search_looks_at_so_many_names_and_says_where_it_goes_on(
    engine: AsyncEngine, database: Database
) -> None:
    by = await new_operator(engine)
    first, end = await new_member(engine, by, "Ann First"), UUID(int=2**128 - 1)
    link = await asyncpg.connect(database.superuser_url)
    await link.execute(_MANY, by.program_id, LOOKED_MAX)
    await link.execute(
        "INSERT INTO member_profiles VALUES ($1, 0, $2, $3)", by.program_id, end, '{"name": "Ann Last"}'
    )
    await link.close()
    async with reading(engine, by.program_id) as connection:

        async def named(text: str, after: UUID | None = None) -> tuple[list[UUID], UUID | None]:
            place = None if after is None else Place(0, after)
            found, last = await store.places_by_name(connection, by.program_id, text, place, 1)
            return [one.member_id for one in found], None if last is None else last.member_id

        before = (await connection.execute(sql(_READ_HERE))).scalar_one()
        assert await named("ann f") == ([first], None)
        after = (await connection.execute(sql(_READ_HERE))).scalar_one()
        assert after - before == 1
        found, last = await named("ann l")
        assert (found, last is None) == ([], False)
        assert await named("ann l", last) == ([end], None)
        assert await named("nobody", last) == ([], None)

        looks: list[str] = []

        def look(_: object, __: object, statement: str, *___: object) -> None:
            looks.append(statement)

        event.listen(engine.sync_engine, "before_cursor_execute", look)
        await named("ann l")
        event.remove(engine.sync_engine, "before_cursor_execute", look)
        # Who is erased between two of them would move the place beyond names that were not looked at.
        assert sum("member_profiles" in statement for statement in looks) == 1


async def test_who_looked_is_in_the_audit_log_and_for_whom_is_not(
    engine: AsyncEngine, database: Database
) -> None:
    by = await new_operator(engine)
    await new_member(engine, by, "Zoe Miller", phone="030 123456")
    await look_up(engine, by, "030 123456")
    await look_up(engine, by, "stranger@example.com")
    await search(engine, by, "Zoe Miller")
    async with reading(engine, by.program_id) as connection:
        searched, stranger, known = await list_audit_entries(connection, by.program_id)
    assert [searched.action, stranger.action, known.action] == [
        "member.search",
        "member.lookup",
        "member.lookup",
    ]
    assert [entry.detail["found"] for entry in (searched, stranger, known)] == [1, 0, 1]
    assert set(known.detail["read_as"]) == {"phone", "card", "external"}
    again = DIGESTS.of(b"identifier", b"phone", b"+4930123456")[0].hex()
    assert known.detail["read_as"]["phone"] == again  # whoever has the number can ask who looked for it
    link = await asyncpg.connect(database.superuser_url)
    log = await link.fetchval("SELECT string_agg(t::text, ' ') FROM audit_log t")
    await link.close()
    for value in ("30123456", "stranger", "example.com", "Zoe", "Miller"):
        assert value not in log
