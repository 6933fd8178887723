import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import torch

from sk_sentemb.cache import open_cache
from sk_sentemb.encoder import load_encoder, resolve_model

DATA = Path(os.environ.get("SK_SENTEMB_DATA", Path(__file__).parents[2] / "shared" / "data"))

# On a busy machine an example may take any time.
hypothesis.settings.register_profile("any_time", deadline=None)
hypothesis.settings.load_profile("any_time")


@pytest.fixture(autouse=True)
def nothing_remembered():
    """No test finds what another one embedded."""
    open_cache("memory").clear()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Handle Ctrl-C also where a shell started the suite in the background, and ignored it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def minilm_folder():
    return resolve_model("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def minilm():
    return load_encoder("all-MiniLM-L6-v2", device="cpu")


@pytest.fixture(scope="session")
def shared_data():
    def find(name):
        path = DATA / name
        if not path.exists():
            pytest.skip(f"{path} is not here; set SK_SENTEMB_DATA to the folder that holds {name}")
        return path

    return find


@pytest.fixture(scope="session")
def run_python():
    """Run code in a fresh interpreter; it must end well and in time."""

    def run(code, *arguments, answers=""):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(
            command, input=answers, check=True, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture(scope="module")
def one_thread():
    """Tiny models gain nothing from more threads, and lose a lot on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
