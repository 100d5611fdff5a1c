"""What is done by hand and stands beside the ledger: proposals, frozen accounts, members, their status and last change.

Each row must say what the newest decision about it says; the chain answers for the decisions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from loyalty.ledger.verify.frame import (
    BY_HAND,
    COMES,
    STOOD,
    UNREADABLE,
    Changes,
    Connect,
    Notes,
    read,
    snapshot,
    stream,
)
from loyalty.ledger.verify.report import Findings

_NEWER = f"""
SELECT d.id, d.kind, d.member_id, CASE d.kind WHEN 'import_member' THEN d.occurred_at END, b.recorded_at,
       d.answer_status, d.detail
FROM decisions d, LATERAL (
    SELECT recorded_at FROM blocks WHERE program_id = $1 AND cell = $2 AND number = d.block_number OFFSET 0) b
WHERE d.program_id = $1 AND d.cell = $2 AND d.id > $3 AND (d.kind IN {BY_HAND} OR {COMES} OR {STOOD}) ORDER BY d.id
"""
_PROPOSALS = """
SELECT id, kind, member_id, points_currency, points, reason, reference, proposed_by_kind, proposed_by, proposed_at,
       lapses_at, proposed_in, state, decided_by, decided_at, decided_in
FROM proposals WHERE program_id = $1 AND cell = $2
"""
_FREEZES = """
SELECT member_id, points_currency, frozen, reason, since, decision_id
FROM freezes WHERE program_id = $1 AND cell = $2
"""
_MEMBERS = "SELECT id, status, enrolled_at, merged_into FROM members WHERE program_id = $1 AND cell = $2"
_STANDINGS = """
SELECT member_id, tier_set, judged_by, earned, since, lifetime, manual::text, falls_at
FROM standings WHERE program_id = $1 AND cell = $2
"""
_MOVES = """
SELECT member_id, tier_set, decision_id, position, at, before, after, why, metric
FROM tier_moves WHERE program_id = $1 AND cell = $2
"""
_UNLIKE = "does not say what the last decision about it says"

_CHANGES = "SELECT member_id, changed_at FROM member_changes WHERE program_id = $1 AND cell = $2"


class _Move(msgspec.Struct, frozen=True):
    at: datetime
    before: str | None
    after: str | None
    why: str
    metric: int


class _Stood(msgspec.Struct, frozen=True):
    """Where a member stands on a ladder, as a decision notes it; what its days say is not in it."""

    tier_set: str
    judged_by: int
    earned: str | None = None
    since: datetime | None = None
    lifetime: str | None = None
    manual: dict[str, Any] | None = None
    falls_at: datetime | None = None
    moves: tuple[_Move, ...] = ()


class Detail(Changes, frozen=True):
    """What a decision's detail says of anything that stands beside the ledger."""

    content_sha256: str | None = None
    note: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    enrolled: bool = False
    stood: tuple[_Stood, ...] = ()


class Heard(NamedTuple):
    """A decision of the chain."""

    id: UUID
    kind: str
    member_id: UUID | None
    occurred_at: datetime | None  # of the import of a member
    recorded_at: datetime
    answer_status: int
    detail: Detail


_manual = msgspec.json.Decoder(dict[str, Any]).decode
_NEVER_GIVEN = dict[str, Any]()  # no decision gives a tier so
read_detail = msgspec.json.Decoder(Detail).decode  # raises MsgspecError when the detail cannot be read


def hear(notes: Notes, cell: int, said: Heard) -> None:
    """Note what a decision says of a row beside the ledger, if it is about one. Raises UNREADABLE of a strange note."""
    detail = said.detail
    note: Any = detail.note
    if detail.enrolled or (said.kind == "enrol" and said.answer_status == 201):  # 200: it was there
        since = said.recorded_at if said.occurred_at is None else said.occurred_at
        notes.said(cell, "enrolled", str(said.member_id), since.isoformat())
    for stood in detail.stood:
        key = f"{said.member_id} {stood.tier_set}"
        notes.said(cell, "standings", key, _text(replace(stood, moves=())))
        for position, move in enumerate(stood.moves, start=1):
            notes.said(cell, "tier_moves", f"{key} {said.id} {position}", _text(move))
    if said.kind not in BY_HAND:
        return
    match said.kind:
        case "propose" | "approve" | "reject":
            proposal = note.get("proposal", {})
            notes.said(cell, "proposals", str(proposal.get("id")), _text(proposal))
        case "freeze" | "unfreeze":
            key = f"{said.member_id} {note.get('points_currency')}"
            notes.said(cell, "freezes", key, _text({**note, "decision_id": said.id}))
        case _:
            notes.said(cell, "members", str(said.member_id), _text({"status": note.get("status")}))
            new_identifier = said.kind == "identifier" and said.answer_status != 200  # 200: it was known
            if new_identifier or (said.kind == "change_member" and "profile" in note.get("changed", ())):
                notes.said(
                    cell, "member_changes", str(said.member_id), _text({"changed_at": said.recorded_at})
                )


