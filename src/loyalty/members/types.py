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


class MemberNotFound(NotFound):
    code: ClassVar[str] = "member_not_found"
    title: ClassVar[str] = "There is no such member."


class MemberBlocked(Conflict):
    code: ClassVar[str] = "member_blocked"
    title: ClassVar[str] = "The member is blocked."


class MemberErased(Conflict):
    code: ClassVar[str] = "member_erased"
    title: ClassVar[str] = "The member has been erased."


class IdentifiersConflict(Conflict):
    code: ClassVar[str] = "identifiers_conflict"
    title: ClassVar[str] = "The identifiers belong to two different members."


class IdentifierTaken(Conflict):
    code: ClassVar[str] = "identifier_taken"
    title: ClassVar[str] = "The identifier belongs to another member."


class IdentifierInvalid(Refused):
    code: ClassVar[str] = "identifier_invalid"
    title: ClassVar[str] = "The identifier is not in a form that can be used."
