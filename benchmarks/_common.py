"""Helpers of the benchmarks: texts, interleaved rounds, new processes, tables."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

OUTPUT = Path(__file__).parent / "output"

# Runs in a new Python. The peak is VmHWM and not `ru_maxrss`, which a child inherits: it would be at
# least the size of the process that started it.
_PROGRAM = """
import os, time

def memory(field):
    if not os.path.exists("/proc/self/status"):
        return float("nan")
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

{setup}
before, start = memory("VmRSS"), time.perf_counter()
{statements}
print()
print(time.perf_counter() - start, memory("VmHWM"), before)
"""


class Usage(NamedTuple):
    """Seconds of statements in a new process, and MiB at the peak and before them."""

    seconds: float
    peak: float
    before: float


def read_texts(name: str, n_texts: int) -> list[str]:
    """Return distinct texts, the same on every call: of "banking77", of "reviews", or "mixed"."""
    if name == "mixed":
        return _mixed_texts(n_texts)
    texts = list(dict.fromkeys(_banking77() if name == "banking77" else _reviews()))
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[i] for i in order[:n_texts]]


def data_file(name: str) -> Path:
    """Return a file of the data folder, or exit with a message that says what to do."""
    beside_repository = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("SK_SENTEMB_DATA", beside_repository)) / name
    if not path.is_file():
        raise SystemExit(
            f"There is no {path}. Set SK_SENTEMB_DATA to the folder that holds "
            "banking77/train.csv, clothing/reviews.csv and cranfield/docs.csv; "
            "docs/development/benchmarks.md says what they are."
        )
    return path


def interleave(tasks: Mapping[Any, Callable[[], Any]], n_rounds: int) -> dict[Any, list[Any]]:
    """Run all tasks in turn, round after round, and return what each gave in each round.

    A machine that slows down for a while slows all of them, so ratios within a round hold.
    """
    results: dict[Any, list[Any]] = {name: [] for name in tasks}
    for _ in range(n_rounds):
        for name, task in tasks.items():
            results[name].append(task())
    return results


def seconds_of(function: Callable[..., object], *arguments: object) -> float:
    """Return the duration of a call in seconds."""
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median over rounds of the ratio in each round."""
    return float(np.median(np.divide(numerators, denominators)))


def fresh(statements: str, *arguments: str, setup: str = "") -> Usage:
    """Measure statements in a new Python; ``setup`` runs before and is not timed."""
    program = _PROGRAM.format(setup=setup, statements=statements)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{statements!r} failed in a new process:\n{done.stderr}")
    return Usage(*map(float, done.stdout.splitlines()[-1].split()))


def machine(packages: list[str]) -> dict[str, Any]:
    """Return what the figures depend on: CPU, cores, versions."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def show(title: str, rows: list[dict[str, Any]], formats: dict[str, str]) -> None:
    """Print rows as an aligned table, text to the left and numbers to the right."""
    cells = [[format(row[key], formats.get(key, "")) for key in rows[0]] for row in rows]
    print(f"\n{title}")
    widths = [max(map(len, column)) for column in zip(list(rows[0]), *cells, strict=True)]
    aligns = ["<" if isinstance(value, str) else ">" for value in rows[0].values()]
    for line in [list(rows[0]), *cells]:
        print("  ".join(map("{:{}{}}".format, line, aligns, widths)).rstrip())


def write_json(name: str, report: dict[str, Any]) -> None:
    """Write a report to the output folder."""
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {path}")


def _mixed_texts(n_texts: int) -> list[str]:
    """Cut texts of 1 to 2,000 words, log-uniform, from concatenated abstracts and reviews."""
    words = " ".join([*_column("cranfield/docs.csv", "text"), *_reviews()]).split()
    rng = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < n_texts:
        n_words = int(np.exp(rng.uniform(0, np.log(2001))))
        start = rng.integers(len(words) - n_words)
        texts[" ".join(words[start : start + n_words])] = None
    return list(texts)


def _banking77() -> list[str]:
    return _column("banking77/train.csv", "text")


def _reviews() -> list[str]:
    return _column("clothing/reviews.csv", "Review Text")


def _column(file: str, column: str) -> list[str]:
    return pd.read_csv(data_file(file))[column].dropna().tolist()


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
