"""What cross-encoders are worth: the STS benchmark by rank correlation, SICK by accuracy."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

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
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import CrossEncoderClassifier, FineTuner, PairFeatures, SentenceEmbedder

# Some 20 minutes of training on two cores with bfloat16.
CANDIDATES: list[dict[str, Any]] = [
    {"loss": "binary_cross_entropy", "learning_rate": 5e-5},
    {"loss": "binary_cross_entropy", "learning_rate": 1e-4},
    {"loss": "binary_cross_entropy", "learning_rate": 2e-4},
    {"loss": "mean_squared_error", "learning_rate": 1e-4},
]


def recipe(dtypes: list[str], max_steps: int | None, *, with_peer: bool) -> list[dict[str, Any]]:
    """Train on the STS benchmark to the end with the settings of the recipe."""
    systems: dict[str, Callable[..., Any]] = {OURS: train_here}
    if with_peer:
        systems[PEER] = train_there
    rows = []
    for system, train in systems.items():
        for dtype in dtypes:
            start = perf_counter()
            _, predict = train(dtype, max_steps)
            seconds = perf_counter() - start
            predict = predict.predict if system == OURS else predict
            rows.append(
                {"system": system, "format": dtype, **spearman(predict), "seconds": seconds}
            )
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
    """Return what is compared on SICK, by name."""
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
