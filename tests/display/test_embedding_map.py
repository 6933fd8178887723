"""Maps of embeddings, by what is in them."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.display import EmbeddingMapDisplay
from tests.helpers.tiny_models import TINY


@pytest.fixture(scope="module")
def banking():
    return load_banking77_sample()


@pytest.fixture(scope="module")
def intents(banking):
    return banking.target_names[banking.target]


@pytest.fixture(scope="module")
def embeddings(banking):
    return SentenceEmbedder(TINY).fit_transform(banking.data)


def clusters(n_classes, n_points, spread, seed=0):
    """Return points around random centers, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_classes * n_points) % n_classes
    centers = rng.uniform(0, 100, (n_classes, 2))
    return centers[y] + rng.normal(0, spread, (len(y), 2)), np.array([f"class_{i:02}" for i in y])


def overlapping_pairs(display):
    """Return the pairs of labels that cover each other in the drawn figure."""
    display.figure_.draw_without_rendering()
    # The extent of an annotation includes its leader.
    boxes = [mpl.text.Text.get_window_extent(text) for text in display.texts_]
    return [
        (first.get_text(), second.get_text())
        for i, first in enumerate(display.texts_)
        for j, second in enumerate(display.texts_[:i])
        if boxes[i].overlaps(boxes[j])
    ]


def legend_of(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_points_are_the_principal_components(embeddings, intents):
    display = EmbeddingMapDisplay.from_embeddings(embeddings, intents)
    pca = PCA(2).fit(embeddings)
    np.testing.assert_allclose(display.points, pca.transform(embeddings), atol=1e-4)
    drawn = np.asarray(display.scatter_.get_offsets())
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, display.points))
    percent = f"{pca.explained_variance_ratio_[0]:.1%}"
    assert display.ax_.get_xlabel() == f"PC 1 ({percent} of variance)"


def test_each_class_has_one_color(embeddings, intents):
    display = EmbeddingMapDisplay.from_embeddings(embeddings, intents)
    color_of_point = dict(
        zip(
            map(tuple, np.asarray(display.scatter_.get_offsets())),
            map(tuple, display.scatter_.get_facecolors()[:, :3]),
            strict=True,
        )
    )
    found = pd.DataFrame(
        {"intent": intents, "color": [color_of_point[tuple(point)] for point in display.points]}
    )
    assert (found.groupby("intent")["color"].nunique() == 1).all()
    assert found["color"].nunique() == 10


def test_estimators_embed_and_a_final_classifier_is_left_out(banking, intents, embeddings):
    expected = EmbeddingMapDisplay.from_embeddings(embeddings).points
    embedder = SentenceEmbedder(TINY).fit(banking.data)
    pipeline = make_pipeline(SentenceEmbedder(TINY), LogisticRegression(max_iter=200))
    kmeans = make_pipeline(SentenceEmbedder(TINY), KMeans(2, n_init=1))
    for estimator in (embedder, pipeline.fit(banking.data, intents), kmeans.fit(banking.data)):
        display = EmbeddingMapDisplay.from_estimator(estimator, banking.data)
        np.testing.assert_allclose(display.points, expected, atol=1e-5)


@pytest.mark.parametrize(("n_classes", "spread"), [(10, 2), (40, 2), (77, 3), (150, 10)])
def test_no_label_covers_another_one(n_classes, spread):
    points, y = clusters(n_classes, 30, spread)
    display = EmbeddingMapDisplay.from_embeddings(points, y, reducer=None)
    assert overlapping_pairs(display) == []
    assert len(display.texts_) > n_classes / 2
    inside = display.ax_.get_window_extent()
    for text in display.texts_:
        box = mpl.text.Text.get_window_extent(text)
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1


def test_a_label_is_near_the_points_of_its_class():
    points, y = clusters(8, 50, 2)
    display = EmbeddingMapDisplay.from_embeddings(points, y, reducer=None)
    centers = pd.DataFrame(points).groupby(y).mean()
    assert len(display.texts_) == 8
    for text in display.texts_:
        distances = np.linalg.norm(centers - np.array(text.get_position()), axis=1)
        assert centers.index[distances.argmin()] == text.get_text().replace(" ", "_")


