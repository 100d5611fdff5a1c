"""Record a purchase: settle, judge by the rules in force when it happened, post, explain.

Order of checks: natural key, time, money, member, holds; docs/api.md lists the codes in the same order. What a purchase
comes to before anything is read of its member, `consider` says; the pipe asks for it while other commands are
being written, and what no longer fits under the heads is considered again.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec

from loyalty.base.canonical import name_digest
from loyalty.base.numbers import split_largest_remainder
from loyalty.conditions.types import Facts, MemberFacts
from loyalty.ledger.types import EntryKind
from loyalty.members.types import Identifier, IdentifierKind, Member, MemberNotFound, MemberStatus
from loyalty.posting.answers import Earned, PurchaseAnswer
from loyalty.posting.book import Activity, ActivityKey, Considered, Event, Work
from loyalty.posting.commands import MemberRef, RecordPurchase
from loyalty.posting.configuration import Loaded
from loyalty.posting.content import content_of, facts_of
from loyalty.posting.decide import terms
from loyalty.posting.decide.holds import pay
from loyalty.posting.decide.outcome import (
    Outcome,
    Replay,
    active,
    awarded_lot,
    balances,
    compared,
    credit,
    earned,
    encode,
    receipt,
)
from loyalty.posting.decide.standing import does, held, shown
from loyalty.posting.detail import AwardedLot, Detail
from loyalty.posting.types import ActivityDiffers, InFuture, MoneyNotSupported, PurchaseCancelled, TooOld
from loyalty.programs.types import PointsCurrency, Policies, UnknownIdentifier
from loyalty.rules.evaluate import evaluate, stands
from loyalty.rules.types import Award, Evaluation


def purchase(work: Work, command: RecordPurchase) -> Outcome:
    """The outcome of one purchase; posts its entries on `work`."""
    name = ("purchase", command.source, command.external_id)
    refuse_repeat(work, command)
    policies = work.policies.settings.policies
    if command.occurred_at > work.now + timedelta(minutes=policies.future_minutes_max):
        raise InFuture(occurred_at=command.occurred_at, minutes_max=policies.future_minutes_max)
    if policies.late_days_max is not None and command.occurred_at < work.now - timedelta(
        days=policies.late_days_max
    ):
        raise TooOld(occurred_at=command.occurred_at, late_days_max=policies.late_days_max)
    if command.money != work.policies.settings.money:
        raise MoneyNotSupported(money=command.money, program_money=work.policies.settings.money)
    member = buyer(work, command)
    # A till's clock may be ahead: points cannot have been there before we knew of them.
    occurred_at = min(command.occurred_at, work.now)
    judged_by = work.book.history.at(occurred_at)
    considered = work.considered
    if considered is None or considered.judged_by is not judged_by or considered.occurred_at != occurred_at:
        considered = consider(command, occurred_at, judged_by)
    cell = work.book.home(member.id) if member else 0
    captured, kept = pay(work, member, command.holds) if command.holds else ((), ())
    if member is None:
        work.book.need_cells([0])
        given = Awarded()
    else:
        given = award(work, member, considered.facts, judged_by, considered.evaluation)
        does(work, member, occurred_at, considered.amount_minor, given.awards)
    activity_id = work.book.ids()
    member_id = None if member is None else member.id
    work.new_names[name] = ActivityKey(
        "recorded",
        activity_id,
        cell,
        work.decision_id,
        command.content_digests[0] if command.content_digests else b"",
    )
    work.new_activities[activity_id] = (
        cell,
        Activity(
            id=activity_id,
            decision_id=work.decision_id,
            awarded_by=work.decision_id,
            member_id=member_id,
            occurred_at=occurred_at,
            recorded_at=work.now,
            location=command.location,
            channel=command.channel,
            till=command.till,
            amount_minor=considered.amount_minor,
            content=considered.content,
        ),
    )
    after = balances(work, member_id)
    return Outcome(
        kind="purchase",
        cell=cell,
        member_id=member_id,
        activity_id=activity_id,
        occurred_at=occurred_at,
        detail=Detail(
            content_sha256=considered.content_sha256,
            named=name_digest(command.source, command.external_id),
            enrolled=member_id in work.new_members,
            basis=considered.facts.basis,
            judged_by=judged_by.number,
            awards=given.awards,
            counted=given.counted,
            lots=given.lots,
            into=given.into,
            captured=kept,
            part_of=work.part_of,
            tiers=given.tiers,
        ),
        status=201,
        answer=PurchaseAnswer(
            id=activity_id,
            status="recorded",
            member_id=member_id,
            earned=given.earned,
            balances=after,
            standing=() if member is None else shown(work, member),
            receipt=receipt(work, judged_by, given.awards, given.lots, after, captured),
            ruleset_version=judged_by.ruleset.version,
            recorded_at=work.now,
            decision_id=work.decision_id,
            captured=captured,
        ),
        event="loyalty.purchase.recorded",
        event_data={
            "purchase_id": activity_id,
            "source": command.source,
            "external_id": command.external_id,
            "location": command.location,
            "channel": command.channel,
            "amount_minor": considered.amount_minor,
            "awards": [
                {"rule_id": a.rule_id, "points_currency": a.points_currency, "points": a.points}
                for a in given.awards
            ],
            **({"captured": captured} if captured else {}),
        },
    )


def consider(command: RecordPurchase, occurred_at: datetime, judged_by: Loaded) -> Considered:
    """What the purchase comes to by a configuration alone."""
    facts = facts_of(command, occurred_at, bases(command, judged_by))
    content = encode(content_of(command))
    return Considered(
        judged_by=judged_by,
        occurred_at=occurred_at,
        facts=facts,
        content=content,
        content_sha256=sha256(content.encode()).hexdigest(),
        amount_minor=sum([line.amount_minor for line in command.lines]),
        evaluation=evaluate(judged_by.compiled, facts, {}),
    )


def refuse_repeat(work: Work, command: RecordPurchase) -> None:
    """Whoever holds the natural key: the same content is a replay, other content a conflict."""
    held = work.book.name(("purchase", command.source, command.external_id))
    if held is None:
        return
    if held.state == "cancelled" and not held.content_digest:
        raise PurchaseCancelled(purchase_id=held.activity_id)
    if held.content_digest in command.content_digests:
        raise Replay(held.cell, held.decision_id)
    stored = work.book.activity(held.cell, held.activity_id)
    pointers: tuple[str, ...] = ()
    if stored is not None:
        # Natural keys outlive the secrets of their digests: what was sent decides then, and who bought.
        same, pointers = compared(work, held, stored, encode(content_of(command)))
        if same:
            if meant(work, command.member) == (
                stored.member_id if stored.awarded_by == stored.decision_id else None
            ):
                raise Replay(held.cell, held.decision_id)
            pointers = ("/member",)
    named = [pointer.replace("/quantity_milli", "/quantity") for pointer in pointers]  # as the till sends it
    raise ActivityDiffers(first_id=held.activity_id, differs=named)


def meant(work: Work, ref: MemberRef | None) -> UUID | None:
    """The member that a command names, as known now; it may have been erased. An id that nobody has stays as it is."""
    id = None if ref is None else ref.id
    if ref is not None and ref.identifier is not None:
        id = work.book.identified(ref.identifier)
    try:
        return None if id is None else work.book.member(id).id
    except MemberNotFound:
        return id


def buyer(work: Work, command: RecordPurchase) -> Member | None:
    """The member of a purchase, enrolled now where policy says so; None for a guest."""
    ref = command.member
    if ref is None:
        return None
    try:
        return active(work.book.resolve(ref))
    except MemberNotFound:
        if ref.identifier is None:
            raise
        match unknown(work.policies.settings.policies, ref.identifier):
            case UnknownIdentifier.REFUSE:
                raise
            case UnknownIdentifier.GUEST:
                return None
            case UnknownIdentifier.ENROL:
                return enrol_now(work, (ref.identifier,))


def unknown(policies: Policies, identifier: Identifier) -> UnknownIdentifier:
    """What the program does with a purchase of an identifier of this kind that nobody has."""
    match identifier.kind:
        case IdentifierKind.CARD:
            return policies.unknown_card
        case IdentifierKind.PHONE:
            return policies.unknown_phone
        case IdentifierKind.EMAIL:
            return policies.unknown_email
        case IdentifierKind.EXTERNAL:
            return policies.unknown_external


def enrol_now(work: Work, identifiers: tuple[Identifier, ...]) -> Member:
    """A new member with these identifiers, in the same command as its first purchase."""
    member = Member(work.book.new_member_id(), MemberStatus.ACTIVE, work.now)
    work.new_members[member.id] = member
    for identifier in identifiers:
        work.identifiers[identifier] = member.id
    work.events.append(
        Event(
            "loyalty.member.enrolled",
            member.id,
            work.now,
            encode({"identifier_kinds": sorted(identifier.kind for identifier in identifiers)}),
        )
    )
    return member


def bases(command: RecordPurchase, judged_by: Loaded) -> dict[str, tuple[int, ...]]:
    """By points currency, what of each line may earn."""
    return {code: basis(command, currency) for code, currency in judged_by.currencies.items()}


def basis(command: RecordPurchase, currency: PointsCurrency) -> tuple[int, ...]:
    """Minor units per line that may earn: less tax where tax does not earn, less the part of excluded tenders.

    The part paid with excluded tenders is shared on the lines by their net amount, largest remainder.
    """
    if currency.tax_earns:
        net = [line.amount_minor if line.amount_minor > 0 else 0 for line in command.lines]
    else:
        net = [max(0, line.amount_minor - line.tax_minor) for line in command.lines]
    excluded = 0
    if currency.excluded_tenders:
        excluded = sum(t.amount_minor for t in command.tenders if t.type in currency.excluded_tenders)
    if excluded:
        amounts = [max(0, line.amount_minor) for line in command.lines]
        for position, part in enumerate(split_largest_remainder(min(excluded, sum(amounts)), amounts)):
            # What a tender paid of a line's tax did not earn anyway.
            net[position] = (
                max(0, net[position] - part * net[position] // amounts[position]) if part else net[position]
            )
    return tuple(net)


class Awarded(msgspec.Struct, frozen=True):
    """What a purchase gave its member."""

    awards: tuple[Award, ...] = ()
    counted: tuple[tuple[str, str, int], ...] = ()  # cap counters raised: rule, period, points
    earned: tuple[Earned, ...] = ()  # as the answer says it
    lots: tuple[AwardedLot, ...] = ()
    into: tuple[int, ...] = ()
    tiers: dict[str, tuple[str, ...]] = {}  # if the rules, or the dates of points, asked for them


def award(work: Work, member: Member, facts: Facts, judged_by: Loaded, evaluation: Evaluation) -> Awarded:
    """Judge the facts for a member and post one lot per points currency that earned, and per dates it has.

    `evaluation` is what the rules give nobody while nothing is counted.
    """
    compiled, member_id, tiers = judged_by.compiled, member.id, dict[str, tuple[str, ...]]()
    if compiled.asks_tiers or judged_by.tiers_date:
        tiers = {name: up_to for name, up_to in held(work, member, facts.occurred_at).items() if up_to}
    if compiled.asks_tiers:
        facts = msgspec.structs.replace(facts, member=MemberFacts(tiers=tiers))
        evaluation = evaluate(compiled, facts, {})
    if not stands(evaluation, compiled, {key: work.counter(member_id, key) for key, _ in evaluation.counted}):
        used = {key: work.counter(member_id, key) for key in compiled.counter_keys(facts.occurred_at)}
        evaluation = evaluate(compiled, facts, used)
    for key, points in evaluation.counted:
        work.count(member_id, key, points)
    by_lot, into = terms.by_lot(
        evaluation.awards, judged_by, facts.occurred_at, work.joined_on(member_id), tiers
    )
    gained: list[Earned] = []
    lots: list[AwardedLot] = []
    for (code, dates), points in by_lot.items():
        account, entry = credit(
            work,
            member_id,
            judged_by.currencies[code],
            points,
            kind=EntryKind.EARN,
            occurred_at=facts.occurred_at,
            dated_by=judged_by,
            dates=dates,
        )
        gained.append(earned(work, account, entry, work.policies))
        lots.append(awarded_lot(account, entry))
    counted = tuple((key.rule_id, key.period, points) for key, points in evaluation.counted)
    return Awarded(evaluation.awards, counted, tuple(gained), tuple(lots), into, tiers)
