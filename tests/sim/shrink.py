"""Fewer operations that go wrong in the same way: parts are left out for as long as the rest still fails."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrunk(items: Sequence[T], fails: Callable[[Sequence[T]], bool], within_s: float) -> list[T]:
    """A part of `items`, in order, that still fails; none of it can be left out unless the time was up."""
    until = time.monotonic() + within_s
    kept = list(items)
    size = len(kept) // 2
    while size and time.monotonic() < until:
        start, removed = 0, False
        while start < len(kept) and time.monotonic() < until:
            fewer = kept[:start] + kept[start + size :]
            if fails(fewer):
                kept, removed = fewer, True
            else:
                start += size
        size = min(size, len(kept)) if removed and size == 1 else size // 2
    return kept
