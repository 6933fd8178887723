"""The cache: throughput of lookups and inserts, and size of entries.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import OUTPUT, data_file, fresh, machine, show, write_json

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.cache.namespace import Namespace
from sk_sentemb.encoder import Embedded

SIZES = [10**3, 10**4, 10**5]
LARGE = 10**6
N_LOOKUPS = 10_000
DIM = 384
# About what a processor embeds in a second, which is how often a disk cache is written to.
N_PER_TURN = 600

SPACE = Namespace(bytes(range(32)), "model", "0" * 64, DIM)

# What the second session of a user does; the texts are in a file so that reading them is not timed.
_SECOND_SESSION = """
import json, sys
from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache
texts = json.load(open(sys.argv[1]))
cache = DiskCache(sys.argv[2])
embedder = SentenceEmbedder(device="cpu", cache=cache).fit(texts[:1])
"""
_TRANSFORM = "embedder.transform(texts); assert cache.statistics().misses == 0"


def main() -> None:
    """Measure everything, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    about = machine(["numpy"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    sizes = [*SIZES, LARGE] if args.large else SIZES
    rows = [row for n in sizes for row in (memory(n), disk(n))]
    formats = {"entries": ",", "inserts/s": ",.0f", "lookups/s": ",.0f", "bytes/text": ",.0f"}
    show(f"Records of {DIM} dimensions", rows, formats | {"open ms": ".1f"})
    report = {"options": vars(args), "machine": about, "records": rows}
    if not args.without_model:
        report["transform"] = transform()
    write_json("cache", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="a million entries, too: 2 GB on disk")
    parser.add_argument("--without-model", action="store_true", help="embed nothing")
    return parser.parse_args()


def memory(n_entries: int) -> dict[str, Any]:
    """Fill an in-memory cache and look up entries."""
    cache = MemoryCache(max_bytes=10**11)
    row = {"cache": "memory", "entries": n_entries, "inserts/s": fill(cache, n_entries)}
    row["lookups/s"] = look_up(cache, n_entries)
    statistics = cache.statistics()
    return row | {"open ms": 0.0, "bytes/text": statistics.n_bytes / statistics.n_texts}


def disk(n_entries: int) -> dict[str, Any]:
    """Fill a disk cache and look up entries with empty process memory."""
    with tempfile.TemporaryDirectory() as folder:
        cache = DiskCache(folder, max_bytes=10**11)
        row = {"cache": "disk", "entries": n_entries, "inserts/s": fill(cache, n_entries)}
        forget_front(cache)
        start = perf_counter()
        cache.get(SPACE, key_block(0, 1))
        opened = perf_counter() - start
        row["lookups/s"] = look_up(cache, n_entries)
        row["open ms"] = 1000 * opened
        row["bytes/text"] = cache.path.stat().st_size / n_entries
        return row


def fill(cache: Any, n_entries: int) -> float:
    """Insert records in batches, and return the number per second."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N_PER_TURN, DIM), dtype=np.float32)
    seconds = 0.0
    for start in range(0, n_entries, N_PER_TURN):
        keys = key_block(start, min(start + N_PER_TURN, n_entries))
        records = SPACE.serialize(Embedded(vectors[: len(keys)], np.zeros(len(keys), dtype=bool)))
        begun = perf_counter()
        cache.put(SPACE, dict(zip(keys, records, strict=True)))
        seconds += perf_counter() - begun
    return n_entries / seconds


def look_up(cache: Any, n_entries: int) -> float:
    """Look up records in random order, each once, and return the number per second."""
    texts = np.random.default_rng(1).permutation(n_entries)[:N_LOOKUPS]
    start = perf_counter()
    records = cache.get(SPACE, SPACE.keys(map(str, texts)))
    vectors = SPACE.deserialize(records).vectors
    assert len(vectors) == len(texts)
    return len(texts) / (perf_counter() - start)


def key_block(start: int, stop: int) -> list[bytes]:
    """Return the keys of some texts: numbers."""
    return SPACE.keys(map(str, range(start, stop)))


def forget_front(cache: DiskCache) -> None:
    """Empty the memory in front of a disk cache, as a new process has it."""
    cache._store().memory.clear()


def transform() -> list[dict[str, Any]]:
    """Measure what a user sees: `transform` of cached texts, in memory and in a new process."""
    texts = list(dict.fromkeys(pd.read_csv(data_file("banking77/train.csv"))["text"]))[:N_LOOKUPS]
    with tempfile.TemporaryDirectory() as folder:
        embedder = SentenceEmbedder(device="cpu", cache=folder).fit(texts[:1])
        embedder.transform(texts)
        warm = SentenceEmbedder(device="cpu", cache=MemoryCache()).fit(texts[:1])
        warm.transform(texts)
        file = Path(folder, "texts.json")
        file.write_text(json.dumps(texts))
        seconds = {
            "memory": [_timed(warm, texts) for _ in range(7)],
            "disk, new process": [
                fresh(_TRANSFORM, str(file), folder, setup=_SECOND_SESSION).seconds
                for _ in range(3)
            ],
        }
    rows = [
        {"cache": name, "texts": len(texts), "texts/s": len(texts) / float(np.median(taken))}
        for name, taken in seconds.items()
    ]
    show("`transform` of known texts, all-MiniLM-L6-v2", rows, {"texts": ",", "texts/s": ",.0f"})
    return rows


def _timed(embedder: SentenceEmbedder, texts: list[str]) -> float:
    start = perf_counter()
    embedder.transform(texts)
    return perf_counter() - start


if __name__ == "__main__":
    main()
