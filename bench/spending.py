"""Spending: points redeemed, and points held and then taken, over HTTP and by the functions of spending.sql.

Both sides work on programs of their own: ten thousand members, each with three lots of points that nobody else spends.
"""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.baseline import literal, pgbench
from bench.cluster import Cluster
from bench.http import Http, Server
from bench.load import Plan
from bench.pipe import OPERATOR, SUBMITTERS, TILL, Pipe, PipeBroken, on_loop
from bench.rows import RowsMissing, check_books
from bench.sample import Sample, Stretch
from bench.world import SPENDING_BASELINE_PROGRAM, SPENDING_PROGRAM, card, file
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.posting.commands import (
    Adjust,
    CaptureHold,
    Command,
    Enrol,
    Idempotency,
    MemberRef,
    PayWithPoints,
    Place,
    PlaceHold,
    Publish,
    Submission,
)
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind

FUNCTIONS = Path(__file__).with_name("spending.sql")
LOTS = 3  # of each member
LOT_POINTS = 1_000_000
POINTS = 5  # of one redemption, or of one hold
WORK = ("redeem", "hold")

COUNTS = {
    "redemptions": "SELECT count(*) FROM redemptions WHERE program_id = $1",
    "redeemed": "SELECT count(*) FROM entries WHERE program_id = $1 AND kind = 'redeem'",
    "holds taken": "SELECT count(*) FROM holds WHERE program_id = $1 AND state = 'captured'",
    "holds": "SELECT count(*) FROM holds WHERE program_id = $1",
    "set aside": "SELECT count(*) FROM entries WHERE program_id = $1 AND kind = 'hold'",
    "taken": "SELECT count(*) FROM entries WHERE program_id = $1 AND kind = 'capture'",
    "keys": "SELECT count(*) FROM idempotency_records WHERE program_id = $1",
    "postings": "SELECT count(*) FROM postings WHERE program_id = $1 AND source <> 'issued'",
    "events": "SELECT count(*) FROM engagement_events WHERE program_id = $1 AND type IN"
    " ('loyalty.redemption.issued', 'loyalty.points.held', 'loyalty.points.captured')",
    "points spent": "SELECT sum(redeemed)::bigint FROM lots WHERE program_id = $1",
    "points gone": "SELECT $2 - sum(available + held)::bigint FROM accounts WHERE program_id = $1",
}


class Texts(msgspec.Struct, frozen=True):
    """What one decision of ours stores as text: the rival stores the same."""

    detail: str
    answer: str
    event: str


@dataclass
class Spent:
    """What was done in one program."""

    redeem: int = 0
    hold: int = 0  # placed, and taken

    def add(self, work: str, done: int) -> None:
        setattr(self, work, getattr(self, work) + done)

    def rows(self) -> dict[str, int]:
        """How many rows and points that must have left."""
        one, two = self.redeem, self.hold
        told = {"redemptions": one, "redeemed": one, "keys": one + 2 * two, "postings": one + 2 * two}
        told |= dict.fromkeys(("holds taken", "holds", "set aside", "taken"), two)
        told |= {"events": one + 2 * two}
        return told | dict.fromkeys(("points spent", "points gone"), (one + two) * POINTS)


