"""Tiny models that are there while tests are still collected, and what tests say about rows."""

import atexit
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.helpers.checkpoints import make_checkpoint, make_cross_encoder

# Not a fixture, because `parametrize_with_checks` takes estimators before any fixture runs.
_SCRATCH = TemporaryDirectory(prefix="sk_sentemb-")
atexit.register(_SCRATCH.cleanup)

PROMPTS = {"query": "ferry: ", "document": "market: "}

TINY = make_checkpoint(Path(_SCRATCH.name, "tiny"))
OTHER = make_checkpoint(Path(_SCRATCH.name, "other"), seed=1)
# The weights of TINY, which reads every text as a document unless it is told otherwise.
PROMPTED = make_checkpoint(
    Path(_SCRATCH.name, "prompted"), prompts=PROMPTS, default_prompt_name="document"
)

TINY_SCORER = make_cross_encoder(Path(_SCRATCH.name, "scorer"))
OTHER_SCORER = make_cross_encoder(Path(_SCRATCH.name, "other-scorer"), seed=1)
# Not in the order of the alphabet, so that logits and classes have an order each.
NLI = ("neutral", "entailment", "contradiction")
TINY_NLI = make_cross_encoder(Path(_SCRATCH.name, "nli"), labels=NLI, seed=24)
OTHER_NLI = make_cross_encoder(Path(_SCRATCH.name, "other-nli"), labels=NLI, seed=1)
# In that order, so that numbers can stand for classes.
ORDERED_NLI = make_cross_encoder(Path(_SCRATCH.name, "ordered"), labels=sorted(NLI), seed=24)


def without_dropout(model: Path, folder: Path) -> Path:
    """Copy a checkpoint, for tests in which two trainings must see the same vectors."""
    shutil.copytree(model, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    file.write_text(json.dumps(config | none))
    return folder


NO_DROPOUT = without_dropout(TINY, Path(_SCRATCH.name, "no-dropout"))


def assert_same_rows(found, expected):
    """Compare vectors that were computed among other neighbours: 1e-6 of the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


def assert_other_rows(found, other):
    """Say that no row of one is the row of the other."""
    assert np.abs(np.asarray(found) - np.asarray(other)).max(axis=1).min() > 1e-3


def outputs_of(fitted, X):
    """Return all that an estimator predicts for rows, by method."""
    names = ("predict", "predict_proba", "decision_function", "transform")
    return {name: np.asarray(getattr(fitted, name)(X)) for name in names if hasattr(fitted, name)}


def assert_same_outputs(found, expected):
    """Compare results of `outputs_of`, bit by bit."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
