"""The settings of a run and its finished shards, in a file next to the output."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from .._atomic_io import write_text

# Distinguishes a manifest from other JSON files.
LAYOUT = "sk_sentemb.bulk 2"


class Counts(NamedTuple):
    """Number of rows, texts, truncated texts and missing cells."""

    n_rows: int
    n_texts: int
    n_truncated: int
    n_missing: int


@dataclass(frozen=True)
class Manifest:
    """The settings of a run and its finished shards."""

    settings: dict[str, Any]
    n_rows: list[int]
    shards: tuple[Counts, ...] = ()
    digests: tuple[str, ...] = ()
    kept_digest: str | None = None

    @property
    def n_shards(self) -> int:
        """Total number of shards; at least one, even without rows."""
        return max(1, -(-sum(self.n_rows) // self.settings["rows_per_shard"]))

    def totals(self) -> Counts:
        """Return the counts of all finished shards together."""
        return Counts(*map(sum, zip(Counts(0, 0, 0, 0), *self.shards, strict=True)))

    def with_shard(self, number: int, shard: Counts, digest: str) -> Self:
        """Return the manifest with a shard added or replaced."""
        return replace(
            self,
            shards=(*self.shards[:number], shard, *self.shards[number + 1 :]),
            digests=(*self.digests[:number], digest, *self.digests[number + 1 :]),
        )

    def write(self, file: Path) -> None:
        """Write the manifest atomically."""
        content = {
            "layout": LAYOUT,
            **self.settings,
            "n_rows": self.n_rows,
            "kept_digest": self.kept_digest,
            "shards": [
                {**shard._asdict(), "digest": digest}
                for shard, digest in zip(self.shards, self.digests, strict=True)
            ],
        }
        write_text(file, json.dumps(content, indent=1) + "\n")


def read_manifest(file: Path) -> Manifest | None:
    """Return the manifest of a file, or None if it does not exist."""
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.pop("layout") != LAYOUT:
            raise ValueError
        n_rows, shards, kept = (content.pop(key) for key in ("n_rows", "shards", "kept_digest"))
        digests = tuple(shard.pop("digest") for shard in shards)
        counts = tuple(Counts(**shard) for shard in shards)
        return Manifest(content, n_rows, counts, digests, kept)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise FileExistsError(
            f"{file} is not a manifest of this version, or it is damaged; pass another target."
        ) from None


def check_same(old: dict[str, Any], new: dict[str, Any], target: Path) -> None:
    """Raise if a target was created from other rows, with another model or other settings."""
    if differences := list(_differences(old, new)):
        raise ValueError(
            f"{target} was created with different settings: {'; '.join(differences)}. Pass the same "
            "settings to resume, or overwrite=True to start again."
        )


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) == new.get(key):
            continue
        if key == "source":
            was, now = old[key], new[key]
            other = [file["path"] for file in [*was, *now] if file not in was or file not in now]
            some = ", ".join(list(dict.fromkeys(other))[:3])
            yield f"source has changed ({some or 'the order of its files'})"
        else:
            yield f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
