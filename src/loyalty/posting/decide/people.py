"""Members: enrol, import, add an identifier, change, set a PIN, erase."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from loyalty.ledger.expiry import Dates
from loyalty.ledger.types import WAIVED, EntryKind
from loyalty.ledger.undo import forfeit
from loyalty.members.types import Identifier, IdentifiersConflict, IdentifierTaken, Member, MemberStatus
from loyalty.posting.answers import MemberAnswer
from loyalty.posting.book import Pin, Work
from loyalty.posting.commands import (
    AddIdentifier,
    ChangeMember,
    Enrol,
    EraseMember,
    ImportMember,
    SetPin,
)
from loyalty.posting.decide.holds import give_back
from loyalty.posting.decide.outcome import Outcome, credit
from loyalty.posting.decide.standing import leave, review_all
from loyalty.posting.detail import Detail
from loyalty.posting.types import InFuture, NothingToImport

ERASED = "member_erased"


def enrol(work: Work, command: Enrol) -> Outcome:
    """A new member, or the one who has the identifiers already: then nothing changes."""
    known = _known(work, command.identifiers)
    if known is not None:
        return _outcome(work, "enrol", known, 200, None, {})
    member = _join(work, command, work.now)
    return _outcome(work, "enrol", member, 201, "loyalty.member.enrolled", _told(command.identifiers))


def import_member(work: Work, command: ImportMember) -> Outcome:
    """A member who joined elsewhere, and counts from then. Raises: NothingToImport, IdentifiersConflict, InFuture."""
    if _known(work, command.identifiers) is not None:
        raise NothingToImport
    enrolled_at = command.enrolled_at or work.now
    if enrolled_at > work.now:
        raise InFuture(occurred_at=enrolled_at, minutes_max=0)
    member = _join(work, command, enrolled_at)
    told = _told(command.identifiers) | {"source": command.source}
    made = _outcome(work, "import_member", member, 201, "loyalty.member.enrolled", told)
    detail = Detail(enrolled=True, note=made.detail.note)
    return msgspec.structs.replace(made, occurred_at=enrolled_at, detail=detail)


def _known(work: Work, identifiers: Iterable[Identifier]) -> Member | None:
    """The one who has some of the identifiers. Raises: IdentifiersConflict."""
    known = {owner for one in identifiers if (owner := work.book.identified(one)) is not None}
    if len(known) > 1:
        raise IdentifiersConflict(members=sorted(str(id) for id in known))
    return work.book.member(known.pop()) if known else None


def _join(work: Work, command: Enrol | ImportMember, enrolled_at: datetime) -> Member:
    member = Member(work.book.new_member_id(), MemberStatus.ACTIVE, enrolled_at)
    work.new_members[member.id] = member
    for identifier in command.identifiers:
        work.identifiers[identifier] = member.id
    work.profiles[member.id] = command.profile
    review_all(work, member)
    return member


def _told(identifiers: Iterable[Identifier]) -> dict[str, object]:
    return {"identifier_kinds": sorted({identifier.kind for identifier in identifiers})}


def add_identifier(work: Work, command: AddIdentifier) -> Outcome:
    """One more identifier; fine when the member has it already. Raises: IdentifierTaken."""
    member = work.book.resolve(command.member)
    owner = work.book.identified(command.identifier)
    if owner is not None and work.book.member(owner).id != member.id:
        raise IdentifierTaken(identifier_kind=command.identifier.kind)
    if owner is None:
        work.identifiers[command.identifier] = member.id
        work.changes[member.id] = work.now
    return _outcome(
        work,
        "identifier",
        member,
        201 if owner is None else 200,
        "loyalty.member.changed" if owner is None else None,
        {"changed": ["identifiers"], "identifier_kind": command.identifier.kind},
    )


def change(work: Work, command: ChangeMember) -> Outcome:
    """Status and profile; the event names what changed, never the values."""
    member = work.book.resolve(command.member)
    changed: list[str] = []
    if command.status is not None and command.status is not member.status:
        member = Member(member.id, command.status, member.enrolled_at, member.merged_into)
        work.changed_members[member.id] = member
        changed.append("status")
    if command.profile is not None:
        work.profiles[member.id] = command.profile
        work.changes[member.id] = work.now
        changed.append("profile")
    return _outcome(
        work,
        "change_member",
        member,
        200,
        "loyalty.member.changed" if changed else None,
        {"changed": changed},
    )


def set_pin(work: Work, command: SetPin) -> Outcome:
    """A PIN, or another one: what was proven of the one before counts no more, and a lock is over."""
    member = work.book.resolve(command.member)
    before = work.pin(member.id)
    work.pins[member.id] = Pin(1 if before is None else before.version + 1, command.hash)
    return _outcome(work, "set_pin", member, 200, "loyalty.pin.set", {})


def erase(work: Work, command: EraseMember) -> Outcome:
    """Points leave first (holds released, pending revoked, available expired, debt waived), then the person."""
    member = work.book.resolve(command.member)
    for currency in work.policies.currencies.values():
        account = work.account(member.id, currency.code)
        if account is None:
            continue
        for hold in work.open_holds(account):
            give_back(work, account, hold, ERASED)
        for draft in forfeit(account, work.open_lots(account), work.now, ERASED):
            work.post(account, draft)
        if account.debt:  # now, when what pays it finds room in every account
            credit(
                work,
                member.id,
                currency,
                account.debt,
                kind=EntryKind.ADJUST_CREDIT,
                occurred_at=work.now,
                dated_by=work.policies,
                cause=WAIVED,
                dates=Dates(None, None),
            )
    leave(work, member)
    gone = Member(member.id, MemberStatus.ERASED, member.enrolled_at)
    work.changed_members[member.id] = gone
    work.removed_identifiers.add(member.id)
    work.profiles[member.id] = None
    return _outcome(work, "erase", gone, 200, "loyalty.member.erased", {})


def _outcome(
    work: Work, kind: str, member: Member, status: int, event: str | None, event_data: dict[str, object]
) -> Outcome:
    return Outcome(
        kind=kind,
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={**event_data, "status": member.status}),
        status=status,
        answer=MemberAnswer(member.id, member.status, member.enrolled_at, work.decision_id),
        event=event,
        event_data=event_data,
    )
