"""Copies, pickles, threads and meta-estimators."""

import copy
import io
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sk_sentemb import (
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    load_encoder,
    release_models,
)
from tests.end_to_end.data import (
    LABELS,
    NUMBERS,
    SEVERAL,
    SHOP,
    TEXTS,
    TwoLayers,
    classifier,
    regressor,
    tuner,
)
from tests.helpers.tiny_models import OTHER, PROMPTED, PROMPTS, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def shop_regressor():
    return regressor(hidden_layer_sizes=(4,), fusion="attention").fit(SHOP, NUMBERS)


@pytest.mark.parametrize("make", [shop_regressor, lambda: classifier().fit(SHOP, SEVERAL)])
@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy", "copy"])
def test_copies_give_equal_outputs(way, make):
    fitted = make()
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    copied = {
        "pickle": lambda: pickle.loads(pickle.dumps(fitted)),
        "joblib": lambda: joblib.load(stream),
        "deepcopy": lambda: copy.deepcopy(fitted),
        "copy": lambda: copy.copy(fitted),
    }[way]()
    assert_same_rows(copied.predict(SHOP), fitted.predict(SHOP))
    assert_same_rows(copied.transform(SHOP), fitted.transform(SHOP))
    pd.testing.assert_frame_equal(copied.history_, fitted.history_)
    assert copied.fingerprint_ == copied.embedder_.fingerprint_ == fitted.fingerprint_
    assert not copied.head_.training
    assert (copied.encoder_ is fitted.encoder_) == (way in ("copy", "deepcopy"))


def test_clone_is_not_fitted(of_shop):
    fresh = clone(of_shop)
    for name in ("encoder_", "head_", "classes_", "history_"):
        assert not hasattr(fresh, name)
    assert not hasattr(fresh, "embedder_")
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        with pytest.raises(NotFittedError):
            getattr(fresh, method)(SHOP)
    with pytest.raises(NotFittedError):
        fresh.get_feature_names_out()
    with pytest.raises(NotFittedError):
        fresh.save_pretrained("nowhere")
    np.testing.assert_array_equal(fresh.fit(SHOP, LABELS).predict(SHOP), of_shop.predict(SHOP))


def test_params_are_kept_as_given(tmp_path):
    for kind in (SentenceClassifier, SentenceRegressor):
        given = kind(TINY, head=TwoLayers, text=["a"], cache=tmp_path, fine_tuner=tuner())
        params = given.get_params(deep=False)
        assert all(value is params[name] for name, value in vars(kind(**params)).items())
        assert kind().set_params(**params).get_params() == given.get_params()
        assert given.set_params(fine_tuner__epochs=9).fine_tuner.epochs == 9


def test_set_params_is_used_by_next_fit(of_texts):
    fitted = classifier().fit(SHOP, SEVERAL)
    fitted.set_params(model=OTHER, fusion="gated").fit(TEXTS, LABELS)
    expected = classifier(OTHER, fusion="gated").fit(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.n_features_in_ == 1


def test_pickle_has_trained_weights_or_reference(tmp_path):
    trained = classifier().fit(TEXTS, LABELS)
    frozen = classifier(how={"trainable": "head"}).fit(TEXTS, LABELS)
    embedded = classifier(how={"trainable": "head"}, store_weights_in_pickle=True).fit(
        TEXTS, LABELS
    )
    sizes = [len(pickle.dumps(fitted)) for fitted in (trained, frozen, embedded)]
    weights = sum(p.nbytes for p in load_encoder(TINY).backbone.model.parameters())
    assert min(sizes[0], sizes[2]) > weights
    assert sizes[1] < weights / 2
    again = pickle.loads(pickle.dumps(frozen))
    assert again.encoder_ is load_encoder(TINY)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), frozen.predict_proba(TEXTS))


LOADED = """
import sys, joblib, numpy as np, pandas as pd
X = pd.read_parquet(sys.argv[1])
for file in sys.argv[2:]:
    np.save(file, joblib.load(file).decision_function(X))
"""


def test_pickle_in_another_process(tmp_path, run_python):
    made = {
        "trained": classifier(hidden_layer_sizes=(4,), fusion="gated"),
        "frozen": classifier(how={"trainable": "head"}),
    }
    SHOP.to_parquet(tmp_path / "X")
    for name, estimator in made.items():
        joblib.dump(estimator.fit(SHOP, [*"abc"] * 8), tmp_path / name)
    run_python(LOADED, tmp_path / "X", *(tmp_path / name for name in made))
    for name, estimator in made.items():
        found = np.load(tmp_path / f"{name}.npy")
        assert_same_rows(found, estimator.decision_function(SHOP))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_save_pretrained_for_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    fitted = classifier(PROMPTED, prompt_name="query", max_length=20).fit(SHOP, LABELS)
    fitted.save_pretrained(tmp_path / "saved")
    expected = fitted.embedder_.transform(TEXTS)
    assert_same_rows(SentenceEmbedder(tmp_path / "saved").fit_transform(TEXTS), expected)
    reference = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert_same_rows(reference.encode(TEXTS), expected)
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(FileExistsError):
        fitted.save_pretrained(tmp_path)


@pytest.mark.gpu
def test_pickle_from_gpu_loads_on_cpu(tmp_path, run_python):
    fitted = classifier(device="cuda").fit(SHOP, LABELS)
    joblib.dump(fitted, tmp_path / "fitted")
    SHOP.to_parquet(tmp_path / "X")
    hidden = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = ''\n"
    run_python(hidden + LOADED, tmp_path / "X", tmp_path / "fitted")
    found = np.load(tmp_path / "fitted.npy")
    np.testing.assert_allclose(found, fitted.decision_function(SHOP), atol=1e-4)


