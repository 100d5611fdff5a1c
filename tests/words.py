"""What the long words of the Makefile share: how they are told their numbers and names, and where their figures go."""

import difflib
import heapq
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

PROOF = Path(__file__).parents[1] / "proof"
MANY = 30  # names; more are not read


@dataclass(frozen=True)
class Told:
    """What a word was told by variables. Nonsense ends it at once: one line that says what is wrong, and exit 2."""

    word: str
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def number(self, name: str, usual: int, least: int = 0) -> int:
        """A whole number; the usual one where nothing is told."""
        text = self.environ.get(name) or str(usual)
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            self.refuse(f"{name}={text}: a whole number from {least} on is wanted")
        return int(text)

    def seed(self) -> int:
        return self.number("SEED", secrets.randbelow(2**31))

    def pieces(self, name: str) -> list[str]:
        """What stands between commas."""
        return [piece for text in self.environ.get(name, "").split(",") if (piece := text.strip())]

    def numbers(self, name: str) -> tuple[int, ...]:
        """Whole numbers with commas between them."""
        pieces = self.pieces(name)
        if wrong := [piece for piece in pieces if not (piece.isascii() and piece.isdigit())]:
            self.refuse(f"{name}: {wrong[0]} is no whole number")
        return tuple(map(int, pieces))

    def known(self, names: Sequence[str], there: Sequence[str]) -> None:
        """Refuse a name that is none of those there are."""
        for name in names:
            if name not in there:
                self.unknown(name, there)

    def unknown(self, name: str, there: Sequence[str]) -> NoReturn:
        """Say which there are, or of many those that come near it."""
        if len(there) <= MANY:
            self.refuse(f"nothing is named {name}; there is {', '.join(there)}")
        near = heapq.nlargest(5, there, key=lambda one: _alike(name, one))
        self.refuse(f"nothing is named {name}; near it are: {', '.join(near)}")

    def refuse(self, why: str) -> NoReturn:
        print(f"{self.word}: {why}", file=sys.stderr)
        raise SystemExit(2)


def _alike(text: str, name: str) -> float:
    """How near a text comes to a name or to one of its words, from 0 to 1."""
    return max(difflib.SequenceMatcher(None, text, part).ratio() for part in (name, *name.split()))


def keep(word: str, figures: Mapping[str, Any], *, whole: bool) -> Path:
    """Write figures for machines. Those of a run that was small or went wrong leave the last whole one alone."""
    PROOF.mkdir(exist_ok=True)
    place = PROOF / (f"{word}.json" if whole else f"{word}-try.json")
    place.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return place


def proof_seed(usual: int | None = None) -> int:
    """The seed that `make proof` gave its tests; without it the usual one, or a new one."""
    drawn = secrets.randbelow(2**32) if usual is None else usual
    return int(os.environ.get("PROOF_SEED") or drawn)


def proof_size() -> int:
    """How many times as large a proof is as it usually is."""
    return int(os.environ.get("PROOF_SIZE") or 1)


def counted(number: int, one: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {one}{'' if number == 1 else 's'}"
