"""Text to dates."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

_TIME = (
    r"(?:[T\s]\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[ap]\.?m\.?)?"
    r"\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"

_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}})({_TIME})", re.IGNORECASE)
_MONTHS_OF_YEARS = re.compile(r"(\d{4})[-/](\d{1,2})")
_WITHOUT_SIGNS = re.compile(r"((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_YEAR_LAST = re.compile(
    rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}})({_TIME})", re.IGNORECASE
)
_NAMED = re.compile(
    rf"{_WEEKDAY}(?:{_DAY}[\s-]+{_MONTH}[\s,-]+\d{{4}}|{_MONTH}\s+{_DAY},?\s+\d{{4}}"
    rf"|{_MONTH},?\s+\d{{4}}){_TIME}",
    re.IGNORECASE,
)
# "31-May-24"; with spaces, a day and a month are as likely.
_NAMED_SHORT = re.compile(rf"(\d{{1,2}}-{_MONTH}-)(\d{{2}})({_TIME})", re.IGNORECASE)
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)

# Beyond microseconds, what pandas makes of a date depends on the others.
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")

# Two digits of a year, as POSIX reads them.
_FIRST_OF_THE_LAST_CENTURY = 69
_MONTHS = 12

# What whole numbers are between that look like 20240531.
_FIRST_DAY, _LAST_DAY = 19_000_101, 20_991_231


def day_comes_first(texts: Iterable[str]) -> bool:
    """Say whether 3/4/2024 is the third of April in a column, by its other dates."""
    day_first = month_first = dotted = others = 0
    for text in texts:
        if found := _YEAR_LAST.fullmatch(text.strip()):
            day_first += int(found[1]) > _MONTHS
            month_first += int(found[3]) > _MONTHS
            dotted += found[2] == "."
            others += found[2] != "."
    if day_first != month_first:
        return day_first > month_first
    return dotted > others


def read_dates(texts: Sequence[str], *, day_first: bool) -> pd.Series:
    """Read dates, with or without a time."""
    # None where the form is another: pandas alone would take "may" or "10" for a date.
    plain = [_as_iso(text.strip(), day_first) for text in texts]
    return pd.to_datetime(pd.Series(plain, dtype=object), format="mixed", utc=True, errors="coerce")


def _as_iso(text: str, day_first: bool) -> str | None:
    """Put year, month and day in this order, so that nothing is left to guess."""
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, time = found.groups()
    elif found := _MONTHS_OF_YEARS.fullmatch(text):
        (year, month), day, time = found.groups(), "1", ""
    elif found := _WITHOUT_SIGNS.fullmatch(text):
        (year, month, day), time = found.groups(), ""
    elif found := _YEAR_LAST.fullmatch(text):
        first, _, second, year, time = found.groups()
        day, month = (first, second) if day_first else (second, first)
        year = _with_century(year)
    elif found := _NAMED_SHORT.fullmatch(text):
        day_and_month, year, time = found.groups()
        return _NANOSECONDS.sub(r"\1", f"{day_and_month}{_with_century(year)}{time}")
    elif _NAMED.fullmatch(text):
        return _NANOSECONDS.sub(r"\1", _ORDINAL.sub("", text))
    else:
        return None
    time = _NANOSECONDS.sub(r"\1", time)
    return f"{year}-{int(month):02}-{int(day):02}{time}"


def _with_century(year: str) -> str:
    if len(year) > 2:
        return year
    return f"{'19' if int(year) >= _FIRST_OF_THE_LAST_CENTURY else '20'}{year}"


def day_in_digits(number: float) -> str | None:
    """Return the digits of a number that looks like 20240531."""
    if not (_FIRST_DAY <= number <= _LAST_DAY and number == int(number)):
        return None
    digits = str(int(number))
    return digits if _WITHOUT_SIGNS.fullmatch(digits) else None
