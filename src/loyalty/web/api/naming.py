"""Members as bodies name them: one identifier, brought to the form under which it is known."""

from uuid import UUID

from loyalty.members.identifiers import normalise
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.posting.commands import MemberRef
from loyalty.web.api.wire import MemberName
from loyalty.web.edge import Call


async def referred(call: Call, name: MemberName, at: str = "/member") -> MemberRef:
    """The reference for a member that stands at the pointer `at`. Raises: IdentifierInvalid."""
    if name.id is not None:
        return MemberRef(id=name.id)
    kind = IdentifierKind(name.named()[0])
    raw = getattr(name, kind.value)
    region = await call.region() if kind is IdentifierKind.PHONE else ""
    return MemberRef(identifier=normalise(kind, raw, region, f"{at}/{kind.value}"))


def named(member: MemberRef) -> UUID | Identifier:
    """The id or identifier of a reference."""
    name = member.id or member.identifier
    assert name is not None, "a reference names somebody"
    return name
