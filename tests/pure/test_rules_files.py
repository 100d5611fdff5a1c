"""A program written by hand is read as it was meant, and written back so that a hand can go on."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.base.calendar import RoundUp
from loyalty.conditions.types import AllOf, Lines, MinimumSpend, Window
from loyalty.posting.configuration import Configuration
from loyalty.posting.files import dump, in_file, load
from loyalty.posting.validate import faults
from loyalty.programs.types import (
    Activity,
    AdjustmentReason,
    Adjustments,
    ConfigurationInvalid,
    DatingPolicy,
    FixedDays,
    Inactivity,
    MemberYear,
    NeverExpires,
    PointsCurrency,
    Policies,
    ProgramKind,
    ProgramSettings,
    Rolling,
    SpendingLimits,
    SpendingPin,
    Transfers,
    UnknownIdentifier,
)
from loyalty.rules.types import PerSpend, Ruleset, Terms
from loyalty.tiers.types import Lifetime, Spend, Tier, TierSet
from tests.pure.shops import rulesets

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "programs").glob("*.toml"))
DOCUMENTED = (ROOT / "docs" / "rules.md").read_text().split("```toml\n")[1].split("```")[0]

texts = st.text(min_size=1, max_size=60).filter(str.strip)  # a name says something
expiries = (
    st.just(NeverExpires())
    | st.builds(
        Rolling, st.none() | st.integers(1, 900), st.none() | st.integers(1, 90), st.sampled_from(RoundUp)
    )
    | st.builds(
        FixedDays,
        st.lists(st.sampled_from(("03-31", "12-31")), min_size=1, max_size=20).map(tuple),
        st.integers(1, 90),
    )
    | st.builds(MemberYear, st.integers(1, 24), st.integers(1, 90))
)
sliding = st.builds(
    Inactivity,
    st.none() | st.integers(1, 900),
    st.none() | st.integers(1, 90),
    st.lists(st.sampled_from(Activity), min_size=1, max_size=5).map(tuple),
)
currencies = st.builds(
    PointsCurrency,
    st.sampled_from(("points", "stars")),
    texts,
    spendable=st.booleans(),
    qualifying=st.booleans(),
    expiry=expiries | sliding,
    pending_days=st.integers(0, 30),
    excluded_tenders=st.lists(texts, max_size=2).map(tuple),
)
policies = st.builds(
    Policies,
    late_days_max=st.none() | st.integers(0, 36_600),
    unknown_card=st.sampled_from(UnknownIdentifier),
    phone_region=st.sampled_from(("US", "DE")),
    adjustments=st.builds(
        Adjustments,
        st.lists(
            st.builds(AdjustmentReason, st.sampled_from(("goodwill", "correction")), texts), max_size=4
        ).map(tuple),
        approval_above=st.none() | st.integers(0, 10**6),
        proposal_days=st.integers(1, 365),
    ),
    transfers=st.builds(
        Transfers,
        st.booleans(),
        period=st.sampled_from(("day", "week", "month")),
        fee_bps=st.integers(0, 10_000),
    ),
    spending_limits=st.builds(
        SpendingLimits, st.none() | st.integers(0, 10**6), changed_hours=st.integers(0, 9)
    ),
    spending_pin=st.builds(SpendingPin, st.none() | st.integers(0, 10**6), attempts=st.integers(1, 20)),
)
programs = st.builds(
    ProgramSettings,
    texts,
    texts,
    st.sampled_from(("EUR", "USD")),
    st.lists(currencies, min_size=1, max_size=2).map(tuple),
    policies,
)


@settings(max_examples=100)
@given(
    st.sampled_from(ProgramKind),
    programs,
    rulesets(most=4),
    st.builds(Terms, st.none() | expiries, st.none() | st.integers(0, 90)),
    st.dictionaries(st.sampled_from(("points", "stars")), expiries),
)
def test_what_is_written_is_read_again(
    kind: ProgramKind,
    program: ProgramSettings,
    ruleset: Ruleset,
    terms: Terms,
    expiry: dict[str, DatingPolicy],
) -> None:
    """But for the version, which is the publication's to give."""
    rules = tuple(msgspec.structs.replace(rule, terms=terms) for rule in ruleset.rules[:2])
    ruleset = msgspec.structs.replace(ruleset, rules=(*rules, *ruleset.rules[2:]))
    ladder = TierSet("status", "Status", Spend(), Lifetime(), (Tier("gold", "Gold", 1, expiry=expiry),))
    unpublished = Configuration(program, msgspec.structs.replace(ruleset, version=0), (), (ladder,))
    assert load(dump(kind, Configuration(program, ruleset, (), (ladder,)))) == (kind, unpublished)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_published_and_is_written_back_alike(path: Path) -> None:
    text = path.read_text()
    kind, configuration = load(text)
    assert faults(configuration) == []
    again = dump(kind, configuration)
    assert load(again) == (kind, configuration)
    # Everything but comments and what has its default anyway stands where it stood.
    tables = [line for line in text.splitlines() if line.startswith("[")]
    assert [line for line in again.splitlines() if line.startswith("[")] == tables


