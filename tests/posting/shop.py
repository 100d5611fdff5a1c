"""A shop with its books in memory: commands are decided by the real deciders, nothing is stored.

Here too what commands and programs are made of in these tests, for the books in the database as well. One book
serves for ever, so every command sees the ones before it as commands of one batch do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.canonical import Digests, canonical
from loyalty.base.ids import Ids
from loyalty.conditions.types import Lines
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.posting.book import Book, Lane, Needs
from loyalty.posting.commands import (
    Actor,
    Adjust,
    Answer,
    CancelPurchase,
    CancelRedemption,
    CaptureHold,
    ChangeStock,
    ClaimPurchase,
    Command,
    Enrol,
    ExchangePurchase,
    ExtendHold,
    Freeze,
    FulfilRedemption,
    GiveTier,
    HoldReward,
    Idempotency,
    ImportLot,
    MemberRef,
    PayWithPoints,
    PinProof,
    Place,
    PlaceHold,
    Publish,
    PurchaseLine,
    ReceiptName,
    RecordPurchase,
    Redeem,
    Reinstate,
    ReleaseHold,
    ReturnLine,
    ReturnPurchase,
    Submission,
    TransferPoints,
    Unfreeze,
)
from loyalty.posting.configuration import Configuration, History, Published
from loyalty.posting.decide import decide
from loyalty.programs.types import PointsCurrency, Policies, ProgramSettings, SandboxClock
from loyalty.rewards.types import Reward, RewardKind
from loyalty.rules.types import CapPeriod, MemberCap, PerSpend, Rule, Ruleset
from loyalty.tiers.types import Calendar, CalendarUnit, Spend, Tier, TierSet

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)  # half past four in Berlin
SECRET, OLD_SECRET = bytes(range(32)), bytes(range(32, 64))
TILL = UUID(int=0x711)
SUE, MAX = UUID(int=0x50E), UUID(int=0x3A8)  # people at the desk: support and its manager
ACTOR = Actor("client", TILL, "pos")
DIGESTS = Digests(SECRET)

BASE = Rule("base", "for the basket", "points", PerSpend(points=1, each_minor=100))


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def capped(points: int, period: CapPeriod = CapPeriod.MONTH) -> Rule:
    """The base rule with a limit for each member."""
    return msgspec.structs.replace(BASE, member_cap=MemberCap(points, period))


def program(
    *rules: Rule,
    currencies: tuple[PointsCurrency, ...] = (),
    policies: Mapping[str, Any] | None = None,
    excluded: Lines | None = None,
    rewards: tuple[Reward, ...] = (),
    tier_sets: tuple[TierSet, ...] = (),
    **points: Any,
) -> Configuration:
    """A program with one points currency, `points` being its policies; the base rule unless others are named."""
    settings = ProgramSettings(
        name="Corner shop",
        zone="Europe/Berlin",
        money="EUR",
        points_currencies=(PointsCurrency("points", "points", **points), *currencies),
        policies=Policies(**(policies or {})),
    )
    ruleset = Ruleset(version=1, rules=rules or (BASE,), excluded=excluded)
    return Configuration(settings, ruleset, rewards, tier_sets)


def ladder(**more: Any) -> TierSet:
    """Silver from 250.00, gold from 600.00, by what is spent in a quarter."""
    fields: dict[str, Any] = {
        "metric": Spend(),
        "period": Calendar(CalendarUnit.QUARTER),
        "tiers": (Tier("silver", "Silver", 25_000), Tier("gold", "Gold", 60_000, benefits=("free coffee",))),
    } | more
    return TierSet(fields.pop("id", "status"), "Status", **fields)


def reward(points: int = 500, id: str = "mug", **more: Any) -> Reward:
    """A coffee mug for 500 points."""
    fields: dict[str, Any] = {
        "name": "Coffee mug",
        "kind": RewardKind.PRODUCT,
        "points_currency": "points",
    } | more
    return Reward(id=id, points=points, **fields)


# --- commands -----------------------------------------------------------------------------------------------


def carded(number: str) -> Identifier:
    return Identifier(IdentifierKind.CARD, number)


def card(number: str) -> MemberRef:
    return MemberRef(identifier=carded(number))


ANN, BOB = "6035550001", "6035550002"


def give_tier(
    tier: str | None, until: datetime | None = None, *, of: str = ANN, on: str = "status"
) -> GiveTier:
    return GiveTier(card(of), on, tier, until, "goodwill")


def enrol(*cards: str, **more: Any) -> Enrol:
    return Enrol(tuple(carded(number) for number in cards), **more)


def line(amount_minor: int, **more: Any) -> PurchaseLine:
    fields: dict[str, Any] = {"line_id": "1", "sku": "COF-500", "quantity_milli": 1000} | more
    return PurchaseLine(amount_minor=amount_minor, **fields)


def purchase(
    receipt: str = "R-1",
    amount_minor: int = 1000,
    *,
    of: str | None = ANN,
    at: datetime = NOW,
    lines: tuple[PurchaseLine, ...] = (),
    **more: Any,
) -> RecordPurchase:
    """A purchase of 10.00 by Ann, now."""
    return RecordPurchase(
        source="pos",
        external_id=receipt,
        occurred_at=at,
        money=more.pop("money", "EUR"),
        lines=lines or (line(amount_minor),),
        member=more.pop("member", None if of is None else card(of)),
        **more,
    )


def cancel(receipt: str = "R-1") -> CancelPurchase:
    return CancelPurchase("pos", receipt)


def give_back(
    number: str = "B-1", lines: Mapping[str, int | None] | None = None, *, of: str = "R-1", **more: Any
) -> ReturnPurchase:
    """Lines of a purchase go back, each with its thousandths (None: all that is left of it), or all that is left."""
    if "purchase_id" not in more:
        more["of"] = ReceiptName("pos", of)
    asked = None if lines is None else tuple(ReturnLine(id, units) for id, units in lines.items())
    return ReturnPurchase("pos", number, more.pop("at", NOW), lines=asked, **more)


def exchange(returned: ReturnPurchase, bought: RecordPurchase) -> ExchangePurchase:
    return ExchangePurchase(returned, bought)


def claim(purchase_id: str, by: str = ANN) -> ClaimPurchase:
    return ClaimPurchase(UUID(purchase_id), card(by))


def adjust(points: int, of: str = ANN, reason: str = "goodwill") -> Adjust:
    return Adjust(card(of), "points", points, reason)


def reinstate(points: int | None = None, of: str = ANN, reason: str = "goodwill") -> Reinstate:
    return Reinstate(card(of), "points", points, reason)


def give(points: int, to: str = BOB, of: str = ANN, **more: Any) -> TransferPoints:
    return TransferPoints(card(of), card(to), "points", points, **more)


def with_pin(command: Any, *, right: bool = True, version: int = 1) -> Any:
    """A command that came with a PIN which the edge held against this version of the member's."""
    return msgspec.structs.replace(command, pin=PinProof(version, right))


