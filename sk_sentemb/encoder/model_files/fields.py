"""Typed access to the values in the JSON files of a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...exceptions import CheckpointError
from .names import read_json


@dataclass(frozen=True)
class Fields:
    """An object in a JSON file of a checkpoint."""

    # A missing key and a null value are equivalent: the default, or an error without one. Several names
    # are those of one key in different releases.
    content: dict[str, Any]
    file: Path

    def text(self, *names: str, default: Any = ...) -> Any:
        """Return a string."""
        return self._get(names, default, lambda v: isinstance(v, str), "a string")

    def flag(self, *names: str, default: Any = ...) -> Any:
        """Return True or False."""
        value = self._get(names, default, lambda v: v in (False, True), "true or false")
        return value if value is None else bool(value)

    def size(self, *names: str, default: Any = ..., least: int = 1) -> Any:
        """Return an integer of at least ``least``."""
        return self._get(
            names,
            default,
            lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least,
            f"an integer of at least {least}",
        )

    def fraction(self, *names: str, default: Any = ...) -> Any:
        """Return a number from 0 to 1."""
        return self._get(
            names,
            default,
            lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1,
            "a number from 0 to 1",
        )

    def texts(self, *names: str, default: Any = ...) -> Any:
        """Return a list of strings; a single string becomes a list of one."""
        value = self._get(
            names,
            default,
            lambda v: (
                isinstance(v, str)
                or (isinstance(v, list) and bool(v) and all(isinstance(x, str) for x in v))
            ),
            "a string or a list of strings",
        )
        return [value] if isinstance(value, str) else value

    def object(self, *names: str) -> "Fields":
        """Return an object in this one, which is empty if there is none."""
        value = self._get(names, {}, lambda v: isinstance(v, dict), "an object")
        return Fields(value, self.file)

    def _get(
        self, names: tuple[str, ...], default: Any, fits: Callable[[Any], bool], expected: str
    ) -> Any:
        given = next((name for name in names if self.content.get(name) is not None), None)
        if given is None:
            if default is ...:
                raise CheckpointError(
                    f"{self.file} lacks the key {names[0]!r}. Fetch the model again."
                )
            return default
        value = self.content[given]
        if not fits(value):
            raise CheckpointError(
                f"{self.file} has {given}={_short(value)}, but that must be {expected}. Fetch the model "
                "again, or correct the file."
            )
        return value


def read_fields(file: Path, *, required: bool = True) -> Fields:
    """Read a JSON file that holds an object; empty if it is not required and missing."""
    if not required and not file.exists():
        return Fields({}, file)
    return Fields(read_json(file), file)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
