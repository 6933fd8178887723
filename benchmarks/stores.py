"""Candidate stores for a disk cache: speed, size, and the effects of corruption.

docs/user_guide/cache.md describes the choice. TMPDIR says which file system is measured.
"""

import argparse
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

from _common import OUTPUT, machine, seconds_of, show, write_json
from _damage import outcomes_of_damage
from _stores import FLUSH, STORES, Files, Store, fill, keys_of

SIZES = [10**3, 10**4, 10**5]
LARGE = 10**6
MAX_FILES = 10**4  # more take minutes to write and to remove
N_LOOKUPS = 10_000
N_SHARED = 5000  # records that are there when processes share a store
LOOKUP = 500  # keys that a reader asks for at once
SECONDS = 1.5
PAUSES = [0.0, 0.2]
N_TRIALS = 10

# When a call began and when it ended.
Span = tuple[float, float]


def main() -> None:
    """Measure everything, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    about = machine(["lmdb"]) | {"sqlite": sqlite3.sqlite_version}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    less = 10 if args.quick else 1
    sizes = [*SIZES, LARGE] if args.large else SIZES
    report = {
        "options": vars(args),
        "machine": about,
        "alone": alone([n // less for n in sizes]),
        "together": together(SECONDS / less),
        "damage": damage(N_TRIALS // less),
    }
    write_json("stores", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="a million entries, too: 3 GB on disk")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    return parser.parse_args()


def alone(sizes: list[int]) -> list[dict[str, Any]]:
    """Measure one process that writes and then reads."""
    rows = [
        {"store": name, "entries": n, **_speed_and_size(store, n)}
        for n in sizes
        for name, store in STORES.items()
        if n <= MAX_FILES or not isinstance(store, Files)
    ]
    formats = dict.fromkeys(["entries", "inserts/s", "lookups/s", "bytes/entry"], ",.0f")
    show(f"One process, {FLUSH} inserts at a time", rows, formats)
    return rows


def together(seconds: float) -> list[dict[str, Any]]:
    """Measure two writers and two readers at once, with some records in the store."""
    rows = [
        {"store": name, "pause s": pause, **_share(store, pause, seconds)}
        for pause in PAUSES
        for name, store in STORES.items()
    ]
    whole = ["inserts/s", "lookups/s", "worst insert ms", "worst lookup ms"]
    title = f"Two writers that pause after {FLUSH} inserts, two readers of {LOOKUP} keys at a time"
    show(title, rows, dict.fromkeys(whole, ",.0f"))
    return rows


def damage(n_trials: int) -> list[dict[str, str]]:
    """Damage stores, write to them, and read what was there before."""
    rows = [
        {
            "store": name,
            "damage": what,
            "write": _told([written for written, _ in outcomes]),
            "then read": _told([read for _, read in outcomes]),
        }
        for name, store in STORES.items()
        for what, outcomes in outcomes_of_damage(store, n_trials).items()
    ]
    show(f"Damage; instants and places are random, {n_trials} of each", rows, {})
    return rows


def _speed_and_size(store: Store, n_entries: int) -> dict[str, float]:
    keys = keys_of(n_entries)
    wanted = random.Random(1).sample(keys, min(N_LOOKUPS, n_entries))
    with TemporaryDirectory() as folder:
        filling = seconds_of(fill, store, folder, keys)
        with store.open(folder) as handle:
            looking = min(seconds_of(store.get, handle, wanted) for _ in range(3))
        n_bytes = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*"))
    return {
        "inserts/s": n_entries / filling,
        "lookups/s": len(wanted) / looking,
        "bytes/entry": n_bytes / n_entries,
    }


def _share(store: Store, pause: float, seconds: float) -> dict[str, float]:
    with TemporaryDirectory() as folder, ProcessPoolExecutor(4) as pool:
        fill(store, folder, keys_of(N_SHARED))
        writers = [pool.submit(_write, store, folder, seed, seconds, pause) for seed in (0, 1)]
        readers = [pool.submit(_read, store, folder, seed, seconds) for seed in (0, 1)]
        writes = [span for writer in writers for span in writer.result()]
        reads = [span for reader in readers for span in reader.result()]
    return {
        "inserts/s": FLUSH * len(writes) / (_duration(writes) + pause),
        "lookups/s": LOOKUP * len(reads) / _duration(reads),
        "worst insert ms": 1000 * max(end - start for start, end in writes),
        "worst lookup ms": 1000 * max(end - start for start, end in reads),
    }


def _write(store: Store, folder: str, seed: int, seconds: float, pause: float) -> list[Span]:
    flushes = (keys_of(FLUSH, 2 * i + seed) for i in count(1))
    with store.open(folder) as handle:
        return list(_spans(partial(store.put, handle), flushes, seconds, pause))


def _read(store: Store, folder: str, seed: int, seconds: float) -> list[Span]:
    keys, rng = keys_of(N_SHARED), random.Random(seed)
    lookups = (rng.sample(keys, LOOKUP) for _ in count())
    with store.open(folder) as handle:
        return list(_spans(partial(store.get, handle), lookups, seconds, pause=0.0))


def _spans(
    function: Callable[[list[bytes]], object],
    arguments: Iterable[list[bytes]],
    seconds: float,
    pause: float,
) -> Iterator[Span]:
    """Call a function repeatedly for some seconds, at least once."""
    begun = perf_counter()
    for argument in arguments:
        start = perf_counter()
        function(argument)
        end = perf_counter()
        yield start, end
        if end > begun + seconds:
            return
        sleep(pause)


def _duration(spans: list[Span]) -> float:
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _told(outcomes: list[str]) -> str:
    """Count outcomes, the most frequent first."""
    counts = Counter(outcomes).most_common()
    return ", ".join(f"{n} x {what}" for what, n in counts) if len(counts) > 1 else outcomes[0]


if __name__ == "__main__":
    main()
