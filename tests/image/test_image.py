import copy
import io
import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageFile
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_sentemb import Encoder, ImageEmbedder, SentenceEmbedder
from sk_sentemb._progress import N_TASKS
from sk_sentemb.cache import MemoryCache, open_cache
from sk_sentemb.encoder import ImageEncoder, load_image_encoder
from sk_sentemb.exceptions import CorruptImageError, CorruptImageWarning, MissingImageWarning
from sk_sentemb.image.rgb import scale_to_8_bits
from tests.helpers.images import OTHER_CLIP, PICTURES, TINY_CLIP, TINY_VIT, noise, save_all, shaded
from tests.helpers.odd_image_files import CORRUPT, NO_PATHS, READ, write_odd_files
from tests.helpers.tiny_models import assert_same_rows
from tests.helpers.vision_checkpoints import HIDDEN, PROJECTED, VISION
from tests.test_embedder_progress import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

MISSING = [None, np.nan, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), np.ma.masked, "", " "]
N = len(PICTURES)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return save_all(PICTURES, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return write_odd_files(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def embedder():
    return ImageEmbedder(TINY_VIT)


@pytest.fixture
def passes(monkeypatch):
    """Record how many images each forward pass has."""
    sizes, forward = [], ImageEncoder._forward

    def counting(self, pixels, pack):
        sizes.append(len(pack.rows))
        return forward(self, pixels, pack)

    monkeypatch.setattr(ImageEncoder, "_forward", counting)
    return sizes


def rows_of(embedder, X):
    return np.asarray(clone(embedder).fit(X).transform(X))


def expected_rows(pictures, model=TINY_VIT):
    return load_image_encoder(model, device="cpu").encode(pictures)


def as_object_array(cells):
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


# What X may be


CONTAINERS = {
    "tuple": tuple,
    "list of rows": lambda cells: [[cell] for cell in cells],
    "numpy object": as_object_array,
    "numpy of one column": lambda cells: as_object_array(cells).reshape(-1, 1),
    "pandas Series": lambda cells: pd.Series(cells),
    "pandas frame": lambda cells: pd.DataFrame({"image": cells}),
    "polars Series": lambda cells: pl.Series("image", cells),
    "polars frame": lambda cells: pl.DataFrame({"image": cells}),
}
OF_STRINGS = {
    "numpy str": lambda cells: np.array(cells, dtype=str),
    "pandas categories": lambda cells: pd.Series(cells, dtype="category"),
}
OF_STRINGS_AND_BYTES = {
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda cells: pa.chunked_array([cells[:2], cells[2:]]),
    "pyarrow table": lambda cells: pa.table({"image": cells}),
}
KINDS = {
    "str": str,
    "path": Path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "picture": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_cell_in_every_container(kind, paths, embedder):
    cells = [KINDS[kind](path) for path in paths]
    expected = expected_rows(PICTURES)
    containers = dict(CONTAINERS)
    if kind in ("str", "bytes"):
        containers |= OF_STRINGS_AND_BYTES
    if kind == "str":
        containers |= OF_STRINGS
    if kind in ("path", "bytearray", "picture", "array"):
        # Of what it has no type for, polars makes objects where it is told to.
        containers["polars Series"] = lambda cells: pl.Series("image", cells, dtype=pl.Object)
        containers["polars frame"] = lambda cells: pl.Series("image", cells, pl.Object).to_frame()
    for name, make in {"list": list, **containers}.items():
        np.testing.assert_allclose(
            rows_of(embedder, make(cells)), expected, rtol=0, atol=1e-6, err_msg=name
        )


def test_arrays_of_many_images(embedder):
    colours = np.stack([noise(20, 30, seed=i) for i in range(4)])
    greys = np.stack([noise(20, 30, channels=1, seed=i) for i in range(4)])
    expected = expected_rows([Image.fromarray(one) for one in colours])
    assert_same_rows(rows_of(embedder, colours), expected)
    expected = expected_rows([Image.fromarray(one).convert("RGB") for one in greys])
    assert_same_rows(rows_of(embedder, greys), expected)
    assert_same_rows(rows_of(embedder, list(greys[..., None])), expected)
    assert clone(embedder).fit(colours).transform(colours[:0]).shape == (0, HIDDEN)


def test_masked_images_are_missing(embedder):
    colours = np.stack([noise(20, 30, seed=i) for i in range(2)])
    masked = np.ma.array(colours, mask=False)
    masked[1] = np.ma.masked
    with pytest.warns(MissingImageWarning):
        found = rows_of(embedder, masked)
    assert_same_rows(found[:1], expected_rows([Image.fromarray(colours[0])]))
    assert not found[1].any()


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        ("a.png", ValueError, "X is a single str, and not a column of images. Pass [X]"),
        (Path("a.png"), ValueError, "X is a single PosixPath"),
        (b"\x89PNG", ValueError, "X is a single bytes"),
        (PICTURES[0], ValueError, "X is a single Image"),
        (noise(9, 9, channels=1), ValueError, "X is an array of numbers of shape (9, 9)"),
        (noise(9, 9), ValueError, "X is a single image of shape (9, 9, 3)"),
        (
            np.ma.masked_equal([[[0, 1], [2, 3]]], 2),
            ValueError,
            "row 0 (counting from 0) with some masked pixels",
        ),
        (np.zeros((2, 2, 2, 2, 2)), ValueError, "of shape (2, 2, 2, 2, 2)"),
        (np.zeros((1, 9, 9), dtype=complex), ValueError, "Complex data not supported"),
        (np.full((1, 1, 1), "a.png"), ValueError, "Found array with dim 3"),
        (
            [1.5],
            TypeError,
            "X has 1.5 of type float in row 0 (counting from 0), which is not an image",
        ),
        ([None, {"a": 1}], TypeError, "of type dict in row 1"),
        ([torch.zeros(3, 9, 9)], TypeError, "of type Tensor in row 0"),
        ([noise(9, 9).transpose(2, 0, 1)], ValueError, "pass array.transpose(1, 2, 0)"),
        ([noise(9, 9)[None]], ValueError, "X has an array of shape (1, 9, 9, 3) in row 0"),
        ([np.zeros((9, 9), dtype=complex)], TypeError, "X has an array of complex128 in row 0"),
        ([["a.png", "b.png"], ["a.png"]], ValueError, "rows of different lengths"),
        (
            ["a.png", ["a.png"]],
            TypeError,
            "of type list in row 1 (counting from 0), which is not an image",
        ),
        ({"a": ["a.png"]}, TypeError, "X is of type dict"),
        ((path for path in ["a.png"]), TypeError, "Pass list(X)"),
        (pl.LazyFrame({"a": ["a.png"]}), TypeError, "Pass X.collect()"),
        (sparse.eye(3), TypeError, "X is a sparse"),
        (
            pd.DataFrame({"a": ["a.png"], "n": [3]}),
            TypeError,
            "in row 0 (counting from 0), column 'n'",
        ),
        ([], ValueError, "0 sample"),
        (pd.DataFrame(index=range(3)), ValueError, "0 feature"),
    ],
    ids=repr,
)
def test_what_holds_no_images_is_named(X, error, words, embedder):
    with pytest.raises(error, match=re.escape(words)):
        embedder.fit(X)


# Odd files


def test_there_are_enough_odd_files():
    assert len(CORRUPT) + len(NO_PATHS) >= 40
    assert len(READ) >= 60


@pytest.mark.parametrize("name", READ)
def test_an_odd_file_is_read(name, odd, embedder):
    expected = READ[name][1]
    with Image.open(odd[name]) as image:
        rows = rows_of(embedder, [odd[name], odd[name].read_bytes(), image])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert np.abs(rows).max() > 0.1
    if expected is not None:
        np.testing.assert_array_equal(rows[:1], expected_rows([expected]))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", CORRUPT)
def test_a_corrupt_file_follows_the_policy(name, odd):
    fitted = ImageEmbedder(TINY_CLIP).fit([odd[name]])
    place = re.escape(f"the image in row 1, column 0 ({odd[name]}) of X cannot be decoded: ")
    with pytest.raises(CorruptImageError, match=f"{place}.*(?:{CORRUPT[name][1]})"):
        fitted.transform([PICTURES[0], odd[name]])
    fitted.set_params(corrupt="missing")
    with pytest.warns(
        CorruptImageWarning, match="1 of 2 images cannot be decoded and became zeros"
    ):
        rows = fitted.transform([PICTURES[0], odd[name]])
    assert_same_rows(rows[0], expected_rows(PICTURES[:1], TINY_CLIP)[0])
    assert not rows[1].any()


@pytest.mark.parametrize("path", NO_PATHS, ids=lambda path: path[:20])
def test_paths_that_lead_nowhere_follow_the_policy(path, embedder):
    fitted = embedder.fit([path])
    with pytest.raises(CorruptImageError, match=NO_PATHS[path]):
        fitted.transform([path])
    fitted.set_params(corrupt="missing", missing="nan")
    with pytest.warns(CorruptImageWarning, match="1 of 1 images cannot be decoded and became NaN"):
        assert np.isnan(fitted.transform([path])).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("n_jobs", [None, 3])
def test_odd_files_all_together(n_jobs, odd):
    """The policy is followed, none crashes, and nothing of Pillow is changed."""

    def settings():
        loud = warnings.filters[:]
        return (
            Image.MAX_IMAGE_PIXELS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            loud,
            torch.get_num_threads(),
        )

    names = np.random.default_rng(0).permutation(list(odd))
    embedder = ImageEmbedder(TINY_VIT, corrupt="missing", n_jobs=n_jobs, batch_size=7)
    before = settings()
    with pytest.warns(CorruptImageWarning) as caught:
        rows = embedder.fit_transform([odd[name] for name in names])
    assert settings() == before
    corrupt = [i for i, name in enumerate(names) if name in CORRUPT]
    (message,) = [str(w.message) for w in caught if w.category is CorruptImageWarning]
    assert message.startswith(f"{len(CORRUPT)} of {len(odd)} images cannot be decoded")
    assert f"The first is in row {corrupt[0]}, column 0 ({odd[names[corrupt[0]]]}): " in message
    assert [i for i in range(len(rows)) if not rows[i].any()] == corrupt
    assert np.isfinite(rows).all()
    for row, name in zip(rows, names, strict=True):
        if READ.get(name, (None, None))[1] is not None:
            assert_same_rows(row, expected_rows([READ[name][1]])[0])


def test_corrupt_images_in_memory_follow_the_policy(odd, embedder):
    half = odd["half.png"].read_bytes()
    cells = [half, Image.open(io.BytesIO(half)), np.full((9, 9, 3), 70000), np.zeros((0, 9))]
    reasons = ["truncated", "truncated", "colors from 70000 to 70000", "no pixels"]
    whats = [f"{len(half)} bytes", "PngImageFile", "ndarray", "ndarray"]
    fitted = embedder.fit(cells)
    for cell, reason, what in zip(cells, reasons, whats, strict=True):
        with pytest.raises(CorruptImageError, match=f"{what}.*{reason}"):
            fitted.transform([cell])
    fitted.set_params(corrupt="missing")
    with pytest.warns(CorruptImageWarning, match="4 of 4 images"):
        assert not fitted.transform(cells).any()


def test_corrupt_images_where_none_may_be_missing(odd, embedder):
    fitted = embedder.set_params(corrupt="missing", missing="error").fit([odd["half.png"]])
    with pytest.raises(CorruptImageError, match=r"half\.png"):
        fitted.transform([odd["half.png"]])


def test_the_first_corrupt_cell_is_named(odd, paths, embedder):
    frame = pd.DataFrame(
        {"front": [*paths[:2], None, odd["half.png"]], "back": [paths[0], *[odd["text.png"]] * 3]}
    )
    fitted = embedder.set_params(corrupt="missing", missing="nan").fit(frame)
    words = r"4 of 7 images.*The first is in row 1, column 'back' \(.*text\.png\)"
    with pytest.warns(CorruptImageWarning, match=words):
        rows = fitted.transform(frame)
    is_nan = np.isnan(rows).reshape(4, 2, HIDDEN).all(axis=2)
    assert is_nan.tolist() == [[False, False], [False, True], [True, True], [True, True]]


def test_max_pixels(paths, embedder):
    """What is asked for counts, also of what the cache knows."""
    X = [paths[0], paths[1], PICTURES[0], np.asarray(PICTURES[0])]  # 40 x 60 and 24 x 24
    fitted = embedder.fit(X)
    fitted.transform(X)
    fitted.set_params(max_pixels=24 * 24, corrupt="missing")
    with pytest.warns(CorruptImageWarning, match="60 x 40 pixels, more than max_pixels=576"):
        rows = fitted.transform(X)
    assert rows.any(axis=1).tolist() == [False, True, False, False]
    assert fitted.set_params(max_pixels=40 * 60).transform(X).any(axis=1).all()


def test_elongated_images_are_measured_as_the_model_enlarges_them(embedder):
    picture = np.zeros((1, 500, 3), dtype=np.uint8)
    assert embedder.set_params(max_pixels=1000).fit_transform([picture]).any()  # squeezed
    clip = ImageEmbedder(TINY_CLIP, max_pixels=1000)
    words = "500 x 1 pixels, which the model would resize to 288000 pixels"
    with pytest.raises(CorruptImageError, match=words):
        clip.fit_transform([picture])
    assert clip.set_params(max_pixels=288_000).fit_transform([picture]).any()


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, embedder):
    from sk_sentemb.image import unique_images as contents

    path, read = tmp_path / "a.png", contents.decode_image
    PICTURES[0].save(path)

    def changed(*arguments):
        PICTURES[1].save(path)
        return read(*arguments)

    monkeypatch.setattr(contents, "decode_image", changed)
    with pytest.raises(CorruptImageError, match="the file changed while it was read"):
        embedder.fit_transform([path])


# Pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[0, 128, 255]], dtype=np.int64), [[0, 128, 255]]),
        (np.array([[0, 128, 65535]], dtype=np.uint16), [[0, 0, 255]]),
        (np.array([[0, 257, 65535]], dtype=np.int32), [[0, 1, 255]]),
        (np.array([[0, 100, 1000000]]), [[0, 0, 255]]),
        (np.array([[0.0, 0.5, 1.0]]), [[0, 128, 255]]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float16), [[0, 128, 255]]),
        (np.array([[0.0, 100.4, 255.0]]), [[0, 100, 255]]),
        (np.array([[-1.0, 0.0, 1.0]]), [[0, 128, 255]]),
        (np.array([[1e300, 2e300, 3e300]]), [[0, 128, 255]]),
        (np.array([[-7.0, -7.0]]), [[0, 0]]),
        (np.array([[[0.0, 0.5, 1.0]]], dtype=np.float32), [[[0, 128, 255]]]),
    ],
)
def test_pixels_become_scale_to_8_bits(pixels, expected):
    found = scale_to_8_bits(pixels)
    assert found.dtype == np.uint8
    assert found.tolist() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 256])
def test_values_that_no_colour_has(value, embedder):
    picture = np.full((9, 9, 3), 0.5)
    picture[3, 3] = value
    with pytest.raises(CorruptImageError, match=r"infinite or NaN|colors from"):
        embedder.fit_transform([picture])


