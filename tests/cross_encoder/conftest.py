"""Fixtures of the tests in this folder."""

import pytest

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer
from tests.checks.data import PAIRS
from tests.cross_encoder.data import _seeds
from tests.cross_encoder.training_data import NO_DROPOUT, Spy
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import NLI, TINY_NLI, TINY_SCORER


@pytest.fixture(autouse=True)
def a_time_limit():
    with ends_within(120):
        yield


@pytest.fixture
def model(tmp_path):
    return make_cross_encoder(tmp_path / "model", seed=next(_seeds))


@pytest.fixture(scope="module")
def scorer():
    return CrossEncoderScorer(TINY_SCORER).fit(PAIRS)


@pytest.fixture(scope="module")
def classifier():
    return CrossEncoderClassifier(TINY_NLI).fit(PAIRS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A scorer in which two trainings see the same vectors."""
    return make_cross_encoder(tmp_path_factory.mktemp("plain") / "model", **NO_DROPOUT)


@pytest.fixture(scope="module")
def plain_nli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "model"
    return make_cross_encoder(folder, labels=NLI, seed=24, **NO_DROPOUT)


@pytest.fixture
def spied():
    Spy.seen.clear()
    return Spy.seen
