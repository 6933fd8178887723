"""Encoding: sk_sentemb, sentence-transformers and onnxruntime with the same checkpoint.

See docs/development/benchmarks.md for options, method and results.
"""

import argparse
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import (
    OUTPUT,
    interleave,
    machine,
    median_ratio,
    read_texts,
    seconds_of,
    show,
    write_json,
)
from _processes import growth, peak_memory, start_up
from _systems import OURS, REFERENCE, System, load_systems, tokenize
from torch import nn
from transformers.utils import logging as transformers_logging

from sk_sentemb.encoder import Encoder, l2_normalize, resolve_model
from sk_sentemb.exceptions import TruncationWarning

N_TEXTS = {"banking77": 2000, "reviews": 450, "mixed": 200}
N_LATENCY_ROUNDS = 200
N_GROWING = [25_000, 50_000, 100_000]
QUICK = 20  # how many times less of everything with --quick


def main() -> None:
    """Measure everything, print tables, write the report."""
    args = parse_arguments()
    # Every system cuts the long texts of "mixed" at the model's limit; this one says so each time.
    warnings.simplefilter("ignore", TruncationWarning)
    transformers_logging.disable_progress_bar()
    OUTPUT.mkdir(exist_ok=True)
    about = machine(["torch", "transformers", "sentence-transformers", "onnxruntime"])
    about |= {"threads": torch.get_num_threads(), "device": args.device}
    if args.device.startswith("cuda"):
        about["gpu"] = torch.cuda.get_device_name(args.device)
    print(", ".join(f"{key} {value}" for key, value in about.items()))

    less = QUICK if args.quick else 1
    texts_of = {name: read_texts(name, N_TEXTS[name] // less) for name in args.data}
    folder = str(resolve_model(args.model))
    systems, encoder = load_systems(folder, args.device, force_bfloat16=args.bfloat16)
    report = {
        "options": vars(args),
        "machine": about,
        "throughput": throughput(systems, encoder, texts_of, args.rounds),
        "latency": latency(systems, N_LATENCY_ROUNDS // less),
        "peak memory": peak_memory(folder, args.device, texts_of),
        "start-up": start_up(folder, args.device, args.rounds),
        "growth": growth([n // less for n in N_GROWING]),
    }
    write_json("encode", report)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(N_TEXTS), default=list(N_TEXTS))
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--device", default="cpu", help="for the systems that run on torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of everything: shows that it runs"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="measure bfloat16 where it is emulated, too"
    )
    return parser.parse_args()


def throughput(
    systems: list[System], encoder: Encoder, texts_of: dict[str, list[str]], n_rounds: int
) -> list[dict[str, Any]]:
    """Measure the texts per second of each system, and compare embeddings."""
    rows = []
    for data, texts in texts_of.items():
        vectors = {s.name: s.encode(texts) for s in systems}  # warms up, too
        tasks: dict[Any, Any] = {s.name: partial(seconds_of, s.encode, texts) for s in systems}
        tasks |= {(s.device, s.dtype): partial(peak_flops, s.device, s.dtype) for s in systems}
        found = interleave(tasks, n_rounds)
        work = flops(encoder, texts)
        for s in systems:
            seconds, peaks = np.array(found[s.name]), np.array(found[s.device, s.dtype])
            rows.append(
                {
                    "data": data,
                    "system": s.name,
                    "texts/s": float(np.median(len(texts) / seconds)),
                    "ratio": median_ratio(found[REFERENCE], found[s.name]),
                    "min cosine": min_cosine(vectors[s.name], vectors[REFERENCE]),
                    "of peak": float(np.median(work / seconds / peaks)),
                    "peak GFLOP/s": float(np.median(peaks)) / 1e9,
                }
            )
    formats = {"texts/s": ".1f", "ratio": ".2f", "min cosine": ".7f", "of peak": ".0%"}
    show(f"Throughput; ratio to {REFERENCE}", rows, formats | {"peak GFLOP/s": ".0f"})
    return rows


def latency(systems: list[System], n_rounds: int) -> list[dict[str, Any]]:
    """Measure one short text at a time, a different one in each round, with both models loaded."""
    texts = read_texts("banking77", n_rounds)
    pair = [s for s in systems if s.name in (f"{OURS} float32", REFERENCE)]
    for s in pair:
        s.encode(texts[:1])
    found = interleave({s.name: partial(_encode_next, s, iter(texts)) for s in pair}, n_rounds)
    rows = [
        {
            "system": name,
            "ms": 1000 * float(np.median(seconds)),
            "ratio": median_ratio(seconds, found[REFERENCE]),
        }
        for name, seconds in found.items()
    ]
    show(f"Latency of one short text; ratio to {REFERENCE}", rows, {"ms": ".2f", "ratio": ".2f"})
    return rows


def _encode_next(system: System, texts: Iterator[str]) -> float:
    return seconds_of(system.encode, [next(texts)])


def flops(encoder: Encoder, texts: list[str]) -> int:
    """Count the floating-point operations of the model's matrix products, without any padding."""
    lengths = tokenize(encoder, texts).lengths
    model = encoder.backbone.model
    per_token = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "pooler" not in name  # which no vector needs
    )
    # Queries by keys, and weights by values.
    per_pair = 2 * model.config.num_hidden_layers * model.config.hidden_size
    return 2 * int(per_token * lengths.sum() + per_pair * (lengths**2).sum())


@torch.inference_mode()
def peak_flops(device: str, dtype: str) -> float:
    """Measure the floating-point operations per second of one large matrix product."""
    n_rows, n_in, n_out = 4096, 1024, 4096
    x = torch.randn(n_rows, n_in, device=device).to(getattr(torch, dtype))
    weight = torch.randn(n_out, n_in, device=device).to(x.dtype)

    def product() -> None:
        F.linear(x, weight)[0, 0].item()  # waits for an accelerator

    product()
    return 2 * n_rows * n_in * n_out / min(seconds_of(product) for _ in range(3))


def min_cosine(vectors: np.ndarray, reference: np.ndarray) -> float:
    """Return the minimum cosine similarity between two systems over all texts."""
    a, b = (l2_normalize(x.astype(np.float64)) for x in (vectors, reference))
    return float((a * b).sum(axis=1).min())


if __name__ == "__main__":
    main()
