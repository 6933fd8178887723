import numpy as np
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.metrics import margin_scores, translation_accuracy

MARGINS = {
    "ratio": lambda a, b: a / b,
    "distance": lambda a, b: a - b,
    "absolute": lambda a, b: a,
}


def score_by_double_loop(u, v, n_neighbors, margin):
    """Return the scores of all pairs, by the formula of Artetxe and Schwenk."""
    u, v = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u.astype(float), v.astype(float))
    )
    scores = np.empty((len(u), len(v)))
    for i, x in enumerate(u):
        for j, y in enumerate(v):
            of_x = sorted((x @ z for z in v), reverse=True)[:n_neighbors]
            of_y = sorted((y @ z for z in u), reverse=True)[:n_neighbors]
            mean = sum(of_x) / (2 * len(of_x)) + sum(of_y) / (2 * len(of_y))
            scores[i, j] = MARGINS[margin](x @ y, mean)
    return scores


@pytest.fixture
def two_languages(rng):
    """Embeddings that agree but for noise, with a direction that all of them share."""
    common = rng.normal(size=(40, 12)) + 2
    return common + rng.normal(size=(40, 12)), common + rng.normal(size=(40, 12))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("n_neighbors", [1, 4, 100])
def test_margin_scores_are_those_of_a_double_loop(two_languages, margin, n_neighbors):
    u, v = two_languages
    v = v[:25]  # fewer rows on one side, and fewer than 100 neighbors
    pairs = np.argwhere(np.ones((len(u), len(v))))
    found = margin_scores(u, v, n_neighbors, margin, pairs=pairs)
    expected = score_by_double_loop(u, v, n_neighbors, margin)
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-5, atol=1e-6)


def test_margin_scores_pair_equal_rows_by_default(two_languages):
    u, v = two_languages
    pairs = np.stack([np.arange(40)] * 2, axis=1)
    np.testing.assert_array_equal(margin_scores(u, v), margin_scores(u, v, pairs=pairs))


def test_margin_scores_do_not_depend_on_the_scale(two_languages):
    u, v = two_languages
    np.testing.assert_allclose(margin_scores(1e30 * u, 1e-30 * v), margin_scores(u, v), rtol=1e-5)


def test_the_sign_of_a_ratio_is_that_of_the_similarity():
    u, v = np.eye(2), np.array([[0.9, -0.95], [-0.95, 0.9]])
    assert (margin_scores(u, v) > 0).all()
    assert (margin_scores(u, v[::-1]) < 0).all()


def test_margin_scores_of_one_row():
    assert margin_scores([[3.0, 4.0]], [[4.0, 3.0]]).tolist() == pytest.approx([1])
    assert margin_scores([[3.0, 4.0]], [[4.0, 3.0]], margin="distance")[0] == pytest.approx(0)
    assert margin_scores([[3.0, 4.0]], [[4.0, 3.0]], margin="absolute")[0] == pytest.approx(0.96)


def test_margin_scores_of_no_pairs():
    assert margin_scores([[1.0]], [[1.0]], pairs=[]).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"u": [[1.0, 0], [0, 0]], "v": np.eye(2)}, r"row 1 \(counting from 0\) of u is zero"),
        ({"u": np.eye(2), "v": [[0.0, 0], [0, 1]]}, r"row 0 \(counting from 0\) of v is zero"),
        ({"u": np.eye(2), "v": np.eye(3)}, "u has 2 dimensions, but v has 3"),
        ({"u": np.eye(2), "v": np.eye(2)[:1]}, "u has 2 rows, but v has 1. Pass pairs"),
        ({"u": np.eye(2), "v": [[np.nan, 1], [0, 1]]}, "v contains NaN"),
        ({"u": np.eye(2), "v": np.empty((0, 2))}, "0 sample"),
        (
            {"u": np.eye(2), "v": np.eye(2), "margin": "ratios"},
            "margin='ratios': pass 'ratio', 'dist",
        ),
        ({"u": np.eye(2), "v": np.eye(2), "margin": None}, "margin=None: pass"),
        ({"u": np.eye(2), "v": np.eye(2), "n_neighbors": 0}, "n_neighbors=0: pass an integer"),
        ({"u": np.eye(2), "v": np.eye(2), "n_neighbors": 2.5}, "n_neighbors=2.5: pass an integer"),
        (
            {"u": np.eye(2), "v": np.eye(2), "pairs": [[0, 2]]},
            r"row 0 of pairs is \[0, 2\], but u has 2",
        ),
        ({"u": np.eye(2), "v": np.eye(2), "pairs": [[-1, 0]]}, r"row 0 of pairs is \[-1, 0\]"),
        ({"u": np.eye(2), "v": np.eye(2), "pairs": [0, 1]}, r"pairs has the shape \(2,\)"),
        ({"u": np.eye(2), "v": np.eye(2), "pairs": [[0.0, 1.0]]}, "the dtype float64"),
    ],
)
def test_bad_arguments_of_margin_scores_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        margin_scores(**arguments)


