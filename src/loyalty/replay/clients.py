"""Posts receipts over several connections at once; the receipts of one member stay in their order on one of them.

Each receipt bears an Idempotency-Key made of its own receipt number, so a replay may be stopped, repeated or run
twice at once: what is recorded already is answered again and counted apart, what was refused is tried again.
"""

import asyncio
import hashlib
import random
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import msgspec

from loyalty.replay.connection import Connection, Response
from loyalty.replay.tally import Refused, Tally
from loyalty.replay.types import Receipt, Redeeming, ReplayError

_PATH = "/v1/purchases"
_PAYMENTS = "/v1/redemptions"
_CHUNK = 256
_WAITING = 64  # receipts read ahead per client
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_STOP = frozenset({401, 403, 405})  # whatever comes next would be answered like this too

_NO_CODE = "no_code"  # whoever answers like this is no loyalty server

_encoder = msgspec.json.Encoder()


class _Number(msgspec.Struct):
    """What of a purchase names it."""

    source: str
    external_id: str


_numbered = msgspec.json.Decoder(_Number).decode

_Item = tuple[str, bytes, bytes | None]  # key and body of a purchase, body of the payment before it


class Clients:
    """`count` clients of the API at `base_url`, all with one API key. A context manager: leaving it hangs up.

    `patience_s` is how long one receipt is tried again while the server is away or busy. With `redeem` each member
    pays with points before each purchase, where there are enough.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        count: int,
        *,
        patience_s: float = 60.0,
        redeem: Redeeming | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._connections = [Connection(base_url, headers) for _ in range(count)]
        self._base_url = base_url
        self._patience_s = patience_s
        self._redeem = redeem
        self._run = uuid4().hex
        self.tally = Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    async def post(
        self, receipts: Iterable[Receipt], *, duplicates_seed: int | None = None, percent: int = 0
    ) -> None:
        """Post all `receipts`; returns when the last one is answered.

        `percent` of them, chosen by the seed, are sent a second time by another client at the same moment, half of
        these under a key of their own.
        Raises: ReplayError when the API cannot be talked to, or would answer every request alike.
        """
        queues: list[asyncio.Queue[_Item | None]] = [asyncio.Queue(_WAITING) for _ in self._connections]
        chance = random.Random(duplicates_seed)  # noqa: S311 - which receipts come twice is no secret
        try:
            async with asyncio.TaskGroup() as group:
                for connection, queue in zip(self._connections, queues, strict=True):
                    group.create_task(self._work(connection, queue))
                reader = iter(receipts)
                # Reading a chunk may sort or decompress for a while: not in the event loop.
                while chunk := await asyncio.to_thread(_encoded, reader, self._redeem):
                    for shard, key, body, payment in chunk:
                        await queues[shard % len(queues)].put((key, body, payment))
                        if percent and chance.randrange(100) < percent:
                            again = key if chance.random() < 0.5 else f"{key}:again"
                            await queues[(shard + 1) % len(queues)].put((again, body, None))
                for queue in queues:
                    await queue.put(None)  # nothing more comes
        except ExceptionGroup as errors:
            # Not `except*`: early releases of Python 3.11 would wrap what is raised in it once more.
            refused, others = errors.split(ReplayError)
            if refused is None or others is not None:
                raise
            raise refused.exceptions[0] from None

    async def _work(self, connection: Connection, queue: asyncio.Queue[_Item | None]) -> None:
        while item := await queue.get():
            key, body, payment = item
            if payment is not None:
                self._count_payment(await self._send(connection, _PAYMENTS, f"{key}:points", payment), body)
            response = await self._send(connection, _PATH, key, body)
            if _told_before(response):
                # What stood in its way may be gone; its number alone keeps it from being recorded twice.
                response = await self._send(connection, _PATH, f"{key}:{self._run}", body)
            self._count(response, body)

    async def _send(self, connection: Connection, path: str, key: str, body: bytes) -> Response:
        """The final answer to one request, however often it had to be asked for."""
        give_up = time.monotonic() + self._patience_s
        pause_s = 0.05
        while True:
            began = time.monotonic()
            try:
                response = await connection.request("POST", path, body, {"Idempotency-Key": key})
            except OSError as error:
                reason, least_s = str(error) or type(error).__name__, 0.0
            else:
                if not _retryable(response):
                    self.tally.took(time.monotonic() - began)
                    return response
                reason, least_s = f"{response.status} {_code(response)}", _retry_after(response)
            self.tally.retried += 1
            if time.monotonic() + least_s > give_up:
                raise ReplayError(
                    f"{self._base_url} did not take a purchase for {self._patience_s:.0f} s ({reason}). Nothing is"
                    " lost: run the same command again, and what is recorded already is not recorded twice."
                )
            # Chance keeps the clients from coming back all at once.
            await asyncio.sleep(max(pause_s * random.uniform(0.5, 1.0), least_s))  # noqa: S311
            pause_s = min(pause_s * 2, 2.0)

    def _count_payment(self, response: Response, body: bytes) -> None:
        """A payment was made, or there is nobody yet, or too little, to pay with."""
        if response.status < 300:
            self.tally.payments += 1
        elif _code(response) not in ("insufficient_points", "member_not_found"):
            self._count(response, body)

    def _count(self, response: Response, body: bytes) -> None:
        """What came of the purchase in `body`, or of the payment for it."""
        if response.status < 300:
            if response.headers.get("idempotent-replayed") == "true":
                self.tally.replayed += 1
            else:
                self.tally.recorded += 1
            return
        code = _code(response)
        if response.status in _STOP or code in ("route_not_found", _NO_CODE):
            raise ReplayError(f"{self._base_url} answers {response.status} {code}: {_detail(response)}")
        source, external_id = msgspec.structs.astuple(_numbered(body))
        self.tally.refuse(Refused(source, external_id, code, _detail(response)))


def _encoded(
    receipts: Iterator[Receipt], redeem: Redeeming | None
) -> list[tuple[int, str, bytes, bytes | None]]:
    """The next receipts as (member's shard, key, body, body of the payment before it); empty at the end."""
    return [
        (_shard(receipt), _key(receipt), _encoder.encode(receipt), _payment(receipt, redeem))
        for receipt in islice(receipts, _CHUNK)
    ]


def _payment(receipt: Receipt, redeem: Redeeming | None) -> bytes | None:
    if redeem is None or receipt.member is None:
        return None
    return _encoder.encode(
        {"member": receipt.member, "points_currency": redeem.points_currency, "points": redeem.points}
    )


def _shard(receipt: Receipt) -> int:
    owner = next(iter(receipt.member.values())) if receipt.member else receipt.external_id
    return zlib.crc32(owner.encode())


def _key(receipt: Receipt) -> str:
    key = f"replay:{receipt.source}:{receipt.external_id}"
    if len(key) <= 200 and key.isascii() and key.isprintable():
        return key
    return "replay:" + hashlib.sha256(key.encode()).hexdigest()


def _retryable(response: Response) -> bool:
    return response.status in _TRY_AGAIN or (
        response.status == 409 and _problem(response).get("retryable") is True
    )


def _told_before(response: Response) -> bool:
    """Whether a refusal is that of an earlier request under the same key, of this content or of another."""
    if response.status < 400:
        return False
    return (
        response.headers.get("idempotent-replayed") == "true" or _code(response) == "idempotency_key_reused"
    )


def _retry_after(response: Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), 30.0) if text.isdigit() else 0.0


def _problem(response: Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _code(response: Response) -> str:
    return str(_problem(response).get("code", _NO_CODE))


def _detail(response: Response) -> str:
    return str(_problem(response).get("detail", "there is no loyalty server at this address"))
