"""`loyalty replay`: posts real purchases to a running API, or to one of its own with a program made for it."""

import asyncio
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from loyalty.base import migrations
from loyalty.base.money import amount
from loyalty.base.settings import from_process
from loyalty.cli.frame import CommandError, Exit, emit, refusal, say, unreadable
from loyalty.cli.program import load_program
from loyalty.demo.state import read_serving
from loyalty.embedded import EmbeddedError, provide
from loyalty.operating.desk import DeskError
from loyalty.operating.processes import ProcessError
from loyalty.programs.types import ProgramKind
from loyalty.replay.completejourney import NAME, completejourney
from loyalty.replay.made import replay_into_new
from loyalty.replay.mapped import mapped
from loyalty.replay.mapping import load_mapping
from loyalty.replay.progress import in_words
from loyalty.replay.reading import Purchases
from loyalty.replay.run import Order, run
from loyalty.replay.shift import whole_weeks
from loyalty.replay.tally import Figures
from loyalty.replay.totals import write_months, write_totals
from loyalty.replay.types import Redeeming, ReplayError

app = App(
    name="replay", help="Post real purchases to the API: the public grocery data, or a file of your own."
)


_SUMMED = ("earned", "redeemed", "expired", "outstanding")

Flag = Annotated[bool, Parameter(negative="")]


