"""Python's collector of cycles, told what a server knows: what is worth looking at, and when."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

# New objects between two looks; a batch of 64 purchases makes about as many, and drops them.
YOUNG_MAX = 20_000


def settle_collector() -> None:
    """Leave out for good what the process holds now, and look more seldom: before a process begins to serve.

    With Python's own thresholds (700 new objects, all modules looked through again and again) the collector took a
    tenth of the processor time of a purchase; a batch in memory is full of objects that live until its commit.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)


@contextmanager
def no_collection() -> Generator[None, None, None]:
    """For one growing value: to look at it again and again costs more than to make it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
