"""Files of a former system come in row by row: each once, whatever happens on the way, and never a wrong one."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from loyalty.base.database import reading, transaction
from loyalty.jobs.imports import service, work
from loyalty.jobs.imports.types import (
    PARTS_KEPT,
    FileWrong,
    Import,
    ImportIncomplete,
    ImportKind,
    ImportStarted,
    Rejection,
    TooManyImports,
)
from loyalty.jobs.imports.work import _Work  # pyright: ignore[reportPrivateUsage]
from loyalty.jobs.purge import purge_parts
from loyalty.jobs.runs import TRIES_MAX, execute
from loyalty.jobs.types import Run, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger.verify import verify
from loyalty.members.service import resolve
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.operating.desk import OPERATOR, Desk
from loyalty.posting import book
from loyalty.posting import store as road
from loyalty.posting.commands import GiveTier, MemberRef
from loyalty.posting.configuration import Configuration
from loyalty.posting.reviews import reviews
from loyalty.programs.types import PointsCurrency, Policies, ProgramKind, ProgramSettings, Rolling
from loyalty.tiers.types import Lifetime, TenureMonths, Tier
from tests.conftest import Database
from tests.isolation import dump
from tests.jobs.conftest import HandClock
from tests.posting.live import superuser, until_blocked
from tests.posting.shop import ladder

TENURE = ladder(
    id="years",
    metric=TenureMonths(),
    period=Lifetime(),
    tiers=(Tier("fresh", "Fresh", 0), Tier("loyal", "Loyal", 60)),
)
SHOP = Configuration(
    ProgramSettings(
        "Shop",
        "Europe/Vienna",
        "EUR",
        (PointsCurrency("points", "points", expiry=Rolling(months=12)),),
        policies=Policies(phone_region="AT"),
    ),
    tier_sets=(ladder(), TENURE),
)
BESIDE = ("imports", "runs")  # what tells of the import itself
ROWS = 2_000


def members_file(count: int = ROWS) -> str:
    lines = [
        f"N{n},60355{n:07},member{n}@shop.example,Ann {n},{'de-AT' if n % 2 else ''},2019-03-{n % 28 + 1:02}"
        for n in range(count)
    ]
    return "\n".join(["external_id,card,email,name,locale,enrolled_at", *lines, ""])


def lots_file(count: int = ROWS) -> str:
    lines = [f"L{n},N{n % 500},points,{n + 1},2026-01-{n % 28 + 1:02},2190-12-31" for n in range(count)]
    return "\r\n".join(
        ["external_id,member_external_id,points_currency,points,issued_at,last_day_on", *lines]
    )


def standings_file(count: int = ROWS) -> str:
    lines = [f"60355{n:07},status,{'gold' if n % 3 else 'silver'},2025-01-01," for n in range(count)]
    return "\n".join(["member_card,tier_set,tier,since,until", *lines])


class Shop:
    """A program, and files that come to it."""

    def __init__(self, desk: Desk, program: UUID) -> None:
        self.desk, self.id, self.engine = desk, program, desk.runtime.engine

    async def upload(self, kind: str, text: str | bytes, *, cut: int = 30_001) -> UUID:
        content = text.encode() if isinstance(text, str) else text
        async with transaction(self.engine, self.id) as connection:
            one = await service.begin_import(
                connection, self.id, ImportKind(kind), "crm", at=self.desk.now(), ids=self.desk.ids
            )
        for number, start in enumerate(range(0, len(content), cut), 1):
            await self.put(one.id, number, content[start : start + cut])
        return one.id

    async def put(self, import_id: UUID, number: int, part: bytes) -> None:
        async with transaction(self.engine, self.id) as connection:
            await service.put_part(
                connection, self.id, import_id, number, part, sha256(part).hexdigest(),
                at=self.desk.now(), bytes_max=10**9,
            )  # fmt: skip

    async def start(self, import_id: UUID) -> Run:
        async with transaction(self.engine, self.id) as connection:
            return await service.start_import(
                connection, self.id, import_id, OPERATOR, at=self.desk.now(), ids=self.desk.ids
            )

    async def work(self, run: Run) -> None:
        await execute(self.desk.runtime, self.id, run.id, WORKS)

    async def look(self, import_id: UUID) -> tuple[Import, Run]:
        async with reading(self.engine, self.id) as connection:
            one, run, _ = await service.look_at_import(connection, self.id, import_id)
        assert run is not None
        return one, run

    async def bring_in(self, kind: str, text: str | bytes, *, cut: int = 30_001) -> tuple[int, int, int]:
        """How many rows were done, unchanged, rejected."""
        import_id = await self.upload(kind, text, cut=cut)
        await self.work(await self.start(import_id))
        one, run = await self.look(import_id)
        assert run.state is RunState.SUCCEEDED, run.result
        self.last = import_id
        return one.progress.done, one.progress.unchanged, one.progress.rejected

    async def rejections(self) -> list[Rejection]:
        async with reading(self.engine, self.id) as connection:
            return await service.list_rejections(connection, self.id, self.last, after=(0, 0), limit=1_000)

    async def rejected(self, kind: str, text: str | bytes) -> list[tuple[int, str | None, str]]:
        """Line, column and code of whatever is wrong with a file."""
        await self.bring_in(kind, text)
        return [(one.line, one.column, one.code) for one in await self.rejections()]

    async def whole(self) -> None:
        report = await verify(self.desk.runtime.pool.acquire, self.id, also=(reviews,))
        assert [(one.table, one.what) for one in report.findings] == []


async def opened(desk: Desk, members: int = 0) -> Shop:
    shop = Shop(desk, await desk.create_program(ProgramKind.LIVE, SHOP))
    if members:
        assert await shop.bring_in("members", members_file(members)) == (members, 0, 0)
    return shop


async def ask(database: Database, query: str, *arguments: Any) -> Any:
    async with superuser(database) as link:
        return await link.fetchval(query, *arguments)


async def test_members_lots_and_standings_come_in_and_the_books_are_whole(
    desk: Desk, database: Database
) -> None:
    shop = await opened(desk)
    assert await shop.bring_in("members", members_file(), cut=777) == (ROWS, 0, 0)
    assert await shop.bring_in("lots", lots_file()) == (ROWS, 0, 0)
    assert await shop.bring_in("standings", standings_file()) == (ROWS, 0, 0)
    points = "SELECT sum(available) FROM accounts WHERE program_id = $1"
    assert await ask(database, points, shop.id) == ROWS * (ROWS + 1) // 2
    joined = "SELECT count(DISTINCT enrolled_at), min(enrolled_at) FROM members WHERE program_id = $1"
    async with superuser(database) as link:
        first: Any = await link.fetchrow(joined, shop.id)
        assert tuple(first) == (28, datetime(2019, 2, 28, 23, tzinfo=UTC))
        tiers = await link.fetch(
            "SELECT tier_set, earned, manual ->> 'tier' AS given, since, count(*) FROM standings"
            " WHERE program_id = $1 GROUP BY 1, 2, 3, 4 ORDER BY tier_set, given, since LIMIT 3",
            shop.id,
        )
        parts = await link.fetchval("SELECT count(*) FROM import_parts WHERE program_id = $1", shop.id)
    year = datetime(2024, 12, 31, 23, tzinfo=UTC)
    assert [tuple(row) for row in tiers[:2]] == [
        ("status", None, "gold", year, 1_333),
        ("status", None, "silver", year, 667),
    ]
    assert (tiers[2]["tier_set"], tiers[2]["earned"]) == ("years", "loyal"), "tenure counts from joining"
    assert parts == 0
    await shop.whole()


async def test_the_same_files_again_change_nothing(desk: Desk, database: Database) -> None:
    shop = await opened(desk)
    files = {"members": members_file(300), "lots": lots_file(300), "standings": standings_file(300)}
    for kind, text in files.items():
        assert await shop.bring_in(kind, text) == (300, 0, 0)
    async with superuser(database) as link:
        before = await dump.state(link, BESIDE)
        for kind, text in files.items():
            assert await shop.bring_in(kind, text) == (0, 300, 0)
        assert await dump.state(link, BESIDE) == before
    await shop.whole()


async def test_rows_of_who_holds_enough_are_rejected_and_all_others_come_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await opened(desk, 100)
    rows = lots_file(100).splitlines()
    assert await shop.bring_in("lots", "\n".join([rows[0], rows[8], rows[8].replace("L7", "more")])) == (
        2,
        0,
        0,
    )
    for module in (book, road):
        monkeypatch.setattr(module, "LOTS_MAX", 2)
    told = await shop.rejected("lots", "\n".join(rows).replace("L7,", "yet more,"))
    assert told == [(9, "member_external_id", "lots_limit_exceeded")]
    one, _ = await shop.look(shop.last)
    assert (one.progress.done, one.progress.rejected) == (99, 1)
    await shop.whole()


async def test_a_run_that_is_stopped_anywhere_goes_on_and_takes_each_row_once(
    desk: Desk, database: Database
) -> None:
    shop = await opened(desk, 500)
    import_id = await shop.upload("lots", lots_file())
    run = await shop.start(import_id)
    stopped: list[int] = []
    for _ in range(TRIES_MAX + 1):
        rows = (await shop.look(import_id))[0].progress.rows
        task = asyncio.create_task(shop.work(run))
        while (await shop.look(import_id))[0].progress.rows < rows + 200:
            await asyncio.sleep(0.003)
        task.cancel()
        await asyncio.wait({task})
        stopped.append((await shop.look(import_id))[0].progress.rows)
    assert 0 < stopped[0] < stopped[-1] < ROWS, "it was never stopped in the middle"
    await shop.work(run)
    progress = (await shop.look(import_id))[0].progress
    assert (progress.rows, progress.done + progress.unchanged, progress.rejected) == (ROWS, ROWS, 0)
    lots = "SELECT count(*) FROM lots WHERE program_id = $1"
    assert await ask(database, lots, shop.id) == ROWS
    await shop.whole()


async def test_who_was_taken_over_notes_nothing_more(
    desk: Desk, database: Database, clock: HandClock
) -> None:
    shop = await opened(desk, 500)
    import_id = await shop.upload("lots", lots_file())
    run = await shop.start(import_id)
    slow = asyncio.create_task(shop.work(run))
    while not (await shop.look(import_id))[0].progress.rows:
        await asyncio.sleep(0.003)
    clock.ahead = timedelta(minutes=2)
    await shop.work(run)
    await asyncio.wait({slow})
    progress, run = (await shop.look(import_id))[0].progress, (await shop.look(import_id))[1]
    assert (run.state, run.tries) == (RunState.SUCCEEDED, 1), "its tries began anew with each row noted"
    assert (progress.rows, progress.done + progress.unchanged) == (ROWS, ROWS)
    assert await ask(database, "SELECT count(*) FROM lots WHERE program_id = $1", shop.id) == ROWS
    await shop.whole()


async def test_who_was_taken_over_removes_nothing_of_a_file_that_was_told_anew(
    desk: Desk, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await opened(desk)
    import_id = await shop.upload("members", "nonsense\n")
    run, read = await shop.start(import_id), _Work.read

    async def slow(work: _Work) -> None:
        try:
            await read(work)
        except FileWrong:
            if not clock.ahead:  # another worker takes it for dead, and somebody mends the header
                clock.ahead = timedelta(minutes=2)
                await shop.work(run)
                await shop.put(import_id, 1, members_file(10).encode())
            raise

    monkeypatch.setattr(_Work, "read", slow)
    await shop.work(run)
    await shop.work(await shop.start(import_id))
    assert (await shop.look(import_id))[0].progress.done == 10


async def test_bad_rows_are_told_by_line_and_column_and_the_others_come_in(
    desk: Desk, database: Database
) -> None:
    shop = await opened(desk, 500)
    lines = lots_file().split("\r\n")
    bad = {
        100: ('L98,N98,points,many,2026-01-01,', ("points", "not_a_number")),
        101: ("L99,Nobody at all,points,5,2026-01-01,", ("member_external_id", "member_not_found")),
        500: ("L498,N1,miles,5,2026-01-01,", ("points_currency", "points_currency_unknown")),
        700: ("L698,N1,points,5,2026-02-30,", ("issued_at", "no_such_day")),
        900: ("L898,N1,points,5,2026-01-05,2026-01-01", ("last_day_on", "contradictory_range")),
        901: ("L899,N1,points,5,2190-01-05,", ("issued_at", "in_future")),
        1200: ("L1,N1,points,77,2026-01-01,", ("external_id", "activity_differs")),
        1300: ("L1298,N1,points,5", (None, "wrong_field_count")),
        1400: ('L1398,N1,"points,5,2026-01-01,', (None, "unclosed_quote")),
        1450: ("external_id, member_external_id,points_currency,points,issued_at,last_day_on", (None, "header_again")),
        1500: ("", None),
        2001: (",N1,points,5,2026-01-01,", ("external_id", "required")),
    }  # fmt: skip
    for line, (text, _) in bad.items():
        lines[line - 1] = text
    assert await shop.bring_in("lots", "\r\n".join(lines)) == (ROWS - 12, 0, 11)
    told = await shop.rejections()
    assert [(one.line, (one.column, one.code)) for one in told] == [
        (line, fault) for line, (_, fault) in bad.items() if fault
    ]
    assert all("Nobody" not in one.detail for one in told)
    lots = "SELECT count(*) FROM lots WHERE program_id = $1"
    assert await ask(database, lots, shop.id) == ROWS - 12
    await shop.whole()


async def test_lines_in_which_nothing_stands_keep_nobody_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await opened(desk)
    turns, over = 0, work._Turn.over  # pyright: ignore[reportPrivateUsage]

    async def counting(turn: Any) -> None:
        nonlocal turns
        turns += 1
        await over(turn)

    monkeypatch.setattr(work._Turn, "over", counting)  # pyright: ignore[reportPrivateUsage]
    assert await shop.bring_in("members", "external_id\nN1\n" + " \n" * 5_000 + "N2\n") == (2, 0, 0)
    assert turns >= 5_000


async def test_what_is_no_row_of_its_kind_is_noted_in_large_steps(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that goes over more lines than is read, for one."""
    shop = await opened(desk)
    noted: list[int] = []
    advance = work.store.advance

    async def counting(*asked: Any) -> bool:
        noted.append(asked[4].rows)
        return await advance(*asked)

    monkeypatch.setattr(work.store, "advance", counting)
    found = await shop.bring_in("members", "external_id,name\n" + "a\n" * 3_000 + "N1,Ann\n" * 200)
    assert found == (1, 199, 3_000)
    assert noted == [1_000, 2_000, 3_000, 3_064, 3_128, 3_192, 3_200]