def test_classes_without_room_are_numbered_and_in_the_legend():
    points, y = clusters(60, 5, 0.5)
    _, ax = plt.subplots(figsize=(4, 3))
    display = EmbeddingMapDisplay.from_embeddings(points, y, reducer=None, ax=ax)
    assert display.ax_ is ax
    assert overlapping_pairs(display) == []
    on_map = {text.get_text() for text in display.texts_}
    in_legend = legend_of(display)
    assert in_legend
    assert in_legend[0].split()[0] in on_map
    names = {text.replace(" ", "_") for text in on_map if text.startswith("class")}
    names |= {text.split(maxsplit=1)[1].replace(" ", "_") for text in in_legend}
    assert names == set(y)


def test_all_classes_in_the_legend():
    points, y = clusters(6, 20, 2)
    width = EmbeddingMapDisplay.from_embeddings(points, reducer=None).figure_.get_figwidth()
    display = EmbeddingMapDisplay.from_embeddings(points, y, reducer=None, labels="legend")
    assert legend_of(display) == [f"class 0{i}" for i in range(6)]
    assert display.texts_ == []  # the colors are unique
    assert display.figure_.get_figwidth() > width
    display = EmbeddingMapDisplay.from_embeddings(points, y, reducer=None, labels=None)
    assert display.legend_ is None


@pytest.mark.parametrize(
    "convert",
    [
        list,
        pd.Series,
        pl.Series,
        lambda y: np.ma.masked_array(np.where(y == None, "x", y), [v is None for v in y]),  # noqa: E711
    ],
)
def test_rows_without_a_label_are_gray_and_counted(convert):
    points, y = clusters(3, 20, 2)
    y = y.astype(object)
    y[:15] = None
    display = EmbeddingMapDisplay.from_embeddings(points, convert(y), reducer=None)
    assert legend_of(display) == ["no label (15)"]
    assert len(display.scatter_.get_offsets()) == 45
    gray = display.ax_.collections[0]
    np.testing.assert_allclose(np.asarray(gray.get_offsets()), points[:15])
    assert len({tuple(color) for color in gray.get_facecolors()[:, :3]}) == 1


def test_numbers_have_a_color_bar():
    points, _ = clusters(3, 20, 2)
    length = pd.Series(np.linspace(0.5, 9.5, 60), name="length")
    length[3] = np.nan
    display = EmbeddingMapDisplay.from_embeddings(points, length, reducer=None, cmap="magma")
    assert display.colorbar_.ax.get_ylabel() == "length"
    assert display.scatter_.get_clim() == (0.5, 9.5)
    assert display.scatter_.get_cmap().name == "magma"
    assert len(display.scatter_.get_offsets()) == 59


def test_integers_are_classes_unless_there_are_many_or_the_user_says_so():
    points, _ = clusters(3, 50, 2)

    def plot(y, **options):
        return EmbeddingMapDisplay.from_embeddings(points, y, reducer=None, **options)

    ratings = np.arange(150) % 5
    assert plot(ratings).colorbar_ is None
    assert plot(ratings.astype(float)).colorbar_ is None
    assert plot(ratings, target_type="continuous").colorbar_ is not None
    assert plot(np.arange(150)).colorbar_ is not None
    assert plot(ratings > 2).colorbar_ is None
    assert plot(ratings / 2, target_type="multiclass").colorbar_ is None
    with pytest.raises(ValueError, match="values that are not numbers"):
        plot(["a"] * 150, target_type="continuous")


def test_many_points_are_small_and_transparent(embeddings):
    few = EmbeddingMapDisplay.from_embeddings(embeddings[:50])
    many = EmbeddingMapDisplay.from_embeddings(np.random.default_rng(0).normal(size=(10_000, 2)))
    assert many.scatter_.get_sizes()[0] < few.scatter_.get_sizes()[0] / 4
    assert many.scatter_.get_alpha() < few.scatter_.get_alpha()
    assert many.scatter_.get_rasterized()
    # The covered part of the densest region does not approach all of it.
    assert many.scatter_.get_sizes()[0] * 10_000 < 0.6 * 72**2 * 8 * 6.5


