"""What the shop told beside the chain: purchases and returns as their rows, natural keys and events say it alike.

An undo goes by an activity's row (whose it is, which decision awarded it), a repeat by its natural key: both must say
what the decisions and events say, or points would go to the wrong place without a broken book.
"""

from typing import Any
from uuid import UUID

from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import Findings

CHUNK = 10_000

# A claim's decision stands in the lane of the member, the purchase in the program's own; mostly it is the purchase's
# own decision that awarded it, and no other is looked for. Row by row, each by its key
# (OFFSET 0): tables without statistics made the planner read every block for every purchase.
_ACTIVITIES = """
WITH chunk AS MATERIALIZED (
    SELECT id, decision_id, awarded_by, member_id, occurred_at, recorded_at FROM activities
    WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
), lanes AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1)
SELECT (SELECT count(*) FROM chunk), (SELECT id FROM chunk ORDER BY id DESC LIMIT 1), ARRAY(SELECT ROW(id, broken) FROM (
    SELECT c.id, CASE
        WHEN d.activity_id IS DISTINCT FROM c.id THEN 'names a decision that is not its own'
        WHEN (c.occurred_at, c.recorded_at) <> (d.occurred_at, b.recorded_at)
        THEN 'has other instants than its decision'
        WHEN w.activity_id IS DISTINCT FROM c.id OR (c.awarded_by <> c.decision_id AND w.kind <> 'claim')
        THEN 'is awarded by a decision that is not about it'
        WHEN w.member_id IS DISTINCT FROM c.member_id THEN 'belongs to somebody else than its decision says' END AS broken
    FROM chunk c
    LEFT JOIN LATERAL (
        SELECT kind, activity_id, member_id, occurred_at, block_number, id = c.awarded_by AND kind <> 'counterpart' AS awards
        FROM decisions WHERE program_id = $1 AND cell = $2 AND id = c.decision_id OFFSET 0
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = $2 AND number = d.block_number OFFSET 0
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT d.kind, d.activity_id, d.member_id WHERE d.awards
        UNION ALL SELECT w.kind, w.activity_id, w.member_id FROM lanes l, LATERAL (
            SELECT kind, activity_id, member_id FROM decisions
            WHERE program_id = $1 AND cell = l.cell AND id = c.awarded_by AND kind <> 'counterpart' OFFSET 0) w
        WHERE d.awards IS NOT TRUE
    ) w ON true) found
    WHERE broken IS NOT NULL ORDER BY id)
"""
# What decisions undo or claim; the purchase that a return is about stands in its detail.
_UNDONE = """
WITH chunk AS MATERIALIZED (
    SELECT id, kind, CASE kind WHEN 'return' THEN
           substring(detail FROM '"returned":[{]"purchase_id":"([0-9a-f-]{36})"')::uuid ELSE activity_id END AS about,
           CASE WHEN kind IN ('cancel', 'return', 'cancel_redemption') THEN
           substring(detail FROM '"undoes":"([0-9a-f-]{36})"')::uuid END AS undoes
    FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
), lanes AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1)
SELECT (SELECT count(*) FROM chunk), (SELECT id FROM chunk ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT c.id FROM chunk c
             WHERE c.undoes IS NOT NULL AND NOT EXISTS (
                SELECT FROM lanes l JOIN decisions u ON u.program_id = $1 AND u.cell = l.cell AND u.id = c.undoes
                WHERE u.activity_id = c.about)),
       ARRAY(SELECT ROW(c.id, c.about) FROM chunk c
             WHERE c.kind = 'claim' AND NOT EXISTS (
                SELECT FROM activities a
                WHERE a.program_id = $1 AND a.cell = 0 AND a.id = c.about AND a.awarded_by = c.id))
"""
_TOLD = """
WITH chunk AS MATERIALIZED (
    SELECT id, type, data FROM engagement_events
    WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
), told AS MATERIALIZED (
    SELECT k.kind, e.*, coalesce(e.return_id, e.purchase_id, e.import_id) AS activity_id
    FROM chunk c
    JOIN (VALUES ('loyalty.purchase.recorded', 'purchase'), ('loyalty.purchase.returned', 'return'),
                 ('loyalty.purchase.cancelled', 'cancel'), ('loyalty.points.imported', 'import_row')) k(type, kind)
      ON k.type = c.type,
    LATERAL json_to_record(c.data) AS e(
        purchase_id uuid, return_id uuid, import_id uuid, source text, external_id text, location text, channel text,
        amount_minor bigint)
)
SELECT (SELECT count(*) FROM chunk), (SELECT id FROM chunk ORDER BY id DESC LIMIT 1),
       ARRAY(SELECT ROW(t.kind, t.source, t.external_id) FROM told t WHERE NOT EXISTS (
            SELECT FROM activity_keys k WHERE k.program_id = $1 AND k.kind = t.kind AND k.source = t.source
               AND k.external_id = t.external_id AND k.activity_id = t.activity_id)),
       ARRAY(SELECT t.activity_id FROM told t WHERE t.kind IN ('purchase', 'return') AND NOT EXISTS (
            SELECT FROM activities a WHERE a.program_id = $1 AND a.cell = $2 AND a.id = t.activity_id
               AND (a.location, a.channel, a.amount_minor)
                   IS NOT DISTINCT FROM (t.location, t.channel, coalesce(t.amount_minor, 0))))
"""


async def activities(connect: Connect, program_id: UUID, cell: int, findings: Findings) -> None:
    """The purchases and returns of a lane say whose they are and what awarded them as their decisions do."""
    after: UUID | None = NIL
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            row: Any = await connection.fetchrow(_ACTIVITIES, program_id, cell, after, CHUNK)
        read, last, wrong = row
        for id, broken in wrong:
            findings.add(("activities", cell), "activities", {"cell": cell, "id": id}, broken)
        after = last if read == CHUNK else None
    after = NIL
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            row = await connection.fetchrow(_UNDONE, program_id, cell, after, CHUNK)
        read, last, strange, unclaimed = row
        for id in strange:
            what = "undoes a decision about something else"
            findings.add(("undone", cell), "decisions", {"cell": cell, "id": id}, what)
        for id, activity_id in unclaimed:
            what = f"is missing, or not awarded by {id}, which claimed it"
            findings.add(("activities", cell), "activities", {"cell": 0, "id": activity_id}, what)
        after = last if read == CHUNK else None
    await _told(connect, program_id, cell, findings)


async def _told(connect: Connect, program_id: UUID, cell: int, findings: Findings) -> None:
    """The receipts and imported rows that events name are known by these numbers; purchases and returns happened
    where and for as much as they say.
    """
    after: UUID | None = NIL
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            row: Any = await connection.fetchrow(_TOLD, program_id, cell, after, CHUNK)
        read, last, unknown, unlike = row
        for kind, source, external_id in unknown:
            key = {"kind": kind, "source": source, "external_id": external_id}
            what = "is missing, or of another activity than the event says"
            findings.add("activity_keys", "activity_keys", key, what)
        for id in unlike:
            what = "says another place or amount than the event"
            findings.add(("activities", cell), "activities", {"cell": cell, "id": id}, what)
        after = last if read == CHUNK else None
