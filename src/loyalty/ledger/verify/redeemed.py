"""What stands beside the chain of what points became: redemptions and stocks follow from decisions alone.

What is set aside of a stock is compared with its holds (links.py); here only whether there is such a hold.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import Connect, Notes, read_changes, snapshot, stock_in, stream
from loyalty.ledger.verify.report import Figures, Findings

CHUNK = 10_000

# A decision leaves out what has its default. `d` took the points, `s` brought about the present state.
_REDEMPTIONS = """
WITH chunk AS MATERIALIZED (
    SELECT * FROM redemptions WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
)
SELECT c.id, CASE
    WHEN d.id IS NULL THEN 'names a decision that is not there'
    WHEN (d.kind, d.member_id, d.activity_id, d.occurred_at) IS DISTINCT FROM
        ('redeem', c.member_id, c.id, c.redeemed_at)
        OR '{"reward": null, "quantity": 1, "money_minor": 0, "location": null, "channel": null, "till": null,
             "reference": null}'::jsonb || (d.detail::jsonb->'redemption') IS DISTINCT FROM jsonb_build_object(
            'id', c.id, 'points_currency', c.points_currency, 'points', c.points, 'priced_by', c.priced_by,
            'entry_id', c.entry_id, 'parts', c.parts, 'reward', c.reward, 'quantity', c.quantity,
            'money_minor', c.money_minor, 'location', c.location, 'channel', c.channel, 'till', c.till,
            'reference', c.reference)
    THEN 'is not as it was decided'
    WHEN (s.kind, s.activity_id, s.occurred_at) IS DISTINCT FROM
        (CASE c.state WHEN 'issued' THEN 'redeem' WHEN 'fulfilled' THEN 'fulfil' ELSE 'cancel_redemption' END,
         c.id, c.changed_at)
    THEN 'is ' || c.state || ', but the decision that made it so says otherwise' END
FROM chunk c
LEFT JOIN LATERAL (
    SELECT * FROM decisions WHERE program_id = $1 AND cell = c.cell AND id = c.decision_id OFFSET 0) d ON true
LEFT JOIN LATERAL (
    SELECT * FROM decisions WHERE program_id = $1 AND cell = c.cell AND id = c.changed_by OFFSET 0) s ON true
ORDER BY c.id
"""
_RESERVATIONS = """
WITH chunk AS MATERIALIZED (
    SELECT reward, hold_id FROM reservations WHERE program_id = $1 AND (reward, hold_id) > ($2, $3)
    ORDER BY reward, hold_id LIMIT $4
)
SELECT c.reward, c.hold_id, EXISTS (
    SELECT FROM heads, LATERAL (
        SELECT FROM holds
        WHERE program_id = $1 AND holds.cell = heads.cell AND id = c.hold_id AND reward = c.reward OFFSET 0) h
    WHERE heads.program_id = $1)
FROM chunk c ORDER BY c.reward, c.hold_id
"""
_STOCKS = "SELECT reward, stock FROM stocks WHERE program_id = $1"
_PROMISED = """
SELECT reward, sum(quantity) FROM reservations
WHERE program_id = $1 AND ends_at > (
    SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = 0 ORDER BY number DESC LIMIT 1)
GROUP BY reward
"""
_NEWER = """
SELECT id, CASE WHEN strpos(detail, '"stocked"') > 0 THEN detail END
FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id
"""


async def redemptions(
    connect: Connect, program_id: UUID, cell: int, findings: Findings, figures: Figures
) -> None:
    """Every redemption of a lane is as its decision says, in the state that its last decision gave it."""
    after: UUID | None = NIL
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            rows: list[Any] = await connection.fetch(_REDEMPTIONS, program_id, cell, after, CHUNK)
        for id, broken in rows:
            if broken:
                findings.add(("redemptions", cell), "redemptions", {"cell": cell, "id": id}, broken)
        figures.redemptions += len(rows)
        after = rows[-1][0] if len(rows) == CHUNK else None


async def reservations(connect: Connect, program_id: UUID, findings: Findings) -> None:
    """Everything that is set aside of a stock is so for a hold of any lane."""
    after: tuple[str, UUID] | None = ("", NIL)
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            rows: list[Any] = await connection.fetch(_RESERVATIONS, program_id, *after, CHUNK)
        for reward, hold_id, held in rows:
            if not held:
                key: dict[str, object] = {"reward": reward, "hold_id": hold_id}
                findings.add("reservations", "reservations", key, "no hold sets it aside")
        after = (rows[-1][0], rows[-1][1]) if len(rows) == CHUNK else None


async def stocks(
    connect: Connect,
    program_id: UUID,
    ends: Sequence[tuple[int, UUID]],
    notes: Notes,
    findings: Findings,
) -> None:
    """Every stock is the sum of what decisions of all lanes brought and took, and covers what is promised of it.

    `ends`: of each lane the last id that the chain's reader saw; what was decided meanwhile is added.
    """
    async with snapshot(connect, program_id) as connection:
        stored = {row[0]: row[1] for row in await connection.fetch(_STOCKS, program_id)}
        promised = {row[0]: row[1] for row in await connection.fetch(_PROMISED, program_id)}
        sums = notes.stocks()
        for cell, last_id in ends:
            async for page in stream(connection, _NEWER, program_id, cell, last_id):
                for id, detail in page:
                    if detail is None:
                        continue
                    try:
                        stock_in(sums, read_changes(detail))
                    except msgspec.MsgspecError:
                        what = "has a detail that cannot be read"
                        findings.add("decisions", "decisions", {"cell": cell, "id": id}, what)
    for reward in sorted({*sums, *stored}):
        decided = sums.get(reward, 0)
        if stored.get(reward, 0) != decided:
            found = "is missing" if reward not in stored else f"says {stored[reward]}"
            findings.add("stocks", "stocks", {"reward": reward}, f"{found}, but decisions come to {decided}")
        elif reward not in sums:
            findings.add("stocks", "stocks", {"reward": reward}, "was never decided")
    for reward, quantity in sorted(promised.items()):
        if quantity > stored.get(reward, 0):
            found = f"says {stored.get(reward, 0)}, but {quantity} are promised"
            findings.add("stocks", "stocks", {"reward": reward}, found)
