"""The worked examples of docs/complaints.md, one test a complaint: its calls in their order, answered as they say."""

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from loyalty.posting.files import load
from tests.races.client import Client, Reply
from tests.races.house import told
from tests.web.world import Shop, World, enrol, long_work, new_shop

PAGE = (Path(__file__).parents[2] / "docs" / "complaints.md").read_text("utf-8")
SECTIONS = {
    int(number): text for number, text in re.findall(r"\n## (\d+)\. (.*?)(?=\n## |\Z)", PAGE, re.DOTALL)
}
PROGRAM = PAGE.split("```toml\n")[1].split("```")[0]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOT_YET = {8}
CALL = re.compile(
    r"(till|desk)(?: \(key (\w+)\))?: (GET|POST) (\S+)\n(?:(\{.*\})\n)?(\d{3}) (replayed )?(\{.*\})"
)


class Conversation:
    """One section: its shop, who calls, and what names in braces stand for."""

    def __init__(self, world: World, shop: Shop, text: str) -> None:
        self.world, self.text, self.shop = world, text, shop
        self.callers: dict[str, Client] = {
            "till": world.client("pos", shop),
            "desk": world.client("admin", shop),
        }
        self.names: dict[str, str] = {}
        self.replies: list[Reply] = []

    async def hold(self) -> None:
        """Make all calls of the section."""
        calls: list[Any] = [call for block in _blocks(self.text, "example") for call in CALL.findall(block)]
        assert len(calls) == len(re.findall(r"^(?:till|desk).*: (?:GET|POST) ", self.text, re.MULTILINE)) >= 3
        for who, key, method, path, body, status, replayed, answer in calls:
            sent = json.loads(self._filled(body)) if body else None
            headers = {"Idempotency_Key": key or uuid4().hex} if method == "POST" else {}
            reply = await self.callers[who].call(method, self._filled(path), sent, **headers)
            assert (reply.status, reply.replayed) == (int(status), bool(replayed)), (path, reply.body)
            assert self._shows(json.loads(answer), reply.json), (path, reply.json)
            self.replies.append(reply)
            await long_work(self.world.runtime)

    def _filled(self, text: str) -> str:
        if text == "{configuration}":
            (rules,) = _blocks(self.text, "toml")
            _, configuration = load(PROGRAM.split("[[rules]]")[0] + rules)
            return msgspec.json.encode(configuration).decode()
        return re.sub(r"\{(\w+)\}", lambda name: self.names[name[1]], text)

    def _shows(self, shown: Any, answered: Any) -> bool:
        """Whether the answer has all that is shown of it; what a name stands for is learnt where it comes first."""
        match shown:
            case dict():
                return all(
                    name in answered and self._shows(value, answered[name]) for name, value in shown.items()
                )
            case list():
                return len(shown) == len(answered) and all(map(self._shows, shown, answered))
            case str() if shown.startswith("{"):
                return self.names.setdefault(shown[1:-1], answered) == answered
            case _:
                return shown == answered


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


async def _shop(world: World) -> Shop:
    _, configuration = load(PROGRAM)
    shop = await new_shop(world.runtime, msgspec.to_builtins(configuration), clock_at=NOON)
    for card in ("6035550001", "6035550002"):
        await enrol(world.client("admin", shop), card)
    return shop


async def _answered(world: World, complaint: int) -> Conversation:
    """The calls of one section, each answered as it says."""
    conversation = Conversation(world, await _shop(world), SECTIONS[complaint])
    await conversation.hold()
    return conversation


async def test_complaint_1_the_refund_comes_and_the_points_stay(world: World) -> None:
    await _answered(world, 1)


async def test_complaint_2_the_order_was_refunded_and_the_points_spent_on_it_are_gone(world: World) -> None:
    await _answered(world, 2)


async def test_complaint_3_a_part_goes_back_and_all_points_are_lost_or_none(world: World) -> None:
    await _answered(world, 3)


async def test_complaint_4_an_offline_till_that_syncs_twice_gives_points_twice(world: World) -> None:
    await _answered(world, 4)


async def test_complaint_5_redeemed_offline_and_never_deducted(world: World) -> None:
    await _answered(world, 5)


async def test_complaint_6_two_tills_at_once_spend_the_same_points(world: World) -> None:
    """The page shows one after the other; here forty ask at one moment."""
    shop = (await _answered(world, 6)).shop
    goodwill = {
        "member": {"card": "6035550002"},
        "points_currency": "points",
        "points": 500,
        "reason": "goodwill",
    }
    await world.client("admin", shop).post("/v1/adjustments", goodwill, idempotency_key=uuid4().hex)
    wish = {"member": {"card": "6035550002"}, "reward": "mug"}
    tills = [world.client("pos", shop) for _ in range(40)]
    replies = await asyncio.gather(
        *(till.post("/v1/redemptions", wish, idempotency_key=uuid4().hex) for till in tills)
    )
    assert told(replies) == {(201, "done"): 1, (409, "insufficient_points"): 39}


async def test_complaint_7_redeemed_here_and_deducted_nowhere(world: World) -> None:
    await _answered(world, 7)


async def test_complaint_9_expiry_eats_the_balance(world: World) -> None:
    await _answered(world, 9)


async def test_complaint_10_the_whole_balance_must_be_spent(world: World) -> None:
    await _answered(world, 10)


async def test_complaint_11_points_are_earned_on_what_points_paid(world: World) -> None:
    await _answered(world, 11)


async def test_complaint_12_a_mistyped_phone_number_loses_the_points(world: World) -> None:
    await _answered(world, 12)


async def test_complaint_13_the_return_goes_by_todays_rules(world: World) -> None:
    await _answered(world, 13)


async def test_complaint_14_a_retry_is_a_second_purchase(world: World) -> None:
    """What is replayed is the first answer to the byte."""
    replies = (await _answered(world, 14)).replies
    assert replies[0].body == replies[2].body == replies[4].body
    assert replies[1].body == replies[3].body


async def test_complaint_15_points_expire_and_nobody_had_said_when(world: World) -> None:
    await _answered(world, 15)


def test_every_complaint_of_the_page_has_its_test_or_says_that_it_is_not_covered() -> None:
    tested = {int(number) for name in globals() for number in re.findall(r"^test_complaint_(\d+)_", name)}
    assert set(SECTIONS) == set(range(1, 16)) == tested | NOT_YET
    for number, text in SECTIONS.items():
        assert ("Not covered yet" in text) == (number in NOT_YET) == (not _blocks(text, "example"))