async def test_all_faults_of_a_row_are_told_at_once(desk: Desk) -> None:
    shop = await opened(desk, 2)
    assert await shop.rejected(
        "members",
        "card,email,phone,name,locale,birthday_on,enrolled_at,attributes.diet\n"
        "12,no address,123,A\u202eB,Österreich,1850-01-01,yesterday,ok\n"
        ",,,Ann,,,,\n"
        "6035550000000,,,Ann,,,2190-01-01,\n"
        f"6035550009,,,{'x' * 10_001},,,,\n"
        "603550000000,member1@shop.example,,,,,,\n",
    ) == [
        (2, "card", "too_short"),
        (2, "phone", "not_a_phone_number"),
        (2, "email", "not_an_email"),
        (2, "enrolled_at", "invalid_datetime"),
        (2, "birthday_on", "out_of_range"),
        (2, "name", "invalid_characters"),
        (2, "locale", "invalid_locale"),
        (3, None, "required"),
        (4, "enrolled_at", "in_future"),
        (5, "name", "too_long"),
        (6, None, "identifiers_conflict"),
    ]
    assert await shop.rejected(
        "lots",
        "external_id,member_id,member_card,points_currency,points,issued_at,expires_at,last_day_on\n"
        f"1,{uuid4()},603550000000,points,5,2026-01-01,,\n"
        "2,N1,,points,1.5,2026-01-01T00:00:00,2027-01-01,2027-01-01\n"
        f"3,{uuid4()},,points,0,1969-12-31,,\n"
        "ä,,603550000000,Points,99999999999999999999,,,\n",
    ) == [
        (2, None, "choose_one"),
        (3, "member_id", "invalid_id"),
        (3, "points", "not_integer"),
        (3, "issued_at", "offset_required"),
        (3, "last_day_on", "choose_one"),
        (4, "points", "out_of_range"),
        (4, "issued_at", "out_of_range"),
        (5, "external_id", "invalid_characters"),
        (5, "points_currency", "invalid_format"),
        (5, "points", "out_of_range"),
        (5, "issued_at", "required"),
    ]
    assert await shop.rejected(
        "standings",
        "member_card,tier_set,tier,since,until,last_day_on\n"
        "603550000000,status,platinum,2025-01-01,,\n"
        "603550000000,cup,gold,2025-01-01,,\n"
        "603550000000,status,gold,2025-01-01,2025-06-01,\n"
        "603550000000,status,gold,2025-01-01,,2025-06-01\n"
        "603550000000,status,gold,2025-07-01,2025-06-01,\n"
        "603550000000,status,gold,2190-01-01,,\n",
    ) == [
        (2, "tier", "unknown_tier"),
        (3, "tier_set", "tier_set_not_found"),
        (4, "until", "out_of_range"),
        (5, "last_day_on", "out_of_range"),
        (6, "until", "contradictory_range"),
        (7, "since", "out_of_range"),
    ]
    words = {one.line: one.detail for one in await shop.rejections()}
    assert "has passed" in words[4]
    assert "has passed" in words[5]
    assert "still to come" in words[7]
    await shop.whole()