def freeze(of: str = ANN) -> Freeze:
    return Freeze(card(of), "points", "stolen_card")


def unfreeze(of: str = ANN) -> Unfreeze:
    return Unfreeze(card(of), "points", "card_found")


def imported(points: int, row: str = "1", *, of: str = ANN, at: datetime = NOW, **more: Any) -> ImportLot:
    return ImportLot(card(of), "points", points, "old-system", row, at, **more)


def hold(points: int, of: str = ANN, **more: Any) -> PlaceHold:
    return PlaceHold(card(of), more.pop("currency", "points"), points, **more)


def extend(hold_id: str, minutes: int | None = None) -> ExtendHold:
    return ExtendHold(UUID(hold_id), minutes)


def capture(hold_id: str, points: int | None = None, *, release_rest: bool = False) -> CaptureHold:
    return CaptureHold(UUID(hold_id), points, release_rest)


def release(hold_id: str) -> ReleaseHold:
    return ReleaseHold(UUID(hold_id))


def hold_reward(
    reward: str = "mug", quantity: int = 1, *, of: str = ANN, minutes: int | None = None, **place: Any
) -> HoldReward:
    return HoldReward(card(of), reward, quantity, minutes, Place(**place))


def redeem(
    reward: str = "mug",
    quantity: int | None = None,
    *,
    of: str = ANN,
    hold_id: str | None = None,
    **place: Any,
) -> Redeem:
    return Redeem(card(of), reward, quantity, Place(**place), UUID(hold_id) if hold_id else None)


