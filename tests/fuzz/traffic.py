"""What is sent to the town: spoilt bodies, spoilt requests, cursors from elsewhere, forged credentials.

Each part sends over several connections and looks at every answer: no status that the contract does not tell, every
refusal a problem document, no list for a cursor that was not given out, nobody let in with a forged key.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import random
import string
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from loyalty.access.keys import make_key
from loyalty.web.app import describe
from loyalty.web.edge import Access, Endpoint
from tests.contract.items import failed
from tests.fuzz import mutations
from tests.fuzz.town import Good, Shop, Town
from tests.races.client import Client, Reply, Unknown
from tests.web.bad_inputs import no_problem

CONNECTIONS = 12
WAIT_S = 0.4  # for an answer to bytes that may not be a whole request
KEPT_FAILURES = 50
RENEWED = 2_000  # bodies after which most things of the tour are used up

DECLARED = {
    (method.upper(), path): {int(status) for status in operation["responses"]}
    for path, methods in describe()["paths"].items()
    for method, operation in methods.items()
}


@dataclass
class Tally:
    """What was sent and answered, by part."""

    sent: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    busy: Counter[str] = field(default_factory=Counter[str])  # 503 with Retry-After, by code
    failures: list[str] = field(default_factory=list[str])
    failed: int = 0

    def note(self, part: str, status: int, complaint: str | None, sent: bytes) -> None:
        self.sent[part] += 1
        self.statuses[part, status] += 1
        if complaint:
            self.failed += 1
            if len(self.failures) < KEPT_FAILURES:
                self.failures.append(f"{part}: {complaint}\n  sent {sent[:1_500]!r}")

    def judge(self, reply: Reply, declared: set[int] | None) -> str | None:
        """What is wrong with an answer, whatever was asked."""
        if reply.status == 503 and "retry-after" in reply.headers:
            self.busy[reply.json["code"]] += 1
        elif reply.status >= 500:
            return f"{reply.status} {reply.body[:300]!r}"
        if statuses := failed(reply.body):
            return f"items answered {statuses}: {reply.body[:300]!r}"
        if declared is not None and reply.status not in declared:
            return f"{reply.status} is not in the contract"
        if reply.status < 400:
            return None
        if reply.headers.get("content-type") != "application/problem+json":
            return f"{reply.status} as {reply.headers.get('content-type')}"
        return no_problem(reply.status, reply.json)


Send = Callable[[Client, random.Random], Awaitable[None]]


async def many(town: Town, part: str, seed: int | str, requests: int, send: Send) -> None:
    """`send` so many times over several connections; each time with random numbers of its own."""
    numbers = iter(range(requests))

    async def one_after_the_other() -> None:
        client = Client(town.api.port, "")
        for number in numbers:
            await send(client, random.Random(f"{part} {seed} {number}"))
        await client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one_after_the_other())


async def answered(client: Client, request: bytes) -> Reply | None:
    """The answer to a whole request; None when the connection ended without one."""
    try:
        async with asyncio.timeout(30):
            return await client.send(request)
    except (Unknown, TimeoutError):
        return None


# --- spoilt bodies --------------------------------------------------------------------------------------------------


async def bodies(town: Town, seed: int, requests: int, tally: Tally) -> None:
    """Spoilt bodies for every call that takes one; what is used up by those that were taken is renewed on the way."""
    for begun in range(0, requests, RENEWED):
        if begun:
            await town.renew()
        await _bodies(town, f"{seed} {begun}", min(RENEWED, requests - begun), tally)


async def _bodies(town: Town, seed: str, requests: int, tally: Tally) -> None:
    taking = [good for good in town.good.values() if good.endpoint.body is not None]
    others = [good.content for good in taking if good.content[:1] == b"{"]

    async def send(client: Client, chance: random.Random) -> None:
        good = chance.choice(taking)
        request = good.request(mutations.body(chance, good, others))
        reply = await answered(client, request)
        if reply is None:
            tally.note("bodies", 0, "no answer", request)
            return
        declared = DECLARED[good.endpoint.method, good.endpoint.path]
        tally.note("bodies", reply.status, tally.judge(reply, declared), request)
        if good.endpoint.keyed and reply.status < 300 and chance.random() < 0.2:
            again = await answered(client, request)
            tally.note("bodies", again.status if again else 0, unlike(reply, again), request)

    await many(town, "bodies", seed, requests, send)


def unlike(first: Reply, again: Reply | None) -> str | None:
    """What is wrong with the answer to a request that was taken before; None when it is the first answer."""
    if again is None or not again.replayed or again.status != first.status:
        return f"sent again: {again}"
    same = first.body == again.body or b'"secret":null' in again.body  # which is shown once
    return None if same else f"sent again: {again.body[:200]!r} instead of {first.body[:200]!r}"


# --- spoilt requests ------------------------------------------------------------------------------------------------


async def raw(town: Town, seed: int, requests: int, tally: Tally) -> None:
    """Requests that went through a bad line: head, address and body, each on a connection of its own."""
    called = [good for good in town.good.values() if good.path.startswith("/v1/")]
    others = [good.request() for good in called]

    async def send(_client: Client, chance: random.Random) -> None:
        request = mutations.request(chance, chance.choice(called), others)
        seen = 0
        async for reply in replies(town.api.port, request):
            seen += 1
            wrong = tally.judge(reply, None) if reply.headers else "no HTTP"
            tally.note("raw", reply.status, wrong, request)
        if not seen:
            tally.note("raw", 0, None, request)  # more was waited for

    await many(town, "raw", seed, requests, send)


async def replies(port: int, request: bytes) -> AsyncIterator[Reply]:
    """Every answer to these bytes until none comes for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        while True:
            try:
                async with asyncio.timeout(WAIT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                return
            lines = head.decode("latin-1").split("\r\n")
            if not lines[0].startswith("HTTP/1.1 "):
                yield Reply(0, {}, head)
                return
            status = int(lines[0].split()[1])
            if status == 100:
                continue
            fields = (line.partition(":") for line in lines[1:] if line)
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            content = b""
            # An answer to HEAD says how long that to GET would be.
            if status != 204 and not request.startswith(b"HEAD"):
                with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                    async with asyncio.timeout(WAIT_S):
                        content = await reader.readexactly(int(headers.get("content-length", "0")))
            yield Reply(status, headers, content)
            if headers.get("connection") == "close":
                return
    finally:
        writer.transport.abort()


# --- cursors --------------------------------------------------------------------------------------------------------

LETTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True)
class List:
    """A list with a cursor that it gave out."""

    endpoint: Endpoint
    path: str
    cursor: str
    parameter: str  # `cursor`, or `after`


