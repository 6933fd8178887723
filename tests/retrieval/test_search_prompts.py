import logging
import shutil

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SemanticIndex, SentenceEmbedder, TextCleaner
from sk_sentemb.exceptions import PromptWarning
from tests.helpers.tiny_models import PROMPTED, PROMPTS, TINY, assert_same_rows
from tests.retrieval.index_data import QUERIES, TEXTS


def embed(texts, prompt, model=TINY):
    return SentenceEmbedder(model, prompt=prompt).fit_transform(texts)


def assert_prompts(index, query, document):
    assert (index.query_prompt_, index.document_prompt_) == (query, document)
    assert_same_rows(index.embeddings_, embed(TEXTS, document))
    distances, rows = index.kneighbors(QUERIES, 5)
    expected = 1 - embed(QUERIES, query) @ embed(TEXTS, document).T
    np.testing.assert_allclose(distances, np.take_along_axis(expected, rows, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "prompts", "query", "document"),
    [
        (TINY, {}, "", ""),
        (PROMPTED, {}, PROMPTS["query"], PROMPTS["document"]),
        (PROMPTED, {"query_prompt": None, "document_prompt": None}, "", ""),
        (PROMPTED, {"query_prompt": "document"}, PROMPTS["document"], PROMPTS["document"]),
        (TINY, {"query_prompt": "ask: ", "document_prompt": "read: "}, "ask: ", "read: "),
    ],
)
def test_each_side_has_its_prompt(model, prompts, query, document):
    assert_prompts(SemanticIndex(SentenceEmbedder(model), **prompts).fit(TEXTS), query, document)


@pytest.mark.parametrize(
    ("name", "is_e5"),
    [
        ("multilingual-e5-small", True),
        ("e5-base-v2", True),
        ("multilingual-e5-large-instruct", False),
        ("e5-mistral-7b-instruct", False),
        ("bge5-small", False),
        ("face5", False),
    ],
)
def test_e5_models_are_known_by_their_name(name, is_e5, tmp_path):
    folder = shutil.copytree(TINY, tmp_path / name)
    index = SemanticIndex(SentenceEmbedder(folder)).fit(TEXTS)
    assert_prompts(index, *(("query: ", "passage: ") if is_e5 else ("", "")))


def test_a_prompt_of_the_embedder_is_kept():
    index = SemanticIndex(SentenceEmbedder(PROMPTED, prompt="all: ")).fit(TEXTS)
    assert_prompts(index, "all: ", "all: ")
    index = SemanticIndex(SentenceEmbedder(PROMPTED, prompt_name="query")).fit(TEXTS)
    assert_prompts(index, PROMPTS["query"], PROMPTS["query"])


def test_the_chosen_prompts_are_logged_once(caplog):
    with caplog.at_level(logging.INFO, logger="sk_sentemb"):
        SemanticIndex(SentenceEmbedder(PROMPTED)).fit(TEXTS).search(QUERIES)
        SemanticIndex(SentenceEmbedder(TINY)).fit(TEXTS).search(QUERIES)
    assert caplog.messages == [
        "queries are embedded with the prompt 'ferry: ', documents with 'market: '."
    ]


def test_a_literal_prompt_that_looks_like_a_name_is_reported():
    with pytest.warns(PromptWarning, match="its end is joined to the first word"):
        SemanticIndex(SentenceEmbedder(TINY), query_prompt="search").fit(TEXTS)


def test_the_embedder_of_the_caller_is_left_alone():
    embedder = SentenceEmbedder(PROMPTED)
    SemanticIndex(embedder, n_jobs=1, verbose=0).fit(TEXTS)
    assert vars(embedder) == vars(SentenceEmbedder(PROMPTED))


def test_pipelines_around_an_embedder_have_prompts():
    pipeline = make_pipeline(TextCleaner(), SentenceEmbedder(PROMPTED), PCA(3, random_state=0))
    index = SemanticIndex(pipeline, metric="dot").fit(TEXTS)
    pca = PCA(3, random_state=0)
    expected = pca.fit_transform(embed(TEXTS, PROMPTS["document"]))
    np.testing.assert_allclose(index.embeddings_, expected, atol=1e-5)
    queries = pca.transform(embed(QUERIES, PROMPTS["query"]))
    distances, rows = index.kneighbors(QUERIES, 5)
    expected = np.take_along_axis(-queries @ expected.T, rows, axis=1)
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    assert pipeline[1].prompt_name is None


def test_prompts_of_embedders_without_any_are_refused():
    embedder = make_pipeline(TfidfVectorizer(), TruncatedSVD(2))
    with pytest.raises(
        ValueError, match="query_prompt='q: ', but only a SentenceEmbedder has prompts"
    ):
        SemanticIndex(embedder, query_prompt="q: ").fit(TEXTS)
    assert SemanticIndex(embedder, query_prompt=None).fit(TEXTS).query_prompt_ is None


def test_fine_tuned_embedders_keep_their_weights():
    tuner = FineTuner(max_steps=2, learning_rate=1e-2, warmup_ratio=0, random_state=0)
    embedder = SentenceEmbedder(TINY, fine_tuner=tuner)
    with pytest.raises(ValueError, match="has a fine_tuner and is not fitted"):
        SemanticIndex(embedder).fit(TEXTS)
    embedder.fit(TEXTS, [0, 1, 0, 1, 0])
    expected = embedder.transform(TEXTS)
    assert np.abs(expected - embed(TEXTS, "")).max() > 1e-4
    for given in (
        embedder,
        FrozenEstimator(embedder),
        clone(SemanticIndex(FrozenEstimator(embedder))).embedder,
    ):
        assert_same_rows(SemanticIndex(given).fit(TEXTS).embeddings_, expected)
