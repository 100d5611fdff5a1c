"""Lines of a purchase go back, in as many parts as they come; an exchange is a return and a purchase at once.

Order of checks of a return: natural key, time, money, purchase, its state, lines, quantities, what policy says of
spent points; docs/returns.md lists the codes in the same order. What is taken back for them, undo.py says.
"""

from datetime import timedelta
from hashlib import sha256
from typing import NoReturn
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.base.canonical import name_digest
from loyalty.base.errors import Fault
from loyalty.base.numbers import decimal
from loyalty.posting import returned
from loyalty.posting.answers import ExchangeAnswer, PurchaseAnswer, ReturnAnswer
from loyalty.posting.book import Activity, ActivityKey, Work
from loyalty.posting.commands import ExchangePurchase, PurchaseLine, ReturnPurchase
from loyalty.posting.content import Content, return_content_of
from loyalty.posting.decide import purchase as purchases
from loyalty.posting.decide.outcome import Outcome, Replay, balances, compared, decided, detail_of, encode
from loyalty.posting.decide.undo import RETURNED, TakenBack, receipt, take_back
from loyalty.posting.detail import Detail, ReturnedPart
from loyalty.posting.types import (
    ActivityDiffers,
    AlreadyReturned,
    CurrencyMismatch,
    ExceedsPurchase,
    InFuture,
    LinesRemoved,
    PurchaseCancelled,
    PurchaseNotFound,
    ReturnInvalid,
)
from loyalty.programs.types import BlindReturns


class Going(Struct, frozen=True):
    """What of a purchase goes with one return."""

    part: ReturnedPart
    left: (
        tuple[int, ...] | None
    )  # units per line that are left after it; None: nothing, the lines are unknown


def give_back(work: Work, command: ReturnPurchase, at: str = "") -> Outcome:
    """The outcome of one return; posts its entries on `work`. `at` is where it stands in the body."""
    held = _named(work, command)
    refuse_repeat(work, command)
    policies = work.policies.settings.policies
    if command.occurred_at > work.now + timedelta(minutes=policies.future_minutes_max):
        raise InFuture(occurred_at=command.occurred_at, minutes_max=policies.future_minutes_max)
    money = work.policies.settings.money
    if command.money not in (None, money):
        raise CurrencyMismatch(money=command.money, purchase_money=money)
    if held is None:
        if command.of is None or policies.blind_returns is BlindReturns.REFUSE:
            raise PurchaseNotFound
        work.book.need_cells([0])
        return _outcome(work, command, 0, None, None, None)
    if held.state == "cancelled":
        raise PurchaseCancelled(purchase_id=held.activity_id)
    work.book.need_cells([held.cell])
    activity = work.book.activity(held.cell, held.activity_id)
    assert activity is not None, "a natural key without its activity"
    going = _going(work, command, activity, at)
    taken = take_back(work, activity, held.cell, going.left, going.part, RETURNED)
    cell = work.book.home(activity.member_id) if activity.member_id else 0
    outcome = _outcome(work, command, cell, activity, going.part, taken)
    assert outcome.activity_id is not None
    work.new_returns.append(
        (held.cell, outcome.activity_id, returned.Part(going.part, taken.back, taken.given))
    )
    work.touched.add(held.cell)
    return outcome


def _named(work: Work, command: ReturnPurchase) -> ActivityKey | None:
    """The natural key of the purchase that goes back, if it was ever seen."""
    if command.of is not None:
        return work.book.name(("purchase", command.of.source, command.of.external_id))
    assert command.purchase_id is not None, "a return names its purchase"
    name = work.book.purchase_named(command.purchase_id)
    return None if name is None else work.book.name(name)


