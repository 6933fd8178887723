import pickle
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from sk_sentemb.retrieval.lexical import fit_lexical

DOCUMENTS = ["a ferry to the island", "", "market prices of fish", "fish and fish on the ferry"]
QUERIES = ["Fish!", "ferry fish", "unheard words", "the", ""]


def bm25_by_hand(queries, documents, k1=1.5, b=0.75):
    """Compute Lucene's BM25 from word counts."""
    stop_words = ["the", "to", "of", "and", "on", "a"]
    counter = CountVectorizer(stop_words=stop_words).fit(documents)
    counts = counter.transform(documents).toarray()
    present = (counts > 0).sum(axis=0)
    idf = np.log(1 + (len(documents) - present + 0.5) / (present + 0.5))
    lengths = counts.sum(axis=1, keepdims=True)
    weight = counts / (counts + k1 * (1 - b + b * lengths / lengths.mean()))
    return counter.transform(queries).toarray() @ (idf * weight).T


def test_bm25_equals_its_formula():
    found = fit_lexical("bm25", DOCUMENTS).compute_scores(QUERIES)
    np.testing.assert_allclose(found, bm25_by_hand(QUERIES, DOCUMENTS), atol=1e-6)
    assert found.dtype == np.float32
    assert not found[2:].any()


def test_vectorizer_gives_cosines():
    vectorizer = TfidfVectorizer()
    found = fit_lexical(vectorizer, DOCUMENTS).compute_scores(QUERIES)
    fitted = TfidfVectorizer().fit(DOCUMENTS)
    expected = (fitted.transform(QUERIES) @ fitted.transform(DOCUMENTS).T).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not hasattr(vectorizer, "vocabulary_")


def test_none_scores_nothing():
    assert fit_lexical(None, DOCUMENTS) is None


@pytest.mark.parametrize("documents", [["", ""], ["the of", "a"]])
def test_corpus_without_terms_is_an_error(documents):
    with pytest.raises(ValueError, match="no term for BM25"):
        fit_lexical("bm25", documents)


@pytest.mark.parametrize("lexical", ["bm25", TfidfVectorizer()], ids=["bm25", "tfidf"])
def test_pickles_score_alike(lexical):
    scorer = fit_lexical(lexical, DOCUMENTS)
    loaded = pickle.loads(pickle.dumps(scorer))
    np.testing.assert_array_equal(loaded.compute_scores(QUERIES), scorer.compute_scores(QUERIES))


def test_absent_library_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ImportError, match=r"sk-sentemb\[search\]"):
        fit_lexical("bm25", DOCUMENTS)