async def test_of_a_file_with_one_bad_row_in_a_hundred_the_others_come_in(desk: Desk) -> None:
    shop = await opened(desk)
    lines = members_file().split("\n")
    bad = list(range(50, ROWS, 100))
    for line in bad:
        lines[line - 1] = lines[line - 1].replace("@", " at ")
    assert await shop.bring_in("members", "\n".join(lines), cut=10_000) == (ROWS - 20, 0, 20)
    assert [(one.line, one.column) for one in await shop.rejections()] == [(line, "email") for line in bad]
    assert await shop.bring_in("members", members_file()) == (20, ROWS - 20, 0), (
        "mended, the whole file again"
    )
    await shop.whole()


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("members", "", "import_incomplete"),
        ("members", "\n\n", "The file is empty."),
        ("members", "card,name,Gründula\n", "Column 3, 'Gr\\xfcndula', has a name that is not known."),
        ("members", f"card,{'x' * 99}\n", f"Column 2, '{'x' * 40}', has a name that is not known."),
        ("members", "card,name,card\n", "Column 3, card, stands there twice."),
        ("members", "name\n", "One of these columns is needed: card, email, external_id, phone."),
        ("members", "card;name\n", "Known, separated by commas: birthday_on"),
        ("members", ",".join(["card", *(f"attributes.a{n}" for n in range(100))]) + "\n", "at most 100"),
        ("lots", "external_id,points\n", "The column issued_at is missing. The column points_currency is"),
        ("standings", "Gundula Fremdling,gold\n603550000000,gold\n", "Column 1 has a name that is not known."),
        ("lots", "external_id,points\n".encode("utf-16"), "The first line cannot be read (invalid_encoding)"),
    ],
)  # fmt: skip
async def test_a_header_that_is_wrong_ends_the_run_and_the_file_goes(
    desk: Desk, database: Database, kind: str, text: str | bytes, told: str
) -> None:
    shop = await opened(desk)
    import_id = await shop.upload(kind, text)
    if not text:
        with pytest.raises(ImportIncomplete):
            await shop.start(import_id)
        return
    await shop.work(await shop.start(import_id))
    _, run = await shop.look(import_id)
    assert run.result is not None
    assert (run.state, run.result["code"]) == (RunState.FAILED, "import_file_wrong")
    assert told in run.result["detail"]
    assert "Gundula" not in run.result["detail"]
    assert await ask(database, "SELECT count(*) FROM import_parts WHERE program_id = $1", shop.id) == 0


