"""What checkpoint_dir keeps of a training: found by all that decides it, and checked when it is read."""

import functools
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb._training.training_digest import compute_digest
from sk_sentemb.exceptions import FineTuningWarning
from sk_sentemb.losses import CosinePairsLoss, MSELoss, MultipleNegativesRankingLoss
from tests.helpers.tiny_models import OTHER, TINY

TEXTS = [f"{'harbour ferry' if i % 2 else 'nets market'} number {i}" for i in range(16)]
LABELS = np.array([0, 1] * 8)
VECTORS = np.random.RandomState(0).randn(16, 32).astype(np.float32)


class StopError(Exception):
    pass


class Stops:
    """A metric that ends a training at its second call."""

    def __init__(self, at=2):
        self.at, self.n = at, 0

    def __call__(self, columns, y):
        self.n += 1
        if self.n == self.at:
            raise StopError
        return float(self.n)


def tuner(folder, *, stop=False, **how):
    how = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    metric = Stops() if stop else Stops(at=0)
    kept = {"checkpoint_dir": folder, "checkpoint_steps": 1, "validation_fraction": 0.375}
    return FineTuner(**{**kept, "metric": metric, **how})


def fit(
    folder, X=TEXTS, y=LABELS, *, stop=False, model=TINY, make=SentenceEmbedder, how=(), **params
):
    estimator = make(model, cache=None, fine_tuner=tuner(folder, stop=stop, **dict(how)), **params)
    return estimator.fit(X, y)


def stopped(folder, **how):
    with pytest.raises(StopError):
        fit(folder, stop=True, **how)
    (file,) = folder.rglob("training.pt")
    return file


def n_epochs_made(estimator):
    """Return how many epochs this fit made itself: each is validated once."""
    return estimator.fine_tuner.metric.n


# One training, one folder


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"params": {"n_jobs": 2, "batch_tokens": 64, "verbose": 0}},
        {"params": {"max_length": np.int64(30)}, "first": {"max_length": 30}},
        {"how": {"batch_size": np.int64(8), "learning_rate": np.float64(1e-3)}},
        {"how": {"loss": np.str_("auto")}},
    ],
    ids=str,
)
def test_the_same_training_goes_on(how, tmp_path):
    stopped(tmp_path, **how.get("first", {}))
    again = fit(tmp_path, how=how.get("how", {}), **how.get("params", {}))
    assert n_epochs_made(again) == 2  # of three epochs
    whole = fit(None, **how.get("first", {}))
    assert again.fingerprint_ == whole.fingerprint_
    assert not list(tmp_path.iterdir())


FIRST = {"X": TEXTS, "y": VECTORS, "how": {"loss": "mse"}}
OTHERS = {
    "normalize": {"normalize": False},
    "pooling": {"pooling": "cls"},
    "prompt": {"prompt": "ferry: "},
    "max_length": {"max_length": 6},
    "long_text": {"long_text": "chunk"},
    "dtype": {"dtype": "bfloat16"},
    "missing": {"X": [*TEXTS[:-1], None], "missing": "empty"},
    "model": {"model": OTHER},
    "learning rate": {"how": {"loss": "mse", "learning_rate": 2e-3}},
    "seed": {"how": {"loss": "mse", "random_state": 1}},
    "epochs": {"how": {"loss": "mse", "epochs": 4}},
    "loss object": {"how": {"loss": MSELoss()}},
    "y": {"y": VECTORS + 1e-3},
    "order": {"X": TEXTS[::-1], "y": VECTORS[::-1]},
    "a row more": {"X": [*TEXTS, "more"], "y": np.vstack([VECTORS, VECTORS[:1]])},
    "validation": {"how": {"loss": "mse", "validation_data": (TEXTS[:3], VECTORS[:3])}},
}


SLOW = {
    "pooling",
    "max_length",
    "model",
    "learning rate",
    "seed",
    "epochs",
    "loss object",
    "a row more",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in OTHERS]
)
def test_another_training_does_not_go_on_with_it(name, tmp_path):
    file = stopped(tmp_path, **FIRST)
    before = file.read_bytes()
    other = fit(tmp_path, **{**FIRST, **OTHERS[name]})
    expected = fit(None, **{**FIRST, **OTHERS[name]})
    assert other.fingerprint_ == expected.fingerprint_
    assert file.read_bytes() == before or name == "loss object"


