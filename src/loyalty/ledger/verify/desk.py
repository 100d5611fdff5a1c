"""What is done by hand and stands beside the ledger: proposals, frozen accounts, members, their status and last change.

Each row must say what the newest decision about it says; the chain answers for the decisions.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from loyalty.base.ids import NIL
from loyalty.ledger.verify.frame import (
    BY_HAND,
    COMES,
    LAST,
    PAGE,
    STOOD,
    UNREADABLE,
    Changes,
    Connect,
    Ids,
    Notes,
    read,
    snapshot,
    stream,
)
from loyalty.ledger.verify.report import Findings

# Every decision, so that none is looked at twice; its detail and instant where it may tell of such a row.
_NEWER = f"""
SELECT d.id, d.kind, d.member_id, CASE d.kind WHEN 'import_member' THEN d.occurred_at END, b.recorded_at,
       d.answer_status, CASE WHEN b.recorded_at IS NOT NULL THEN d.detail END
FROM decisions d LEFT JOIN LATERAL (
    SELECT recorded_at FROM blocks
    WHERE program_id = $1 AND cell = $2 AND number = d.block_number AND (d.kind IN {BY_HAND} OR {COMES} OR {STOOD})
    OFFSET 0) b ON true
WHERE d.program_id = $1 AND d.cell = $2 AND d.id > $3 ORDER BY d.id
"""
_UNTIL = """
SELECT {of} FROM {table} WHERE program_id = $1 AND cell = $2 AND {of} > $3 ORDER BY {of} OFFSET $4 LIMIT 1
"""
_ROWS = """
SELECT {of}, {columns} FROM {table} WHERE program_id = $1 AND cell = $2 AND {of} > $3 AND {of} <= $4
"""
_PROPOSAL = """
kind, member_id, points_currency, points, reason, reference, proposed_by_kind, proposed_by, proposed_at, lapses_at,
proposed_in, state, decided_by, decided_at, decided_in
"""
_FREEZE = "points_currency, frozen, reason, since, decision_id"
_STANDING = "tier_set, judged_by, earned, since, lifetime, manual::text, falls_at"
_MOVE = "tier_set, decision_id, position, at, before, after, why, metric"
_UNLIKE = "does not say what the last decision about it says"


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


class _Page(NamedTuple):
    ids: Ids
    rows: list[Any]


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
        self.last_id = NIL  # of the decisions that were noted

    async def read(self, last_id: UUID) -> None:
        """Compare all rows, a page at a time; `last_id` is the last that the chain's reader saw."""
        self.last_id = last_id
        async for page in self._pages("proposals", "id", _PROPOSAL):
            self._compare("proposals", page, [(str(row["id"]), dict(row)) for row in page.rows])
        async for page in self._pages("freezes", "member_id", _FREEZE):
            rows = [dict(row) for row in page.rows]
            freezes = [(f"{row.pop('member_id')} {row['points_currency']}", row) for row in rows]
            self._compare("freezes", page, freezes)
        async for page in self._pages("members", "id", "status, enrolled_at, merged_into"):
            self._compare_members(page)
        async for page in self._pages("standings", "member_id", _STANDING):
            standings: list[tuple[str, object]] = []
            for member_id, tier_set, judged_by, *held in page.rows:
                earned, since, lifetime, manual, falls_at = held
                given = None if manual is None else read(_manual, manual, _NEVER_GIVEN)
                stood = _Stood(tier_set, judged_by, earned, since, lifetime, given, falls_at)
                standings.append((f"{member_id} {tier_set}", stood))
            self._compare("standings", page, standings)
        async for page in self._pages("tier_moves", "member_id", _MOVE):
            moves = [
                (f"{member_id} {tier_set} {decision_id} {position}", _Move(*move))
                for member_id, tier_set, decision_id, position, *move in page.rows
            ]
            self._compare("tier_moves", page, moves)
        async for page in self._pages("member_changes", "member_id", "changed_at"):
            self._compare("member_changes", page, [(str(id), {"changed_at": at}) for id, at in page.rows])

    async def _pages(self, table: str, of: str, columns: str) -> AsyncGenerator[_Page, None]:
        """The rows of a table by whose they are, `of`, and all of one member on one page.

        Each page's snapshot first adds what was decided meanwhile, up to what it sees itself.
        """
        after = NIL
        while after != LAST:
            behind = (self.program_id, self.cell, after)
            async with snapshot(self.connect, self.program_id) as connection:
                await self._catch_up(connection)
                until = (
                    await connection.fetchval(_UNTIL.format(table=table, of=of), *behind, PAGE - 1) or LAST
                )
                query = _ROWS.format(table=table, of=of, columns=columns)
                rows = await connection.fetch(query, *behind, until)
            yield _Page((after, until), rows)
            after = until

    async def _catch_up(self, connection: asyncpg.Connection) -> None:
        async for page in stream(connection, _NEWER, self.program_id, self.cell, self.last_id):
            for id, kind, member_id, occurred_at, recorded_at, status, text in page:
                self.last_id = id
                if text is None:
                    continue
                try:
                    detail = read_detail(text)
                    said = Heard(id, kind, member_id, occurred_at, recorded_at, status, detail)
                    hear(self.notes, self.cell, said)
                except UNREADABLE:
                    continue  # named with its decision

    def _compare_members(self, page: _Page) -> None:
        statuses = self.notes.said_of(self.cell, "members", page.ids)
        enrolled = self.notes.said_of(self.cell, "enrolled", page.ids)
        for id, status, enrolled_at, merged_into in page.rows:
            key = str(id)
            said = statuses.pop(key, None)
            # No decision tells the status of whom a first purchase enrolled, for one.
            if status != "active" if said is None else said != _text({"status": status}):
                self._broken("members", key, _UNLIKE)
            if enrolled.pop(key, None) != enrolled_at.isoformat():
                self._broken("members", key, "was not enrolled then by any decision")
            if merged_into is not None:
                self._broken("members", key, "is merged into another, which no decision did")
        self._name_missing("members", (*enrolled, *statuses))

    def _compare(self, table: str, page: _Page, rows: Sequence[tuple[str, object]]) -> None:
        """`rows`: their keys and what they say."""
        known = self.notes.said_of(self.cell, table, page.ids)
        for key, says in rows:
            said = known.pop(key, None)
            if said is None:
                self._broken(table, key, "no decision speaks of it")
            elif said != _text(says):
                self._broken(table, key, _UNLIKE)
        self._name_missing(table, known)

    def _name_missing(self, table: str, keys: Iterable[str]) -> None:
        for key in keys:
            self._broken(table, key, "is missing: a decision speaks of it")

    def _broken(self, table: str, key: str, what: str) -> None:
        self.findings.add((table, key), table, {"cell": self.cell, "key": key}, what)
