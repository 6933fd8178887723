"""From what was measured in a column to its role."""

import re
from dataclasses import dataclass

from .measures import Measures

ROLES = ("text", "categorical", "numeric", "date", "image", "id", "empty", "other")

# Those that a model reads.
FEATURES = ROLES[:5]

# "clothing_id", "Clothing ID", "userId", "uuid"; what pandas calls an index that was saved; "index".
ID_NAMES = r"(^|[\W_])(?i:ids?|uuid)$|[a-z]I[dD]$|^(?i:unnamed: ?\d+|index)$"

# So many distinct cells may be a few names of things, whatever their share.
_FEW = 20


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
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name}={value!r} is a share; pass a number from 0 to 1.")
        for name, least in (("min_words", 0), ("max_categories", 1), ("sample", 1)):
            if not (value := getattr(self, name)) >= least:
                raise ValueError(f"{name}={value!r}; pass {least} or more.")

    def role(self, name: str, of: Measures) -> tuple[str, str]:
        """Return the role of a column and why it has it."""
        if of.kind in ("empty", "other"):
            return of.kind, "no cell holds anything" if of.kind == "empty" else "no rule for it"
        if of.kind == "number":
            return self._role_of_numbers(name, of)
        if of.kind in ("bool", "category"):
            return "categorical", "its dtype" if of.kind == "category" else "true or false"
        if of.kind in ("date", "image"):
            return of.kind, "dates" if of.kind == "date" else "pictures"
        return self._role_of_text(name, of)

    def _role_of_numbers(self, name: str, of: Measures) -> tuple[str, str]:
        whole = "Int" in of.dtype
        if whole and self._is_named_id(name):
            return "id", "whole numbers, and its name"
        if of.counts_rows and of.distinct > _FEW:
            return "id", "counts rows: every whole number of a range, once"
        return "numeric", "numbers"

    def _role_of_text(self, name: str, of: Measures) -> tuple[str, str]:
        for role, share in (("image", of.image), ("date", of.date)):
            if share >= self.min_share:
                return role, f"{share:.0%} {'pictures' if role == 'image' else 'dates'}"
        coded = of.code >= self.min_share
        if of.number >= self.min_share and not coded:
            return "numeric", f"{of.number:.0%} numbers"
        distinct = f"{of.distinct:.0f} distinct cells ({of.unique:.0%})"
        words = f"{of.words:.1f} words a cell"
        repeats = of.unique < self.min_unique and of.distinct <= self.max_categories
        if not coded and of.words >= self.min_words and not repeats:
            return "text", f"{words}, {distinct}"
        what = f"{of.code:.0%} codes" if coded else words
        if self._is_named_id(name):
            return "id", f"{what}, and its name"
        if of.unique > self.max_unique and (coded or of.distinct > _FEW):
            return "id", f"{what}, {distinct}"
        return "categorical", f"{what}, {distinct}"

    def _is_named_id(self, name: str) -> bool:
        return self.id_names is not None and re.search(self.id_names, name) is not None
