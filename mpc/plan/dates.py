"""Days and microseconds since 1970: the only form in which plans hold dates and timestamps (no zone, UTC)."""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

from mpc.errors import PlanError

__all__ = [
    "DAY_US",
    "PARTS",
    "TRUNCATIONS",
    "UNITS",
    "add_interval",
    "date_of",
    "days",
    "micros",
    "parse_date",
    "parse_interval",
    "parse_timestamp",
    "part_of",
    "timestamp_of",
    "truncate",
]

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_EPOCH_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - plans hold times without a zone, meant as UTC

TRUNCATIONS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
PARTS = {
    "year": (-9999, 9999),
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (1, 53),
    "day": (1, 31),
    "doy": (1, 366),
    "dow": (0, 6),
    "isodow": (1, 7),
    "hour": (0, 23),
    "minute": (0, 59),
}
"""Parts of a date and the interval of each."""

UNITS = {
    "microsecond": (0, 0, 1),
    "millisecond": (0, 0, 1000),
    "second": (0, 0, 1_000_000),
    "minute": (0, 0, 60_000_000),
    "hour": (0, 0, 3_600_000_000),
    "day": (0, 1, 0),
    "week": (0, 7, 0),
    "month": (1, 0, 0),
    "quarter": (3, 0, 0),
    "year": (12, 0, 0),
}
"""Length of each unit as months, days and microseconds."""


def days(value: date) -> int:
    """Days since 1970-01-01."""
    return (value - _EPOCH).days


def micros(value: datetime) -> int:
    """Microseconds since 1970; a zone is converted to UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return (value - _EPOCH_TIME) // timedelta(microseconds=1)


def date_of(value: int) -> date:
    """The date of a number of days."""
    return _EPOCH + timedelta(days=value)


def timestamp_of(value: int) -> datetime:
    """The timestamp of a number of microseconds."""
    return _EPOCH_TIME + timedelta(microseconds=value)


def parse_date(text: str) -> int:
    """Days of an ISO date.

    Raises:
        PlanError: It is not one.
    """
    try:
        return days(date.fromisoformat(text.strip()))
    except ValueError:
        raise PlanError(reason="this is not a date", instead="'YYYY-MM-DD'") from None


def parse_timestamp(text: str) -> int:
    """Microseconds of an ISO timestamp (or date)."""
    try:
        return micros(datetime.fromisoformat(text.strip()))
    except ValueError:
        raise PlanError(reason="this is not a timestamp", instead="'YYYY-MM-DD HH:MM:SS'") from None


def parse_interval(text: str, unit: str | None) -> tuple[int, int, int]:
    """Months, days and microseconds of an interval.

    >>> parse_interval("3", "MONTH"), parse_interval("1 month 2 days", None)
    ((3, 0, 0), (1, 2, 0))
    """
    source = f"{text} {unit}" if unit else text
    pairs = re.findall(r"(-?\d+)\s*([A-Za-z]+)", source)
    if not pairs or re.sub(r"(-?\d+)\s*([A-Za-z]+)", "", source).strip():
        raise PlanError(reason="this interval is not understood", instead="INTERVAL 3 DAY, MONTH, YEAR, HOUR, ...")
    total = [0, 0, 0]
    for amount, word in pairs:
        each = UNITS.get(word.lower().removesuffix("s"))
        if each is None:
            raise PlanError(reason="this unit of time is not known", instead="day, week, month, quarter, year, hour")
        for i in range(3):
            total[i] += int(amount) * each[i]
    return total[0], total[1], total[2]


def add_interval(at: int, interval: tuple[int, int, int]) -> int:
    """A timestamp plus months (clipped to the month's last day), days and microseconds."""
    months, plus_days, plus_micros = interval
    when = timestamp_of(at)
    if months:
        total = when.year * 12 + when.month - 1 + months
        year, month = divmod(total, 12)
        when = when.replace(year=year, month=month + 1, day=min(when.day, monthrange(year, month + 1)[1]))
    return micros(when) + plus_days * DAY_US + plus_micros


def truncate(unit: str, at: int) -> int:
    """DATE_TRUNC on microseconds."""
    if unit in {"second", "minute", "hour", "day"}:
        size = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000, "day": DAY_US}[unit]
        return at - at % size
    day = date_of(at // DAY_US)
    if unit == "week":
        return days(day) * DAY_US - day.weekday() * DAY_US
    month = {"month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}[unit]
    return days(day.replace(day=1, month=month)) * DAY_US


def part_of(part: str, at: int) -> int:
    """DATE_PART on microseconds."""
    when = timestamp_of(at)
    simple = {
        "year": when.year,
        "quarter": (when.month - 1) // 3 + 1,
        "month": when.month,
        "week": when.isocalendar().week,
        "day": when.day,
        "doy": when.timetuple().tm_yday,
        "dow": when.isoweekday() % 7,
        "isodow": when.isoweekday(),
        "hour": when.hour,
        "minute": when.minute,
    }
    return simple[part]
