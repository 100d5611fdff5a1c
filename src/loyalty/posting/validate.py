"""Whether a configuration can be published: its own contradictions, all named at once."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from loyalty.base.calendar import RoundUp, day_of_year
from loyalty.base.errors import Fault
from loyalty.posting.configuration import Configuration
from loyalty.posting.types import ConfigurationFixed
from loyalty.programs.types import (
    OWN_CAUSES,
    ConfigurationInvalid,
    ExpiryPolicy,
    FixedDays,
    Inactivity,
    PointsCurrency,
    Policies,
    ProgramSettings,
    Rolling,
)
from loyalty.rewards.validate import faults as reward_faults
from loyalty.rules.types import Terms
from loyalty.rules.validate import faults as rule_faults
from loyalty.tiers.validate import faults as tier_faults

_LEAP_YEAR = 2024
# By how many days the end of a period may put off what lies in it.
_ROUNDED = {
    RoundUp.DAY: 0,
    RoundUp.MONTH: 30,
    RoundUp.QUARTER: 91,
    RoundUp.HALF_YEAR: 183,
    RoundUp.YEAR: 365,
}


@cache
def zones() -> frozenset[str]:
    """The IANA names of the tz database that we bring along: those of the machine differ, and are not all places."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}


def faults(configuration: Configuration) -> list[Fault]:
    """All faults with JSON pointers into the configuration; empty when it contradicts itself nowhere."""
    found: list[Fault] = []
    settings = configuration.settings
    codes = [currency.code for currency in settings.points_currencies]
    zone = ZoneInfo(settings.zone) if settings.zone in zones() else None
    if zone is None:
        found.append(Fault("/settings/zone", "unknown_time_zone", "There is no such time zone."))
    for index, currency in enumerate(settings.points_currencies):
        at = f"/settings/points_currencies/{index}"
        if currency.code in codes[:index]:
            found.append(Fault(f"{at}/code", "duplicate", "The points currency is named twice."))
        found += _name_faults(currency, at)
        found += _expiry_faults(currency.expiry, f"{at}/expiry")
        found += _never_good(currency.expiry, currency.pending_days, at)
        found += _pay_faults(currency, f"{at}/pay")
    policies = settings.policies
    if policies.hold_minutes > policies.hold_days_max * 1_440:
        detail = "A hold would last longer than one may last."
        found.append(Fault("/settings/policies/hold_minutes", "contradictory_range", detail))
    found += _policy_faults(settings.policies)
    tiers = {one.id: [tier.id for tier in one.tiers] for one in configuration.tier_sets}
    for fault in rule_faults(configuration.ruleset, codes, zone or ZoneInfo("UTC"), tiers):
        found.append(Fault(f"/ruleset{fault.pointer}", fault.code, fault.detail))
    currencies = {currency.code: currency for currency in settings.points_currencies}
    found += _rules_terms_faults(configuration, currencies)
    found += _tiers_terms_faults(configuration, currencies)
    for fault in reward_faults(configuration.rewards, currencies, tiers):
        found.append(Fault(f"/rewards{fault.pointer}", fault.code, fault.detail))
    qualifying = {currency.code: currency.qualifying for currency in settings.points_currencies}
    for fault in tier_faults(configuration.tier_sets, qualifying):
        found.append(Fault(f"/tier_sets{fault.pointer}", fault.code, fault.detail))
    return found


def changes_what_is_fixed(configuration: Configuration, current: ProgramSettings) -> list[Fault]:
    """What a program's later configuration may not change of the one before it, `current`."""
    settings = configuration.settings
    detail = "What amounts and dates were recorded in stays as it is."
    found = [
        Fault(f"/settings/{name}", "configuration_fixed", detail)
        for name in ("money", "zone")
        if getattr(settings, name) != getattr(current, name)
    ]
    kept = {currency.code for currency in settings.points_currencies}
    for currency in current.points_currencies:
        if currency.code not in kept:
            detail = f"{currency.code} stays a points currency, whoever has any or not."
            found.append(Fault("/settings/points_currencies", "configuration_fixed", detail))
    return found


def _name_faults(currency: PointsCurrency, at: str) -> Iterator[Fault]:
    for field, name in (("name", currency.name), ("name_one", currency.name_one)):
        if name is not None and (not name.isprintable() or not name.strip()):
            yield Fault(f"{at}/{field}", "unprintable_name", "The name cannot be printed on a receipt.")


