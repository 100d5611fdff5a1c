"""Small worlds for the law tests, in the public form of a program: few names and figures, so that things meet."""

from typing import Any

from hypothesis import strategies as st

JSON = dict[str, Any]

CATEGORIES = ("coffee", "fuel", "bread")
TAGS = ("no-points", "organic")
SKUS = ("A", "B", "C")
CHANNELS = ("pos", "web")
LOCATIONS = ("north", "south")


def some(names: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), max_size=2, unique=True)


def chance(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | part


def given(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JSON]:
    """A dict of the fields that did not turn out empty."""
    return st.fixed_dictionaries(fields).map(
        lambda d: {k: v for k, v in d.items() if v not in (None, [], ())}
    )


selections = given(
    skus=some(SKUS),
    categories=some(CATEGORIES),
    tags=some(TAGS),
    not_skus=some(SKUS),
    not_categories=some(CATEGORIES),
    not_tags=some(TAGS),
)
named = selections.filter(bool)
clock_times = st.sampled_from(("00:00:00", "02:30:00", "08:00:00", "17:30:00", "22:00:00"))
windows = given(
    kind=st.just("window"),
    from_on=chance(st.dates().map(str) | st.sampled_from(("2026-03-08", "2026-05-01"))),
    to_on=chance(st.sampled_from(("2026-03-08", "2026-05-31", "2026-12-31"))),
    weekdays=st.lists(st.integers(1, 7), max_size=3, unique=True),
    from_time=chance(clock_times),
    to_time=chance(clock_times),
)
nights = given(  # over midnight, where the day that counts is the evening's
    kind=st.just("window"),
    weekdays=st.lists(st.integers(1, 7), min_size=1, max_size=4, unique=True),
    to_on=chance(st.sampled_from(("2026-03-08", "2026-11-01"))),
    from_time=st.sampled_from(("17:30:00", "22:00:00")),
    to_time=st.sampled_from(("02:30:00", "08:00:00")),
)
conditions = st.recursive(
    given(kind=st.just("minimum_spend"), amount_minor=st.integers(1, 3_000), lines=selections)
    | given(kind=st.just("has_line"), lines=named)
    | windows
    | nights
    | given(kind=st.just("channel"), any_of=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=2))
    | given(kind=st.just("location"), any_of=st.lists(st.sampled_from(LOCATIONS), min_size=1, max_size=2)),
    lambda inner: (
        given(kind=st.sampled_from(("all", "any")), of=st.lists(inner, min_size=1, max_size=3))
        | given(kind=st.just("not"), of=inner)
    ),
    max_leaves=4,
)
roundings = st.sampled_from(("floor", "half_up", "ceiling"))
effects = (
    given(
        kind=st.just("per_spend"),
        points=st.integers(1, 5),
        each_minor=st.sampled_from((1, 7, 100, 250)),
        rounding=roundings,
        lines=selections,
    )
    | given(kind=st.just("fixed"), points=st.integers(1, 500), lines=selections)
    | given(
        kind=st.just("multiplier"),
        factor_bps=st.sampled_from((10_001, 12_500, 15_000, 20_000, 33_333)),
        rounding=roundings,
        lines=selections,
    )
)


TIERS = ("silver", "gold")
of_tiers = given(
    kind=st.just("tier"), tier_set=st.sampled_from(("status", "often")), at_least=st.sampled_from(TIERS)
)


def tier_sets(currencies: tuple[str, ...]) -> st.SearchStrategy[list[JSON]]:
    """Ladders that fall by what is counted; tests/laws/ladders.py plays no others."""
    metrics = given(kind=st.sampled_from(("spend", "visits", "days"))) | given(
        kind=st.just("points"), points_currency=st.sampled_from(currencies)
    )
    periods = (
        given(
            kind=st.just("calendar"),
            unit=st.sampled_from(("month", "quarter", "year")),
            lasts=st.sampled_from((0, 1, 2)),
        )
        | given(kind=st.just("rolling"), days=st.sampled_from((1, 7, 30)))
        | given(kind=st.just("lifetime"))
    )
    one = st.builds(
        lambda id, metric, period, step, returns, expiry: {
            "id": id,
            "name": id.title(),
            "metric": metric,
            "period": period,
            "tiers": [
                {"id": tier, "name": tier.title(), "threshold": (1, 3)[n] * step[metric["kind"]]}
                | ({"expiry": {currencies[0]: expiry}} if expiry and not n else {})
                for n, tier in enumerate(TIERS)
            ],
            "returns": returns,
        },
        st.sampled_from(("status", "often")),
        metrics,
        periods,
        st.sampled_from(
            (
                {"spend": 300, "visits": 1, "days": 1, "points": 5},
                {"spend": 3_000, "visits": 2, "days": 2, "points": 100},
            )
        ),
        st.sampled_from(("at_review", "at_once")),
        st.sampled_from((None, None, {"kind": "rolling", "days": 60})),
    )
    return st.lists(one, max_size=2, unique_by=lambda one: one["id"])