async def test_parts_come_in_any_order_and_none_may_be_missing(desk: Desk) -> None:
    shop = await opened(desk)
    import_id = await shop.upload("members", "card\n")
    await shop.put(import_id, 3, b"6035500000003\n")
    with pytest.raises(ImportIncomplete) as missing:
        await shop.start(import_id)
    assert missing.value.facts == {"missing": 2}
    await shop.put(import_id, 2, b"nonsense\n")
    await shop.put(import_id, 2, b"6035500000002\n")
    run = await shop.start(import_id)
    with pytest.raises(ImportStarted):
        await shop.put(import_id, 2, b"6035500000004\n")
    with pytest.raises(ImportStarted):
        await shop.start(import_id)
    await shop.work(run)
    assert (await shop.look(import_id))[0].progress.done == 2


async def given_up(shop: Shop, database: Database, import_id: UUID) -> None:
    """Start an import whose workers die, the last of them with 200 rows brought in or some more."""
    run = await shop.start(import_id)
    task = asyncio.create_task(shop.work(run))
    while (await shop.look(import_id))[0].progress.rows < 200:
        await asyncio.sleep(0.003)
    task.cancel()
    await asyncio.wait({task})
    async with superuser(database) as link:
        await link.execute("UPDATE runs SET tries = 3 WHERE id = $1", run.id)
    await shop.work(run)