class Spending:
    """Both contenders of the rows on spending, on one cluster. Needs: the baseline's schema."""

    def __init__(self, cluster: Cluster, at: datetime, members: int) -> None:
        self.cluster, self.at, self.members = cluster, at, members
        self.http = Http(cluster, at, members)
        self.ours, self.rivals = Spent(), Spent()

    def prepare(self) -> None:
        """Members with points on both sides, the functions, and the scripts that call them."""
        on_loop(self._prepare())
        self.ours.add("redeem", 1)
        self.ours.add("hold", 1)
        asyncio.run(self._prepare_rival())

    def run(self, work: str, server: Server, connections: int, stretch: Stretch) -> Sample:
        """One stretch of ours: every answer must be a success; a hold counts once it is taken."""
        what: dict[str, Any] = {
            "member": {"card": "{card}"},
            "points_currency": "points",
            "points": POINTS,
            "till": "17",
            "location": "store-12",
        }
        plan = Plan(
            port=server.port,
            connections=connections,
            warm_s=stretch.warm_s,
            seconds=stretch.seconds,
            method="POST",
            path="/v1/redemptions" if work == "redeem" else "/v1/holds",
            members=self.members,
            run=secrets.token_hex(4),
            body=msgspec.json.encode(what | ({"channel": "pos"} if work == "redeem" else {})).decode(),
            authorization=server.authorization,
            keyed=True,
            then="" if work == "redeem" else "/v1/holds/{id}/capture",
        )
        sample, answered = self.http.writes(server, plan)
        self.ours.add(work, answered)
        return sample

    def rival(self, work: str, clients: int, seconds: int) -> Sample:
        """One stretch of the functions."""
        sample = pgbench(self.cluster, SPENDING_BASELINE_PROGRAM, self._script(work), clients, seconds)
        self.rivals.add(work, sample.done)
        return sample

    def search(self, work: str, seconds: int, candidates: tuple[int, ...]) -> dict[int, float]:
        """The rival's rate at each number of clients."""
        return {clients: self.rival(work, clients, seconds).rate for clients in candidates}

    def check(self) -> None:
        """Raises: RowsMissing unless all that was done left its rows on both sides; BooksBroken."""
        for program_id, spent in ((SPENDING_PROGRAM, self.ours), (SPENDING_BASELINE_PROGRAM, self.rivals)):
            found = asyncio.run(self._counts(program_id))
            if wrong := {
                what: (found[what], wanted) for what, wanted in spent.rows().items() if found[what] != wanted
            }:
                raise RowsMissing(f"in program {program_id} are (found, wanted): {wrong}")
        check_books(self.cluster.servers.database_url, SPENDING_PROGRAM)

    # --- ours ----------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        async with Pipe(self.cluster, self.at).opened() as runtime:
            await create_program(runtime.engine, SPENDING_PROGRAM, ProgramKind.LIVE, 1, self.at)
            settings = msgspec.json.decode(msgspec.json.encode(file()["settings"]))
            settings["points_currencies"][0]["pay"] = {"points": 1, "each_minor": 1}
            configuration = {"settings": settings, "ruleset": file()["ruleset"]}
            await _done(runtime, Publish(msgspec.convert(configuration, Configuration, strict=False)))
            for first in range(0, self.members, SUBMITTERS):
                cards = [_card(n) for n in range(first, min(first + SUBMITTERS, self.members))]
                await asyncio.gather(*(_done(runtime, Enrol((one,))) for one in cards))
                for _ in range(LOTS):
                    credit = partial(Adjust, points_currency="points", points=LOT_POINTS, reason="opening")
                    await asyncio.gather(
                        *(_done(runtime, credit(MemberRef(identifier=one))) for one in cards)
                    )
            # One of each by the road, as a till sends them: their texts are the rival's.
            somebody = MemberRef(identifier=_card(0))
            here = Place("store-12", "pos", "17")
            await _done(runtime, PayWithPoints(somebody, "points", POINTS, here), keyed=True)
            place = PlaceHold(somebody, "points", POINTS, till="17", location="store-12")
            held = await _done(runtime, place, keyed=True)
            await _done(runtime, CaptureHold(UUID(held["id"])), keyed=True)

    async def _counts(self, program_id: UUID) -> dict[str, int]:
        brought = self.members * LOTS * LOT_POINTS
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        try:
            return {
                what: await link.fetchval(query, *([program_id, brought] if "$2" in query else [program_id]))
                for what, query in COUNTS.items()
            }
        finally:
            await link.close()

    # --- the rival -----------------------------------------------------------------------------------------

    async def _prepare_rival(self) -> None:
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        try:
            await link.execute(FUNCTIONS.read_text())
            await link.execute(_people(self.members))
            await link.execute("VACUUM ANALYZE")
            said = {kind: await _texts(link, kind) for kind in ("redeem", "place_hold", "capture_hold")}
            deadlines = await link.fetchval(
                "SELECT deadlines::text FROM holds WHERE program_id = $1", SPENDING_PROGRAM
            )
        finally:
            await link.close()
        digest = f"'\\x{bytes(range(32)).hex()}'::bytea"
        key = "gen_random_uuid()::text"
        who = (
            f"\\set who random(0, {self.members - 1})\n",
            f"'{card(0)[:8]}' || lpad(:who::text, 8, '0'), {key}, {POINTS}, {digest}",
        )
        self._script("redeem").write_text(
            f"{who[0]}SELECT bench.redeem({who[1]}, {_constants(said['redeem'])});\n"
        )
        self._script("hold").write_text(
            f"{who[0]}SELECT bench.place_hold({who[1]}, {_constants(said['place_hold'])},"
            f" {literal(deadlines)}::json) AS hold \\gset\n"
            f"SELECT bench.capture_hold(:hold, {key}, {digest}, {_constants(said['capture_hold'])});\n"
        )

    def _script(self, work: str) -> Path:
        return self.cluster.home / f"spending-{work}.pgbench"


