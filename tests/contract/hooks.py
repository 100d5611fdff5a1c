"""Schemathesis loads this for a check of ours beside its own: no item of a batch is answered with a fault of ours."""

import schemathesis
from schemathesis.core.transport import Response

from tests.contract.items import failed


@schemathesis.check
def no_item_failed(ctx: schemathesis.CheckContext, response: Response, case: schemathesis.Case) -> None:
    statuses = failed(response.content)
    assert not statuses, f"items answered {statuses}"
