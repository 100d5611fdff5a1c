"""One run: the town is opened, each part sends its share, the books are verified, and everything is counted."""

import asyncio
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from loyalty.access.roles import Role
from loyalty.ledger.verify import verify
from tests.conftest import Database
from tests.contract.test_schemathesis import let_loose
from tests.fuzz import traffic
from tests.fuzz.rules import judged_twice
from tests.fuzz.town import Town, opened
from tests.fuzz.traffic import Tally
from tests.laws import checks
from tests.races.client import Client

# How the requests are shared out, in percent; what Schemathesis sends is known only afterwards.
SHARES = {"generated": 40, "bodies": 46, "raw": 10, "cursors": 2, "credentials": 2}
AT_ONCE = 2  # processes of Schemathesis
EXAMPLES = 12  # of each operation and phase, in one of them: seven roles then come to 40,000 requests
# One turn with all phases is some 4,700 requests at least, most of them of one phase. So every role has its turn from a
# share of EVERYBODY on; below it roles have theirs until enough was sent; below FULL_TURN without the longest phases.
EVERYBODY = 33_000
FULL_TURN = 10_000
PHASES, SHORT_PHASES = "examples,coverage,fuzzing,stateful", "examples,fuzzing"
# A proof repeats what a change of the code could break soonest; generated requests have a share of their own there.
WITHOUT_GENERATED = {"bodies": 76, "raw": 16, "cursors": 4, "credentials": 4}

_LINE = re.compile(
    r'^loyalty_http_requests_total\{method="(\w+)",route="([^"]*)",status="(\d+)"\} (\S+)', re.MULTILINE
)


@dataclass
class Outcome:
    """What a run reached and what was wrong."""

    seed: int
    tally: Tally
    seconds: float = 0.0
    toured: Counter[tuple[str, str, int]] = field(default_factory=Counter[tuple[str, str, int]])
    served: Counter[tuple[str, str, int]] = field(default_factory=Counter[tuple[str, str, int]])  # in all
    part_seconds: dict[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0  # of Schemathesis
    incidents: int = 0  # in the server's log
    broken_books: list[str] = field(default_factory=list[str])
    books: int = 0
    rulesets: int = 0  # judged twice


async def served(town: Town) -> Counter[tuple[str, str, int]]:
    """How often the server answered: by method, route and status."""
    client = Client(town.api.port, "")
    text = (await client.get("/metrics")).body.decode()
    await client.close()
    return Counter(
        {
            (method, route, int(status)): int(float(times))
            for method, route, status, times in _LINE.findall(text)
        }
    )


async def run(
    database: Database,
    redis_url: str,
    seed: int,
    requests: int,
    shares: dict[str, int] = SHARES,
    rulesets: int = 0,
) -> Outcome:
    """Send about so many requests, shared out in percent; judge so many rulesets."""
    outcome, began = Outcome(seed, Tally()), time.monotonic()
    if rulesets:
        judged(seed, rulesets, outcome)
    async with opened(database, redis_url) as town:
        outcome.toured = await served(town)
        for part, share in shares.items():
            started, many = time.monotonic(), requests * share // 100
            if part == "generated":
                await generated(town, seed, many, outcome)
            else:
                await getattr(traffic, part)(town, seed, many, outcome.tally)
            outcome.part_seconds[part] = time.monotonic() - started
        outcome.served = await served(town)
        await verified(town, outcome)
        outcome.incidents = incidents(town.api.log.read_text("utf-8", "replace"))
    outcome.seconds = time.monotonic() - began
    return outcome


def incidents(log: str) -> int:
    """Lines of a server's log that tell a bug: of the web, or of a decision."""
    return sum(log.count(f'"event":"{event}"') for event in ("incident", "command_failed"))


def judged(seed: int, rulesets: int, outcome: Outcome) -> None:
    """Two readings of so many rulesets agree."""
    outcome.rulesets = rulesets
    if wrong := judged_twice(seed, rulesets):
        outcome.tally.failed += 1
        outcome.tally.failures.append(f"rules: {wrong}")


async def generated(town: Town, seed: int, requests: int, outcome: Outcome) -> None:
    """Schemathesis role by role from the admin on, until all had a turn and enough was sent; of few requests no more
    turns than they need, and shorter ones."""
    roles = [Role.ADMIN, *(role for role in Role if role is not Role.ADMIN)]
    before, tally = sum((await served(town)).values()), outcome.tally
    turn, examples = iter(range(10_000)), max(1, min(EXAMPLES, requests * EXAMPLES // 40_000))
    turns, at_once = (len(roles), AT_ONCE) if requests >= EVERYBODY else (0, 1)

    async def one_after_the_other(place: Path) -> None:
        for number in turn:
            sent = sum((await served(town)).values()) - before
            if number >= turns and sent >= requests:
                return
            role = roles[number % len(roles)]
            arguments = (
                f"--seed={seed + number}",
                f"--max-examples={examples}",
                f"--phases={PHASES if requests >= FULL_TURN else SHORT_PHASES}",
            )
            code, told = await let_loose(town.api.port, town.wild.keys[role.value], place, *arguments)
            outcome.rounds += 1
            if code != 0:
                tally.failed += 1
                tally.failures.append(f"generated, seed {seed + number}, as {role.value}:\n{told[-4_000:]}")

    with tempfile.TemporaryDirectory() as place:
        async with asyncio.TaskGroup() as group:
            for n in range(at_once):
                (Path(place) / str(n)).mkdir()
                group.create_task(one_after_the_other(Path(place) / str(n)))
    tally.sent["generated"] = sum((await served(town)).values()) - before


async def verified(town: Town, outcome: Outcome) -> None:
    """All invariants hold, and the auditor finds nothing in any program."""
    link = await asyncpg.connect(town.database.superuser_url)
    await link.execute("ANALYZE")
    broken = await checks.broken(link)
    outcome.broken_books += [f"{name}: {rows}" for name, rows in broken.items()]
    await link.close()
    async with asyncpg.create_pool(town.database.app_url, min_size=1, max_size=1) as pool:
        for shop in town.shops:
            report = await verify(pool.acquire, shop.program_id)
            outcome.books += 1
            if not report.intact:
                outcome.broken_books.append(str(report.findings))
