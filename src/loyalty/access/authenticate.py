"""From the text of a key or token to the principal behind it, with an answer kept for seconds.

A revocation counts everywhere within 5 s, because no answer is trusted longer than `TRUST_S` after it was asked
for. Expiry counts to the instant. Who is not known is asked for each time, all who wait in one look: however many
strangers knock, they are few visits to the database.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.access import store
from loyalty.access.keys import hash_key, kind_of
from loyalty.access.roles import Role
from loyalty.access.types import ActorKind, InvalidCredential, Principal
from loyalty.base.database import reading, shared
from loyalty.base.ids import NIL
from loyalty.base.together import Together

TRUST_S = 4
KEPT_MAX = 10_000
WAITING_MAX = 2_000  # whom the database is still to be asked about
WAITING_MS_MAX = 2_000

_TRUST = timedelta(seconds=TRUST_S)
_NONE = timedelta(0)


class _Known(msgspec.Struct, frozen=True):
    principal: Principal
    expires_at: datetime | None
    asked_at: datetime


class Authenticator:
    """One per process. `kept_max` bounds how many credentials are remembered."""

    __slots__ = ("_asking", "_engine", "_kept", "_kept_max", "_together")

    def __init__(self, engine: AsyncEngine, kept_max: int = KEPT_MAX) -> None:
        self._engine = engine
        self._kept: dict[bytes, _Known] = {}
        self._kept_max = kept_max
        self._asking: dict[bytes, asyncio.Task[_Known | None]] = {}
        self._together = Together(waiting_max=WAITING_MAX, waiting_ms_max=WAITING_MS_MAX)

    async def __call__(self, token: str, now: datetime) -> Principal:
        """The principal of a key or token; `now` is real time.

        Raises: InvalidCredential, the same for whatever is wrong; Busy when the database cannot be asked.
        """
        if kind_of(token) is None:
            raise InvalidCredential
        hash = hash_key(token)
        known = self._kept.get(hash)
        if known is None or not _NONE <= now - known.asked_at < _TRUST:
            known = await self._ask_once(token, hash, now)
        if known is None or (known.expires_at is not None and known.expires_at <= now):
            raise InvalidCredential
        return known.principal

    async def _ask_once(self, token: str, hash: bytes, now: datetime) -> _Known | None:
        """Many callers with one key ask the database once; one of them going away does not stop the others."""
        task = self._asking.get(hash)
        if task is None:
            task = asyncio.create_task(self._ask(token, hash, now))
            self._asking[hash] = task
            task.add_done_callback(lambda done: self._answered(hash, done))
        return await asyncio.shield(task)

    def _answered(self, hash: bytes, task: "asyncio.Task[_Known | None]") -> None:
        del self._asking[hash]
        if not task.cancelled():
            task.exception()  # seen, also when every caller has gone

    async def _ask(self, token: str, hash: bytes, now: datetime) -> _Known | None:
        self._kept.pop(hash, None)
        if kind_of(token) == "lk":
            known = await self._key(hash, now)
        else:
            known = await self._token(hash, now)
        if known is not None:
            if len(self._kept) >= self._kept_max:
                del self._kept[next(iter(self._kept))]  # the one asked for longest ago
            self._kept[hash] = known
        return known

    async def _key(self, hash: bytes, now: datetime) -> _Known | None:
        found = await self._together(self._keys, NIL, hash)
        if found is None or found.revoked_at is not None or found.role is None:
            return None
        return _known(found, ActorKind.CLIENT, found.role, now)

    async def _token(self, hash: bytes, now: datetime) -> _Known | None:
        found = await self._together(self._tokens, NIL, hash)
        if found is None or found.revoked_at is not None:
            return None
        async with reading(self._engine, found.program_id) as connection:
            person = await store.staff_member(connection, found.program_id, found.owner_id)
        return None if person is None else _known(found, ActorKind.STAFF, person.role, now)

    async def _keys(self, _: UUID, hashes: Sequence[bytes]) -> list[store.Found | None]:
        async with shared(self._engine, writes=False) as connection:
            found = await store.keys_by_hash(connection, hashes)
        return [found.get(hash) for hash in hashes]

    async def _tokens(self, _: UUID, hashes: Sequence[bytes]) -> list[store.Found | None]:
        async with shared(self._engine, writes=False) as connection:
            found = await store.tokens_by_hash(connection, hashes)
        return [found.get(hash) for hash in hashes]


def _known(found: store.Found, kind: ActorKind, role: Role, now: datetime) -> _Known:
    principal = Principal(kind, found.owner_id, role, found.program_id, found.id, found.locations)
    return _Known(principal, found.expires_at, now)