TERMS = (
    {"expiry": {"kind": "rolling", "days": 30}},
    {"expiry": {"kind": "never"}, "pending_days": 1},
    {"expiry": {"kind": "anniversary", "months": 1}},
    {"pending_days": 0},
)


def rules(currencies: tuple[str, ...], *, tiers: bool = False) -> st.SearchStrategy[list[JSON]]:
    when = conditions | of_tiers | given(kind=st.just("not"), of=of_tiers) if tiers else conditions
    one = given(
        id=st.sampled_from(tuple("abcdefgh")),
        name=st.just("a rule"),
        points_currency=st.sampled_from(currencies),
        gives=effects,
        when=chance(when),
        member_cap=chance(
            given(
                points=st.integers(1, 300), period=st.sampled_from(("day", "week", "month", "year", "ever"))
            )
        ),
        priority=st.integers(-2, 2),
        on_return=st.sampled_from((None, None, "all_if_unmet")),
        terms=st.sampled_from((None, None, None, *TERMS)),
    )
    return st.lists(one, max_size=6, unique_by=lambda rule: rule["id"])


def rulesets(currencies: tuple[str, ...]) -> st.SearchStrategy[JSON]:
    return given(version=st.integers(1, 9), rules=rules(currencies), excluded=chance(named))


places = given(
    channel=chance(st.sampled_from(CHANNELS)),
    location=chance(st.sampled_from(LOCATIONS)),
    reference=chance(st.just("A-1")),
)
circumstances = st.recursive(
    windows
    | nights
    | given(kind=st.just("channel"), any_of=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=2))
    | given(kind=st.just("location"), any_of=st.lists(st.sampled_from(LOCATIONS), min_size=1, max_size=2))
    | given(kind=st.just("tenure"), days=st.sampled_from((1, 2, 30)))
    | given(
        kind=st.just("identifier"),
        any_of=st.lists(st.sampled_from(("card", "phone", "email", "external")), min_size=1, max_size=2),
    ),
    lambda inner: (
        given(kind=st.sampled_from(("all", "any")), of=st.lists(inner, min_size=1, max_size=3))
        | given(kind=st.just("not"), of=inner)
    ),
    max_leaves=3,
)
REWARDS = ("mug", "tea", "cup")
pays = given(
    points=st.sampled_from((2, 10)),
    each_minor=st.sampled_from((3, 7, 100)),
    points_min=st.sampled_from((4, 20)),
    step=chance(st.sampled_from((1, 5))),
    points_max=chance(st.sampled_from((100, 5_000))),
    day_max=chance(st.sampled_from((25, 150))),
    returnable=st.booleans(),
)


def rewards(currencies: tuple[str, ...]) -> st.SearchStrategy[list[JSON]]:
    one = given(
        id=st.sampled_from(REWARDS),
        name=st.just("a reward"),
        kind=st.sampled_from(("product", "voucher", "discount", "donation", "service", "status")),
        points_currency=st.sampled_from(currencies),
        points=st.sampled_from((1, 5, 20, 150)),
        money_minor=st.sampled_from((0, 250)),
        from_on=st.sampled_from((None, None, None, "2026-03-01", "2026-03-08")),
        to_on=st.sampled_from((None, None, None, "2026-03-31", "2026-12-31")),
        visible=st.booleans(),
        stocked=st.booleans(),
        member_limit=chance(
            given(
                quantity=st.integers(1, 4), period=st.sampled_from(("day", "week", "month", "year", "ever"))
            )
        ),
        quantity_max=chance(st.sampled_from((1, 3))),
        when=st.none()
        | st.none()
        | st.none()
        | circumstances
        | of_tiers
        | st.sampled_from(
            ({"kind": "tenure", "days": 30}, {"kind": "identifier", "any_of": ["phone", "external"]})
        ),
        returnable=st.booleans(),
    )
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda reward: reward["id"])


line_bodies = given(
    sku=st.sampled_from(SKUS),
    quantity_milli=st.sampled_from((0, 1_000, 2_500)),
    amount_minor=st.integers(0, 2_500),
    categories=some(CATEGORIES),
    tags=some(TAGS),
    tax_minor=st.integers(0, 200),
)


@st.composite
def baskets(draw: st.DrawFn) -> JSON:
    """Lines and how they were paid; the tenders, if told, sum to the lines."""
    lines = draw(st.lists(line_bodies, min_size=1, max_size=4))
    for number, line in enumerate(lines):
        line["line_id"] = str(number + 1)
        if line.get("tax_minor", 0) > line["amount_minor"]:
            line["tax_minor"] = line["amount_minor"]
    basket: JSON = {"lines": lines, "money": "USD"}
    total = sum(line["amount_minor"] for line in lines)
    if draw(st.booleans()):
        gift = draw(st.integers(0, total))
        basket["tenders"] = [
            {"type": "gift", "amount_minor": gift},
            {"type": "card", "amount_minor": total - gift},
        ]
    for name, words in (("channel", CHANNELS), ("location", LOCATIONS)):
        if word := draw(chance(st.sampled_from(words))):
            basket[name] = word
    return basket