@app.default
def replay(
    source: str,
    *,
    mapping: Path | None = None,
    where: str | None = None,
    base_url: str | None = None,
    api_key_file: Path | None = None,
    api_key_env: str | None = None,
    clients: int = 8,
    shuffle: int | None = None,
    duplicates: int = 0,
    limit: int | None = None,
    shift: str = "0",
    program: Path | None = None,
    clock: Literal["data"] | None = None,
    totals: Path | None = None,
    totals_monthly: Path | None = None,
    redeem: int | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> int:
    """Post the purchases of SOURCE: `completejourney`, or a CSV or Parquet file with a --mapping.

    Purchases of one member are posted in their order, those of different members side by side. A replay may be
    stopped and repeated: what is recorded already is answered again and counted as replayed. Exit code 3 when
    something was refused.
    Examples: `loyalty replay completejourney --where "household_id % 10 = 1" --shift auto`;
    `loyalty replay receipts.csv --mapping till.toml --base-url https://loyalty.example --api-key-file key`.

    Parameters
    ----------
    mapping
        TOML file that says which column of your file is what; examples/mappings has some.
    where
        SQL condition over the columns of the source: only these rows.
    base_url
        Address of the API; default: the running demo.
    api_key_file
        File that holds the API key, or headers and among them `Authorization: Bearer …`.
    api_key_env
        Name of the environment variable that holds it.
    clients
        Connections that post at the same time.
    shuffle
        Post in another order, which only this seed decides.
    duplicates
        Send this many per cent of the purchases twice at the same moment.
    limit
        Only the first so many purchases.
    shift
        Move all times by so many weeks; `auto`: so that the data ends last week.
    program
        Make a new program from this file, on the configured or embedded servers, and post to it.
    clock
        `data`: set the sandbox program's clock to the end of each local day before that day's purchases.
    totals
        Write each member's settled points to this CSV file. Needs --program.
    totals_monthly
        Write the roll-forward of all points by local month to this CSV file. Needs --program.
    redeem
        Before each purchase pay with exactly so many points, once, where the member has them. Needs --program.
    dry_run
        Read and check everything, post nothing.
    json
        Write the outcome as JSON.
    """
    if not 1 <= clients <= 512 or not 0 <= duplicates <= 100 or (limit is not None and limit < 1):
        raise _usage("expected 1 to 512 clients, 0 to 100 per cent duplicates, a limit of 1 or more")
    if (clock or totals or totals_monthly or redeem is not None) and program is None:
        raise _usage("--clock, --totals and --redeem need --program: a program made for this replay")
    if redeem is not None and (redeem < 1 or shuffle is not None or duplicates):
        raise _usage(
            "--redeem takes 1 point or more, and posts in the data's own order: no shuffle or duplicates"
        )
    if clock and (shuffle is not None or duplicates or shift != "0"):
        raise _usage("--clock data posts in the data's own order and time: no shuffle, duplicates or shift")
    try:
        with _opened(source, mapping, where) as purchases:
            order = Order(clients, shuffle, duplicates, limit, _shift(shift, purchases))
            if dry_run:
                outcome = _described(purchases)
            elif program is not None:
                outcome = _into_new(
                    purchases, order, program, clock == "data", base_url, redeem, (totals, totals_monthly)
                )
            else:
                address, key = _target(base_url, api_key_file, api_key_env)
                say(f"Posting to {address} with {clients} clients")
                outcome = _told(asyncio.run(run(purchases, order, address, key)))
    except ReplayError as error:
        raise CommandError(str(error)) from error
    if json:
        emit(outcome)
    return Exit.REFUSED if outcome.get("refused") else Exit.OK


@contextmanager
def _opened(source: str, mapping: Path | None, where: str | None) -> Generator[Purchases]:
    if source == NAME:
        with completejourney(where) as purchases:
            yield purchases
    elif mapping is None:
        raise _usage("a file of your own needs a --mapping (see examples/mappings)")
    else:
        try:
            text = mapping.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(mapping, error) from error
        with mapped(Path(source), load_mapping(text, str(mapping)), where) as purchases:
            yield purchases


def _shift(text: str, purchases: Purchases) -> timedelta:
    if text == "auto":
        today = datetime.now(purchases.zone).date()
        shift = whole_weeks(purchases.span()[1], today)
        say(f"All times are moved by {shift.days // 7} weeks, so that the data ends last week")
        return shift
    try:
        return timedelta(weeks=int(text))
    except (ValueError, OverflowError) as error:
        raise _usage("--shift takes a whole number of weeks, or auto") from error


def _described(purchases: Purchases) -> dict[str, Any]:
    lines, members, minor = purchases.totals()
    first, last = purchases.span()
    count = purchases.count()
    say(
        f"{count:,} purchases with {lines:,} lines by {members:,} members, {amount(minor, purchases.money)} in all,"
        f" from {first} to {last}: every row can be read"
    )
    found = {"purchases": count, "lines": lines, "members": members, "amount_minor": minor}
    return {**found, "from_on": first, "to_on": last}


def _told(figures: Figures) -> dict[str, Any]:
    say(f"{figures.posted:,} posted in {figures.seconds:.1f} s: {in_words(figures)}")
    for one in figures.first_refused:
        say(f"  refused: {one.source} {one.external_id}: {one.detail} ({one.code})")
    if (untold := sum(figures.refused.values()) - len(figures.first_refused)) > 0:
        say(f"  … and {untold:,} more")
    return msgspec.to_builtins(figures)


def _target(base_url: str | None, api_key_file: Path | None, api_key_env: str | None) -> tuple[str, str]:
    """Address and key of the API to post to: what was said, else the running demo's."""
    key = ""
    if api_key_file is not None:
        try:
            text = api_key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(api_key_file, error) from error
        header = re.search(r"^authorization:\s*bearer\s+(\S+)\s*$", text, flags=re.IGNORECASE | re.MULTILINE)
        key = header[1] if header else text
        if not key or re.search(r"\s", key):
            raise _usage(f"{api_key_file} holds neither a key alone nor a header Authorization: Bearer …")
    elif api_key_env is not None:
        key = os.environ.get(api_key_env, "").strip()
    if base_url is not None:
        if not key:
            raise _usage("which API key? Say --api-key-file, or --api-key-env with a variable that is set")
        return base_url, key
    demo = read_serving(from_process().home)
    if demo is None:
        raise _usage("where to? Say --base-url and a key, or --program, or start the demo first: make demo")
    return demo.base_url, key or demo.api_keys["pos"]


def _into_new(
    purchases: Purchases,
    order: Order,
    program: Path,
    by_days: bool,
    base_url: str | None,
    redeem: int | None,
    files: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    kind, configuration = load_program(program)
    if redeem is not None:
        paying = [one.code for one in configuration.settings.points_currencies if one.pay is not None]
        if not paying:
            raise _usage(f"--redeem needs a points currency that pays (`pay`); {program} has none")
        order = msgspec.structs.replace(order, redeem=Redeeming(paying[0], redeem))
    if by_days and kind is not ProgramKind.SANDBOX:
        raise _usage(f"--clock data needs a sandbox program; {program} describes a live one")
    try:
        with provide(from_process()) as settings:
            if settings.owner_database_url is not None:
                migrations.upgrade(settings.owner_database_url)
            work = replay_into_new(
                settings, purchases, order, kind, configuration, by_days=by_days, base_url=base_url
            )
            program_id, figures, found, by_month = asyncio.run(work)
    except (EmbeddedError, ProcessError) as error:
        raise CommandError(str(error)) from error
    except DeskError as error:
        raise refusal(error) from error
    told = _told(figures)
    say(f"Program {program_id}: {len(found):,} members")
    totals, monthly = files
    if totals is not None:
        write_totals(totals, found)
        say(f"Their points are in {totals}")
    if monthly is not None:
        write_months(monthly, by_month)
        say(f"All points month by month are in {monthly}")
    sums = {name: sum(getattr(total, name) for total in found) for name in _SUMMED}
    say(", ".join(f"{points:,} {name}" for name, points in sums.items()))
    return {"program_id": program_id, "members": len(found), **sums, **told}


def _usage(text: str) -> CommandError:
    return CommandError(text[0].upper() + text[1:], Exit.USAGE)
