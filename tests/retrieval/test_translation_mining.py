import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder, mine_translations
from sk_sentemb.exceptions import MissingTextWarning
from sk_sentemb.metrics import margin_scores
from tests.helpers.tiny_models import PROMPTED, PROMPTS, TINY

LEFT = [
    "This field is required.",
    "Enter a valid date.",
    "The two passwords do not match.",
    "Good morning, everybody!",
    "The ferry leaves at noon.",
]
RIGHT = [
    "Both passwords are different.",
    "Enter a date that is valid.",
    "The field must be filled in.",
    "At noon, the ferry departs.",
    "Requests are slow.",
]
EXPECTED = {(0, 2), (1, 1), (2, 0), (4, 3)}


class Embeddings:
    """An embedder that has the embedding of each text."""

    def __init__(self, **embeddings):
        self.embeddings = embeddings

    def transform(self, texts):
        return np.array([self.embeddings[text] for text in texts], dtype=np.float32)


def mine_by_hand(x, y, k, margin, threshold):
    """Return the pairs of the bitext mining example of sentence-transformers, score by score."""
    x, y = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (x, y))
    product = x @ y.T
    near = [np.argsort(-p, axis=1, kind="stable")[:, :k] for p in (product, product.T)]
    mean = [
        np.take_along_axis(p, n, axis=1).mean(axis=1)
        for p, n in zip((product, product.T), near, strict=True)
    ]
    candidates = []
    for i in range(len(x)):
        scores = [margin(product[i, j], (mean[0][i] + mean[1][j]) / 2) for j in near[0][i]]
        candidates.append((max(scores), i, near[0][i][np.argmax(scores)]))
    for j in range(len(y)):
        scores = [margin(product[i, j], (mean[0][i] + mean[1][j]) / 2) for i in near[1][j]]
        candidates.append((max(scores), near[1][j][np.argmax(scores)], j))
    seen_left, seen_right, pairs = set(), set(), []
    for score, i, j in sorted(candidates, key=lambda c: -c[0]):
        if score < threshold:
            break
        if i not in seen_left and j not in seen_right:
            seen_left.add(i)
            seen_right.add(j)
            pairs.append((score, i, j))
    return pairs


@pytest.mark.parametrize(
    ("margin", "function", "threshold"),
    [
        ("ratio", lambda a, b: a / b, 1.0),
        ("distance", lambda a, b: a - b, 0.01),
        ("absolute", lambda a, b: a, 0.5),
    ],
)
def test_pairs_and_scores_are_those_of_sentence_transformers(margin, function, threshold):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(60, 16)) + 1
    u, v = (common + rng.normal(size=(60, 16)) for _ in range(2))
    v = v[rng.permutation(60)[:50]]
    left, right = [f"l{i}" for i in range(60)], [f"r{i}" for i in range(50)]
    embedder = Embeddings(**dict(zip(left, u, strict=True)), **dict(zip(right, v, strict=True)))
    found = mine_translations(embedder, left, right, margin=margin, threshold=threshold)
    expected = mine_by_hand(u, v, 4, function, threshold)
    assert 10 < len(expected) < 50
    assert found[["left_row", "right_row"]].values.tolist() == [[i, j] for _, i, j in expected]
    np.testing.assert_allclose(found["score"], [score for score, _, _ in expected], rtol=1e-5)


def test_translations_are_found_with_texts_and_rows():
    found = mine_translations(SentenceEmbedder(), LEFT, RIGHT, threshold=1.2)
    assert set(zip(found["left_row"], found["right_row"], strict=True)) == EXPECTED
    assert found["left"].tolist() == [LEFT[i] for i in found["left_row"]]
    assert found["right"].tolist() == [RIGHT[i] for i in found["right_row"]]
    assert found["score"].is_monotonic_decreasing
    assert found.columns.tolist() == ["left", "right", "left_row", "right_row", "score"]
    assert found[["left_row", "right_row"]].dtypes.eq(np.int64).all()


def test_scores_are_those_of_margin_scores():
    embedder = SentenceEmbedder().fit(LEFT)
    found = mine_translations(embedder, LEFT, RIGHT, n_neighbors=2)
    scores = margin_scores(
        embedder.transform(LEFT),
        embedder.transform(RIGHT),
        n_neighbors=2,
        pairs=found[["left_row", "right_row"]].to_numpy(),
    )
    np.testing.assert_allclose(found["score"], scores, rtol=1e-6)


def test_strategies_differ_in_what_they_keep():
    # The embedding of b is near that of z, which is nearer to a.
    embedder = Embeddings(a=[1, 0.05, 0], b=[0.8, 0.5, 0.2], z=[1, 0, 0], y=[0, 0.1, 1])
    mine = {
        strategy: mine_translations(
            embedder, ["a", "b"], ["z", "y"], strategy=strategy, margin="absolute"
        )[["left", "right"]].values.tolist()
        for strategy in ("forward", "backward", "mutual", "max")
    }
    assert mine["forward"] == [["a", "z"], ["b", "z"]]
    assert mine["backward"] == [["a", "z"], ["b", "y"]]
    assert mine["mutual"] == [["a", "z"]]
    assert mine["max"] == [["a", "z"], ["b", "y"]]


