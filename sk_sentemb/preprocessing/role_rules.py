"""From what was measured in a column to its role."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

from .column_stats import ColumnStats

ROLES = ("text", "categorical", "numeric", "date", "image", "id", "empty", "other")

# Those that a model reads.
FEATURES = ROLES[:5]

# "clothing_id", "Clothing ID", "userId", "uuid"; what pandas calls an index that was saved; "index".
ID_NAMES = r"(^|[\W_])(?i:ids?|uuid)$|[a-z]I[dD]$|^(?i:unnamed: ?\d+|index)$"

# A column of up to so many distinct cells may be a small table's categories, even if all differ.
_FEW = 20

# Signs for what is not known, such as "?", among numbers: at most so many, and less than half.
_FEW_SIGNS = 5
_MOST = 0.5


@dataclass(frozen=True)
class RoleRules:
    """The thresholds by which measures become roles; see :func:`describe_columns`."""

    min_words: float = 2.5
    min_unique: float = 0.3
    max_categories: int = 100
    max_unique: float = 0.5
    min_share: float = 0.95
    id_names: str | None = ID_NAMES
    sample: int = 10_000

    def __post_init__(self) -> None:
        for name in ("min_unique", "max_unique", "min_share"):
            if not 0 <= (value := self._number(name, Real)) <= 1:
                raise ValueError(f"{name}={value!r} is a share; pass a number from 0 to 1.")
        for name, least in (("min_words", 0), ("max_categories", 1), ("sample", 1)):
            if not (value := self._number(name, Integral if name == "sample" else Real)) >= least:
                raise ValueError(f"{name}={value!r}; pass {least} or more.")
        check_pattern("id_names", self.id_names)

    def _number(self, name: str, kind: type) -> Any:
        value = getattr(self, name)
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        what = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name}={value!r} is of type {type(value).__name__}; pass {what}.")

    @classmethod
    def of(cls, function: str, rules: Mapping[str, Any]) -> Self:
        """Check the thresholds that a function was called with."""
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in rules if name not in names]:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {unknown[0]!r}; thresholds are "
                f"{', '.join(names)}."
            )
        return cls(**rules)

    def role(self, name: str, of: ColumnStats) -> tuple[str, str]:
        """Return the role of a column and why it has it."""
        if of.kind in ("empty", "other"):
            return of.kind, "no cell holds anything" if of.kind == "empty" else "no rule for it"
        if of.kind == "number":
            return self._role_of_numbers(name, of)
        if of.kind == "bool":
            return "categorical", "true or false"
        if of.kind == "category":
            # Readers of files make this dtype of any text: sentences stay text.
            role, reason = self._role_of_text(name, of)
            return (role, reason) if role == "text" else ("categorical", "its dtype")
        if of.kind in ("date", "image"):
            return of.kind, "dates" if of.kind == "date" else "pictures"
        return self._role_of_text(name, of)

    def _role_of_numbers(self, name: str, of: ColumnStats) -> tuple[str, str]:
        if of.whole and self.is_named_id(name):
            return "id", "whole numbers, and its name"
        if of.counts_rows and of.distinct > _FEW:
            return "id", "counts rows: every whole number from 0 or 1 on, once"
        return "numeric", "numbers"

    def _role_of_text(self, name: str, of: ColumnStats) -> tuple[str, str]:
        for role, share in (("image", of.image), ("date", of.date)):
            if share >= self.min_share:
                return role, f"{share:.0%} {'pictures' if role == 'image' else 'dates'}"
        coded = of.code >= self.min_share
        if of.number >= self.min_share and not coded:
            if of.whole and self.is_named_id(name):
                return "id", f"{of.number:.0%} whole numbers, and its name"
            return "numeric", f"{of.number:.0%} numbers"
        distinct = f"{of.distinct:.0f} distinct cells ({of.unique:.0%})"
        words = f"{of.words:.1f} words a cell"
        repeats = of.unique < self.min_unique and of.distinct <= self.max_categories
        if not coded and of.words >= self.min_words and not repeats:
            return "text", f"{words}, {distinct}"
        mostly_numbers = of.number >= _MOST and not coded
        what = f"{of.code:.0%} codes" if coded else words
        if mostly_numbers:
            what = f"{of.number:.0%} numbers"
        if self.is_named_id(name):
            return "id", f"{what}, and its name"
        if mostly_numbers and of.distinct > _FEW and of.others <= _FEW_SIGNS:
            return "numeric", f"{what}; distinct cells that are none: {of.others}"
        if of.unique > self.max_unique and (coded or of.distinct > _FEW):
            return "id", f"{what}, {distinct}"
        return "categorical", f"{what}, {distinct}"

    def is_named_id(self, name: str) -> bool:
        """Say whether a column's name is that of an id."""
        return self.id_names is not None and re.search(self.id_names, name) is not None


def check_pattern(name: str, pattern: Any) -> None:
    """Raise an error that names a parameter whose value is no regular expression."""
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
            f"{name}={pattern!r} is no regular expression: {error}. Correct it; re.escape takes "
            "characters as they are."
        ) from error
