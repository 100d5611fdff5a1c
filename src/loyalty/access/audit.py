"""The audit log: who did what beside the ledger, and with what outcome.

Append-only; holds ids and figures, no personal data.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access import store
from loyalty.access.types import AuditEntry, Principal
from loyalty.base.ids import Ids


async def record(
    connection: AsyncConnection,
    by: Principal,
    action: str,
    target: str | None = None,
    *,
    at: datetime,
    ids: Ids,
    outcome: str = "done",
    detail: dict[str, Any] | None = None,
) -> UUID:
    """Write one line in the caller's transaction and return its id.

    `action` is a stable word (`key.create`); `target` an id; `detail` must hold no personal data.
    """
    entry = AuditEntry(ids(), at, by.kind, by.id, action, target, outcome, detail or {})
    await store.add_audit_entry(connection, by.program_id, entry)
    return entry.id
