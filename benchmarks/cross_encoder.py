"""Cross-encoders: scoring and training compared with sentence-transformers, and quality.

See docs/development/benchmarks.md for options, method and results.
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
    OURS,
    PEER,
    REFERENCE,
    SEED,
    load_scorers,
    read_sts,
    train_here,
    train_there,
    write_checkpoint,
)
from _pair_quality import nli, recipe, search
from _reranking import read_collection, study
from datasets import disable_progress_bars
from fine_tuning import FORMATS, WARM_UP, steps_per_second
from transformers.utils import logging

QUICK = 20  # how many times less of everything with --quick
N_QUERIES, N_DOCUMENTS = 100, 4  # of Cranfield, to be scored


def main() -> None:
    """Run the parts that are asked for, print tables, write the report."""
    args = parse_arguments()
    OUTPUT.mkdir(exist_ok=True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
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
    parser.add_argument("--seeds", nargs="+", type=int, default=[SEED], help="of quality")
    parser.add_argument("--with-peer-quality", action="store_true", help="which takes long")
    parser.add_argument("--splits", type=int, default=1, help="of the queries, to re-rank")
    parser.add_argument("--search", action="store_true", help="for settings, on the dev set")
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of everything: shows that it runs"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="score in bfloat16 where it is emulated, too"
    )
    return parser.parse_args()


def scoring(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure pairs per second in interleaved rounds, and differences of scores."""
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
    of = read_collection()
    asked = np.repeat(of.queries[:N_QUERIES], N_DOCUMENTS)
    near = of.documents[of.nearest[:N_QUERIES, :N_DOCUMENTS].ravel()]
    abstracts = pd.DataFrame({"a": asked, "b": near}).drop_duplicates()
    return {"stsb": sentences[::less], "cranfield": abstracts[::less]}


def training(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure steps per second in interleaved rounds."""
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


def quality(args: argparse.Namespace) -> dict[str, Any]:
    """Correlate scores with similarities after a full training."""
    n_steps = 1 if args.quick else None
    found = {"recipe": recipe(args.formats, args.seeds, n_steps, with_peer=args.with_peer_quality)}
    if args.search:
        found["search"] = search(n_steps)
    formats = {"dev": ".4f", "test": ".4f", "seconds": ".0f"}
    for name, rows in found.items():
        show(f"STS benchmark, Spearman, {name}", rows, formats)
    return found


def classes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare classifiers of entailment, contradiction and neutral pairs."""
    rows = nli(1 if args.quick else None)
    show("SICK, trial pairs", rows, {"accuracy": ".3f", "seconds": ".0f"})
    return rows


def reranking(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare rankings of documents, for the test queries."""
    rows = [row for split in range(args.splits) for row in study(split, 1 if args.quick else None)]
    formats = dict.fromkeys(["nDCG@10 in folds", "nDCG@10", "gain", "error"], ".3f")
    formats |= {"share": ".1f", "seconds": ".0f"}
    show("Cranfield, the nearest 100 documents re-ranked, half of the queries", rows, formats)
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "scoring": scoring,
    "training": training,
    "quality": quality,
    "nli": classes,
    "rerank": reranking,
}


if __name__ == "__main__":
    main()
