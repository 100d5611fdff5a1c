"""How a call is declared, and everything that happens to a request before its handler sees it.

An endpoint is a function under `get`, `post`, `put` or `patch`: path, permission and answers stand in the decorator;
the body, the query and the parts of the path in its signature. Credential, permission, parameters, headers and body
are checked here for every endpoint alike, in the order that docs/api.md tells; a handler gets values it can trust.
"""

import asyncio
import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from enum import Enum
from time import monotonic
from typing import Any, NoReturn, TypeVar, cast, get_type_hints
from uuid import UUID

import msgspec
from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Method, Receive, Scope, Send

from loyalty.access.authenticate import Authenticator
from loyalty.access.roles import Permission
from loyalty.access.types import InvalidCredential, Principal
from loyalty.base.canonical import canonical
from loyalty.base.clock import random62
from loyalty.base.collector import no_collection
from loyalty.base.database import DatabaseUnavailable, OutcomeUnknown, ServerBusy
from loyalty.base.errors import Fault, LoyaltyError
from loyalty.base.forms import FAULTS_MAX, faults_of
from loyalty.base.ids import Ids
from loyalty.base.turns import Turns
from loyalty.jobs.imports.types import PART_BYTES_MAX
from loyalty.members.identifiers import parse_member_path
from loyalty.posting.commands import Actor, Answer, Command, Idempotency, MemberRef, Submission
from loyalty.posting.runtime import Runtime
from loyalty.posting.types import ShuttingDown
from loyalty.web import strict
from loyalty.web.exchange import Exchange
from loyalty.web.guard import EXCHANGE, incident, refusal, send_answer
from loyalty.web.large import LARGE, LargeBodies
from loyalty.web.metrics import Metrics
from loyalty.web.query import NoQuery, parameters_of, read_query
from loyalty.web.quota import Quota
from loyalty.web.status import Board
from loyalty.web.types import (
    BATCH_MAX,
    Batch,
    BodyTooLarge,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IncompleteBody,
    InvalidBody,
    InvalidEncoding,
    MalformedBody,
    MalformedRequest,
    ThingNotFound,
    TooManyRequests,
    UnsupportedMediaType,
)

Handler = Callable[..., Awaitable[Answer]]
T = TypeVar("T")

REGION_TRUST_S = 5.0