async def test_a_run_that_was_given_up_is_started_again_and_goes_on_where_it_was(
    desk: Desk, database: Database
) -> None:
    shop = await opened(desk, 500)
    import_id = await shop.upload("lots", lots_file(1_000))
    await given_up(shop, database, import_id)
    one, failed = await shop.look(import_id)
    assert (failed.state, failed.result) == (RunState.FAILED, {"code": "gave_up", "tries": 3})
    assert 200 <= one.progress.rows < 1_000
    await shop.work(await shop.start(import_id))
    one, done = await shop.look(import_id)
    assert (done.state, one.progress.rows) == (RunState.SUCCEEDED, 1_000)
    assert one.progress.unchanged <= 64, "it began anew"


async def test_files_that_are_left_go_after_a_week(desk: Desk, clock: HandClock) -> None:
    shop = await opened(desk)
    import_id = await shop.upload("members", members_file(10), cut=100)
    assert await purge_parts(desk.runtime) == 0
    clock.ahead = PARTS_KEPT + timedelta(minutes=1)
    assert await purge_parts(desk.runtime) > 3
    with pytest.raises(ImportIncomplete):
        await shop.start(import_id)


async def test_files_of_a_run_that_waits_stay_however_long(desk: Desk, clock: HandClock) -> None:
    shop = await opened(desk)
    import_id = await shop.upload("members", members_file(10), cut=100)
    run = await shop.start(import_id)
    clock.ahead = PARTS_KEPT * 2
    assert await purge_parts(desk.runtime) == 0
    await shop.work(run)
    assert (await shop.look(import_id))[0].progress.done == 10


