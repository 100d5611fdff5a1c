"""A replay into a program made for it: its own program, its own API process, at the end every member's totals."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.access.roles import Role
from loyalty.base.calendar import RoundUp, midnight
from loyalty.base.settings import Settings
from loyalty.embedded.system import free_port
from loyalty.ledger.rollforward import RollForward
from loyalty.operating.desk import open_desk
from loyalty.operating.processes import Child, until_ready
from loyalty.posting.configuration import Configuration
from loyalty.posting.service import roll_forward
from loyalty.programs.types import ProgramKind
from loyalty.replay.reading import Purchases
from loyalty.replay.run import Order, ProgramClock, run
from loyalty.replay.tally import Figures
from loyalty.replay.totals import Total, totals


async def replay_into_new(
    settings: Settings,
    purchases: Purchases,
    order: Order,
    kind: ProgramKind,
    configuration: Configuration,
    *,
    by_days: bool,
    base_url: str | None,
) -> tuple[UUID, Figures, list[Total], RollForward]:
    """Make the program, post everything to it, and return its id, the figures, each member's points and the
    roll-forward by month.

    `by_days` moves a sandbox program's clock along with the data. Without `base_url` an API process is started.
    Raises: ReplayError, DeskError, ProcessError. Needs: addresses in `settings`, the newest schema.
    """
    zone = ZoneInfo(configuration.settings.zone)
    first_on, _ = purchases.span()
    async with open_desk(settings) as desk, _api(settings, base_url) as address:
        clock_at = midnight(first_on, zone) if by_days else None
        program_id = await desk.create_program(kind, configuration, clock_at)
        client = await desk.client(program_id, "replay")
        _, api_key = await desk.create_key(program_id, client, Role.POS, lives=timedelta(days=7))
        clock = ProgramClock(lambda to: desk.advance_clock(program_id, to), zone) if by_days else None
        figures = await run(purchases, order, address, api_key, clock)
        found = await totals(desk.runtime, program_id, purchases.member_kind)
        return program_id, figures, found, await roll_forward(desk.runtime, program_id, RoundUp.MONTH)


@asynccontextmanager
async def _api(settings: Settings, base_url: str | None) -> AsyncGenerator[str]:
    """The address of a running API for the length of a block."""
    if base_url is not None:
        yield base_url
        return
    port = free_port()
    log = settings.home / "replay-api.log"
    child = Child("serve", {"LOYALTY_PORT": str(port), "LOYALTY_HOST": "127.0.0.1"}, log)
    child.start()
    try:
        await until_ready(f"http://127.0.0.1:{port}", child)
        yield f"http://127.0.0.1:{port}"
    finally:
        await child.stop()
