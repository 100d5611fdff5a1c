"""`loyalty config`: what the process would run with, and where each value comes from."""

import os

from cyclopts import App

from loyalty.base.settings import explain_settings
from loyalty.cli.frame import emit, table

app = App(name="config", help="Show the effective settings and where each comes from.")


@app.command
def show(*, json: bool = False) -> None:
    """Every setting with its effective value and origin; secrets are masked.

    Parameters
    ----------
    json
        Write JSON instead of columns.
    """
    rows = [
        {"setting": name, "value": value, "origin": origin}
        for name, value, origin in explain_settings(os.environ)
    ]
    emit(rows) if json else table(rows)
