"""What purchases left in the database, counted as superuser: a figure is worth nothing when rows are missing."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec

from loyalty.ledger.verify import Report, verify

COUNTS = {
    "decisions": "SELECT count(*) FROM decisions WHERE program_id = $1 AND kind = 'purchase'",
    "activities": "SELECT count(*) FROM activities WHERE program_id = $1",
    "activity keys": "SELECT count(*) FROM activity_keys WHERE program_id = $1",
    "idempotency records": "SELECT count(*) FROM idempotency_records WHERE program_id = $1",
    "entries": "SELECT count(*) FROM entries WHERE program_id = $1",
    "postings": "SELECT count(*) FROM postings WHERE program_id = $1",
    "lots": "SELECT count(*) FROM lots WHERE program_id = $1",
    "sum of seq": "SELECT coalesce(sum(seq), 0)::bigint FROM accounts WHERE program_id = $1",
    "events": "SELECT count(*) FROM engagement_events"
    " WHERE program_id = $1 AND type = 'loyalty.purchase.recorded'",
}


class RowsMissing(Exception):
    """Purchases were reported that left too few or too many rows."""


class BooksBroken(Exception):
    """The books that the bench wrote do not verify."""


class Texts(msgspec.Struct, frozen=True):
    """What one purchase stores as text: the rival stores the same."""

    content: str
    detail: str
    answer: str
    event: str


def check(superuser_url: str, program_id: UUID, recorded: int) -> None:
    """Raises: RowsMissing unless each of the recorded purchases left exactly one row everywhere."""
    rows = asyncio.run(_counts(superuser_url, program_id))
    if wrong := {what: count for what, count in rows.items() if count != recorded}:
        raise RowsMissing(
            f"{recorded} purchases were reported in program {program_id}, but there are: {wrong}"
        )


def check_books(app_url: str, program_id: UUID) -> int:
    """Verify the books of a program as the application's role and return the decisions seen. Raises: BooksBroken."""
    report = asyncio.run(_verify(app_url, program_id))
    if not report.intact:
        first = [f"{finding.table} {finding.key}: {finding.what}" for finding in report.findings[:3]]
        raise BooksBroken(f"{report.broken} rows are broken: {'; '.join(first)}")
    return report.figures.decisions


def texts_of_one(superuser_url: str, program_id: UUID) -> Texts:
    """The texts of the newest purchase of a program."""
    return asyncio.run(_texts(superuser_url, program_id))


async def _counts(url: str, program_id: UUID) -> dict[str, int]:
    link = await asyncpg.connect(url)
    try:
        return {what: await link.fetchval(query, program_id) for what, query in COUNTS.items()}
    finally:
        await link.close()


async def _verify(url: str, program_id: UUID) -> Report:
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        return await verify(pool.acquire, program_id)


async def _texts(url: str, program_id: UUID) -> Texts:
    link = await asyncpg.connect(url)
    try:
        row = await link.fetchrow(
            """
            SELECT a.content::text, d.detail, d.answer, e.data::text AS event
            FROM decisions d
            JOIN activities a ON a.program_id = d.program_id AND a.id = d.activity_id
            JOIN engagement_events e ON e.program_id = d.program_id AND e.decision_id = d.id
            WHERE d.program_id = $1 AND d.kind = 'purchase' ORDER BY d.id DESC LIMIT 1
            """,
            program_id,
        )
        assert row is not None, "no purchase was recorded"
        return msgspec.convert(dict(row), Texts)
    finally:
        await link.close()
