"""What verification asks of the tiers: whether every standing is reviewed when its days say so.

The rest of a standing must be as decisions note it (ledger/verify); when it is due next follows from the days.
"""

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.calendar import local_date
from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import Findings
from loyalty.posting import store
from loyalty.posting.configuration import History
from loyalty.posting.histories import Histories
from loyalty.tiers.review import due_next
from loyalty.tiers.types import Day, Standing

CHUNK = 500  # members in one snapshot

# A clock that runs ahead has reviewed what by ours is still to come.
_NOW = """
SELECT coalesce((SELECT now_at FROM sandbox_clocks WHERE program_id = $1), greatest(now(), (
    SELECT max(b.recorded_at) FROM heads h, LATERAL (
        SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = h.cell ORDER BY number DESC LIMIT 1) b
    WHERE h.program_id = $1)))
"""
_MEMBERS = """
SELECT m.id, m.cell, m.status, m.enrolled_at FROM members m WHERE m.program_id = $1 AND (m.cell, m.id) > ($2, $3)
ORDER BY m.cell, m.id LIMIT $4
"""
_STANDINGS = f"""
SELECT s.member_id, {store.STANDING} FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM standings WHERE program_id = $1 AND cell = u.cell AND member_id = u.id OFFSET 0) s
"""
_DAYS = f"""
SELECT d.member_id, {store.DAY} FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
    SELECT * FROM member_days WHERE program_id = $1 AND cell = u.cell AND member_id = u.id OFFSET 0) d
"""
_INSTANT = timedelta(microseconds=1)


async def reviews(connect: Connect, program_id: UUID, findings: Findings) -> None:
    """Every standing is due when its days say so; those of the erased never are."""
    histories = Histories()
    after: tuple[int, UUID] | None = (-1, NIL)
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            history = await histories.refresh(connection, program_id)
            if not history.laddered:
                return
            now = await connection.fetchval(_NOW, program_id)
            members = await connection.fetch(_MEMBERS, program_id, *after, CHUNK)
            who = [row[0] for row in members], [row[1] for row in members]
            standings = await connection.fetch(_STANDINGS, program_id, *who)
            days = await connection.fetch(_DAYS, program_id, *who)
        _check(history, now, members, standings, days, findings)
        after = (members[-1][1], members[-1][0]) if len(members) == CHUNK else None


def _check(
    history: History,
    now: datetime,
    members: Sequence[Any],
    standings: Sequence[Any],
    days: Sequence[Any],
    findings: Findings,
) -> None:
    did: dict[UUID, list[Day]] = {}
    for member_id, *day in days:
        with contextlib.suppress(msgspec.MsgspecError):  # named with what was bought on it
            did.setdefault(member_id, []).append(store.day_of(*day))
    erased = {id for id, _, status, _ in members if status == "erased"}
    in_force = history.at(now)
    joined = {id: local_date(enrolled_at, in_force.zone) for id, _, _, enrolled_at in members}
    for member_id, judged_by, *row in standings:
        try:
            standing = store.standing_of(*row)
        except msgspec.MsgspecError:
            continue  # named as not what the decisions say
        ladder = in_force.ladders.get(standing.tier_set)
        key: dict[str, object] = {"member_id": member_id, "tier_set": standing.tier_set}
        if standing.joined_on != joined[member_id]:
            findings.add(
                ("standings", member_id), "standings", key, "counts from another day than its member"
            )
        if not 0 < judged_by <= history.now.number:
            continue  # named as not what the decisions say
        if ladder is None or not history.same_ladder(standing.tier_set, judged_by, now):
            continue  # no ladder in force, or one that is to be looked at anew: what is due on it is not
        due = standing.next_review_at
        looked = now if due is None or due > now else due - _INSTANT
        meant = None
        if member_id not in erased:
            meant = due_next(ladder, standing, did.get(member_id, ()), looked, in_force.zone)
        if due != meant:
            findings.add(("standings", member_id), "standings", key, _otherwise(standing, meant))


def _otherwise(standing: Standing, meant: datetime | None) -> str:
    told = [None if at is None else at.isoformat() for at in (standing.next_review_at, meant)]
    return f"is to be reviewed {told[0] or 'never'}, but by its days {told[1] or 'never'}"