def test_texts_that_look_alike_side_by_side_are_others(tmp_path):
    stopped(tmp_path, X=["the ferry\0", "nets market", *TEXTS[2:]])
    X = ["the ferry", "\0nets market", *TEXTS[2:]]
    assert fit(tmp_path, X).fingerprint_ == fit(None, X).fingerprint_


def make_head(dropout):
    def make(n_inputs, n_outputs):
        return torch.nn.Sequential(torch.nn.Dropout(dropout), torch.nn.Linear(n_inputs, n_outputs))

    return make


@pytest.mark.parametrize(
    "heads",
    [
        (make_head(0.1), make_head(0.5)),
        (
            lambda n, m: torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(n, m)),
            lambda n, m: torch.nn.Sequential(torch.nn.Sigmoid(), torch.nn.Linear(n, m)),
        ),
        (
            functools.partial(torch.nn.Linear, bias=True),
            functools.partial(torch.nn.Linear, bias=False),
        ),
    ],
    ids=["closures", "lambdas", "partials"],
)
def test_functions_of_one_name_are_others(heads, tmp_path):
    how = {"make": SentenceClassifier}
    stopped(tmp_path, head=heads[0], **how)
    other = fit(tmp_path, head=heads[1], **how)
    assert other.fingerprint_ == fit(None, head=heads[1], **how).fingerprint_
    assert n_epochs_made(other) == 3
    again = fit(tmp_path, head=heads[0], **how)
    assert n_epochs_made(again) == 2


def test_metrics_of_one_name_are_others(tmp_path):
    def make_metric(sign):
        return lambda columns, y: sign * float(np.mean(columns[0]))

    def keys():
        return {path.name for path in tmp_path.iterdir()}

    for sign in (1, -1, 1):
        metric = functools.partial(failing, make_metric(sign))
        with pytest.raises(StopError):
            fit(tmp_path, how={"metric": metric})
    assert len(keys()) == 2


def failing(metric, columns, y):
    metric(columns, y)
    raise StopError


def test_a_value_that_cannot_be_identified_is_an_error(tmp_path):
    head = functools.partial(make_with, extra=(i for i in range(3)))
    with pytest.raises(TypeError, match="checkpoint_dir requires that all inputs of a training"):
        fit(tmp_path, make=SentenceClassifier, head=head)
    fit(None, make=SentenceClassifier, head=head)


def make_with(n_inputs, n_outputs, extra):
    return torch.nn.Linear(n_inputs, n_outputs)


# Damaged files


def damage_bytes(seed):
    def damage(file):
        draw, blob = random.Random(seed), bytearray(file.read_bytes())
        for _ in range([1, 20][seed % 2]):
            blob[draw.randrange(len(blob))] ^= 255
        file.write_bytes(blob)

    return damage


def of_other_versions(file):
    content = torch.load(file, weights_only=True)
    content["versions"]["torch"] = "2.6.0"
    save_sealed(content, file)


def without_checksum(file):
    file.write_bytes(file.read_bytes()[:-32])


def save_sealed(content, file):
    from sk_sentemb._training.checkpointing import _append_checksum

    torch.save(content, file)
    _append_checksum(file)


DAMAGES = {
    **{f"flipped bytes {seed}": damage_bytes(seed) for seed in range(4)},
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:1000]),
    "empty": lambda file: file.write_bytes(b""),
    "without checksum": without_checksum,
    "other versions": of_other_versions,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.fixture(scope="module")
def whole():
    return fit(None).fingerprint_


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_a_warning_and_a_fresh_start(damage, whole, tmp_path):
    file = stopped(tmp_path)
    damage(file)
    with pytest.warns(FineTuningWarning) as told:
        again = fit(tmp_path)
    assert "cannot be loaded, and training starts again" in str(told[0].message)
    assert n_epochs_made(again) == 3
    assert again.fingerprint_ == whole


