"""Clients that retry under the same key until they are answered, as tills do, and what must be true of their answers.

Whatever is broken under them, they are told what the model knows, to come again (503 with Retry-After), or nothing,
because the connection is lost.
"""

import asyncio
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from uuid import uuid4

from tests.races.client import Client, Reply, Unknown
from tests.races.house import JSON, House, adjustment, purchase

CLIENTS = 48
BUSY = 20  # in flight at least when something is broken: a batch lets them ebb and flow
BUSY_S = 15.0
MEMBERS = 12
OPENING = 50  # points of each member
REFUSALS = frozenset({"insufficient_points", "purchase_cancelled"})  # what these commands may be told
CHECKERS = 8


@dataclass
class Call:
    """One command and the only answer it ever gets."""

    path: str
    body: JSON
    key: str
    reply: Reply | None = None
    sendings: int = 0


@dataclass
class Crowd:
    """Clients that send one command after the other, each until it is answered."""

    house: House
    members: list[str]
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    unknown: int = 0  # sendings of which nobody knew what became: a lost connection, or so said
    refused: int = 0  # sendings that were told to come again
    wrong: Counter[str] = field(default_factory=Counter)  # answers that nobody may get
    closing: bool = False

    def next_call(self) -> Call:
        member = self.chance.choice(self.members)
        match self.chance.randrange(4):
            case 0:
                body, path = adjustment(member, self.chance.randint(1, 20)), "/v1/adjustments"
            case 1:
                body, path = adjustment(member, -self.chance.randint(1, 15)), "/v1/adjustments"
            case 2 if self.calls:
                # A receipt that is known or under way, under another key: the same purchase, or its cancel.
                told = self.chance.choice(self.calls).body
                if "lines" not in told:
                    return self.next_call()
                body, path = (
                    {"source": told["source"], "external_id": told["external_id"]},
                    "/v1/purchases/cancel",
                )
                if self.chance.random() < 0.7:
                    body, path = told, "/v1/purchases"
            case _:
                body, path = purchase(member, amount_minor=self.chance.randint(100, 5_000)), "/v1/purchases"
        self.calls.append(Call(path, body, uuid4().hex))
        return self.calls[-1]

    async def client(self, *ports: int) -> None:
        """One client; it goes to the next process when a line is lost."""
        doors = deque(Client(port, self.house.key) for port in ports)
        while not self.closing:
            call = self.next_call()
            call.reply = await self.answered(doors, call)
        for door in doors:
            await door.close()

    async def answered(self, doors: deque[Client], call: Call) -> Reply:
        """The first answer that is one."""
        while True:
            try:
                await doors[0].get("/health/live")  # the connection stands: what is lost now was sent
                reply = await self._sent(doors[0], call)
                if self._is_answer(reply):
                    return reply
            except (OSError, Unknown):
                doors.rotate(-1)
            await asyncio.sleep(self.chance.uniform(0.02, 0.1))

    async def _sent(self, client: Client, call: Call) -> Reply:
        call.sendings += 1
        self.in_flight += 1
        try:
            return await client.post(call.path, call.body, idempotency_key=call.key)
        except (OSError, Unknown):
            self.unknown += 1
            raise
        finally:
            self.in_flight -= 1

    def _is_answer(self, reply: Reply) -> bool:
        code = reply.json["code"] if reply.status >= 400 else ""
        if reply.status == 503 and "retry-after" in reply.headers:
            self.refused += 1
            self.unknown += code == "outcome_unknown"
            return False
        if reply.status >= 400 and (reply.status, code) not in {(409, one) for one in REFUSALS}:
            self.wrong[f"{reply.status} {code}"] += 1
        return True

    async def busy(self) -> int:
        """Wait until enough is in flight to break something under it: so many commands are. Raises: TimeoutError."""
        async with asyncio.timeout(BUSY_S):
            while self.in_flight < BUSY:
                await asyncio.sleep(0.01)
        return self.in_flight

    @property
    def unanswered(self) -> list[Call]:
        """Commands that are under way."""
        return [call for call in self.calls if call.reply is None]

    @property
    def decided(self) -> set[str]:
        """Decisions that were told: several commands may have been told the same one."""
        replies = (call.reply for call in self.calls)
        return {reply.json["decision_id"] for reply in replies if reply and reply.status < 300}


async def nothing_lost(crowd: Crowd) -> None:
    """Every answer is given again byte for byte, and the balances are what the answers say."""
    assert not crowd.wrong, f"answered what nobody may be told: {dict(crowd.wrong)}"
    clients = crowd.house.crowd(CHECKERS)
    await asyncio.gather(*(_again(client, crowd.calls[n::CHECKERS]) for n, client in enumerate(clients)))
    for member, points in _expected(crowd).items():
        (balance,) = (await clients[0].get(f"/v1/members/{member}/balances")).json["balances"]
        assert balance["available"] - balance["debt"] == points, f"{balance}, by the answers {points}"


async def _again(client: Client, calls: list[Call]) -> None:
    for call in calls:
        reply = call.reply
        assert reply is not None
        again = await client.post(call.path, call.body, idempotency_key=call.key)
        same = (again.status, again.body, again.replayed) == (reply.status, reply.body, True)
        assert same, f"{call.path}, key {call.key}: first {reply.body!r}, then {again.body!r}"


def _expected(crowd: Crowd) -> dict[str, int]:
    """What each member has, by the answers alone."""
    expected = dict.fromkeys(crowd.members, OPENING)
    done: set[str] = set()
    for call in crowd.calls:
        reply = call.reply
        assert reply is not None
        if reply.status >= 300 or reply.json["decision_id"] in done:
            continue
        done.add(reply.json["decision_id"])  # the same receipt again, or the same cancel
        if "points" in call.body:
            expected[call.body["member"]["id"]] += call.body["points"]
        elif reply.json["member_id"] is not None:
            earned = sum(one["points"] for one in reply.json.get("earned", ()))
            revoked = sum(one["points"] for one in reply.json.get("revoked", ()))
            expected[reply.json["member_id"]] += earned - revoked
    return expected
