"""A program with a little traffic of every kind, through the real pipe, for tests that read its books."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.members.types import Identifier, IdentifierKind, Profile
from loyalty.posting.commands import (
    Adjust,
    Answer,
    Approve,
    CancelPurchase,
    CancelRedemption,
    CaptureHold,
    ChangeMember,
    ChangeStock,
    CloseDay,
    Command,
    Enrol,
    ExtendHold,
    Freeze,
    FulfilRedemption,
    GiveTier,
    HoldReward,
    ImportLot,
    MemberRef,
    PayWithPoints,
    Place,
    PlaceHold,
    PurchaseLine,
    ReceiptName,
    RecordPurchase,
    Redeem,
    Reject,
    ReleaseHold,
    ReturnLine,
    ReturnPurchase,
    TransferPoints,
    Unfreeze,
)
from loyalty.posting.runtime import Runtime
from tests.laws.shop import Shop, digest, open_shop

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
CONFIGURATION: dict[str, Any] = {
    "settings": {
        "name": "Corner shop",
        "zone": "Europe/Berlin",
        "money": "EUR",
        "points_currencies": [
            {
                "code": "points",
                "name": "points",
                "expiry": {"kind": "rolling", "days": 30},
                "negative": "waive",
                "pay": {"points": 10, "each_minor": 7, "points_min": 2},
            },
            {"code": "miles", "name": "miles", "pending_days": 14},
        ],
        "policies": {
            "late_days_max": None,
            "adjustments": {"approval_above": 1000, "daily_max": 1000},
            "transfers": {"enabled": True, "fee_points": 1, "giver_max": 500},
        },
    },
    "ruleset": {
        "version": 1,
        "rules": [
            {
                "id": "basket",
                "name": "for the basket",
                "points_currency": "points",
                "gives": {"kind": "per_spend", "points": 1, "each_minor": 100},
                "member_cap": {"points": 100, "period": "month"},
            },
            {
                "id": "miles",
                "name": "for flying",
                "points_currency": "miles",
                "gives": {"kind": "per_spend", "points": 1, "each_minor": 1000},
            },
        ],
    },
    "rewards": [
        {
            "id": "mug",
            "name": "Coffee mug",
            "kind": "product",
            "points_currency": "points",
            "points": 20,
            "money_minor": 100,
            "stocked": True,
            "member_limit": {"quantity": 5, "period": "month"},
        }
    ],
    "tier_sets": [
        {
            "id": "status",
            "name": "Status",
            "metric": {"kind": "spend"},
            "period": {"kind": "calendar", "unit": "month", "lasts": 0},
            "grace_days": 5,
            "tiers": [
                {"id": "silver", "name": "Silver", "threshold": 3_000},
                {"id": "gold", "name": "Gold", "threshold": 9_000, "lifetime_after": 1},
            ],
        }
    ],
}


class Traffic:
    """A shop with members 0, 1, 2 …, who are named by number."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.members: list[UUID] = []
        self._receipts = 0

    @property
    def program(self) -> UUID:
        return self.shop.program

    async def post(self, command: Command) -> Any:
        answer: Answer = await self.shop.send(command)
        assert answer.status < 300, answer.body
        return msgspec.json.decode(answer.body)

    async def enrol(self, number: int = 1) -> None:
        for _ in range(number):
            card = Identifier(IdentifierKind.CARD, f"60350{len(self.members):05}")
            self.members.append(UUID((await self.post(Enrol((card,))))["id"]))

    def who(self, member: int) -> MemberRef:
        return MemberRef(id=self.members[member])

    async def buy(self, member: int, amount_minor: int, at: datetime) -> str:
        """The receipt's number."""
        self._receipts += 1
        number = f"R-{self._receipts}"
        line = PurchaseLine("1", "SKU", 1000, amount_minor)
        purchase = RecordPurchase(
            "till-1",
            number,
            at,
            "EUR",
            (line,),
            self.who(member),
            content_digests=(digest(number, amount_minor),),
        )
        await self.post(purchase)
        return number

    async def cancel(self, number: str) -> None:
        await self.post(CancelPurchase("till-1", number))

    async def give_back(self, number: str, lines: dict[str, int] | None = None) -> None:
        """Lines of a purchase with their thousandths, or all that is left."""
        self._receipts += 1
        own, asked = f"B-{self._receipts}", None
        if lines is not None:
            asked = tuple(ReturnLine(id, quantity) for id, quantity in lines.items())
        of, told = ReceiptName("till-1", number), (digest(own),)
        await self.post(ReturnPurchase("till-1", own, START, of=of, lines=asked, content_digests=told))

    async def adjust(
        self, member: int, points: int, currency: str = "points", reason: str = "goodwill"
    ) -> None:
        await self.post(Adjust(self.who(member), currency, points, reason))

    async def judge(self, verdict: type[Approve] | type[Reject], proposal: str) -> None:
        """As a person who proposed nothing."""
        answer = await self.shop.send(verdict(UUID(proposal)), kind="staff", scope=UUID(int=0x3A8))
        assert answer.status == 200, answer.body

    async def by_hand(self) -> None:
        """Proposals of every fate, an account frozen and one no longer, points given away, a profile changed."""
        for verdict in (Approve, Reject, None):
            for member in range(4):
                adjust = Adjust(self.who(member), "points", 1200 + member, "goodwill", "CASE-1")
                proposal = (await self.post(adjust))["id"]
                if verdict is not None:
                    await self.judge(verdict, proposal)
        for member in range(4):
            await self.post(Freeze(self.who(member), "points", "stolen_card"))
            await self.post(ChangeMember(self.who(member), profile=Profile(name="Zoe")))
        for member in range(3):
            await self.post(Unfreeze(self.who(member), "points", "card_found"))
            await self.post(TransferPoints(self.who(member), self.who(4), "points", 10))

    async def bring(self, member: int, points: int, at: datetime) -> None:
        self._receipts += 1
        row = f"row-{self._receipts}"
        await self.post(
            ImportLot(self.who(member), "points", points, "old", row, at, content_digests=(digest(row),))
        )

    async def hold(self, member: int, points: int) -> UUID:
        """The id of a hold for a day, extended to two."""
        placed = await self.post(
            PlaceHold(self.who(member), "points", points, 1_440, "order", "till-1", "store-1")
        )
        await self.post(ExtendHold(UUID(placed["id"]), 2_880))
        return UUID(placed["id"])

    async def capture(self, hold_id: UUID, points: int, *, release_rest: bool = False) -> None:
        await self.post(CaptureHold(hold_id, points, release_rest))

    async def release(self, hold_id: UUID) -> None:
        await self.post(ReleaseHold(hold_id))

    async def redeem(self, member: int, quantity: int = 1) -> UUID:
        place = Place("north", "pos", "till-1", "A-1")
        return UUID((await self.post(Redeem(self.who(member), "mug", quantity, place)))["id"])

    async def hold_reward(self, member: int, quantity: int = 1) -> UUID:
        place = Place("north", "pos", "till-1", "A-2")
        return UUID((await self.post(HoldReward(self.who(member), "mug", quantity, 1_440, place)))["id"])

    async def redeem_held(self, member: int, hold: UUID, quantity: int) -> None:
        await self.post(Redeem(self.who(member), "mug", quantity, hold_id=hold))

    async def pay(self, member: int, points: int) -> UUID:
        return UUID((await self.post(PayWithPoints(self.who(member), "points", points)))["id"])

    async def fulfil(self, redemption: UUID) -> None:
        await self.post(FulfilRedemption(redemption))

    async def cancel_redemption(self, redemption: UUID) -> None:
        await self.post(CancelRedemption(redemption, "changed_mind"))

    async def stock(self, to: int) -> None:
        await self.post(ChangeStock("mug", "delivery", to))

    async def close(self, on: date) -> None:
        await self.post(CloseDay(on))