def refuse_repeat(work: Work, command: ReturnPurchase) -> None:
    """Whoever holds the natural key: the same content is a replay, other content a conflict."""
    held = work.book.name(("return", command.source, command.external_id))
    if held is None:
        return
    if held.content_digest in command.content_digests:
        raise Replay(held.cell, held.decision_id)
    stored = work.book.activity(held.cell, held.activity_id)
    pointers: tuple[str, ...] = ()
    if stored is not None:
        # A purchase that was unseen then is known by its receipt.
        known = None if detail_of(work, held).returned is None else _named(work, command)
        sent = encode(return_content_of(command, None if known is None else known.activity_id))
        same, pointers = compared(work, held, stored, sent)
        if same:  # named otherwise or digested under a secret of then
            raise Replay(held.cell, held.decision_id)
    named = [pointer.replace("/quantity_milli", "/quantity") for pointer in pointers]  # as the till sends it
    raise ActivityDiffers(first_id=held.activity_id, differs=named)


def _going(work: Work, command: ReturnPurchase, activity: Activity, at: str) -> Going:
    """What goes now. Raises: AlreadyReturned, LinesRemoved, ReturnInvalid, ExceedsPurchase."""
    parts = [part.returned for part in work.book.returns.get(activity.id, ())]
    if any(part.complete for part in parts):
        raise AlreadyReturned(purchase_id=activity.id)
    paid_before = sum(part.amount_minor for part in parts)
    if activity.content is None:
        if command.lines is not None:
            raise LinesRemoved(purchase_id=activity.id)
        return Going(ReturnedPart(activity.id, activity.amount_minor - paid_before, True, ()), None)
    lines = msgspec.json.decode(activity.content, type=Content).lines
    bought = returned.units(lines)
    before = returned.left_after(bought, parts)
    going = dict(enumerate(before)) if command.lines is None else _asked(command, lines, before, at)
    left = tuple(units - going.get(position, 0) for position, units in enumerate(before))
    return Going(
        ReturnedPart(
            activity.id,
            returned.amount(lines, bought, left) - paid_before,
            not any(left),
            tuple((position, units) for position, units in sorted(going.items()) if units),
        ),
        left,
    )


def _asked(
    command: ReturnPurchase, lines: tuple[PurchaseLine, ...], left: tuple[int, ...], at: str
) -> dict[int, int]:
    """Units by position that a return asks for, line by line."""
    assert command.lines is not None
    positions = {line.line_id: position for position, line in enumerate(lines)}
    going: dict[int, int] = {}
    faults: list[Fault] = []
    for index, asked in enumerate(command.lines):
        position = positions.get(asked.line_id)
        if position is None:
            where = f"{at}/lines/{index}/line_id"
            faults.append(Fault(where, "unknown_line", "The purchase has no such line."))
            continue
        bought = lines[position].quantity_milli
        if asked.quantity_milli is None:
            going[position] = left[position]
        elif not bought:
            going[position] = 1 + asked.quantity_milli  # what is above 0 is more than was bought
        elif asked.quantity_milli:
            going[position] = asked.quantity_milli
        else:
            where = f"{at}/lines/{index}/quantity"
            faults.append(Fault(where, "out_of_range", "Of this line more than 0 can go back."))
    if faults:
        raise ReturnInvalid(faults=tuple(faults))
    for position, units in going.items():
        if not 0 < units <= left[position]:
            _refuse_excess(lines[position], left[position], units)
    return going


def _refuse_excess(line: PurchaseLine, left: int, wanted: int) -> NoReturn:
    bought = line.quantity_milli
    raise ExceedsPurchase(
        line_id=line.line_id,
        bought=decimal(bought),
        returned=decimal(bought - left if bought else 0),
        wanted=decimal(wanted if bought else max(0, wanted - 1)),
    )


