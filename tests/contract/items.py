"""A batch is answered with 200, whatever became of its items: their own statuses say it (docs/api.md)."""

import json


def failed(body: bytes) -> list[int]:
    """Statuses of items that are our fault: 500 and above, but for 503; none when it is no batch's answer."""
    if not body.startswith(b'{"results":['):
        return []
    told = [item["status"] for item in json.loads(body)["results"]]
    return [status for status in told if status >= 500 and status != 503]