def test_style_is_taken_and_validated(embeddings, intents):
    display = EmbeddingMapDisplay.from_embeddings(embeddings, s=3, alpha=1, c="black")
    assert display.scatter_.get_sizes().tolist() == [3]
    assert display.scatter_.get_facecolors().tolist() == [[0, 0, 0, 1]]
    with pytest.raises(TypeError, match="Got both c and color"):
        EmbeddingMapDisplay.from_embeddings(embeddings, c="red", color="blue")
    with pytest.raises(AttributeError, match="unexpected keyword argument 'sizze'"):
        EmbeddingMapDisplay.from_embeddings(embeddings, sizze=3)
    display = EmbeddingMapDisplay.from_embeddings(
        embeddings, intents, multiclass_colors=["red", "blue"]
    )
    colors = {tuple(color) for color in display.scatter_.get_facecolors()[:, :3]}
    assert colors == {(1, 0, 0), (0, 0, 1)}
    display = EmbeddingMapDisplay.from_embeddings(embeddings, intents, multiclass_colors="tab20")
    assert len({tuple(color) for color in display.scatter_.get_facecolors()[:, :3]}) == 10


def test_one_color_for_all_numbers_has_no_color_bar(embeddings):
    for alias in ("c", "color"):
        display = EmbeddingMapDisplay.from_embeddings(
            embeddings, np.linspace(0.5, 1.5, 500), **{alias: "black"}
        )
        assert display.scatter_.get_facecolors()[:, :3].tolist() == [[0, 0, 0]]
        assert display.colorbar_ is None


def test_names_with_dollar_signs_are_no_formulas():
    points, y = clusters(3, 20, 2)
    names = np.array([f"$5_{label[-1]} or $6^{{" for label in y])
    display = EmbeddingMapDisplay.from_embeddings(points, names, reducer=None)
    assert {text.get_parse_math() for text in display.texts_} == {False}
    display.figure_.draw_without_rendering()
    display = EmbeddingMapDisplay.from_embeddings(points, names, reducer=None, labels="legend")
    display.figure_.draw_without_rendering()


def test_rows_that_are_all_equal_have_a_map():
    display = EmbeddingMapDisplay.from_embeddings(np.ones((5, 3)), list("aabbc"))
    assert display.ax_.get_xlabel() == "PC 1 (0.0% of variance)"
    assert np.ptp(display.points) == 0


def test_rows_without_any_label_have_a_map(embeddings):
    display = EmbeddingMapDisplay.from_embeddings(embeddings, np.full(500, np.nan))
    assert legend_of(display) == ["no label (500)"]


def test_reducers(embeddings):
    few = embeddings[:40]
    display = EmbeddingMapDisplay.from_embeddings(few, reducer="tsne", random_state=0)
    assert display.ax_.get_xlabel() == "t-SNE 1"
    again = EmbeddingMapDisplay.from_embeddings(few, reducer="tsne", random_state=0)
    np.testing.assert_array_equal(display.points, again.points)
    svd = TruncatedSVD(2, random_state=0)
    display = EmbeddingMapDisplay.from_embeddings(few, reducer=svd)
    np.testing.assert_allclose(display.points, svd.fit_transform(few), rtol=1e-4)
    pipeline = make_pipeline(PCA(10), PCA(2))
    display = EmbeddingMapDisplay.from_embeddings(few, reducer=pipeline)
    assert display.ax_.get_xlabel().startswith("PC 1 (")
    assert not hasattr(pipeline[0], "components_")


def test_errors_say_what_to_pass(embeddings, intents):
    plot = EmbeddingMapDisplay.from_embeddings
    with pytest.raises(ValueError, match="'umap'"):
        plot(embeddings, reducer="umap")
    with pytest.raises(TypeError, match="transformer or None, got int"):
        plot(embeddings, reducer=2)
    with pytest.raises(ValueError, match=r"two columns, but PCA returned .* Set its number"):
        plot(embeddings, reducer=PCA(3))
    with pytest.raises(ValueError, match="points must have two columns, got 16"):
        plot(embeddings[:, :16], reducer=None)
    with pytest.raises(ValueError, match=r"y has the shape .499,., but there are 500"):
        plot(embeddings, intents[1:])
    with pytest.raises(ValueError, match="labels must be"):
        plot(embeddings, intents, labels="map")
    with pytest.raises(ValueError, match="target_type must be"):
        plot(embeddings, intents, target_type="classes")
    with pytest.raises(ValueError, match="'rainbows' is not the name of a colormap"):
        plot(embeddings, intents, multiclass_colors="rainbows")
    with pytest.raises(ValueError, match="at least two rows"):
        plot(embeddings[:1])
    classifier = LogisticRegression(max_iter=200).fit(embeddings, intents)
    with pytest.raises(TypeError, match="LogisticRegression has no transform"):
        EmbeddingMapDisplay.from_estimator(classifier, embeddings)
