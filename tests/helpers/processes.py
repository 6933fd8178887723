"""What tests of many processes need: a witness in each of them, and an end in any case."""

import os
import signal
from collections import Counter
from contextlib import contextmanager

import pytest
from joblib.externals.loky import get_reusable_executor

# Python runs this at the start of every process that finds it, whatever backend starts the process.
_WITNESS = """
import logging, os
log = logging.getLogger("sk_sentemb")
log.setLevel(logging.INFO)
log.addHandler(logging.FileHandler(os.path.join({folder!r}, f"{{os.getpid()}}.log"), delay=True))
"""


@contextmanager
def witnesses(folder):
    """Let processes that start in the meantime write the package's log into files of a folder."""
    (folder / "sitecustomize.py").write_text(_WITNESS.format(folder=str(folder)))
    stop_loky()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
    stop_loky()


def models_read(folder, fingerprint):
    """Return how often each process with a witness read a model from its files."""
    lines = {log.stem: log.read_text().splitlines() for log in folder.glob("*.log")}
    n_read = Counter()
    for process, said in lines.items():
        n_read[int(process)] = sum(f"loading the model {fingerprint}" in line for line in said)
    return +n_read


def stop_loky():
    """End joblib's worker processes, which would otherwise serve the next test too."""
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


class HangError(BaseException):
    """Nothing that handles errors takes it for one of its own."""


@contextmanager
def ends_within(seconds):
    """Raise where the main thread is, if it is still there; so a hang is a failure."""

    def give_up(*_):
        raise HangError(f"not done within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
