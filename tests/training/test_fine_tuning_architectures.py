"""Every architecture learns, and sentence-transformers reads what it has learnt."""

from functools import partial

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from sk_sentemb import FineTuner, SentenceEmbedder
from tests.helpers.checkpoints import BACKBONES, TEXTS, make_checkpoint, make_static_checkpoint
from tests.helpers.tiny_models import assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

X = [text for text in TEXTS if text]
Y = np.arange(len(X)) % 2
MAKERS = {
    **{kind: partial(make_checkpoint, backbone=kind) for kind in BACKBONES},
    "dense": partial(make_checkpoint, dense={"out_features": 24}),
    "layer norm": partial(make_checkpoint, layer_norm=True),
    "bfloat16": partial(make_checkpoint, dtype="bfloat16"),
    "static": make_static_checkpoint,
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_learns_and_is_saved(name, tmp_path):
    model = MAKERS[name](tmp_path / "model")
    tuner = FineTuner(epochs=2, batch_size=6, learning_rate=1e-3, random_state=0)
    embedder = SentenceEmbedder(model, fine_tuner=tuner).fit(X, Y)
    assert np.abs(embedder.transform(X) - SentenceEmbedder(model).fit_transform(X)).max() > 1e-3
    embedder.save_pretrained(tmp_path / "tuned")
    expected = SentenceTransformer(str(tmp_path / "tuned"), device="cpu").encode(X)
    assert_same_rows(embedder.transform(X), expected)
    assert_same_rows(SentenceEmbedder(tmp_path / "tuned").fit_transform(X), embedder.transform(X))