def pay(
    points: int, *, of: str = ANN, code: str = "points", hold_id: str | None = None, **place: Any
) -> PayWithPoints:
    return PayWithPoints(card(of), code, points, Place(**place), UUID(hold_id) if hold_id else None)


def cancel_redemption(of: "Reply", reason: str = "changed_mind") -> CancelRedemption:
    return CancelRedemption(UUID(of["id"]), reason)


def fulfil(of: "Reply") -> FulfilRedemption:
    return FulfilRedemption(UUID(of["id"]))


def stocked(to: int | None = None, *, by: int = 0, reward: str = "mug") -> ChangeStock:
    return ChangeStock(reward, "delivery", to, by)


def submission(
    program_id: UUID,
    command: Command,
    key: str | None,
    *,
    by: UUID = TILL,
    digests: Digests = DIGESTS,
    **more: Any,
) -> Submission:
    """What the edge hands on: the command with digests of its content, and the fingerprints of the request."""
    command = _digested(command, digests)
    asked = canonical((type(command).__name__, msgspec.to_builtins(_plain(command))))
    told = None if key is None else Idempotency(key, by, digests.of(b"request", asked))
    request_id = more.pop("request_id", "request-1")
    actor = Actor(more.pop("kind", "client"), by, more.pop("role", "pos"), more.pop("bound_to", ()))
    return Submission(program_id, command, actor, request_id, told, **more)


def _digested(command: Any, digests: Digests) -> Any:
    if isinstance(command, ExchangePurchase):
        return ExchangePurchase(_digested(command.returned, digests), _digested(command.purchase, digests))
    if isinstance(command, RecordPurchase | ReturnPurchase | ImportLot):
        content = digests.of(b"content", canonical(command))
        return msgspec.structs.replace(command, content_digests=content)
    return command


def _plain(command: Any) -> Any:
    """Without digests, which depend on the secret."""
    if isinstance(command, ExchangePurchase):
        return ExchangePurchase(_plain(command.returned), _plain(command.purchase))
    if isinstance(command, RecordPurchase | ReturnPurchase | ImportLot):
        return msgspec.structs.replace(command, content_digests=())
    return command


