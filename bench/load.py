"""A lean HTTP load: keep-alive connections in one process, each sends its next request when the last is answered, or,
at a fixed rate, when one is due.

Run as a process of its own (`python -m bench.load` with a Plan on stdin): it must cost little beside what it
measures. It prints one line when its warm-up ends and one with the figures when it is done.
"""

import asyncio
import random
import secrets
import sys
import time
from collections import Counter, deque
from typing import cast

import msgspec
import uvloop

from bench.sample import percentile
from bench.world import card, only_member

END_OF_HEAD = b"\r\n\r\n"
MARKS = ("{card}", "{external_id}", "{key}", "{id}")
LAST_S = 15.0  # how long the last answers may take


class Plan(msgspec.Struct, frozen=True):
    """What to send. In `path` and `body`, {card} and {external_id} stand for values of the same length."""

    port: int
    connections: int
    warm_s: float
    seconds: float
    method: str
    path: str
    members: int  # cards to choose from
    run: str  # makes external ids of this load its own
    body: str = ""
    authorization: str | None = None
    keyed: bool = False  # with an Idempotency-Key of its own per request
    rate: float = 0  # requests due a second, at random instants; 0: each connection sends as soon as it can
    then: str = ""  # path of a second POST about the {id} that was answered: the two count as one
    hot: int | None = None  # so many went before, all with one card: these too
    may_refuse: bool = False  # whether 429 and 503 that say when to come again are answers too, counted apart


class Report(msgspec.Struct, frozen=True):
    done: int  # answered in the measured time, refusals apart
    answered: int  # all, warm-up and the last ones included
    seconds: float
    mean_us: float
    p50_us: float
    p99_us: float
    cpu_us: int  # of this process in the measured time
    statuses: dict[str, int]
    first_bad: str | None  # an answer that nobody may get
    refused: int = 0  # told to come again in the measured time
    refused_p99_us: float = 0.0


class _Connection(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, notes how long it took, sends again."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._left = -1  # bytes of the body still to come; -1: the head is not complete
        self._head = b""
        self._sent = 0.0
        self._said = b""  # the first answer's body, when a second request follows
        self._second = False  # the answer to come is that of the second request
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class only looks like it
        self._load.free(self)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            data = self._head + data
            end = data.find(END_OF_HEAD)
            if end < 0:
                self._head = data
                return
            self._head = b""
            self._status = data[9:12]
            at = data.lower().find(b"\r\ncontent-length:", 0, end)
            length = int(data[at + 17 : data.find(b"\r\n", at + 17)]) if at >= 0 else 0
            self._left = length - (len(data) - end - 4)
            if self._status[:1] != b"2" and not self._load.refused(self._status, data[:end].lower()):
                self._load.first_bad = self._load.first_bad or data.decode(errors="replace")[:2000]
            self._said = data[end + 4 :] if self._load.follows else b""
        else:
            self._left -= len(data)
            self._said += data if self._load.follows else b""
        if self._left <= 0:
            self._left = -1
            if self._load.follows and not self._second:
                self._second = True
                self._transport.write(self._load.follow_up(self._said))
                return
            self._second = False
            self._load.answered(self._status, self._sent)
            self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))

    def send(self, request: bytes, due: float) -> None:
        """Send a request; how long it took counts from the instant at which it was due."""
        self._sent = due
        self._transport.write(request)

    def end(self) -> None:
        self.ended.set_result(None)
        self._transport.close()


