"""What stands beside the chain: cap counters, records, natural keys, returns, deadlines of holds."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from loyalty.base.canonical import name_digest
from loyalty.base.ids import NIL
from loyalty.ledger.types import Deadline
from loyalty.ledger.verify.frame import (
    TELLING,
    Connect,
    Counted,
    Ids,
    Key,
    Notes,
    count_in,
    read,
    read_changes,
    snapshot,
    stream,
)
from loyalty.ledger.verify.report import Figures, Findings

CHUNK = 10_000

_COUNTERS = """
SELECT owner_id, period, rule_id, points FROM counters
WHERE program_id = $1 AND cell = $2 AND (owner_id, period, rule_id) > ($3, $4, $5)
ORDER BY owner_id, period, rule_id LIMIT $6
"""
_NEWER = f"""
SELECT id, member_id, {TELLING}
FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id
"""
_RECORDS = """
WITH chunk AS MATERIALIZED (
    SELECT scope, key, status, decision_id, decision_cell FROM idempotency_records
    WHERE program_id = $1 AND (scope, key) > ($2, $3) ORDER BY scope, key LIMIT $4
)
SELECT (SELECT count(*) FROM chunk), (SELECT ROW(scope, key) FROM chunk ORDER BY scope DESC, key DESC LIMIT 1),
       ARRAY(SELECT ROW(c.scope, c.key) FROM chunk c LEFT JOIN LATERAL (
                SELECT id, answer_status FROM decisions
                WHERE program_id = $1 AND cell = c.decision_cell AND id = c.decision_id OFFSET 0) d ON true
             WHERE c.decision_id IS NOT NULL AND (d.id IS NULL OR c.status NOT IN (d.answer_status, 200)))
"""
# In the order of activities, whose decisions lie beside each other; one that does not is looked up.
_KEYS = """
WITH chunk AS MATERIALIZED (
    SELECT kind, source, external_id, state, activity_id, decision_id, cell, content_digest FROM activity_keys
    WHERE program_id = $1 AND (activity_id, kind) > ($2, $3) ORDER BY activity_id, kind LIMIT $4
), near AS MATERIALIZED (
    SELECT cell, id, kind, activity_id, substr(detail, nullif(strpos(detail, '"named":"'), 0) + 9, 32) AS named
    FROM decisions
    WHERE program_id = $1 AND cell = ANY(ARRAY(SELECT cell FROM heads WHERE program_id = $1))
      AND id > $2 AND id <= (SELECT activity_id FROM chunk ORDER BY activity_id DESC LIMIT 1)
)
SELECT c.activity_id, c.kind, c.source, c.external_id, CASE
    WHEN d.id IS NULL THEN 'names a decision that is not there'
    WHEN d.activity_id IS DISTINCT FROM c.activity_id THEN 'names another activity than its decision'
    WHEN (c.kind, d.kind) NOT IN (('purchase', 'purchase'), ('purchase', 'cancel'), ('cancel', 'cancel'),
        ('import_row', 'import_lot'), ('return', 'return'))
    THEN 'is the key of a ' || c.kind || ', but its decision of a ' || d.kind
    WHEN (c.state = 'cancelled') <> (c.kind = 'purchase' AND EXISTS (
        SELECT FROM activity_keys k
        WHERE k.program_id = $1 AND k.kind = 'cancel' AND k.source = c.source AND k.external_id = c.external_id))
    THEN 'is ' || c.state || ', but its cancel says otherwise'
    WHEN c.state = 'recorded' AND c.content_digest = '' THEN 'has no digest of what was told' END,
    d.named
