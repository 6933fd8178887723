"""Quality of cross-encoders: rank correlation on the STS benchmark, accuracy on SICK."""

from collections.abc import Callable
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
from _cross_encoders import (
    MODEL,
    OURS,
    PEER,
    SEED,
    Predict,
    read_sick,
    read_sts,
    train_here,
    train_there,
)
from scipy.stats import spearmanr, zscore
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    CrossEncoderClassifier,
    FineTuner,
    PairFeatures,
    PairSimilarity,
    SentenceEmbedder,
)

# Some 20 minutes of training on two cores with bfloat16.
CANDIDATES: list[dict[str, Any]] = [
    {"loss": "binary_cross_entropy", "learning_rate": 5e-5},
    {"loss": "binary_cross_entropy", "learning_rate": 1e-4},
    {"loss": "binary_cross_entropy", "learning_rate": 2e-4},
    {"loss": "mse", "learning_rate": 1e-4},
]


# Of the cosines, where they are added to scores.
SHARES = np.linspace(0, 1, 11)


def recipe(
    dtypes: list[str], seeds: list[int], max_steps: int | None, *, with_peer: bool
) -> list[dict[str, Any]]:
    """Train on the STS benchmark to the end with the settings of the recipe."""
    systems: dict[str, Callable[..., Any]] = {OURS: train_here}
    if with_peer:
        systems[PEER] = train_there
    rows = []
    for system, train in systems.items():
        for dtype, seed in product(dtypes, seeds):
            start = perf_counter()
            _, predict = train(dtype, max_steps, random_state=seed)
            row = {"format": dtype, "seed": seed, "seconds": perf_counter() - start}
            if system == PEER:
                rows.append({"system": system, **row, **spearman(predict)})
                continue
            rows.append({"system": system, **row, **spearman(predict.predict)})
            predict.set_params(symmetric=True)
            with_cosines = f"{system}, both orders, and cosines"
            rows.append({"system": with_cosines, **row, **spearman_with_cosines(predict.predict)})
    return rows


def search(max_steps: int | None) -> list[dict[str, Any]]:
    """Train with each of some settings; the one that is best on the dev set comes first."""
    rows = []
    for settings in CANDIDATES:
        times, scorer = train_here("auto", max_steps, **settings)
        for symmetric in (False, True):
            scorer.set_params(symmetric=symmetric)
            of_settings = {**settings, "symmetric": str(symmetric)}
            rows.append({**of_settings, **spearman(scorer.predict), "seconds": times[-1]})
    return sorted(rows, key=lambda row: -row["dev"])


def spearman(predict: Predict) -> dict[str, float]:
    """Return the rank correlation of scores and similarities on the dev and test sets."""
    found = {}
    for name in ("dev", "test"):
        pairs = read_sts(name)
        found[name] = float(spearmanr(predict(pairs[["a", "b"]]), pairs["score"]).statistic)
    return found


def spearman_with_cosines(predict: Predict) -> dict[str, float]:
    """Return the rank correlation of the weighted sum of scores and cosines, tuned on the dev set."""
    cosine = make_pipeline(SentenceEmbedder(MODEL, device="cpu"), PairSimilarity())
    found = {}
    for name in ("dev", "test"):
        pairs = read_sts(name)
        columns = pairs[["a", "b"]]
        scores = zscore(predict(columns)), zscore(cosine.fit(columns).predict(columns))
        sums = [(1 - share) * scores[0] + share * scores[1] for share in SHARES]
        found[name] = [float(spearmanr(of, pairs["score"]).statistic) for of in sums]
    best = int(np.argmax(found["dev"]))
    return {name: of[best] for name, of in found.items()}


def nli(max_steps: int | None) -> list[dict[str, Any]]:
    """Fit on SICK's training pairs; count right answers among its trial pairs."""
    train, trial = read_sick("train"), read_sick("trial")
    rows = []
    for name, model in classifiers(max_steps).items():
        start = perf_counter()
        model.fit(train[["a", "b"]], train["label"])
        seconds = perf_counter() - start
        accuracy = float(model.score(trial[["a", "b"]], trial["label"]))
        rows.append({"model": name, "accuracy": accuracy, "seconds": seconds})
    return rows


def classifiers(max_steps: int | None) -> dict[str, Any]:
    """Return the models to compare on SICK, by name."""
    tuner = FineTuner(
        epochs=3,
        max_steps=max_steps,
        batch_size=16,
        learning_rate=5e-5,
        dtype="auto",
        random_state=SEED,
    )
    how: dict[str, Any] = {"device": "cpu", "cache": None}

    def of_vectors(embedder: SentenceEmbedder) -> Any:
        features = PairFeatures(combine=("u", "v", "abs_diff", "product"))
        return make_pipeline(embedder, features, LogisticRegression(max_iter=1000))

    return {
        "frozen vectors": of_vectors(SentenceEmbedder(MODEL, **how)),
        "fine-tuned vectors": of_vectors(SentenceEmbedder(MODEL, fine_tuner=tuner, **how)),
        "cross-encoder": CrossEncoderClassifier(MODEL, dtype="auto", fine_tuner=tuner, **how),
    }
