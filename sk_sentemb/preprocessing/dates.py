"""Parse dates in text with pandas, of which "may", "10:30" and "1960" are none."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_TIME = (
    r"(?:[T\s]\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[ap]\.?m\.?)?"
    r"\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_DIGITS = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"

# Dates that can be parsed in one way only: 2024-05-31, 2024-05, 20240531, 31 May 2024, May 31, 2024.
_UNAMBIGUOUS = re.compile(
    rf"\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}{_TIME}|\d{{4}}[-/]\d{{1,2}}|{_DIGITS}"
    rf"|{_WEEKDAY}(?:{_DAY}[\s-]+{_MONTH}[\s,-]+|{_MONTH}\s+{_DAY},?\s+|{_MONTH},?\s+)\d{{4}}{_TIME}",
    re.IGNORECASE,
)
# Dates whose order or century is open: 3/4/2024, 31.5.24, 31-May-24.
_YEAR_LAST = re.compile(
    rf"(\d{{1,2}})([-/.])(\d{{1,2}}|{_MONTH})\2(\d{{4}}|\d{{2}})({_TIME})", re.IGNORECASE
)
# Ordinals, which pandas does not parse everywhere; and nanoseconds, which limit the years of a column.
_SURPLUS = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b|(?<=\.\d{6})\d+", re.IGNORECASE)


def is_day_first(texts: Iterable[str]) -> bool:
    """Infer from the other dates of a column whether 3/4/2024 is the third of April."""
    n_day_first = n_month_first = n_dotted = 0
    for text in texts:
        found = _YEAR_LAST.fullmatch(text.strip())
        if found and found[3].isdecimal():
            n_day_first += int(found[1]) > 12
            n_month_first += int(found[3]) > 12
            # Where no number decides, dots separate day, month and year, as in German.
            n_dotted += 1 if found[2] == "." else -1
    return n_day_first > n_month_first or (n_day_first == n_month_first and n_dotted > 0)


def parse_dates(texts: Sequence[str], *, day_first: bool) -> pd.Series:
    """Return dates in UTC, NaT where a text is not a date."""
    ordered = [_put_year_first(text.strip(), day_first) for text in texts]
    return pd.to_datetime(
        pd.Series(ordered, dtype=object), format="mixed", utc=True, errors="coerce"
    )


def format_day(number: float) -> str | None:
    """Return a number such as 20240531 as text, and None for other numbers."""
    text = str(int(number)) if number.is_integer() else ""
    return text if re.fullmatch(_DIGITS, text) else None


def _put_year_first(text: str, day_first: bool) -> str | None:
    """Return a date that pandas can parse in one way only, or None."""
    if found := _YEAR_LAST.fullmatch(text):
        first, _, second, year, time = found.groups()
        is_first_day = day_first or not second.isdecimal()
        day, month = (first, second) if is_first_day else (second, first)
        if len(year) == 2:  # as in POSIX
            year = f"{'19' if int(year) >= 69 else '20'}{year}"
        text = f"{year}-{month.zfill(2)}-{day.zfill(2)}{time}"
    elif not _UNAMBIGUOUS.fullmatch(text):
        return None
    return _SURPLUS.sub("", text)