FROM chunk c LEFT JOIN near n ON n.cell = c.cell AND n.id = c.decision_id
LEFT JOIN LATERAL (
    SELECT n.id, n.kind, n.activity_id, n.named WHERE n.id IS NOT NULL
    UNION ALL SELECT d.id, d.kind, d.activity_id, d.named FROM (
        SELECT id, kind, activity_id, substr(detail, nullif(strpos(detail, '"named":"'), 0) + 9, 32) AS named
        FROM decisions WHERE program_id = $1 AND cell = c.cell AND id = c.decision_id OFFSET 0) d
    WHERE n.id IS NULL
) d ON true
ORDER BY c.activity_id, c.kind
"""
# What the decisions of a range say is there, and is not. Mostly a natural key bears an id of the same range.
_DECIDED = """
WITH lanes AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1), decided AS MATERIALIZED (
    SELECT id, kind, activity_id, CASE kind WHEN 'import_lot' THEN 'import_row' ELSE kind END AS key_kind,
           CASE WHEN kind IN ('place_hold', 'extend_hold') THEN detail END AS detail,
           CASE kind WHEN 'return' THEN
               substring(detail FROM '"returned":[{]"purchase_id":"([0-9a-f-]{36})"')::uuid END AS purchase_id,
           CASE WHEN kind IN ('cancel', 'return', 'cancel_redemption') THEN
               substring(detail FROM '"undoes":"([0-9a-f-]{36})"')::uuid END AS undoes
    FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4
), keyless AS MATERIALIZED (
    SELECT d.id, d.kind, d.activity_id, d.key_kind
    FROM decided d LEFT JOIN activity_keys k ON k.program_id = $1 AND k.activity_id > $3 AND k.activity_id <= $4
        AND k.activity_id = d.activity_id AND k.kind = d.key_kind
    WHERE d.kind IN ('purchase', 'cancel', 'return', 'import_lot') AND k.activity_id IS NULL
)
SELECT ARRAY(
    SELECT ROW(d.id, d.kind, d.activity_id) FROM keyless d LEFT JOIN LATERAL (
        SELECT true AS there FROM activity_keys
        WHERE program_id = $1 AND activity_id = d.activity_id AND kind = d.key_kind OFFSET 0) k ON true
    WHERE k.there IS NULL), ARRAY(
    SELECT ROW(id, detail) FROM decided WHERE kind IN ('place_hold', 'extend_hold')), ARRAY(
    SELECT ROW(d.id, d.kind, d.activity_id) FROM decided d LEFT JOIN LATERAL (
        SELECT state FROM redemptions WHERE program_id = $1 AND cell = $2 AND id = d.activity_id OFFSET 0) r ON true
    WHERE d.kind IN ('redeem', 'fulfil', 'cancel_redemption') AND (
        r.state IS NULL OR d.kind = 'fulfil' AND r.state = 'issued'
        OR d.kind = 'cancel_redemption' AND r.state <> 'cancelled')), ARRAY(
    SELECT ROW(d.id, d.activity_id) FROM decided d
    WHERE d.purchase_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM lanes l, LATERAL (
            SELECT FROM returns WHERE program_id = $1 AND cell = l.cell AND purchase_id = d.purchase_id
               AND id = d.activity_id OFFSET 0) r)), ARRAY(
    SELECT d.id FROM decided d
    WHERE d.undoes IS NOT NULL AND NOT EXISTS (
        SELECT FROM lanes l, LATERAL (
            SELECT activity_id FROM decisions
            WHERE program_id = $1 AND cell = l.cell AND id = d.undoes OFFSET 0) u
        WHERE u.activity_id = CASE d.kind WHEN 'return' THEN d.purchase_id ELSE d.activity_id END)), ARRAY(
    SELECT ROW(d.id, d.activity_id) FROM decided d LEFT JOIN LATERAL (
        SELECT awarded_by FROM activities WHERE program_id = $1 AND cell = 0 AND id = d.activity_id OFFSET 0) a ON true
    WHERE d.kind = 'claim' AND a.awarded_by IS DISTINCT FROM d.id)
"""
_HOLDS = """
WITH chunk AS MATERIALIZED (
    SELECT id, lapses_at, good_until, reference, till, location, reward, quantity, priced_by, deadlines,
           coalesce(ended_at, lapses_at) AS ends_at
    FROM holds WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
)
SELECT c.id, c.lapses_at, c.good_until, c.reference, c.till, c.location, c.reward, c.quantity, c.priced_by,
       c.deadlines::text, c.ends_at, v.quantity AS reserved, v.ends_at AS reserved_until
FROM chunk c LEFT JOIN LATERAL (
    SELECT quantity, ends_at FROM reservations
    WHERE program_id = $1 AND reward = c.reward AND hold_id = c.id OFFSET 0) v ON true
