"""A training that is killed and resumed."""

import signal
import subprocess

import pytest

from tests.helpers.tiny_models import TINY

KILLED = """
import sys, os, signal
import numpy as np, pandas as pd, torch
from sk_sentemb import FineTuner, SentenceEmbedder
torch.set_num_threads(1)
model, folder, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
texts = [f"ferry {i} of day {i % 5}" for i in range(24)]
calls = 0
def metric(columns, y):
    global calls
    calls += 1
    if calls == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(np.mean(columns[0]))
tuner = FineTuner(
    epochs=4, batch_size=8, learning_rate=1e-3, random_state=0, metric=metric,
    validation_fraction=0.25, checkpoint_dir=None if folder == "none" else folder,
    checkpoint_steps=2,
)
embedder = SentenceEmbedder(model, fine_tuner=tuner).fit(texts, [i % 3 for i in range(24)])
print(embedder.fingerprint_, embedder.history_["loss"].sum(), len(embedder.history_))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_training_is_resumed_to_the_same_weights(tmp_path, run_python):
    whole = run_python(KILLED, TINY, "none", 0).stdout
    with pytest.raises(subprocess.CalledProcessError):
        run_python(KILLED, TINY, tmp_path, 3)
    assert list(tmp_path.rglob("training.pt"))
    assert run_python(KILLED, TINY, tmp_path, 0).stdout == whole
    assert not list(tmp_path.rglob("*.pt"))  # what is finished is not kept
