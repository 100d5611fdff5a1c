"""Members: found at the till, enrolled, read, changed, erased. What a person is called stays out of every answer
that is stored; who may see it in clear is a permission.
"""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from loyalty.access.roles import Permission
from loyalty.base.calendar import local_date
from loyalty.base.database import reading, transaction
from loyalty.base.errors import Fault
from loyalty.base.paging import InvalidCursor
from loyalty.ledger.types import Balance
from loyalty.members import service
from loyalty.members.identifiers import normalise
from loyalty.members.profile import normalise_profile
from loyalty.members.types import (
    Identifier,
    IdentifierInvalid,
    IdentifierKind,
    IdentifiersConflict,
    IdentifierTaken,
    MaskedPerson,
    MemberErased,
    MemberNotFound,
    MemberStatus,
    Profile,
    ProfileInvalid,
)
from loyalty.posting.answers import MemberAnswer
from loyalty.posting.commands import AddIdentifier, Answer, ChangeMember, Enrol, EraseMember, MemberRef
from loyalty.web.api import wire
from loyalty.web.api.naming import named
from loyalty.web.edge import Call, get, patch, post, reply
from loyalty.web.pins import submit_pin

MEMBERS = "/v1/members"
MEMBER = "/v1/members/{member}"


class Search(Struct, frozen=True):
    q: Annotated[str, Meta(min_length=1, max_length=100, description="Part of a name.")]
    limit: wire.Limit = 20
    cursor: wire.CursorText | None = None


class MemberView(Struct, frozen=True):
    """A member. Whoever may not see personal data gets name and identifiers masked and nothing else of it."""

    id: UUID
    status: MemberStatus
    enrolled_at: datetime
    masked: bool
    name: str | None
    locale: str | None
    birthday_on: date | None
    attributes: dict[str, Any]
    identifiers: tuple[Identifier, ...]


class MemberPage(Struct, frozen=True):
    data: tuple[MaskedPerson, ...]
    next_cursor: str | None


class Candidate(Struct, frozen=True):
    """A member as a cashier may see it, and what it holds."""

    id: UUID
    status: MemberStatus
    name: str | None  # masked
    identifiers: tuple[Identifier, ...]  # their values masked
    balances: tuple[Balance, ...]


class LookupAnswer(Struct, frozen=True):
    """Nobody, the one, or at most five to choose from."""

    candidates: tuple[Candidate, ...]
    read_as: tuple[IdentifierKind, ...]  # what the text could have been: a stranger may be enrolled with it


@post(f"{MEMBERS}/lookup", Permission.MEMBER_LOOKUP, answers={200: LookupAnswer})
async def look_up_member(call: Call, body: wire.LookupBody) -> Answer:
    """Find a member by whatever was typed or scanned.

    One field takes phone number, e-mail address, card, external id or the text of a QR code. The answer is masked,
    with balances, and has nobody, the one, or at most five to choose from; `read_as` says what a stranger could be
    enrolled with.
    Every look-up stands in the audit log, without the text.
    """
    region = await call.region()
    async with transaction(call.runtime.engine, call.program_id) as connection:
        found = await service.lookup(
            connection,
            call.principal,
            body.query,
            region=region,
            digests=call.runtime.digests,
            at=call.runtime.clock.now(),
            ids=call.door.ids,
        )
    candidates: list[Candidate] = []
    for one in found.candidates:
        held = await call.runtime.balances_now(call.program_id, MemberRef(id=one.id))
        balances = () if held is None else held.balances
        candidates.append(Candidate(one.id, one.status, one.name, one.identifiers, balances))
    return reply(LookupAnswer(tuple(candidates), found.read_as))


@get(MEMBERS, Permission.MEMBER_PROFILE, answers={200: MemberPage}, refusals=(InvalidCursor,))
async def search_members(call: Call, query: Search) -> Answer:
    """Members whose name contains a text, masked. Every search stands in the audit log, without the text.

    One call looks at 20,000 members: of a larger program a page may have few or none and still a `next_cursor`.
    """
    after = call.page_start(query.cursor, query.q)
    async with transaction(call.runtime.engine, call.program_id) as connection:
        found, last = await service.search(
            connection,
            call.principal,
            query.q,
            cells=call.runtime.settings.cells,
            digests=call.runtime.digests,
            at=call.runtime.clock.now(),
            ids=call.door.ids,
            after=None if after is None else UUID(after[0]),
            limit=query.limit + 1,
        )
    if last is not None:
        return call.page_on(found, [str(last)], query.q)
    return call.page(found, query.limit, lambda person: [str(person.id)], query.q)


