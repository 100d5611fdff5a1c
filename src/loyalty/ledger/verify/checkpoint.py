"""Checkpoints: hashes of blocks that an auditor keeps outside, and their comparison with the chain.

Only they show that a whole chain was written anew, or that its last blocks were removed with all they covered.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import Figures, Findings

_NOTED = """
SELECT cell, number, closes_on, recorded_at, hash FROM blocks b
WHERE program_id = $1 AND (closes_on IS NOT NULL OR number = (
    SELECT max(number) FROM blocks n WHERE n.program_id = $1 AND n.cell = b.cell))
ORDER BY cell, number
"""
_BLOCKS = "SELECT number, hash FROM blocks WHERE program_id = $1 AND cell = $2 AND number = ANY($3::bigint[])"


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block as it was: a line of a checkpoint file."""

    program: UUID
    cell: int
    number: int
    closes_on: date | None  # the program day that this block closed
    recorded_at: datetime
    hash: str  # hex


class CheckpointFileWrong(Exception):
    """The file is not one that `loyalty checkpoint` wrote; its text says which line."""


async def checkpoints(connect: Connect, program_id: UUID) -> list[Checkpoint]:
    """The blocks that closed a day, and each lane's newest block."""
    async with snapshot(connect, program_id) as connection:
        rows = await connection.fetch(_NOTED, program_id)
    return [
        Checkpoint(program_id, cell, number, closes_on, recorded_at, hash.hex())
        for cell, number, closes_on, recorded_at, hash in rows
    ]


def to_lines(noted: Iterable[Checkpoint]) -> bytes:
    """A checkpoint file: one JSON object a line."""
    return msgspec.json.Encoder().encode_lines(list(noted))


def from_lines(text: bytes) -> list[Checkpoint]:
    """What a checkpoint file says. Raises: CheckpointFileWrong."""
    found: list[Checkpoint] = []
    for place, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=Checkpoint))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise CheckpointFileWrong(f"line {place}: {error}") from error
    if not found:
        raise CheckpointFileWrong("it notes no block")
    return found


async def compare(
    connect: Connect, program_id: UUID, noted: Sequence[Checkpoint], findings: Findings, figures: Figures
) -> None:
    """Every block that was noted for this program is still there and has its hash."""
    mine = [one for one in noted if one.program == program_id]
    by_cell: dict[int, list[Checkpoint]] = {}
    for one in mine:
        by_cell.setdefault(one.cell, []).append(one)
    for cell, known in by_cell.items():
        async with snapshot(connect, program_id) as connection:
            rows = await connection.fetch(_BLOCKS, program_id, cell, [one.number for one in known])
        hashes: dict[int, bytes] = dict(map(tuple, rows))  # type: ignore[arg-type]
        for one in known:
            hash = hashes.get(one.number)
            if hash is None or hash.hex() != one.hash:
                what = "is gone" if hash is None else "was written anew: it has another hash"
                findings.add(
                    ("checkpoint", cell),
                    "blocks",
                    {"cell": cell, "number": one.number},
                    f"{what}; the checkpoint noted it at {one.recorded_at.isoformat()}",
                )
    figures.checkpoints += len(mine)
