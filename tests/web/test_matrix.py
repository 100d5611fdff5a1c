"""Who may call what on whose things: a reviewed table, every call of the running application by everybody.

Everybody calls with addresses and bodies that name real things of one program (tests/fuzz/town.py): its own people as
their role allows, nobody without a credential, and whoever belongs to another program as if nothing were there.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from uuid import NAMESPACE_OID, uuid5

import asyncpg
import pytest_asyncio

from loyalty.web.app import endpoints
from loyalty.web.edge import Access
from tests.conftest import Database
from tests.fuzz.town import Good, Town, opened
from tests.isolation import dump
from tests.races.client import Client, Reply
from tests.web.test_refusals import is_problem

# The roles, and the calls that they alone may make. A call that is new belongs somewhere here.
VERDICTS = {
    "admin": """
        create_client create_key list_clients list_keys list_staff revoke_key rotate_key""",
    "auditor admin": """
        read_audit_log read_verification verify_books""",
    "manager admin": """
        advance_clock approve_adjustment begin_import change_stock confirm_redates give_tier import_lot import_lots
        list_import_rejections list_imports plan_redates publish_configuration put_import_part read_import read_redates
        reject_adjustment start_import unfreeze_account""",
    "manager analyst auditor admin": """
        forecast_year list_long_work plan_configuration read_engagement_events read_run""",
    "pos admin": """
        exchange_purchase record_purchase record_purchases""",
    "pos support manager admin": """
        cancel_purchase cancel_redemption capture_hold claim_purchase enrol_member extend_hold fulfil_redemption
        place_hold quote_purchase redeem release_hold return_by_receipt return_purchase""",
    "pos support manager analyst auditor admin": """
        list_freezes list_moves list_redemptions list_rewards look_up_member read_balances read_hold read_lots
        read_member read_open_holds read_purchase read_receipt read_redemption read_return read_reward
        read_standing""",
    "support admin": """
        erase_member""",
    "support manager admin": """
        add_identifier adjust_points change_member freeze_account propose_write_off reinstate_points search_members
        set_pin transfer_points""",
    "support manager analyst auditor admin": """
        explain_purchase list_configurations list_proposals read_configuration read_decision read_entry
        read_program read_proposal read_statement validate_configuration""",
}
MAY = {name: set(roles.split()) for roles, names in VERDICTS.items() for name in names.split()}

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PEOPLE = {"staff": "support", "chief": "manager", "boss": "manager"}  # and their roles

# What a role may ask for, but not of this kind: runs of verification are the auditor's.
HIDDEN = {("read_run", "manager"), ("read_run", "analyst")}
# Told item by item.
IN_ITEMS = {"record_purchases", "import_lots"}
# Told with 403 to systems, which may call but not decide.
PEOPLE_ONLY = {"approve_adjustment", "reject_adjustment", "confirm_redates"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(database: Database, redis_url: str) -> AsyncIterator[Town]:
    async with opened(database, redis_url) as town:
        yield town


def test_every_guarded_call_stands_once_in_the_table() -> None:
    guarded = {one.name for one in endpoints() if one.permission is not Access.PUBLIC}
    assert guarded == set(MAY)
    assert sum(len(names.split()) for names in VERDICTS.values()) == len(MAY)


def calls(town: Town) -> Iterator[tuple[str, Good]]:
    return ((name, town.good[name]) for name in sorted(MAY))


Ask = Callable[..., Awaitable[Reply]]


@asynccontextmanager
async def asking(town: Town) -> AsyncIterator[Ask]:
    """Calls, under any credential, over one connection: none is left alone for so long that the server closes it."""
    client = Client(town.api.port, "")

    async def ask(good: Good, key: str) -> Reply:
        return await client.send(good.request(key=key))

    try:
        yield ask
    finally:
        await client.close()


async def test_everybody_may_what_the_table_says_and_others_nothing_at_all(town: Town) -> None:
    """Each call about our things, and once more about things that never were: by nobody, by all of our people, and by
    all of two other programs."""
    cells, wrong = 0, list[str]()
    nobody = (*town.main.ended, f"lk_{'A' * 43}", "", "x")
    strangers = [key for shop in (town.other, town.sandbox) for key in shop.keys.items()]
    async with asking(town) as ask:
        for name, good in calls(town):
            missing = unknown(good)
            for asked in (good, missing) if missing else (good,):
                for key in (*nobody, good.key[:-1]):
                    is_problem(await ask(asked, key), 401, "invalid_credential")
                for who, key in town.main.keys.items():
                    reply = await ask(asked, key)
                    if complaint := against(name, who, reply, there=asked is good):
                        wrong.append(f"{name} as {who}: {complaint}")
                cells += len(nobody) + 1 + len(town.main.keys)
            for asked in (good, missing) if missing else ():
                for who, key in strangers:
                    reply = await ask(asked, key)
                    if complaint := against(name, who, reply, there=False):
                        wrong.append(f"{name} as a stranger, {who}: {complaint}")
                cells += len(strangers)
    print(f"\n{cells} cells of {len(MAY)} calls")
    assert not wrong, "\n".join(wrong)


def against(name: str, who: str, reply: Reply, *, there: bool) -> str | None:
    """What is wrong with an answer to somebody of a program about things that are there, or not; None when nothing
    is."""
    role = PEOPLE.get(who, who)
    code = reply.json.get("code") if reply.status >= 400 else None
    if role not in MAY[name]:
        right = (reply.status, code) == (403, "not_allowed")
    elif name in PEOPLE_ONLY and (reply.status, code) == (403, "people_only"):
        right = who not in PEOPLE
    elif there and (name, role) not in HIDDEN:
        right = reply.status < 500 and reply.status not in (401, 403, 404)
    elif name in IN_ITEMS:
        right = {one["status"] for one in reply.json["results"]} == {404}
    else:
        right = reply.status == 404
    return None if right else f"{reply.status} {code}"


def unknown(good: Good) -> Good | None:
    """The same call about things with ids that never were, each of its own; None when it names nothing by its id.

    What it would record itself has a name that was never used.
    """
    path, content = (
        ID.sub(lambda found: str(uuid5(NAMESPACE_OID, found[0])), text)
        for text in (good.path, good.content.decode())
    )
    if (path, content) == (good.path, good.content.decode()):
        return None
    return good._replace(path=path, content=re.sub(r'(?<="external_id":)\s*"', '"new-', content).encode())


def bare(reply: Reply) -> tuple[bytes, dict[str, str]]:
    """An answer without what is of this request and this second."""
    own = {"x-request-id": "", "date": ""}
    return re.sub(rb"req_[0-9a-f]+", b"", reply.body), reply.headers | own


async def test_foreign_things_are_told_like_missing_ones_to_every_role(town: Town) -> None:
    """Named in address or body: byte for byte, and not a row of them changes."""
    link, cells = await asyncpg.connect(town.database.superuser_url), 0

    async def ours() -> dict[str, list[str]]:
        found, us = await dump.rows(link), str(town.main.program_id)
        return {table: [line for line in lines if us in line] for table, lines in found.items()}

    before = await ours()
    async with asking(town) as ask:
        for name, good in calls(town):
            missing = unknown(good)
            for role in sorted(MAY[name]) if missing else ():
                told = [await ask(one, town.other.keys[role]) for one in (good, missing or good)]
                if name in IN_ITEMS:
                    assert {one["status"] for one in told[0].json["results"]} == {404}, told[0]
                else:
                    is_problem(told[0], 404)
                assert bare(told[0]) == bare(told[1]), (name, role)
                cells += 2
    print(f"\n{cells} cells of things that are foreign, and of missing ones")
    assert await ours() == before
    await link.close()


async def test_no_answer_to_another_program_names_anything_of_ours(town: Town) -> None:
    """To every role, whatever of ours stands in address and body; what was asked for may stand in a list of faults."""
    link = await asyncpg.connect(town.database.superuser_url)
    ours: set[str] = set()
    for table in ("members", "decisions", "entries", "lots", "activities", "clients"):
        query = f"SELECT id::text FROM {table} WHERE program_id = $1"
        ours |= {row["id"] for row in await link.fetch(query, town.main.program_id)}
    await link.close()
    assert len(ours) > 100
    async with asking(town) as ask:
        for name, good in calls(town):
            for role in sorted(MAY[name]) if good.endpoint.method == "GET" else ():
                reply = await ask(good, town.other.keys[role])
                assert not set(ID.findall(reply.body.decode())) & ours, (name, role)
