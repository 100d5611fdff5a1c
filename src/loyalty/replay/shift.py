"""By how much old purchases are moved so that they look recent: whole weeks, so that weekdays stay weekdays."""

from datetime import date, timedelta


def whole_weeks(last_on: date, today: date) -> timedelta:
    """The shift after which data that ends on `last_on` ends last week: on its Sunday, or some days before it."""
    sunday = today - timedelta(days=today.isoweekday())
    return timedelta(weeks=(sunday - last_on).days // 7)
