"""A grid search over text: sk_sentemb, the encoder of skrub, and precomputed embeddings.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import OUTPUT, data_file, interleave, machine, median_ratio, show, write_json

OURS, PEER = "sk_sentemb", "skrub"
BY_HAND = {
    "by hand, sk_sentemb": "sk_sentemb",
    "by hand, sentence-transformers": "sentence-transformers",
}
REFERENCE = "by hand, sk_sentemb"


def main() -> None:
    """Run every system in processes of its own, in turn, and write the report."""
    args = parse_arguments()
    if args.run:
        print(json.dumps(search(args.run, args.texts, args.jobs[0])))
        return
    OUTPUT.mkdir(exist_ok=True)
    packages = ["scikit-learn", "skrub", "sentence-transformers", "torch", "transformers"]
    about = machine(packages)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    tasks = {
        (system, n_jobs): partial(in_new_process, system, args.texts, n_jobs)
        for n_jobs in args.jobs
        for system in [OURS, *BY_HAND, *([] if args.without_skrub else [PEER])]
    }
    rows = table(interleave(tasks, args.rounds))
    formats = {"s": ".2f", "÷ by hand": ".3f", "peak MiB": ".0f", "score": ".4f"}
    show(f"4 C x 5 folds, {args.texts} texts; ratio to {REFERENCE}", rows, formats)
    write_json("grid_search", {"options": vars(args), "machine": about, "searches": rows})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1000, help="questions of Banking77")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-skrub", action="store_true", help="which takes most of the time")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_new_process(system: str, n_texts: int, n_jobs: int) -> dict[str, Any]:
    """Run one search in a new Python."""
    command = [sys.executable, __file__, "--run", system, "--texts", n_texts, "--jobs", n_jobs]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[Any, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each system: counts and memory at their largest, medians of times."""
    rows = []
    for (system, n_jobs), runs in found.items():
        seconds = [run["seconds"] for run in runs]
        reference = [run["seconds"] for run in found[REFERENCE, n_jobs]]
        rows.append(
            {
                "system": system,
                "jobs": n_jobs,
                "texts embedded": max(run["texts"] for run in runs),
                "models loaded": max(run["models"] for run in runs),
                "s": float(np.median(seconds)),
                "÷ by hand": median_ratio(seconds, reference),
                "peak MiB": max(run["peak"] for run in runs),
                "score": runs[0]["score"],
            }
        )
    return rows


def search(system: str, n_texts: int, n_jobs: int) -> dict[str, Any]:
    """Run one search and count what it does; imports are not timed."""
    from _counting import Counted, counting, peak_memory_of_all
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.pipeline import make_pipeline

    questions = pd.read_csv(data_file("banking77/train.csv")).drop_duplicates("text")
    questions = questions.sample(n_texts, random_state=0)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch, counting(Path(scratch, "log")) as counts:
        # Processes share what is on disk; the folder is new, so that nothing is in it.
        cache = "memory" if n_jobs == 1 else scratch
        steps = [] if system in BY_HAND else [Counted(), embedder(system, cache)]
        grid = GridSearchCV(
            make_pipeline(*steps, LogisticRegression(max_iter=1000)),
            {"logisticregression__C": [0.1, 1, 10, 100]},
            cv=KFold(5, shuffle=True, random_state=0),
            n_jobs=n_jobs,
        )
        X = questions["text"]
        embed = by_hand(system) if system in BY_HAND else None
        with peak_memory_of_all() as peak:
            start = perf_counter()
            grid.fit(X if embed is None else embed(X), questions["category"])
            seconds = perf_counter() - start
        return {
            "seconds": seconds,
            "peak": peak(),
            "score": grid.best_score_,
            **counts()._asdict(),
        }


def embedder(system: str, cache: str) -> Any:
    """Return the step that embeds within the search."""
    from sk_sentemb import SentenceEmbedder
    from sk_sentemb.encoder import resolve_model

    if system == OURS:
        return SentenceEmbedder(device="cpu", cache=cache)
    from skrub import LLMEncoder

    folder = str(resolve_model("all-MiniLM-L6-v2"))
    return LLMEncoder(folder, n_components=None, device="cpu")


def by_hand(system: str) -> Callable:
    """Return the function that embeds all texts once, before the search."""
    from sk_sentemb import SentenceEmbedder
    from sk_sentemb.encoder import resolve_model

    if BY_HAND[system] == OURS:
        return SentenceEmbedder(device="cpu", cache=None).fit_transform
    from sentence_transformers import SentenceTransformer

    def encode(X: pd.Series) -> np.ndarray:
        return SentenceTransformer(str(resolve_model("all-MiniLM-L6-v2")), device="cpu").encode(
            X.tolist(), show_progress_bar=False
        )

    return encode


if __name__ == "__main__":
    main()