def _outcome(
    work: Work,
    command: ReturnPurchase,
    cell: int,
    activity: Activity | None,
    part: ReturnedPart | None,
    taken: TakenBack | None,
) -> Outcome:
    """The return as an activity of its own; without a purchase it is blind and moves nothing."""
    id = work.book.ids()
    purchase_id = None if activity is None else activity.id
    member_id = None if activity is None else activity.member_id
    content = encode(return_content_of(command, purchase_id))
    work.new_names["return", command.source, command.external_id] = ActivityKey(
        "recorded",
        id,
        cell,
        work.decision_id,
        command.content_digests[0] if command.content_digests else b"",
    )
    amount_minor = None if part is None else part.amount_minor
    work.new_activities[id] = (
        cell,
        Activity(
            id=id,
            decision_id=work.decision_id,
            awarded_by=work.decision_id,
            member_id=member_id,
            occurred_at=work.now,
            recorded_at=work.now,
            location=command.location,
            channel=None,
            till=command.till,
            amount_minor=amount_minor or 0,
            content=content,
        ),
    )
    after = balances(work, member_id)
    taken = taken or TakenBack(None)
    return Outcome(
        kind="return",
        cell=cell,
        member_id=member_id,
        activity_id=id,
        occurred_at=work.now,  # a debit occurs when decided; the till's time is `reported_at`
        detail=Detail(
            content_sha256=sha256(content.encode()).hexdigest(),
            named=name_digest(command.source, command.external_id),
            counted=taken.counted,
            undoes=taken.undoes,
            back=taken.back,
            given=taken.given,
            unmet=taken.unmet,
            returned=part,
            part_of=work.part_of,
        ),
        status=201,
        answer=ReturnAnswer(
            id=id,
            status="returned",
            purchase_id=purchase_id,
            member_id=member_id,
            amount_minor=amount_minor,
            complete=part is not None and part.complete,
            revoked=taken.revoked,
            restored=taken.restored,
            balances=after,
            receipt=receipt(work, taken, after, "Goods returned"),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event="loyalty.purchase.returned",
        event_data={
            "return_id": id,
            "purchase_id": purchase_id,
            "source": command.source,
            "external_id": command.external_id,
            "location": command.location,
            "reported_at": command.occurred_at,
            "amount_minor": amount_minor,
        },
    )


def exchange(work: Work, command: ExchangePurchase) -> Outcome:
    """A return, then a purchase, in one commit: what the return frees, the purchase may use."""
    _refuse_other_exchange(work, command)
    whole = work.part_of = work.decision_id
    work.decision_id = work.book.ids()
    back = give_back(work, command.returned, "/returned")
    work.set_aside(decided(work, back))
    bought = purchases.purchase(work, command.purchase)
    work.set_aside(decided(work, bought))
    work.decision_id = whole
    assert isinstance(back.answer, ReturnAnswer)
    assert isinstance(bought.answer, PurchaseAnswer)
    return Outcome(
        kind="exchange",
        cell=back.cell,
        member_id=back.member_id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={"returned": back.answer.decision_id, "purchase": bought.answer.decision_id}),
        status=201,
        answer=ExchangeAnswer(back.answer, bought.answer, whole),
        event=None,  # each of the two has its own
        event_data={},
    )


def _refuse_other_exchange(work: Work, command: ExchangePurchase) -> None:
    """Both receipts are new, or both are those of this very exchange; a part that stands alone is another thing."""
    returned_name = ("return", command.returned.source, command.returned.external_id)
    purchase_name = ("purchase", command.purchase.source, command.purchase.external_id)
    wholes: list[UUID | None] = []
    for at, name, look in (
        ("/returned", returned_name, lambda: refuse_repeat(work, command.returned)),
        ("/purchase", purchase_name, lambda: purchases.refuse_repeat(work, command.purchase)),
    ):
        held = work.book.name(name)
        try:
            look()
        except Replay:
            assert held is not None
            wholes.append(detail_of(work, held).part_of)
        except ActivityDiffers as differs:
            pointers = [at + pointer for pointer in differs.facts["differs"]]
            raise ActivityDiffers(first_id=differs.facts["first_id"], differs=pointers) from None
        else:
            assert held is None
            wholes.append(None)
    first, second = (work.book.name(returned_name), work.book.name(purchase_name))
    if first is None and second is None:
        return
    if first is not None and wholes[0] is not None and wholes[0] == wholes[1]:
        raise Replay(first.cell, wholes[0])
    known = first or second
    assert known is not None
    raise ActivityDiffers(first_id=known.activity_id, differs=["/returned" if first is None else "/purchase"])
