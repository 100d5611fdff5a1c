"""PINs at the edge: slow hashes are made and compared here, in threads and few at a time, before a command is sent.
Programs take turns for it.

Nothing behind this file sees a PIN. What a command carries down the road is which version it was held against.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from loyalty.base.canonical import canonical
from loyalty.base.database import ServerBusy
from loyalty.base.turns import NoTurn
from loyalty.members.pins import fits, hashed
from loyalty.posting.commands import (
    Answer,
    HoldReward,
    MemberRef,
    PayWithPoints,
    PinProof,
    PlaceHold,
    Redeem,
    SetPin,
    TransferPoints,
)
from loyalty.posting.service import kept_pin
from loyalty.web.edge import Call

P = ParamSpec("P")
T = TypeVar("T")

WAITING_MAX = 32  # of one program
NO_VERSION = 0  # of no PIN: should the lock end meanwhile, the caller is asked to send it again

Spending = PlaceHold | HoldReward | Redeem | PayWithPoints | TransferPoints


async def submit_with_pin(call: Call, command: Spending, member: MemberRef, pin: str | None) -> Answer:
    """Send what spends a member's points, with what became of the PIN that came with it.

    The PIN is no part of what was asked: under the same key the first answer comes again, whatever PIN is sent.
    """
    proof = None if pin is None else await _proof(call, member, pin)
    if proof is None:
        return await call.submit(command)
    return await call.submit(msgspec.structs.replace(command, pin=proof), canonical(command))


async def submit_pin(call: Call, member: MemberRef, pin: str) -> Answer:
    """Let a member have this PIN."""
    asked = canonical(SetPin(member, ""))
    return await call.submit(SetPin(member, await _slowly(call, hashed, pin, secrets.token_bytes(16))), asked)


async def _proof(call: Call, member: MemberRef, pin: str) -> PinProof | None:
    """None where there is nothing to compare with: no PIN, or a request that was answered before.

    Against a locked one nothing is compared, so that nobody learns anything, and nothing is proven.
    """
    kept, locked = await kept_pin(call.runtime, call.program_id, member, call.principal.id, call.key or "")
    if kept is None:
        return None
    if locked:
        return PinProof(NO_VERSION, right=False)
    return PinProof(kept.version, await _slowly(call, fits, pin, kept.hash))


async def _slowly(call: Call, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run it in a thread when the program's turn comes.

    Raises: ServerBusy when that is not in time, or too many of the program wait already.
    """
    turns, party = call.door.hashing, call.program_id
    if turns.waiting(party) >= WAITING_MAX:
        raise ServerBusy
    try:
        async with turns.turn(party, call.runtime.settings.queue_ms_max / 1000):
            return await asyncio.to_thread(work, *args, **kwargs)
    except NoTurn:
        raise ServerBusy from None