def test_dark_pictures_of_sixteen_bits_stay_dark(embedder):
    dark = np.full((20, 30), 200, dtype=np.uint16)
    dark[:10] = 20
    pgm = b"P5\n30 20\n65535\n" + dark.astype(">u2").tobytes()
    of_file, of_array = rows_of(embedder, [pgm, dark])
    assert_same_rows(of_file, of_array)


def test_premultiplied_greys(embedder):
    grey = shaded().convert("LA")
    assert_same_rows(rows_of(embedder, [grey.convert("La")]), rows_of(embedder, [grey]))


def test_opacity_of_arrays(embedder):
    rgba = np.dstack([np.asarray(shaded()), np.full((20, 30), 255, dtype=np.uint8)])
    hole = rgba.copy()
    hole[5:15, 5:15] = (1, 2, 3, 0)
    seen = np.asarray(shaded()).copy()
    seen[5:15, 5:15] = 255
    np.testing.assert_array_equal(
        rows_of(embedder, [rgba, hole, rgba / 255]),
        expected_rows([shaded(), Image.fromarray(seen), shaded()]),
    )


# Missing images


def test_missing_images_follow_the_policy(embedder):
    cells = [*PICTURES, *MISSING]
    present = expected_rows(PICTURES)
    fitted = embedder.fit(cells)
    with pytest.warns(MissingImageWarning, match="9 of 17 cells have no image and became zeros"):
        rows = fitted.transform(cells)
    assert_same_rows(rows, np.vstack([present, np.zeros((len(MISSING), HIDDEN))]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = fitted.set_params(missing="nan").transform(cells)
    assert_same_rows(rows[:N], present)
    assert np.isnan(rows[N:]).all()
    with pytest.raises(ValueError, match=f"row {N}, column 0 of X has no image"):
        fitted.set_params(missing="error").transform(cells)
    frame = pd.DataFrame({"a": as_object_array([PICTURES[0], None])})
    assert np.isnan(fitted.set_params(missing="nan").fit(frame).transform(frame)[1]).all()
    series = pl.Series("a", ["nowhere.png", None])
    fitted.set_params(missing="nan", corrupt="missing")
    with pytest.warns(CorruptImageWarning, match="1 of 1 images"):
        assert np.isnan(fitted.transform(series)).all()


def test_nothing_but_missing_images(embedder, passes):
    rows = embedder.set_params(missing="nan").fit_transform([None, None])
    assert rows.shape == (2, HIDDEN)
    assert np.isnan(rows).all()
    assert not passes


# Each image once


def test_each_content_is_embedded_once(paths, tmp_path, embedder, passes):
    copies = save_all(PICTURES, tmp_path / "copies")
    links = [tmp_path / f"link{i}" for i in range(N)]
    for link, path in zip(links, paths, strict=True):
        link.symlink_to(path)
    X = [*paths, *copies, *links, *(path.read_bytes() for path in paths), *paths]
    rows = embedder.fit_transform(X)
    assert sum(passes) == N
    assert_same_rows(rows, np.tile(expected_rows(PICTURES), (5, 1)))
    for i in range(N):
        np.testing.assert_array_equal(rows[i::N], rows[[i] * 5])
    passes.clear()
    # Again, in another order, by another embedder, in two columns.
    clone(embedder).fit_transform(list(zip(X, X[::-1], strict=True)))
    assert not passes
    embedder.transform([*X, noise(9, 9, seed=99)])
    assert passes == [1]


def test_equal_pixels_in_memory_are_one_image(embedder, passes):
    picture = shaded()
    grey = noise(20, 30, channels=1)
    X = [picture, picture.copy(), np.asarray(picture), picture.convert("RGBA"), picture]
    X += [grey, Image.fromarray(grey), np.dstack([grey] * 3), grey.astype(np.uint16) * 257]
    embedder.fit_transform(X)
    assert sum(passes) == 2
    # The same bytes in another shape are another image.
    passes.clear()
    embedder.transform([grey.reshape(30, 20)])
    assert sum(passes) == 1


def test_a_folder_of_vectors_is_shared_between_sessions(paths, tmp_path, passes):
    embedder = ImageEmbedder(TINY_VIT, cache=tmp_path / "cache")
    rows = embedder.fit_transform(paths)
    assert sum(passes) == N
    passes.clear()
    open_cache("memory").clear()
    again = ImageEmbedder(TINY_VIT, cache=tmp_path / "cache").fit_transform(paths[::-1])
    assert not passes
    np.testing.assert_array_equal(again, rows[::-1])
    # Other settings are other vectors, but not the size of batches or the limit of pixels.
    ImageEmbedder(TINY_VIT, cache=tmp_path / "cache", batch_size=1, max_pixels=10**5).fit_transform(
        paths
    )
    assert not passes
    ImageEmbedder(TINY_VIT, cache=tmp_path / "cache", pooling="mean").fit_transform(paths)
    assert sum(passes) == N


def test_without_a_cache_each_image_is_embedded_once_a_call(paths, passes):
    embedder = ImageEmbedder(TINY_VIT, cache=None)
    assert_same_rows(embedder.fit_transform([*paths, *paths])[N:], expected_rows(PICTURES))
    passes.clear()
    embedder.transform(paths)
    assert sum(passes) == N


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_the_cache_keeps_nothing_of_corrupt_images(cache, odd, tmp_path):
    cache = MemoryCache() if cache == "memory" else open_cache(tmp_path / "cache")
    embedder = ImageEmbedder(TINY_VIT, cache=cache, corrupt="missing")
    with pytest.warns(CorruptImageWarning, match="2 of 3 images"):
        embedder.fit_transform([odd["half.png"], odd["colours.png"], odd["wrong checksum.png"]])
    assert cache.statistics().n_texts == 1
    # Whoever can read it, with a limit or a Pillow of another kind, gets a vector.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        assert embedder.transform([odd["half.png"]]).any()


def test_memory_is_bounded_by_batches(paths, passes, tmp_path):
    pictures = save_all([Image.fromarray(noise(9, 9, seed=i)) for i in range(40)], tmp_path / "40")
    ImageEmbedder(TINY_VIT, batch_size=3, cache=None).fit_transform(pictures)
    assert max(passes) == 3
    assert sum(passes) == 40
    passes.clear()
    ImageEmbedder(TINY_VIT, batch_size=3).fit_transform(pictures)
    assert max(passes) == 3
    assert sum(passes) == 40


def test_texts_and_images_of_one_clip_have_one_cache(paths):
    images, texts = ImageEmbedder(TINY_CLIP), SentenceEmbedder(TINY_CLIP)
    vectors = images.fit_transform(paths)
    assert texts.fit_transform(["a", "b"]).shape == (2, PROJECTED)
    assert texts.encoder_.shared_model is images.encoder_.shared_model
    assert texts.fingerprint_ == images.fingerprint_
    np.testing.assert_array_equal(images.transform(paths), vectors)


# What scikit-learn asks for


def test_number_of_columns(paths, embedder):
    fitted = embedder.fit(paths)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 1 features"):
        fitted.transform([[paths[0], paths[0]]])
    fitted.fit([[paths[0], paths[0]]])
    with pytest.raises(ValueError, match="Reshape your data: one column per feature"):
        fitted.transform(paths)


def test_clone_and_params(paths, embedder):
    fitted = embedder.fit(paths)
    with pytest.raises(NotFittedError):
        clone(fitted).transform(paths)
    assert clone(fitted).get_params() == embedder.get_params()
    loaded = ImageEmbedder(fitted.encoder_)
    assert clone(loaded).model is fitted.encoder_
    np.testing.assert_array_equal(rows_of(loaded, paths), fitted.transform(paths))


def test_threads_share_one_embedder(paths, embedder):
    lazy = [Image.open(path) for path in paths]  # read by whoever looks first
    fitted = embedder.fit(paths)
    jobs = [(paths, lazy)[i % 2][i % N :] for i in range(32)]
    expected = [expected_rows(PICTURES[i % N :]) for i in range(32)]
    with ThreadPoolExecutor(16) as pool:
        for rows, right in zip(pool.map(fitted.transform, jobs), expected, strict=True):
            assert_same_rows(rows, right)
    for image in lazy:
        image.close()


def test_a_new_model_is_used_by_the_next_fit(paths, embedder):
    before = embedder.fit(paths).transform(paths)
    after = embedder.set_params(model=OTHER_CLIP).fit(paths).transform(paths)
    assert before.shape != after.shape
    assert_same_rows(after, expected_rows(PICTURES, OTHER_CLIP))


def test_grid_search_over_models_embeds_each_image_once_a_model(paths, passes):
    def mean_of_rows(fitted, X, y=None):
        return float(np.mean(fitted.transform(X)))

    pipeline = Pipeline([("embedder", ImageEmbedder())])
    grid = {"embedder__model": [TINY_CLIP, OTHER_CLIP], "embedder__corrupt": ["error", "missing"]}
    folds = [(np.arange(3, N), np.arange(3)), (np.arange(3), np.arange(3, N))]
    search = GridSearchCV(pipeline, grid, scoring=mean_of_rows, cv=folds, error_score="raise")
    found = search.fit(paths).cv_results_
    assert sum(passes) == 2 * N
    for model in (TINY_CLIP, OTHER_CLIP):
        which = [params["embedder__model"] == model for params in found["params"]]
        alone = expected_rows(PICTURES, model)[:3].mean()
        np.testing.assert_allclose(found["split0_test_score"][which], alone, rtol=0, atol=1e-6)
    with pytest.raises(OSError, match="looks like a path"):
        ImageEmbedder(TINY_CLIP / "nowhere").fit(paths)


def test_parameters_are_checked(paths, embedder):
    for wrong in ({"corrupt": "ignore"}, {"max_pixels": 0}, {"pooling": "max"}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="parameter of ImageEmbedder must be"):
            clone(embedder).set_params(**wrong).fit(paths)
    loaded = load_image_encoder(TINY_VIT, device="cpu")
    with pytest.raises(ValueError, match="dtype='bfloat16' has no effect on a loaded model"):
        ImageEmbedder(loaded, dtype="bfloat16").fit(paths)
    texts = SentenceEmbedder(TINY_CLIP).fit(["a"]).encoder_
    assert isinstance(texts, Encoder)
    with pytest.raises(ValueError, match="'model' parameter of ImageEmbedder must be"):
        ImageEmbedder(texts).fit(paths)
    with pytest.raises(ValueError, match="'model' parameter of SentenceEmbedder must be"):
        SentenceEmbedder(loaded).fit(["a"])
    with pytest.raises(ValueError, match="truncate_dim=99 exceeds the 32 dimensions"):
        ImageEmbedder(TINY_VIT, truncate_dim=99).fit(paths)


@pytest.mark.parametrize("normalize", [True, False])
def test_truncate_dim(normalize, paths, tmp_path):
    embedder = ImageEmbedder(TINY_CLIP, normalize=normalize, truncate_dim=5).fit(paths)
    rows, whole = embedder.transform(paths), expected_rows(PICTURES, TINY_CLIP)[:, :5]
    if normalize:
        whole = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, whole, rtol=0, atol=1e-6)
    assert embedder.embedding_dim_ == len(embedder.get_feature_names_out()) == 5
    embedder.save_pretrained(tmp_path / "saved")
    again = ImageEmbedder(tmp_path / "saved").fit(paths)
    np.testing.assert_allclose(again.transform(paths), rows, rtol=0, atol=1e-6)
    assert SentenceEmbedder(tmp_path / "saved").fit_transform(["a"]).shape == (1, 5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_settings_are_saved(pooling, paths, tmp_path):
    embedder = ImageEmbedder(TINY_VIT, pooling=pooling, normalize=True)
    rows = embedder.fit_transform(paths)
    embedder.save_pretrained(tmp_path / "saved")
    embedder.save_pretrained(tmp_path / "saved")  # replaced
    np.testing.assert_array_equal(ImageEmbedder(tmp_path / "saved").fit_transform(paths), rows)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").touch()
    with pytest.raises(FileExistsError, match=r"diary\.txt"):
        embedder.save_pretrained(tmp_path / "other")


def test_X_stays_as_it_is(paths, embedder):
    arrays = [np.asarray(picture).copy() for picture in PICTURES]
    X = [*arrays, None, *paths, Image.open(paths[0])]
    before = [copy.deepcopy(cell) for cell in X]
    embedder.set_params(missing="nan").fit_transform(X)
    for cell, was in zip(X, before, strict=True):
        assert type(cell) is type(was)
        np.testing.assert_array_equal(cell, was)


def test_progress(paths, capfd):
    ImageEmbedder(TINY_VIT, verbose=1).fit_transform([*paths, *paths])
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{N}/{N}" in err
    assert "image/s" in err


def test_callbacks(paths):
    pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")
    recorder = Recorder()
    ImageEmbedder(TINY_VIT, batch_size=1).set_callbacks(recorder).fit_transform(paths)
    assert recorder.n_tasks()["ImageEmbedder", "embed"] == N_TASKS


def test_without_pillow_texts_are_read_and_images_say_what_to_install(run_python):
    code = """
import sys
sys.modules["PIL"] = None
from sk_sentemb import ImageEmbedder, SentenceEmbedder
assert SentenceEmbedder(sys.argv[1]).fit_transform(["a harbour"]).any()
try:
    ImageEmbedder(sys.argv[1]).fit(["a.png"])
except ImportError as error:
    print(error)
"""
    done = run_python(code, TINY_CLIP)
    assert done.stdout.strip() == 'images need Pillow: pip install "sk-sentemb[image]"'


def test_pillow_is_loaded_when_it_is_needed(run_python):
    code = "import sys; from sk_sentemb import ImageEmbedder; print('PIL' in sys.modules)"
    # transformers may load it, but this package need not.
    alone = "import sys, transformers, sklearn, torch; print('PIL' in sys.modules)"
    assert run_python(code).stdout == run_python(alone).stdout
    assert sys.modules["PIL"]


def test_every_model_of_images(tmp_path, paths):
    for name, make in VISION.items():
        folder = make(tmp_path / name)
        rows = ImageEmbedder(folder).fit_transform(paths)
        assert_same_rows(rows, expected_rows(PICTURES, folder))