def test_the_documented_file_can_be_published() -> None:
    kind, configuration = load(DOCUMENTED)
    assert kind is ProgramKind.LIVE
    assert faults(configuration) == []


@pytest.mark.parametrize(
    "kind", [ProgramSettings, Policies, Adjustments, Transfers, SpendingLimits, SpendingPin, PointsCurrency]
)
def test_every_setting_is_described_with_its_default(kind: type[msgspec.Struct]) -> None:
    guide = (ROOT / "docs" / "program.md").read_text("utf-8")
    for field in msgspec.structs.fields(kind):
        (default,) = re.findall(rf"^\| `{field.name}` \| (.+?) \|", guide, re.MULTILINE)[-1:] or [""]
        if field.required:
            assert default == "required", field.name
        elif isinstance(field.default, msgspec.Struct):
            assert default, field.name
        else:
            assert default == f"`{msgspec.json.encode(field.default).decode()}`", field.name


def test_the_example_for_the_replay_earns_and_expires_as_its_header_says() -> None:
    kind, configuration = load((ROOT / "examples/programs/journey-a.toml").read_text())
    (currency,), (rule,) = configuration.settings.points_currencies, configuration.ruleset.rules
    assert kind is ProgramKind.SANDBOX
    assert configuration.settings.zone == "America/New_York"
    assert configuration.settings.policies.late_days_max is None
    assert configuration.settings.policies.unknown_external is UnknownIdentifier.ENROL
    assert currency.expiry == Rolling(days=90)
    assert (rule.gives, rule.when, rule.member_cap) == (PerSpend(1, 100), None, None)
    assert configuration.ruleset.excluded is None


def test_conditions_one_below_the_other_must_all_hold() -> None:
    _, configuration = load(DOCUMENTED)
    when = configuration.ruleset.rules[1].when
    assert isinstance(when, AllOf)
    assert [type(part) for part in when.of] == [Window, MinimumSpend]


@pytest.mark.parametrize(
    ("old", "new", "pointers", "line"),
    [
        ('kind = "live" ', 'kind = "lively"', "/program/kind", 2),
        ("each_minor = 50", 'each_minor = "50"', "/rules/0/gives/each_minor", 19),
        ("each_minor = 50", "each = 50", "/rules/0/gives/each_minor /rules/0/gives/each", 19),
        ("to_time = 09:00:00", "to_time = 9", "/rules/1/when/0/to_time", 30),
        ("amount_minor = 400", "amount_minor = 0", "/rules/1/when/1/amount_minor", 34),
        ("[excluded]", "[exclude]", "/exclude", 12),
        ('name = "beans"', "", "/points_currencies/0/name", 7),
        ('id = "early-coffee"', 'id = "Early Coffee"', "/rules/1/id", 22),
    ],
)
def test_a_slip_is_named_by_its_place_and_line(old: str, new: str, pointers: str, line: int) -> None:
    assert old in DOCUMENTED
    with pytest.raises(ConfigurationInvalid) as refused:
        load(DOCUMENTED.replace(old, new, 1))
    assert [fault.pointer for fault in refused.value.faults] == pointers.split()
    assert all(fault.detail.endswith(f"(line {line})") for fault in refused.value.faults)


def test_every_slip_of_a_file_is_named_at_once() -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        load(
            DOCUMENTED.replace('kind = "live" ', 'kind = "lively"').replace(
                "each_minor = 50", "each_minor = 0"
            )
        )
    kind, step = refused.value.faults
    assert (kind.pointer, kind.detail) == ("/program/kind", "One of: live, sandbox. (line 2)")
    assert (step.pointer, step.code) == ("/rules/0/gives/each_minor", "out_of_range")


def test_what_is_not_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        load(DOCUMENTED.replace("[excluded]", "[excluded"))
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.code) == ("", "malformed")
    assert "line 12" in fault.detail


