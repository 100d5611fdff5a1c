"""Members' words: status, identifiers, profile, and the refusals about them.

Personal data (profile, identifier values) sits in this room's tables and nowhere else.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct

from loyalty.base.errors import Conflict, NotFound, Refused


class MemberStatus(StrEnum):
    ACTIVE = "active"
    BLOCKED = "blocked"
    MERGED = "merged"
    ERASED = "erased"


class IdentifierKind(StrEnum):
    CARD = "card"
    PHONE = "phone"
    EMAIL = "email"
    EXTERNAL = "external"


class Identifier(Struct, frozen=True):
    """One normalised identifier: see identifiers.py for the form of each kind."""

    kind: IdentifierKind
    value: str


class Profile(Struct, frozen=True, omit_defaults=True):
    """Personal data of a member; erasable."""

    name: str | None = None
    locale: str | None = None
    birthday_on: date | None = None
    attributes: dict[str, Any] = {}


class Member(Struct, frozen=True):
    """The pseudonymous person that the ledger knows."""

    id: UUID
    status: MemberStatus
    enrolled_at: datetime
    merged_into: UUID | None = None


class Person(Struct, frozen=True):
    """A member with what is known of the person, in clear."""

    member: Member
    profile: Profile
    identifiers: tuple[Identifier, ...]  # by kind and value


class MaskedPerson(Struct, frozen=True):
    """A member as a cashier may see it."""

    id: UUID
    status: MemberStatus
    name: str | None
    identifiers: tuple[Identifier, ...]  # their values masked


class Lookup(Struct, frozen=True):
    """What a look-up found: nobody, the one, or at most five to choose from."""

    candidates: tuple[MaskedPerson, ...]
    read_as: tuple[IdentifierKind, ...]  # what the text could have been: a stranger may be enrolled with it


class MemberNotFound(NotFound):
    code: ClassVar[str] = "member_not_found"
    title: ClassVar[str] = "There is no such member."
    remedy: ClassVar[str] = (
        "Enrol the member first (`POST /v1/members`), or let purchases do it: policy `unknown_card` and its "
        "like."
    )


class MemberBlocked(Conflict):
    code: ClassVar[str] = "member_blocked"
    title: ClassVar[str] = "The member is blocked."
    remedy: ClassVar[str] = (
        "Unblock the member if that is right: `PATCH /v1/members/{member}` with `status` `active`."
    )


class MemberErased(Conflict):
    code: ClassVar[str] = "member_erased"
    title: ClassVar[str] = "The member has been erased."
    remedy: ClassVar[str] = (
        "Enrol the person anew (`POST /v1/members`) and use the new id: the old one stays without a person."
    )


class ProfileInvalid(Refused):
    code: ClassVar[str] = "profile_invalid"
    title: ClassVar[str] = "The profile holds what cannot be kept."
    remedy: ClassVar[str] = "Correct the places of `profile` and `attributes` that `errors` names."


class IdentifiersConflict(Conflict):
    code: ClassVar[str] = "identifiers_conflict"
    title: ClassVar[str] = "The identifiers belong to two different members."
    remedy: ClassVar[str] = "Send the identifiers of one of the two `members` only."


class IdentifierTaken(Conflict):
    code: ClassVar[str] = "identifier_taken"
    title: ClassVar[str] = "The identifier belongs to another member."
    remedy: ClassVar[str] = (
        "Look up whose it is (`POST /v1/members/lookup`): it stays there until that member is erased."
    )


class IdentifierInvalid(Refused):
    code: ClassVar[str] = "identifier_invalid"
    title: ClassVar[str] = "The identifier is not in a form that can be used."
    remedy: ClassVar[str] = (
        "Write the identifier in the form of its kind: `errors` says what is wrong with it."
    )
