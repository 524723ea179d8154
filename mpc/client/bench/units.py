"""Figures as people read them: three significant digits and a unit."""

import math

__all__ = ["bytes_text", "bytes_tick", "count_text", "ratio_text", "seconds_text", "seconds_tick", "significant"]


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent.

    >>> significant(0.012345), significant(1234.5), significant(99.96), significant(0)
    ('0.0123', '1,230', '100', '0')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def seconds_text(seconds: float) -> str:
    """A time.

    >>> seconds_text(1.5e-9), seconds_text(0.0203), seconds_text(75)
    ('1.50 ns', '20.3 ms', '75.0 s')
    """
    for unit, scale in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if abs(seconds) * scale < 999.5:
            return f"{significant(seconds * scale)} {unit}"
    return f"{significant(seconds)} s"


def bytes_text(size: float) -> str:
    """A size, in powers of 1000.

    >>> bytes_text(25.6), bytes_text(1_840_000)
    ('25.6 B', '1.84 MB')
    """
    for unit, scale in (("B", 1.0), ("kB", 1e3), ("MB", 1e6)):
        if abs(size) / scale < 999.5:
            return f"{significant(size / scale)} {unit}"
    return f"{significant(size / 1e9)} GB"


def seconds_tick(seconds: float) -> str:
    """A time on an axis.

    >>> seconds_tick(1e-6), seconds_tick(0.02), seconds_tick(100)
    ('1 µs', '20 ms', '100 s')
    """
    for unit, scale in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:g} {unit}"
    return f"{seconds:g} s"


def bytes_tick(size: float) -> str:
    """A size on an axis.

    >>> bytes_tick(10), bytes_tick(10_000)
    ('10 B', '10 kB')
    """
    for unit, scale in (("B", 1.0), ("kB", 1e3)):
        if size / scale < 999.5:
            return f"{size / scale:g} {unit}"
    return f"{size / 1e6:g} MB"


def ratio_text(ratio: float) -> str:
    """A ratio.

    >>> ratio_text(1.5), ratio_text(80367.9)
    ('1.50x', '80,400x')
    """
    return f"{significant(ratio)}x"


def count_text(count: float) -> str:
    """A round count on an axis.

    >>> count_text(100), count_text(10_000), count_text(2_500_000)
    ('100', '10k', '2.5M')
    """
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if abs(count) >= scale:
            return f"{count / scale:g}{unit}"
    return f"{count:g}"