async def test_files_of_an_import_that_is_started_while_old_ones_are_removed_stay(
    desk: Desk, clock: HandClock, database: Database
) -> None:
    shop = await opened(desk)
    import_id = await shop.upload("members", members_file(10), cut=100)
    clock.ahead = PARTS_KEPT * 2
    async with transaction(shop.engine, shop.id) as connection:
        run = await service.start_import(
            connection, shop.id, import_id, OPERATOR, at=desk.now(), ids=desk.ids
        )
        starter = (await connection.execute(select(func.pg_backend_pid()))).scalar_one()
        purging = asyncio.create_task(purge_parts(desk.runtime))
        blocked = asyncio.create_task(until_blocked(database, starter))
        await asyncio.wait({purging, blocked}, return_when=asyncio.FIRST_COMPLETED)
        blocked.cancel()
    assert await purging == 0
    await shop.work(run)
    assert (await shop.look(import_id))[0].progress.done == 10


async def test_a_failed_import_whose_file_went_is_told_anew_from_the_beginning(
    desk: Desk, clock: HandClock, database: Database
) -> None:
    shop = await opened(desk, 500)
    head, _, rows = lots_file(1_000).partition("\r\n")
    file = f"{head}\r\nL,N0,stars,1,2026-01-01,2190-12-31\r\n{rows}".encode()
    import_id = await shop.upload("lots", file, cut=len(file))
    await given_up(shop, database, import_id)
    with pytest.raises(ImportStarted):  # what is left of it is there: it goes on where it was
        await shop.put(import_id, 1, file)
    clock.ahead = PARTS_KEPT + timedelta(minutes=1)
    assert await purge_parts(desk.runtime) == 1
    with pytest.raises(ImportIncomplete):
        await shop.start(import_id)
    await shop.put(import_id, 1, file)
    await shop.work(await shop.start(import_id))
    (one, done), shop.last = await shop.look(import_id), import_id
    assert (done.state, one.progress.rows, one.progress.rejected) == (RunState.SUCCEEDED, 1_001, 1)
    assert one.progress.unchanged >= 199, "what had come in already"
    assert [rejection.line for rejection in await shop.rejections()] == [2]