_ENCODER = msgspec.json.Encoder()
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_KEY = re.compile(rb"[ -~]{1,255}")
_JSON = re.compile(rb'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
_CSV = re.compile(rb'text/csv(?:\s*;\s*charset="?utf-8"?)?(?:\s*;\s*header=present)?', re.IGNORECASE)


class Access(Enum):
    """Who may call an endpoint that no permission guards."""

    PUBLIC = "public"  # anybody, without a credential


class Page(msgspec.Struct, frozen=True):
    """A part of a list."""

    data: Sequence[Any]
    next_cursor: str | None


class Pages(msgspec.Struct, frozen=True):
    """What the server says of itself, made once."""

    document: bytes  # OpenAPI, JSON
    page: bytes  # the same, HTML
    errors: bytes  # catalogue of codes, HTML


class Door:
    """What the endpoints of one application share: the runtime, once it is open, and who is behind a credential."""

    def __init__(self, metrics: Metrics, schema: str, reference: Pages) -> None:
        self.metrics = metrics
        self.reference = reference
        self.schema = schema  # the database revision that this release was written for
        self._runtime: Runtime | None = None
        self._authenticator: Authenticator | None = None
        self._regions: dict[UUID, tuple[str, float]] = {}  # with the instant until which it is trusted

    def open(self, runtime: Runtime) -> None:
        """Calls are served from now on."""
        self._runtime = runtime
        self.ids = Ids(runtime.clock.now_ms, random62)
        self.board = Board(runtime, self.schema)
        self.hashing = Turns(2)  # for PINs: each takes a processor and 16 MiB for its time
        self.large = LargeBodies(runtime.settings.body_bytes_max, wait_s=runtime.settings.queue_ms_max / 1000)
        per_s = runtime.settings.program_requests_per_s
        self._quota = None if per_s is None else Quota(per_s)
        self._authenticator = Authenticator(runtime.entry)

    def close(self) -> None:
        """Calls are no longer served."""
        self._runtime = self._authenticator = None

    @property
    def is_open(self) -> bool:
        return self._runtime is not None

    @property
    def runtime(self) -> Runtime:
        assert self._runtime is not None, "the application has not been started"
        return self._runtime

    async def principal(self, authorization: bytes | None) -> Principal:
        """Whoever is behind an Authorization header. Raises: InvalidCredential."""
        if authorization is None or authorization[:7].lower() != b"bearer " or not authorization.isascii():
            raise InvalidCredential
        assert self._authenticator is not None
        return await self._authenticator(authorization[7:].decode("ascii"), self.runtime.clock.now())

    def admit(self, program_id: UUID) -> None:
        """Count a request of a program. Raises: TooManyRequests when it is above its quota."""
        if self._quota is not None and not self._quota.take(program_id, monotonic()):
            self.metrics.note_above_quota(program_id)
            raise TooManyRequests(per_s=self._quota.per_s)

    async def region(self, program_id: UUID) -> str:
        """The country of a program's phone numbers without prefix, read again every few seconds."""
        now = monotonic()
        known = self._regions.get(program_id)
        if known is None or now >= known[1]:
            in_force = (await self.runtime.history(program_id)).at(await self.runtime.now(program_id))
            known = self._regions[program_id] = (
                in_force.settings.policies.phone_region,
                now + REGION_TRUST_S,
            )
        return known[0]


class Call:
    """One request whose credential and form are in order."""

    __slots__ = ("_principal", "door", "endpoint", "exchange", "key", "runtime", "size")

    def __init__(self, door: Door, endpoint: "Endpoint", exchange: Exchange) -> None:
        self.door = door
        self.runtime = door.runtime
        self.endpoint = endpoint
        self.exchange = exchange
        self.key: str | None = None  # of idempotency
        self.size = 0  # bytes of the body that one command stands for
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        assert self._principal is not None, "a public endpoint has no principal"
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._principal = principal
        self.exchange.program_id = principal.program_id
        self.exchange.credential_id = principal.credential_id

    @property
    def program_id(self) -> UUID:
        return self.principal.program_id

    @property
    def actor(self) -> Actor:
        principal = self.principal
        return Actor(principal.kind.value, principal.id, principal.role.value, principal.locations)

    async def region(self) -> str:
        """The country of the program's phone numbers without prefix, as known a few seconds ago at most."""
        return await self.door.region(self.program_id)

    def fingerprints(self, content: bytes, path: str | None = None) -> tuple[bytes, ...]:
        """Keyed digests of what is asked: method, path and the normalised content."""
        asked = path or self.endpoint.path
        return self.runtime.digests.of(b"request", self.endpoint.method.encode(), asked.encode(), content)

    def page_start(self, cursor: str | None, *filters: Any) -> list[Any] | None:
        """Where a list goes on: what `page` put into the cursor, None at the beginning.

        Raises: InvalidCursor unless this list gave it out, for these filters and this program.
        """
        if cursor is None:
            return None
        return self.runtime.cursors.open(self.endpoint.name, self.program_id, _digest(filters), cursor)

    def page(self, rows: Sequence[T], limit: int, key: Callable[[T], list[Any]], *filters: Any) -> Answer:
        """A page of at most `limit` rows; `rows` has one more when the list goes on. `key` tells where a row stands."""
        if len(rows) <= limit:
            return reply(Page(rows, None))
        return self.page_on(rows[:limit], key(rows[limit - 1]), *filters)

    def page_on(self, rows: Sequence[Any], place: list[Any], *filters: Any) -> Answer:
        """A page after which the list goes on at `place`."""
        cursors = self.runtime.cursors
        return reply(Page(rows, cursors.seal(self.endpoint.name, self.program_id, _digest(filters), place)))

    async def submit(
        self,
        command: Command,
        content: bytes | None = None,
        *,
        key: str | None = None,
        asked: str | None = None,
    ) -> Answer:
        """Send a command down the road under this call's key; its answer, refusals included.

        `content` stands for what is asked, when that has been digested already. An item of a batch has its
        own `key` and is `asked` as if it were sent alone to that path.
        """
        idempotency = None
        key = key or self.key
        if key is not None:
            prints = self.fingerprints(canonical(command) if content is None else content, asked)
            idempotency = Idempotency(key, self.principal.id, prints)
        submission = Submission(
            self.program_id, command, self.actor, self.exchange.request_id, idempotency, self.size
        )
        answer = await self.runtime.pipe.submit(submission)
        self.door.metrics.note_command(str(type(command).__struct_config__.tag), outcome_of(answer))
        return answer


def _digest(filters: Sequence[Any]) -> bytes:
    return hashlib.sha256(canonical(filters)).digest()


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, _ENCODER.encode(value), headers=headers or {})


