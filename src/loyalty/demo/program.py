"""The demo's program: made at the first run, found again by later ones."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from loyalty.access.roles import Role
from loyalty.base.settings import Settings
from loyalty.demo.calls import header_file, headers
from loyalty.demo.state import State, begin, made_here, read_state, write_private, write_state
from loyalty.operating.desk import Desk, open_desk
from loyalty.posting.files import load
from loyalty.replay import completejourney
from loyalty.replay.shift import whole_weeks

FILE = Path(__file__).resolve().parents[3] / "examples" / "programs" / "demo.toml"
_STAFF = {"support": "Sam (support)", "manager": "Mia (manager)"}


class NotOurs(Exception):
    """The installation holds programs and no demo."""


class Prepared(Struct, frozen=True):
    """The demo's program and what is known of it."""

    state: State
    name: str
    zone: str
    made_now: bool


async def prepare(settings: Settings) -> Prepared:
    """The demo's program with its keys, made unless an earlier run left it."""
    home = settings.home
    async with open_desk(settings) as desk:
        state = read_state(home)
        there = {program.id for program in await desk.programs()}
        if there and not made_here(home):
            raise NotOurs
        made_now = state is None or state.program_id not in there
        if state is None or made_now:
            begin(home)
            state = await _make(desk)
            write_state(home, state)
        now = (await desk.in_force(state.program_id)).settings
    for role, api_key in state.api_keys.items():
        write_private(header_file(home, role), headers(api_key).encode())
    for role, token in state.staff_tokens.items():
        write_private(header_file(home, f"{role}-person"), headers(token).encode())
    return Prepared(state, now.name, now.zone, made_now)


async def _make(desk: Desk) -> State:
    kind, configuration = load(FILE.read_text("utf-8"))
    program_id = await desk.create_program(kind, configuration)
    today = datetime.now(completejourney.ZONE).date()
    return State(
        program_id=program_id,
        money=configuration.settings.money,
        api_keys={role.value: await _key(desk, program_id, role) for role in Role},
        staff_tokens={role: await _token(desk, program_id, role) for role in _STAFF},
        shift_weeks=whole_weeks(completejourney.SPAN[1], today).days // 7,
    )


async def _key(desk: Desk, program_id: UUID, role: Role) -> str:
    """A key of a client of its own: each role is another system."""
    client = await desk.client(program_id, f"Demo {role}")
    _, text = await desk.create_key(program_id, client, role)
    return text


async def _token(desk: Desk, program_id: UUID, role: str) -> str:
    person = await desk.add_staff(program_id, _STAFF[role], Role(role))
    _, text = await desk.issue_token(program_id, person.id, timedelta(days=365))
    return text