def _expiry_faults(expiry: ExpiryPolicy, at: str) -> Iterator[Fault]:
    match expiry:
        case Rolling(days=days, months=months) | Inactivity(days=days, months=months) if (days is None) == (
            months is None
        ):
            yield Fault(at, "contradictory_range", "Give either days or months.")
        case FixedDays(on=on):
            for index, day in enumerate(on):
                if day_of_year(day, _LEAP_YEAR).day != int(day[3:]):
                    yield Fault(f"{at}/on/{index}", "no_such_day", "There is no such day.")
                if day in on[:index]:
                    yield Fault(f"{at}/on/{index}", "duplicate", "The day is named twice.")
        case Inactivity(resets=resets):
            for index, activity in enumerate(resets):
                if activity in resets[:index]:
                    yield Fault(f"{at}/resets/{index}", "duplicate", "The activity is named twice.")
        case _:
            pass


def _never_good(expiry: ExpiryPolicy, pending_days: int, at: str) -> Iterator[Fault]:
    """Points that have ended, whenever they are earned, before they become available."""
    match expiry:
        case Rolling(days=days, months=months, round_up=round_up):
            longest = (days or 0) + (months or 0) * 31 + _ROUNDED[round_up]
        case Inactivity(days=days, months=months):
            longest = (days or 0) + (months or 0) * 31
        case _:
            return
    if 0 < longest <= pending_days:
        detail = f"Points would be pending for {pending_days} days and have ended after {longest}."
        yield Fault(f"{at}/pending_days", "never_good", detail)


def _rules_terms_faults(
    configuration: Configuration, currencies: Mapping[str, PointsCurrency]
) -> Iterator[Fault]:
    """What is wrong with the terms that rules have of their own."""
    for index, rule in enumerate(configuration.ruleset.rules):
        at, terms, currency = (
            f"/ruleset/rules/{index}/terms",
            rule.terms,
            currencies.get(rule.points_currency),
        )
        if terms is None:
            continue
        if terms == Terms():
            yield Fault(at, "says_nothing", "Terms say when points end, or for how long they are pending.")
        if terms.expiry is not None:
            yield from _expiry_faults(terms.expiry, f"{at}/expiry")
        if currency is not None:
            pending_days = currency.pending_days if terms.pending_days is None else terms.pending_days
            yield from _never_good(terms.expiry or currency.expiry, pending_days, at)


def _tiers_terms_faults(
    configuration: Configuration, currencies: Mapping[str, PointsCurrency]
) -> Iterator[Fault]:
    """What is wrong with the ends that tiers give points."""
    for index, ladder in enumerate(configuration.tier_sets):
        for place, tier in enumerate(ladder.tiers):
            for code, expiry in tier.expiry.items():
                at = f"/tier_sets/{index}/tiers/{place}/expiry/{code}"
                yield from _expiry_faults(expiry, at)
                currency = currencies.get(code)
                if currency is None:
                    yield Fault(at, "unknown_points_currency", f"The program has no points currency {code}.")
                else:
                    yield from _never_good(expiry, currency.pending_days, at)


def _pay_faults(currency: PointsCurrency, at: str) -> Iterator[Fault]:
    """What is wrong with points as a means of payment."""
    pay = currency.pay
    if pay is None:
        return
    if not currency.spendable:
        yield Fault(at, "not_spendable", f"{currency.code} cannot be spent.")
    least = -(-pay.points_min // pay.step) * pay.step  # the smallest payment that is both
    for name, most in (("points_max", pay.points_max), ("day_max", pay.day_max)):
        if most is not None and most < least:
            yield Fault(f"{at}/{name}", "contradictory_range", f"The smallest payment has {least} points.")
    if least * pay.each_minor < pay.points:
        yield Fault(at, "worth_nothing", f"{least} points would pay nothing.")


def _policy_faults(policies: Policies) -> Iterator[Fault]:
    reasons = [reason.code for reason in policies.adjustments.reasons]
    for index, code in enumerate(reasons):
        at = f"/settings/policies/adjustments/reasons/{index}/code"
        if code in reasons[:index]:
            yield Fault(at, "duplicate", "The reason is named twice.")
        if code in OWN_CAUSES:
            yield Fault(at, "reserved", f"The books use {code} for something of their own.")
    transfers = policies.transfers
    if transfers.maximum is not None and transfers.maximum < transfers.minimum:
        at = "/settings/policies/transfers/maximum"
        yield Fault(at, "contradictory_range", "The maximum is below the minimum.")


def refuse_invalid(configuration: Configuration, current: ProgramSettings | None) -> None:
    """`current` are the settings of the configuration before it, if there is one.

    Raises: ConfigurationInvalid with every fault; ConfigurationFixed when it only changes what stays as it is.
    """
    found = faults(configuration)
    fixed = [] if current is None else changes_what_is_fixed(configuration, current)
    if found:
        raise ConfigurationInvalid(faults=(*found, *fixed))
    if fixed:
        raise ConfigurationFixed(faults=tuple(fixed))