def outcome_of(answer: Answer) -> str:
    """The word under which metrics count an answer."""
    if answer.replayed:
        return "replayed"
    if answer.status < 400:
        return "done"
    return "refused" if answer.status < 500 else "failed"


class Endpoint:
    """One call: its declaration, and the way from a request to its handler's answer."""

    def __init__(
        self,
        method: str,
        path: str,
        permission: Permission | Access,
        handler: Handler,
        *,
        answers: dict[int, Any],
        refusals: tuple[type[LoyaltyError], ...] = (),
        keyed: bool = False,
        tag: str = "",
        headers: dict[str, str] | None = None,
        takes: dict[str, str] | None = None,
        hot: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.permission = permission
        self.handler = handler
        # Status → type of the body; a str is a media type of something else than JSON, None is no body.
        self.answers = answers
        self.refusals = refusals
        self.keyed = keyed
        self.tag = tag
        self.headers = headers or {}  # of the answer, beside the common ones: name → description
        self.takes = takes or {}  # optional headers of the request: name → description
        self.hot = hot  # called all day
        self.name = handler.__name__
        self.text = inspect.getdoc(handler) or ""
        hints = get_type_hints(handler, include_extras=True)
        self.body: Any = hints.get("body")
        self.csv = self.body is bytes  # taken as it comes, a part of a file
        self.query: type[msgspec.Struct] = hints.get("query", NoQuery)
        self.takes_query = "query" in hints
        self.parameters = parameters_of(self.query)
        names = re.findall(r"\{(\w+)\}", path)
        self.parts: dict[str, Any] = {name: hints[name] for name in names}
        self.body_optional = self.body is not None and not self.csv and not faults_of(self.body, {})
        for name, kind in self.parts.items():
            assert kind in (UUID, MemberRef, int, str), (
                f"{path}: {name} must be an id, number, word or member"
            )
        assert self.text, f"{self.name} needs a docstring: it is the reference"

    async def answer(self, door: Door, scope: dict[str, Any], receive: Receive, exchange: Exchange) -> Answer:
        """The handler's answer. Raises: LoyaltyError for whatever is refused before or by it."""
        call = Call(door, self, exchange)
        headers = exchange.headers
        if self.permission is not Access.PUBLIC:
            principal = call.principal = await door.principal(headers.get(b"authorization"))
            door.admit(principal.program_id)
            principal.require(self.permission)
            if self.hot and self.keyed and door.runtime.pipe.full(principal.program_id):
                raise ServerBusy  # it would be told so anyway: the earlier, the cheaper for those who are served
        arguments: dict[str, Any] = {}
        if self.parts:
            for name, kind in self.parts.items():
                arguments[name] = await _part(call, kind, scope["path_params"][name])
        query = scope["query_string"]
        if query or self.takes_query:
            parameters = read_query(self.query, self.parameters, query)
            if self.takes_query:
                arguments["query"] = parameters
        if self.keyed:
            call.key = _idempotency_key(headers)
        if self.body is not None:
            limit = door.runtime.settings.body_bytes_max
            if self.csv:
                _check_media(headers, _CSV)
                limit = PART_BYTES_MAX
            declared = _declared(headers, limit)
            if declared is not None and declared <= LARGE:
                arguments["body"] = self._said(call, await _read(receive, limit))
            else:
                arguments["body"] = await self._said_at_length(call, receive, limit, declared)
        return await self.handler(call, **arguments)

    def _said(self, call: Call, raw: bytes) -> Any:
        """What a body says."""
        if self.csv:
            return raw
        call.size = len(raw)
        if not raw and self.body_optional:
            return self.body()
        _check_media(call.exchange.headers, _JSON)
        return decode(self.body, raw)

    async def _said_at_length(self, call: Call, receive: Receive, limit: int, declared: int | None) -> Any:
        """What a body says that is large, or may be. Raises: ServerBusy where there is no room for it, or no turn."""
        large = call.door.large
        with large.room(call.program_id) as hold:
            hold(declared or 0)
            raw = await _read(receive, limit, hold)
            if self.csv or len(raw) <= LARGE:
                return self._said(call, raw)
            async with large.turn(call.principal):
                return self._said(call, raw)


def decode(shape: type[T], raw: bytes) -> T:
    """The body as a `shape`.

    Raises: MalformedBody and its kin for what cannot be read, InvalidBody with every fault for what is wrong.
    """
    if not raw:
        raise MalformedBody("The body is empty.")
    with no_collection() if len(raw) > LARGE else nullcontext():
        return _decoded(shape, raw)


def _decoded(shape: type[T], raw: bytes) -> T:
    value = strict.read_json(raw)
    if not strict.may_hide_characters(raw):
        return fitted(shape, value)
    if issubclass(shape, Batch):
        return fitted(shape, *_set_apart(value))
    return fitted(shape, value, strict.character_faults(value))


class _Spoilt(msgspec.Struct, frozen=True):
    """An item of a batch whose texts hold forbidden characters: refused in its turn, it harms no other."""

    value: Any


def _set_apart(value: Any) -> tuple[Any, list[Fault]]:
    """The `value` of a batch, spoilt items marked, and the faults beside them.

    Nobody looks for all faults of an item until its turn comes.
    """
    match value:
        case {"items": [*items]}:
            faults = strict.character_faults(value | {"items": []})
            if len(items) > BATCH_MAX:  # refused for their number: no turn will come
                return value | {"items": [None] * len(items)}, faults
            marked = [_Spoilt(item) if strict.character_faults(item, 1) else item for item in items]
            return value | {"items": marked}, faults
        case _:
            return value, strict.character_faults(value)


def fitted(shape: type[T], value: Any, known: Sequence[Fault] = ()) -> T:
    """A JSON value as a `shape`; `known` faults were found before.

    Raises: InvalidBody with every fault, InvalidEncoding where a text holds half of a character.
    """
    if isinstance(value, _Spoilt):
        value = value.value
        known = strict.character_faults(value)
    for fault in known:
        if fault.code == "invalid_encoding":
            raise InvalidEncoding(faults=(fault,))
    if not known:
        try:
            body = msgspec.convert(value, shape)
            check = getattr(body, "check", None)
            if check is None or next(iter(check("")), None) is None:
                return body
        except msgspec.ValidationError:
            pass
    named = {fault.pointer for fault in known}
    found = [fault for fault in faults_of(shape, value) if fault.pointer not in named]
    faults = [*known, *found][:FAULTS_MAX]
    raise InvalidBody(
        faults=tuple(faults or [Fault("", "wrong_type", "The body does not have the expected form.")])
    )


async def _part(call: Call, kind: Any, text: str) -> Any:
    """One part of the path; what cannot be the name of anything is told like what is not there."""
    if kind is int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and str(int(text)) == text):
            raise ThingNotFound
        return int(text)
    if kind is str:
        if not _WORD.fullmatch(text):
            raise ThingNotFound
        return text
    if kind is MemberRef:
        return await member_named(call, text)
    if not _UUID.fullmatch(text):
        raise ThingNotFound
    return UUID(text)