@pytest.mark.parametrize("margin", MARGINS)
def test_accuracy_is_that_of_a_double_loop(two_languages, margin):
    u, v = two_languages
    scores = score_by_double_loop(u, v, 4, margin)
    cosines = score_by_double_loop(u, v, 4, "absolute")
    hits = []
    for matrix, cosine in ((scores, cosines), (scores.T, cosines.T)):
        nearest = np.argsort(-cosine, axis=1)[:, :4]
        best = nearest[np.arange(40), np.take_along_axis(matrix, nearest, axis=1).argmax(axis=1)]
        hits.append((best == np.arange(40)).mean())
    accuracy = translation_accuracy(u, v, margin=margin)
    assert accuracy == pytest.approx(tuple(hits))
    assert 0.1 < accuracy.u_to_v < 0.95  # neither all nor none
    assert (accuracy.u_to_v, accuracy.v_to_u) == tuple(accuracy)


def test_accuracy_is_that_of_sentence_transformers(minilm_folder):
    st = pytest.importorskip("sentence_transformers")
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    english = [
        "This field is required.",
        "Enter a valid date.",
        "Enter a valid date.",
        "The two passwords do not match.",
        "Good morning, everybody!",
        "The ferry leaves at noon.",
    ]
    german = [
        "Dieses Feld ist zwingend erforderlich.",
        "Ein gültiges Datum eingeben.",
        "Bitte ein gültiges Datum eingeben.",
        "Die beiden Passwörter sind nicht identisch.",
        "Guten Morgen zusammen!",
        "Guten Morgen zusammen!",
    ]
    evaluator = evaluation.TranslationEvaluator(english, german, write_csv=False)
    model = st.SentenceTransformer(str(minilm_folder), device="cpu")
    expected = evaluator(model)
    embedder = SentenceEmbedder().fit(english)
    accuracy = translation_accuracy(
        embedder.transform(english), embedder.transform(german), u_texts=english, v_texts=german
    )
    assert accuracy == pytest.approx((expected["src2trg_accuracy"], expected["trg2src_accuracy"]))
    assert min(accuracy) > 0


def test_equal_texts_are_the_same_translation():
    u = np.eye(4)
    v = np.array([[1, 0, 0, 0], [0.1, 1, 0, 0], [0.1, 1, 0, 0], [0, 0, 0, 1]])
    u[2] = [0, 1, 0.1, 0]
    texts = ["a", "b", "b", "c"]
    assert translation_accuracy(u, v) == (0.75, 0.75)
    assert translation_accuracy(u, v, v_texts=texts) == (1, 0.75)
    assert translation_accuracy(u, v, u_texts=texts, v_texts=texts) == (1, 1)


@pytest.mark.parametrize("margin", MARGINS)
def test_a_collapsed_model_finds_one_translation(margin):
    u = np.ones((5, 3))
    assert translation_accuracy(u, u, margin=margin) == (0.2, 0.2)


def test_accuracy_of_one_row():
    assert translation_accuracy([[1.0]], [[2.0]], margin="ratio") == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"u": np.eye(2), "v": np.eye(2)[:1]}, "Row i of v is the translation of row i of u"),
        (
            {"u": np.zeros((2, 2)), "v": np.eye(2)},
            "row 0 .* of u is zero, as the embeddings of missing",
        ),
        (
            {"u": np.eye(2), "v": np.eye(2), "u_texts": ["a"]},
            "u_texts has 1 rows and 1 columns for 2",
        ),
        (
            {"u": np.eye(2), "v": np.eye(2), "v_texts": ["a", None]},
            "row 1 .* of v_texts has no text",
        ),
        ({"u": np.eye(2), "v": np.eye(2), "margin": "cosine"}, "margin='cosine'"),
        ({"u": np.eye(2), "v": np.eye(2), "n_neighbors": True}, "n_neighbors=True"),
    ],
)
def test_bad_arguments_of_accuracy_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        translation_accuracy(**arguments)
