"""Parts of an index without an index: numbers that tell which save they come from."""

import numpy as np
import pandas as pd

from sk_sentemb import SentenceEmbedder
from sk_sentemb.retrieval.backends import Backend
from sk_sentemb.retrieval.storage import IndexParts, load_parts
from tests.helpers.tiny_models import TINY


class FlatBackend(Backend):
    """A backend of a few lines, whose file can be told from that of another save."""

    name = "flat"

    def __init__(self, keys):
        self.keys = keys

    def add(self, keys, embeddings):
        self.keys = np.append(self.keys, keys)

    def remove(self, keys):
        return False

    def search(self, queries, n_candidates):
        return np.tile(self.keys[:n_candidates], (len(queries), 1))

    def save(self, folder):
        np.save(folder / "keys.npy", self.keys)

    @classmethod
    def load(cls, folder, **options):
        return cls(np.load(folder / "keys.npy"))


def make_parts(number, *, n=20, embedder=None, **columns):
    """Return parts that hold a number in each of their files."""
    documents = pd.DataFrame(
        {
            "id": [f"{number}-{i}" for i in range(n)],
            "text": [f"ferry {number} of {i}" for i in range(n)],
            **columns,
        }
    )
    return IndexParts(
        attributes={"number": number, "recall": None},
        embeddings=np.full((n, 4), number, dtype=np.float32),
        documents=documents,
        backend=FlatBackend(np.full(n, number)),
        embedder=SentenceEmbedder(TINY).fit([""]) if embedder is None else embedder,
    )


def load(folder, **options):
    return load_parts(
        folder, load_backend=lambda name, path: {"flat": FlatBackend}[name].load(path), **options
    )


def assert_same_parts(found, expected):
    assert found.attributes == expected.attributes
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    pd.testing.assert_frame_equal(found.documents, expected.documents)
    np.testing.assert_array_equal(found.backend.keys, expected.backend.keys)
    assert found.embedder.fingerprint_ == expected.embedder.fingerprint_