async def lists(town: Town) -> list[List]:
    """Every list of the main program that goes on after one row, each with its filters."""
    client, found = Client(town.api.port, town.main.keys["admin"]), list[List]()
    for good in town.good.values():
        endpoint = good.endpoint
        parameter = next((name for name in ("cursor", "after") if name in endpoint.parameters), "")
        if endpoint.method != "GET" or not parameter:
            continue
        bare, _, query = good.path.partition("?")
        for more in ("", *(("points_currency=points",) if "points_currency" in endpoint.parameters else ())):
            path = f"{bare}?{'&'.join(filter(None, (query, more, 'limit=1')))}"
            reply = await client.get(path)
            if reply.status == 200 and (cursor := reply.json.get("next_cursor")):
                found.append(List(endpoint, path, cursor, parameter))
    await client.close()
    return found


async def cursors(town: Town, seed: int, requests: int, tally: Tally) -> None:
    """Cursors that were changed, or come from another list, filter or program, are refused; the others go on."""
    known = await lists(town)
    assert len(known) > 5, "too few lists have a second page"
    admin, stranger = town.main.keys["admin"], town.other.keys["admin"]

    async def send(client: Client, chance: random.Random) -> None:
        one, other = chance.choice(known), chance.choice(known)
        key, wanted = admin, {400}
        match chance.randrange(8):
            case 0:
                cursor, wanted = one.cursor, {200}
            case 1:
                cursor, key = one.cursor, stranger
                wanted = {400, 404}  # a list within something that is not there
            case 2 if other.cursor != one.cursor:
                cursor = other.cursor
            case 3:
                cursor, key = (
                    one.cursor,
                    town.main.keys[chance.choice(("pos", "analyst", "support", "member"))],
                )
                wanted = {200, 400, 403}  # what the role may not read, it does not go on reading
            case _:
                cursor = mutations.text(chance, one.cursor, LETTERS)
        path = f"{one.path}&{one.parameter}={cursor}"
        request = Good(one.endpoint, path, b"", key).request()
        reply = await answered(client, request)
        wrong = "no answer" if reply is None else tally.judge(reply, wanted)
        tally.note("cursors", reply.status if reply else 0, wrong, request)

    await many(town, "cursors", seed, requests, send)