def _card(number: int) -> Identifier:
    return Identifier(IdentifierKind.CARD, card(number))


async def _done(runtime: Runtime, command: Command, *, keyed: bool = False) -> dict[str, Any]:
    """What a command of the preparation was answered."""
    key = secrets.token_hex(16)
    known = Idempotency(key, TILL.id, (secrets.token_bytes(32),)) if keyed else None
    answer = await runtime.pipe.submit(
        Submission(SPENDING_PROGRAM, command, TILL if keyed else OPERATOR, key, known)
    )
    if answer.status not in (200, 201):
        raise PipeBroken(f"{type(command).__name__} was answered {answer.status}: {answer.body[:500]!r}")
    return msgspec.json.decode(answer.body)


async def _texts(link: "asyncpg.Connection[asyncpg.Record]", kind: str) -> Texts:
    row = await link.fetchrow(
        """
        SELECT d.detail, d.answer, e.data::text AS event FROM decisions d
        JOIN engagement_events e ON e.program_id = d.program_id AND e.decision_id = d.id
        WHERE d.program_id = $1 AND d.kind = $2
        """,
        SPENDING_PROGRAM,
        kind,
    )
    assert row is not None, f"there is no {kind}"
    return msgspec.convert(dict(row), Texts)


def _constants(texts: Texts) -> str:
    return f"{literal(texts.detail)}, {literal(texts.answer)}, {literal(texts.event)}::json"


def _people(members: int) -> str:
    """The rival's members, each with as many lots as ours."""
    program = SPENDING_BASELINE_PROGRAM
    brought = LOTS * LOT_POINTS
    return f"""
        INSERT INTO programs VALUES ('{program}', 'live', now());
        CREATE TEMP TABLE people AS
            SELECT n, uuidv7() AS id, uuidv7() AS account_id FROM generate_series(0, {members - 1}) n;
        INSERT INTO members SELECT '{program}', 0, id, 'active', now() FROM people;
        INSERT INTO member_profiles SELECT '{program}', 0, id, '{{}}' FROM people;
        INSERT INTO identifiers
            SELECT '{program}', 'card', '{card(0)[:8]}' || lpad(n::text, 8, '0'), id, 0 FROM people;
        INSERT INTO accounts
            SELECT '{program}', 0, account_id, id, 'points', {LOTS}, 0, {brought}, 0, 0 FROM people;
        INSERT INTO lots
            (program_id, cell, id, account_id, issuing_entry_id, decision_id, points, vintage_at, policy_number,
             issued_expires_at, expires_at, arrived_at, is_open, issued, pending, available, held, redeemed, expired,
             revoked, transferred, deficit)
            SELECT '{program}', 0, uuidv7(), account_id, uuidv7(), uuidv7(), {LOT_POINTS}, now(), 1,
                now() + interval '1 year', now() + interval '1 year', now(), true, -{LOT_POINTS}, 0, {LOT_POINTS},
                0, 0, 0, 0, 0, 0
            FROM people, generate_series(1, {LOTS});
        DROP TABLE people;
    """
