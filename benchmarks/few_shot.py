"""Few examples per class: frozen embeddings, fine-tuned ones, and SetFit if it is installed.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import OUTPUT, data_file, machine, show, write_json
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers.utils import logging

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.encoder import resolve_model

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
N_CLASSES = 77

# What a system is given, and what it returns: a function from texts to classes.
Fit = Callable[[list[str], list[str], int], Callable[[list[str]], Any]]


def main() -> None:
    """Fit each system on the same few texts, seed after seed, and write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    packages = ["torch", "transformers", "sentence-transformers"]
    with suppress(metadata.PackageNotFoundError):
        metadata.version("setfit")
        packages.append("setfit")
    about = machine(packages)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    train, test = (pd.read_csv(data_file(f"banking77/{name}.csv")) for name in ("train", "test"))
    rounds = []
    for seed in range(args.seeds):
        sample = train.groupby("category").sample(args.examples, random_state=seed)
        for name, fit in systems(with_setfit="setfit" in about and seed < args.setfit_seeds):
            start = perf_counter()
            predict = fit(sample["text"].tolist(), sample["category"].tolist(), seed)
            seconds = perf_counter() - start
            accuracy = float(
                np.mean(np.asarray(predict(test["text"].tolist())) == test["category"])
            )
            rounds.append({"system": name, "seed": seed, "accuracy": accuracy, "seconds": seconds})
            print(f"seed {seed}  {name:<12} {accuracy:.4f}  {seconds:.0f} s", flush=True)
    found = pd.DataFrame(rounds).groupby("system", sort=False)
    rows = [
        {
            "system": name,
            "seeds": len(of),
            "accuracy": of["accuracy"].mean(),
            "deviation": of["accuracy"].std(ddof=0),
            "seconds": of["seconds"].median(),
        }
        for name, of in found
    ]
    formats = {"accuracy": ".4f", "deviation": ".4f", "seconds": ".1f"}
    show(f"Banking77, {args.examples} examples a class, 3,080 test questions", rows, formats)
    report = {"options": vars(args), "machine": about, "rounds": rounds, "systems": rows}
    write_json("few_shot", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=8, help="of each class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--setfit-seeds", type=int, default=1, help="SetFit takes long")
    return parser.parse_args()


def systems(*, with_setfit: bool) -> list[tuple[str, Fit]]:
    """Return the systems to compare, by name."""
    found: list[tuple[str, Fit]] = [("frozen", fit_frozen), ("fine-tuned", fit_fine_tuned)]
    return [*found, ("SetFit", fit_setfit)] if with_setfit else found


def fit_frozen(texts: list[str], classes: list[str], seed: int) -> Callable[[list[str]], Any]:
    """Fit logistic regression on embeddings of the frozen model."""
    return _fit(SentenceEmbedder(MODEL, device="cpu", cache=None), texts, classes)


def fit_fine_tuned(texts: list[str], classes: list[str], seed: int) -> Callable[[list[str]], Any]:
    """Fit logistic regression on embeddings of a model fine-tuned with default settings."""
    tuner = FineTuner(random_state=seed)
    embedder = SentenceEmbedder(MODEL, device="cpu", cache=None, fine_tuner=tuner)
    return _fit(embedder, texts, classes)


def _fit(embedder: SentenceEmbedder, texts: list[str], classes: list[str]) -> Callable:
    pipeline = make_pipeline(embedder, LogisticRegression(max_iter=1000))
    return pipeline.fit(texts, classes).predict


def fit_setfit(texts: list[str], classes: list[str], seed: int) -> Callable[[list[str]], Any]:
    """Fit SetFit with the settings of its paper: cosine pairs, 20 iterations, 1 epoch."""
    from datasets import Dataset, disable_progress_bars
    from setfit import SetFitModel, Trainer, TrainingArguments

    disable_progress_bars()
    model = SetFitModel.from_pretrained(
        str(resolve_model(MODEL)), labels=sorted(set(classes)), device="cpu"
    )
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch,
            batch_size=16,
            num_epochs=1,
            num_iterations=20,
            seed=seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        data = Dataset.from_dict({"text": texts, "label": classes})
        Trainer(model, arguments, train_dataset=data).train()
    return model.predict


if __name__ == "__main__":
    main()
