"""Default training compared with the frozen model, and with SetFit if it is installed.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import OUTPUT, machine, show, write_json
from _defaults import Split, banking, garments, kinds, packages, ratings, sentence_pairs
from few_shot import fit_setfit
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from transformers.utils import logging

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder, SentenceRegressor

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    """Fit each estimator on the same rows, task after task, and write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    of = ["scikit-learn", "torch", "transformers", "sentence-transformers"]
    with suppress(metadata.PackageNotFoundError):
        metadata.version("setfit")
        of.append("setfit")
    about = machine(of)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows: list[dict[str, Any]] = []
    for name in args.tasks:
        kind, draw, sizes = TASKS[name]
        for n_rows in sizes if args.rows is None else args.rows:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                split = draw(n_rows, np.random.default_rng([n_rows, seed]))
                for estimator, fit in ESTIMATORS[kind].items():
                    start = perf_counter()
                    score = fit(split, seed)
                    row = {"task": name, "rows": len(split[1]), "estimator": estimator}
                    rows.append(row | {"score": score, "s": perf_counter() - start})
                    print({**rows[-1], "seed": seed}, flush=True)
                if (
                    kind == "few"
                    and "setfit" in about
                    and seed - args.first_seed < args.setfit_seeds
                ):
                    rows.append({"task": name, "rows": len(split[1]), **time_setfit(split, seed)})
                    print({**rows[-1], "seed": seed}, flush=True)
    found = pd.DataFrame(rows).groupby(["task", "rows", "estimator"], sort=False)
    table = found.agg(draws=("score", "size"), score=("score", "mean"), s=("s", "median"))
    records = table.reset_index().to_dict("records")
    show("Default training and the frozen model", records, {"score": ".3f", "s": ".1f"})
    write_json("defaults", {"options": vars(args), "machine": about, "runs": rows, "rows": records})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", type=int, help="instead of each task's own numbers")
    parser.add_argument("--seeds", type=int, default=3, help="draws of rows")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--setfit-seeds", type=int, default=1, help="SetFit takes long")
    return parser.parse_args()


# Estimators, each from a split and a seed to its score


def embedder(seed: int | None = None) -> SentenceEmbedder:
    """Return an embedder, frozen without a seed."""
    tuner = None if seed is None else FineTuner(random_state=seed)
    return SentenceEmbedder(MODEL, device="cpu", cache=None, missing="empty", fine_tuner=tuner)


def then_logistic(tuned: bool) -> Callable[[Split, int], float]:
    """Fit a logistic regression on embeddings."""

    def fit(split: Split, seed: int) -> float:
        X, y, X_test, y_test = split
        classifier = LogisticRegression(max_iter=1000)
        model = make_pipeline(embedder(seed if tuned else None), classifier).fit(X, y)
        return float(model.score(X_test, y_test))

    return fit


def end_to_end(estimator: Any, **how: Any) -> Callable[[Split, int], float]:
    """Train encoder and head together."""

    def fit(split: Split, seed: int) -> float:
        X, y, X_test, y_test = split
        tuner = FineTuner(random_state=seed, **how)
        model = estimator(MODEL, device="cpu", cache=None, fine_tuner=tuner).fit(X, y)
        return float(model.score(X_test, y_test))

    return fit


def frozen_ridge(split: Split, seed: int) -> float:
    """Fit a ridge regression on the features of the head."""
    X, y, X_test, y_test = split
    tuner = FineTuner(trainable="head")
    made = SentenceRegressor(MODEL, device="cpu", cache=None, fine_tuner=tuner).fit(X, y)
    return float(Ridge().fit(made.transform(X), y).score(made.transform(X_test), y_test))


def similarity(tuned: bool, ungraded: bool = False) -> Callable[[Split, int], float]:
    """Measure the rank correlation of cosines and grades."""

    def fit(split: Split, seed: int) -> float:
        X, y, X_test, y_test = split
        if ungraded:  # pairs that belong together
            X, y = X[y >= 0.7], None
        made = embedder(seed if tuned else None)
        made = made.fit(X, y) if tuned else made.fit(X)
        u, v = np.hsplit(made.transform(X_test), 2)  # of unit length
        return float(spearmanr((u * v).sum(axis=1), y_test).statistic)

    return fit


def time_setfit(split: Split, seed: int) -> dict[str, Any]:
    """Run SetFit with the settings of its paper."""
    X, y, X_test, y_test = split
    start = perf_counter()
    predict = fit_setfit(list(X), [str(label) for label in y], seed)
    score = float(np.mean(np.asarray(predict(list(X_test))) == y_test.astype(str)))
    return {"estimator": "SetFit", "score": score, "s": perf_counter() - start}


CLASSIFIERS = {
    "frozen, LogisticRegression": then_logistic(tuned=False),
    "SentenceClassifier, trainable='head'": end_to_end(SentenceClassifier, trainable="head"),
    "FineTuner(), LogisticRegression": then_logistic(tuned=True),
    "SentenceClassifier()": end_to_end(SentenceClassifier),
}
ESTIMATORS: dict[str, dict[str, Callable[[Split, int], float]]] = {
    "few": CLASSIFIERS,
    "classes": CLASSIFIERS,
    "numbers": {
        "frozen, Ridge": frozen_ridge,
        "SentenceRegressor, trainable='head'": end_to_end(SentenceRegressor, trainable="head"),
        "SentenceRegressor()": end_to_end(SentenceRegressor),
    },
    "pairs": {
        "frozen": similarity(tuned=False),
        "FineTuner(), similarities": similarity(tuned=True),
        "FineTuner(), pairs without y": similarity(tuned=True, ungraded=True),
    },
}
TASKS: dict[str, tuple[str, Callable[[int, Any], Split], list[int]]] = {
    "packages": ("few", packages, [64]),
    "garments": ("few", garments, [64]),
    "intents": ("classes", banking, [154, 616, 2002]),
    "kinds": ("classes", kinds, [64, 500]),
    "ratings": ("numbers", ratings, [100, 500]),
    "sick": ("pairs", lambda n, rng: sentence_pairs("sick", n, rng), [64, 500, 2000]),
    "stsb": ("pairs", lambda n, rng: sentence_pairs("stsb", n, rng), [64, 500, 2000]),
}


if __name__ == "__main__":
    main()
