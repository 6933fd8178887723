"""Fine-tuning on the STS benchmark: sk_sentemb and the trainer of sentence-transformers.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import OUTPUT, data_file, interleave, machine, median_ratio, show, write_json
from datasets import Dataset, disable_progress_bars
from scipy.stats import spearmanr
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
)
from transformers import TrainerCallback
from transformers.utils import logging

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.encoder import resolve_model

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
RECIPE = {"batch_size": 16, "learning_rate": 2e-5, "warmup_ratio": 0.1}
FORMATS = ("float32", "bfloat16")
PEER = "sentence-transformers"
OURS = "sk_sentemb"

# The first steps of a process are slow.
WARM_UP = 5


def main() -> None:
    """Time steps in interleaved rounds, train once to the end, and write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    logging.set_verbosity_error()
    disable_progress_bars()
    warnings.simplefilter("ignore")
    about = machine(["sentence-transformers", "torch", "transformers", "accelerate"])
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    systems: dict[str, Callable[..., Any]] = {OURS: train_here, PEER: train_there}
    tasks = {
        (system, dtype): partial(train, dtype, args.steps + WARM_UP)
        for system, train in systems.items()
        for dtype in FORMATS
    }
    rounds = interleave(tasks, args.rounds)
    rates = {key: [steps_per_second(times) for times, _ in found] for key, found in rounds.items()}
    rows = [
        {
            "system": system,
            "format": dtype,
            "steps/s": float(np.median(rate)),
            "ratio": median_ratio(rate, rates[PEER, "float32"]),
        }
        for (system, dtype), rate in rates.items()
    ]
    show(
        f"STS benchmark, cosine loss, batches of 16; ratio to {PEER} float32",
        rows,
        {"steps/s": ".2f", "ratio": ".2f"},
    )
    scores = []
    for system, dtype in [] if args.without_scores else tasks:
        _, embed = systems[system](dtype, None)
        found = {name: spearman(embed, name) for name in ("dev", "test")}
        scores.append({"system": system, "format": dtype, **found})
    if scores:
        show("Spearman after one epoch", scores, {"dev": ".4f", "test": ".4f"})
    write_json(
        "fine_tuning", {"options": vars(args), "machine": about, "steps": rows, "scores": scores}
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30, help="that are timed, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-scores", action="store_true", help="train to no end")
    return parser.parse_args()


def steps_per_second(times: list[float]) -> float:
    """Return the median rate, from the times at which steps ended."""
    return 1 / float(np.median(np.diff(times[WARM_UP:])))


def read_pairs(name: str) -> pd.DataFrame:
    """Return sentence, sentence and similarity from 0 to 5."""
    return pd.read_csv(
        data_file(f"stsb/stsb-en-{name}.csv"), header=None, names=["a", "b", "score"]
    )


def spearman(embed: Callable[[list[str]], np.ndarray], name: str) -> float:
    """Return the rank correlation of cosines and similarities."""
    pairs = read_pairs(name)
    a, b = (torch.from_numpy(embed(pairs[column].tolist())) for column in "ab")
    return float(spearmanr(torch.cosine_similarity(a, b), pairs["score"]).statistic)


def train_here(dtype: str, max_steps: int | None) -> tuple[list[float], Callable[..., Any]]:
    """Train with this package; return when steps ended, and what embeds."""
    pairs = read_pairs("train")
    tuner = FineTuner(
        "cosine_similarity",
        epochs=1,
        max_steps=max_steps,
        dtype=dtype,
        score_range=(0, 5),
        random_state=42,
        **RECIPE,
    )
    embedder = SentenceEmbedder(MODEL, device="cpu", fine_tuner=tuner)
    embedder.fit(pairs[["a", "b"]], pairs["score"])
    return embedder.history_["seconds"].cumsum().tolist(), embedder.transform


def train_there(dtype: str, max_steps: int | None) -> tuple[list[float], Callable[..., Any]]:
    """Train with sentence-transformers; return when steps ended, and what embeds."""
    pairs = read_pairs("train")
    model = SentenceTransformer(str(resolve_model(MODEL)), device="cpu")
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            scratch,
            num_train_epochs=1,
            max_steps=max_steps or -1,
            per_device_train_batch_size=RECIPE["batch_size"],
            learning_rate=RECIPE["learning_rate"],
            warmup_steps=RECIPE["warmup_ratio"],
            bf16=dtype == "bfloat16",
            use_cpu=True,
            seed=42,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model,
            arguments,
            train_dataset=Dataset.from_dict(
                {"a": pairs["a"], "b": pairs["b"], "score": pairs["score"] / 5}
            ),
            loss=losses.CosineSimilarityLoss(model),
            callbacks=[Clock()],
        ).train()
    model.eval()
    return times, model.encode


if __name__ == "__main__":
    main()