@dataclass(frozen=True)
class Reply:
    """An answer, its body read."""

    status: int
    raw: bytes
    replayed: bool
    headers: dict[str, str]

    @staticmethod
    def of(answer: Answer) -> "Reply":
        return Reply(answer.status, answer.body, answer.replayed, answer.headers)

    def __getitem__(self, name: str) -> Any:
        return msgspec.json.decode(self.raw)[name]

    @property
    def refused(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self["code"]

    @property
    def earned(self) -> int:
        return sum(one["points"] for one in self["earned"])

    @property
    def balance(self) -> dict[str, int]:
        """What is not 0 of the balance in the first points currency."""
        first = self["balances"][0]
        return {name: first[name] for name in ("available", "pending", "held", "debt") if first[name]}


# --- the books in memory --------------------------------------------------------------------------------------


class Shop:
    """A program and everything that ever happened to it. What is asked for and not in the book is known to be
    missing, as if it had been read."""

    def __init__(
        self,
        configuration: Configuration | None = None,
        *,
        cells: int = 1,
        held: Iterable[int] = (0,),
        clock: datetime | None = None,
    ) -> None:
        ids = Ids(lambda: 1_795_188_600_000, lambda: 0)
        lanes = {cell: Lane(cell, 0, bytes(32), None, None, 0) for cell in held}
        self.book = Book(
            UUID(int=1), History([]), lanes, clock or NOW, ids, cells, clock and SandboxClock(clock)
        )
        self._keys = 0
        if configuration is not None:
            assert self.send(Publish(configuration)).status == 201

    @property
    def now(self) -> datetime:
        return self.book.now

    @now.setter
    def now(self, instant: datetime) -> None:
        self.book.now = instant

    def send(self, command: Command, key: str | None = None, **more: Any) -> Reply:
        """The answer of one command under `key`, or a key of its own; what it needs is found missing."""
        self._keys += 1
        asked = submission(self.book.program_id, command, key or f"key-{self._keys}", **more)
        for _ in range(8):
            try:
                reply = Reply.of(decide(self.book, asked))
            except Needs as needs:
                self._miss(needs)
            else:
                self._take_configuration()
                return reply
        raise AssertionError("asked for more too often")

    def done(self, *commands: Command) -> Reply:
        """The answer of the last; none is refused."""
        reply = None
        for command in commands:
            reply = self.send(command)
            assert reply.status in (200, 201, 202), reply.raw
        assert reply is not None
        return reply

    def balance(self, of: str = ANN) -> dict[str, int]:
        """What a member has now: a look that changes nothing."""
        owner = self.book.identifiers[carded(of)]
        account = self.book.accounts[owner, "points"] if owner else None
        names = ("available", "pending", "held", "debt")
        return {name: figure for name in names if (figure := getattr(account, name))}

    @property
    def entries(self) -> list[str]:
        """The kinds of all entries so far."""
        return [entry.kind.value for decision in self.decisions for entry in decision.entries]

    @property
    def decisions(self) -> list[Any]:
        return [decision for lane in self.book.lanes.values() for decision in lane.decisions]

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Types and data of all engagement events so far."""
        told = [event for lane in self.book.lanes.values() for _, _, event in lane.events]
        return [(event.type, msgspec.json.decode(event.data)) for event in told]

    def _miss(self, needs: Needs) -> None:
        assert not needs.cells, f"lanes {sorted(needs.cells)} are not held"
        book, keys = self.book, needs.keys
        for name in keys.activity_names:
            book.names.setdefault(name, None)
        for identifier in keys.identifiers:
            book.identifiers.setdefault(identifier, None)
        for id in keys.members:
            book.members.setdefault(id, None)
            book.counted.setdefault(id, set()).update(keys.periods)
            book.accounted.add(id)
        for _, id in keys.activities:
            book.activities.setdefault(id, None)
        for id in keys.holds:
            book.holds.setdefault(id, None)
        for _, id in keys.redemptions:
            book.redemptions.setdefault(id, None)
        for reward in keys.stocks:
            book.stocks.setdefault(reward, 0)
            book.set_aside.setdefault(reward, 0)
        for id in keys.identified:
            book.kinds.setdefault(id, frozenset())
        for id in keys.actors:
            book.counted.setdefault(id, set()).update(keys.periods)
        for id in keys.proposals:
            book.proposals.setdefault(id, None)
        book.owners.update(keys.owners)
        book.noticed.update(keys.noticed)
        book.lots_complete.update(keys.open_lots)
        book.expired_since.update(keys.expired)

    def _take_configuration(self) -> None:
        """What is published is in force from the next batch on."""
        if self.book.published is not None:
            self.book.history = self.book.history.with_more([Published(*self.book.published, self.book.now)])
            self.book.published = None


def forget_lines(of: Shop) -> None:
    """As retention does: what was bought goes, that it was bought stays."""
    for id, activity in of.book.activities.items():
        if activity is not None:
            of.book.activities[id] = msgspec.structs.replace(activity, content=None)


def shop(*rules: Rule, members: tuple[str, ...] = (ANN,), **program_of: Any) -> Shop:
    """A shop with its program in force and some members."""
    made = Shop(program(*rules, **program_of))
    for member in members:
        made.done(enrol(member))
    return made