ORDER BY c.id
"""
_DEADLINES = """
SELECT id, deadlines::text FROM holds WHERE program_id = $1 AND cell = $2 AND id = ANY($3::uuid[])
"""
_SET = """
SELECT id, kind, occurred_at, detail FROM decisions WHERE program_id = $1 AND cell = $2 AND id = ANY($3::uuid[])
"""
# A return's own decision may lie in another lane than the purchase: its natural key tells in which.
_RETURNS = """
WITH chunk AS MATERIALIZED (
    SELECT purchase_id, id, amount_minor, complete, lines, taken, given FROM returns
    WHERE program_id = $1 AND cell = $2 AND (purchase_id, id) > ($3, $4) ORDER BY purchase_id, id LIMIT $5
)
SELECT c.purchase_id, c.id, c.amount_minor, c.complete, c.lines::text, c.taken::text, c.given::text, p.cell, d.detail
FROM chunk c
LEFT JOIN LATERAL (
    SELECT cell FROM activity_keys WHERE program_id = $1 AND activity_id = c.purchase_id AND kind = 'purchase' OFFSET 0
) p ON true
LEFT JOIN LATERAL (
    SELECT cell, decision_id FROM activity_keys
    WHERE program_id = $1 AND activity_id = c.id AND kind = 'return' OFFSET 0
) k ON true
LEFT JOIN LATERAL (
    SELECT detail FROM decisions
    WHERE program_id = $1 AND cell = k.cell AND id = k.decision_id AND kind = 'return' OFFSET 0
) d ON true
ORDER BY c.purchase_id, c.id
"""

_AS_PLACED = ("reference", "till", "location", "reward", "quantity", "priced_by")


class _Held(msgspec.Struct, frozen=True):
    """What a decision that set a deadline notes of its hold."""

    hold_id: UUID
    lapses_at: datetime | None = None  # none: it changed nothing
    good_until: datetime | None = None
    reference: str | None = None
    till: str | None = None
    location: str | None = None
    reward: str | None = None
    quantity: int | None = None
    priced_by: int | None = None
    reserves: bool = False  # so many of the reward's stock


class _HeldDetail(msgspec.Struct, frozen=True):
    note: _Held


_held = msgspec.json.Decoder(_HeldDetail).decode
_decode_deadlines = msgspec.json.Decoder(tuple[Deadline, ...]).decode


def _deadlines(text: str) -> tuple[Deadline, ...]:
    """A hold's deadlines; none where they cannot be read: every hold has one."""
    return read(_decode_deadlines, text, ())


class Returned(msgspec.Struct, frozen=True):
    """What the decision of a return says went back."""

    purchase_id: UUID
    amount_minor: int
    complete: bool
    lines: msgspec.Raw


class ReturnDetail(msgspec.Struct, frozen=True):
    returned: Returned
    back: msgspec.Raw = msgspec.Raw(b"[]")
    given: msgspec.Raw = msgspec.Raw(b"[]")


def _says(
    detail: str, purchase_id: UUID, amount_minor: int, complete: bool, lines: str, taken: str, given: str
) -> bool:
    """Whether a decision says so of its return."""
    try:
        said = msgspec.json.decode(detail, type=ReturnDetail)
    except msgspec.MsgspecError:
        return False
    one = said.returned
    figures = (one.purchase_id, one.amount_minor, one.complete)
    texts = (bytes(one.lines), bytes(said.back), bytes(said.given))
    told = (lines.encode(), taken.encode(), given.encode())
    return (figures, texts) == ((purchase_id, amount_minor, complete), told)