async def test_what_is_left_for_a_week_is_not_open_any_more_until_a_part_of_it_comes(
    desk: Desk, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "OPEN_MAX", 2)
    shop = await opened(desk)

    async def ask() -> None:
        async with reading(shop.engine, shop.id) as connection:
            await service.refuse_more(connection, shop.id, desk.now())

    failed = await shop.upload("members", "nonsense\n")
    await shop.work(await shop.start(failed))
    assert (await shop.look(failed))[1].state is RunState.FAILED
    await shop.upload("members", "")
    await ask()
    left = await shop.upload("members", members_file(10))
    for again in (ask(), shop.put(failed, 1, b"card\n")):
        with pytest.raises(TooManyImports):
            await again
    await shop.put(left, 1, b"card\n")  # of one that is open already
    clock.ahead = PARTS_KEPT + timedelta(minutes=1)
    await ask()
    await shop.upload("members", "")
    with pytest.raises(TooManyImports):  # the parts of one are still there
        await ask()
    assert await purge_parts(desk.runtime) == 1
    await ask()
    await shop.put(failed, 1, b"card\n")
    with pytest.raises(TooManyImports):
        await shop.put(left, 1, b"card\n")


async def test_a_standing_since_later_stays_and_one_that_differs_is_told(desk: Desk) -> None:
    """Whichever is told first; and what a manager gave since then is not taken back by a file of before."""
    shop = await opened(desk, 3)
    head = "member_external_id,tier_set,tier,since\n"
    both = head + "N0,status,silver,2024-01-01\nN0,status,gold,2025-01-01\n"
    assert await shop.bring_in("standings", both) == (2, 0, 0)
    assert await shop.bring_in("standings", both) == (0, 2, 0)
    assert await shop.bring_in("standings", head + "N1,status,gold,2025-01-01\nN1,status,silver,2024-01-01\n") == (
        1, 1, 0,
    )  # fmt: skip
    differs = head + "N0,status,silver,2025-01-01\n"
    assert await shop.rejected("standings", differs) == [(2, "since", "standing_differs")]
    async with reading(shop.engine, shop.id) as connection:
        member = await resolve(connection, shop.id, Identifier(IdentifierKind.EXTERNAL, "N0"), 1)
    await desk.submit(shop.id, GiveTier(MemberRef(id=member.id), "status", "silver", None, "complaint"))
    assert await shop.bring_in("standings", both) == (0, 2, 0)
    # A row that is wrong by itself is so whatever the member holds.
    assert await shop.rejected("standings", head + "N0,status,platinum,2024-01-01\n") == [
        (2, "tier", "unknown_tier")
    ]
    ended = "member_external_id,tier_set,tier,since,last_day_on\nN0,status,gold,2020-01-01,2020-12-31\n"
    assert await shop.rejected("standings", ended) == [(2, "last_day_on", "out_of_range")]
    await shop.whole()


