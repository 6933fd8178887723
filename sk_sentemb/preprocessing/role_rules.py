"""RoleRules: from the statistics of a column to its role."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

from .column_stats import ColumnStats

ROLES = ("text", "categorical", "numeric", "date", "image", "id", "empty", "other")

# The roles of columns that become features.
FEATURE_ROLES = ROLES[:5]

# "clothing_id", "Clothing ID", "userId", "uuid"; a saved index, as pandas names it; "index".
ID_NAMES = r"(^|[\W_])(?i:ids?|uuid)$|[a-z]I[dD]$|^(?i:unnamed: ?\d+|index)$"

# A column of at most this many distinct cells may hold the categories of a small table.
_MAX_FEW = 20

# Numbers may have this many distinct placeholders, such as "?", in less than half of the cells.
_MAX_PLACEHOLDERS = 5
_MIN_MOSTLY = 0.5


@dataclass(frozen=True)
class RoleRules:
    """The thresholds of the rules; see :func:`describe_columns`."""

    min_words: float = 2.5
    min_unique: float = 0.3
    max_categories: int = 100
    max_unique: float = 0.5
    min_share: float = 0.95
    id_names: str | None = ID_NAMES
    sample: int = 10_000

    def __post_init__(self) -> None:
        for name in ("min_unique", "max_unique", "min_share"):
            if not 0 <= (value := self._get_number(name, Real)) <= 1:
                raise ValueError(f"{name}={value!r} must be between 0 and 1.")
        for name, minimum in (("min_words", 0), ("max_categories", 1), ("sample", 1)):
            value = self._get_number(name, Integral if name == "sample" else Real)
            if not value >= minimum:
                raise ValueError(f"{name}={value!r} must be at least {minimum}.")
        validate_pattern("id_names", self.id_names)

    def _get_number(self, name: str, number_type: type) -> Any:
        value = getattr(self, name)
        if isinstance(value, number_type) and not isinstance(value, bool):
            return value
        expected = "an integer" if number_type is Integral else "a number"
        raise TypeError(f"{name}={value!r} is of type {type(value).__name__}; pass {expected}.")

    @classmethod
    def from_kwargs(cls, function: str, rules: Mapping[str, Any]) -> Self:
        """Return the rules for the keyword arguments of a function."""
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in rules if name not in names]:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {unknown[0]!r}; thresholds are "
                f"{', '.join(names)}."
            )
        return cls(**rules)

    def infer_role(self, name: str, stats: ColumnStats) -> tuple[str, str]:
        """Return the role of a column and the reason."""
        match stats.cell_type:
            case "empty":
                return "empty", "no values"
            case "other":
                return "other", "no rule applies"
            case "number":
                return self._infer_role_of_numbers(name, stats)
            case "bool":
                return "categorical", "booleans"
            case "category":
                # Libraries choose this dtype for any text, including sentences.
                role, reason = self._infer_role_of_text(name, stats)
                return (role, reason) if role == "text" else ("categorical", "dtype")
            case "date" | "image":
                return stats.cell_type, f"{stats.cell_type}s"
        return self._infer_role_of_text(name, stats)

    def _infer_role_of_numbers(self, name: str, stats: ColumnStats) -> tuple[str, str]:
        if stats.all_whole and self.is_id_name(name):
            return "id", "integers, and the name of an id"
        if stats.is_row_number and stats.distinct > _MAX_FEW:
            return "id", "row numbers: every integer from 0 or 1 on, once"
        return "numeric", "numbers"

    def _infer_role_of_text(self, name: str, stats: ColumnStats) -> tuple[str, str]:
        if stats.image >= self.min_share:
            return "image", f"{stats.image:.0%} images"
        if stats.date >= self.min_share:
            return "date", f"{stats.date:.0%} dates"
        are_codes = stats.code >= self.min_share
        if stats.number >= self.min_share and not are_codes:
            if stats.all_whole and self.is_id_name(name):
                return "id", f"{stats.number:.0%} integers, and the name of an id"
            return "numeric", f"{stats.number:.0%} numbers"
        distinct = f"{stats.distinct:.0f} distinct cells ({stats.unique:.0%})"
        words = f"{stats.words:.1f} words per cell"
        repeats = stats.unique < self.min_unique and stats.distinct <= self.max_categories
        if not are_codes and stats.words >= self.min_words and not repeats:
            return "text", f"{words}, {distinct}"
        mostly_numbers = stats.number >= _MIN_MOSTLY and not are_codes
        content = f"{stats.code:.0%} codes" if are_codes else words
        if mostly_numbers:
            content = f"{stats.number:.0%} numbers"
        if self.is_id_name(name):
            return "id", f"{content}, and the name of an id"
        if mostly_numbers and stats.distinct > _MAX_FEW and stats.n_other <= _MAX_PLACEHOLDERS:
            return "numeric", f"{content}; distinct other cells: {stats.n_other}"
        if stats.unique > self.max_unique and (are_codes or stats.distinct > _MAX_FEW):
            return "id", f"{content}, {distinct}"
        return "categorical", f"{content}, {distinct}"

    def is_id_name(self, name: str) -> bool:
        """Return whether a column has the name of an id."""
        return self.id_names is not None and re.search(self.id_names, name) is not None


def validate_pattern(name: str, pattern: Any) -> None:
    """Raise an error if the value of a parameter is not a regular expression."""
    if pattern is None:
        return
    if not isinstance(pattern, str):
        raise TypeError(
            f"{name}={pattern!r} is of type {type(pattern).__name__}; pass a regular expression as a "
            "string, or None."
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"{name}={pattern!r} is not a valid regular expression: {error}. To match special "
            "characters literally, use re.escape."
        ) from error