# --- credentials ----------------------------------------------------------------------------------------------------


def forged(chance: random.Random, shops: Sequence[Shop]) -> str:
    """A value of the header Authorization that opens nothing."""
    keys = list(itertools.chain.from_iterable(shop.keys.values() for shop in shops))
    key, other = chance.choice(keys), chance.choice(keys)
    match chance.randrange(8):
        case 0:
            made, _ = make_key(chance.choice(("lk", "ls")), chance.randbytes(32))
            return f"Bearer {made}"
        case 1:
            return f"Bearer {('ls' if key.startswith('lk') else 'lk')}{key[2:]}"
        case 2 if key != other:
            at = chance.randrange(4, 46)
            mixed = key[:at] + other[at:]
            return f"Bearer {mixed}" if mixed not in keys else "Bearer"
        case 3:
            return _token(chance, key)
        case 4:
            return chance.choice(
                (f"Basic {key}", key, f"Bearer  {key}", f"Bearer\t{key}", f"Token {key}", "", "Bearer ")
            )
        case 5:
            return f"Bearer {key.swapcase()}"
        case 6:
            return f"Bearer {'A' * chance.choice((1_000, 9_000, 20_000))}"
        case _:
            return f"Bearer {mutations.text(chance, key, LETTERS + '.~+=')}"


def _token(chance: random.Random, key: str) -> str:
    """Something like a JSON Web Token: unsigned, signed with a known text, or with a key from elsewhere."""

    def encoded(value: Any) -> str:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    head: dict[str, Any] = {"alg": chance.choice(("none", "None", "HS256", "RS256", "ES256")), "typ": "JWT"}
    head |= chance.choice(({}, {"kid": "../../dev/null"}, {"jku": "http://127.0.0.1:9/"}, {"crit": ["x"]}))
    claims = {"sub": key[:11], "role": "admin", "exp": chance.choice((2**40, -1, "never"))}
    signed = f"{encoded(head)}.{encoded(claims)}"
    signature = hmac.digest(chance.choice((b"secret", b"")), signed.encode(), hashlib.sha256)
    return f"Bearer {signed}.{chance.choice(('', encoded(signature)))}"


async def credentials(town: Town, seed: int, requests: int, tally: Tally) -> None:
    """Forged credentials are refused at every call that asks for one, before anything else of it is looked at."""
    guarded = [good for good in town.good.values() if good.endpoint.permission is not Access.PUBLIC]

    async def send(client: Client, chance: random.Random) -> None:
        good = chance.choice(guarded)
        head = forged(chance, town.shops)
        request = good.request(key="@").replace(b"Bearer @", head.encode())
        reply = await answered(client, request)
        wrong = (
            "no answer" if reply is None else tally.judge(reply, {401, 400} if len(head) > 9_000 else {401})
        )
        if reply is not None and reply.status == 401 and "www-authenticate" not in reply.headers:
            wrong = "no WWW-Authenticate"
        tally.note("credentials", reply.status if reply else 0, wrong, request)

    await many(town, "credentials", seed, requests, send)