async def member_named(call: Call, text: str) -> MemberRef:
    """The member that a part of an address names: an id, or `identifier:KIND:VALUE`. Raises: MemberNotFound."""
    # The region is looked up for those alone that are read by it.
    named = parse_member_path(text, await call.region() if text.startswith("identifier:") else "")
    return MemberRef(id=named) if isinstance(named, UUID) else MemberRef(identifier=named)


def _idempotency_key(headers: dict[bytes, bytes]) -> str:
    key = headers.get(b"idempotency-key")
    if key is None:
        raise IdempotencyKeyMissing
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid
    return key.decode("ascii")


def _check_media(headers: dict[bytes, bytes], wanted: re.Pattern[bytes]) -> None:
    media = headers.get(b"content-type", b"")
    if not wanted.fullmatch(media):
        raise UnsupportedMediaType
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("A compressed body is not read here.")


def _declared(headers: dict[bytes, bytes], limit: int) -> int | None:
    """How many bytes the body has, as far as its sender says. Raises: BodyTooLarge, MalformedRequest."""
    declared = headers.get(b"content-length")
    if declared is None:
        return None
    if not declared.isdigit():
        raise MalformedRequest("Content-Length is no number.")
    if len(declared) > 15 or int(declared) > limit:
        _too_large(limit)
    return int(declared)


