"""Finding and showing members. Whatever changes one is a command of posting.

A member that was merged into another answers as the survivor.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access import audit
from loyalty.access.types import Principal
from loyalty.base.canonical import Digests
from loyalty.base.ids import Ids
from loyalty.base.text import TextFault, clean
from loyalty.members import store
from loyalty.members.cells import cell_of
from loyalty.members.identifiers import detect
from loyalty.members.mask import mask_identifier, mask_name
from loyalty.members.store import Place
from loyalty.members.types import (
    Identifier,
    Lookup,
    MaskedPerson,
    Member,
    MemberNotFound,
    Person,
)

CANDIDATES_MAX = 5
SEARCH_MAX = 100


async def find(connection: AsyncConnection, program_id: UUID, identifier: Identifier) -> UUID | None:
    """The member who has this identifier."""
    place = (await store.places(connection, program_id, [identifier])).get(identifier)
    return None if place is None else place.member_id


async def resolve(
    connection: AsyncConnection, program_id: UUID, named: UUID | Identifier, cells: int
) -> Member:
    """The member that an id or an identifier names, the survivor of a merge included.

    Raises: MemberNotFound.
    """
    if isinstance(named, UUID):
        place = Place(cell_of(named, cells), named)
    else:
        place = (await store.places(connection, program_id, [named])).get(named)
    member = None if place is None else await store.member(connection, program_id, place)
    if member is not None and member.merged_into is not None:
        survivor = Place(cell_of(member.merged_into, cells), member.merged_into)
        member = await store.member(connection, program_id, survivor)
    if member is None:
        raise MemberNotFound
    return member


async def view(connection: AsyncConnection, program_id: UUID, named: UUID | Identifier, cells: int) -> Person:
    """The member with profile and identifiers in clear; both are empty after erasure.

    Raises: MemberNotFound.
    """
    member = await resolve(connection, program_id, named, cells)
    (person,) = await store.people(connection, program_id, [Place(cell_of(member.id, cells), member.id)])
    return person


def masked(person: Person) -> MaskedPerson:
    """The person as a cashier may see them."""
    name = person.profile.name
    return MaskedPerson(
        person.member.id,
        person.member.status,
        None if name is None else mask_name(name),
        tuple(
            msgspec.structs.replace(identifier, value=mask_identifier(identifier))
            for identifier in person.identifiers
        ),
    )


async def lookup(
    connection: AsyncConnection,
    by: Principal,
    text: str,
    *,
    region: str,
    digests: Digests,
    at: datetime,
    ids: Ids,
) -> Lookup:
    """Everybody whom the text of one field may mean, masked; the look-up goes to the audit log.

    `region` is the country of phone numbers without prefix. The log keeps what the text was read as, with a keyed
    digest: who asked after a card can be told by who has the card's number, and by nobody else.
    Needs: a transaction that writes, since the audit log is written.
    """
    wanted = detect(text, region)
    found = await store.places(connection, by.program_id, wanted)
    places = list(dict.fromkeys(found[one] for one in wanted if one in found))
    people = await store.people(connection, by.program_id, places[:CANDIDATES_MAX])
    detail = {"read_as": {one.kind: _digest(digests, one) for one in wanted}, "found": len(people)}
    await audit.record(connection, by, "member.lookup", at=at, ids=ids, detail=detail)
    return Lookup(tuple(masked(person) for person in people), tuple(one.kind for one in wanted))


async def search(
    connection: AsyncConnection,
    by: Principal,
    text: str,
    *,
    cells: int,
    digests: Digests,
    at: datetime,
    ids: Ids,
    after: UUID | None = None,
    limit: int = 20,
) -> tuple[list[MaskedPerson], UUID | None]:
    """Members whose name contains `text`, masked, by cell and id; the search goes to the audit log.

    In a large program it may end before `limit` were found: behind the member that comes with them it goes on.
    Needs: a transaction that writes, since the audit log is written.
    """
    try:
        part = clean(text, SEARCH_MAX)
    except TextFault:
        return [], None  # nobody's name is written so
    place = None if after is None else Place(cell_of(after, cells), after)
    places, last = await store.places_by_name(connection, by.program_id, part, place, limit)
    people = await store.people(connection, by.program_id, places)
    digest = digests.of(b"search", part.casefold().encode())[0].hex()
    detail = {"digest": digest, "found": len(people)}
    await audit.record(connection, by, "member.search", at=at, ids=ids, detail=detail)
    return [masked(person) for person in people], None if last is None else last.member_id


def _digest(digests: Digests, identifier: Identifier) -> str:
    return digests.of(b"identifier", identifier.kind.encode(), identifier.value.encode())[0].hex()
