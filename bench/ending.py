"""How work with servers of its own ends when it is told to."""

import signal
from typing import NoReturn


def ends_when_told() -> None:
    """From here on SIGTERM ends this process as Ctrl-C does: what it has started is stopped and removed."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: object) -> NoReturn:
    # Told once more it does not stop half-way through stopping.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)