async def _read(receive: Receive, limit: int, hold: Callable[[int], None] | None = None) -> bytes:
    """The whole body; `hold` is told of each part. Raises: BodyTooLarge as soon as that is known, IncompleteBody."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise IncompleteBody
        size += len(message["body"])
        if size > limit:
            _too_large(limit)
        if hold is not None:
            hold(size)
        parts.append(message["body"])
        more = message["more_body"]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> NoReturn:
    raise BodyTooLarge(bytes_max=limit)


async def answered(
    endpoint: Endpoint, door: Door, scope: dict[str, Any], receive: Receive, exchange: Exchange
) -> Answer:
    """The answer of a call, whatever happens on the way to it."""
    exchange.route = endpoint.path
    try:
        return await endpoint.answer(door, scope, receive, exchange)
    except LoyaltyError as error:
        if isinstance(error, OutcomeUnknown) and endpoint.method == "GET":
            error = DatabaseUnavailable()  # what may have been written is a line of the audit log
        return refusal(error, exchange)
    except asyncio.CancelledError:  # only at our end, of what has taken too long to wait for
        return refusal(OutcomeUnknown() if endpoint.keyed else ShuttingDown(), exchange)
    except Exception:
        return incident(exchange)


def route(endpoint: Endpoint, door: Door) -> HTTPRouteHandler:
    """An endpoint as Litestar's router has it. It answers by itself: nothing is converted on the way out."""

    async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
        scope = cast("dict[str, Any]", request.scope)
        exchange: Exchange = scope[EXCHANGE]
        answer = await answered(endpoint, door, scope, request.receive, exchange)

        async def respond(_scope: Scope, receive: Receive, send: Send) -> None:
            await send_answer(send, answer, exchange, receive)

        return respond

    methods: list[Method] = ["GET", "HEAD"] if endpoint.method == "GET" else [cast("Method", endpoint.method)]
    return HTTPRouteHandler(_template(endpoint.path), http_method=methods, name=endpoint.name)(handle)


class Shortcuts:
    """The calls that tills make all day, found without the router: passing it costs more than reading their bodies.

    They stand in the router too; here they are only met earlier, with the same answer.
    """

    def __init__(self, endpoints: Iterable[Endpoint], door: Door) -> None:
        self._door = door
        self._hot = [(one.method, one.path.split("/"), one) for one in endpoints if one.hot]

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send, exchange: Exchange) -> bool:
        """Answer the request if it is such a call; whether it was."""
        parts: list[str] = scope["path"].split("/")
        for method, wanted, endpoint in self._hot:
            if method == exchange.method and len(parts) == len(wanted) and _like(parts, wanted):
                scope["path_params"] = {
                    name[1:-1]: part for name, part in zip(wanted, parts, strict=True) if name[:1] == "{"
                }
                answer = await answered(endpoint, self._door, scope, receive, exchange)
                await send_answer(send, answer, exchange, receive)
                return True
        return False


def _like(parts: list[str], wanted: list[str]) -> bool:
    return all(want == part or want[:1] == "{" for want, part in zip(wanted, parts, strict=True))


def options(path: str, methods: Iterable[str]) -> HTTPRouteHandler:
    """The answer to OPTIONS: which methods an address takes."""
    allowed = ", ".join(sorted({"OPTIONS", *methods} | ({"HEAD"} if "GET" in methods else set())))

    async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
        exchange = cast("Exchange", cast("dict[str, Any]", request.scope)[EXCHANGE])
        exchange.route = path

        async def respond(_scope: Scope, receive: Receive, send: Send) -> None:
            await send_answer(send, Answer(204, b"", headers={"allow": allowed}), exchange, receive)

        return respond

    return HTTPRouteHandler(_template(path), http_method=["OPTIONS"], name=f"OPTIONS {path}")(handle)


def _template(path: str) -> str:
    """A path as Litestar's router has it."""
    return re.sub(r"\{(\w+)\}", r"{\1:str}", path)


def _declare(method: str) -> Callable[..., Callable[[Handler], Endpoint]]:
    def declare(
        path: str,
        permission: Permission | Access,
        *,
        answers: dict[int, Any],
        refusals: tuple[type[LoyaltyError], ...] = (),
        keyed: bool = False,
        headers: dict[str, str] | None = None,
        takes: dict[str, str] | None = None,
        hot: bool = False,
    ) -> Callable[[Handler], Endpoint]:
        def of(handler: Handler) -> Endpoint:
            tag = handler.__module__.rpartition(".")[2].replace("_", " ").capitalize()
            return Endpoint(
                method,
                path,
                permission,
                handler,
                answers=answers,
                refusals=refusals,
                keyed=keyed,
                tag=tag,
                headers=headers,
                takes=takes,
                hot=hot,
            )

        return of

    return declare


get = _declare("GET")
post = _declare("POST")
put = _declare("PUT")
patch = _declare("PATCH")
