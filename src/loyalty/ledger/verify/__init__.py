"""`verify`: the books of one program recomputed from their rows, beside traffic, and every broken row named.

What it proves and what only a checkpoint kept outside can show is docs/ledger.md, "Verification".
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic_ns
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from loyalty.base.ids import NIL
from loyalty.ledger.verify import checkpoint as checkpoint_files
from loyalty.ledger.verify.accounts import AccountReader
from loyalty.ledger.verify.activities import activities, told
from loyalty.ledger.verify.checkpoint import Checkpoint
from loyalty.ledger.verify.days import days
from loyalty.ledger.verify.desk import DeskReader
from loyalty.ledger.verify.frame import LAST, Connect, Notes, Progress, snapshot, until
from loyalty.ledger.verify.lanes import LaneReader
from loyalty.ledger.verify.links import LinkReader
from loyalty.ledger.verify.program import ProgramReader
from loyalty.ledger.verify.redeemed import redemptions, reservations, stocks
from loyalty.ledger.verify.report import Figures, Finding, Findings, LaneFigures, Report
from loyalty.ledger.verify.strays import strays
from loyalty.ledger.verify.values import values

__all__ = ["Checkpoint", "Connect", "Figures", "Finding", "LaneFigures", "Progress", "Report", "verify"]

Check = Callable[[Connect, UUID, Findings], Awaitable[None]]
T = TypeVar("T")
U = TypeVar("U")

_ACCOUNTS = "SELECT count(*) FROM accounts WHERE program_id = $1"

_LANES = """
SELECT h.cell, coalesce((SELECT max(number) FROM blocks b WHERE b.program_id = $1 AND b.cell = h.cell), 0)
FROM heads h WHERE h.program_id = $1 ORDER BY h.cell
"""


async def verify(
    connect: Connect,
    program_id: UUID,
    *,
    progress: Progress | None = None,
    checkpoint: Sequence[Checkpoint] | None = None,
    also: Sequence[Check] = (),
) -> Report:
    """Read all books of one program and tell what is broken; nothing is written and nobody waits for it.

    `connect` gives asyncpg connections of the application's role, two at a time where it can. The chain is read up to
    the blocks there are now; accounts as they are when their turn comes. `also` are checks of rooms that know more.
    """
    began_ns, findings, figures, notes = monotonic_ns(), Findings(), Figures(), Notes()
    check = findings.during
    common = (findings, figures)
    try:
        async with snapshot(connect, program_id) as connection:
            began_at = await connection.fetchval("SELECT clock_timestamp()")
            accounts = await connection.fetchval(_ACCOUNTS, program_id)
            lanes: list[Any] = await connection.fetch(_LANES, program_id)
        readers = [LaneReader(connect, program_id, cell, notes, *common) for cell, _ in lanes]
        links = LinkReader(connect, program_id, notes, *common)

        async def chains() -> list[LaneFigures | None]:
            """What is hashed and summed here, while the database looks for the others."""
            step = _teller(progress, "chain", sum(last for _, last in lanes))
            ends = [
                await check("chain", reader.read(last, step))
                for reader, (_, last) in zip(readers, lanes, strict=True)
            ]
            step = _teller(progress, "accounts", accounts)
            for cell, _ in lanes:
                await check("accounts", AccountReader(connect, program_id, cell, *common).read(step))
            for reader in readers:
                cell, last_id = reader.cell, reader.last_id
                if reader.ended:  # all that its decisions say is noted
                    await check("limits", links.counters(cell, last_id))
                    await check("desk", DeskReader(connect, program_id, cell, notes, findings).read(last_id))
                    if cell == 0:
                        program = ProgramReader(connect, program_id, last_id, notes, findings)
                        await check("lanes", program.clock())
                        await check("configurations", program.configurations())
                await check("chain", reader.rows_beyond())
            if all(reader.ended for reader in readers):
                ends_of = [(one.cell, one.last_id) for one in readers]
                await check("stocks", stocks(connect, program_id, ends_of, notes, findings))
                _transfers(notes, findings)
            return ends

        async def beside() -> None:
            """What follows from rows alone, most of it within the database."""
            step = _teller(progress, "links", len(lanes) + 3)
            for cell, _ in lanes:
                await _ranges(connect, program_id, cell, links, findings)
                await check("holds", links.holds(cell))
                await check("returns", links.returns(cell))
                await check("days", days(connect, program_id, cell, findings))
                await check("redemptions", redemptions(connect, program_id, cell, findings, figures))
                step(1)
            await check("requests", links.idempotency_records())
            step(1)
            await check("receipts", links.natural_keys())
            step(1)
            await check("stocks", reservations(connect, program_id, findings))
            for more in also:
                await check("reviews", more(connect, program_id, findings))
            step(1)

        await check("lanes", strays(connect, program_id, findings))
        ends, _ = await _both(chains(), beside())
        if checkpoint is not None:
            compared = checkpoint_files.compare(connect, program_id, checkpoint, findings, figures)
            await check("checkpoint", compared)
        if findings.unended:
            await check("values", values(connect, program_id, findings))
    finally:
        notes.close()
    return Report(
        program_id=program_id,
        began_at=began_at,
        seconds=round((monotonic_ns() - began_ns) / 1e9, 3),
        intact=not findings.broken,
        lanes=tuple(end for end in ends if end is not None),
        figures=figures,
        broken=findings.broken,
        findings=findings.told(),
    )


async def _ranges(
    connect: Connect, program_id: UUID, cell: int, links: LinkReader, findings: Findings
) -> None:
    """What is read beside each other in the order of a lane's ids."""
    after = NIL
    while after != LAST:
        async with snapshot(connect, program_id) as connection:
            # A range is many rows of each table, also where the planner expects one.
            await connection.execute("SET LOCAL enable_nestloop = off")
            ids = (after, await until(connection, program_id, cell, after))
            await findings.during("receipts", _apart(connection, links.decided, cell, ids))
            for compare in (activities, told):
                compared = _apart(connection, compare, program_id, cell, ids, findings)
                await findings.during("purchases", compared)
        after = ids[1]


async def _apart(
    connection: asyncpg.Connection, compare: Callable[..., Awaitable[None]], *what: object
) -> None:
    """What breaks within a snapshot leaves it to those that come after."""
    async with connection.transaction():
        await compare(connection, *what)


def _transfers(notes: Notes, findings: Findings) -> None:
    """What one member's entries gave away another's received."""
    for decision_id, net in notes.one_sided():
        what = f"gave {net} points away that nobody received" if net > 0 else f"made {-net} points of nothing"
        findings.add(("transfers", decision_id), "decisions", {"id": decision_id}, what, check="transfers")


async def _both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """What both give; when one fails the other ends first, and the error is told as it is."""
    tasks = asyncio.ensure_future(one), asyncio.ensure_future(other)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _teller(progress: Progress | None, phase: str, total: int) -> Any:
    """A function that adds to what is done of a phase and tells it."""
    done = 0

    def add(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(phase, done, max(total, done))

    add(0)
    return add
