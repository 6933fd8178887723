import warnings

import numpy as np

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache.namespace import Namespace
from sk_sentemb.encoder import Embedded
from sk_sentemb.exceptions import SentenceEmbeddingWarning
from tests.helpers.tiny_models import (
    TINY,
)

TEXTS = ["the ferry passed the pier", "Harbour", "Nobody remembers the storm?"]


# Each question mark is one token.
MARKS = "?" * 30


def embed(X, model=TINY, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SentenceEmbeddingWarning)
        return SentenceEmbedder(model, **params).fit_transform(X)


def n_embedded_by(cache, action):
    before = cache.statistics().misses
    action()
    return cache.statistics().misses - before


SPACE = Namespace(bytes(range(32)), model="some/model", fingerprint="f00d", dim=4)


def records_of(texts, space=SPACE):
    vectors = np.array([[len(text)] * space.dim for text in texts], dtype=np.float32)
    packed = space.serialize(Embedded(vectors, np.zeros(len(texts), dtype=bool)))
    return dict(zip(space.keys(texts), packed, strict=True))
