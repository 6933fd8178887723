import itertools

import pytest

from tests.helpers.vision_checkpoints import VISION, make_clip

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(7_000)


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip", layout="old", seed=next(_seeds))


@pytest.fixture
def vit(tmp_path):
    return VISION["vit"](tmp_path / "vit", seed=next(_seeds))