class LinkReader:
    """Compares what stands beside the chain of one program with what its decisions say."""

    def __init__(
        self, connect: Connect, program_id: UUID, notes: Notes, findings: Findings, figures: Figures
    ) -> None:
        self.connect = connect
        self.program_id = program_id
        self.notes = notes
        self.findings = findings
        self.figures = figures

    async def counters(self, cell: int, last_id: UUID) -> None:
        """Cap counters equal what decisions counted; `last_id` is the last that the chain's reader saw.

        Each chunk first adds what was decided meanwhile, up to what its own snapshot sees.
        """
        after: Key | None = (NIL, "", "")
        while after is not None:
            async with snapshot(self.connect, self.program_id) as connection:
                last_id = await self._catch_up(connection, cell, last_id)
                rows = await connection.fetch(_COUNTERS, self.program_id, cell, *after, CHUNK)
            until: Key | None = tuple(rows[-1])[:3] if len(rows) == CHUNK else None  # type: ignore[assignment]
            counted = self.notes.counters(cell, after, until)
            for owner_id, period, rule_id, points in rows:
                decided = counted.pop((owner_id.bytes, period, rule_id), None)
                if decided != points:
                    self._counter_broken(cell, (owner_id, period, rule_id), points, decided)
            for (owner, period, rule_id), decided in counted.items():
                if decided:
                    self._counter_broken(cell, (UUID(bytes=owner), period, rule_id), 0, decided)
            self.figures.counters += len(rows)
            after = until

    def _counter_broken(self, cell: int, counter: Key, points: int, decided: int | None) -> None:
        owner_id, period, rule_id = counter
        self.findings.add(
            ("counters", owner_id),
            "counters",
            {"cell": cell, "owner_id": owner_id, "rule_id": rule_id, "period": period},
            f"says {points} points, but decisions counted {'none' if decided is None else decided}",
        )

    async def _catch_up(self, connection: asyncpg.Connection, cell: int, last_id: UUID) -> UUID:
        """Add what decisions above `last_id` counted; the last one there is."""
        sums: Counted = {}
        async for page in stream(connection, _NEWER, self.program_id, cell, last_id):
            for id, member_id, detail in page:
                last_id = id
                if detail is not None:
                    try:
                        count_in(sums, member_id, read_changes(detail))
                    except msgspec.MsgspecError:
                        what = "has a detail that cannot be read"
                        self.findings.add("decisions", "decisions", {"cell": cell, "id": id}, what)
        self.notes.counted(cell, sums)
        return last_id

    async def idempotency_records(self) -> None:
        """Every record names a decision that is there and gave the stored status, or is a refusal.

        200 stands for the first answer again, to the same activity under a key of its own.
        """
        after: tuple[UUID, str] | None = (NIL, "")
        while after is not None:
            async with snapshot(self.connect, self.program_id) as connection:
                row: Any = await connection.fetchrow(_RECORDS, self.program_id, *after, CHUNK)
            read, last, broken = row
            for scope, key in broken:
                self.findings.add(
                    "idempotency_records",
                    "idempotency_records",
                    {"scope": scope, "key": key},
                    "names a decision that is not there or answered otherwise",
                )
            self.figures.keys += read
            after = tuple(last) if read == CHUNK else None  # type: ignore[assignment]

    async def decided(self, connection: asyncpg.Connection, cell: int, ids: Ids) -> None:
        """What the decisions of a range made is there: natural keys (or it could come again), redemptions, returns,
        claims, and of every hold the deadlines that were set; what they undo is what they are about.
        """
        row: Any = await connection.fetchrow(_DECIDED, self.program_id, cell, *ids)
        keyless, set_by, unlike, returnless, strange, unclaimed = row
        for id, kind, activity_id in keyless:
            key: dict[str, object] = {"cell": cell, "activity_id": activity_id}
            what = f"is missing: {kind} {id} could be recorded again"
            self.findings.add("activity_keys", "activity_keys", key, what, check="receipts")
        for id, kind, redemption_id in unlike:
            key = {"cell": cell, "id": redemption_id}
            what = f"is missing, or not in the state that {kind} {id} gave it"
            self.findings.add(("redemptions", cell), "redemptions", key, what, check="redemptions")
        for id, activity_id in returnless:
            key = {"cell": cell, "id": activity_id}
            what = f"is missing: decision {id} returned lines that could be returned again"
            self.findings.add("returns", "returns", key, what, check="returns")
        for id in strange:
            what = "undoes a decision about something else"
            self.findings.add(
                ("undone", cell), "decisions", {"cell": cell, "id": id}, what, check="purchases"
            )
        for id, activity_id in unclaimed:
            what = f"is missing, or not awarded by {id}, which claimed it"
            key = {"cell": 0, "id": activity_id}
            self.findings.add(("activities", cell), "activities", key, what, check="purchases")
        await self._deadlines_kept(connection, cell, set_by)

    async def _deadlines_kept(
        self, connection: asyncpg.Connection, cell: int, set_by: list[tuple[UUID, str]]
    ) -> None:
        noted: dict[UUID, UUID] = {}  # by decision: its hold
        for id, detail in set_by:
            try:
                note = _held(detail).note
            except msgspec.MsgspecError:
                continue  # named with the chain
            if note.lapses_at is not None:
                noted[id] = note.hold_id
        if not noted:
            return
        rows = await connection.fetch(_DEADLINES, self.program_id, cell, list(set(noted.values())))
        had = {id: {one.decision_id for one in _deadlines(text)} for id, text in rows}
        for decision_id, hold_id in noted.items():
            if decision_id not in had.get(hold_id, ()):
                what = f"does not have the deadline that decision {decision_id} set"
                self.findings.add("holds", "holds", {"cell": cell, "id": hold_id}, what, check="holds")

    async def holds(self, cell: int) -> None:
        """Every deadline of a hold is one that a decision set, the last of them in force; the first placed it.

        What it sets aside of a stock is set aside until it ends.
        """
        after: UUID = NIL
        while True:
            async with snapshot(self.connect, self.program_id) as connection:
                rows = await connection.fetch(_HOLDS, self.program_id, cell, after, CHUNK)
                had = {row["id"]: _deadlines(row["deadlines"]) for row in rows}
                named = [one.decision_id for deadlines in had.values() for one in deadlines]
                decided = {
                    row["id"]: row for row in await connection.fetch(_SET, self.program_id, cell, named)
                }
            for row in rows:
                placed = _set_so(row, had[row["id"]], decided)
                if placed is None:
                    what = "says other than the decisions that placed and extended it"
                    self.findings.add("holds", "holds", {"cell": cell, "id": row["id"]}, what)
                    continue
                meant = (placed.quantity, row["ends_at"]) if placed.reserves else (None, None)
                if meant != (row["reserved"], row["reserved_until"]):
                    key: dict[str, object] = {"reward": row["reward"], "hold_id": row["id"]}
                    what = "does not say what its hold says"
                    self.findings.add("reservations", "reservations", key, what, check="stocks")
            if len(rows) < CHUNK:
                return
            after = rows[-1]["id"]

    async def returns(self, cell: int) -> None:
        """Every row of a lane's returns says what its decision says, and every return's decision has its row."""
        after: tuple[UUID, UUID] | None = (NIL, NIL)
        while after is not None:
            async with snapshot(self.connect, self.program_id) as connection:
                rows = await connection.fetch(_RETURNS, self.program_id, cell, *after, CHUNK)
            for purchase_id, id, *told, home, detail in rows:
                if home != cell or detail is None or not _says(detail, purchase_id, *told):
                    key: dict[str, object] = {"cell": cell, "purchase_id": purchase_id, "id": id}
                    self.findings.add("returns", "returns", key, "is not what its decision says was returned")
            self.figures.returns += len(rows)
            after = tuple(rows[-1])[:2] if len(rows) == CHUNK else None  # type: ignore[assignment]

    async def natural_keys(self) -> None:
        """Every natural key names a decision that is there and its activity; cancelled is what was cancelled."""
        after: tuple[UUID, str] | None = (NIL, "")
        while after is not None:
            async with snapshot(self.connect, self.program_id) as connection:
                # A chunk is many rows, also where the planner expects one.
                await connection.execute("SET LOCAL enable_nestloop = off")
                rows = await connection.fetch(_KEYS, self.program_id, *after, CHUNK)
            for _, kind, source, external_id, wrong, noted in rows:
                renamed = noted != name_digest(source, external_id)
                broken = wrong or ("bears another number than its decision noted" if renamed else None)
                if broken:
                    self.findings.add(
                        "activity_keys",
                        "activity_keys",
                        {"kind": kind, "source": source, "external_id": external_id},
                        broken,
                    )
            self.figures.keys += len(rows)
            after = (rows[-1][0], rows[-1][1]) if len(rows) == CHUNK else None


def _set_so(row: Any, deadlines: tuple[Deadline, ...], decided: dict[UUID, Any]) -> _Held | None:
    """What placed a hold, where its deadlines are those that decisions noted and the rest of its row as placed."""
    if not deadlines or (deadlines[-1].lapses_at, deadlines[-1].good_until) != (
        row["lapses_at"],
        row["good_until"],
    ):
        return None
    placed: _Held | None = None
    for place, one in enumerate(deadlines):
        decision = decided.get(one.decision_id)
        if decision is None or decision["kind"] != ("extend_hold" if place else "place_hold"):
            return None
        try:
            note = _held(decision["detail"]).note
        except msgspec.MsgspecError:
            return None
        said = (row["id"], one.lapses_at, one.good_until, one.set_at)
        if said != (note.hold_id, note.lapses_at, note.good_until, decision["occurred_at"]):
            return None
        if not place:
            placed = note
            if any(row[name] != getattr(note, name) for name in _AS_PLACED):
                return None
    return placed
