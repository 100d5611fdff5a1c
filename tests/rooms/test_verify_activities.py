"""What an undo or a repeat goes by is compared with the books: a wrong row is named, and what was undone by it too."""

from collections.abc import AsyncIterator

import pytest_asyncio

from loyalty.ledger.verify import verify
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, open_shop, serving, superuser
from tests.posting.shop import ANN, BOB, cancel, claim, give_back, imported, purchase


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def findings(shop: LiveShop) -> list[tuple[str, str]]:
    report = await verify(shop.runtime.pool.acquire, shop.id)
    return [(found.table, found.what) for found in report.findings]


async def test_a_purchase_undone_by_the_awards_of_another_is_named(
    runtime: Runtime, database: Database
) -> None:
    """The row is put right again behind it: what was decided meanwhile still is wrong."""
    shop = await open_shop(runtime)
    small, large = await shop.done(purchase("R-1", 1000)), await shop.done(purchase("R-2", 90_000))
    change = "UPDATE activities SET awarded_by = $2 WHERE id = $1"
    async with superuser(database) as link:
        await link.execute(change, small["id"], large["decision_id"])
        assert ("activities", "is awarded by a decision that is not about it") in await findings(shop)
        await shop.done(cancel("R-1"))
        await link.execute(change, small["id"], small["decision_id"])
    assert ("decisions", "undoes a decision about something else") in await findings(shop)


async def test_a_claim_that_was_forgotten_is_named(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    guest = await shop.done(purchase("R-1", of=None))
    claimed = await shop.done(claim(guest["id"]))
    assert await findings(shop) == []
    async with superuser(database) as link:
        forget = "UPDATE activities SET awarded_by = decision_id, member_id = NULL WHERE id = $1"
        await link.execute(forget, guest["id"])
    what = f"is missing, or not awarded by {claimed['decision_id']}, which claimed it"
    unsaid = ("member_days", "does not say what is left of what was bought on it")
    assert await findings(shop) == [("activities", what), unsaid]


async def test_a_receipt_that_could_come_again_is_named(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB))
    await shop.done(purchase("R-1"), give_back(of="R-1"), purchase("R-2", of=BOB), cancel("R-2"), imported(5))
    assert await findings(shop) == []
    async with superuser(database) as link:
        for kind in ("purchase", "return", "cancel", "import_row"):
            other = (
                "UPDATE activity_keys SET external_id = external_id || $3 WHERE program_id = $1 AND kind = $2"
            )
            await link.execute(other, shop.id, kind, "x")
            told = await findings(shop)
            assert ("activity_keys", "is missing, or of another activity than the event says") in told, kind
            back = "UPDATE activity_keys SET external_id = rtrim(external_id, 'x') WHERE program_id = $1 AND kind = $2"
            await link.execute(back, shop.id, kind)
    assert await findings(shop) == []