class _Load:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.run)
        self._pieces = _pieces(plan)
        self.follows = bool(plan.then)
        self._then = _pieces(msgspec.structs.replace(plan, path=plan.then, body="{}"))
        self._number = 0
        self._latencies: list[float] = []
        self._refusals: list[float] = []  # how long each of them took
        self._count = 0
        self._statuses: Counter[bytes] = Counter()
        self._idle: deque[_Connection] = deque()  # used in turns: a server closes one that says nothing
        self._overdue: deque[float] = (
            deque()
        )  # instants at which a request was due that no connection could send
        self.over = False
        self.measuring = False
        self.first_bad: str | None = None

    def free(self, connection: _Connection) -> None:
        """A connection may send its next request."""
        if self.over:
            connection.end()
        elif not self._plan.rate:
            request = self._filled(self._pieces)
            connection.send(request, time.perf_counter())
        elif self._overdue:
            connection.send(self._filled(self._pieces), self._overdue.popleft())
        else:
            self._idle.append(connection)

    async def _pace(self) -> None:
        """Have requests sent at a rate, whatever became of those before them."""
        due = time.perf_counter()
        while not self.over:
            while due <= time.perf_counter():
                self._overdue.append(due)
                due += self._random.expovariate(self._plan.rate)
            while self._overdue and self._idle:
                self.free(self._idle.popleft())
            await asyncio.sleep(max(0.001, due - time.perf_counter()))  # uvloop takes less than 1 ms for none

    def follow_up(self, said: bytes) -> bytes:
        """The second request, about what the first answer names: `{"id":"…` is how it begins."""
        return self._filled(self._then, said[7:43])

    def _filled(self, pieces: list[bytes], id: bytes = b"") -> bytes:
        values = {
            b"{id}": id,
            b"{card}": card(self._member()).encode(),
            b"{external_id}": f"R-{self._plan.run}-{self._number:010d}".encode(),
            b"{key}": secrets.token_hex(16).encode(),
        }
        self._number += 1
        return b"".join([values.get(piece, piece) for piece in pieces])

    def _member(self) -> int:
        plan = self._plan
        if plan.hot is None:
            return self._random.randrange(plan.members)
        return only_member(plan.hot + self._number, plan.members)

    def answered(self, status: bytes, sent: float) -> None:
        self._count += 1
        self._statuses[status] += 1
        if self.measuring:
            taken = self._latencies if status[:1] == b"2" else self._refusals
            taken.append(time.perf_counter() - sent)

    def refused(self, status: bytes, head: bytes) -> bool:
        """Whether an answer tells to come again, where that may be told."""
        return self._plan.may_refuse and status in (b"429", b"503") and b"\r\nretry-after:" in head

    async def run(self) -> Report:
        plan, loop = self._plan, asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: _Connection(self), "127.0.0.1", plan.port))[1]
            for _ in range(plan.connections)
        ]
        ends = asyncio.gather(*(connection.ended for connection in connections))
        pace = asyncio.ensure_future(self._pace()) if plan.rate else None
        await asyncio.wait([ends], timeout=plan.warm_s)
        print("warm", flush=True)
        self.measuring, started, cpu = True, time.perf_counter(), time.process_time()
        await asyncio.wait([ends], timeout=plan.seconds)
        self.measuring, seconds, used = False, time.perf_counter() - started, time.process_time() - cpu
        self.over = True
        done = len(self._latencies)
        if pace is not None:
            await pace
            self._latencies += [time.perf_counter() - due for due in self._overdue]  # at least
            for connection in self._idle:
                connection.end()
        await asyncio.wait_for(ends, LAST_S)
        taken, refused = sorted(self._latencies), sorted(self._refusals)
        return Report(
            done=done,
            answered=self._count,
            seconds=seconds,
            mean_us=sum(taken) / max(1, len(taken)) * 1e6,
            p50_us=percentile(taken, 0.50) * 1e6,
            p99_us=percentile(taken, 0.99) * 1e6,
            cpu_us=int(used * 1e6),
            statuses={status.decode(): count for status, count in self._statuses.items()},
            first_bad=self.first_bad,
            refused=len(refused),
            refused_p99_us=percentile(refused, 0.99) * 1e6,
        )


def _pieces(plan: Plan) -> list[bytes]:
    """The request as fixed bytes and placeholders by turns."""
    stand_in = plan.body.replace("{card}", card(0)).replace("{external_id}", f"R-{plan.run}-{0:010d}")
    head = [f"{plan.method} {plan.path} HTTP/1.1", "Host: 127.0.0.1"]
    if plan.authorization:
        head.append(f"Authorization: {plan.authorization}")
    if plan.keyed:
        head.append("Idempotency-Key: {key}")
    if plan.body:
        head += ["Content-Type: application/json", f"Content-Length: {len(stand_in.encode())}"]
    pieces = ["\r\n".join([*head, "", ""]) + plan.body]
    for mark in MARKS:
        pieces = [part for piece in pieces for part in _around(piece, mark)]
    return [piece.encode() for piece in pieces]


def _around(piece: str, mark: str) -> list[str]:
    if piece in MARKS:
        return [piece]
    parts: list[str] = []
    for part in piece.split(mark):
        parts += [part, mark]
    return parts[:-1]


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_Load(plan).run())
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
