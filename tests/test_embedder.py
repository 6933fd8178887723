import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.encoder import POOLINGS
from sk_sentemb.exceptions import MissingTextWarning, ModelNotFoundError, TruncationWarning
from tests.helpers.checkpoints import HIDDEN, MAX_TOKENS, make_checkpoint
from tests.helpers.tiny_models import (
    OTHER,
    PROMPTED,
    PROMPTS,
    TINY,
    assert_other_rows,
    assert_same_rows,
)

TEXTS = ["the ferry passed the pier", "Harbour", "Nobody remembers the storm?"]
# Each question mark is one token, so the windows of a long row of them are all alike.
MARKS = "?" * 30


def embed(X, model=TINY, **params):
    return SentenceEmbedder(model, **params).fit_transform(X)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# model, revision, device, dtype


@pytest.mark.parametrize("model", [TINY, str(TINY), load_encoder(TINY)], ids=type)
def test_model_is_a_path_a_name_or_an_encoder(model):
    embedder = SentenceEmbedder(model).fit(TEXTS)
    assert embedder.encoder_.fingerprint == load_encoder(TINY).fingerprint == embedder.fingerprint_
    np.testing.assert_array_equal(embedder.transform(TEXTS), embed(TEXTS))


def test_a_model_that_is_not_there_is_an_error_in_fit_not_before():
    embedder = SentenceEmbedder(str(TINY / "nowhere"))
    with pytest.raises(ModelNotFoundError, match=r"looks like a path, but the folder"):
        embedder.fit(TEXTS)


def test_clone_shares_an_encoder():
    encoder = load_encoder(TINY)
    assert clone(SentenceEmbedder(encoder)).model is encoder


@pytest.mark.parametrize("name", ["revision", "device"])
def test_what_an_encoder_has_settled_already_is_an_error(name):
    embedder = SentenceEmbedder(load_encoder(TINY, device="cpu"), **{name: "other"})
    with pytest.raises(ValueError, match=f"{name}='other' has no effect on a loaded model"):
        embedder.fit(TEXTS)


def test_a_revision_of_a_folder_is_an_error():
    with pytest.raises(ValueError, match="revision='main'"):
        SentenceEmbedder(TINY, revision="main").fit(TEXTS)


def test_another_dtype_than_that_of_an_encoder_is_an_error():
    with pytest.raises(ValueError, match="dtype"):
        SentenceEmbedder(load_encoder(TINY), dtype="bfloat16").fit(TEXTS)


def test_device_names_where_the_model_runs():
    assert SentenceEmbedder(TINY, device="cpu").fit(TEXTS).encoder_.device == torch.device("cpu")


