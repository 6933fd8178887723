"""Matrices of similarities, by what is in them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.display import SimilarityDisplay
from tests.helpers.tiny_models import TINY

TEXTS = [
    "My card is lost.",
    "What is the exchange rate?",
    "My card was stolen.",
    "How much is a euro in pounds?",
    "Somebody took my card.",
    "Which rate do you use to exchange money?",
]


@pytest.fixture
def embeddings(minilm):
    return SentenceEmbedder(minilm).fit_transform(TEXTS)


def names_of(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_similar_rows_are_next_to_each_other(minilm, embeddings):
    embedder = SentenceEmbedder(minilm).fit(TEXTS)
    display = SimilarityDisplay.from_estimator(embedder, TEXTS)
    about_cards = ["card" in name for name in names_of(display)]
    assert about_cards in ([True] * 3 + [False] * 3, [False] * 3 + [True] * 3)
    expected = cosine_similarity(embeddings)
    order = display.order_
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(display.image_.get_array(), expected[order][:, order], atol=1e-5)
    assert names_of(display) == [TEXTS[row] for row in order]
    assert display.colorbar_.ax.get_ylabel() == "similarity"
    pipeline = make_pipeline(embedder, KMeans(2, n_init=1)).fit(TEXTS)
    again = SimilarityDisplay.from_estimator(pipeline, np.array(TEXTS)[:, np.newaxis])
    np.testing.assert_allclose(again.similarity, display.similarity, atol=1e-5)
    assert names_of(again) == names_of(display)


def test_the_order_of_the_rows_can_be_kept(embeddings):
    display = SimilarityDisplay.from_embeddings(embeddings, texts=TEXTS, order=None)
    assert names_of(display)[1] == TEXTS[1]
    assert display.order_.tolist() == list(range(6))


def test_values_are_in_the_cells_of_small_matrices(embeddings):
    display = SimilarityDisplay.from_embeddings(embeddings, order=None)
    shown = [text.get_text() for text in display.values_]
    assert shown == [f"{value:.2f}" for value in cosine_similarity(embeddings).ravel()]
    assert SimilarityDisplay.from_embeddings(embeddings, values=False).values_ == []
    many = np.random.default_rng(0).normal(size=(13, 4))
    assert SimilarityDisplay.from_embeddings(many).values_ == []
    assert len(SimilarityDisplay.from_embeddings(many, values=True).values_) == 169


def test_rows_of_a_class_are_together():
    banking = load_banking77_sample()
    intents = banking.target_names[banking.target].astype(object)
    intents[:20] = None
    embedder = SentenceEmbedder(TINY).fit(banking.data)
    display = SimilarityDisplay.from_estimator(embedder, banking.data, intents)
    ordered = intents[display.order_]
    assert sorted(display.order_) == list(range(500))
    assert sum(ordered[1:] != ordered[:-1]) == 10
    assert set(names_of(display)) == {*banking.target_names, "no label"}
    assert len(display.ax_.lines) == 2 * 10


def test_names_are_shortened_and_do_not_cover_each_other(minilm):
    long = [f"{text} {'This is a long explanation. ' * 5}" for text in TEXTS]
    embedder = SentenceEmbedder(minilm).fit(long)
    display = SimilarityDisplay.from_estimator(embedder, long, text_length=25)
    assert all(len(name) <= 25 and name.endswith("…") for name in names_of(display))
    many = np.random.default_rng(0).normal(size=(900, 8))
    display = SimilarityDisplay.from_embeddings(many, [f"class {i % 300}" for i in range(900)])
    display.figure_.draw_without_rendering()
    boxes = [label.get_window_extent() for label in display.ax_.get_yticklabels()]
    assert len(boxes) > 30
    assert not any(a.overlaps(b) for a, b in zip(boxes[1:], boxes[:-1], strict=True))


def test_names_are_within_the_figure(minilm):
    display = SimilarityDisplay.from_estimator(SentenceEmbedder(minilm).fit(TEXTS), TEXTS)
    display.figure_.draw_without_rendering()
    width, height = display.figure_.bbox.size
    for label in display.ax_.get_yticklabels():
        box = label.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height


def test_texts_with_dollar_signs_are_no_formulas():
    texts = ["$5_{a} or $6^{", "$_$"]
    display = SimilarityDisplay(np.eye(2), texts=texts).plot(order=None)
    display.figure_.draw_without_rendering()
    assert names_of(display) == texts


def test_any_matrix_of_scores(embeddings):
    scores = np.array([[3.0, -1], [0.5, 2]])
    _, ax = plt.subplots()
    display = SimilarityDisplay(scores).plot(ax=ax, order=None, cmap="magma", colorbar=False)
    assert display.ax_ is ax
    assert display.colorbar_ is None
    assert display.image_.get_cmap().name == "magma"
    np.testing.assert_array_equal(display.image_.get_array(), scores)
    # The colors cover the similarities of different rows.
    assert display.image_.get_clim() == (-1, 0.5)
    assert SimilarityDisplay(scores).plot(vmin=-2, vmax=4).image_.get_clim() == (-2, 4)
    assert len(SimilarityDisplay(np.ones((1, 1))).plot().order_) == 1


def test_errors_say_what_to_pass(embeddings):
    plot = SimilarityDisplay.from_embeddings
    with pytest.raises(ValueError, match=r"must be square, got an array of shape \(2, 3\)"):
        SimilarityDisplay(np.ones((2, 3))).plot()
    with pytest.raises(ValueError, match="There are 5 texts, but 6 rows"):
        plot(embeddings, texts=TEXTS[1:])
    with pytest.raises(ValueError, match="y has the shape"):
        plot(embeddings, TEXTS[1:])
    with pytest.raises(ValueError, match="order must be"):
        plot(embeddings, order="random")
    with pytest.raises(ValueError, match="embeddings contains NaN"):
        plot(np.full((3, 2), np.nan))
    with pytest.raises(AttributeError, match="'colour'"):
        plot(embeddings, colour="red")
