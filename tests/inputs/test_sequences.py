"""Sequences that are neither lists nor arrays: columns of Hugging Face datasets, deques, dict views."""

import warnings
from collections import UserList, UserString, deque

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceClassifier,
    SentenceEmbedder,
    mine_hard_negatives,
)
from sk_sentemb._inputs.text import read_text_columns
from sk_sentemb.bulk import embed_dataset
from sk_sentemb.cache import MemoryCache, prewarm
from sk_sentemb.preprocessing import TextCleaner
from tests.helpers.images import TINY_VIT
from tests.helpers.tiny_models import NO_DROPOUT, TINY, TINY_SCORER, assert_same_rows

datasets = pytest.importorskip("datasets")

TEXTS = ["The ferry passed.", "Gulls cried over the pier.", "Rain.", "The market was closed today."]
LABELS = [0, 1, 0, 1]

SEQUENCES = {
    "Hugging Face column": lambda cells: datasets.Dataset.from_dict({"text": cells})["text"],
    "shuffled column": lambda cells: datasets.Dataset.from_dict({"text": cells[::-1]}).select(
        range(len(cells))[::-1]
    )["text"],
    "column as NumPy": lambda cells: datasets.Dataset.from_dict({"text": cells}).with_format(
        "numpy"
    )["text"],
    "column as Arrow": lambda cells: datasets.Dataset.from_dict({"text": cells}).with_format(
        "arrow"
    )["text"],
    "deque": deque,
    "values": lambda cells: dict(enumerate(cells)).values(),
    "keys": lambda cells: dict.fromkeys(cells).keys(),
    "UserList": UserList,
}

TUNER = FineTuner(epochs=1, batch_size=4, random_state=0)


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)
def test_a_sequence_is_read_as_its_list(make):
    columns = read_text_columns(make(TEXTS))
    assert columns.texts == [TEXTS]
    assert all(type(text) is str for text in columns.texts[0])
    assert columns.missing.shape == (4, 1)
    assert columns.names is None
    assert read_text_columns(make([])).missing.shape == (0, 1)


@pytest.mark.parametrize("make", [SEQUENCES["Hugging Face column"], deque], ids=["column", "deque"])
def test_missing_cells_of_a_sequence(make):
    columns = read_text_columns(make(["a", None, "b"]))
    assert columns.missing.ravel().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "make", [deque, lambda rows: dict(rows).items(), UserList], ids=["deque", "items", "UserList"]
)
def test_a_sequence_of_pairs_is_two_columns(make):
    pairs = [(text, "gulls") for text in TEXTS]
    assert read_text_columns(make(pairs)).texts == [TEXTS, ["gulls"] * 4]
    scorer = CrossEncoderScorer(TINY_SCORER).fit(make(pairs))
    np.testing.assert_array_equal(scorer.predict(make(pairs)), scorer.predict(pairs))
    assert scorer.predict(make([])).shape == (0,)


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)
def test_estimators_read_sequences(make):
    X = make(TEXTS)
    embedder = SentenceEmbedder(TINY).fit(X)
    expected = SentenceEmbedder(TINY).fit_transform(TEXTS)
    np.testing.assert_array_equal(embedder.transform(X), expected)
    assert TextCleaner(html=False).fit_transform(X).tolist() == TEXTS
    scorer = CrossEncoderScorer(TINY_SCORER).fit([("a", "b")])
    assert len(scorer.rank("ferry", X)) == len(TEXTS)
    mined = mine_hard_negatives(embedder, X, X, X, n_negatives=1)
    assert len(mined) == len(TEXTS)


def test_a_hugging_face_dataset_is_trained_on_by_its_columns():
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    given = FineTuner(epochs=1, batch_size=4, random_state=0, validation_data=(TEXTS, LABELS))
    expected = SentenceClassifier(NO_DROPOUT, fine_tuner=given).fit(TEXTS, LABELS)
    columns = FineTuner(
        epochs=1, batch_size=4, random_state=0, validation_data=(data["text"], data["label"])
    )
    found = SentenceClassifier(NO_DROPOUT, fine_tuner=columns).fit(data["text"], data["label"])
    assert_same_rows(found.predict_proba(data["text"]), expected.predict_proba(TEXTS))
    tuned = SentenceEmbedder(NO_DROPOUT, fine_tuner=TUNER).fit(data["text"], data["label"])
    again = SentenceEmbedder(NO_DROPOUT, fine_tuner=TUNER).fit(TEXTS, LABELS)
    assert tuned.fingerprint_ == again.fingerprint_
    model = make_pipeline(SentenceEmbedder(TINY), LogisticRegression())
    scores = cross_val_score(model, data["text"], data["label"], cv=2, error_score="raise")
    np.testing.assert_array_equal(scores, cross_val_score(model, TEXTS, LABELS, cv=2))


def test_images_may_come_as_a_sequence():
    pixels = list(np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), dtype=np.uint8))
    expected = ImageEmbedder(TINY_VIT).fit_transform(pixels)
    for X in (deque(pixels), dict(enumerate(pixels)).values()):
        np.testing.assert_array_equal(ImageEmbedder(TINY_VIT).fit_transform(X), expected)


# What is refused, with advice that works


def whole_dataset():
    return datasets.Dataset.from_dict({"text": TEXTS})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (whole_dataset(), r"X is of type Dataset.* Pass one of its columns, such as X\['text'\]"),
        (list(whole_dataset()), r"cell of type dict .* pass pandas\.DataFrame\(X\)"),
        (deque(whole_dataset()), r"cell of type dict .* pass pandas\.DataFrame\(X\)"),
        (set(TEXTS), r"X is of type set.* Pass sorted\(X\), since a set has no order"),
        (iter(TEXTS), r"X is of type list_iterator.* Pass list\(X\)"),
    ],
    ids=["dataset", "list of it", "deque of it", "set", "iterator"],
)
def test_what_has_no_order_or_no_cells_is_refused(X, message):
    with pytest.raises(TypeError, match=message):
        SentenceEmbedder(TINY).fit(X)


def test_the_advice_for_a_dataset_works():
    data = whole_dataset()
    expected = SentenceEmbedder(TINY).fit_transform(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(SentenceEmbedder(TINY).fit_transform(data["text"]), expected)
        frame = data.to_pandas()
        np.testing.assert_array_equal(SentenceEmbedder(TINY).fit_transform(frame), expected)


def test_a_single_string_of_any_type_is_refused():
    with pytest.raises(ValueError, match=r"string object received\. Pass \[X\]"):
        SentenceEmbedder(TINY).fit(UserString("text"))


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)
def test_prewarming_reads_sequences(make):
    cache = MemoryCache()
    prewarm(SentenceEmbedder(TINY, cache=cache), make(TEXTS), n_rows=3)
    assert cache.statistics().n_texts == len(TEXTS)


@pytest.mark.parametrize("X", [set(TEXTS), {"text": TEXTS}, whole_dataset()], ids=type)
def test_prewarming_refuses_what_has_no_rows_in_order(X):
    with pytest.raises(TypeError, match=rf"X is of type {type(X).__name__}.* Pass "):
        prewarm(SentenceEmbedder(TINY, cache=MemoryCache()), X)


@pytest.mark.parametrize(
    "source",
    [whole_dataset(), whole_dataset().to_pandas(), None, 3],
    ids=lambda s: type(s).__name__,
)
def test_bulk_embedding_refuses_tables_in_memory(source, tmp_path):
    with pytest.raises(TypeError, match=r"source is of type .*; pass paths of files"):
        embed_dataset(SentenceEmbedder(TINY), source, tmp_path / "out", column="text")
