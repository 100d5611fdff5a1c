"""The files that are made from the code: openapi/openapi.json and the catalogue of codes in docs/api.md.

`make api` writes them; a test fails when they are not what the code says.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from loyalty.base.forms import CODES
from loyalty.base.problems import catalogue
from loyalty.web import openapi
from loyalty.web.app import describe

ROOT = Path(__file__).resolve().parents[3]
OPENAPI = ROOT / "openapi" / "openapi.json"
GUIDE = ROOT / "docs" / "api.md"

_BETWEEN = re.compile(r"(<!-- catalogue -->\n).*?(<!-- end of catalogue -->)", re.DOTALL)


def files() -> Iterator[tuple[Path, bytes]]:
    """Each file with what it should hold."""
    yield OPENAPI, openapi.encoded(describe())
    yield GUIDE, _BETWEEN.sub(lambda found: found[1] + _catalogue() + found[2], GUIDE.read_text()).encode()


def _catalogue() -> str:
    rows = ["| code | status | meaning | what to do |", "|---|---|---|---|"]
    rows += [f"| `{row.code}` | {row.status} | {row.title} | {row.to_do} |" for row in catalogue()]
    rows += ["", "Faults inside `errors`:", "", "| code | meaning |", "|---|---|"]
    rows += [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    for path, content in files():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