def _text(value: Any) -> str:
    """One text for equal facts, whether read from JSON or from a row."""
    return msgspec.json.encode(value, order="sorted").decode()


class DeskReader:
    """Compares the rows of one lane with what its decisions say."""

    def __init__(
        self, connect: Connect, program_id: UUID, cell: int, notes: Notes, findings: Findings
    ) -> None:
        self.connect = connect
        self.program_id = program_id
        self.cell = cell
        self.notes = notes
        self.findings = findings

    async def read(self, last_id: UUID) -> None:
        """All rows as one snapshot sees them, with what was decided since the chain's reader passed `last_id`."""
        async with snapshot(self.connect, self.program_id) as connection:
            lane = (self.program_id, self.cell)
            async for page in stream(connection, _NEWER, *lane, last_id):
                for id, kind, member_id, occurred_at, recorded_at, status, text in page:
                    try:
                        detail = read_detail(text)
                        said = Heard(id, kind, member_id, occurred_at, recorded_at, status, detail)
                        hear(self.notes, self.cell, said)
                    except UNREADABLE:
                        continue  # named with its decision
            async for page in stream(connection, _PROPOSALS, *lane):
                self._compare("proposals", [(str(row["id"]), dict(row)) for row in page])
            async for page in stream(connection, _FREEZES, *lane):
                rows = [dict(row) for row in page]
                self._compare(
                    "freezes", [(f"{row.pop('member_id')} {row['points_currency']}", row) for row in rows]
                )
            async for page in stream(connection, _MEMBERS, *lane):
                self._compare_members(page)
            async for page in stream(connection, _STANDINGS, *lane):
                standings: list[tuple[str, object]] = []
                for member_id, tier_set, judged_by, *held in page:
                    earned, since, lifetime, manual, falls_at = held
                    given = None if manual is None else read(_manual, manual, _NEVER_GIVEN)
                    stood = _Stood(tier_set, judged_by, earned, since, lifetime, given, falls_at)
                    standings.append((f"{member_id} {tier_set}", stood))
                self._compare("standings", standings)
            async for page in stream(connection, _MOVES, *lane):
                moves = [
                    (f"{member_id} {tier_set} {decision_id} {position}", _Move(*move))
                    for member_id, tier_set, decision_id, position, *move in page
                ]
                self._compare("tier_moves", moves)
            async for page in stream(connection, _CHANGES, *lane):
                self._compare("member_changes", [(str(id), {"changed_at": at}) for id, at in page])
        for about, key in self.notes.left_said(self.cell):
            table = "members" if about == "enrolled" else about
            self._broken(table, key, "is missing: a decision speaks of it")

    def _compare_members(self, page: list[Any]) -> None:
        ids = [str(id) for id, *_ in page]
        statuses = self.notes.take_said(self.cell, "members", ids)
        enrolled = self.notes.take_said(self.cell, "enrolled", ids)
        for id, (_, status, enrolled_at, merged_into) in zip(ids, page, strict=True):
            said = statuses.pop(id, None)
            # No decision tells the status of whom a first purchase enrolled, for one.
            if status != "active" if said is None else said != _text({"status": status}):
                self._broken("members", id, _UNLIKE)
            if enrolled.pop(id, None) != enrolled_at.isoformat():
                self._broken("members", id, "was not enrolled then by any decision")
            if merged_into is not None:
                self._broken("members", id, "is merged into another, which no decision did")

    def _compare(self, table: str, rows: Sequence[tuple[str, object]]) -> None:
        """`rows`: their keys and what they say."""
        known = self.notes.take_said(self.cell, table, [key for key, _ in rows])
        for key, says in rows:
            said = known.pop(key, None)
            if said is None:
                self._broken(table, key, "no decision speaks of it")
            elif said != _text(says):
                self._broken(table, key, _UNLIKE)

    def _broken(self, table: str, key: str, what: str) -> None:
        self.findings.add((table, key), table, {"cell": self.cell, "key": key}, what)
