"""Access's words: who may talk to us, with what credential, and the refusals about it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct

from loyalty.access.roles import Permission, Role, allows
from loyalty.base.errors import Conflict, Forbidden, NotFound, Refused, Unauthenticated
from loyalty.base.ids import NIL


class ActorKind(StrEnum):
    CLIENT = "client"
    STAFF = "staff"
    MEMBER = "member"
    JOB = "job"
    OPERATOR = "operator"  # on the command line only


class Principal(Struct, frozen=True):
    """Whoever acts, as authenticated. `id` is the client or person: it outlives a rotation of the credential."""

    kind: ActorKind
    id: UUID
    role: Role
    program_id: UUID
    credential_id: UUID
    locations: tuple[str, ...] = ()  # a till's key may be bound to some; empty: anywhere

    def may(self, permission: Permission) -> bool:
        """Whether the role of this principal has `permission`."""
        return allows(self.role, permission)

    def require(self, permission: Permission) -> None:
        """Raises: NotAllowed unless the role of this principal has `permission`."""
        if not allows(self.role, permission):
            raise NotAllowed(permission=permission.value)

    def at(self, location: str | None) -> bool:
        """Whether this principal may act for `location`: anywhere when it is bound to none."""
        return not self.locations or location in self.locations


def operator(program_id: UUID) -> Principal:
    """The person at the command line of the installation, who may do whatever an admin may."""
    return Principal(ActorKind.OPERATOR, NIL, Role.ADMIN, program_id, NIL)


class Client(Struct, frozen=True):
    """A system that calls us for a program; its keys come and go."""

    id: UUID
    name: str
    created_at: datetime


class ApiKey(Struct, frozen=True):
    """A client's key as it may be shown: never the key itself."""

    id: UUID
    client_id: UUID
    prefix: str  # first characters of the key, to tell keys apart
    role: Role
    locations: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Staff(Struct, frozen=True):
    """A person at the desk."""

    id: UUID
    name: str
    role: Role
    created_at: datetime


class StaffToken(Struct, frozen=True):
    """A staff member's token as it may be shown."""

    id: UUID
    staff_id: UUID
    prefix: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class AuditEntry(Struct, frozen=True):
    """One line of the audit log."""

    id: UUID
    at: datetime
    actor_kind: ActorKind
    actor_id: UUID
    action: str
    target: str | None
    outcome: str
    detail: dict[str, Any]


class InvalidCredential(Unauthenticated):
    """Missing, misspelt, unknown, expired and revoked are told alike."""

    code: ClassVar[str] = "invalid_credential"
    title: ClassVar[str] = "A valid API key or staff token is needed."
    remedy: ClassVar[str] = (
        "Send `Authorization: Bearer` and a key or token that is neither expired nor revoked."
    )


class NotAllowed(Forbidden):
    code: ClassVar[str] = "not_allowed"
    title: ClassVar[str] = "This credential's role may not do this."
    remedy: ClassVar[str] = "Use a credential whose role has the `permission` that the answer names."


class ClientNotFound(NotFound):
    code: ClassVar[str] = "client_not_found"
    title: ClassVar[str] = "There is no such client."
    remedy: ClassVar[str] = (
        "Take an id from `GET /v1/clients`, or make the client first (`POST /v1/clients`)."
    )


class KeyNotFound(NotFound):
    code: ClassVar[str] = "key_not_found"
    title: ClassVar[str] = "There is no such key."
    remedy: ClassVar[str] = (
        "Take an id from `GET /v1/clients/{client}/keys` of the very client whose key it is."
    )


class StaffNotFound(NotFound):
    code: ClassVar[str] = "staff_not_found"
    title: ClassVar[str] = "There is no such staff member."
    remedy: ClassVar[str] = "Take an id that `loyalty staff list` shows."


class TokenNotFound(NotFound):
    code: ClassVar[str] = "token_not_found"
    title: ClassVar[str] = "There is no such token."
    remedy: ClassVar[str] = "Take it from `loyalty staff tokens`, or from the answer that made the token."


class KeyInvalid(Refused):
    code: ClassVar[str] = "key_invalid"
    title: ClassVar[str] = "Such a key would not work, or not as it says."
    remedy: ClassVar[str] = (
        "Correct what `errors` names: only keys of `pos` have `locations`, and `expires_at` is still to come."
    )


class KeyNotActive(Conflict):
    code: ClassVar[str] = "key_not_active"
    title: ClassVar[str] = "The key has expired or was revoked."
    remedy: ClassVar[str] = (
        "Make a new key of the client (`POST /v1/clients/{client}/keys`): what is over cannot be rotated."
    )