def test_tags():
    assert is_classifier(classifier())
    assert is_regressor(regressor())
    assert get_tags(classifier()).classifier_tags.multi_label
    assert get_tags(regressor()).target_tags.multi_output
    for estimator in (classifier(), regressor()):
        tags = get_tags(estimator)
        assert tags.target_tags.required
        assert tags.input_tags.string
        assert tags.input_tags.allow_nan
        assert tags.transformer_tags is not None


def test_in_meta_estimators():
    fast = classifier(how={"trainable": "head"})
    calibrated = CalibratedClassifierCV(fast, cv=2).fit(SHOP, LABELS)
    np.testing.assert_allclose(calibrated.predict_proba(SHOP).sum(axis=1), 1)
    stacked = StackingClassifier([("one", fast), ("other", clone(fast))], cv=2)
    assert stacked.fit(SHOP, LABELS).predict(SHOP).shape == (24,)
    rest = OneVsRestClassifier(fast).fit(np.array(TEXTS, dtype=object), [*"abc"] * 8)
    assert rest.predict_proba(TEXTS[:2]).shape == (2, 3)
    predicted = cross_val_predict(regressor(how={"trainable": "head"}), SHOP, NUMBERS, cv=2)
    assert predicted.shape == (24,)
    kinds = ["neg_log_loss", "roc_auc", "accuracy"]
    scores = cross_validate(fast, SHOP, LABELS, cv=2, scoring=kinds, error_score="raise")
    assert all(np.isfinite(scores[f"test_{kind}"]).all() for kind in kinds)


def test_sample_weight_is_routed():
    weight = (np.arange(24) >= 6).astype(float)
    expected = classifier().fit(SHOP, LABELS, sample_weight=weight).predict_proba(SHOP)
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("error")
        asks = classifier().set_fit_request(sample_weight=True)
        routed = make_pipeline("passthrough", asks).fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(routed.predict_proba(SHOP), expected)
        asks = asks.set_score_request(sample_weight=True)
        search = GridSearchCV(asks, {"fusion": ["concat"]}, cv=2, error_score="raise")
        search.fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(search.predict_proba(SHOP), expected)
        last = LogisticRegression().set_fit_request(sample_weight=False)
        first = make_pipeline(asks, last)
        first.fit(SHOP, LABELS, sample_weight=weight)
        np.testing.assert_array_equal(first[0].predict_proba(SHOP), expected)
        ignores = classifier().set_fit_request(sample_weight=False)
        plain = make_pipeline("passthrough", ignores).fit(SHOP, LABELS)
        assert np.abs(plain.predict_proba(SHOP) - expected).max() > 1e-5


def test_threads_share_one_estimator(of_shop):
    jobs = [SHOP[i % 20 :] for i in range(24)]
    expected = [of_shop.decision_function(X) for X in jobs]
    with ThreadPoolExecutor(8) as pool:
        for rows, right in zip(pool.map(of_shop.decision_function, jobs), expected, strict=True):
            np.testing.assert_array_equal(rows, right)


def test_threads_fit_independently():
    run = joblib.Parallel(n_jobs=3, backend="threading")
    how = [{"random_state": seed, "validation_fraction": 0.25} for seed in (0, 1, 0, 1)]
    found = run(joblib.delayed(lambda h: classifier(how=h).fit(SHOP, LABELS))(h) for h in how)
    scores = [fitted.decision_function(SHOP) for fitted in found]
    np.testing.assert_array_equal(scores[:2], scores[2:])
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_nothing_is_printed_and_global_state_is_unchanged():
    def state():
        return {
            "environment": dict(os.environ),
            "warnings": list(warnings.filters),
            "numpy": str(np.random.get_state(legacy=False)),  # noqa: NPY002
            "torch": torch.get_rng_state().tolist(),
            "threads": torch.get_num_threads(),
            "grad": torch.is_grad_enabled(),
        }

    out, err = io.StringIO(), io.StringIO()
    before = state()
    with redirect_stdout(out), redirect_stderr(err):
        fitted = classifier(how={"validation_fraction": 0.25, "early_stopping": True})
        fitted.fit(SHOP, LABELS).predict(SHOP)
        regressor(fusion="attention").fit(TEXTS, NUMBERS).predict(TEXTS)
    assert state() == before
    assert out.getvalue() + err.getvalue() == ""


def test_model_is_loaded_encoder_with_prompts(of_texts):
    encoder = load_encoder(TINY)
    fitted = classifier(encoder).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(TEXTS), of_texts.predict_proba(TEXTS))
    with pytest.raises(ValueError, match="has no effect on a loaded model"):
        classifier(encoder, dtype="bfloat16").fit(TEXTS, LABELS)
    named, given = (
        classifier(PROMPTED, **prompt).fit(TEXTS, LABELS)
        for prompt in ({"prompt_name": "query"}, {"prompt": PROMPTS["query"]})
    )
    np.testing.assert_array_equal(named.predict_proba(TEXTS), given.predict_proba(TEXTS))


def test_default_parameters_train():
    """A real model, and no parameter but the seed."""
    good = ["I love it.", "Fits very well.", "My favourite dress.", "So soft and warm!"]
    bad = ["It fell apart.", "Too tight!", "I sent it back.", "Ugly, and far too short."]
    release_models()
    fitted = SentenceClassifier(fine_tuner=FineTuner(epochs=3, batch_size=4, random_state=0))
    fitted.fit(good + bad, [1] * 4 + [0] * 4)
    assert fitted.predict(["I love this warm dress.", "It is ugly and too tight."]).tolist() == [
        1,
        0,
    ]
