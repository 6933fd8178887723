"""Run the checks on every estimator around a pretrained model, and show that they find broken ones."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceEmbedder,
)
from tests.checks import pair_checks, shared_checks
from tests.checks.data import data_for
from tests.checks.embedding_checks import EMBEDDING_CHECKS
from tests.checks.pair_checks import PAIR_CHECKS
from tests.checks.shared_checks import SHARED_CHECKS
from tests.checks.text_checks import TEXT_CHECKS
from tests.helpers.images import TINY_CLIP, TINY_VIT
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import TINY, TINY_NLI, TINY_SCORER

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning"),
]

TWO_STEPS = FineTuner(max_steps=2, batch_size=4, learning_rate=1e-3, random_state=0)
PAIR_PARAMS = {
    "symmetric": True,
    "prompt": "Nobody: ",
    "max_length": 24,
    "missing": "empty",
    "store_weights_in_pickle": True,
}
TEXT_PARAMS = {
    "pooling": ["cls", "max"],
    "normalize": False,
    "truncate_dim": 40,
    "prompt": "Nobody: ",
    "max_length": 20,
    "long_text": "chunk",
    "store_weights_in_pickle": True,
}
IMAGE_PARAMS = {"normalize": True, "truncate_dim": 9, "store_weights_in_pickle": True}

# Add an estimator here, and every check of its kind runs on it.
EMBEDDERS = {
    "embedder": SentenceEmbedder(TINY),
    "embedder-all-params": SentenceEmbedder(TINY, **TEXT_PARAMS),
}
IMAGE_EMBEDDERS = {
    "image-embedder": ImageEmbedder(TINY_VIT),
    "image-embedder-all-params": ImageEmbedder(TINY_CLIP, **IMAGE_PARAMS),
}
CROSS_ENCODERS = {
    "scorer": CrossEncoderScorer(TINY_SCORER),
    "classifier": CrossEncoderClassifier(TINY_NLI),
    "tuned-scorer": CrossEncoderScorer(TINY_SCORER, fine_tuner=TWO_STEPS),
    "tuned-classifier": CrossEncoderClassifier(TINY_NLI, fine_tuner=TWO_STEPS),
    "scorer-all-params": CrossEncoderScorer(TINY_SCORER, **PAIR_PARAMS),
    "tuned-classifier-all-params": CrossEncoderClassifier(
        TINY_NLI, fine_tuner=TWO_STEPS, **PAIR_PARAMS
    ),
}


def list_cases():
    for estimators, checks in (
        (EMBEDDERS, [*SHARED_CHECKS, *EMBEDDING_CHECKS, *TEXT_CHECKS]),
        (IMAGE_EMBEDDERS, [*SHARED_CHECKS, *EMBEDDING_CHECKS]),
        (CROSS_ENCODERS, [*SHARED_CHECKS, *PAIR_CHECKS]),
    ):
        for name, estimator in estimators.items():
            for check in checks:
                yield pytest.param(estimator, check, id=f"{name}-{check.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(list_cases()))
def test_check(estimator, check, tmp_path):
    more = {"folder": tmp_path / "saved"} if "folder" in inspect.signature(check).parameters else {}
    with ends_within(120):
        check(clone(estimator), **more)


def break_estimator(base, method, change):
    """Return a subclass of an estimator whose method returns something else."""

    def changed(self, *args, **kwargs):
        return change(getattr(super(broken, self), method)(*args, **kwargs))

    broken = type(f"Broken{base.__name__}", (base,), {method: changed})
    broken.__init__ = base.__init__
    return broken


class KeepsFirstModel:
    def _load(self, **how):
        if not hasattr(self, "first_"):
            self.first_ = super()._load(**how)
        return self.first_


class KeepsFirstModelEmbedder(KeepsFirstModel, SentenceEmbedder):
    pass


class KeepsFirstModelScorer(KeepsFirstModel, CrossEncoderScorer):
    pass


class TakesEitherOrder(CrossEncoderScorer):
    def _validate_input(self, X, **how):
        return super()._validate_input([sorted(pair) for pair in X], **how)


class TakesMissingForEmpty(CrossEncoderScorer):
    def _check_missing(self, columns):
        columns.missing[:] = False


def print_and_return(rows):
    print("embedding")
    return rows


def draw_and_return(fitted):
    np.random.rand()  # noqa: NPY002, the global generator is what the check watches
    return fitted


BROKEN = [
    ("transform", lambda rows: np.sort(rows, axis=0), shared_checks.check_rows_keep_their_order),
    (
        "transform",
        lambda rows: rows - rows.mean(axis=0),
        shared_checks.check_rows_do_not_depend_on_neighbors,
    ),
    ("transform", print_and_return, shared_checks.check_nothing_is_printed),
    ("fit", draw_and_return, shared_checks.check_global_state_is_unchanged),
]


@pytest.mark.parametrize(
    "estimator",
    [SentenceEmbedder(TINY), CrossEncoderScorer(TINY_SCORER)],
    ids=["embedder", "scorer"],
)
@pytest.mark.parametrize(
    ("method", "change", "check"), BROKEN, ids=[check.__name__ for _, _, check in BROKEN]
)
def test_shared_check_finds_broken_estimator(estimator, method, change, check):
    name = data_for(estimator).output if method == "transform" else method
    broken = break_estimator(type(estimator), name, change)(estimator.model)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(broken)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (KeepsFirstModelEmbedder(TINY), shared_checks.check_new_model_is_used_by_next_fit),
        (KeepsFirstModelScorer(TINY_SCORER), shared_checks.check_new_model_is_used_by_next_fit),
        (TakesEitherOrder(TINY_SCORER), pair_checks.check_symmetric_averages_both_orders),
        (TakesMissingForEmpty(TINY_SCORER), pair_checks.check_missing_texts_follow_policy),
    ],
)
def test_check_finds_broken_estimator(broken, check):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(broken)