def test_an_unknown_device_is_an_error():
    with pytest.raises(ValueError, match="device='toaster' is not a torch device; pass 'cpu'"):
        SentenceEmbedder(TINY, device="toaster").fit(TEXTS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_an_error():
    with pytest.raises(ValueError, match="device='cuda', but no CUDA device is available"):
        SentenceEmbedder(TINY, device="cuda").fit(TEXTS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_that_of_the_transformer_and_never_of_the_output(dtype):
    embedder = SentenceEmbedder(TINY, dtype=dtype).fit(TEXTS)
    rows = embedder.transform(TEXTS)
    assert embedder.encoder_.dtype == dtype
    assert rows.dtype == np.float32
    assert (rows * embed(TEXTS)).sum(axis=1).min() > 0.99


def test_dtype_auto_is_one_of_the_number_formats():
    encoder = SentenceEmbedder(TINY, dtype="auto").fit(TEXTS).encoder_
    assert encoder.dtype in ("float32", "bfloat16", "float16")


def test_many_threads_and_clones_load_one_model(tmp_path, caplog):
    model = make_checkpoint(tmp_path / "model", seed=90)
    caplog.set_level(logging.INFO, logger="sk_sentemb")
    clones = [SentenceEmbedder(model) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        fitted = list(pool.map(lambda i: clones[i % 4].fit(TEXTS), range(16)))
    assert len({id(embedder.encoder_) for embedder in fitted}) == 1
    assert sum("loading the model" in record.message for record in caplog.records) == 1


# pooling, normalize, truncate_dim


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_that_of_a_checkpoint_that_asks_for_it(pooling, tmp_path):
    model = make_checkpoint(tmp_path / "model", pooling=pooling)
    np.testing.assert_array_equal(embed(TEXTS, pooling=pooling), embed(TEXTS, model))


def test_several_poolings_stand_side_by_side():
    rows = embed(TEXTS, pooling=["cls", "max"], normalize=False)
    parts = [embed(TEXTS, pooling=name, normalize=False) for name in ("cls", "max")]
    assert_same_rows(rows, np.hstack(parts))
    assert_other_rows(*parts)


@pytest.mark.parametrize("pooling", ["median", ["mean", "median"], []])
def test_an_unknown_pooling_is_an_error(pooling):
    with pytest.raises(ValueError, match=r"pooling=\[.*\]: pass 'auto', or one or more of"):
        SentenceEmbedder(TINY, pooling=pooling).fit(TEXTS)


def test_normalize_scales_rows_to_length_one():
    raw = embed(TEXTS, normalize=False)
    assert np.linalg.norm(raw, axis=1).min() > 1.5
    np.testing.assert_allclose(embed(TEXTS, normalize=True), unit(raw), atol=1e-6)
    np.testing.assert_array_equal(embed(TEXTS), embed(TEXTS, normalize=True))


def test_normalize_auto_is_what_the_checkpoint_says(tmp_path):
    model = make_checkpoint(tmp_path / "model", normalize=False)
    assert_same_rows(embed(TEXTS, model), embed(TEXTS, normalize=False))
    assert_same_rows(embed(TEXTS, model, normalize=True), embed(TEXTS))


def test_truncate_dim_keeps_the_first_dimensions():
    raw = embed(TEXTS, normalize=False)[:, :5]
    np.testing.assert_array_equal(embed(TEXTS, normalize=False, truncate_dim=5), raw)
    np.testing.assert_allclose(embed(TEXTS, truncate_dim=5), unit(raw), atol=1e-6)


def test_truncate_dim_does_not_hold_on_to_the_whole_vectors():
    assert embed(TEXTS, normalize=False, truncate_dim=5).base is None


def test_truncate_dim_shows_in_the_attributes():
    embedder = SentenceEmbedder(TINY, truncate_dim=5).fit(TEXTS)
    assert embedder.embedding_dim_ == len(embedder.get_feature_names_out()) == 5
    assert SentenceEmbedder(TINY).fit(TEXTS).embedding_dim_ == HIDDEN


def test_truncate_dim_beyond_the_vectors_is_an_error():
    with pytest.raises(ValueError, match=f"truncate_dim=33 exceeds the {HIDDEN} dim"):
        SentenceEmbedder(TINY, truncate_dim=33).fit(TEXTS)
    assert embed(TEXTS, pooling=["cls", "max"], truncate_dim=33).shape == (3, 33)


# prompt


@pytest.mark.parametrize(
    ("prompt", "prefix"),
    [
        pytest.param({}, PROMPTS["document"], id="default"),
        pytest.param({"prompt_name": "query"}, PROMPTS["query"], id="name"),
        pytest.param({"prompt": PROMPTS["query"]}, PROMPTS["query"], id="prefix"),
        pytest.param({"prompt": "gulls: "}, "gulls: ", id="unknown-prefix"),
        pytest.param({"prompt": ""}, "", id="none"),
    ],
)
def test_prompt_stands_before_every_text(prompt, prefix):
    rows = embed(TEXTS, PROMPTED, **prompt)
    assert_same_rows(rows, embed([prefix + text for text in TEXTS]))
    if prefix:
        assert_other_rows(rows, embed(TEXTS))


# max_length, long_text


def test_max_length_counts_tokens_with_special_ones():
    with pytest.warns(TruncationWarning):
        rows = embed([MARKS + "!", MARKS], max_length=12)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert_same_rows(rows, embed(["?" * 10] * 2))
    assert_other_rows(rows[:1], embed(["?" * 9]))


def test_a_text_of_the_very_length_is_not_truncated():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed(["?" * 10], max_length=12)
        embed(["?" * (MAX_TOKENS - 2)])


def test_truncation_is_counted_with_duplicates_and_without_missing_cells():
    X = pd.DataFrame({"a": [MARKS, MARKS, "?"], "b": ["?", MARKS + "!", None]})
    message = (
        r"^3 of 5 texts exceed the limit of 12 tokens and were truncated\. Pass "
        r"long_text='chunk' to use whole texts, or a model with a larger limit\.$"
    )
    with pytest.warns(TruncationWarning, match=message):
        embed(X, max_length=12, missing="nan")


def test_chunk_reads_the_whole_text():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = embed([MARKS, MARKS + "!", "?" * 10], max_length=12, long_text="chunk")
    # All windows of the first are the third, so that their average is too.
    assert_same_rows(rows[0], rows[2])
    assert_other_rows(rows[:1], rows[1:2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_chunk_averages_windows():
    # Ten tokens a window, of which at least two are shared: 28 tokens are four windows.
    marks = "?" * 9 + "!" * 10 + "," * 9
    rows = embed([marks], max_length=12, long_text="chunk", normalize=False)
    windows = embed([marks[i : i + 10] for i in (0, 6, 12, 18)], normalize=False)
    assert_same_rows(rows, windows.mean(axis=0, keepdims=True))


def test_long_text_error_names_the_row_and_the_column():
    embedder = SentenceEmbedder(TINY, max_length=12, long_text="error").fit([["?", "?"]])
    message = r"^row 1, column 1 of X has more than 12 tokens, and long_text='error'\. Shorten it"
    with pytest.raises(ValueError, match=message):
        embedder.transform([["?", "?"], ["?", MARKS], ["?", MARKS]])


def test_max_length_beyond_the_model_is_an_error():
    with pytest.raises(ValueError, match="max_length=257, but the model reads at most 256 tokens"):
        SentenceEmbedder(TINY, max_length=257).fit(TEXTS)


def test_max_length_without_room_is_an_error():
    with pytest.raises(ValueError, match=r"max_length=2 leaves no room .* Pass at least 3\.$"):
        embed(TEXTS, max_length=2)


# missing


def test_missing_zero_warns_with_the_count():
    X = pd.DataFrame({"a": ["?", None, np.nan], "b": ["?", "?", pd.NA]})
    message = (
        r"^3 of 6 cells have no text and became zeros\. Fill them, or pass missing='nan', 'empty' "
        r"or 'error'\.$"
    )
    with pytest.warns(MissingTextWarning, match=message):
        rows = embed(X)
    np.testing.assert_array_equal(rows[2], np.zeros(2 * HIDDEN))
    np.testing.assert_array_equal(rows[1, :HIDDEN], np.zeros(HIDDEN))
    np.testing.assert_array_equal(rows[1, HIDDEN:], rows[0, HIDDEN:])


@pytest.mark.parametrize("missing", ["nan", "empty"])
def test_missing_warns_of_nothing_that_was_asked_for(missing):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = embed(["?", None], missing=missing)
    expected = np.full(HIDDEN, np.nan) if missing == "nan" else embed([""])[0]
    assert_same_rows(rows[1], expected)


def test_missing_error_names_the_first_cell():
    message = (
        r"^row 1, column 1 of X has no text \(2 in all\)\. Fill them, or pass "
        r"missing='zero', 'nan' or 'empty'\.$"
    )
    with pytest.raises(ValueError, match=message):
        embed([["?", "?"], ["?", None], [None, "?"]], missing="error")


def test_all_texts_may_be_missing():
    assert np.isnan(embed([None, None], missing="nan")).all()


# the rest


@pytest.mark.parametrize("batch_tokens", [1, 7, 64, 100_000])
def test_batch_tokens_change_no_row(batch_tokens):
    assert_same_rows(embed(TEXTS * 5, batch_tokens=batch_tokens), embed(TEXTS * 5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 7),
        ("model", None),
        ("revision", 1),
        ("pooling", None),
        ("normalize", "yes"),
        ("prompt", 1),
        ("truncate_dim", 0),
        ("truncate_dim", 1.5),
        ("max_length", 0),
        ("max_length", "long"),
        ("long_text", "cut"),
        ("missing", "drop"),
        ("dtype", "float64"),
        ("device", 0),
        ("batch_tokens", 0),
        ("batch_tokens", "many"),
        ("store_weights_in_pickle", "embed"),
        ("verbose", -1),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_an_invalid_value_is_an_error_that_names_the_parameter(name, value, method):
    embedder = SentenceEmbedder(TINY).set_params(**{name: value})
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of SentenceEmbedder"):
        getattr(embedder, method)(TEXTS)


def test_metadata_routing_gives_no_warning():
    pipeline = make_pipeline(SentenceEmbedder(TINY))
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.fit_transform(TEXTS)


def test_column_names_must_be_those_of_fit():
    embedder = SentenceEmbedder(TINY).fit(pd.DataFrame({"a": TEXTS, "b": TEXTS}))
    assert list(embedder.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        embedder.transform(pd.DataFrame({"b": TEXTS, "a": TEXTS}))


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        pd.Series,
        pl.Series,
        pa.array,
    ],
)
def test_a_column_without_a_name_follows_a_frame_without_a_warning(make):
    embedder = SentenceEmbedder(TINY).fit(pd.DataFrame({"t": TEXTS}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(make(TEXTS))


def test_a_polars_series_names_its_features():
    assert SentenceEmbedder(TINY).fit(pl.Series("t", TEXTS)).get_feature_names_out()[0] == "t_0"


def test_repr_and_diagram_show_what_is_set():
    embedder = SentenceEmbedder(OTHER, pooling="cls")
    assert "pooling='cls'" in repr(embedder)
    assert "SentenceEmbedder" in estimator_html_repr(embedder.fit(TEXTS))
