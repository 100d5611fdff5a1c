"""The program and its model side by side: the machine that drives both.

Hypothesis chooses the commands and the moments; the program runs them through the real pipe on the real database,
the model (model.py) in memory. After every step all invariants of checks.py hold, a refused command has left no
trace but its record, and every answer is the one the model predicts, error codes included.
"""

import asyncio
import json
import os
import pickle
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, time, timedelta
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loyalty.base.database import reading
from loyalty.ledger import service
from loyalty.ledger.types import Balances, StatementLine
from loyalty.ledger.verify import verify
from loyalty.members.cells import cell_of
from loyalty.members.types import Identifier, IdentifierKind, MemberStatus
from loyalty.posting import commands
from loyalty.posting.commands import Answer, Command, MemberRef, Submission
from loyalty.posting.configuration import Configuration
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.posting.validate import faults
from tests.conftest import Database
from tests.isolation import dump
from tests.laws import checks, shapes
from tests.laws.model import SYSTEM, Again, Hold, Lot, Model, No
from tests.laws.shop import JSON, Shop, digest, open_shop, serving
from tests.words import proof_size

BEGIN = datetime(2026, 3, 6, 17, tzinfo=UTC)  # two days before the clocks of New York jump
CURRENCIES = ("points", "miles")
DECISIONS = {"exchange": 3}  # of one command: its two parts and their whole
# Known again under another key, by their names or by what has come to be.
ONCE = frozenset(
    ("purchase", "cancel", "give_back", "exchange", "claim", "import_lot", "fulfil", "cancel_redemption")
)
UNTOUCHED_BY_REFUSALS = ("idempotency_records", "audit_log")
RECORDED_REFUSALS = ("spending_limit", "pin_wrong")  # such an attempt has a decision of its own
RECORDED = ("decisions", "blocks", "engagement_events", "member_pins")  # where it leaves its trace
IDENTIFIERS = tuple((kind, f"{kind}{n}") for kind in ("card", "phone", "email", "external") for n in range(2))

expiries = st.sampled_from(
    (
        {"kind": "rolling", "days": 1},
        {"kind": "rolling", "days": 3},
        {"kind": "rolling", "days": 3},
        {"kind": "rolling", "days": 30},
        {"kind": "never"},
        {"kind": "fixed_days", "on": ["12-31", "03-31"]},
        {"kind": "fixed_days", "on": ["02-29"], "days_min": 60},
        {"kind": "fixed_days", "on": ["06-30", "11-02", "11-05", "02-28"], "days_min": 3},
        {"kind": "inactivity", "days": 3},
        {"kind": "inactivity", "days": 30, "resets": ["redeem", "give"]},
        {"kind": "inactivity", "months": 1, "resets": ["earn", "credit", "receive"]},
        {"kind": "anniversary"},
        {"kind": "anniversary", "months": 1, "days_min": 3},
        *(
            {"kind": "rolling", "months": months, "round_up": end}
            for months in (1, 12)
            for end in ("day", "month", "quarter", "half_year", "year")
        ),
    )
)


def currencies(code: str) -> st.SearchStrategy[JSON]:
    return st.fixed_dictionaries(
        {
            "code": st.just(code),
            "name": st.just(code.title()),
            "expiry": expiries,
            "pending_days": st.sampled_from((0, 0, 0, 1, 14)),
            "negative": st.sampled_from(("floor", "floor", "prevent", "waive", "floor")),
            "floor": st.sampled_from((100_000, 300, 60, 20, 0, 1_000)),
            "tax_earns": st.booleans(),
            "excluded_tenders": st.sampled_from(((), ("gift",))),
            "spendable": st.sampled_from((*[True] * 4, False, *[True] * 4)),
            "hold_grace_days": st.sampled_from((0, 0, 2)),
            "reinstate_days": st.sampled_from((0, 3, 40, 400)),
            "reinstated_days": st.sampled_from((1, 30)),
            "qualifying": st.just(True),
            "pay": st.none() | shapes.pays | shapes.pays,
        }
    ).map(possible)


def possible(currency: JSON) -> JSON:
    """Without what cannot be published: points that are paid with though not spendable, or over before available."""
    if not currency["spendable"]:
        currency |= {"pay": None}
    if currency["expiry"].get("days", 99) <= currency["pending_days"]:
        currency |= {"pending_days": 0}
    return currency


FREE = {"enabled": True}
ACTORS = (
    SYSTEM,
    ("client", "till", "pos"),
    ("staff", "Sue", "support"),
    ("staff", "Max", "manager"),
)
_, _, SUE, MAX = ACTORS
NAMES = {name: UUID(int=0xA0 + n) for n, (_, name, _) in enumerate(ACTORS)}


def sender(by: tuple[str, str, str]) -> dict[str, Any]:
    """What `Shop.submission` must be told for a command of this actor."""
    return {"kind": by[0], "scope": NAMES[by[1]], "role": by[2]}


by_hand = st.fixed_dictionaries(
    {
        "approval_above": st.sampled_from((None, None, 100, 0)),
        "daily_max": st.sampled_from((None, None, 400)),
        "proposal_days": st.sampled_from((7, 1)),
        "reasons": st.sampled_from(((), (), ({"code": "goodwill", "name": "Goodwill"},))),
    }
)
transfers = st.sampled_from(
    (
        FREE,
        FREE,
        FREE | {"fee_points": 3, "fee_bps": 250},
        FREE | {"minimum": 10, "maximum": 150},
        FREE | {"giver_max": 120, "period": "week"},
        FREE | {"giver_max": 90, "period": "month", "fee_bps": 10_000},
        {},
    )
)
limits = st.sampled_from(
    (
        {},
        {},
        {"member_day_max": 150, "member_week_max": 200},
        {"till_day_max": 100},
        {"changed_hours": 30, "changed_day_max": 40},
    )
)
pins = st.sampled_from(
    (
        {},
        {},
        {"above": 30, "roles": ("pos", "admin"), "attempts": 2, "locked_minutes": 600},
        {"above": 0, "attempts": 1},
        {},
    )
)
policies = st.fixed_dictionaries(
    {
        "hold_minutes": st.sampled_from((15, 1_440)),
        "hold_days_max": st.sampled_from((1, 30)),
        "adjustments": by_hand,
        "transfers": transfers,
        "spending_limits": limits,
        "spending_pin": pins,
        "late_days_max": st.sampled_from((None, 30, 3)),
        "claim_days_max": st.sampled_from((0, 30)),
        "blind_returns": st.sampled_from(("refuse", "record")),
        "returned_days": st.sampled_from((0, 0, 3)),
        **{
            f"unknown_{kind}": st.sampled_from(("refuse", "enrol", "guest"))
            for kind in ("card", "phone", "email", "external")
        },
    }
)
simple_rules = st.just(
    [
        {
            "id": "base",
            "name": "for the basket",
            "points_currency": "points",
            "gives": {"kind": "per_spend", "points": 1, "each_minor": 10},
        }
    ]
)

# What is lost whole once what is left would not have earned it.
bonuses = st.sampled_from(
    (
        [],
        *(
            [
                {
                    "id": "bonus",
                    "name": "for much",
                    "points_currency": "points",
                    "gives": {"kind": "fixed", "points": 50},
                    "when": {"kind": "minimum_spend", "amount_minor": much},
                    "on_return": "all_if_unmet",
                }
            ]
            for much in (400, 1_200)
        ),
    )
)


def publishable(configuration: JSON) -> JSON:
    """Without the rules, rewards and exclusions that contradict themselves; what that is, tests/pure says."""
    while found := faults(msgspec.convert(configuration, Configuration)):
        if any(fault.pointer.startswith("/ruleset/excluded") for fault in found):
            del configuration["ruleset"]["excluded"]
            continue
        for name, part in (("/ruleset/rules/", configuration["ruleset"]), ("/rewards/", configuration)):
            places = (fault.pointer.removeprefix(name) for fault in found if fault.pointer.startswith(name))
            wrong = {int(place.partition("/")[0]) for place in places}
            kind = name.split("/")[-2]
            if wrong:
                part[kind] = [one for n, one in enumerate(part[kind]) if n not in wrong]
    return configuration


