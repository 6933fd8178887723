"""Cross-encoders: scoring and training beside sentence-transformers, and what the scores are worth.

docs/benchmarks.md says how to run it, what it measures, and how to read that.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import OUTPUT, interleave, machine, median_ratio, seconds_of, show, write_json
from _cross_encoders import (
    MAX_LENGTH,
    MODEL,
    OURS,
    PEER,
    REFERENCE,
    SEED,
    Predict,
    load_scorers,
    read_cranfield,
    read_sick,
    read_sts,
    train_here,
    train_there,
    write_checkpoint,
)
from _reranking import study
from datasets import disable_progress_bars
from fine_tuning import FORMATS, WARM_UP, steps_per_second
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers.utils import logging

from sk_sentemb import CrossEncoderClassifier, FineTuner, PairFeatures, SentenceEmbedder

QUICK = 20  # how many times less of everything with --quick
N_QUERIES, N_DOCUMENTS = 100, 4  # of Cranfield, to be scored


def main() -> None:
    """Run the parts that are asked for, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    logging.set_verbosity_error()
    disable_progress_bars()
    warnings.simplefilter("ignore")
    about = machine(["sentence-transformers", "torch", "transformers", "accelerate"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found = {part: PARTS[part](args) for part in args.parts}
    write_json("cross_encoder", {"options": vars(args), "machine": about, **found})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="of scoring and of training")
    parser.add_argument("--steps", type=int, default=30, help="of training that are timed, a round")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=["float32"], help="of quality"
    )
    parser.add_argument("--with-peer-quality", action="store_true", help="which takes long")
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of everything: shows that it runs"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="score in bfloat16 where it is emulated, too"
    )
    return parser.parse_args()


def scoring(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure pairs a second in interleaved rounds, and how far scores are apart."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder))
        systems = load_scorers(Path(folder), force_bfloat16=args.bfloat16)
        for data, pairs in pairs_to_score(QUICK if args.quick else 1).items():
            # The first run warms up.
            scores = {name: predict(pairs) for name, predict in systems.items()}
            tasks = {name: partial(seconds_of, of, pairs) for name, of in systems.items()}
            found = interleave(tasks, args.rounds)
            rows += [
                {
                    "data": data,
                    "system": name,
                    "pairs/s": float(np.median(len(pairs) / np.array(seconds))),
                    "ratio": median_ratio(found[REFERENCE], seconds),
                    "max difference": float(np.abs(scores[name] - scores[REFERENCE]).max()),
                }
                for name, seconds in found.items()
            ]
    formats = {"pairs/s": ".1f", "ratio": ".2f", "max difference": ".1e"}
    show(f"Scoring; ratio and difference to {REFERENCE}", rows, formats)
    return rows


def pairs_to_score(less: int) -> dict[str, pd.DataFrame]:
    """Return distinct pairs: short ones, and queries with the documents that are nearest to them."""
    sentences = read_sts("test")[["a", "b"]].drop_duplicates()
    corpus, queries, _ = read_cranfield()
    embedder = SentenceEmbedder(device="cpu").fit(corpus)
    cosines = embedder.transform(queries[:N_QUERIES]) @ embedder.transform(corpus).T
    nearest = np.argsort(-cosines, axis=1)[:, :N_DOCUMENTS]
    asked = np.repeat(queries[:N_QUERIES], N_DOCUMENTS)
    abstracts = pd.DataFrame({"a": asked, "b": corpus[nearest.ravel()]}).drop_duplicates()
    return {"stsb": sentences[::less], "cranfield": abstracts[::less]}


def training(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure steps a second in interleaved rounds."""
    systems: dict[str, Callable[..., Any]] = {PEER: train_there, OURS: train_here}
    n_steps = args.steps // (QUICK if args.quick else 1) + 1 + WARM_UP
    tasks = {
        (system, dtype): partial(train, dtype, n_steps)
        for system, train in systems.items()
        for dtype in FORMATS
    }
    rounds = interleave(tasks, args.rounds)
    rates = {key: [steps_per_second(times) for times, _ in of] for key, of in rounds.items()}
    rows = [
        {
            "system": system,
            "format": dtype,
            "steps/s": float(np.median(rate)),
            "ratio": median_ratio(rate, rates[PEER, "float32"]),
            "ratio, same format": median_ratio(rate, rates[PEER, dtype]),
        }
        for (system, dtype), rate in rates.items()
    ]
    formats = {"steps/s": ".2f", "ratio": ".2f", "ratio, same format": ".2f"}
    show(f"Training on the STS benchmark, batches of 16; ratio to {REFERENCE}", rows, formats)
    return rows


def quality(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train on the STS benchmark to the end, and correlate."""
    n_steps = 2 if args.quick else None
    systems: list[tuple[str, str, Callable[..., Any]]] = [
        (OURS, dtype, train_here) for dtype in args.formats
    ]
    if args.with_peer_quality:
        systems += [(PEER, dtype, train_there) for dtype in args.formats]
    rows = []
    for system, dtype, train in systems:
        times, predict = train(dtype, n_steps)
        rows.append({"system": system, "format": dtype, **spearman(predict), "seconds": times[-1]})
    show("STS benchmark, 4 epochs", rows, {"dev": ".4f", "test": ".4f", "seconds": ".0f"})
    return rows


def spearman(predict: Predict) -> dict[str, float]:
    """Return the rank correlation of scores and similarities on the dev and test sets."""
    found = {}
    for name in ("dev", "test"):
        pairs = read_sts(name)
        found[name] = float(spearmanr(predict(pairs[["a", "b"]]), pairs["score"]).statistic)
    return found


def nli(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Learn SICK's three classes, and count right answers among other pairs."""
    learnt, others = read_sick("train"), read_sick("trial")
    tuner = FineTuner(
        epochs=3, max_steps=2 if args.quick else None, dtype="auto", random_state=SEED
    )
    features = PairFeatures(("u", "v", "abs_diff", "product"))
    models = {
        "frozen features": make_pipeline(
            SentenceEmbedder(MODEL), features, LogisticRegression(max_iter=2000)
        ),
        "cross-encoder": CrossEncoderClassifier(MODEL, max_length=MAX_LENGTH, fine_tuner=tuner),
    }
    rows = [
        {
            "model": name,
            "seconds": seconds_of(model.fit, learnt[["a", "b"]], learnt["label"]),
            "accuracy": model.score(others[["a", "b"]], others["label"]),
        }
        for name, model in models.items()
    ]
    show("SICK, trained on train, tested on trial", rows, {"seconds": ".0f", "accuracy": ".3f"})
    return rows


def reranking(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Learn from half of the queries of Cranfield, and put documents in order for the others."""
    rows = study(SEED, 2 if args.quick else None)
    formats = {"scorer's share": ".1f", "training s": ".0f"}
    formats |= dict.fromkeys(["in folds", "other half", "gain", "standard error"], ".3f")
    show("Cranfield, nDCG@10", rows, formats)
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "scoring": scoring,
    "training": training,
    "quality": quality,
    "nli": nli,
    "reranking": reranking,
}

if __name__ == "__main__":
    main()
