"""Text and tables: sk_sentemb compared with skrub, scikit-learn and a plain training loop.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from _common import (
    OUTPUT,
    data_file,
    interleave,
    machine,
    median_ratio,
    seconds_of,
    show,
    write_json,
)
from _multimodal import CLOTHING, baselines, ours, peers, train_here, train_there
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder

PARTS = ("reviews", "steps", "intents")
OURS, PEER = "sk_sentemb", "transformers"

# The first steps of a process are slow.
WARM_UP = 5


def main() -> None:
    """Run the selected parts, and write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    about = machine(["scikit-learn", "skrub", "torch", "transformers"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    run: dict[str, Callable[[argparse.Namespace], Any]] = {
        "reviews": reviews,
        "steps": steps,
        "intents": intents,
    }
    report = {part: run[part](args) for part in PARTS if part in args.parts}
    write_json("multimodal", {"options": vars(args), "machine": about, **report})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folds", type=int, default=10, help="of the 5 x 2, the first so many")
    parser.add_argument("--end-to-end", action="store_true", help="on the reviews, too: takes long")
    parser.add_argument("--steps", type=int, default=30, help="that are timed, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="over the intents of Banking77")
    return parser.parse_args()


def reviews(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Cross-validate every model on the same folds, one fold after the other."""
    table = pd.read_csv(data_file("clothing/reviews.csv"))
    X, y = table[CLOTHING], table["Recommended IND"].to_numpy()
    models = {**baselines(), **peers(), **ours(X, end_to_end=args.end_to_end)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    for train, test in list(folds.split(X, y))[: args.folds]:
        for name, model in models.items():
            fresh = clone(model)
            seconds = seconds_of(fresh.fit, X.iloc[train], y[train])
            scores = fresh.predict_proba(X.iloc[test])[:, 1]
            found[name].append((roc_auc_score(y[test], scores), seconds))
    rows = [
        {
            "model": name,
            "AUC": float(np.mean([auc for auc, _ in scores])),
            "deviation": float(np.std([auc for auc, _ in scores])),
            "s to fit": float(np.median([seconds for _, seconds in scores])),
        }
        for name, scores in found.items()
    ]
    formats = {"AUC": ".3f", "deviation": ".3f", "s to fit": ".1f"}
    show(f"Clothing reviews, recommended or not, {args.folds} folds", rows, formats)
    return rows


def steps(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the steps of an end-to-end training, here and in a plain loop with padding."""
    texts, labels = read_banking("train")
    n_steps = args.steps + WARM_UP
    tasks: dict[str, Callable[[], list[float]]] = {
        OURS: lambda: train_here(texts, labels, n_steps),
        PEER: lambda: train_there(texts, labels, n_steps),
    }
    rounds = interleave(tasks, args.rounds)
    rates = {
        name: [1 / float(np.median(times[WARM_UP:])) for times in found]
        for name, found in rounds.items()
    }
    rows = [
        {
            "system": name,
            "steps/s": float(np.median(rate)),
            "ratio": median_ratio(rate, rates[PEER]),
        }
        for name, rate in rates.items()
    ]
    show("Banking77, batches of 32, float32", rows, {"steps/s": ".2f", "ratio": ".2f"})
    return rows


def intents(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train on all of Banking77, and measure the accuracy on the test questions."""
    texts, labels = read_banking("train")
    others, truth = read_banking("test")
    tuner = FineTuner(epochs=args.epochs, learning_rate=1e-4, dtype="auto", random_state=0)
    models = {
        "frozen, logistic regression": make_pipeline(
            SentenceEmbedder(), LogisticRegression(C=10, max_iter=1000)
        ),
        "frozen, SentenceClassifier": SentenceClassifier(fine_tuner=FineTuner(trainable="head")),
        "SentenceClassifier": SentenceClassifier(fine_tuner=tuner),
    }
    rows = [
        {
            "model": name,
            "seconds": seconds_of(model.fit, texts, labels),
            "accuracy": model.score(others, truth),
        }
        for name, model in models.items()
    ]
    show("Banking77, all questions", rows, {"seconds": ".0f", "accuracy": ".4f"})
    return rows


def read_banking(name: str) -> tuple[list[str], np.ndarray]:
    """Return questions and their intents."""
    table = pd.read_csv(data_file(f"banking77/{name}.csv"))
    return table["text"].tolist(), table["category"].to_numpy()


if __name__ == "__main__":
    main()