def test_tensors_of_other_shapes_are_a_fresh_start(whole, tmp_path):
    file = stopped(tmp_path)
    content = torch.load(file, weights_only=True)
    for part in (content["weights"], content["optimizer"]["state"][0], content["weights"]):
        name, tensor = next((n, t) for n, t in part.items() if t.ndim)
        part[name] = tensor[:1] if len(tensor) > 1 else tensor[None]
        save_sealed(content, file)
        with pytest.warns(FineTuningWarning, match="has tensors of other shapes"):
            assert fit(tmp_path).fingerprint_ == whole
        file.parent.mkdir(exist_ok=True)
        part[name] = tensor


def test_files_of_others_stay(tmp_path):
    file = stopped(tmp_path)
    (file.parent / "notes.txt").write_text("mine")
    fit(tmp_path)
    assert [path.name for path in file.parent.iterdir()] == ["notes.txt"]


# The digest


@dataclass(frozen=True)
class Point:
    x: object
    y: object = None


def with_default(k=3):
    return k


def doubled(x):
    return 2 * x


def calls_doubled(x):
    return doubled(x)


class Counts:
    def __init__(self, n):
        self.n = n


class A:
    def run(self):
        return 1


VALUES = [
    None,
    True,
    1,
    1.0,
    2**70,
    "1",
    b"1",
    float("nan"),
    0.0,
    -0.0,
    [],
    (),
    {},
    set(),
    ["a", "b"],
    ["ab", ""],
    ["a\0", "b"],
    [["a"], "b"],
    ["a", ["b"]],
    (1, 2),
    [1, 2],
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    np.arange(4),
    np.arange(4).astype(np.int32),
    np.arange(4).reshape(2, 2),
    np.array(["a", "b"]),
    np.array(["a", "b"], dtype=object),
    torch.arange(4),
    torch.arange(4).float(),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1, 3]}),
    Point(1),
    Point(2),
    Point(1, 1),
    Counts(1),
    Counts(2),
    MSELoss(),
    CosinePairsLoss(),
    MultipleNegativesRankingLoss(),
    MultipleNegativesRankingLoss(scale=7.0),
    FineTuner(epochs=1),
    FineTuner(epochs=2),
    torch.nn.Dropout(0.1),
    torch.nn.Dropout(0.2),
    torch.nn.Linear,
    torch.nn.Bilinear,
    A,
    A().run,
    np.sum,
    np.add,
    len,
    with_default,
    doubled,
    calls_doubled,
    functools.partial(doubled, 1),
    functools.partial(doubled, 2),
    lambda x: x + 1,
    lambda x: x + 2,
    lambda x, k=1: x,
    lambda x, k=2: x,
    make_head(0.1),
    make_head(0.2),
    itertools.count(1),
    itertools.count(2),
    random.Random(1),
    random.Random(2),
]


def test_values_have_a_digest_each():
    digests = [compute_digest(value) for value in VALUES]
    same = [
        (a, b)
        for (i, a), (j, b) in itertools.combinations(enumerate(VALUES), 2)
        if digests[i] == digests[j]
    ]
    assert not same
    assert digests == [compute_digest(value) for value in VALUES]


def test_numpy_s_scalars_are_those_of_python():
    pairs = [(np.int64(3), 3), (np.float64(0.1), 0.1), (np.bool_(True), True), (np.str_("a"), "a")]
    for numpy, python in pairs:
        assert compute_digest({"a": [numpy]}) == compute_digest({"a": [python]})


def test_a_function_with_another_one_beside_it_is_another(tmp_path):
    def digest(helper):
        space = {"__name__": "somewhere"}
        exec(f"def helper(x):\n    return {helper}\n\ndef f(x):\n    return helper(x)\n", space)
        return compute_digest(space["f"])

    assert digest("x + 1") == digest("x + 1") != digest("x + 2")


def test_what_refers_to_itself_has_a_digest():
    loop = []
    loop.append(loop)
    assert compute_digest(loop) == compute_digest(loop)

    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert compute_digest(factorial) == compute_digest(factorial)


DIGESTS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tests.training.test_training_checkpoints as t
print(json.dumps([t.compute_digest(value) for value in t.VALUES]))
"""


@pytest.mark.slow
def test_digests_are_the_same_in_another_process(run_python):
    found = json.loads(run_python(DIGESTS, Path(__file__).parents[2]).stdout.splitlines()[-1])
    assert found == [compute_digest(value) for value in VALUES]
