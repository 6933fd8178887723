"""Scores of documents by the terms that they share with a query: BM25, or a vectorizer."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.preprocessing import normalize


class LexicalScorer(Protocol):
    """Scores every document of a corpus for each query, from 0 for no common term."""

    def compute_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Return float32 scores of shape (n_queries, n_documents)."""


def fit_lexical(lexical: Any, documents: Sequence[str]) -> LexicalScorer | None:
    """Return a scorer of these documents for the parameter `lexical`, or None for None."""
    if lexical is None:
        return None
    if isinstance(lexical, str):
        return BM25Scorer(documents)
    return VectorizerScorer(lexical, documents)


class BM25Scorer:
    """BM25 by bm25s: lower case, words of two characters and more, no English stop words."""

    def __init__(self, documents: Sequence[str]) -> None:
        bm25s = _import_bm25s()
        tokens = _tokenize(bm25s, documents)
        if not any(tokens):
            raise ValueError(
                "the corpus has no term for BM25: a term is a word of two characters or more that is "
                "not an English stop word. Pass lexical=None, or a vectorizer."
            )
        self._n_documents = len(documents)
        self._index = bm25s.BM25()
        self._index.index(tokens, show_progress=False)

    def compute_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Return float32 scores of shape (n_queries, n_documents)."""
        scores = np.zeros((len(queries), self._n_documents), dtype=np.float32)
        for row, terms in zip(scores, _tokenize(_import_bm25s(), queries), strict=True):
            if terms:
                row[:] = self._index.get_scores(terms)
        return scores


class VectorizerScorer:
    """Cosine similarities of the rows of a vectorizer, such as `TfidfVectorizer`."""

    def __init__(self, vectorizer: Any, documents: Sequence[str]) -> None:
        self._vectorizer = clone(vectorizer)
        self._documents = self._normalize(self._vectorizer.fit_transform(list(documents)))

    def compute_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Return float32 scores of shape (n_queries, n_documents)."""
        rows = self._normalize(self._vectorizer.transform(list(queries)))
        scores = rows @ self._documents.T
        return np.asarray(scores.todense() if sp.issparse(scores) else scores, dtype=np.float32)

    @staticmethod
    def _normalize(rows: Any) -> Any:
        rows = rows if sp.issparse(rows) else np.asarray(rows)
        return normalize(rows.astype(np.float32))


def _tokenize(bm25s: ModuleType, texts: Sequence[str]) -> list[list[str]]:
    tokenize: Callable[..., Any] = bm25s.tokenize
    return tokenize(list(texts), return_ids=False, show_progress=False)


def _import_bm25s() -> ModuleType:
    try:
        import bm25s
    except ImportError as error:
        raise ImportError(
            'lexical="bm25" needs bm25s: pip install "sk-sentemb[search]". Or pass a vectorizer, such '
            "as TfidfVectorizer(), or None."
        ) from error
    return bm25s
