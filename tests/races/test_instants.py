"""The very instant at which points end, or a hold runs out, while many want them: over two processes one of them wins.

A sandbox's clock stands a little before the instant and is set to it amid the crowd. Whatever is decided before that
finds the points, whatever is decided after it does not, and nothing is in between.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from msgspec import convert

from loyalty.access.roles import Role
from loyalty.base.settings import load_settings
from loyalty.operating.desk import Desk, open_desk
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ProgramKind
from tests.conftest import Database
from tests.races.client import Reply
from tests.races.house import CONFIGURATION, JSON, SIZE, House, adjustment, opened, payment
from tests.words import proof_seed

RACES = pytest.mark.parametrize("races", [20, pytest.param(500 * SIZE, marks=pytest.mark.proof)])
AT_ONCE = 10  # members whose points meet one instant


@dataclass
class Sandbox:
    """A house whose program has a clock that is set by hand."""

    house: House
    desk: Desk
    now: datetime
    dice: random.Random

    async def member(self, points: int, good_until: datetime | None = None) -> str:
        """The id of a new member with these points; without an end they are good for long."""
        id = await self.house.member()
        end = good_until or self.now + timedelta(days=3_000)
        lot = {
            "member": {"id": id},
            "points_currency": "points",
            "points": points,
            "source": "old",
            "external_id": uuid4().hex,
            "issued_at": (self.now - timedelta(days=1)).isoformat(),
            "expires_at": end.isoformat(),
        }
        assert (await self.house.ask("/v1/imports/lots", lot)).status == 201
        return id

    async def at(self, instant: datetime, calls: list[tuple[str, JSON]]) -> list[Reply]:
        """The answers of calls that are sent together with the setting of the clock to an instant."""
        crowd = self.house.crowd(len(calls))
        paths, bodies = [path for path, _ in calls], [body for _, body in calls]
        keys = [uuid4().hex for _ in crowd]
        replies, _ = await asyncio.gather(
            self.house.together(crowd, paths, bodies, keys),
            self._sets(self.dice.random() / 20, instant),
        )
        self.now = instant
        await self.house.hang_up()
        return replies

    async def _sets(self, after_s: float, instant: datetime) -> None:
        """Set the clock as a move does, and the crowd need not wait for its end."""
        await asyncio.sleep(after_s)
        await self.desk.submit(self.house.program, AdvanceClock(instant))

    async def balance(self, member: str) -> tuple[int, int]:
        """What is available, and what is held."""
        (client,) = self.house.crowd(1)
        (one,) = (await client.get(f"/v1/members/{member}/balances")).json["balances"]
        return one["available"], one["held"]

    async def entries(self, member: str) -> Counter[str]:
        """How often each kind of entry stands in the statement, due ones included."""
        (client,) = self.house.crowd(1)
        return Counter(
            line["kind"] for line in (await client.get(f"/v1/members/{member}/entries")).json["data"]
        )


def before(reply: Reply, instant: datetime) -> bool:
    """Whether something was decided while the clock had not come to an instant."""
    return datetime.fromisoformat(reply.json["recorded_at"]) < instant


@pytest.fixture(scope="module")
async def sandbox(database: Database, redis_url: str) -> AsyncIterator[Sandbox]:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    async with (
        opened(database.app_url, database.superuser_url, redis_url) as house,
        open_desk(load_settings(house.environ)) as desk,
    ):
        configuration = convert(CONFIGURATION, Configuration)
        house.program = await desk.create_program(ProgramKind.SANDBOX, configuration, noon)
        client = await desk.client(house.program, "crowd")
        _, house.key = await desk.create_key(house.program, client, Role.ADMIN)
        seed = proof_seed()
        print(f"\nseed {seed}")
        yield Sandbox(house, desk, noon, random.Random(seed))


@RACES
async def test_points_that_are_redeemed_at_the_instant_of_their_end_are_redeemed_or_expired_never_both(
    sandbox: Sandbox, races: int
) -> None:
    """Two tills want all of them, and a credit beside them writes whatever has fallen due."""
    seen: Counter[str] = Counter()
    while seen.total() < races or len(seen) < 2:
        assert seen.total() < races + 500, f"void: every race ended alike, {seen}"
        end = sandbox.now + timedelta(hours=1)
        members = [await sandbox.member(100, end) for _ in range(AT_ONCE)]
        calls = [
            call
            for member in members
            for call in (
                ("/v1/redemptions", payment(member, 100)),
                ("/v1/redemptions", payment(member, 100)),
                ("/v1/adjustments", adjustment(member, 1)),
            )
        ]
        sandbox.dice.shuffle(calls)
        replies = await sandbox.at(end, calls)
        for member in members:
            of_member = [
                reply
                for (path, body), reply in zip(calls, replies, strict=True)
                if path == "/v1/redemptions" and body["member"]["id"] == member
            ]
            won = [reply for reply in of_member if reply.status == 201]
            assert len(won) <= 1
            assert all(before(reply, end) for reply in won)
            assert {reply.json["code"] for reply in of_member if reply.status != 201} == {
                "insufficient_points"
            }
            entries = await sandbox.entries(member)
            assert (entries["redeem"], entries["expire"]) == ((1, 0) if won else (0, 1))
            assert await sandbox.balance(member) == (1, 0)
            seen["redeemed" if won else "expired"] += 1
        await sandbox.house.hang_up()
    print(f"\n{dict(seen)}")
    await sandbox.house.whole()


@RACES
async def test_a_hold_that_is_captured_and_released_at_its_deadline_ends_once(
    sandbox: Sandbox, races: int
) -> None:
    """It is captured, released or has run out, and everybody is told which."""
    seen: Counter[str] = Counter()
    while seen.total() < races or not {"captured", "lapsed"} <= set(seen):
        assert seen.total() < races + 500, f"void: some ends never came, {seen}"
        members = [await sandbox.member(500) for _ in range(AT_ONCE)]
        held = [await sandbox.house.ask("/v1/holds", payment(member, 300)) for member in members]
        end = sandbox.now + timedelta(minutes=15)
        assert {datetime.fromisoformat(reply.json["lapses_at"]) for reply in held} == {end}
        verbs = [("capture", {}), ("release", {}), ("capture", {})]
        calls = [(f"/v1/holds/{reply.json['id']}/{verb}", body) for reply in held for verb, body in verbs] + [
            ("/v1/adjustments", adjustment(member, 1)) for member in members
        ]
        sandbox.dice.shuffle(calls)
        replies = await sandbox.at(end, calls)
        answered = {
            path: [reply for (one, _), reply in zip(calls, replies, strict=True) if one == path]
            for path, _ in calls
        }
        for member, reply in zip(members, held, strict=True):
            at = f"/v1/holds/{reply.json['id']}"
            state = (await sandbox.house.crowd(1)[0].get(at)).json["state"]
            captures, (release,) = answered[f"{at}/capture"], answered[f"{at}/release"]
            done = [one for one in captures if one.status == 200]
            assert len(done) == (state == "captured")
            assert all(before(one, end) for one in done)
            assert {one.json["code"] for one in captures if one.status != 200} <= {f"hold_{state}"}
            assert (release.status, release.json["state"]) == (200, state)
            taken = 300 if state == "captured" else 0
            assert await sandbox.balance(member) == (501 - taken, 0)
            entries = await sandbox.entries(member)
            ends = {"capture": "captured", "release": "released", "lapse": "lapsed"}
            assert {ends[kind]: entries[kind] for kind in ends if entries[kind]} == {state: 1}
            seen[state] += 1
        await sandbox.house.hang_up()
    print(f"\n{dict(seen)}")
    await sandbox.house.whole()
