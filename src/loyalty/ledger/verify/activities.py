"""What the shop told beside the chain: purchases and returns as their rows, natural keys and events say it alike.

An undo goes by an activity's row (whose it is, which decision awarded it), a repeat by its natural key: both must say
what the decisions and events say, or points would go to the wrong place without a broken book.

What belongs together was mostly written together and bears neighbouring ids: rows of one range are compared with each
other first, and what does not agree within it is looked up wherever it may be.
"""

from typing import Any
from uuid import UUID

import asyncpg

from loyalty.ledger.verify.frame import Ids
from loyalty.ledger.verify.report import Findings

# A claim's decision stands in the lane of the member, the purchase in the program's own. What is looked up is so row
# by row, each by its key (OFFSET 0): tables without statistics made the planner read every block for every purchase.
_ACTIVITIES = """
WITH lanes AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1), numbers AS MATERIALIZED (
    SELECT (SELECT block_number FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4
            ORDER BY id LIMIT 1) AS first,
           (SELECT block_number FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4
            ORDER BY id DESC LIMIT 1) AS last
), doubtful AS MATERIALIZED (
    SELECT a.id, a.decision_id, a.awarded_by, a.member_id, a.occurred_at, a.recorded_at
    FROM activities a
    LEFT JOIN decisions d ON d.program_id = $1 AND d.cell = $2 AND d.id > $3 AND d.id <= $4 AND d.id = a.decision_id
    LEFT JOIN blocks b ON b.program_id = $1 AND b.cell = $2 AND b.number = d.block_number
        AND b.number BETWEEN (SELECT first FROM numbers) AND (SELECT last FROM numbers)
    WHERE a.program_id = $1 AND a.cell = $2 AND a.id > $3 AND a.id <= $4 AND (
        d.activity_id = a.id AND (d.occurred_at, b.recorded_at) = (a.occurred_at, a.recorded_at)
        AND d.id = a.awarded_by AND d.kind <> 'counterpart'
        AND d.member_id IS NOT DISTINCT FROM a.member_id) IS NOT TRUE
)
SELECT id, broken FROM (
    SELECT c.id, CASE
        WHEN d.activity_id IS DISTINCT FROM c.id THEN 'names a decision that is not its own'
        WHEN (c.occurred_at, c.recorded_at) <> (d.occurred_at, b.recorded_at)
        THEN 'has other instants than its decision'
        WHEN w.activity_id IS DISTINCT FROM c.id OR (c.awarded_by <> c.decision_id AND w.kind <> 'claim')
        THEN 'is awarded by a decision that is not about it'
        WHEN w.member_id IS DISTINCT FROM c.member_id THEN 'belongs to somebody else than its decision says'
        END AS broken
    FROM doubtful c
    LEFT JOIN LATERAL (
        SELECT activity_id, occurred_at, block_number FROM decisions
        WHERE program_id = $1 AND cell = $2 AND id = c.decision_id OFFSET 0
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = $2 AND number = d.block_number OFFSET 0
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT w.kind, w.activity_id, w.member_id FROM lanes l, LATERAL (
            SELECT kind, activity_id, member_id FROM decisions
            WHERE program_id = $1 AND cell = l.cell AND id = c.awarded_by AND kind <> 'counterpart' OFFSET 0) w
    ) w ON true
) found WHERE broken IS NOT NULL ORDER BY id
"""
_TOLD = """
WITH told AS MATERIALIZED (
    SELECT k.kind, e.*, coalesce(e.return_id, e.purchase_id, e.import_id) AS activity_id
    FROM engagement_events c
    JOIN (VALUES ('loyalty.purchase.recorded', 'purchase'), ('loyalty.purchase.returned', 'return'),
                 ('loyalty.purchase.cancelled', 'cancel'), ('loyalty.points.imported', 'import_row')) k(type, kind)
      ON k.type = c.type,
    LATERAL json_to_record(c.data) AS e(
        purchase_id uuid, return_id uuid, import_id uuid, source text, external_id text, location text, channel text,
        amount_minor bigint)
    WHERE c.program_id = $1 AND c.cell = $2 AND c.id > $3 AND c.id <= $4
), nameless AS MATERIALIZED (
    SELECT t.kind, t.source, t.external_id, t.activity_id FROM told t
    LEFT JOIN activity_keys k ON k.program_id = $1 AND k.activity_id > $3 AND k.activity_id <= $4
        AND k.activity_id = t.activity_id AND k.kind = t.kind
        AND k.source = t.source AND k.external_id = t.external_id
    WHERE k.activity_id IS NULL
), strange AS MATERIALIZED (
    SELECT t.activity_id, t.location, t.channel, coalesce(t.amount_minor, 0) AS amount_minor FROM told t
    LEFT JOIN activities a ON a.program_id = $1 AND a.cell = $2 AND a.id > $3 AND a.id <= $4 AND a.id = t.activity_id
    WHERE t.kind IN ('purchase', 'return') AND (a.id IS NULL OR (a.location, a.channel, a.amount_minor)
        IS DISTINCT FROM (t.location, t.channel, coalesce(t.amount_minor, 0)))
)
SELECT ARRAY(
    SELECT ROW(t.kind, t.source, t.external_id) FROM nameless t
    LEFT JOIN LATERAL (
        SELECT source, external_id FROM activity_keys
        WHERE program_id = $1 AND activity_id = t.activity_id AND kind = t.kind OFFSET 0) k ON true
    WHERE (k.source = t.source AND k.external_id = t.external_id) IS NOT TRUE), ARRAY(
    SELECT t.activity_id FROM strange t
    LEFT JOIN LATERAL (
        SELECT id, location, channel, amount_minor FROM activities
        WHERE program_id = $1 AND cell = $2 AND id = t.activity_id OFFSET 0) a ON true
    WHERE a.id IS NULL OR (a.location, a.channel, a.amount_minor)
        IS DISTINCT FROM (t.location, t.channel, t.amount_minor))
"""


async def activities(
    connection: asyncpg.Connection, program_id: UUID, cell: int, ids: Ids, findings: Findings
) -> None:
    """The purchases and returns of a range say whose they are and what awarded them as their decisions do."""
    for id, broken in await connection.fetch(_ACTIVITIES, program_id, cell, *ids):
        findings.add(("activities", cell), "activities", {"cell": cell, "id": id}, broken)


async def told(
    connection: asyncpg.Connection, program_id: UUID, cell: int, ids: Ids, findings: Findings
) -> None:
    """The receipts and imported rows that a range's events name are known by these numbers; purchases and returns
    happened where and for as much as they say.
    """
    row: Any = await connection.fetchrow(_TOLD, program_id, cell, *ids)
    unknown, unlike = row
    for kind, source, external_id in unknown:
        key = {"kind": kind, "source": source, "external_id": external_id}
        what = "is missing, or of another activity than the event says"
        findings.add("activity_keys", "activity_keys", key, what)
    for id in unlike:
        what = "says another place or amount than the event"
        findings.add(("activities", cell), "activities", {"cell": cell, "id": id}, what)
