"""Parts of an index without an index: numbers that tell which save they come from."""

import numpy as np
import pandas as pd

from sk_sentemb import SentenceEmbedder
from sk_sentemb.retrieval.backends import open_backend
from sk_sentemb.retrieval.lazy_documents import LazyDocuments
from sk_sentemb.retrieval.storage import IndexParts
from tests.helpers.tiny_models import TINY


def make_parts(number, *, n=20, embedder=None, **columns):
    """Return parts that hold a number in each of their files."""
    documents = pd.DataFrame(
        {
            "id": [f"{number}-{i}" for i in range(n)],
            "text": [f"ferry {number} of {i}" for i in range(n)],
            **columns,
        }
    )
    embeddings = np.full((n, 4), number, dtype=np.float32)
    backend = open_backend("usearch:f32", 4)
    backend.add(np.arange(n)[:50] + 10_000 * number, embeddings[:50])
    return IndexParts(
        attributes={"number": number, "recall": None},
        arrays={"embeddings": embeddings},
        documents=LazyDocuments(documents),
        backend=backend,
        embedder=SentenceEmbedder(TINY).fit([""]) if embedder is None else embedder,
    )


def numbers_in_backend(parts):
    """Return the numbers of the saves that the keys of a backend come from."""
    keys = parts.backend.search(np.ones((1, 4), np.float32), 10)
    return set((keys[keys >= 0] // 10_000).tolist())


def assert_same_parts(found, expected):
    assert found.attributes == expected.attributes
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    pd.testing.assert_frame_equal(found.documents.frame, expected.documents.frame)
    assert numbers_in_backend(found) == numbers_in_backend(expected)
    assert found.embedder.fingerprint_ == expected.embedder.fingerprint_
