"""Whether a configuration can be published: its own contradictions, all named at once."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from loyalty.base.errors import Fault
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ConfigurationInvalid, PointsCurrency, Rolling
from loyalty.rewards.validate import faults as reward_faults
from loyalty.rules.validate import faults as rule_faults


@cache
def zones() -> frozenset[str]:
    """The IANA names of the tz database that we bring along: those of the machine differ, and are not all places."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}


def faults(configuration: Configuration) -> list[Fault]:
    """All faults with JSON pointers into the configuration; empty when it can be published."""
    found: list[Fault] = []
    settings = configuration.settings
    codes = [currency.code for currency in settings.points_currencies]
    if settings.zone not in zones():
        found.append(Fault("/settings/zone", "unknown_time_zone", "There is no such time zone."))
        return found
    for index, currency in enumerate(settings.points_currencies):
        at = f"/settings/points_currencies/{index}"
        if currency.code in codes[:index]:
            found.append(Fault(f"{at}/code", "duplicate", "The points currency is named twice."))
        if isinstance(currency.expiry, Rolling) and (currency.expiry.days is None) == (
            currency.expiry.months is None
        ):
            found.append(Fault(f"{at}/expiry", "contradictory_range", "Give either days or months."))
        found += _pay_faults(currency, f"{at}/pay")
    policies = settings.policies
    if policies.hold_minutes > policies.hold_days_max * 1_440:
        detail = "A hold would last longer than one may last."
        found.append(Fault("/settings/policies/hold_minutes", "contradictory_range", detail))
    for fault in rule_faults(configuration.ruleset, codes, ZoneInfo(settings.zone)):
        found.append(Fault(f"/ruleset{fault.pointer}", fault.code, fault.detail))
    currencies = {currency.code: currency for currency in settings.points_currencies}
    for fault in reward_faults(configuration.rewards, currencies):
        found.append(Fault(f"/rewards{fault.pointer}", fault.code, fault.detail))
    return found


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


def refuse_invalid(configuration: Configuration) -> None:
    """Raises: ConfigurationInvalid with every fault."""
    found = faults(configuration)
    if found:
        raise ConfigurationInvalid(faults=tuple(found))
