"""Whether the process lives, has started, and can serve; its figures; and whether the installation is well."""

from msgspec import Struct

from loyalty.base.errors import LoyaltyError
from loyalty.posting.commands import Answer
from loyalty.web.edge import Access, Call, get, reply
from loyalty.web.metrics import CONTENT_TYPE
from loyalty.web.status import Status
from loyalty.web.types import NotReady, RouteNotFound

CLOCK_SKEW_MS_MAX = 2_000


class Health(Struct, frozen=True):
    status: str


class Readiness(Struct, frozen=True):
    status: str
    schema: str  # revision of the database
    clock_skew_ms: int  # this process's clock less the database's
    waiting: int  # commands in the lanes of this process


@get("/health/live", Access.PUBLIC, answers={200: Health})
async def live(call: Call) -> Answer:
    """Whether the process runs. It says nothing about the database."""
    return reply(Health("live"))


@get("/health/startup", Access.PUBLIC, answers={200: Health})
async def startup(call: Call) -> Answer:
    """Whether the process has started: connections opened, settings accepted."""
    return reply(Health("started"))


@get("/health/ready", Access.PUBLIC, answers={200: Readiness}, refusals=(NotReady,))
async def ready(call: Call) -> Answer:
    """Whether this process can serve.

    It can when the database answers, its schema is this release's, and its clock is within 2 s of ours.
    """
    runtime = call.runtime
    try:
        at, schema = await call.door.board.database()
    except LoyaltyError as error:
        raise NotReady("The database does not answer.", check=error.code) from error
    skew_ms = round((runtime.clock.now() - at).total_seconds() * 1_000)
    if schema != call.door.schema:
        raise NotReady("The database has another schema than this release.", check="schema")
    if abs(skew_ms) > CLOCK_SKEW_MS_MAX:
        raise NotReady("Our clock and the database's differ too much.", check="clock", clock_skew_ms=skew_ms)
    return reply(Readiness("ready", schema, skew_ms, runtime.pipe.depth))


@get("/status", Access.PUBLIC, answers={200: Status})
async def read_status(call: Call) -> Answer:
    """Whether the installation is well, for anybody; no more than some seconds old.

    Always 200: `status` says `ok` or `degraded`, and `degraded` what is not well. It names no program.
    """
    return reply(await call.door.board.read())


@get("/metrics", Access.PUBLIC, answers={200: CONTENT_TYPE})
async def metrics(call: Call) -> Answer:
    """Figures of the server in Prometheus' text form, unless they are served on a port of their own."""
    if call.runtime.settings.metrics_port is not None:
        raise RouteNotFound
    return Answer(200, call.door.metrics.text(), headers={"content-type": CONTENT_TYPE})
