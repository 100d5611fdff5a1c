"""The program and its model side by side: the machine that drives both.

Hypothesis chooses the commands and the moments; the program runs them through the real pipe on the real database,
the model (model.py) in memory. After every step all invariants of checks.py hold, a refused command has left no
trace but its record, and every answer is the one the model predicts, error codes included.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
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
from loyalty.posting.runtime import Runtime
from loyalty.posting.validate import faults
from tests.conftest import Database
from tests.isolation import dump
from tests.laws import checks, shapes
from tests.laws.model import Again, Hold, Lot, Model, No
from tests.laws.shop import JSON, Shop, digest, open_shop, serving

BEGIN = datetime(2026, 3, 6, 17, tzinfo=UTC)  # two days before the clocks of New York jump
CURRENCIES = ("points", "miles")
DECISIONS = {"exchange": 3}  # of one command: its two parts and their whole
UNTOUCHED_BY_REFUSALS = ("idempotency_records", "audit_log")
IDENTIFIERS = tuple((kind, f"{kind}{n}") for kind in ("card", "phone", "email", "external") for n in range(2))

expiries = st.sampled_from(
    (
        {"kind": "rolling", "days": 1},
        {"kind": "rolling", "days": 3},
        {"kind": "rolling", "days": 3},
        {"kind": "rolling", "days": 30},
        {"kind": "never"},
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
            "negative": st.sampled_from(("floor", "floor", "prevent", "waive")),
            "floor": st.sampled_from((100_000, 300, 60, 20, 0)),
            "tax_earns": st.booleans(),
            "excluded_tenders": st.sampled_from(((), ("gift",))),
            "spendable": st.sampled_from((*[True] * 4, False, *[True] * 4)),
            "hold_grace_days": st.sampled_from((0, 0, 2)),
            "pay": st.none() | shapes.pays | shapes.pays,
        }
    ).map(lambda one: one if one["spendable"] else one | {"pay": None})


policies = st.fixed_dictionaries(
    {
        "hold_minutes": st.sampled_from((15, 1_440)),
        "hold_days_max": st.sampled_from((1, 30)),
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
            lambda base, more: {"version": 1, "rules": base + more}, simple_rules, shapes.rules(CURRENCIES)
        ),
        "rewards": shapes.rewards(CURRENCIES),
    }
).map(publishable)
NOBODY = 11
NOT_THERE = 1_000_000
UNKNOWN = UUID("01900000-0000-7000-8000-000000000000")
some_member = st.integers(0, NOBODY)
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

    def __init__(self, database: Database, cells: int) -> None:
        self.runner = asyncio.Runner()
        self.clock = SteadyClock()
        self._serving = serving(database, cells=cells, clock=self.clock)
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
        await link.execute("SET search_path = one, public")
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
        self.accepted = 1
        self.past: list[tuple[int, datetime, datetime, Any]] = []

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
        before = None if expected is None else self.trace(UNTOUCHED_BY_REFUSALS)
        answer = self.send(submission)
        said = self.judge(submission, name, result, expected, answer)
        if expected is not None:
            assert before == self.trace(UNTOUCHED_BY_REFUSALS), "a refusal left a trace"
        self.check()
        return said

    def predict(self, name: str, *about: Any) -> tuple[Any, No | Again | None]:
        """What the model makes of a command: its result, or why there is none."""
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
        self, submission: Submission, name: str, result: Any, expected: No | Again | None, answer: Answer
    ) -> tuple[Any, JSON | None]:
        """The answer is the predicted one; the model's result and what was said, if it was accepted."""
        world = self.world
        world.steps += 1
        body = json.loads(answer.body)
        self.tell(f"{name} {answer.status} {body.get('code', '')}")
        self.sent.append((submission, answer.status, answer.body))
        match expected:
            case No(status=status, code=code, reasons=reasons):
                assert (answer.status, body.get("code"), answer.replayed) == (status, code, False)
                if reasons is not None:
                    assert [one["reason"] for one in body["reasons"]] == reasons
                    world.seen.update(f"{name} {reason}" for reason in reasons)
                world.seen[f"{name} {code}"] += 1
            case Again(answer=first):
                assert (answer.status, answer.body, answer.replayed) == (200, self.answers[first], True)
                world.seen[f"{name} again"] += 1
            case None:
                assert answer.status in (200, 201), body
                assert not answer.replayed
                self.answers.append(answer.body)
                self.accepted += DECISIONS.get(name, 1)
                world.seen[f"{name} accepted"] += 1
                return result, body
        return None, None

    def check(self) -> None:
        """All invariants, and one decision for each accepted command."""
        world = self.world
        broken = world.run(checks.broken(world.link))
        assert not broken, broken
        assert world.run(world.link.fetchval("SELECT count(*) FROM decisions")) == self.accepted
        for number in range(len(self.ids)):
            read = {
                b.points_currency: (b.pending, b.available, b.held, b.debt)
                for b in self.read(number).balances
            }
            assert read == {code: self.model.balance(number, code) for code in CURRENCIES}

    def read(self, member: int, **moments: datetime) -> Balances:
        """A member's balances as the API reads them."""

        async def balances() -> Balances:
            runtime = self.world.runtime
            history = await runtime.history(self.shop.program)
            async with reading(runtime.engine, self.shop.program) as connection:
                return await service.balances(
                    connection,
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
        assert self.read(member, as_of=as_of, recorded_by=recorded_by).balances == balances

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
                assert held == [line.pending, line.available, line.held, line.debt]
                assert line.words
            assert tuple(held) == self.model.balance(n % len(self.ids), code)

    def teardown(self) -> None:
        """The auditor finds nothing."""
        report = self.world.run(verify(self.world.auditor.acquire, self.shop.program))
        assert report.intact, report.findings
        assert report.figures.decisions == self.accepted

    def holds_what_the_model_says(self, member: int, answer: JSON) -> None:
        said = {
            b["points_currency"]: (b["pending"], b["available"], b["held"], b["debt"])
            for b in answer["balances"]
        }
        assert said == {code: self.model.balance(member, code) for code in CURRENCIES}

    def number(self, n: int) -> int:
        """One of the members there are, or one who never will be."""
        return NOT_THERE if n == NOBODY else n % len(self.ids)

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

    @rule(n=some_member, one=st.sampled_from(IDENTIFIERS))
    def identify(self, n: int, one: tuple[str, str]) -> None:
        number = self.number(n)
        self.step(commands.AddIdentifier(self.ref(number), identifier(one)), "identify", number, one)

    @rule(n=some_member, status=st.sampled_from(("active", "active", "blocked")))
    def change_status(self, n: int, status: str) -> None:
        number = self.number(n)
        self.step(commands.ChangeMember(self.ref(number), MemberStatus(status)), "set_status", number, status)

    @precondition(lambda self: len(self.ids) > 2)
    @rule(n=some_member)
    def erase(self, n: int) -> None:
        number = self.number(n)
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
            self.purchase(("till", f"S{len(self.sent)}"), timedelta(minutes=minutes), basket, n, "USD")

    @rule(
        n=st.integers(0, NOBODY - 1),
        some=st.lists(shapes.baskets(), min_size=1, max_size=2),
        when=st.sampled_from(("at once", "once active", "once spent", "once spent", "once expired")),
    )
    def buy_and_cancel(self, n: int, some: list[JSON], when: str) -> None:
        """What the cancel takes back is pending, there, spent (then other points go, or a debt is left), or gone."""
        names: list[tuple[str, str]] = []
        lots: list[Lot] = []
        for basket in some:
            names.append(("till", f"S{len(self.sent)}"))
            self.purchase(names[-1], timedelta(), basket, n, "USD")
            bought = self.model.receipts.get(names[-1])
            lots += bought.lots.values() if bought is not None else ()
        if when != "at once":
            self.pass_time([lot.activates for lot in lots])
        if when == "once spent":
            for code in CURRENCIES:
                self.spend(n, code, 1, 0)
        if when == "once expired":
            self.pass_time([lot.expires for lot in lots])
        for name in names:
            self.cancel(name)

    def pass_time(self, until: list[datetime | None]) -> None:
        """To the last of these instants, if it is still to come."""
        instants = [at for at in until if at is not None and at > self.model.now]
        if instants:
            self.step(commands.AdvanceClock(max(instants)), "advance", max(instants))

    @rule(basket=shapes.baskets(), who=st.sampled_from((NOBODY, *IDENTIFIERS)))
    def a_stranger_buys(self, basket: JSON, who: int | tuple[str, str]) -> None:
        self.purchase(("till", f"S{len(self.sent)}"), timedelta(), basket, who, "USD")

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
        name = ("till", f"S{len(self.sent)}")
        self.purchase(name, timedelta(), basket, None, "USD")
        if over is not None:
            days = timedelta(days=self.model.policies.get("claim_days_max", 30))
            self.pass_time([self.model.now + days + over])
        self.claim(name, n)

    def earned(self, purchase: Any, body: JSON) -> None:
        """The answer says what the model gave; a member enrolled on the way is new to us."""
        if purchase.member is None:
            assert (body["member_id"], body["earned"]) == (None, [])
            return
        if purchase.member == len(self.ids):
            self.ids.append(UUID(body["member_id"]))
        assert UUID(body["member_id"]) == self.ids[purchase.member]
        assert {e["points_currency"]: credit(e) for e in body["earned"]} == {
            code: (lot.points, state(lot), lot.activates, lot.expires) for code, lot in purchase.lots.items()
        }
        assert [(UUID(c["hold_id"]), c["points"], c["released"], c["expired"]) for c in body["captured"]] == [
            (self.holds[hold.number], sum(points for _, points in parts), back, over)
            for hold, parts, back, over in purchase.paid
        ]
        self.holds_what_the_model_says(purchase.member, body)

    @precondition(lambda self: self.sent)
    @rule(n=st.integers(0, 40))
    def resend_a_purchase_under_another_key(self, n: int) -> None:
        told = [
            s
            for s, status, _ in self.sent
            if isinstance(s.command, commands.RecordPurchase) and status == 201
        ]
        if told:
            command = told[n % len(told)].command
            assert isinstance(command, commands.RecordPurchase)
            name = (command.source, command.external_id)
            self.step(command, "purchase", name, command.content_digests[0], 0, BEGIN, {})

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
        name = ("till", f"B{own if own is not None else 100 + len(self.sent)}")
        of = list(self.activities)[which % len(self.activities)]
        command, about = self.returned(name, of, lines, money, minutes, by_id)
        found, body = self.step(command, "give_back", *about)
        if body is not None:
            self.gone(found, body)

    def gone(self, found: Any, body: JSON) -> None:
        """The answer says what the model says went back."""
        purchase, amount, points = found
        if purchase is None:
            assert (body["purchase_id"], body["revoked"], body["amount_minor"]) == (None, [], None)
            return
        assert {one["points_currency"]: one["points"] + one["forgiven"] for one in body["revoked"]} == points
        assert (body["amount_minor"], body["complete"]) == (amount, not any(purchase.left))
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
        of = ("till", f"S{len(self.sent)}")
        self.purchase(of, timedelta(), basket, None if guest else n, "USD")
        if of not in self.activities:
            return
        for number, lines in enumerate([*parts, None]):
            command, about = self.returned(("till", f"S{len(self.sent)}"), of, lines, by_id=bool(number % 2))
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

    @precondition(lambda self: self.activities)
    @rule(
        own=st.integers(0, 1) | st.none(),
        which=st.integers(0, 40),
        lines=going,
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
        number = 100 + len(self.sent) if own is None else own
        of = list(self.activities)[which % len(self.activities)]
        back, first = self.returned(("till", f"X{number}"), of, lines)
        who = None if n is None else self.number(n)
        name, at = ("till", f"Y{number}"), self.model.now
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
            assert {
                one["points_currency"]: one["points"] + one["forgiven"] for one in body["returned"]["revoked"]
            } == returned[2]
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
        """One of the holds there are, a late one more often, or one too many."""
        return len(self.holds) if n == NO_HOLD else max(0, len(self.holds) - 1 - n % (len(self.holds) or 1))

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
            self.adjust(n, code, 200, credit=True)
            there = self.model.balance(number, code)[1]
        points = max(1, there // part + more)
        command = commands.PlaceHold(self.ref(number), code, points, minutes)
        hold, body = self.step(command, "place_hold", number, code, points, minutes)
        if body is None:
            return None
        self.holds.append(UUID(body["id"]))
        self.is_as_in_the_model(hold, body)
        self.holds_what_the_model_says(number, body)
        return hold.number

    def is_as_in_the_model(self, hold: Hold, body: JSON) -> None:
        assert (body["state"], body["points"], body["held"], body["captured"]) == (
            hold.state,
            hold.points,
            hold.held,
            hold.captured,
        )
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
            st.sampled_from(("extend", "capture", "part", "rest", "release", "wait", "extend")),
            min_size=1,
            max_size=4,
        ),
        ages=st.booleans(),
    )
    def place_and_use_hold(
        self, n: int, code: str, minutes: int | None, verbs: list[str], ages: bool
    ) -> None:
        """A hold and what is done with it, on its points' last days too."""
        if ages:
            lots = self.model.members[self.number(n)].lots.get(code, ())
            ends = [lot.expires for lot in lots if lot.available and lot.expires]
            self.pass_time([at - timedelta(minutes=5) for at in ends[:1]])
        placed = self.place(n, code, 1, 0, minutes)
        if placed is None:
            return
        back = len(self.holds) - 1 - placed
        for verb in verbs:
            match verb:
                case "extend":
                    self.extend_hold(back, 2 * (minutes or 15))
                case "wait":
                    self.pass_time([self.model.holds[placed].lapses - timedelta(minutes=len(verbs) % 3)])
                case "release":
                    self.release_hold(back)
                case _:
                    self.capture_hold(back, None if verb == "capture" else 3, 0, verb == "rest")

    @precondition(lambda self: self.holds)
    @rule(n=some_hold, minutes=durations)
    def extend_hold(self, n: int, minutes: int | None) -> None:
        number = self.one_hold(n)
        command = commands.ExtendHold(self.held_as(number), minutes)
        hold, body = self.step(command, "extend_hold", number, minutes)
        if body is not None:
            self.is_as_in_the_model(hold, body)

    @rule(
        n=some_hold, part=st.sampled_from((None, None, 1, 2, 3)), more=st.integers(0, 1), rest=st.booleans()
    )
    def capture_hold(self, n: int, part: int | None, more: int, rest: bool) -> None:
        """All that is held, a part of it, or one point too many."""
        number = self.one_hold(n)
        held = self.model.holds[number].held if number < len(self.holds) else 5
        wanted = None if part is None else max(1, held // part + more)
        command = commands.CaptureHold(self.held_as(number), wanted, rest)
        result, body = self.step(command, "capture_hold", number, wanted, rest)
        if body is not None:
            hold, parts, back, over = result
            taken = sum(points for _, points in parts)
            assert (body["taken"], body["released"], body["expired"]) == (taken, back, over)
            self.is_as_in_the_model(hold, body)

    @precondition(lambda self: self.holds)
    @rule(n=some_hold)
    def release_hold(self, n: int) -> None:
        number = self.one_hold(n)
        result, body = self.step(commands.ReleaseHold(self.held_as(number)), "release_hold", number)
        if body is not None:
            hold, back, over = result
            if back is not None:
                assert (body["released"], body["expired"]) == (back, over)
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
        wait=st.sampled_from((0, 0, 0, 0, 10, 1_440)),
        cancel=st.sampled_from((None, 0, 0, 5 * 1_440)),
    )
    def hold_buy_and_cancel(
        self,
        n: int,
        buyer: int | None,
        basket: JSON,
        pays: list[tuple[str, int | None, int | None]],
        wait: int,
        cancel: int | None,
    ) -> None:
        """Holds pay for a purchase, sooner or later, mostly their own member's; then it is cancelled, or not."""
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
        name = ("till", f"S{len(self.sent)}")
        self.purchase(name, timedelta(), basket | {"holds": uses}, n if buyer is None else buyer, "USD")
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
            assert (view.state.value, view.held, view.ended_at) == expected
            assert (view.captured, view.lapses_at, view.points) == (hold.captured, hold.lapses, hold.points)

    # --- points without a purchase ------------------------------------------------------------------------------

    @rule(
        n=some_member,
        code=st.sampled_from((*CURRENCIES, *CURRENCIES, *CURRENCIES, "stars")),
        many=points,
        credit=st.booleans(),
    )
    def adjust(self, n: int, code: str, many: int, credit: bool) -> None:
        number, signed = self.number(n), many if credit else -many
        _, body = self.step(
            commands.Adjust(self.ref(number), code, signed, "goodwill"), "adjust", number, code, signed
        )
        if body is not None:
            self.holds_what_the_model_says(number, body)

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
        good=st.none() | st.integers(-1, 500),
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
    )
    def redeem(self, n: int, which: int, quantity: int, place: JSON, enough: bool) -> None:
        """A reward, for points that are there already or have just been given."""
        number = self.number(n)
        offered = {one["id"]: one for one in self.model.present["rewards"]}
        id = "hat" if which == 9 or not offered else list(offered)[which % len(offered)]
        if enough and id in offered and number < len(self.ids):
            reward = offered[id]
            self.provide(n, reward["points_currency"], reward["points"] * quantity)
            if reward.get("stocked") and self.model.stocks.get(id, 0) < quantity:
                self.change_stock(id, None, quantity)
        command = commands.Redeem(self.ref(number), id, quantity, commands.Place(**place))
        self.taken(number, *self.step(command, "redeem", number, id, quantity, place, len(self.answers)))

    def provide(self, n: int, code: str, many: int) -> None:
        """Points that are there at once and good for some days."""
        ends = self.model.now + timedelta(days=3)
        self.bring(self.number(n), code, many, f"W{len(self.sent)}", self.model.now, None, ends)

    @rule(
        n=some_member,
        code=st.sampled_from((*CURRENCIES, *CURRENCIES, "stars")),
        many=st.sampled_from((3, 4, 20, 21, 25, 33, 50, 102, 150, 300)),
        place=shapes.places,
        enough=st.booleans(),
    )
    def pay(self, n: int, code: str, many: int, place: JSON, enough: bool) -> None:
        number = self.number(n)
        if enough:
            self.provide(n, code, many)
        command = commands.PayWithPoints(self.ref(number), code, many, commands.Place(**place))
        self.taken(number, *self.step(command, "pay", number, code, many, place, len(self.answers)))

    def taken(self, number: int, found: Any, body: JSON | None) -> None:
        """The answer says what the model took, and the database from which lots."""
        if body is None:
            return
        self.redeemed.append(UUID(body["id"]))
        assert cell_of(self.redeemed[-1], self.world.runtime.settings.cells) == self.owner(number).cell
        points = sum(part for _, part in found.parts)
        terms = found.terms
        money = terms.get("money_minor", 0) * found.quantity
        if found.reward is None:
            money = points * terms["each_minor"] // terms["points"]
        assert (body["points"], body["money_minor"], body["reward"]) == (points, money, found.reward)
        stored = self.world.run(
            self.world.link.fetchval("SELECT parts FROM redemptions WHERE id = $1", self.redeemed[-1])
        )
        assert [part for _, part in json.loads(stored)] == [part for _, part in found.parts]
        self.holds_what_the_model_says(number, body)

    @rule(
        n=st.integers(0, NOBODY - 1),
        wishes=st.lists(
            st.tuples(
                st.integers(0, 8) | st.sampled_from(CURRENCIES),
                st.sampled_from(("keep", "cancel", "fulfil", "fulfil and cancel", "cancel twice")),
            ),
            min_size=1,
            max_size=3,
        ),
        place=shapes.places,
        when=st.sampled_from(("at once", "once expired", "once expired")),
    )
    def redeem_and_think_again(
        self, n: int, wishes: list[tuple[int | str, str]], place: JSON, when: str
    ) -> None:
        """What was taken is kept, handed over or given back, perhaps after its points' time was over."""
        for wish, then in wishes:
            before = len(self.redeemed)
            if isinstance(wish, str):
                self.pay(n, wish, 20, place, enough=True)
            else:
                self.redeem(n, wish, 1, place, enough=True)
            if len(self.redeemed) == before:
                continue
            if then.startswith("fulfil"):
                self.fulfil(before)
            if when == "once expired":
                self.pass_time([lot.expires for lot, _ in self.model.redemptions[before].parts[:1]])
            if "cancel" in then:
                self.cancel_redemption(before, "at once")
            if then == "cancel twice":
                self.cancel_redemption(before, "at once")

    def redemption(self, n: int) -> tuple[int, UUID]:
        """One of the redemptions, or one that never was."""
        which = n % (len(self.redeemed) + 1)
        return which, self.redeemed[which] if which < len(self.redeemed) else UNKNOWN

    @precondition(lambda self: self.redeemed)
    @rule(n=st.integers(0, 40))
    def fulfil(self, n: int) -> None:
        which, id = self.redemption(n)
        self.step(commands.FulfilRedemption(id), "fulfil", which, len(self.answers))

    @precondition(lambda self: self.redeemed)
    @rule(n=st.integers(0, 40), when=st.sampled_from(("at once", "at once", "once expired")))
    def cancel_redemption(self, n: int, when: str) -> None:
        """Its points come back to their lots; when these have ended meanwhile, as the program says."""
        which, id = self.redemption(n)
        if when == "once expired" and which < len(self.redeemed):
            self.pass_time([lot.expires for lot, _ in self.model.redemptions[which].parts[:1]])
        result, body = self.step(
            commands.CancelRedemption(id, "changed_mind"), "cancel_redemption", which, len(self.answers)
        )
        if body is not None:
            found, lost = result
            late = body["expired"] + body["reinstated"]
            assert (body["expired"], body["points"]) == (lost, sum(part for _, part in found.parts))
            self.world.seen.update(
                {f"cancel_redemption {w}": 1 for w in ("expired", "reinstated") if body[w]}
            )
            assert late <= body["points"]
            self.holds_what_the_model_says(found.member, body)

    @rule(
        which=st.sampled_from((*shapes.REWARDS, *shapes.REWARDS, "hat")),
        to=st.none() | st.integers(0, 5),
        by=st.integers(-3, 5),
    )
    def change_stock(self, which: str, to: int | None, by: int) -> None:
        command = commands.ChangeStock(which, "delivery", to, 0 if to is not None else by)
        after, body = self.step(command, "stock", which, to, by)
        if body is not None:
            assert body["stock"] == after

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
        assert (answer.status, answer.body, answer.replayed) == (status, body, True)
        assert before == self.trace(), "a replay left a trace"
        self.world.seen["repeat replayed"] += 1

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
        assert (answer.status, json.loads(answer.body)["code"]) == (422, "idempotency_key_reused")
        assert before == self.trace(), "a refusal left a trace"
        self.world.seen["reuse refused"] += 1


