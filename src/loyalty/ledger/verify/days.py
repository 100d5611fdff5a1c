"""What members did day by day, summed anew from what is left of their purchases and of the awards for them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from loyalty.base.calendar import local_date
from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import Connect, read, snapshot, zone_of
from loyalty.ledger.verify.report import Findings

CHUNK = 500  # members in one snapshot

_MEMBERS = """
SELECT id FROM members WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id LIMIT $4
"""
# A claimed purchase lies in the program's own lane, its claim in the member's.
_BOUGHT = """
WITH lanes AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1)
SELECT m.id, a.occurred_at, a.amount_minor, d.detail, r.amount_minor, r.complete, r.taken
FROM unnest($3::uuid[]) m(id), lanes l, LATERAL (
    SELECT * FROM activities WHERE program_id = $1 AND cell = l.cell AND member_id = m.id OFFSET 0) a, LATERAL (
    SELECT FROM activity_keys
    WHERE program_id = $1 AND activity_id = a.id AND kind = 'purchase' AND state = 'recorded' OFFSET 0) k, LATERAL (
    SELECT detail FROM decisions WHERE program_id = $1 AND cell = $2 AND id = a.awarded_by OFFSET 0) d, LATERAL (
    SELECT sum(amount_minor)::bigint AS amount_minor, bool_or(complete) AS complete, json_agg(taken)::text AS taken
    FROM returns WHERE program_id = $1 AND cell = l.cell AND purchase_id = a.id OFFSET 0) r
"""
_DAYS = """
SELECT d.member_id, d.day, d.spend_minor, d.visits, d.points::text
FROM unnest($3::uuid[]) m(id), LATERAL (
    SELECT * FROM member_days WHERE program_id = $1 AND cell = $2 AND member_id = m.id OFFSET 0) d
"""
_STRAY = """
SELECT d.member_id FROM (SELECT DISTINCT member_id FROM member_days WHERE program_id = $1 AND cell = $2) d
LEFT JOIN LATERAL (
    SELECT true AS there FROM members WHERE program_id = $1 AND cell = $2 AND id = d.member_id OFFSET 0) m ON true
WHERE m.there IS NULL LIMIT 1
"""


class _Award(msgspec.Struct):
    points_currency: str
    points: int


class _Day:
    __slots__ = ("points", "spend_minor", "visits")

    def __init__(self) -> None:
        self.spend_minor = self.visits = 0
        self.points: dict[str, int] = {}

    def says(self) -> tuple[int, int, dict[str, int]]:
        """Its figures; points of which there are none count like points that are not named."""
        return self.spend_minor, self.visits, {code: points for code, points in self.points.items() if points}


class _Awarded(msgspec.Struct):
    awards: tuple[_Award, ...] = ()


_awarded = msgspec.json.Decoder(_Awarded).decode
_taken = msgspec.json.Decoder(list[list[int]]).decode
_points = msgspec.json.Decoder(dict[str, int]).decode
_NOTHING = (0, 0, dict[str, int]())


async def days(connect: Connect, program_id: UUID, cell: int, findings: Findings) -> None:
    """Every day of a lane's members says what they bought on it, less what of it was given back."""
    after: UUID | None = NIL
    zone: ZoneInfo | None = None
    while after is not None:
        async with snapshot(connect, program_id) as connection:
            if zone is None:
                zone = await zone_of(connection, program_id)
                if zone is None:
                    return
            rows = await connection.fetch(_MEMBERS, program_id, cell, after, CHUNK)
            members = [id for (id,) in rows]
            bought = await connection.fetch(_BOUGHT, program_id, cell, members)
            kept = await connection.fetch(_DAYS, program_id, cell, members)
            if after == NIL and (stray := await connection.fetchval(_STRAY, program_id, cell)) is not None:
                key: dict[str, object] = {"cell": cell, "member_id": stray}
                findings.add(("member_days", stray), "member_days", key, "belongs to no member")
        _compare(cell, _summed(bought, zone), kept, findings)
        after = members[-1] if len(members) == CHUNK else None


def _summed(bought: Sequence[Any], zone: ZoneInfo) -> dict[tuple[UUID, Any], _Day]:
    found: dict[tuple[UUID, Any], _Day] = {}
    for member_id, occurred_at, amount_minor, detail, back_minor, complete, taken in bought:
        key = (member_id, local_date(occurred_at, zone))
        day = found.get(key)
        if day is None:
            day = found[key] = _Day()
        day.spend_minor += amount_minor - (back_minor or 0)
        day.visits += not complete
        try:
            awards = _awarded(detail).awards
        except msgspec.MsgspecError:
            continue  # named with the chain
        # What cannot be read of returns is named with them.
        parts = read(_taken, taken, list[list[int]]()) if taken else []
        for index, award in enumerate(awards):
            left = award.points - sum(part[index] for part in parts if index < len(part))
            day.points[award.points_currency] = day.points.get(award.points_currency, 0) + left
    return found


def _compare(
    cell: int, summed: dict[tuple[UUID, Any], _Day], kept: Sequence[Any], findings: Findings
) -> None:
    for member_id, on, spend_minor, visits, points in kept:
        day = summed.pop((member_id, on), None)
        try:
            named = {code: figure for code, figure in _points(points).items() if figure}
        except msgspec.MsgspecError:
            named = None
        if (spend_minor, visits, named) != (day.says() if day else _NOTHING):
            _broken(findings, cell, member_id, on, "does not say what is left of what was bought on it")
    for (member_id, on), day in summed.items():
        if day.says() != _NOTHING:
            _broken(findings, cell, member_id, on, "is missing: something was bought on it")


def _broken(findings: Findings, cell: int, member_id: UUID, on: Any, what: str) -> None:
    key: dict[str, object] = {"cell": cell, "member_id": member_id, "day": on}
    findings.add(("member_days", member_id), "member_days", key, what)
