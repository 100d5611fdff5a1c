"""Where two JSON values differ, as JSON pointers: what an `activity_differs` names."""

from collections.abc import Iterator
from typing import Any, cast

_POINTERS_MAX = 20


def differences(first: Any, second: Any) -> tuple[str, ...]:
    """Pointers to the values that differ, in document order, the first 20."""
    found: list[str] = []
    for pointer in _walk(first, second, ""):
        found.append(pointer)
        if len(found) == _POINTERS_MAX:
            break
    return tuple(found)


def _walk(first: Any, second: Any, at: str) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        for key in [*one, *(key for key in other if key not in one)]:
            escaped = key.replace("~", "~0").replace("/", "~1")
            if key in one and key in other:
                yield from _walk(one[key], other[key], f"{at}/{escaped}")
            else:
                yield f"{at}/{escaped}"
    elif isinstance(first, list) and isinstance(second, list):
        items, others = cast("list[Any]", first), cast("list[Any]", second)
        for index in range(max(len(items), len(others))):
            if index < len(items) and index < len(others):
                yield from _walk(items[index], others[index], f"{at}/{index}")
            else:
                yield f"{at}/{index}"
    elif first != second:
        yield at
