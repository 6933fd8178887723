"""Search: exact neighbors compared with other libraries, and a million embeddings approximately.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import torch
from _common import OUTPUT, interleave, machine, median_ratio, show, write_json
from sentence_transformers.util import semantic_search
from sklearn.neighbors import NearestNeighbors

from sk_sentemb._exact_search import find_nearest, rescore
from sk_sentemb.retrieval.backends import open_backend

DIM, K = 384, 10
N_CANDIDATES = 4 * K  # what SemanticIndex scores again by default
N_EXACT, N_QUERIES = 100_000, 1000
N_SAMPLE, N_PER_CLUSTER, NOISE, DECAY = 200, 100, 0.7, 16
BACKENDS = ["usearch", "faiss:HNSW32"]
OURS = "sk_sentemb"


def main() -> None:
    """Measure everything, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    about = machine(["numpy", "torch", "faiss-cpu", "usearch", "sentence-transformers"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    report: dict[str, Any] = {"options": vars(args), "machine": about}
    if "exact" in args.parts:
        report["exact"] = compare_exact(args.rounds)
        formats = {"queries/s": ",.0f", "times ours": ".2f", "same ids": ".4f"}
        show(f"Exact top {K} of {N_EXACT:,} x {DIM}", report["exact"], formats)
    if "approximate" in args.parts:
        report["approximate"] = compare_approximate(args.rows, args.rounds)
        formats = {"queries/s": ",.0f", "times exact": ".1f", "MB": ",.0f", "build s": ",.0f"}
        formats |= dict.fromkeys(["recall@10", "without re-scoring"], ".4f")
        show(f"Top {K} of {args.rows:,} x {DIM}, in clusters", report["approximate"], formats)
    write_json("retrieval", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", type=int, default=10**6, help="embeddings of the approximate part"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", default=["exact", "approximate"])
    return parser.parse_args()


def compare_exact(n_rounds: int) -> list[dict[str, Any]]:
    """Find exact neighbors with each library, and compare with the ids of sentence-transformers."""
    documents, queries = make_clusters(N_EXACT, N_QUERIES)
    on_torch = torch.from_numpy(queries), torch.from_numpy(documents)
    neighbors = NearestNeighbors(n_neighbors=K, metric="cosine").fit(documents)
    flat = faiss.IndexFlatIP(DIM)
    flat.add(documents)
    tasks: dict[str, Callable[[], np.ndarray]] = {
        OURS: lambda: find_nearest(queries, documents, K, max_norm=1.0)[0],
        "sentence-transformers": lambda: ids_of(semantic_search(*on_torch, top_k=K)),
        "scikit-learn": lambda: neighbors.kneighbors(queries, return_distance=False),
        "FAISS flat": lambda: flat.search(queries, K)[1],
    }
    runs = interleave({name: partial(timed, task) for name, task in tasks.items()}, n_rounds)
    seconds = {name: [s for s, _ in run] for name, run in runs.items()}
    expected = runs["sentence-transformers"][0][1]
    return [
        {
            "library": name,
            "queries/s": N_QUERIES / float(np.median(seconds[name])),
            "times ours": median_ratio(seconds[OURS], seconds[name]),
            "same ids": float((run[0][1] == expected).mean()),
        }
        for name, run in runs.items()
    ]


def ids_of(hits: list[list[dict[str, Any]]]) -> np.ndarray:
    """Return the row numbers that sentence-transformers found."""
    return np.array([[hit["corpus_id"] for hit in found] for found in hits])


def compare_approximate(n_rows: int, n_rounds: int) -> list[dict[str, Any]]:
    """Build graphs, and compare their search with exact search."""
    documents, queries = make_clusters(n_rows, N_QUERIES)
    sample = queries[:N_SAMPLE]
    tasks = {"exact": partial(timed, partial(find_nearest, sample, documents, K, max_norm=1.0))}
    built = {}
    for name in BACKENDS:
        backend = open_backend(name, DIM)
        start = perf_counter()
        backend.add(np.arange(n_rows), documents)
        built[name] = (backend, perf_counter() - start, size_in_mb(backend))
        print(f"{name}: built in {built[name][1]:.0f} s", flush=True)
        tasks[name] = partial(timed, partial(search, backend, queries, documents))
    runs = interleave(tasks, n_rounds)
    exact = runs["exact"][0][1][0]
    per_query = [s / N_SAMPLE for s, _ in runs["exact"]]
    rows = [row_of("exact", 1.0, 1.0, per_query, per_query, documents.nbytes / 1e6, 0.0)]
    for name, (backend, seconds, megabytes) in built.items():
        approximate = [s / N_QUERIES for s, _ in runs[name]]
        rows.append(
            row_of(
                name,
                recall(runs[name][0][1][0][:N_SAMPLE], exact),
                recall(backend.search(sample, K), exact),
                approximate,
                per_query,
                megabytes,
                seconds,
            )
        )
    return rows


def row_of(
    name: str,
    found: float,
    without: float,
    seconds: list[float],
    exact: list[float],
    megabytes: float,
    built: float,
) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "index": name,
        "recall@10": found,
        "without re-scoring": without,
        "queries/s": 1 / float(np.median(seconds)),
        "times exact": median_ratio(exact, seconds),
        "MB": megabytes,
        "build s": built,
    }


def search(backend: Any, queries: np.ndarray, documents: np.ndarray) -> tuple[Any, Any]:
    """Find candidates and score them again, as SemanticIndex does."""
    return rescore(queries, documents, backend.search(queries, N_CANDIDATES), K)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the fraction of the exact neighbors that were found."""
    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))


def size_in_mb(backend: Any) -> float:
    """Return the size of an index, as it is stored."""
    return len(backend.__getstate__()["stored"]) / 1e6


def timed(task: Callable[[], Any]) -> tuple[float, Any]:
    """Run a task, and return its duration and its result."""
    start = perf_counter()
    result = task()
    return perf_counter() - start, result


def make_clusters(n_rows: int, n_queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw documents and queries from the same clusters, with unit norm.

    Dimensions have a decaying variance, as the principal components of embeddings of texts have.
    """
    rng = np.random.default_rng(0)
    scales = (1 + np.arange(DIM, dtype=np.float32) / DECAY) ** -0.5
    centers = scales * rng.standard_normal((n_rows // N_PER_CLUSTER, DIM), dtype=np.float32)
    embeddings = np.empty((n_rows + n_queries, DIM), dtype=np.float32)
    for start in range(0, len(embeddings), 100_000):
        block = embeddings[start : start + 100_000]
        block[:] = centers[rng.integers(len(centers), size=len(block))]
        block += NOISE * scales * rng.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return embeddings[:n_rows], embeddings[n_rows:]


if __name__ == "__main__":
    main()
