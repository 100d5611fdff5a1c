"""One row for every table, written by the superuser: the schema's guards are tested without the rooms above it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

import loyalty.access.tables
import loyalty.engagement.tables
import loyalty.jobs.imports.tables
import loyalty.jobs.tables
import loyalty.ledger.tables
import loyalty.members.tables
import loyalty.posting.tables
import loyalty.programs.tables
import loyalty.rewards.tables
import loyalty.tiers.tables  # noqa: F401 - each adds its tables to METADATA
from loyalty.base.schema import METADATA

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HASH = bytes(32)


def _id(number: int) -> UUID:
    """An id of November 2026, so that rows land in a partition that was made for them."""
    return UUID(int=(int(AT.timestamp() * 1000) << 80) | (0x7 << 76) | (0x2 << 62) | number)


PROGRAM_A, PROGRAM_B = _id(0xA), _id(0xB)


def rows_of(program_id: UUID) -> dict[str, dict[str, Any]]:
    """A row for every table that a program has rows in, by table name."""
    base = (program_id.int & 0xFFFF) * 1000
    client, person, member, account, lot, entry, decision, activity, other = (_id(base + n) for n in range(9))
    mine = {"program_id": program_id}
    cell = {**mine, "cell": 0}
    balance = {"pending": 0, "available": 5, "held": 0, "debt": 0}
    return {
        "programs": {"id": program_id, "kind": "sandbox", "created_at": AT},
        "heads": cell,
        "configurations": {**mine, "number": 1, "effective_at": AT, "published_at": AT, "settings": {}, "ruleset": {}},
        "sandbox_clocks": {**mine, "now_at": AT},
        "clients": {**mine, "id": client, "name": "till", "created_at": AT},
        "api_keys": {**mine, "id": other, "client_id": client, "hash": program_id.bytes, "prefix": "lk_x",
                     "role": "pos", "created_at": AT},
        "staff": {**mine, "id": person, "name": "Ann", "role": "admin", "created_at": AT},
        "staff_tokens": {**mine, "id": other, "staff_id": person, "hash": program_id.bytes, "prefix": "ls_x",
                         "created_at": AT, "expires_at": AT},
        "audit_log": {**mine, "id": other, "at": AT, "actor_kind": "staff", "actor_id": person, "action": "x",
                      "outcome": "done", "detail": {}},
        "imports": {**mine, "id": other, "kind": "members", "source": "crm", "created_at": AT, "changed_at": AT,
                    "read_to": 0, "line": 1, "rows": 0, "done": 0, "unchanged": 0, "rejected": 0},
        "import_parts": {**mine, "import_id": other, "number": 1, "bytes": 1, "content": b"x"},
        "import_rejections": {**mine, "import_id": other, "line": 2, "position": 0, "code": "x", "detail": "x"},
        "members": {**cell, "id": member, "status": "active", "enrolled_at": AT},
        "member_profiles": {**cell, "member_id": member, "profile": {"name": "Zoe"}},
        "member_pins": {**cell, "member_id": member, "version": 1, "hash": "scrypt$", "failed": 0},
        "identifiers": {**cell, "kind": "card", "value": "6035550001", "member_id": member},
        "blocks": {**cell, "number": 1, "id": other, "format": 1, "recorded_at": AT, "config_number": 1,
                   "closes_on": date(2026, 11, 1), "first_position": 1, "last_position": 1, "previous_hash": HASH,
                   "hash": HASH, "last_id": other},
        "accounts": {**cell, "id": account, "owner_id": member, "points_currency": "points", "seq": 1, **balance},
        "lots": {**cell, "id": lot, "account_id": account, "issuing_entry_id": entry, "decision_id": decision,
                 "points": 5, "vintage_at": AT, "policy_number": 1, "arrived_at": AT, "is_open": True, "issued": -5,
                 "pending": 0, "available": 5, "held": 0, "redeemed": 0, "expired": 0, "revoked": 0, "transferred": 0,
                 "deficit": 0},
        "entries": {**cell, "id": entry, "account_id": account, "seq": 1, "decision_id": decision, "kind": "earn",
                    "occurred_at": AT, "recorded_at": AT, **balance},
        "postings": {**cell, "entry_id": entry, "position": 0, "lot_id": lot, "points": 5, "source": "issued",
                     "target": "available"},
        "decisions": {**cell, "id": decision, "block_number": 1, "kind": "purchase", "member_id": member,
                      "activity_id": activity, "actor_kind": "client", "actor_id": client, "occurred_at": AT,
                      "evaluator": 1, "detail": "{}", "answer_status": 201, "answer": "{}"},
        "activities": {**cell, "id": activity, "decision_id": decision, "awarded_by": decision, "member_id": member,
                       "occurred_at": AT, "recorded_at": AT, "amount_minor": 100, "content": {}},
        "returns": {**cell, "purchase_id": activity, "id": other, "amount_minor": 100, "complete": True,
                    "lines": [[0, 1000]], "taken": [5], "given": []},
        "activity_keys": {**cell, "kind": "purchase", "source": "pos", "external_id": "R-1", "state": "recorded",
                          "activity_id": activity, "decision_id": decision, "content_digest": HASH},
        "holds": {**cell, "id": other, "account_id": account, "owner_id": member, "points_currency": "points",
                  "points": 5, "captured": 0, "state": "open", "held_at": AT, "lapses_at": AT, "parts": [[str(lot), 5]],
                  "deadlines": []},
        "member_days": {**cell, "member_id": member, "day": date(2026, 11, 1), "spend_minor": 1, "visits": 1,
                        "points": {}},
        "standings": {**cell, "member_id": member, "tier_set": "status", "joined_on": date(2026, 11, 1),
                      "judged_by": 1},
        "tier_moves": {**cell, "member_id": member, "tier_set": "status", "decision_id": decision, "position": 1,
                       "at": AT, "after": "gold", "why": "reached", "metric": 1},
        "notices": {**cell, "member_id": member, "kind": "points", "about": "points", "day": date(2026, 12, 31),
                    "days_before": 30, "decision_id": decision},
        "job_places": {**cell, "work": "notices", "day": date(2026, 11, 1), "after": member},
        "proposals": {**cell, "id": other, "kind": "adjustment", "member_id": member, "points_currency": "points",
                      "points": 500, "reason": "goodwill", "proposed_by_kind": "staff", "proposed_by": person,
                      "proposed_at": AT, "lapses_at": AT, "proposed_in": decision, "state": "proposed"},
        "freezes": {**cell, "member_id": member, "points_currency": "points", "frozen": True, "reason": "stolen_card",
                    "since": AT, "decision_id": decision},
        "member_changes": {**cell, "member_id": member, "changed_at": AT},
        "counters": {**cell, "owner_id": member, "rule_id": "r", "period": "2026-11", "points": 5},
        "stocks": {**mine, "reward": "mug", "stock": 5},
        "reservations": {**mine, "reward": "mug", "hold_id": other, "quantity": 1, "ends_at": AT},
        "redemptions": {**cell, "id": other, "member_id": member, "reward": "mug", "quantity": 1,
                        "points_currency": "points", "points": 5, "money_minor": 0, "priced_by": 1, "parts": [],
                        "state": "issued", "redeemed_at": AT, "changed_at": AT, "decision_id": decision,
                        "entry_id": entry, "changed_by": decision},
        "idempotency_records": {**mine, "scope": client, "key": "k", "fingerprint": HASH, "status": 201,
                                "created_at": AT - timedelta(days=40), "decision_id": decision, "decision_cell": 0},
        "engagement_events": {**cell, "id": other, "position": 1, "decision_id": decision, "type": "x",
                              "occurred_at": AT, "recorded_at": AT, "data": {}},
        "runs": {**mine, "id": other, "kind": "verify", "state": "queued", "created_at": AT, "input": {}},
    }  # fmt: skip


async def fill(connection: AsyncConnection, *programs: UUID) -> None:
    """Write the rows of `programs` and the deployment's row, so that no table is empty."""
    await connection.execute(insert(METADATA.tables["deployment"]).values(cells=1))
    for program_id in programs:
        for table, row in rows_of(program_id).items():
            await connection.execute(insert(METADATA.tables[table]).values(**row))
