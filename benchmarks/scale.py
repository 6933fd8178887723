"""Scale: one and two Dask workers, and datasets of a hundred thousand and a million rows.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _common import (
    OUTPUT,
    fresh,
    interleave,
    machine,
    median_ratio,
    read_texts,
    seconds_of,
    show,
    write_json,
)
from _processes import write_tiny_model
from distributed import Client, LocalCluster

from sk_sentemb import SentenceEmbedder

N_TEXTS = 2000
N_ROWS = [10**5, 10**6]
_ROWS_PER_FILE = 50_000

_EMBED_DATASET = """
import sys
from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset
model, source, target = sys.argv[1:]
embedder = SentenceEmbedder(model, device="cpu").fit(["a"])
embedder.transform(["1 2 3"])
"""


def main() -> None:
    """Measure both, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    about = machine(["dask", "pyarrow", "torch", "transformers"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    report = {
        "options": vars(args),
        "machine": about,
        "workers": workers(args.rounds),
        "rows": [rows(n, less=10 if args.quick else 1) for n in N_ROWS],
    }
    formats = {"rows": ",", "rows/s": ",.0f", "before MiB": ".0f", "above MiB": ".0f"}
    show("embed_dataset, Parquet to Parquet, tiny model", report["rows"], formats)
    write_json("scale", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    return parser.parse_args()


def workers(n_rounds: int) -> list[dict[str, Any]]:
    """Embed on one and on two Dask workers of one thread each, and in this process."""
    texts = read_texts("banking77", N_TEXTS)
    embedder = SentenceEmbedder(device="cpu", cache=None).fit(texts[:1])
    expected = embedder.transform(texts)
    tasks = {"this process": partial(seconds_of, embedder.transform, texts)}
    cluster = partial(LocalCluster, threads_per_worker=1, dashboard_address=None)
    with cluster(n_workers=1) as one, cluster(n_workers=2) as two:
        on_one = partial(_on_one_worker, one.scheduler_address, embedder, texts)
        on_two = partial(_on_dask, two.scheduler_address, embedder, texts)
        for n, run in ((1, on_one), (2, on_two)):
            np.testing.assert_allclose(run(), expected, atol=1e-6)  # loads the model there
            tasks[f"{n} Dask workers"] = partial(seconds_of, run)
        found = interleave(tasks, n_rounds)
    table = [
        {
            "where": where,
            "texts/s": N_TEXTS / float(np.median(seconds)),
            "÷ 1 worker": median_ratio(found["1 Dask workers"], seconds),
        }
        for where, seconds in found.items()
    ]
    formats = {"texts/s": ".1f", "÷ 1 worker": ".2f"}
    show(f"{N_TEXTS} questions of Banking77, all-MiniLM-L6-v2", table, formats)
    return table


def _on_dask(address: str, embedder: SentenceEmbedder, texts: list[str]) -> np.ndarray:
    with Client(address), joblib.parallel_config(backend="dask"):
        return embedder.transform(texts)


def _on_one_worker(address: str, embedder: SentenceEmbedder, texts: list[str]) -> np.ndarray:
    # joblib does not go to a cluster that has one worker only.
    with Client(address) as client:
        return client.submit(embedder.transform, texts, pure=False).result()


def rows(n_rows: int, less: int) -> dict[str, Any]:
    """Embed a dataset in a new process, and measure its peak memory."""
    n_rows //= less
    with tempfile.TemporaryDirectory() as scratch:
        model, source = Path(scratch, "model"), Path(scratch, "source")
        write_tiny_model(str(model))
        source.mkdir()
        for start in range(0, n_rows, _ROWS_PER_FILE):
            numbers = range(start, min(start + _ROWS_PER_FILE, n_rows))
            texts = [" ".join(str(i) * (1 + i % 5)) for i in numbers]
            table = pa.table({"id": list(numbers), "text": texts})
            pq.write_table(table, source / f"{start:08d}.parquet")
        usage = fresh(
            'embed_dataset(embedder, source, target, column="text", keep=["id"], progress=False)',
            str(model),
            str(source),
            str(Path(scratch, "target")),
            setup=_EMBED_DATASET,
        )
    return {
        "rows": n_rows,
        "rows/s": n_rows / usage.seconds,
        "before MiB": usage.before,
        "above MiB": usage.peak - usage.before,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
