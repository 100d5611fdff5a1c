"""The floor under our reads: Litestar routes that decode a request of the same form and answer bytes of the same size.

Served exactly as the program is; the quote's share of this rate is what quoting itself costs.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, get, post
from litestar.params import JSONBody


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    line_id: str
    sku: str
    quantity: str
    amount_minor: int
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tax_minor: int = 0
    discount_minor: int = 0


class Purchase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    occurred_at: datetime
    member: dict[str, str]
    money: str
    lines: tuple[Line, ...]
    source: str | None = None
    external_id: str | None = None
    till: str | None = None
    location: str | None = None
    channel: str | None = None


class Said(msgspec.Struct, frozen=True):
    """What the routes answer: a real answer of ours, decoded once, encoded at each call as ours is."""

    quote: dict[str, Any]
    balance: dict[str, Any]


def make_app(said: Said) -> Litestar:
    """An application of two routes that do nothing but decode and answer."""

    @post("/v1/quotes", status_code=200)
    async def quote(data: JSONBody[Purchase]) -> dict[str, Any]:
        return said.quote

    @get("/v1/members/{member:str}/balances")
    async def balances(member: str) -> dict[str, Any]:
        return said.balance

    return Litestar([quote, balances], openapi_config=None)


def main() -> None:
    """Serve the routes on LOYALTY_PORT with the answers that BENCH_SAID holds."""
    app = make_app(msgspec.json.decode(Path(os.environ["BENCH_SAID"]).read_bytes(), type=Said))
    uvicorn.run(
        app,
        port=int(os.environ["LOYALTY_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