async def a_month(runtime: Runtime, now: datetime = START + timedelta(days=40)) -> Traffic:
    """A sandbox program at `now` with five members: earned, capped, spent, held, cancelled, expired, closed days."""
    traffic = Traffic(await open_shop(runtime, CONFIGURATION, now))
    await traffic.enrol(5)
    for day in range(0, 40, 8):
        for member in range(4):
            await traffic.buy(member, 1000 + 700 * member, START + timedelta(days=day, hours=member))
    for member in range(4):
        until = None if member == 3 else now + timedelta(days=30 + member)
        await traffic.post(GiveTier(traffic.who(member), "status", "gold", until, "goodwill"))
    await traffic.adjust(0, 500)
    await traffic.adjust(0, -120, reason="correction")
    late = await traffic.buy(1, 3000, now - timedelta(hours=2))
    await traffic.cancel(late)
    await traffic.bring(2, 250, START)
    some = await traffic.buy(1, 2000, now - timedelta(hours=2))
    for thousandths in (150, 160, 170, 180):
        await traffic.give_back(some, {"1": thousandths})
    for _ in range(5):
        await traffic.give_back(await traffic.buy(2, 0, now - timedelta(hours=2)))
    await traffic.give_back(some)
    await traffic.stock(12)
    taken = [await traffic.redeem(0, 1 + n % 2) for n in range(3)]
    taken += [await traffic.pay(0, 10 + n) for n in range(9)]
    for redemption in taken[::3]:
        await traffic.fulfil(redemption)
    for redemption in taken[1::3]:
        await traffic.cancel_redemption(redemption)
    await traffic.by_hand()
    await traffic.close((now - timedelta(days=1)).date())
    await traffic.buy(3, 4400, now - timedelta(hours=1))
    for _ in range(3):
        await traffic.capture(await traffic.hold(0, 10), 4)
        await traffic.release(await traffic.hold(0, 10))
        await traffic.capture(await traffic.hold(0, 10), 4, release_rest=True)
    for member in range(2):
        await traffic.redeem_held(member, await traffic.hold_reward(member, 2), 1 + member)
        await traffic.release(await traffic.hold_reward(member))
        await traffic.hold_reward(member)
    return traffic