def test_each_distinct_text_counts_once_by_its_first_row():
    found = mine_translations(SentenceEmbedder(), LEFT * 3, [RIGHT[0], *RIGHT], threshold=1.2)
    pairs = set(zip(found["left_row"], found["right_row"], strict=True))
    assert pairs == {(i, j + (j > 0)) for i, j in EXPECTED}
    once = mine_translations(SentenceEmbedder(), LEFT, RIGHT, threshold=1.2)
    np.testing.assert_allclose(found["score"], once["score"], rtol=1e-6)


def test_missing_texts_are_left_out_with_their_number():
    left = [None, *LEFT[:2], float("nan"), *LEFT[2:]]
    with pytest.warns(MissingTextWarning, match=r"^2 of 7 rows of left have no text") as record:
        found = mine_translations(SentenceEmbedder(), left, pd.Series(RIGHT), threshold=1.2)
    assert len(record) == 1
    assert record[0].filename == __file__
    rows = [1, 2, 4, 5, 6]
    pairs = set(zip(found["left_row"], found["right_row"], strict=True))
    assert pairs == {(rows[i], j) for i, j in EXPECTED}


def test_embeddings_of_zeros_are_left_out_with_their_number():
    embedder = Embeddings(a=[1, 0], b=[0, 0], c=[0, 1], z=[1, 0.1], y=[0.1, 1])
    with pytest.warns(MissingTextWarning, match="1 of 3 distinct texts of left have an embedding"):
        found = mine_translations(embedder, ["b", "a", "b", "c"], ["y", "z"])
    assert found[["left", "right", "left_row", "right_row"]].values.tolist() == [
        ["a", "z", 1, 1],
        ["c", "y", 3, 0],
    ]
    with pytest.raises(ValueError, match="embeddings of all 1 texts of right are zero"):
        mine_translations(embedder, ["a"], ["b"])


def test_one_text_on_a_side_and_more_neighbors_than_texts():
    found = mine_translations(SentenceEmbedder(), LEFT, RIGHT[:1], n_neighbors=100)
    assert found[["left_row", "right_row"]].values.tolist() == [[2, 0]]
    found = mine_translations(SentenceEmbedder(), LEFT[:1], LEFT[:1])
    assert found["score"].tolist() == pytest.approx([1])


def test_no_pair_reaches_the_threshold():
    found = mine_translations(SentenceEmbedder(TINY), LEFT, RIGHT, threshold=100)
    assert len(found) == 0
    assert found["left_row"].dtype == np.int64
    assert (
        found["left"].dtype == mine_translations(SentenceEmbedder(TINY), LEFT, RIGHT)["left"].dtype
    )


def test_a_fitted_embedder_is_used_as_it_is():
    lsa = make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0))
    lsa.fit([*LEFT, *RIGHT, "Words of another text."])
    vocabulary = lsa[0].vocabulary_
    found = mine_translations(lsa, LEFT, RIGHT, threshold=1)
    assert lsa[0].vocabulary_ is vocabulary
    assert (4, 3) in set(zip(found["left_row"], found["right_row"], strict=True))


def test_an_unfitted_embedder_stays_unfitted():
    embedder = SentenceEmbedder(TINY)
    mine_translations(embedder, LEFT, RIGHT)
    assert not hasattr(embedder, "encoder_")
    assert embedder.prompt is None


@pytest.mark.parametrize(
    ("prompt", "parameters", "expected"),
    [
        ("auto", {}, PROMPTS["query"]),
        ("auto", {"prompt": "both: "}, "both: "),
        ("auto", {"prompt_name": "document"}, PROMPTS["document"]),
        (None, {}, ""),
        ("document", {}, PROMPTS["document"]),
        ("title: ", {}, "title: "),
    ],
)
def test_both_sides_get_one_prompt(prompt, parameters, expected):
    found = mine_translations(SentenceEmbedder(PROMPTED, **parameters), LEFT, RIGHT, prompt=prompt)
    embedder = SentenceEmbedder(PROMPTED, prompt=expected)
    by_hand = mine_translations(embedder, LEFT, RIGHT)
    pd.testing.assert_frame_equal(found, by_hand)


def test_the_prompt_is_logged(caplog):
    caplog.set_level(logging.INFO)
    mine_translations(SentenceEmbedder(PROMPTED), LEFT, RIGHT)
    assert f"texts are embedded with the prompt {PROMPTS['query']!r}." in caplog.messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"left": []}, "left has no texts, in 0 rows"),
        ({"right": [None]}, "right has no texts, in 1 rows"),
        ({"left": [["a", "b"]]}, "left has 2 columns"),
        ({"margin": "cosine"}, "margin='cosine': pass 'ratio'"),
        ({"n_neighbors": 0}, "n_neighbors=0: pass an integer"),
        ({"strategy": "best"}, "'strategy' parameter of mine_translations must be a str among"),
        ({"threshold": "high"}, "'threshold' parameter"),
        (
            {"embedder": TfidfVectorizer(), "prompt": "query: "},
            "only a SentenceEmbedder has prompts",
        ),
        ({"embedder": SentenceEmbedder(TINY, fine_tuner=FineTuner())}, "Fit it first"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    arguments = {"embedder": SentenceEmbedder(TINY), "left": LEFT, "right": RIGHT, **arguments}
    with pytest.raises(ValueError, match=message):
        mine_translations(**arguments)


def test_sparse_embeddings_are_refused():
    with pytest.raises(TypeError, match="TruncatedSVD"):
        mine_translations(TfidfVectorizer(), LEFT, RIGHT)
