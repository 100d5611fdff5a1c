"""What is in the books of a program without its ids, as lines of text and as one hash of them.

Two programs to which the same happened have the same content, however their clocks were moved and whoever swept when.
Left out, because they differ: ids, the sweep's decisions (one for a year, or one for each day) with the instants at
which they were recorded, closed days and moves of the clock.
"""

import hashlib
from typing import Any
from uuid import UUID

_MEMBERS = "SELECT member_id, min(value) AS name FROM identifiers WHERE program_id = $1 GROUP BY member_id"

_CONTENT = {
    "decision": """
        SELECT m.name, d.kind, d.occurred_at, b.recorded_at, (d.detail::jsonb)->'tiers',
               (SELECT jsonb_agg(jsonb_build_array(w->'rule', w->'points') ORDER BY w->>'rule')
                FROM jsonb_array_elements((d.detail::jsonb)->'awards') w)
        FROM decisions d JOIN blocks b ON b.program_id = d.program_id AND b.cell = d.cell AND b.number = d.block_number
        JOIN m ON m.member_id = d.member_id WHERE d.program_id = $1 AND d.kind <> 'settle'
    """,
    "account": """
        SELECT m.name, a.points_currency, a.seq, a.pending, a.available, a.held, a.debt, a.next_due_at
        FROM accounts a JOIN m ON m.member_id = a.owner_id WHERE a.program_id = $1
    """,
    "entry": """
        SELECT m.name, a.points_currency, e.seq, e.kind, e.cause, e.occurred_at, e.pending, e.available, e.held,
               e.debt, e.redates, CASE WHEN d.kind <> 'settle' THEN e.recorded_at END,
               (SELECT jsonb_agg(jsonb_build_array(p.source, p.target, p.points, l.vintage_at, l.issued_expires_at)
                       ORDER BY l.vintage_at, l.issued_expires_at, p.points, p.source, p.target)
                FROM postings p JOIN lots l ON l.program_id = p.program_id AND l.cell = p.cell AND l.id = p.lot_id
                WHERE p.program_id = e.program_id AND p.cell = e.cell AND p.entry_id = e.id)
        FROM entries e JOIN accounts a ON a.program_id = e.program_id AND a.cell = e.cell AND a.id = e.account_id
        JOIN decisions d ON d.program_id = e.program_id AND d.cell = e.cell AND d.id = e.decision_id
        JOIN m ON m.member_id = a.owner_id WHERE e.program_id = $1
    """,
    "lot": """
        SELECT m.name, a.points_currency, l.vintage_at, l.points, l.issued_activates_at, l.issued_expires_at,
               l.activates_at, l.expires_at, l.arrived_at, l.is_open, l.pending, l.available, l.held, l.redeemed,
               l.expired, l.revoked, l.transferred, l.deficit, l.was_expired
        FROM lots l JOIN accounts a ON a.program_id = l.program_id AND a.cell = l.cell AND a.id = l.account_id
        JOIN m ON m.member_id = a.owner_id WHERE l.program_id = $1
    """,
    "day": """
        SELECT m.name, d.day, d.spend_minor, d.visits, d.points
        FROM member_days d JOIN m ON m.member_id = d.member_id WHERE d.program_id = $1
    """,
    "standing": """
        SELECT m.name, s.tier_set, s.earned, s.since, s.lifetime, s.manual, s.falls_at, s.next_review_at, s.judged_by
        FROM standings s JOIN m ON m.member_id = s.member_id WHERE s.program_id = $1
    """,
    "move": """
        SELECT m.name, t.tier_set, t.at, t.before, t.after, t.why, t.metric
        FROM tier_moves t JOIN m ON m.member_id = t.member_id WHERE t.program_id = $1
    """,
}  # fmt: skip


async def content(link: Any, program_id: UUID) -> list[str]:
    """A line for each decision, entry, lot, day, standing and step, in an order that no id decides."""
    # The planner knows nothing of tables so new.
    await link.execute("SET enable_nestloop = off; SET enable_mergejoin = off; SET timezone = 'UTC'")
    lines: list[str] = []
    for name, query in _CONTENT.items():
        rows = await link.fetch(f"WITH m AS MATERIALIZED ({_MEMBERS}) {query}", program_id)
        lines += sorted(f"{name} {' '.join(map(str, row.values()))}" for row in rows)
    return lines


def digest(lines: list[str]) -> str:
    """One hash over the content."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