def test_contradictions_are_told_by_their_place_in_the_file() -> None:
    text = DOCUMENTED.replace("Europe/Berlin", "Europe/Bielefeld")
    (fault,) = in_file(text, faults(load(text)[1]))
    assert (fault.pointer, fault.detail[-8:]) == ("/program/zone", "(line 4)")

    text = DOCUMENTED.replace("to_time = 09:00:00", "from_on = 2026-05-05\nto_on = 2026-05-04")
    text = text.replace('["coffee"]', '["gift-card"]')
    found = [(fault.pointer, fault.detail[-9:]) for fault in in_file(text, faults(load(text)[1]))]
    assert found == [("/rules/1/gives/lines", "(line 25)"), ("/rules/1/when/0/to_on", "(line 31)")]


@pytest.mark.parametrize(
    ("expiry", "told"),
    [
        ('{ kind = "fixed_days", on = ["03-31", "02-29"] }', []),
        ('{ kind = "fixed_days", on = ["04-31"] }', [("/points_currencies/0/expiry/on/0", "no_such_day")]),
        (
            '{ kind = "fixed_days", on = ["02-30", "02-30"] }',
            [
                ("/points_currencies/0/expiry/on/0", "no_such_day"),
                ("/points_currencies/0/expiry/on/1", "no_such_day"),
                ("/points_currencies/0/expiry/on/1", "duplicate"),
            ],
        ),
        ('{ kind = "rolling" }', [("/points_currencies/0/expiry", "contradictory_range")]),
        (
            '{ kind = "rolling", days = 1, months = 1 }',
            [("/points_currencies/0/expiry", "contradictory_range")],
        ),
    ],
)
def test_when_points_end_is_said_without_contradiction(expiry: str, told: list[tuple[str, str]]) -> None:
    text = DOCUMENTED.replace('{ kind = "rolling", months = 6 }', expiry)
    assert text != DOCUMENTED
    kind, configuration = load(text)
    assert [(fault.pointer, fault.code) for fault in in_file(text, faults(configuration))] == told
    assert load(dump(kind, configuration)) == (kind, configuration)


def test_what_may_be_done_by_hand_stands_in_tables_of_its_own() -> None:
    guide = (ROOT / "docs" / "adjustments.md").read_text().split("```toml\n")[1].split("```")[0]
    head, rules = DOCUMENTED.split("\n[[points_currencies]]", 1)
    text = f"{head}\n{guide}\n[[points_currencies]]{rules}"
    kind, configuration = load(text)
    assert faults(configuration) == []
    assert configuration.settings.policies.transfers.fee(250) == 4
    again = dump(kind, configuration)
    assert load(again) == (kind, configuration)
    tables = [line for line in guide.splitlines() if line.startswith("[")]
    assert [line for line in again.splitlines() if line.startswith("[program.")] == tables
    wrong = text.replace("maximum = 500", "maximum = 5").replace('code = "correction"', 'code = "waived"')
    found = [(fault.pointer, fault.code) for fault in in_file(wrong, faults(load(wrong)[1]))]
    assert found == [
        ("/program/policies/adjustments/reasons/1/code", "reserved"),
        ("/program/policies/transfers/maximum", "contradictory_range"),
    ]


def test_long_lists_are_written_one_name_a_line() -> None:
    kind, configuration = load(DOCUMENTED)
    many = tuple(f"article-number-{number}" for number in range(20))
    excluded = Lines(skus=many)
    longer = msgspec.structs.replace(
        configuration, ruleset=msgspec.structs.replace(configuration.ruleset, excluded=excluded)
    )
    text = dump(kind, longer)
    assert max(map(len, text.splitlines())) <= 110
    assert tomllib.loads(text)["excluded"]["skus"] == list(many)
    assert load(text) == (kind, longer)


def test_a_configuration_of_before_points_had_a_name_for_one_is_read_and_written_as_it_was() -> None:
    configuration = load(DOCUMENTED)[1]
    settings, ruleset, rewards, tier_sets = configuration.stored()
    before = settings.replace('"name_one":null,', "")
    assert before != settings
    assert Configuration.read(before, ruleset, rewards, tier_sets) == configuration
    assert "name_one" not in dump(ProgramKind.LIVE, configuration)


def test_points_are_called_by_names_that_can_be_printed() -> None:
    named = DOCUMENTED.replace('name = "beans"', 'name = "beans"\nname_one = "bean"')
    kind, configuration = load(named)
    assert configuration.settings.points_currencies[0].name_one == "bean"
    assert load(dump(kind, configuration)) == (kind, configuration)
    assert not faults(configuration)
    for field in ("name", "name_one"):
        wrong = load(re.sub(rf'^{field} = "beans?"$', f'{field} = " "', named, flags=re.MULTILINE))[1]
        assert [(fault.pointer, fault.code) for fault in faults(wrong)] == [
            (f"/settings/points_currencies/0/{field}", "unprintable_name")
        ]