configurations = st.fixed_dictionaries(
    {
        "settings": st.fixed_dictionaries(
            {
                "name": st.just("Shop"),
                "zone": st.just("America/New_York"),
                "money": st.just("USD"),
                "points_currencies": st.tuples(*(currencies(code) for code in CURRENCIES)),
                "policies": policies,
            }
        ),
        "ruleset": st.builds(
            lambda base, bonus, more: {"version": 1, "rules": base + bonus + more},
            simple_rules,
            bonuses,
            shapes.rules(CURRENCIES, tiers=True),
        ),
        "rewards": shapes.rewards(CURRENCIES),
        "tier_sets": shapes.tier_sets(CURRENCIES),
    }
).map(publishable)
NOBODY = 11
NOT_THERE = 1_000_000
UNKNOWN = UUID("01900000-0000-7000-8000-000000000000")
some_member = st.integers(0, NOBODY)
member_or_nobody = st.sampled_from((*range(NOBODY), NOBODY, NOBODY))
NO_HOLD = 11
# What is chosen most stands at both ends: Hypothesis likes them.
some_hold = st.sampled_from((0, 0, 1, 2, 3, NO_HOLD, *range(4, NO_HOLD), 1, 0))
durations = st.sampled_from((None, None, 1, 1_441, 40 * 1_440, 3 * 1_440, 15, 1_440, 60))
# Lines that go back, by name, with their thousandths or all that is left of each; or all that is left.
going = st.none() | st.lists(
    st.tuples(
        st.sampled_from(("1", "1", "1", "2", "2", "3", "4", "5")),
        st.sampled_from((None, None, 0, 1, 333, 500, 500, 1_000, 1_000, 2_500, 2_501)),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda line: line[0],
)
receipts = st.integers(0, 5).map(lambda n: ("till", f"R{n}"))
ages = st.one_of(
    st.just(timedelta()),
    st.integers(0, 86_400).map(lambda s: timedelta(seconds=s)),
    st.integers(0, 45).map(lambda d: timedelta(days=d)),
    st.sampled_from((timedelta(minutes=-10), timedelta(minutes=-15), timedelta(minutes=-16))),
    st.sampled_from((timedelta(days=3), timedelta(days=30))),  # as old as may be
    st.sampled_from((timedelta(days=3, microseconds=1), timedelta(days=30, microseconds=1))),
)
points = st.integers(1, 300) | st.sampled_from((1, 5_000, 2**53 - 1))


def same(said: Any, meant: Any, *about: object) -> None:
    """What the program says is what the model says; else both are told, with what it is about."""
    if said != meant:
        lines = (" ".join(map(str, about)), f"the program said {said}", f"the model says   {meant}")
        raise AssertionError("\n  ".join(filter(None, lines)))


class SteadyClock:
    """Real time that is the same in every run: an example that fails must fail again."""

    def __init__(self) -> None:
        self.ms = 0

    def now(self) -> datetime:
        return datetime(2026, 9, 1, tzinfo=UTC) + timedelta(milliseconds=self.now_ms() % 1_000_000_000)

    def now_ms(self) -> int:
        self.ms += 1
        return 1_788_000_000_000 + self.ms


class World:
    """What all examples of one test share: an event loop, the runtime, and a superuser who sees one program."""

    def __init__(
        self,
        database: Database,
        cells: int,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.runner = asyncio.Runner(loop_factory=loop_factory)
        self.clock = SteadyClock()
        # On a machine with much else to do it takes as long as it takes: nobody is told to come later.
        self._serving = serving(database, cells=cells, clock=self.clock, queue_ms_max=60_000)
        self.runtime: Runtime = self.run(self._serving.__aenter__())
        self.link = self.run(self._superuser(database.superuser_url))
        self.auditor = self.run(self._auditor(database.app_url))
        self.seen: Counter[str] = Counter()
        self.steps = 0

    async def _superuser(self, url: str) -> dump.Link:
        """Every table by name is its rows of the program that `proof.program` names."""
        link = await asyncpg.connect(url)
        await link.execute("CREATE SCHEMA IF NOT EXISTS one")
        for table in await dump.tables(link):
            if await link.fetchval(
                "SELECT true FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'program_id'",
                table,
            ):
                await link.execute(
                    f"CREATE OR REPLACE VIEW one.{table} AS SELECT * FROM public.{table}"
                    " WHERE program_id = current_setting('proof.program')::uuid"
                )
        # The planner knows nothing of tables so new.
        await link.execute(
            "SET search_path = one, public; SET enable_nestloop = off; SET enable_mergejoin = off"
        )
        return link

    async def _auditor(self, url: str) -> "asyncpg.Pool[Any]":
        return await asyncpg.create_pool(url, min_size=1, max_size=1)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.link.close())
        self.run(self.auditor.close())
        self.run(self._serving.__aexit__(None, None, None))
        self.runner.close()


class Commands(RuleBasedStateMachine):
    """One program from its first configuration on."""

    world: ClassVar[World]
    begin = BEGIN

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[UUID] = []  # of the model's members
        self.answers: list[bytes] = []
        self.sent: list[tuple[Submission, int, bytes]] = []
        self.activities: dict[tuple[str, str], UUID] = {}
        self.holds: list[UUID] = []  # of the model's holds
        self.redeemed: list[UUID] = []
        self.proposals: list[UUID] = []
        self.made: list[tuple[Command, str, tuple[Any, ...]]] = []  # what happens once, under whatever key
        self.pin = "right"  # what comes with whatever spends
        self.accepted = 1
        self.past: list[tuple[int, datetime, datetime, Any]] = []
        self.written = 0  # receipts

    @initialize(configuration=configurations)
    def open(self, configuration: JSON) -> None:
        self.model = Model(configuration, self.begin)
        self.world.clock.ms = 0
        self.world.runtime.pipe._random.seed(0)  # ids, and with them cells, are those of the last run
        self.shop: Shop = self.world.run(open_shop(self.world.runtime, configuration, self.begin))
        self.world.run(self.world.link.execute(f"SET proof.program = '{self.shop.program}'"))
        self.enrol([("card", "card0")])
        self.enrol([("email", "email1"), ("phone", "phone1")])

    # --- one step -------------------------------------------------------------------------------------------

    def step(self, command: Command, name: str, *about: Any, **more: Any) -> tuple[Any, JSON | None]:
        """Send a command and run it in the model: the same outcome. Gives the model's result and the answer.

        `more` is what `Shop.submission` takes: who sends it, for one.
        """
        submission = self.shop.submission(command, **more)
        result, expected = self.predict(name, *about)
        recorded = isinstance(expected, No) and expected.code in RECORDED_REFUSALS
        without = (*UNTOUCHED_BY_REFUSALS, *(RECORDED if recorded else ()))
        before = None if expected is None else self.trace(without)
        answer = self.send(submission)
        said = self.judge(submission, name, about, result, expected, answer)
        if expected is not None:
            assert before == self.trace(without), "a refusal left a trace"
        self.check()
        return said

    def predict(self, name: str, *about: Any) -> tuple[Any, No | Again | None]:
        """What the model makes of a command: its result, or why there is none."""
        self.before = pickle.dumps(vars(self.model)) if name == "settle_due" else b""
        try:
            return self.model.do(name, *about), None
        except (No, Again) as other:
            return None, other

    def send(self, submission: Submission) -> Answer:
        answer: Answer = self.world.run(self.world.runtime.pipe.submit(submission))
        return answer

    def tell(self, what: str) -> None:
        note(what)

    def trace(self, without: tuple[str, ...] = ()) -> Any:
        """All that the program's tables hold: equal before and after means that nothing was written."""
        return self.world.run(dump.state(self.world.link, without))

    def judge(
        self,
        submission: Submission,
        name: str,
        about: tuple[Any, ...],
        result: Any,
        expected: No | Again | None,
        answer: Answer,
    ) -> tuple[Any, JSON | None]:
        """The answer is the predicted one; the model's result and what was said, if it was accepted."""
        world = self.world
        world.steps += 1
        body = json.loads(answer.body)
        self.tell(f"{name} {answer.status} {body.get('code', '')}")
        if body.get("code") != "clock_moving":  # the one refusal that is not kept: a retry is a new try
            self.sent.append((submission, answer.status, answer.body))
        match expected:
            case No(status=status, code=code, reasons=reasons):
                same((answer.status, body.get("code"), answer.replayed), (status, code, False), name, body)
                if reasons is not None:
                    same([one["reason"] for one in body["reasons"]], reasons, name, body)
                    world.seen.update(f"{name}, {reason}" for reason in reasons)
                self.accepted += code in RECORDED_REFUSALS
                world.seen[f"{name} {code}"] += 1
            case Again(answer=first):
                same((answer.status, answer.body, answer.replayed), (200, self.answers[first], True), name)
                world.seen[f"{name} again"] += 1
            case None if written_already(name, body):
                vars(self.model).update(pickle.loads(self.before))  # it was written by another command
                world.seen[f"{name} nothing_due"] += 1
            case None:
                accepted = answer.status if answer.status in (200, 201, 202) else "accepted"
                same((answer.status, answer.replayed), (accepted, False), name, body)
                self.answers.append(answer.body)
                if name in ONCE:
                    self.made.append((submission.command, name, about))
                self.accepted += DECISIONS.get(name, 1)
                world.seen[f"{name} accepted"] += 1
                if answer.status == 202:
                    world.seen[f"{name} proposed"] += 1
                return result, body
        return None, None

    def check(self) -> None:
        """All invariants, and one decision for each accepted command."""
        world = self.world
        broken = world.run(checks.broken(world.link))
        assert not broken, broken
        same(self.decisions("<>"), self.accepted, "decisions")
        for number in range(len(self.ids)):
            read = {
                b.points_currency: (b.pending, b.available, b.held, b.debt)
                for b in self.read(number).balances
            }
            meant = {code: self.model.balance(number, code) for code in CURRENCIES}
            same(read, meant, f"member {number}")

    def decisions(self, counterparts: str) -> int:
        """How many decisions there are, without or with nothing but what other lanes have of them."""
        count = f"SELECT count(*) FROM decisions WHERE kind {counterparts} 'counterpart'"
        return self.world.run(self.world.link.fetchval(count))

    def read(self, member: int, **moments: datetime) -> Balances:
        """A member's balances as the API reads them."""

        async def balances() -> Balances:
            runtime = self.world.runtime
            history = await runtime.history(self.shop.program)
            async with reading(runtime.engine, self.shop.program) as connection:
                return await service.balances(
                    connection,
                    runtime.aside,
                    self.owner(member),
                    history.at(self.model.now).settings.points_currencies,
                    history.now.zone,
                    self.model.now,
                    **moments,
                )

        return self.world.run(balances())

    def owner(self, member: int) -> service.Owner:
        id = self.ids[member]
        return service.Owner(self.shop.program, cell_of(id, self.world.runtime.settings.cells), id)

    @rule(n=st.integers(0, NOBODY - 1), back=st.sampled_from((0, 0, 1, 20, 100)))
    def remember(self, n: int, back: int) -> None:
        """What was known before this instant, of now or of some day in the past, is the answer for ever."""
        as_of, recorded_by = self.model.now - timedelta(days=back), self.model.now - timedelta(microseconds=1)
        read = self.read(n % len(self.ids), as_of=as_of, recorded_by=recorded_by)
        self.past.append((n % len(self.ids), as_of, recorded_by, read.balances))

    @precondition(lambda self: self.past)
    @rule(n=st.integers(0, 40))
    def look_back(self, n: int) -> None:
        """An answer about the past never changes, whatever was recorded since."""
        member, as_of, recorded_by, balances = self.past[n % len(self.past)]
        read = self.read(member, as_of=as_of, recorded_by=recorded_by).balances
        same(read, balances, f"member {member} as of {as_of}, known at {recorded_by}")

    @rule(n=st.integers(0, NOBODY - 1), limit=st.integers(1, 7))
    def read_the_statement(self, n: int, limit: int) -> None:
        """The lines of all pages add up to the balance, and each begins where the older one ended."""

        async def pages() -> list[StatementLine]:
            runtime, lines, before, told = self.world.runtime, [], None, False
            history = await runtime.history(self.shop.program)
            while before is not None or not told:
                told = True
                async with reading(runtime.engine, self.shop.program) as connection:
                    page = await service.statement(
                        connection,
                        runtime.aside,
                        self.owner(n % len(self.ids)),
                        history.at(self.model.now).settings.points_currencies,
                        history.now.zone,
                        self.model.now,
                        limit=limit,
                        before=before,
                    )
                lines += page.lines
                before = page.before
            return lines

        lines = self.world.run(pages())
        for code in CURRENCIES:
            held = [0, 0, 0, 0]
            for line in reversed([line for line in lines if line.points_currency == code]):
                changes = (line.pending_change, line.available_change, line.held_change, line.debt_change)
                held = [before + change for before, change in zip(held, changes, strict=True)]
                same([line.pending, line.available, line.held, line.debt], held, line)
                assert line.words
            same(tuple(held), self.model.balance(n % len(self.ids), code), f"the statement in {code}")

    def teardown(self) -> None:
        """The auditor finds nothing."""
        report = self.world.run(verify(self.world.auditor.acquire, self.shop.program, also=(reviews,)))
        assert report.intact, report.findings
        same(report.figures.decisions, self.accepted + self.decisions("="), "decisions verified")

    def holds_what_the_model_says(self, member: int, answer: JSON) -> None:
        said = {
            b["points_currency"]: (b["pending"], b["available"], b["held"], b["debt"])
            for b in answer["balances"]
        }
        same(said, {code: self.model.balance(member, code) for code in CURRENCIES}, f"member {member}")

    def number(self, n: int) -> int:
        """One of the members there are, mostly one who is not erased, or one who never will be."""
        there = range(len(self.ids))
        living = [m for m in there if m not in self.model.members or self.model.members[m].status != "erased"]
        there = living if living and n % 4 != 3 else there
        return NOT_THERE if n == NOBODY else there[n % len(there)]

    def new_receipt(self) -> tuple[str, str]:
        self.written += 1
        return "till", f"S{self.written}"

    def ref(self, number: int) -> MemberRef:
        return MemberRef(id=self.ids[number] if number < len(self.ids) else UNKNOWN)

    # --- people ---------------------------------------------------------------------------------------------

    @rule(identifiers=st.lists(st.sampled_from(IDENTIFIERS), min_size=1, max_size=2, unique=True))
    def enrol(self, identifiers: list[tuple[str, str]]) -> None:
        result, body = self.step(commands.Enrol(tuple(map(identifier, identifiers))), "enrol", identifiers)
        if body is not None:
            number, new = result
            if new:
                self.ids.append(UUID(body["id"]))
            assert UUID(body["id"]) == self.ids[number]

    @rule(pin=st.sampled_from(("right", "wrong", "wrong", "none", "old", "right")))
    def bring_a_pin(self, pin: str) -> None:
        """What comes with the spending from here on."""
        self.pin = pin

    @rule(n=some_member)
    def set_pin(self, n: int) -> None:
        number = self.number(n)
        self.step(commands.SetPin(self.ref(number), "scrypt$of$this$one"), "set_pin", number)

    def proof(self, number: int) -> tuple[int, bool] | None:
        """As the edge would have found it."""
        version = self.model.members[number].pin if number < len(self.ids) else 0
        if not version or self.pin == "none":
            return None
        return version - (self.pin == "old"), self.pin != "wrong"

    @staticmethod
    def told_of(proof: tuple[int, bool] | None) -> commands.PinProof | None:
        return None if proof is None else commands.PinProof(*proof)

    @rule(n=some_member, one=st.sampled_from(IDENTIFIERS))
    def identify(self, n: int, one: tuple[str, str]) -> None:
        number = self.number(n)
        self.step(commands.AddIdentifier(self.ref(number), identifier(one)), "identify", number, one)

    @rule(n=member_or_nobody, status=st.sampled_from(("active", "active", "blocked", "active")))
    def change_status(self, n: int, status: str) -> None:
        number = self.number(n)
        self.step(commands.ChangeMember(self.ref(number), MemberStatus(status)), "set_status", number, status)

    @precondition(lambda self: len(self.ids) > 2)
    @rule(n=member_or_nobody)
    def erase(self, n: int) -> None:
        """Anybody, but more often somebody who owes something or has redeemed something."""
        number = self.number(n)
        if n % 3:
            told = [
                one
                for one in self.model.members
                if any(self.model.balance(one, code)[3] for code in CURRENCIES)
            ]
            told = told or [one.member for one in self.model.redemptions if one.state != "cancelled"]
            number = told[n % len(told)] if told else number
        self.step(commands.EraseMember(self.ref(number)), "erase", number)

    # --- purchases --------------------------------------------------------------------------------------------

    @rule(
        name=receipts,
        age=ages,
        basket=shapes.baskets(),
        who=some_member | st.sampled_from(IDENTIFIERS) | st.none(),
        money=st.sampled_from(("USD", "USD", "USD", "USD", "USD", "EUR")),
    )
    def purchase(
        self,
        name: tuple[str, str],
        age: timedelta,
        basket: JSON,
        who: int | tuple[str, str] | None,
        money: str,
    ) -> None:
        member = (
            None if who is None else MemberRef(identifier=identifier(who)) if isinstance(who, tuple) else None
        )
        if isinstance(who, int):
            who = self.number(who)
            member = self.ref(who)
        at = self.model.now - age
        basket = basket | {"member": who, "money": money}
        content = digest(basket, at)
        told = {name: value for name, value in basket.items() if name not in ("member", "holds")}
        command = msgspec.structs.replace(
            msgspec.convert(
                told | {"source": name[0], "external_id": name[1], "occurred_at": at}, commands.RecordPurchase
            ),
            member=member,
            holds=tuple(commands.UseHold(self.held_as(n), wanted) for n, wanted in basket.get("holds", ())),
            content_digests=(content,),
        )
        found, body = self.step(command, "purchase", name, content, len(self.answers), at, basket)
        if body is not None:
            self.activities[name] = UUID(body["id"])
            self.earned(found, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        minutes=st.integers(-15, 0) | st.integers(0, 3_600),
        some=st.lists(shapes.baskets(), min_size=1, max_size=3),
    )
    def buy(self, n: int, minutes: int, some: list[JSON]) -> None:
        """Everyday purchases with receipts of their own; the till's clock may be ahead."""
        for basket in some:
            self.purchase(self.new_receipt(), timedelta(minutes=minutes), basket, n, "USD")

    @rule(
        n=st.integers(0, NOBODY - 1),
        some=st.lists(shapes.baskets(), min_size=1, max_size=2),
        when=st.sampled_from(
            ("at once", "once active", "once spent", "once spent", "once expired", "once spent")
        ),
        then=st.sampled_from(("", "", "", "erase", "earn", "")),
    )
    def buy_and_cancel(self, n: int, some: list[JSON], when: str, then: str = "") -> None:
        """What the cancel takes back is pending, there, spent (then other points go, or a debt is left), or gone.

        Whoever owes may be erased, or earn what pays for the debt at once or when it matures.
        """
        names: list[tuple[str, str]] = []
        lots: list[Lot] = []
        for basket in some:
            names.append(self.new_receipt())
            self.purchase(names[-1], timedelta(), basket, n, "USD")
            bought = self.model.receipts.get(names[-1])
            lots += bought.lots.values() if bought is not None else ()
        if when != "at once":
            self.pass_time([lot.activates for lot in lots])
        if when == "once spent":
            for code in CURRENCIES:
                before = len(self.proposals)
                self.spend(n, code, 1, 0)
                if len(self.proposals) > before:
                    self.judge_a_proposal(0, True, True, MAX)
        if when == "once expired":
            self.pass_time([lot.ends for lot in lots if lot.expires])
        for name in names:
            self.cancel(name)
        number = self.number(n)
        if then == "erase" and len(self.ids) > 3:
            self.step(commands.EraseMember(self.ref(number)), "erase", number)
        if then == "earn":
            for code in CURRENCIES:
                self.adjust(n, code, 40, credit=True)
            lots = [lot for lots in self.model.members[number].lots.values() for lot in lots if lot.pending]
            self.pass_time([lot.activates for lot in lots])

    def pass_time(self, until: list[datetime | None]) -> None:
        """To the last of these instants, if it is still to come."""
        instants = [at for at in until if at is not None and at > self.model.now]
        if instants:
            self.step(commands.AdvanceClock(max(instants)), "advance", max(instants))

    @rule(basket=shapes.baskets(), who=st.sampled_from((NOBODY, *IDENTIFIERS)))
    def a_stranger_buys(self, basket: JSON, who: int | tuple[str, str]) -> None:
        self.purchase(self.new_receipt(), timedelta(), basket, who, "USD")

    @precondition(lambda self: self.activities)
    @rule(n=st.integers(0, 40))
    def cancel_one_of_them(self, n: int) -> None:
        self.cancel(list(self.activities)[n % len(self.activities)])

    @rule(
        basket=shapes.baskets(),
        n=st.integers(0, NOBODY - 1),
        over=st.sampled_from((None, None, timedelta(), timedelta(microseconds=1))),
    )
    def buy_as_a_guest_and_claim(self, basket: JSON, n: int, over: timedelta | None) -> None:
        """At once, at the last instant at which that is possible, or just after it."""
        name = self.new_receipt()
        self.purchase(name, timedelta(), basket, None, "USD")
        if over is not None:
            days = timedelta(days=self.model.policies.get("claim_days_max", 30))
            self.pass_time([self.model.now + days + over])
        self.claim(name, n)

    def earned(self, purchase: Any, body: JSON) -> None:
        """The answer says what the model gave; a member enrolled on the way is new to us."""
        if purchase.member is None:
            same((body["member_id"], body["earned"]), (None, []))
            return
        if purchase.member == len(self.ids):
            self.ids.append(UUID(body["member_id"]))
        assert UUID(body["member_id"]) == self.ids[purchase.member]
        earned = [
            (code, lot.points, state(lot), lot.activates, lot.expires and lot.ends)
            for (code, _), lot in purchase.lots.items()
        ]
        same([(e["points_currency"], *credit(e)) for e in body["earned"]], earned, "earned", body)
        captured = [
            (self.holds[hold.number], sum(points for _, points in parts), back, over)
            for hold, parts, back, over in purchase.paid
        ]
        told = [(UUID(c["hold_id"]), c["points"], c["released"], c["expired"]) for c in body["captured"]]
        same(told, captured, "captured", body)
        self.holds_what_the_model_says(purchase.member, body)
        self.stands_as_in_the_model(purchase.member, body["standing"])

    def stands_as_in_the_model(self, member: int, standing: list[JSON]) -> None:
        said = [
            (s["tier_set"], s["tier"], s["counted"], s["next_tier"], s["missing"], s["to_keep"])
            for s in standing
        ]
        same(said, self.model.standing(self.model.members[member]), f"the standing of member {member}")
        for one in said:
            self.world.seen[f"stands {'on a tier' if one[1] else 'below'}"] += 1

    def returned(
        self,
        own: tuple[str, str],
        of: tuple[str, str],
        lines: list[tuple[str, int | None]] | None,
        money: str | None = None,
        minutes: int = 0,
        by_id: bool = False,
    ) -> tuple[commands.ReturnPurchase, tuple[Any, ...]]:
        """A return as a command, and as the model takes it."""
        at = self.model.now + timedelta(minutes=minutes)
        content = digest(of, lines, money, at)
        asked = None if lines is None else tuple(commands.ReturnLine(*line) for line in lines)
        id = self.activities.get(of) if by_id else None
        command = commands.ReturnPurchase(
            *own,
            occurred_at=at,
            purchase_id=id,
            of=None if id else commands.ReceiptName(*of),
            lines=asked,
            money=money,
            content_digests=(content,),
        )
        return command, (own, content, len(self.answers), of, lines, money, at)

    @precondition(lambda self: self.activities)
    @rule(
        own=st.integers(0, 3) | st.none(),
        which=st.integers(0, 40),
        lines=going,
        money=st.sampled_from((None, None, "USD", "USD", "EUR")),
        minutes=st.sampled_from((0, 0, 0, 15, 16, -100_000)),
        by_id=st.booleans(),
    )
    def give_back(
        self,
        own: int | None,
        which: int,
        lines: list[tuple[str, int | None]] | None,
        money: str | None,
        minutes: int,
        by_id: bool,
    ) -> None:
        """Some lines, or all that is left, of a purchase that may be anybody's, cancelled, or returned already."""
        name = self.new_receipt() if own is None else ("till", f"B{own}")
        of = self.sold(which)
        command, about = self.returned(name, of, lines, money, minutes, by_id)
        found, body = self.step(command, "give_back", *about)
        if body is not None:
            self.gone(found, body)

    def sold(self, which: int) -> tuple[str, str]:
        """One of the purchases, or one of those of which something is left."""
        names = list(self.activities)
        if which % 3:
            known = [(name, self.model.receipts.get(name)) for name in names]
            names = [name for name, bought in known if bought and any(bought.left)] or names
        return names[-1 - which // 3 % len(names)]

    def gone(self, found: Any, body: JSON) -> None:
        """The answer says what the model says went back."""
        purchase, amount, points = found
        if purchase is None:
            same((body["purchase_id"], body["revoked"], body["amount_minor"]), (None, [], None))
            return
        revoked = {one["points_currency"]: one["points"] + one["forgiven"] for one in body["revoked"]}
        same(revoked, points, "revoked", body)
        same((body["amount_minor"], body["complete"]), (amount, not any(purchase.left)), "gone", body)
        if purchase.member is not None:
            self.holds_what_the_model_says(purchase.member, body)

    @rule(own=st.integers(0, 3), of=receipts, lines=going)
    def give_back_seen_or_unseen(
        self, own: int, of: tuple[str, str], lines: list[tuple[str, int | None]] | None
    ) -> None:
        command, about = self.returned(("till", f"B{own}"), of, lines)
        found, body = self.step(command, "give_back", *about)
        if body is not None:
            self.gone(found, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        basket=shapes.baskets(),
        parts=st.lists(going, min_size=1, max_size=4),
        guest=st.booleans(),
        between=st.sampled_from(("", "", "spend", "wait", "cancel", "claim")),
    )
    def buy_and_give_back_in_parts(
        self,
        n: int,
        basket: JSON,
        parts: list[list[tuple[str, int | None]] | None],
        guest: bool,
        between: str,
    ) -> None:
        """Part after part and then the rest, whatever else comes after the first of them."""
        of = self.new_receipt()
        self.purchase(of, timedelta(), basket, None if guest else n, "USD")
        if of not in self.activities:
            return
        there = len(basket["lines"])
        for number, asked in enumerate([*parts, None]):
            # Mostly lines that there are.
            lines = asked
            if asked is not None and n % 4:
                lines = [*{str(1 + int(line) % there): milli for line, milli in asked}.items()]
            command, about = self.returned(self.new_receipt(), of, lines, by_id=bool(number % 2))
            found, body = self.step(command, "give_back", *about)
            if body is not None:
                self.gone(found, body)
            if number == 0 and between == "spend":
                for code in CURRENCIES:
                    self.spend(n, code, 1, 0)
            if number == 0 and between == "wait":
                self.pass_time([self.model.now + timedelta(days=3)])
            if number == 0 and between == "cancel":
                self.cancel(of)
            if number == 0 and between == "claim":
                self.claim(of, n)

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 40))
    def resend_a_return_or_an_exchange_under_another_key(self, n: int) -> None:
        told = [
            s.command
            for s, status, _ in self.sent
            if isinstance(s.command, commands.ReturnPurchase | commands.ExchangePurchase) and status == 201
        ]
        if not told:
            return
        command = told[n % len(told)]
        if isinstance(command, commands.ReturnPurchase):
            name, content = (command.source, command.external_id), command.content_digests[0]
            self.step(command, "give_back", name, content, 0, name, None, None, BEGIN)
        else:
            known = [
                ((one.source, one.external_id), one.content_digests[0])
                for one in (command.returned, command.purchase)
            ]
            self.step(command, "exchange", *known, 0)

    @precondition(lambda self: self.activities)
    @rule(
        own=st.integers(0, 1) | st.none(),
        which=st.integers(0, 40),
        lines=st.sampled_from((None, None, [("1", None)], [("1", 500)], [("1", 9_999)], [("9", 1)])),
        basket=shapes.baskets(),
        n=some_member | st.none(),
        money=st.sampled_from(("USD", "USD", "USD", "EUR")),
    )
    def exchange(
        self,
        own: int | None,
        which: int,
        lines: list[tuple[str, int | None]] | None,
        basket: JSON,
        n: int | None,
        money: str,
    ) -> None:
        """Both or neither; the second half may be what is refused."""
        gone, name = self.new_receipt(), self.new_receipt()
        if own is not None:
            gone, name = ("till", f"X{own}"), ("till", f"Y{own}")
        of = self.sold(which)
        back, first = self.returned(gone, of, lines)
        who, at = None if n is None else self.number(n), self.model.now
        basket = basket | {"member": who, "money": money}
        content = digest(basket, at)
        told = {name: value for name, value in basket.items() if name != "member"}
        bought = msgspec.structs.replace(
            msgspec.convert(
                told | {"source": name[0], "external_id": name[1], "occurred_at": at}, commands.RecordPurchase
            ),
            member=None if who is None else self.ref(who),
            content_digests=(content,),
        )
        first = (*first[:2], len(self.answers) + 1, *first[3:])
        second = (name, content, len(self.answers) + 2, at, basket)
        command = commands.ExchangePurchase(back, bought)
        found, body = self.step(command, "exchange", first, second, len(self.answers))
        if body is not None:
            parts = msgspec.json.decode(self.answers[-1], type=dict[str, msgspec.Raw])
            self.answers += [bytes(parts["returned"]), bytes(parts["purchase"])]
            self.activities[name] = UUID(body["purchase"]["id"])
            returned, purchase = found
            gone = body["returned"]["revoked"]
            revoked = {one["points_currency"]: one["points"] + one["forgiven"] for one in gone}
            same(revoked, returned[2], "revoked", body)
            self.earned(purchase, body["purchase"])

    @rule(name=receipts)
    def cancel_seen_or_unseen(self, name: tuple[str, str]) -> None:
        self.cancel(name)

    def cancel(self, name: tuple[str, str]) -> None:
        _, body = self.step(commands.CancelPurchase(*name), "cancel", name, len(self.answers))
        purchase = self.model.receipts.get(name)
        if body is not None and purchase is not None and purchase.member is not None:
            self.holds_what_the_model_says(purchase.member, body)

    @rule(which=st.integers(0, 40), n=some_member)
    def claim_one_of_them(self, which: int, n: int) -> None:
        names = [*self.activities, ("till", "never seen")]
        self.claim(names[which % len(names)], n)

    def claim(self, name: tuple[str, str], n: int) -> None:
        number = self.number(n)
        command = commands.ClaimPurchase(self.activities.get(name) or UNKNOWN, self.ref(number))
        known = name if name in self.activities else ("", "")
        found, body = self.step(command, "claim", known, number, len(self.answers))
        if body is not None:
            self.earned(found, body)

    # --- holds --------------------------------------------------------------------------------------------------

    def held_as(self, number: int) -> UUID:
        return self.holds[number] if number < len(self.holds) else UNKNOWN

    def one_hold(self, n: int) -> int:
        """One of the holds there are, a late or an open one more often, or one that never will be."""
        if n == NO_HOLD or not self.holds:
            return NOT_THERE
        open_ones = [h.number for h in self.model.holds if h.parts and h.lapses > self.model.now]
        there = range(len(self.holds)) if n % 2 or not open_ones else open_ones
        return there[-1 - n // 2 % len(there)]

    def hold_for(self, n: int) -> int:
        """One of the holds; where none is open any more, mostly one that is placed now."""
        if n % 2 == 0 and not any(hold.parts and hold.lapses > self.model.now for hold in self.model.holds):
            placed = self.place(n, "points", 1, 0, 1_440)
            if placed is not None:
                return placed
        return self.one_hold(n)

    @rule(
        n=some_member,
        code=st.sampled_from((*CURRENCIES, *CURRENCIES, "stars", *CURRENCIES)),
        part=st.sampled_from((1, 2, 3, 5)),
        more=st.sampled_from((0, 0, 1, 0)),
        minutes=durations,
    )
    def place_hold(self, n: int, code: str, part: int, more: int, minutes: int | None) -> None:
        self.place(n, code, part, more, minutes)

    def place(self, n: int, code: str, part: int, more: int, minutes: int | None) -> int | None:
        """A part of what is there, all of it, or one point too many; the number of the hold, if there is one."""
        number = self.number(n)
        known = code in CURRENCIES and number < len(self.ids)
        there = self.model.balance(number, code)[1] if known else 1
        if not there and part % 2:
            self.provide(n, code, 200)
            there = self.model.balance(number, code)[1]
        points = max(1, there // part + more)
        proof = self.proof(number)
        command = commands.PlaceHold(self.ref(number), code, points, minutes, pin=self.told_of(proof))
        hold, body = self.step(command, "place_hold", number, code, points, minutes, proof)
        if body is None:
            return None
        self.holds.append(UUID(body["id"]))
        self.is_as_in_the_model(hold, body)
        self.holds_what_the_model_says(number, body)
        return hold.number

    def is_as_in_the_model(self, hold: Hold, body: JSON) -> None:
        said = (body["state"], body["points"], body["held"], body["captured"])
        same(said, (hold.state, hold.points, hold.held, hold.captured), "the hold", body)
        assert UUID(body["id"]) == self.holds[hold.number]
        assert datetime.fromisoformat(body["lapses_at"]) == hold.lapses
        ended = body["ended_at"]
        assert (None if ended is None else datetime.fromisoformat(ended)) == hold.ended
        self.holds_what_the_model_says(hold.member, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        code=st.sampled_from(CURRENCIES),
        minutes=durations,
        verbs=st.lists(
            st.sampled_from(
                ("extend", "capture", "part", "rest", "over", "release", "wait", "extend", "lost")
            ),
            min_size=1,
            max_size=5,
        ),
        ages=st.booleans(),
    )
    def place_and_use_hold(
        self, n: int, code: str, minutes: int | None, verbs: list[str], ages: bool
    ) -> None:
        """A hold and what is done with it, on its points' last days too."""
        if ages:
            lots = self.model.members[self.number(n)].lots.get(code, ())
            ends = [lot.ends for lot in lots if lot.available and lot.expires]
            self.pass_time([at - timedelta(minutes=5) for at in ends[:1]])
        placed = self.place(n, code, 1, 0, minutes)
        if placed is None:
            return
        for verb in verbs:
            match verb:
                case "extend":
                    self.extend(placed, 2 * (minutes or 15))
                case "wait":
                    self.pass_time([self.model.holds[placed].lapses - timedelta(minutes=len(verbs) % 3)])
                case "release":
                    self.release(placed)
                case "over":
                    self.capture(placed, 1, 1, False)
                case "lost":
                    self.release(NOT_THERE)
                case _:
                    self.capture(placed, None if verb == "capture" else 3, 0, verb == "rest")

    @precondition(lambda self: self.holds)
    @rule(n=some_hold, minutes=durations)
    def extend_hold(self, n: int, minutes: int | None) -> None:
        self.extend(self.hold_for(n), minutes)

    def extend(self, number: int, minutes: int | None) -> None:
        command = commands.ExtendHold(self.held_as(number), minutes)
        hold, body = self.step(command, "extend_hold", number, minutes)
        if body is not None:
            self.is_as_in_the_model(hold, body)

    @precondition(lambda self: self.holds)
    @rule(n=some_hold, part=st.sampled_from((None, 1, 1, 2, 3)), more=st.integers(0, 1), rest=st.booleans())
    def capture_hold(self, n: int, part: int | None, more: int, rest: bool) -> None:
        self.capture(self.hold_for(n), part, more, rest)

    def capture(self, number: int, part: int | None, more: int, rest: bool) -> None:
        """All that is held, a part of it, or one point too many."""
        held = self.model.holds[number].held if number < len(self.holds) else 5
        wanted = None if part is None else max(1, held // part + more)
        command = commands.CaptureHold(self.held_as(number), wanted, rest)
        result, body = self.step(command, "capture_hold", number, wanted, rest)
        if body is not None:
            hold, parts, back, over = result
            taken = sum(points for _, points in parts)
            same((body["taken"], body["released"], body["expired"]), (taken, back, over))
            self.is_as_in_the_model(hold, body)

    @precondition(lambda self: self.holds)
    @rule(n=some_hold | some_hold | some_hold | st.just(NO_HOLD))
    def release_hold(self, n: int) -> None:
        self.release(self.hold_for(n))

    def release(self, number: int) -> None:
        result, body = self.step(commands.ReleaseHold(self.held_as(number)), "release_hold", number)
        if body is not None:
            hold, back, over = result
            if back is not None:
                same((body["released"], body["expired"]), (back, over))
            self.is_as_in_the_model(hold, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        buyer=st.none() | some_member,
        basket=shapes.baskets(),
        pays=st.lists(
            st.tuples(st.sampled_from(CURRENCIES), durations, st.sampled_from((None, None, 1, 2))),
            min_size=1,
            max_size=2,
        ),
        also=st.none() | st.none() | st.none() | some_hold,
        wait=st.sampled_from((0, 0, 0, 0, 10, 1_440)),
        back=st.none() | going,
        cancel=st.sampled_from((None, 0, 0, 5 * 1_440)),
    )
    def hold_buy_and_cancel(
        self,
        n: int,
        buyer: int | None,
        basket: JSON,
        pays: list[tuple[str, int | None, int | None]],
        also: int | None,
        wait: int,
        back: list[tuple[str, int | None]] | None,
        cancel: int | None,
    ) -> None:
        """Holds pay for a purchase, sooner or later, mostly their own member's; then it is cancelled, or not.

        Another one may be named beside them that has ended, is somebody else's, or never was.
        """
        uses: list[tuple[int, int | None]] = []
        for code, minutes, part in pays:
            placed = self.place(n, code, 3, 0, minutes)
            if placed is not None:
                held = self.model.holds[placed].held
                uses.append((placed, None if part is None else max(1, held // part)))
        if wait:
            self.step(
                commands.AdvanceClock(self.model.now + timedelta(minutes=wait)),
                "advance",
                self.model.now + timedelta(minutes=wait),
            )
        if also is not None and self.one_hold(also) not in dict(uses):
            uses.append((self.one_hold(also), None))
        name = self.new_receipt()
        self.purchase(name, timedelta(), basket | {"holds": uses}, n if buyer is None else buyer, "USD")
        if back is not None:
            command, about = self.returned(self.new_receipt(), name, back)
            found, body = self.step(command, "give_back", *about)
            if body is not None:
                self.gone(found, body)
        if cancel is not None:
            if cancel:
                self.pass_time([self.model.now + timedelta(minutes=cancel)])
            self.cancel(name)

    @precondition(lambda self: self.holds)
    @rule()
    def look_at_the_holds(self) -> None:
        """What is read of every hold is what the model says it has come to."""

        async def views() -> list[Any]:
            cells = self.world.runtime.settings.cells
            async with reading(self.world.runtime.engine, self.shop.program) as connection:
                return [
                    await service.hold(connection, self.shop.program, cell_of(id, cells), id, self.model.now)
                    for id in self.holds
                ]

        for view, hold in zip(self.world.run(views()), self.model.holds, strict=True):
            over = hold.state == "open" and hold.lapses <= self.model.now
            expected = ("lapsed", 0, hold.lapses) if over else (hold.state, hold.held, hold.ended)
            same((view.state.value, view.held, view.ended_at), expected)
            same((view.captured, view.lapses_at, view.points), (hold.captured, hold.lapses, hold.points))
            same((view.reward, view.quantity or 0), (hold.reward, hold.quantity))

    # --- points without a purchase ------------------------------------------------------------------------------

    @rule(
        n=some_member,
        code=st.sampled_from((*CURRENCIES, *CURRENCIES, *CURRENCIES, "stars")),
        many=points,
        credit=st.booleans(),
        reason=st.sampled_from(("goodwill", "goodwill", "goodwill", "other", "waived")),
        by=st.sampled_from(ACTORS),
    )
    def adjust(
        self,
        n: int,
        code: str,
        many: int,
        credit: bool,
        reason: str = "goodwill",
        by: tuple[str, str, str] = SYSTEM,
    ) -> None:
        number, signed = self.number(n), many if credit else -many
        command = commands.Adjust(self.ref(number), code, signed, reason)
        proposal, body = self.step(command, "adjust", number, code, signed, reason, by, **sender(by))
        self.proposed(proposal, body)
        if body is not None and proposal is None:
            self.holds_what_the_model_says(number, body)

    @rule(
        n=some_member,
        code=st.sampled_from(CURRENCIES),
        many=st.none() | points,
        ahead=st.booleans(),
        by=st.sampled_from(ACTORS),
    )
    def reinstate(self, n: int, code: str, many: int | None, ahead: bool, by: tuple[str, str, str]) -> None:
        """Expired points come back; `ahead`: of whom something has just fallen due."""
        number = self.number(n)
        if ahead and (upcoming := self.model.upcoming()):
            at, number = upcoming[n % len(upcoming)]
            self.pass_time([at])
        command = commands.Reinstate(self.ref(number), code, many, "goodwill")
        proposal, body = self.step(command, "reinstate", number, code, many, "goodwill", by, **sender(by))
        self.proposed(proposal, body)
        if body is not None and proposal is None:
            self.holds_what_the_model_says(number, body)

    def proposed(self, proposal: int | None, body: JSON | None) -> None:
        """A proposal is made, nothing has moved."""
        if body is not None and proposal is not None:
            same((proposal, body["state"], body["balances"]), (len(self.proposals), "proposed", []))
            self.proposals.append(UUID(body["id"]))

    @rule(n=some_member, code=st.sampled_from(CURRENCIES), by=st.sampled_from(ACTORS))
    def write_off(self, n: int, code: str, by: tuple[str, str, str]) -> None:
        number = self.number(n)
        owed = self.step(
            commands.WriteOff(self.ref(number), code), "write_off", number, code, by, **sender(by)
        )
        self.proposed(*owed)

    @precondition(lambda self: self.proposals)
    @rule(
        n=st.integers(0, 12),
        newest=st.booleans(),
        approve=st.sampled_from((True, True, False)),
        by=st.sampled_from((*ACTORS, SUE, MAX)),
    )
    def judge_a_proposal(self, n: int, newest: bool, approve: bool, by: tuple[str, str, str]) -> None:
        """One of the proposals, whatever became of it, or one that was never made."""
        number = len(self.proposals) - 1 if newest and self.proposals else n % (len(self.proposals) + 1)
        id = self.proposals[number] if number < len(self.proposals) else UNKNOWN
        number = number if number < len(self.proposals) else NOT_THERE
        command = (commands.Approve if approve else commands.Reject)(id)
        _, body = self.step(command, "judge_proposal", number, approve, by, **sender(by))
        if body is not None and approve:
            self.holds_what_the_model_says(self.model.proposals[number].member, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        code=st.sampled_from(CURRENCIES),
        many=st.integers(101, 500),
        credit=st.booleans(),
        over=st.sampled_from((None, None, timedelta(days=1), timedelta(days=7))),
        verdicts=st.lists(
            st.tuples(st.sampled_from((True, True, False)), st.sampled_from((SYSTEM, SUE, MAX, MAX))),
            min_size=1,
            max_size=3,
        ),
    )
    def propose_and_judge(
        self,
        n: int,
        code: str,
        many: int,
        credit: bool,
        over: timedelta | None,
        verdicts: list[tuple[bool, tuple[str, str, str]]],
    ) -> None:
        """Perhaps too large for one person, perhaps in time, by the right people and by the wrong ones."""
        before = len(self.proposals)
        self.adjust(n, code, many, credit, by=SUE)
        if len(self.proposals) == before:
            return
        if over is not None:
            self.pass_time([self.model.now + over])
        for approve, by in verdicts:
            self.judge_a_proposal(0, True, approve, by)

    @rule(
        n=st.integers(0, NOBODY - 1),
        basket=shapes.baskets(),
        more=st.booleans(),
        by=st.sampled_from((SUE, MAX, MAX)),
    )
    def owe_and_have_it_written_off(self, n: int, basket: JSON, more: bool, by: tuple[str, str, str]) -> None:
        """What was bought is spent and cancelled; before the approval some of it may have been repaid."""
        self.buy_and_cancel(n, [small(basket)], "once spent")
        for code in CURRENCIES:
            if self.model.balance(self.number(n), code)[3]:
                self.write_off(n, code, SUE)
                if more:
                    self.provide(n, code, 7)
                if self.proposals:
                    self.judge_a_proposal(0, True, True, by)

    @rule(
        n=st.integers(0, NOBODY - 1),
        ring=st.lists(st.integers(0, NOBODY - 1), min_size=1, max_size=3),
        many=st.integers(1, 200),
        part=st.sampled_from((1, 2, 3)),
        frozen=st.sampled_from((False, False, False, True)),
        back=st.booleans(),
    )
    def bring_and_give(self, n: int, ring: list[int], many: int, part: int, frozen: bool, back: bool) -> None:
        """Points go from one to the next, perhaps from a frozen account, perhaps back to where they came from."""
        first = n
        self.provide(n, "points", many)
        if frozen:
            self.freeze(n, "points", True)
        for m in (*ring, *((first,) if back else ())):
            self.transfer(n, m, "points", 1, part, SUE)
            n = m
        if frozen:
            self.freeze(first, "points", False)

    @rule(
        n=member_or_nobody,
        code=st.sampled_from(CURRENCIES),
        frozen=st.sampled_from((False, True, False)),
    )
    def freeze(self, n: int, code: str, frozen: bool) -> None:
        number = self.number(n)
        command = (commands.Freeze if frozen else commands.Unfreeze)(self.ref(number), code, "stolen_card")
        self.step(command, "freeze", number, code, frozen)

    @rule(
        n=st.integers(0, NOBODY - 1),
        m=some_member,
        code=st.sampled_from(CURRENCIES),
        many=points,
        part=st.sampled_from((None, 1, 1, 2, 3)),
        by=st.sampled_from(ACTORS),
    )
    def transfer(
        self, n: int, m: int, code: str, many: int, part: int | None, by: tuple[str, str, str]
    ) -> None:
        """A part of what is there, all of it, or any number."""
        giver, taker = self.number(n), self.number(m)
        if part is not None:
            if not self.model.balance(giver, code)[1]:
                self.provide(n, code, many % 300 + 1)
            many = max(1, self.to_give(giver, code) // part)
            if giver == taker:  # else half of all go to the giver itself
                taker = self.number(n + 1)
        proof = self.proof(giver)
        command = commands.TransferPoints(self.ref(giver), self.ref(taker), code, many, self.told_of(proof))
        fee, body = self.step(command, "transfer", giver, taker, code, many, by, proof, **sender(by))
        if body is not None:
            same((body["points"], body["fee"]), (many, fee))
            self.holds_what_the_model_says(giver, body)

    def to_give(self, giver: int, code: str) -> int:
        """All that can be given beside the fee."""
        policy = self.model.policies.get("transfers", {})
        there = self.model.balance(giver, code)[1] - policy.get("fee_points", 0)
        return there * 10_000 // (10_000 + policy.get("fee_bps", 0))

    @rule(
        n=st.integers(0, NOBODY - 1),
        code=st.sampled_from(CURRENCIES),
        part=st.sampled_from((1, 2, 3)),
        more=st.integers(0, 1),
    )
    def spend(self, n: int, code: str, part: int, more: int) -> None:
        """A part of what is there, all of it, or one point too many."""
        available = self.model.balance(self.number(n), code)[1]
        self.adjust(n, code, max(1, available // part + more), credit=False)

    @rule(
        n=some_member,
        row=st.integers(0, 3),
        many=points,
        age=st.integers(-1, 400),
        wait=st.none() | st.integers(-1, 20),
        good=st.none() | st.integers(-1, 500) | st.integers(-1, 3),
    )
    def import_lot(self, n: int, row: int, many: int, age: int, wait: int | None, good: int | None) -> None:
        issued = self.model.now - timedelta(days=age)
        activates = None if wait is None else issued + timedelta(days=wait)
        expires = None if good is None else issued + timedelta(days=good)
        self.bring(self.number(n), "points", many, str(row), issued, activates, expires)

    def bring(
        self,
        number: int,
        code: str,
        many: int,
        row: str,
        issued: datetime,
        activates: datetime | None,
        expires: datetime | None,
    ) -> None:
        name, content = ("old", row), digest(number, many, issued, activates, expires)
        command = commands.ImportLot(
            self.ref(number), code, many, *name, issued, activates, expires, content_digests=(content,)
        )
        _, body = self.step(
            command,
            "import_lot",
            number,
            code,
            many,
            name,
            content,
            len(self.answers),
            issued,
            activates,
            expires,
        )
        if body is not None:
            self.holds_what_the_model_says(number, body)

    # --- redemptions ----------------------------------------------------------------------------------------

    @rule(
        n=some_member,
        which=st.integers(0, 9),
        quantity=st.sampled_from((1, 1, 1, 2, 5)),
        place=shapes.places,
        enough=st.booleans(),
        by=st.sampled_from(ACTORS),
    )
    def redeem(
        self, n: int, which: int, quantity: int, place: JSON, enough: bool, by: tuple[str, str, str]
    ) -> None:
        self.exchanged_for(n, which, quantity, place, enough, by)

    def exchanged_for(
        self, n: int, which: int, quantity: int, place: JSON, enough: bool, by: tuple[str, str, str]
    ) -> int | None:
        """A reward, for points that are there already or have just been given; its number, if it was got."""
        number = self.number(n)
        offered = {one["id"]: one for one in self.model.present["rewards"]}
        id = "hat" if which == 9 or not offered else list(offered)[which % len(offered)]
        if enough and id in offered and number < len(self.ids):
            reward = offered[id]
            self.provide(n, reward["points_currency"], reward["points"] * quantity)
            if reward.get("stocked") and self.model.stocks.get(id, 0) < quantity:
                self.change_stock(id, None, quantity)
        proof = self.proof(number)
        at, pin = commands.Place(**place), self.told_of(proof)
        command = commands.Redeem(self.ref(number), id, quantity, at, pin=pin)
        about = (number, id, quantity, place, len(self.answers), by, None, proof)
        return self.taken(number, *self.step(command, "redeem", *about, **sender(by)))

    def provide(self, n: int, code: str, many: int) -> None:
        """Points that are there at once and good for some days."""
        ends = self.model.now + timedelta(days=3)
        _, row = self.new_receipt()
        self.bring(self.number(n), code, many, row, self.model.now, None, ends)

    @rule(
        n=some_member,
        code=st.sampled_from((*CURRENCIES, *CURRENCIES, "stars")),
        many=st.sampled_from((3, 4, 20, 21, 25, 33, 50, 102, 150, 300)),
        place=shapes.places,
        enough=st.booleans(),
        by=st.sampled_from(ACTORS),
        times=st.sampled_from((1, 2, 3)),
    )
    def pay(
        self,
        n: int,
        code: str,
        many: int,
        place: JSON,
        enough: bool,
        by: tuple[str, str, str],
        times: int = 1,
    ) -> None:
        for _ in range(times):
            self.paid_with(n, code, many, place, enough, by)

    def paid_with(
        self, n: int, code: str, many: int, place: JSON, enough: bool, by: tuple[str, str, str]
    ) -> int | None:
        """With points that may not be there; or that are, and mostly of a points currency that pays."""
        number = self.number(n)
        if enough:
            offered = [
                one["code"] for one in self.model.present["settings"]["points_currencies"] if one["pay"]
            ]
            code = code if code in offered or not offered else offered[0]
            self.provide(n, code, many)
        proof = self.proof(number)
        at, pin = commands.Place(**place), self.told_of(proof)
        command = commands.PayWithPoints(self.ref(number), code, many, at, pin=pin)
        about = (number, code, many, place, len(self.answers), by, None, proof)
        return self.taken(number, *self.step(command, "pay", *about, **sender(by)))

    def taken(self, number: int, found: Any, body: JSON | None) -> int | None:
        """The answer says what the model took, and the database from which lots; the number of the redemption."""
        if body is None:
            return None
        self.redeemed.append(UUID(body["id"]))
        assert cell_of(self.redeemed[-1], self.world.runtime.settings.cells) == self.owner(number).cell
        points = sum(part for _, part in found.parts)
        terms = found.terms
        money = terms.get("money_minor", 0) * found.quantity
        if found.reward is None:
            money = points * terms["each_minor"] // terms["points"]
        same((body["points"], body["money_minor"], body["reward"]), (points, money, found.reward))
        stored = self.world.run(
            self.world.link.fetchval("SELECT parts FROM redemptions WHERE id = $1", self.redeemed[-1])
        )
        assert [part for _, part in json.loads(stored)] == [part for _, part in found.parts]
        self.holds_what_the_model_says(number, body)
        return len(self.redeemed) - 1

    @rule(
        n=st.integers(0, NOBODY - 1),
        wishes=st.lists(
            st.tuples(
                st.integers(0, 8) | st.sampled_from(CURRENCIES),
                st.sampled_from(("keep", "cancel", "fulfil twice", "fulfil and cancel", "cancel twice")),
            ),
            min_size=1,
            max_size=3,
        ),
        place=shapes.places,
        when=st.sampled_from(
            ("at once", "once expired", "at once", "once expired", "once erased", "once expired")
        ),
        many=st.sampled_from((20, 21, 150, 150)),
        frozen=st.sampled_from((None, None, None, *CURRENCIES)),
        by=st.sampled_from(ACTORS),
    )
    def redeem_and_think_again(
        self,
        n: int,
        wishes: list[tuple[int | str, str]],
        place: JSON,
        when: str,
        many: int,
        frozen: str | None,
        by: tuple[str, str, str],
    ) -> None:
        """What was taken is kept, handed over or given back, perhaps after its points' time was over.

        While the account is frozen nothing more is taken, and what was taken still comes back.
        """
        for wish, then in wishes:
            if isinstance(wish, str):
                taken = self.paid_with(n, wish, many, place, True, by)
            else:
                taken = self.exchanged_for(n, wish, 1, place, True, by)
            if frozen is not None:
                self.freeze(n, frozen, True)
            if taken is None:
                continue
            for _ in range({"fulfil twice": 2, "fulfil and cancel": 1}.get(then, 0)):
                self.hand_over(taken)
            if when == "once expired":
                self.pass_time(self.ends_of(taken))
            if when == "once erased" and "cancel" in then and len(self.ids) > 3:
                number = self.number(n)
                self.step(commands.EraseMember(self.ref(number)), "erase", number)
            if "cancel" in then:
                self.take_it_back(taken)
            if then == "cancel twice":
                self.take_it_back(taken)
        if frozen is not None:
            self.freeze(n, frozen, False)

    def redemption(self, n: int) -> int:
        """One of the redemptions, a late one more often, or one that never will be."""
        return NOT_THERE if n == NO_HOLD else len(self.redeemed) - 1 - n % len(self.redeemed)

    def redeemed_as(self, which: int) -> UUID:
        return self.redeemed[which] if which < len(self.redeemed) else UNKNOWN

    def ends_of(self, which: int) -> list[datetime | None]:
        """When the first of the points that were taken end."""
        return [lot.ends for lot, _ in self.model.redemptions[which].parts[:1] if lot.expires]

    @rule(
        n=some_member,
        which=st.integers(0, 9),
        quantity=st.sampled_from((1, 1, 2, 4)),
        place=shapes.places,
        enough=st.booleans(),
        minutes=durations,
        by=st.sampled_from(ACTORS),
    )
    def hold_reward(
        self,
        n: int,
        which: int,
        quantity: int,
        place: JSON,
        enough: bool,
        minutes: int | None,
        by: tuple[str, str, str],
    ) -> None:
        self.promise(n, which, quantity, place, enough, minutes, by)

    def promise(
        self,
        n: int,
        which: int,
        quantity: int,
        place: JSON,
        enough: bool,
        minutes: int | None,
        by: tuple[str, str, str],
    ) -> int | None:
        """A reward is set aside with its points; the number of the hold, if there is one."""
        number = self.number(n)
        offered = {one["id"]: one for one in self.model.present["rewards"]}
        id = "hat" if which == 9 or not offered else list(offered)[which % len(offered)]
        if enough and id in offered and number < len(self.ids):
            self.provide(n, offered[id]["points_currency"], offered[id]["points"] * quantity)
            left = self.model.stocks.get(id, 0) - self.model.kept_back(id)
            if offered[id].get("stocked") and left < quantity:
                self.change_stock(id, None, quantity)
        proof = self.proof(number)
        at, pin = commands.Place(**place), self.told_of(proof)
        command = commands.HoldReward(self.ref(number), id, quantity, minutes, at, pin)
        about = (number, id, quantity, place, minutes, by, proof)
        hold, body = self.step(command, "hold_reward", *about, **sender(by))
        if body is None:
            return None
        self.holds.append(UUID(body["id"]))
        same((body["reward"], body["quantity"]), (id, quantity))
        self.is_as_in_the_model(hold, body)
        return hold.number

    @precondition(lambda self: self.holds)
    @rule(
        n=some_hold,
        buyer=st.none() | st.none() | some_member,
        wish=st.sampled_from((None, None, *shapes.REWARDS, *CURRENCIES, 4, 20, 21, 50)),
        quantity=st.sampled_from((None, None, 1, 2, 5)),
        place=shapes.places,
        by=st.sampled_from(ACTORS),
    )
    def redeem_from_hold(
        self,
        n: int,
        buyer: int | None,
        wish: str | int | None,
        quantity: int | None,
        place: JSON,
        by: tuple[str, str, str],
    ) -> None:
        """What a hold was for, or something else, is had for its points; mostly by its own member."""
        held = self.one_hold(n)
        hold = self.model.holds[min(held, len(self.holds) - 1)]
        number = hold.member if buyer is None else self.number(buyer)
        asked, ref, at = self.held_as(held), self.ref(number), commands.Place(**place)
        if wish is None:
            wish = hold.reward or max(1, hold.held)
        if isinstance(wish, str) and wish not in CURRENCIES:
            about = (number, wish, quantity, place, len(self.answers), by, held)
            said = self.step(commands.Redeem(ref, wish, quantity, at, asked), "redeem", *about, **sender(by))
        else:
            code, many = (hold.code, wish) if isinstance(wish, int) else (wish, 20)
            about = (number, code, many, place, len(self.answers), by, held)
            said = self.step(commands.PayWithPoints(ref, code, many, at, asked), "pay", *about, **sender(by))
        self.taken(number, *said)
        if said[1] is not None:
            hold = self.model.holds[held]
            self.world.seen["redeemed from a hold" if hold.reward is None else "redeemed as promised"] += 1
            captured = said[1]["captured"]
            assert UUID(captured["hold_id"]) == asked
            same((captured["points"], hold.state), (said[1]["points"], "captured"))

    @rule(
        n=st.integers(0, NOBODY - 1),
        which=st.integers(0, 8),
        quantity=st.sampled_from((1, 1, 2)),
        place=shapes.places,
        minutes=st.sampled_from((None, None, 15, 1_440)),
        verbs=st.lists(
            st.sampled_from(
                ("redeem", "part", "again", "extend", "release", "capture", "lapse", "count", "buy")
            ),
            min_size=1,
            max_size=4,
        ),
        frozen=st.booleans(),
        by=st.sampled_from(ACTORS),
    )
    def hold_reward_and_decide(
        self,
        n: int,
        which: int,
        quantity: int,
        place: JSON,
        minutes: int | None,
        verbs: list[str],
        frozen: bool,
        by: tuple[str, str, str],
    ) -> None:
        """A reward is promised, then wanted by others, taken, left to lapse, or cancelled after it was taken."""
        placed = self.promise(n, which, quantity, place, True, minutes, by)
        if placed is None:
            return
        hold = self.model.holds[placed]
        reward, code = hold.reward, hold.code
        assert reward is not None
        if frozen:
            self.freeze(n, code, True)
        for verb in verbs:
            taken, back = len(self.redeemed), len(self.holds) - 1 - placed
            match verb:
                case "redeem":
                    self.redeem_from_hold(back, None, None, None, place, by)
                case "part":
                    self.redeem_from_hold(back, None, None, 1, place, by)
                case "again":
                    self.hold_reward(n, which, quantity, place, False, minutes, by)
                case "extend":
                    self.extend_hold(back, 2 * (minutes or 15))
                case "release":
                    self.release_hold(back)
                case "capture":
                    self.capture_hold(back, None, 0, False)
                case "lapse":
                    self.pass_time([self.model.holds[placed].lapses])
                case "count":
                    self.change_stock(reward, self.model.kept_back(reward) - 1, 0)
                case _:
                    self.redeem(n, which, quantity, place, False, by)
            if len(self.redeemed) > taken and verb != "part":
                self.take_it_back(taken)
        if frozen:
            self.freeze(n, code, False)

    @precondition(lambda self: self.redeemed)
    @rule(n=some_hold)
    def fulfil(self, n: int) -> None:
        self.hand_over(self.redemption(n))

    def hand_over(self, which: int) -> None:
        command = commands.FulfilRedemption(self.redeemed_as(which))
        self.step(command, "fulfil", which, len(self.answers))

    @precondition(lambda self: self.redeemed)
    @rule(n=some_hold, when=st.sampled_from(("at once", "at once", "once expired")))
    def cancel_redemption(self, n: int, when: str) -> None:
        which = self.redemption(n)
        if when == "once expired" and which < len(self.redeemed):
            self.pass_time(self.ends_of(which))
        self.take_it_back(which)

    def take_it_back(self, which: int) -> None:
        """Its points come back to their lots; when these have ended meanwhile, as the program says."""
        command = commands.CancelRedemption(self.redeemed_as(which), "changed_mind")
        result, body = self.step(command, "cancel_redemption", which, len(self.answers))
        if body is not None:
            found, lost = result
            late = body["expired"] + body["reinstated"]
            same((body["expired"], body["points"]), (lost, sum(part for _, part in found.parts)))
            self.world.seen.update(
                {f"cancel_redemption, {w}": 1 for w in ("expired", "reinstated") if body[w]}
            )
            assert late <= body["points"]
            self.holds_what_the_model_says(found.member, body)

    @rule(
        which=st.sampled_from((*shapes.REWARDS, *shapes.REWARDS, "hat")),
        to=st.none() | st.integers(0, 5),
        by=st.sampled_from((-9, -3, -1, 1, 2, 5)),
    )
    def change_stock(self, which: str, to: int | None, by: int) -> None:
        command = commands.ChangeStock(which, "delivery", to, 0 if to is not None else by)
        after, body = self.step(command, "stock", which, to, by)
        if body is not None:
            same((body["stock"], body["reserved"]), (after, self.model.kept_back(which)))

    # --- the program itself -----------------------------------------------------------------------------------

    @rule(
        configuration=configurations,
        ahead=st.sampled_from((None, None, None, timedelta(days=2), timedelta(days=40), timedelta(hours=-1))),
        replaces=st.booleans(),
    )
    def publish(self, configuration: JSON, ahead: timedelta | None, replaces: bool) -> None:
        """At once, ahead, for an hour that has passed, or in the place of what is planned already."""
        effective = None if ahead is None else self.model.now + ahead
        planned = [since for since, _ in self.model.history if since > self.model.now]
        if replaces and planned:
            effective = planned[0]
        command = commands.Publish(msgspec.convert(configuration, Configuration), effective)
        self.step(command, "publish", configuration, effective)

    @rule(what=st.sampled_from(("money", "zone", "points_currencies")))
    def publish_what_is_fixed(self, what: str) -> None:
        """Money and zone stay what they are, and no points currency goes."""
        told = self.model.present["settings"]
        other = {"money": "EUR", "zone": "Europe/Vienna", "points_currencies": told["points_currencies"][:1]}
        self.publish(
            {"settings": told | {what: other[what]}, "ruleset": {"version": 1}}, None, replaces=False
        )

    @rule(days=st.integers(1, 40))
    def wait(self, days: int) -> None:
        self.advance(days * 86_400, None)

    @rule(
        by=st.sampled_from((-1, 0, 1, 3_600, 86_400, 3 * 86_400, 31 * 86_400, 91 * 86_400)),
        due=st.sampled_from((None, None, timedelta(), timedelta(microseconds=-1))),
    )
    def advance(self, by: int, due: timedelta | None) -> None:
        """By some time, or to the very instant at which something falls due, or the last before it."""
        to = self.model.now + timedelta(seconds=by)
        upcoming = [at for at in self.model.due() if at > self.model.now]
        if due is not None and upcoming:
            to = max(self.model.now, min(upcoming) + due)
        self.step(commands.AdvanceClock(to), "advance", to)

    @rule(n=member_or_nobody, days=st.integers(0, 40), stops=st.integers(0, 3))
    def move_the_clock(self, n: int, days: int, stops: int) -> None:
        """As a run does it: what is due of somebody is settled at every stop, and nobody else writes."""
        begun, to = self.model.now, self.model.now + timedelta(days=days)
        self.step(commands.MoveClock(to), "move_clock", to)
        for stop in range(1, stops + 1):
            self.step(commands.EraseMember(self.ref(self.number(n))), "erase", self.number(n))
            self.adjust(n, CURRENCIES[0], 40, credit=True)
            at = begun + (to - begun) * stop / (stops + 1)
            self.step(commands.AdvanceClock(at), "advance", at)
            self.settle_due(n, ahead=False)
        self.step(commands.MoveClock(to), "move_clock", to)
        self.step(commands.AdvanceClock(to), "advance", to)

    @rule(
        where=st.sampled_from(("clocks change", "month ends", "leap day")),
        by=st.sampled_from((timedelta(microseconds=-1), timedelta(), timedelta(hours=2))),
    )
    def jump(self, where: str, by: timedelta) -> None:
        """To where calendars go wrong: just before it, there, or a little later."""
        to = max(self.model.now, next_edge(where, self.model.now) + by)
        self.step(commands.AdvanceClock(to), "advance", to)

    @rule(n=member_or_nobody, ahead=st.sampled_from((True, True, False)))
    def settle_due(self, n: int, ahead: bool) -> None:
        """What the sweep does for a member that nobody touches; `ahead`: once something has fallen due."""
        number = self.number(n)
        if ahead and (upcoming := self.model.upcoming()):
            at, number = upcoming[n % len(upcoming)]
            self.pass_time([at])
        member_id = self.ref(number).id
        assert member_id is not None
        now = self.model.now
        _, body = self.step(commands.Settle(member_id), "settle_due", number)
        if body is not None:
            self.holds_what_the_model_says(number, body)
        due = "SELECT count(*) FROM accounts WHERE owner_id = $1 AND next_due_at <= $2"
        assert self.world.run(self.world.link.fetchval(due, member_id, now)) == 0

    @rule(
        n=some_member,
        tier_set=st.sampled_from(("status", "often", "status", "other")),
        tier=st.sampled_from(("silver", "gold", None, "gold", "none")),
        days=st.sampled_from((None, 1, 20, 0)),
    )
    def give_tier(self, n: int, tier_set: str, tier: str | None, days: int | None) -> None:
        number = self.number(n)
        until = None if days is None else self.model.now + timedelta(days=days)
        command = commands.GiveTier(self.ref(number), tier_set, tier, until, "goodwill")
        found, body = self.step(command, "give_tier", number, tier_set, tier, until)
        if body is not None:
            (meant,) = [one for one in found if one[0] == tier_set]
            same((body["standing"]["tier"], body["standing"]["counted"]), (meant[1], meant[2]))

    @rule(back=st.integers(0, 2))
    def close_day(self, back: int) -> None:
        on = self.model.now.astimezone(ZoneInfo("America/New_York")).date() - timedelta(days=back)
        self.step(commands.CloseDay(on), "close_day", on)

    # --- the same again ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 40), scope=st.sampled_from((False, False, False, True)))
    def repeat(self, n: int, scope: bool) -> None:
        """The same key and request: the same answer byte for byte, and nothing written."""
        submission, status, body = self.sent[n % len(self.sent)]
        before = self.trace()
        answer = self.send(submission)
        same((answer.status, answer.body, answer.replayed), (status, body, True))
        assert before == self.trace(), "a replay left a trace"
        self.world.seen["repeat replayed"] += 1

    @precondition(lambda self: self.made)
    @rule(n=st.integers(0, 40))
    def resend_under_another_key(self, n: int) -> None:
        """What happened once is told again, or what has come of it since; each kind as often as the others."""
        kinds = sorted({name for _, name, _ in self.made})
        of_kind = [one for one in self.made if one[1] == kinds[n % len(kinds)]]
        command, name, about = of_kind[-1 - n // len(kinds) % len(of_kind)]
        self.step(command, name, *about)

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 40))
    def reuse_a_key(self, n: int) -> None:
        """The same key with another request: refused, and nothing written."""
        submission, _, _ = self.sent[n % len(self.sent)]
        assert submission.idempotency is not None
        other = msgspec.structs.replace(
            submission,
            idempotency=msgspec.structs.replace(submission.idempotency, fingerprints=(digest("other"),)),
        )
        before = self.trace()
        answer = self.send(other)
        same((answer.status, json.loads(answer.body)["code"]), (422, "idempotency_key_reused"))
        assert before == self.trace(), "a refusal left a trace"
        self.world.seen["reuse refused"] += 1


def small(basket: JSON) -> JSON:
    """As if everything had cost next to nothing: what it gives may be owed."""
    lines = [line | {"amount_minor": line["amount_minor"] // 20, "tax_minor": 0} for line in basket["lines"]]
    return {name: told for name, told in basket.items() if name != "tenders"} | {"lines": lines}


def identifier(named: tuple[str, str]) -> Identifier:
    return Identifier(IdentifierKind(named[0]), named[1])


def next_edge(where: str, now: datetime) -> datetime:
    """The next midnight of New York after `now` at which a month or a leap day begins or the clocks change that day."""
    zone = ZoneInfo("America/New_York")
    on = now.astimezone(zone).date()
    while True:
        on += timedelta(days=1)
        begins, ends = (datetime.combine(on + timedelta(days=d), time.min, zone) for d in (0, 1))
        found = {
            "clocks change": begins.utcoffset() != ends.utcoffset(),
            "month ends": on.day == 1,
            "leap day": (on.month, on.day) == (2, 29),
        }
        if found[where]:
            return begins.astimezone(UTC)


def state(lot: Any) -> str:
    return "pending" if lot.pending else "expired" if lot.expired else "available"


def credit(earned: JSON) -> tuple[Any, ...]:
    activates, expires = (
        None if earned[name] is None else datetime.fromisoformat(earned[name])
        for name in ("activates_at", "expires_at")
    )
    return earned["points"], earned["state"], activates, expires


# A planted bug need only be noticed, not told in few steps.
QUICK = (Phase.explicit, Phase.generate) if "PROOF_QUICK" in os.environ else tuple(Phase)


def play(database: Database, examples: int, steps: int, cells: int = 1) -> None:
    """Run examples of the machine on one runtime and tell what they reached."""
    world = World(database, cells)
    machine = type("Machine", (Commands,), {"world": world})
    if chosen := os.environ.get("PROOF_SEED"):
        seed(int(chosen))(machine)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples * proof_size(),
                stateful_step_count=steps,
                phases=QUICK,
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
            ),
        )
        moves = "SELECT source || ' > ' || target, count(*) FROM public.postings GROUP BY 1"
        world.seen.update({f"moved {what}": n for what, n in world.run(world.link.fetch(moves))})
    finally:
        world.close()
    told(world.seen, world.steps)


def written_already(name: str, body: JSON) -> bool:
    """Whether a sweep found nothing due where the model had something: it settles an account when it looks at it,
    the road all accounts of a member whose balances it tells.
    """
    return name == "settle_due" and body.get("code") == "nothing_due"


REACHED = (
    "purchase accepted", "purchase again", "purchase activity_differs", "purchase too_old", "purchase in_future",
    "purchase purchase_cancelled", "purchase member_blocked", "purchase member_not_found", "cancel accepted",
    "cancel again", "give_back accepted", "give_back again", "give_back activity_differs",
    "give_back exceeds_purchase", "give_back already_returned", "give_back purchase_cancelled",
    "give_back return_invalid", "give_back purchase_not_found", "give_back currency_mismatch", "give_back in_future",
    "give_back insufficient_points", "exchange accepted", "exchange activity_differs",
    "exchange currency_not_supported", "exchange exceeds_purchase", "claim already_returned", "claim accepted",
    "claim already_claimed", "adjust accepted", "adjust insufficient_points",
    "exchange again", "import_lot accepted", "import_lot again",
    "import_lot activity_differs", "enrol accepted", "enrol identifiers_conflict",
    "identify identifier_taken", "erase accepted", "publish accepted",
    "publish effective_in_past", "advance accepted", "move_clock accepted", "move_clock clock_moving",
    "adjust clock_moving", "close_day accepted", "settle_due accepted",
    "settle_due nothing_due", "give_tier accepted", "give_tier tier_invalid", "give_tier tier_set_not_found",
    "stands on a tier", "stands below",
    "repeat replayed", "reuse refused", "moved pending > available", "moved available > expired",
    "moved available > redeemed", "moved pending > revoked", "moved available > revoked", "moved held > redeemed",
    "moved held > available", "moved redeemed > available", "place_hold accepted", "place_hold insufficient_points",
    "place_hold hold_too_long", "extend_hold accepted", "extend_hold hold_lapsed", "capture_hold accepted",
    "capture_hold hold_captured", "capture_hold hold_lapsed", "capture_hold hold_released",
    "capture_hold insufficient_points", "release_hold accepted", "release_hold hold_not_found",
    "purchase hold_lapsed", "purchase hold_of_another_member", "purchase hold_not_found", "purchase hold_released",
    "purchase hold_captured",
    "hold_reward accepted", "hold_reward, sold_out", "hold_reward, limit_reached", "hold_reward account_frozen",
    "hold_reward insufficient_points",
    "hold_reward quantity_too_large", "hold_reward hold_too_long", "hold_reward spending_limit",
    "redeemed as promised", "redeemed from a hold", "redeem hold_lapsed", "redeem hold_captured",
    "redeem hold_released", "redeem hold_for_reward", "redeem hold_of_another_member", "pay hold_for_reward",
    "capture_hold hold_for_reward",
    "redeem accepted", "redeem reward_unavailable", "redeem insufficient_points", "redeem reward_not_found",
    "redeem quantity_too_large", "redeem, sold_out", "redeem, limit_reached", "redeem, tenure", "redeem, identifier",
    "pay accepted", "pay payment_not_offered", "pay points_below_minimum", "pay points_not_in_step",
    "pay day_limit_reached", "pay insufficient_points", "fulfil accepted", "fulfil again", "cancel_redemption accepted",
    "cancel_redemption again", "cancel_redemption not_returnable", "cancel_redemption, expired",
    "cancel_redemption, reinstated", "stock accepted", "stock stock_not_kept", "stock stock_out_of_range",
    "moved redeemed > available", "moved expired > available",
    "redeem account_frozen", "redeem spending_limit", "pay account_frozen",
    "pay spending_limit", "place_hold account_frozen", "place_hold spending_limit",
    "adjust proposed", "adjust adjustment_limit", "adjust reason_unknown", "adjust account_frozen",
    "adjust spending_limit", "reinstate accepted", "reinstate too_few_expired", "reinstate reinstatements_off",
    "reinstate proposed",
    "judge_proposal accepted", "judge_proposal own_proposal", "judge_proposal people_only",
    "judge_proposal proposal_decided", "judge_proposal proposal_lapsed", "judge_proposal insufficient_points",
    "freeze accepted", "transfer accepted", "transfer account_frozen", "transfer insufficient_points",
    "transfer transfer_limit", "transfer transfer_out_of_range", "transfer transfer_to_self", "transfer transfers_off",
    "moved available > transferred", "write_off proposed", "set_pin accepted",
    *(f"{what} {why}" for what in ("pay", "redeem", "hold_reward", "place_hold")
      for why in ("pin_required", "pin_wrong", "pin_locked", "pin_changed")),
    "transfer pin_wrong",
)  # fmt: skip


def told(seen: Counter[str], steps: int) -> None:
    """What was reached; agreement about nothing would mean nothing, so very long runs must have reached all of it.

    Shorter ones need not: the simulation, which runs longer, says itself what it did not reach.
    """
    accepted = sum(n for what, n in seen.items() if what.endswith("accepted"))
    print(f"\n{steps} commands, {accepted} accepted ({accepted * 100 // max(1, steps)} %)")
    for what, n in sorted(seen.items()):
        print(f"  {n:6} {what}")
    if steps > 3_000:
        assert accepted * 100 > steps * 45
    if steps > 20_000:
        missed = [what for what in REACHED if not seen[what]]
        assert not missed, missed