@post(
    MEMBERS,
    Permission.MEMBER_ENROL,
    keyed=True,
    answers={200: MemberAnswer, 201: MemberAnswer},
    refusals=(IdentifierInvalid, ProfileInvalid, IdentifiersConflict),
)
async def enrol_member(call: Call, body: wire.EnrolBody) -> Answer:
    """Enrol a member, or learn the id of the one who has the identifier.

    201 for a new member. 200 with the id alone when the identifiers are known: nothing is changed then.
    """
    identifiers: dict[Identifier, None] = {}
    for index, one in enumerate(body.identifiers):
        region = await call.region() if one.kind is IdentifierKind.PHONE else ""
        identifiers[normalise(one.kind, one.value, region, f"/identifiers/{index}/value")] = None
    profile = await _profile(call, body.profile, body.attributes)
    return await call.submit(Enrol(tuple(identifiers), profile))


@get(MEMBER, Permission.MEMBER_READ, answers={200: MemberView}, refusals=(MemberNotFound,))
async def read_member(call: Call, member: MemberRef) -> Answer:
    """One member: in clear for whoever may see personal data, masked for everybody else."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        person = await service.view(connection, call.program_id, named(member), call.runtime.settings.cells)
    known = person.member
    if call.principal.may(Permission.MEMBER_PROFILE):
        view = MemberView(
            known.id,
            known.status,
            known.enrolled_at,
            False,
            person.profile.name,
            person.profile.locale,
            person.profile.birthday_on,
            person.profile.attributes,
            person.identifiers,
        )
    else:
        shown = service.masked(person)
        view = MemberView(
            known.id, known.status, known.enrolled_at, True, shown.name, None, None, {}, shown.identifiers
        )
    return reply(view)


@patch(
    MEMBER,
    Permission.MEMBER_WRITE,
    answers={200: MemberAnswer},
    refusals=(MemberNotFound, MemberErased, ProfileInvalid),
)
async def change_member(call: Call, member: MemberRef, body: wire.ChangeMemberBody) -> Answer:
    """Block or unblock a member, or replace what is known of the person. The same twice is the same once."""
    profile = None
    if body.profile is not None:
        profile = await _profile(call, body.profile, dict(body.attributes or {}))
    status = None if body.status is None else MemberStatus(body.status)
    return await call.submit(ChangeMember(member, status, profile))


@post(
    f"{MEMBER}/identifiers",
    Permission.MEMBER_WRITE,
    keyed=True,
    answers={200: MemberAnswer, 201: MemberAnswer},
    refusals=(MemberNotFound, MemberErased, IdentifierInvalid, IdentifierTaken),
)
async def add_identifier(call: Call, member: MemberRef, body: wire.IdentifierBody) -> Answer:
    """Give a member one more identifier; 200 when the member has it already."""
    region = await call.region() if body.kind is IdentifierKind.PHONE else ""
    identifier = normalise(body.kind, body.value, region, "/value")
    return await call.submit(AddIdentifier(member, identifier))


@post(
    f"{MEMBER}/pin",
    Permission.PIN_SET,
    keyed=True,
    answers={200: MemberAnswer},
    refusals=(MemberNotFound, MemberErased),
)
async def set_pin(call: Call, member: MemberRef, body: wire.PinBody) -> Answer:
    """Give a member a PIN, or another one. A lock is over then, and what the old one proved counts no more.

    Only a slow salted hash is kept, beside the profile; it goes with the member. Where the program asks for the PIN,
    whatever spends, sets aside or gives away points takes it as `pin`.
    """
    return await submit_pin(call, member, body.pin)


@post(
    f"{MEMBER}/erase",
    Permission.MEMBER_ERASE,
    keyed=True,
    answers={200: MemberAnswer},
    refusals=(MemberNotFound, MemberErased),
)
async def erase_member(call: Call, member: MemberRef, body: wire.Nothing) -> Answer:
    """Erase a person for good.

    Points leave first: pending ones are revoked, available ones expire, a debt is waived. Then profile and
    identifiers are removed. The books stay, with nothing in them that says who it was.
    """
    return await call.submit(EraseMember(member))


async def _profile(call: Call, body: wire.ProfileBody, attributes: dict[str, Any]) -> Profile:
    now = await call.runtime.now(call.program_id)
    today = local_date(now, (await call.runtime.history(call.program_id)).at(now).zone)
    whole = Profile(body.name, body.locale, body.birthday_on, attributes)
    try:
        return normalise_profile(whole, today, "/profile")
    except ProfileInvalid as invalid:
        # Attributes stand beside the profile in the body, inside it in store.
        faults = tuple(
            Fault(fault.pointer.replace("/profile/attributes", "/attributes", 1), fault.code, fault.detail)
            for fault in invalid.faults
        )
        raise ProfileInvalid(faults=faults) from None
