"""Rows where no reader of a lane would come by."""

from uuid import UUID

from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import Findings

_HEADS = "SELECT cell FROM heads WHERE program_id = $1 ORDER BY cell"
_CELLS = "SELECT cells FROM deployment"
_TABLES = (
    "blocks", "decisions", "entries", "postings", "lots", "accounts", "counters", "holds", "activities", "returns",
    "redemptions", "engagement_events", "members", "member_profiles", "member_changes", "member_pins", "proposals",
    "freezes", "member_days", "standings", "tier_moves",
)  # fmt: skip
_ELSEWHERE = """
SELECT cell FROM {table} WHERE program_id = $1 AND cell < 0
UNION ALL SELECT cell FROM {table} WHERE program_id = $1 AND cell >= $2 LIMIT 1
"""


async def strays(connect: Connect, program_id: UUID, findings: Findings) -> None:
    """The program has the lanes of its deployment and no rows beside them."""
    async with snapshot(connect, program_id) as connection:
        cells: int = await connection.fetchval(_CELLS) or 0
        heads = [cell for (cell,) in await connection.fetch(_HEADS, program_id)]
        for cell in sorted({*heads} ^ {*range(cells)}):
            what = "is no lane of this deployment" if cell in heads else "is missing: the lane has no head"
            findings.add("heads", "heads", {"cell": cell}, what)
        for table in _TABLES:
            cell = await connection.fetchval(_ELSEWHERE.format(table=table), program_id, cells)
            if cell is not None:
                findings.add(("cell", table), table, {"cell": cell}, "lies in no lane of the program")
