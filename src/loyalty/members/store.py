"""The SQL of members, their profiles and identifiers: reads only, they are written by posting under the head."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, false, func, select, true, tuple_, union_all
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns, struct
from loyalty.members.tables import identifiers, member_profiles, members
from loyalty.members.types import Identifier, Member, Person, Profile

LOOKED_MAX = 20_000  # names that one search compares, some hundredths of a second
_ESCAPE = "\\"


class Place(NamedTuple):
    """Where a member's rows are."""

    cell: int
    member_id: UUID


async def places(
    connection: AsyncConnection, program_id: UUID, wanted: Sequence[Identifier]
) -> dict[Identifier, Place]:
    """Who has the wanted identifiers; those that nobody has are left out."""
    if not wanted:
        return {}
    c = identifiers.c
    query = select(c.kind, c.value, c.cell, c.member_id).where(
        c.program_id == program_id,
        tuple_(c.kind, c.value).in_([(identifier.kind.value, identifier.value) for identifier in wanted]),
    )
    rows = await connection.execute(query)
    return {
        msgspec.convert({"kind": kind, "value": value}, Identifier): Place(cell, member_id)
        for kind, value, cell, member_id in rows
    }


async def joined_at(
    connection: AsyncConnection, program_id: UUID, cell: int, member_ids: Sequence[UUID]
) -> dict[UUID, datetime]:
    """When members of a lane joined."""
    c = members.c
    query = select(c.id, c.enrolled_at).where(
        c.program_id == program_id, c.cell == cell, c.id.in_(member_ids)
    )
    return {row.id: row.enrolled_at for row in await connection.execute(query)}


async def member(connection: AsyncConnection, program_id: UUID, place: Place) -> Member | None:
    query = select(*columns(members, Member)).where(
        members.c.program_id == program_id, members.c.cell == place.cell, members.c.id == place.member_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else struct(row, Member)


async def people(connection: AsyncConnection, program_id: UUID, wanted: Sequence[Place]) -> list[Person]:
    """The members at the wanted places, in the order of `wanted`; missing ones are left out."""
    if not wanted:
        return []
    profiles = await connection.execute(
        select(*columns(members, Member), member_profiles.c.profile)
        .outerjoin(member_profiles, _same_member())
        .where(members.c.program_id == program_id, tuple_(members.c.cell, members.c.id).in_(wanted))
    )
    named: dict[UUID, list[Identifier]] = {}
    rows = await connection.execute(
        select(identifiers.c.member_id, identifiers.c.kind, identifiers.c.value)
        .where(
            identifiers.c.program_id == program_id,
            tuple_(identifiers.c.cell, identifiers.c.member_id).in_(wanted),
        )
        .order_by(identifiers.c.kind, identifiers.c.value)
    )
    for row in rows:
        named.setdefault(row.member_id, []).append(struct(row, Identifier))
    found = {
        row.id: Person(
            struct(row, Member),
            msgspec.convert(row.profile or {}, Profile),
            tuple(named.get(row.id, ())),
        )
        for row in profiles
    }
    return [found[place.member_id] for place in wanted if place.member_id in found]


async def places_by_name(
    connection: AsyncConnection, program_id: UUID, text: str, after: Place | None, limit: int
) -> tuple[list[Place], Place | None]:
    """Members whose name contains `text`, whatever its letter case, by cell and id; at most `LOOKED_MAX` are looked at.

    The place behind which a next look goes on is None when all were found, or as many as were asked for. No index by
    name could help: behind row-level security PostgreSQL asks none with operators that may tell what they compare.
    """
    c = member_profiles.c
    ahead = select(c.cell, c.member_id, c.profile).where(c.program_id == program_id)
    if after is not None:
        ahead = ahead.where(tuple_(c.cell, c.member_id) > after)
    ahead = ahead.order_by(c.cell, c.member_id)
    looked = ahead.limit(LOOKED_MAX).subquery()
    last = ahead.with_only_columns(c.cell, c.member_id).offset(LOOKED_MAX - 1).limit(1).subquery()
    literal = text.replace(_ESCAPE, _ESCAPE * 2).replace("%", _ESCAPE + "%").replace("_", _ESCAPE + "_")
    found = (
        select(looked.c.cell, looked.c.member_id)
        .where(looked.c.profile["name"].as_string().ilike(f"%{literal}%", escape=_ESCAPE))
        .order_by(looked.c.cell, looked.c.member_id)
        .limit(limit)
        .cte()
    )
    few = select(func.count() < limit).select_from(found).scalar_subquery()
    # One statement, so that whoever is erased meanwhile does not move the place. It is looked for where `few` is true.
    query = union_all(
        select(found.c.cell, found.c.member_id, false()),
        select(last.c.cell, last.c.member_id, true()).where(few),
    )
    # Read in order from the primary key: a sort would take all names of the program first.
    await connection.execute(sql("SET LOCAL enable_sort = off"))
    rows = (await connection.execute(query)).all()
    places = [Place(cell, member_id) for cell, member_id, is_last in rows if not is_last]
    return places, next((Place(cell, member_id) for cell, member_id, is_last in rows if is_last), None)


def _same_member() -> ColumnElement[bool]:
    return (
        (member_profiles.c.program_id == members.c.program_id)
        & (member_profiles.c.cell == members.c.cell)
        & (member_profiles.c.member_id == members.c.id)
    )
