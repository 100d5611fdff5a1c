"""People who look on during a drill: they read, ask for long work, and are told the truth or to come again."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from tests.races.client import Client, Reply, Unknown

PAUSE_S = 0.1
LOOKS = 10  # between two wishes for long work


@dataclass
class Onlookers:
    """What they ask, what nobody may be told, and the long work that was promised to them."""

    key: str
    members: list[str] = field(default_factory=list)
    looks: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    promised: list[str] = field(default_factory=list)  # runs
    closing: bool = False

    async def look(self, port: int) -> None:
        """One of them, at one process."""
        client, wish = Client(port, self.key), uuid4().hex
        while not self.closing:
            self.looks += 1
            member = self.members[self.looks % len(self.members)]
            await self._ask(client, "/health/live", also=())
            await self._ask(client, "/health/ready")
            await self._ask(client, f"/v1/members/{member}/balances")
            await self._ask(client, f"/v1/members/{member}/entries")
            if self.looks % LOOKS == 1:
                # Sent again under its key until it is promised; then the next wish.
                promise = await self._ask(client, "/v1/verification-runs", wish)
                if promise is not None and promise.status == 202:
                    self.promised.append(promise.json["id"])
                    wish = uuid4().hex
            await asyncio.sleep(PAUSE_S)
        await client.close()

    async def ready(self, port: int) -> None:
        """Wait until a process says that it can serve."""
        client = Client(port, "")
        while True:
            reply = await self._ask(client, "/health/ready")
            if reply is not None and reply.status == 200:
                await client.close()
                return
            await asyncio.sleep(0.02)

    async def kept(self, port: int, within_s: float) -> None:
        """All long work that was promised is done within so many seconds, and has found nothing broken."""
        client = Client(port, self.key)
        async with asyncio.timeout(within_s):
            for run in self.promised:
                while (found := (await client.get(f"/v1/runs/{run}")).json)["state"] != "succeeded":
                    assert found["state"] != "failed", f"long work that was promised failed: {found}"
                    await asyncio.sleep(0.1)
                assert found["result"]["intact"], found
        await client.close()

    async def _ask(
        self, client: Client, path: str, wish: str | None = None, *, also: tuple[int, ...] = (503,)
    ) -> Reply | None:
        """The answer, None where the connection was lost; `also` may be told besides what was asked for."""
        try:
            if wish is None:
                reply = await client.get(path)
            else:
                reply = await client.post(path, {}, idempotency_key=wish)
        except (OSError, Unknown):
            return None
        again = reply.status in also and "retry-after" in reply.headers
        if reply.status not in (200, 202) and not again:
            self.wrong[f"{path.rsplit('/', 1)[1]} {reply.status}"] += 1
        return reply
