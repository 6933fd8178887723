"""Cross-encoders here and in sentence-transformers: loading, scoring and training."""

import csv
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import data_file
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import (
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    losses,
)
from transformers import TrainerCallback

from sk_sentemb import CrossEncoderScorer, FineTuner
from sk_sentemb.encoder import PairEncoder, load_encoder, resolve_model, save_encoder

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OURS, PEER = "sk_sentemb", "sentence-transformers"
REFERENCE = f"{PEER} float32"

# Binary cross-entropy on the STS benchmark.
RECIPE = {"batch_size": 16, "learning_rate": 5e-5, "warmup_ratio": 0.1}
EPOCHS, MAX_LENGTH, SEED = 4, 128, 42

# Rows of two texts; and from them to a number for each.
Pairs = pd.DataFrame
Predict = Callable[[Pairs], np.ndarray]


def read_sts(name: str) -> pd.DataFrame:
    """Return sentence, sentence and similarity from 0 to 5."""
    names = ["a", "b", "score"]
    return pd.read_csv(data_file(f"stsb/stsb-en-{name}.csv"), header=None, names=names)


def read_sick(name: str) -> pd.DataFrame:
    """Return premise, hypothesis and class."""
    table = pd.read_csv(data_file(f"sick/SICK_{name}.txt"), sep="\t", quoting=csv.QUOTE_NONE)
    columns = {"sentence_A": "a", "sentence_B": "b", "entailment_judgment": "label"}
    return table[[*columns]].rename(columns=columns)


def write_checkpoint(folder: Path) -> None:
    """Save the model with a new head with one logit."""
    save_encoder(PairEncoder.with_new_head(load_encoder(MODEL, device="cpu"), 1, SEED), folder)


def load_scorers(folder: Path, *, force_bfloat16: bool) -> dict[str, Predict]:
    """Load the checkpoint into each system, in each dtype that is fast on this CPU."""

    def ours(dtype: str) -> CrossEncoderScorer:
        scorer = CrossEncoderScorer(folder, device="cpu", dtype=dtype, cache=None)
        return scorer.fit([("one text", "another")])

    auto = ours("auto").encoder_.dtype
    print(f"dtype='auto' is {auto} here")
    formats = list(dict.fromkeys(["float32", auto, *(["bfloat16"] if force_bfloat16 else [])]))
    return {f"{PEER} {dtype}": peer_scorer(folder, dtype) for dtype in formats} | {
        f"{OURS} {dtype}": ours(dtype).predict for dtype in formats
    }


def peer_scorer(folder: Path, dtype: str) -> Predict:
    """Load the checkpoint as users of sentence-transformers do."""
    return _predict_of(CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": dtype}))


def train_here(
    dtype: str, max_steps: int | None = None, **settings: Any
) -> tuple[list[float], CrossEncoderScorer]:
    """Train with this package; return when steps ended, and the scorer."""
    pairs = read_sts("train")
    chosen: dict[str, Any] = {
        "loss": "binary_cross_entropy",
        "epochs": EPOCHS,
        "max_steps": max_steps,
        "dtype": dtype,
        "score_range": (0, 5),
        "random_state": SEED,
    }
    tuner = FineTuner(**(chosen | RECIPE | settings))
    scorer = CrossEncoderScorer(
        MODEL, device="cpu", max_length=MAX_LENGTH, cache=None, fine_tuner=tuner
    )
    scorer.fit(pairs[["a", "b"]], pairs["score"])
    return scorer.history_["seconds"].cumsum().tolist(), scorer


def train_there(
    dtype: str, max_steps: int | None = None, *, random_state: int = SEED
) -> tuple[list[float], Predict]:
    """Train with sentence-transformers; return when steps ended, and what scores."""
    pairs = read_sts("train")
    model = CrossEncoder(
        str(resolve_model(MODEL)), num_labels=1, max_length=MAX_LENGTH, device="cpu"
    )
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        arguments = CrossEncoderTrainingArguments(
            scratch,
            num_train_epochs=EPOCHS,
            max_steps=max_steps or -1,
            per_device_train_batch_size=RECIPE["batch_size"],
            learning_rate=RECIPE["learning_rate"],
            warmup_steps=RECIPE["warmup_ratio"],
            bf16=dtype == "bfloat16",
            use_cpu=True,
            seed=random_state,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        data = {"a": pairs["a"], "b": pairs["b"], "label": pairs["score"] / 5}
        CrossEncoderTrainer(
            model,
            arguments,
            train_dataset=Dataset.from_dict(data),
            loss=losses.BinaryCrossEntropyLoss(model),
            callbacks=[Clock()],
        ).train()
    model.eval()
    return times, _predict_of(model)


def _predict_of(model: CrossEncoder) -> Predict:
    predict = partial(model.predict, batch_size=32, show_progress_bar=False)
    return lambda pairs: predict(list(pairs.itertuples(index=False, name=None)))