def identifier(named: tuple[str, str]) -> Identifier:
    return Identifier(IdentifierKind(named[0]), named[1])


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
                max_examples=examples * int(os.environ.get("PROOF_SIZE", "1")),
                stateful_step_count=steps,
                deadline=None,
                phases=QUICK,
                suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
            ),
        )
        moves = "SELECT source || ' > ' || target, count(*) FROM public.postings GROUP BY 1"
        world.seen.update({f"moved {what}": n for what, n in world.run(world.link.fetch(moves))})
    finally:
        world.close()
    told(world.seen, world.steps)


REACHED = (
    "purchase accepted", "purchase again", "purchase activity_differs", "purchase too_old", "purchase in_future",
    "purchase purchase_cancelled", "purchase member_blocked", "purchase member_not_found", "cancel accepted",
    "cancel again", "give_back accepted", "give_back again", "give_back activity_differs",
    "give_back exceeds_purchase", "give_back already_returned", "give_back purchase_cancelled",
    "give_back return_invalid", "give_back purchase_not_found", "give_back currency_mismatch", "give_back in_future",
    "give_back insufficient_points", "exchange accepted", "exchange activity_differs",
    "exchange currency_not_supported", "exchange exceeds_purchase", "claim already_returned", "claim accepted",
    "claim already_claimed", "adjust accepted", "adjust insufficient_points",
    "import_lot accepted", "import_lot activity_differs", "enrol accepted", "enrol identifiers_conflict",
    "identify identifier_taken", "erase accepted", "publish accepted",
    "publish effective_in_past", "advance accepted", "close_day accepted",
    "repeat replayed", "reuse refused", "moved pending > available", "moved available > expired",
    "moved available > redeemed", "moved pending > revoked", "moved available > revoked", "moved held > redeemed",
    "moved held > available", "moved redeemed > available", "place_hold accepted", "place_hold insufficient_points",
    "place_hold hold_too_long", "extend_hold accepted", "extend_hold hold_lapsed", "capture_hold accepted",
    "capture_hold hold_captured", "capture_hold hold_lapsed", "capture_hold hold_released",
    "capture_hold insufficient_points", "release_hold accepted", "release_hold hold_not_found",
    "purchase hold_lapsed", "purchase hold_of_another_member",
    "redeem accepted", "redeem reward_unavailable", "redeem insufficient_points", "redeem reward_not_found",
    "redeem quantity_too_large", "redeem sold_out", "redeem limit_reached", "redeem tenure", "redeem identifier",
    "pay accepted", "pay payment_not_offered", "pay points_below_minimum", "pay points_not_in_step",
    "pay day_limit_reached", "pay insufficient_points", "fulfil accepted", "fulfil again", "cancel_redemption accepted",
    "cancel_redemption again", "cancel_redemption not_returnable", "cancel_redemption expired",
    "cancel_redemption reinstated", "stock accepted", "stock stock_not_kept", "stock stock_out_of_range",
    "moved redeemed > available", "moved expired > available",
)  # fmt: skip


def told(seen: Counter[str], steps: int) -> None:
    """What was reached; agreement about nothing would mean nothing, so long runs must have reached all of it."""
    accepted = sum(n for what, n in seen.items() if what.endswith("accepted"))
    print(f"\n{steps} commands, {accepted} accepted ({accepted * 100 // max(1, steps)} %)")
    for what, n in sorted(seen.items()):
        print(f"  {n:6} {what}")
    if steps > 3_000:
        assert accepted * 2 > steps
        assert not [what for what in REACHED if not seen[what]]
