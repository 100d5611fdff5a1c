"""Commands that find out step by step what they must read: each is done, however often it asks."""

from uuid import UUID

import msgspec
import pytest

from loyalty.posting.commands import Command, Publish, Settle, UseHold
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PayPolicy, PointsCurrency
from loyalty.rules.types import CapPeriod, Rule
from loyalty.tiers.types import RollingWindow, TierSet
from tests.posting.live import open_shop
from tests.posting.shop import (
    ANN,
    BOB,
    adjust,
    ago,
    cancel,
    capped,
    claim,
    exchange,
    give_back,
    hold,
    ladder,
    program,
    purchase,
)
from tests.posting.test_quotes import quoted

MANY = 20
HELD = 7  # points of each hold

UNDONE = {
    "returned": give_back(of="PAID"),
    "cancelled": cancel("PAID"),
    "exchanged": exchange(give_back(of="PAID"), purchase("NEW", 99)),
}


@pytest.mark.parametrize("command", UNDONE.values(), ids=UNDONE)
async def test_what_many_holds_paid_is_given_back(runtime: Runtime, command: Command) -> None:
    """Each hold took a lot that nothing is left of."""
    shop = await open_shop(runtime, pay=PayPolicy(1, 1))
    held: list[UUID] = []
    for n in range(MANY):
        await shop.done(purchase(f"R-{n}", HELD * 100))
        held.append(UUID((await shop.done(hold(HELD)))["id"]))
    paid = purchase("PAID", 99, holds=tuple(UseHold(id) for id in held))
    assert (await shop.done(paid)).balance == {}
    assert (await shop.done(command, adjust(1))).balance == {"available": MANY * HELD + 1}


def rules(currencies: int = 1, periods: tuple[CapPeriod, ...] = tuple(CapPeriod)) -> tuple[Rule, ...]:
    """A rule for each period and points currency."""
    return tuple(
        msgspec.structs.replace(capped(1_000, period), id=f"{code}-{period}", points_currency=code)
        for code in codes(currencies)
        for period in periods
    )


def codes(currencies: int) -> list[str]:
    return ["points", *(f"c{n}" for n in range(1, currencies))]


@pytest.mark.parametrize("command", [cancel("R-1"), give_back(of="R-1")], ids=["cancelled", "returned"])
async def test_what_caps_of_all_periods_counted_goes_back(runtime: Runtime, command: Command) -> None:
    shop = await open_shop(runtime, *rules(), tier_sets=(ladder(),))
    await shop.done(purchase("R-1"))
    assert (await shop.done(command)).balance == {}


async def test_a_guests_late_purchase_is_claimed_in_many_currencies(runtime: Runtime) -> None:
    many = tuple(PointsCurrency(code, code, pending_days=1) for code in codes(12)[1:])
    shop = await open_shop(
        runtime, *rules(12), currencies=many, pending_days=1, tier_sets=(ladder(), ladder(id="other"))
    )
    await shop.done(purchase("R-1", at=ago(days=3)))
    guest = await shop.done(purchase("G-1", of=None, at=ago(days=3)))
    claimed = await shop.done(claim(guest["id"]))
    assert [one["points"] for one in claimed["earned"]] == [10 * len(CapPeriod)] * 12


def ladders(*days: int) -> tuple[TierSet, ...]:
    return tuple(ladder(id=f"l{n}", period=RollingWindow(days=one)) for n, one in enumerate(days))


async def test_many_ladders_look_back_each_further_than_the_one_before(runtime: Runtime) -> None:
    always = {"late_days_max": None}
    rising = ladders(*(30 * (n + 1) for n in range(MANY)))
    shop = await open_shop(runtime, members=(ANN, BOB), tier_sets=rising, policies=always)
    first = [await shop.done(purchase(f"R-{of}", 30_000, of=of, at=ago(days=20))) for of in (ANN, BOB)]
    assert [one["tier"] for one in first[0]["standing"]] == ["silver"] * MANY
    await shop.done(purchase("OLD", of=ANN, at=ago(days=3 * 365)))
    await shop.done(Publish(program(tier_sets=ladders(*[5] * MANY), policies=always)))
    assert (await quoted(shop, purchase("R-3", of=BOB))).status == 200
    await shop.done(Settle(UUID(first[0]["member_id"])))
    later = await shop.done(purchase("R-3", of=BOB))
    assert [one["tier"] for one in later["standing"]] == [None] * MANY
