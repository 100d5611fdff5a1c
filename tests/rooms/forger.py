"""The hash of a stored block, by reading its rows into Structs: what somebody who forges a chain would compute."""

from typing import Any
from uuid import UUID

import msgspec

from loyalty.ledger.chain import block_hash
from loyalty.ledger.types import Bucket, Decision, Entry, EntryKind, Lot, Posting, Redate


async def hash_of(connection: Any, program_id: UUID, number: int) -> bytes:
    """The hash of block `number` of lane 0 from what is stored now."""
    block = await connection.fetchrow(
        "SELECT * FROM blocks WHERE program_id = $1 AND cell = 0 AND number = $2", program_id, number
    )
    decisions = await connection.fetch(
        "SELECT * FROM decisions WHERE program_id = $1 AND block_number = $2", program_id, number
    )
    closes_on = block["closes_on"]
    return block_hash(
        block["format"],
        program_id,
        0,
        number,
        block["recorded_at"],
        block["config_number"],
        closes_on and closes_on.isoformat(),
        block["previous_hash"],
        [await _decision(connection, row) for row in decisions],
    )


async def _decision(connection: Any, row: Any) -> Decision:
    entries = await connection.fetch(
        "SELECT * FROM entries WHERE program_id = $1 AND decision_id = $2", row["program_id"], row["id"]
    )
    return Decision(
        **{name: row[name] for name in Decision.__struct_fields__ if name != "entries"},
        entries=tuple([await _entry(connection, entry) for entry in entries]),
    )


async def _entry(connection: Any, row: Any) -> Entry:
    postings = await connection.fetch(
        "SELECT * FROM postings WHERE program_id = $1 AND entry_id = $2 ORDER BY position",
        row["program_id"],
        row["id"],
    )
    lots = await connection.fetch(
        "SELECT * FROM lots WHERE program_id = $1 AND issuing_entry_id = $2", row["program_id"], row["id"]
    )
    stored = {
        name: row[name]
        for name in Entry.__struct_fields__
        if name not in ("postings", "redates", "lots", "kind")
    }
    return Entry(
        **stored,
        kind=EntryKind(row["kind"]),
        postings=tuple(
            Posting(p["lot_id"], p["points"], Bucket(p["source"]), Bucket(p["target"])) for p in postings
        ),
        redates=msgspec.json.decode(row["redates"] or "[]", type=tuple[Redate, ...]),
        lots=tuple(Lot(**{name: lot[name] for name in Lot.__struct_fields__}) for lot in lots),
    )
