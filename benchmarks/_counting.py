"""Count what happens in all processes of a search: texts embedded, models loaded, memory."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sentence_transformers import SentenceTransformer
from sklearn.base import BaseEstimator, TransformerMixin

from sk_sentemb.encoder import Encoder, registry

# Worker processes write to the same file; a short line appended to it stays whole.
_LOG = "SK_SENTEMB_BENCHMARK_LOG"


class Counts(NamedTuple):
    """Texts that were embedded and models that were loaded, in all processes together."""

    texts: int
    models: int


class Counted(TransformerMixin, BaseEstimator):
    """Pass X through; a worker process that unpickles this class starts to count."""

    def fit(self, X: Any, y: Any = None) -> "Counted":
        """Do nothing."""
        return self

    def transform(self, X: Any) -> Any:
        """Return ``X``."""
        return X

    def __sklearn_is_fitted__(self) -> bool:
        return True


@contextmanager
def counting(log: Path) -> Iterator[Callable[[], Counts]]:
    """Count in this process and its future workers; the value returns the counts so far."""
    os.environ[_LOG] = str(log)
    log.touch()

    def counts() -> Counts:
        lines = [line.split() for line in log.read_text().splitlines()]
        n_texts = sum(int(n) for what, n in lines if what == "texts")
        return Counts(n_texts, sum(what == "model" for what, _ in lines))

    yield counts
    del os.environ[_LOG]


@contextmanager
def peak_memory_of_all() -> Iterator[Callable[[], float]]:
    """Watch the resident memory of this process and its children; the value returns the peak, MiB."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        this = psutil.Process()
        while not stop.wait(0.1):
            peak[0] = max(peak[0], sum(map(_resident, [this, *this.children(recursive=True)])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: peak[0]
    finally:
        stop.set()
        watcher.join()


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def _logged(function: Callable, entry: Callable[..., str]) -> Callable:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if log := os.environ.get(_LOG):
            with open(log, "a") as file:
                file.write(entry(*args) + "\n")
        return function(*args, **kwargs)

    return run


def _texts(_: Any, texts: Any, *args: Any) -> str:
    return f"texts {1 if isinstance(texts, str) else len(texts)}"


def _model(*_: Any) -> str:
    return "model 1"


Encoder.encode = _logged(Encoder.encode, _texts)
SentenceTransformer.encode = _logged(SentenceTransformer.encode, _texts)
registry.LOADERS["texts"] = _logged(registry.LOADERS["texts"], _model)
SentenceTransformer.__init__ = _logged(SentenceTransformer.__init__, _model)
