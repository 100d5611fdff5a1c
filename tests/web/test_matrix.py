"""Who may call what on whose things: a reviewed table, every call of the running application by everybody.

Everybody calls with addresses and bodies that name real things of one program (tests/fuzz/town.py): its own people as
their role allows, nobody without a credential, and whoever belongs to another program as if nothing were there.
"""

import re
from collections.abc import AsyncIterator, Iterator
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from loyalty.access.roles import Role
from loyalty.posting.commands import MemberRef
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
        list_import_rejections plan_redates publish_configuration put_import_part read_import read_redates
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

PEOPLE = {"staff": "support", "chief": "manager", "boss": "manager"}  # and their roles

# What a role may ask for, but not of this kind: runs of verification are the auditor's.
HIDDEN = {("read_run", "manager"), ("read_run", "analyst")}
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


async def ask(town: Town, clients: dict[str, Client], good: Good, key: str, path: str = "") -> Reply:
    client = clients.setdefault(key, Client(town.api.port, ""))
    return await client.send(good.request(key=key, path=path or None))


async def test_everybody_may_what_the_table_says_and_others_find_nothing(town: Town) -> None:
    clients: dict[str, Client] = {}
    cells = 0
    wrong: list[str] = []
    for name, good in calls(town):
        nothing = [good.key[:-1], f"lk_{'A' * 43}", "", "x"]
        for key in nothing:
            is_problem(await ask(town, clients, good, key), 401, "invalid_credential")
        for who, key in town.main.keys.items():
            reply = await ask(town, clients, good, key)
            if complaint := against(name, PEOPLE.get(who, who), reply):
                wrong.append(f"{name} as {who}: {complaint}")
        for role in Role:
            reply = await ask(town, clients, good, town.other.keys[role.value])
            if role.value not in MAY[name]:
                is_problem(reply, 403, "not_allowed")
        cells += len(nothing) + len(town.main.keys) + len(Role)
    for client in clients.values():
        await client.close()
    print(f"\n{cells} cells: {len(MAY)} calls")
    assert wrong == []


def against(name: str, role: str, reply: Reply) -> str | None:
    """What is wrong with an answer about the program's own things; None when it is as the table says."""
    code = reply.json.get("code") if reply.status >= 400 else None
    if role not in MAY[name]:
        return None if (reply.status, code) == (403, "not_allowed") else f"{reply.status} {code}"
    if (name, role) in HIDDEN:
        return None if reply.status == 404 else f"{reply.status} {code}"
    if name in PEOPLE_ONLY and (reply.status, code) == (403, "people_only"):
        return None
    return f"{reply.status} {code}" if reply.status in (401, 403, 404) else None


async def test_foreign_things_are_told_like_missing_ones_to_every_role(town: Town) -> None:
    """Byte for byte, and not a row of them changes."""
    clients: dict[str, Client] = {}
    cells = 0
    link = await asyncpg.connect(town.database.superuser_url)

    async def ours() -> dict[str, list[str]]:
        found, us = await dump.rows(link), str(town.main.program_id)
        return {table: [line for line in lines if us in line] for table, lines in found.items()}

    before = await ours()
    for name, good in calls(town):
        ids = [part for part, kind in good.endpoint.parts.items() if kind in (UUID, MemberRef)]
        for role in sorted(MAY[name]) if ids else ():
            key = town.other.keys[role]
            missing = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(uuid4()), good.path)
            assert missing != good.path
            told = [await ask(town, clients, good, key, path) for path in (good.path, missing)]
            is_problem(told[0], 404)
            bare = [one.body.replace(one.json["request_id"].encode(), b"") for one in told]
            assert bare[0] == bare[1], (name, role, bare)
            assert {**told[0].headers, "x-request-id": ""} == {**told[1].headers, "x-request-id": ""}, name
            cells += 2
    assert await ours() == before
    await link.close()
    for client in clients.values():
        await client.close()
    print(f"\n{cells} cells: foreign and missing things of {len(MAY)} calls")


async def test_lists_show_nothing_of_another_program(town: Town) -> None:
    """To every role, whatever of ours is named in the address."""
    link = await asyncpg.connect(town.database.superuser_url)
    rows = await link.fetch("SELECT id::text FROM members WHERE program_id = $1", town.main.program_id)
    rows += await link.fetch("SELECT id::text FROM decisions WHERE program_id = $1", town.main.program_id)
    await link.close()
    ours = {row["id"] for row in rows}
    assert len(ours) > 50
    clients: dict[str, Client] = {}
    for name, good in calls(town):
        if good.endpoint.method != "GET":
            continue
        for role in sorted(MAY[name]):
            reply = await ask(town, clients, good, town.other.keys[role])
            named = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply.body.decode()))
            assert not named & ours, (name, role)
    for client in clients.values():
        await client.close()
