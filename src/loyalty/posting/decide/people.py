"""Members: enrol, add an identifier, change, set a PIN, erase."""

from loyalty.ledger.types import EntryKind
from loyalty.ledger.undo import forfeit
from loyalty.members.types import IdentifiersConflict, IdentifierTaken, Member, MemberStatus
from loyalty.posting.answers import MemberAnswer
from loyalty.posting.book import Pin, Work
from loyalty.posting.commands import AddIdentifier, ChangeMember, Enrol, EraseMember, SetPin
from loyalty.posting.decide.holds import give_back
from loyalty.posting.decide.outcome import Outcome, credit
from loyalty.posting.detail import Detail

ERASED = "member_erased"


def enrol(work: Work, command: Enrol) -> Outcome:
    """A new member, or the one who has the identifiers already: then nothing changes."""
    known = {owner for one in command.identifiers if (owner := work.book.identified(one)) is not None}
    if len(known) > 1:
        raise IdentifiersConflict(members=sorted(str(id) for id in known))
    if known:
        member = work.book.member(known.pop())
        return _outcome(work, "enrol", member, 200, None, {})
    member = Member(work.book.new_member_id(), MemberStatus.ACTIVE, work.now)
    work.new_members[member.id] = member
    for identifier in command.identifiers:
        work.identifiers[identifier] = member.id
    work.profiles[member.id] = command.profile
    return _outcome(
        work,
        "enrol",
        member,
        201,
        "loyalty.member.enrolled",
        {"identifier_kinds": sorted({identifier.kind for identifier in command.identifiers})},
    )


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
        if account.debt:
            credit(
                work,
                member.id,
                currency,
                account.debt,
                kind=EntryKind.ADJUST_CREDIT,
                occurred_at=work.now,
                dated_by=work.policies,
                cause="waived",
                dates=(None, None),
            )
        for draft in forfeit(account, work.open_lots(account), work.now, ERASED):
            work.post(account, draft)
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