async def test_a_day_is_the_programs_day(desk: Desk, database: Database) -> None:
    """Points with a last day are good to its end, an instant is what it says, and no dates are the policy's."""
    shop = await opened(desk, 1)
    head = "external_id,member_card,points_currency,points,issued_at,activates_at,expires_at,last_day_on\n"
    rows = (
        "a,603550000000,points,1,2026-07-01,,,2189-07-31\n"
        "b,603550000000,points,2,2026-07-01T00:00:00Z,2026-08-01,2189-08-01T12:00:00+02:00,\n"
        "c,603550000000,points,3,2026-10-20,,,\n"
    )
    assert await shop.bring_in("lots", head + rows) == (3, 0, 0)
    async with superuser(database) as link:
        dates = await link.fetch(
            "SELECT vintage_at, activates_at, expires_at FROM lots WHERE program_id = $1 ORDER BY points",
            shop.id,
        )
    assert [tuple(row) for row in dates] == [
        (_at(2026, 6, 30, 22), None, _at(2189, 7, 31, 22)),
        (_at(2026, 7, 1), _at(2026, 7, 31, 22), _at(2189, 8, 1, 10)),
        (_at(2026, 10, 19, 22), None, _at(2027, 10, 19, 22)),
    ]


async def test_who_is_a_member_already_stays_as_it_is(desk: Desk, database: Database) -> None:
    shop = await opened(desk, 1)
    text = "card,name,enrolled_at,email\n603550000000,Another Name,2001-01-01,other@shop.example\n"
    assert await shop.bring_in("members", text) == (0, 1, 0)
    named = "SELECT profile ->> 'name' FROM member_profiles WHERE program_id = $1"
    assert await ask(database, named, shop.id) == "Ann 0"
    whole = (
        "card,name,birthday_on,attributes.diet,attributes.shoe_size\n603550000001,Zoë,1987-11-23,vegan,42\n"
    )
    assert await shop.bring_in("members", whole) == (1, 0, 0)
    async with superuser(database) as link:
        profile = await link.fetchval(
            "SELECT profile::text FROM member_profiles WHERE program_id = $1 AND profile ->> 'name' = 'Zoë'",
            shop.id,
        )
    assert date(1987, 11, 23).isoformat() in profile
    assert '"diet":"vegan","shoe_size":"42"' in profile


async def test_nothing_of_a_person_is_left_of_a_file(desk: Desk, database: Database) -> None:
    """Neither of a row that came in, but in the members' own tables, nor of one that was rejected."""
    shop = await opened(desk)
    person = ["Zdeňka Xerxésová", "zdenka.quill@planted.example", "+436649876543", "loyal-Zdeňka-77"]
    text = (
        "name,email,phone,external_id,enrolled_at\n"
        f"{','.join(person)},2020-01-01\n"
        f"{','.join(person[1:])},Zdeňka Xerxésová,2020-01-01\n"
        f"{','.join(person)},2190-01-01\n"
    )
    assert await shop.bring_in("members", text) == (1, 1, 1)
    lots = (
        "external_id,member_email,points_currency,points,issued_at\nx,"
        + person[1]
        + "x,points,1,2026-01-01\n"
    )
    assert await shop.bring_in("lots", lots) == (0, 0, 1)
    async with superuser(database) as link:
        texts = await dump.rows(link)
    for value in person:
        assert set(dump.places(value, texts)) <= {"member_profiles", "identifiers"}, value


def _at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[misc]
