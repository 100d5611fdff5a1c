"""Shows how a replay goes: a bar on a terminal, a line now and then elsewhere. Talk, so on stderr."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loyalty.replay.tally import Figures, Tally

_TERMINAL_S = 0.25
_LINE_S = 5.0


@asynccontextmanager
async def shown(tally: Tally, total: int) -> AsyncGenerator[None]:
    """Show the tally on its way to `total` answers for the length of a block."""
    console = Console(stderr=True)
    began = time.monotonic()
    if console.is_terminal:
        bar = Progress(
            TextColumn("  "),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        task_id = bar.add_task("", total=total)

        def show() -> None:
            figures = tally.figures(time.monotonic() - began)
            bar.update(task_id, completed=figures.posted, description=in_words(figures))

        with bar:
            async with _ticking(show, _TERMINAL_S):
                yield
    else:

        def tell() -> None:
            figures = tally.figures(time.monotonic() - began)
            line = f"  {figures.posted:,} of {total:,}: {in_words(figures)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        async with _ticking(tell, _LINE_S):
            yield


def in_words(figures: Figures) -> str:
    """One line about a tally."""
    words = [f"{figures.recorded:,} recorded"]
    if figures.replayed:
        words.append(f"{figures.replayed:,} replayed")
    if figures.payments:
        words.append(f"{figures.payments:,} paid with points")
    words += [f"{count:,} refused ({code})" for code, count in figures.refused.items()]
    if figures.retried:
        words.append(f"{figures.retried:,} tried again")
    words.append(f"{figures.per_second:,.0f}/s, p50 {figures.p50_ms:.1f} ms, p99 {figures.p99_ms:.1f} ms")
    return ", ".join(words)


@asynccontextmanager
async def _ticking(show: Callable[[], None], every_s: float) -> AsyncGenerator[None]:
    async def tick() -> None:
        while True:
            await asyncio.sleep(every_s)
            show()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
