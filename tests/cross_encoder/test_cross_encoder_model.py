"""Models, parameters and truncation of cross-encoders."""

import pickle
import shutil
import warnings

import numpy as np
import pytest
from sentence_transformers import CrossEncoder
from sklearn.base import clone, is_classifier
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, load_encoder, release_models
from sk_sentemb.exceptions import ModelNotFoundError, NoHeadError, TruncationWarning
from tests.checks.data import PAIRS
from tests.cross_encoder.data import TWO_STEPS, _seeds, both
from tests.helpers.checkpoints import make_cross_encoder
from tests.helpers.tiny_models import NLI, TINY, TINY_NLI, TINY_SCORER, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@both
def test_model_is_path_name_or_encoder(estimator):
    expected = clone(estimator).fit(PAIRS).decision_function(PAIRS)
    path = estimator.model
    for model in (path, str(path), load_encoder(path, pairs=True)):
        fitted = clone(estimator).set_params(model=model).fit(PAIRS)
        np.testing.assert_array_equal(fitted.decision_function(PAIRS), expected)


@both
@pytest.mark.parametrize("model", [TINY, load_encoder(TINY)], ids=["folder", "encoder"])
def test_model_without_head_raises(estimator, model):
    with pytest.raises(NoHeadError, match=r"Pass a cross-encoder, such as .*, or a FineTuner"):
        clone(estimator).set_params(model=model).fit(PAIRS)


@both
def test_missing_model_raises_in_fit(estimator):
    absent = clone(estimator).set_params(model=str(TINY / "nowhere"))
    with pytest.raises(ModelNotFoundError, match="looks like a path"):
        absent.fit(PAIRS)


def test_scorer_requires_one_logit():
    with pytest.raises(ValueError, match=r"outputs 3 logits .* Use CrossEncoderClassifier"):
        CrossEncoderScorer(TINY_NLI).fit(PAIRS)


@both
def test_pickle_with_weights_needs_no_folder(estimator, tmp_path):
    labels = {"labels": NLI} if is_classifier(estimator) else {}
    model = make_cross_encoder(tmp_path / "model", seed=next(_seeds), **labels)
    named = clone(estimator).set_params(model=model).fit(PAIRS)
    carried = clone(named).set_params(store_weights_in_pickle=True).fit(PAIRS)
    tuned = clone(named).set_params(fine_tuner=TWO_STEPS)
    tuned.fit(PAIRS, [NLI[i % 3] for i in range(8)] if labels else np.linspace(0, 1, 8))
    dumped = [pickle.dumps(fitted) for fitted in (named, carried, tuned)]
    expected = [fitted.predict(PAIRS) for fitted in (named, carried, tuned)]
    shutil.rmtree(model)
    del named, carried, tuned
    release_models()
    with pytest.raises(ModelNotFoundError):
        pickle.loads(dumped[0])
    for again, rows in zip(map(pickle.loads, dumped[1:]), expected[1:], strict=True):
        found = again.set_params(cache=None).predict(PAIRS)
        if labels:
            assert (again.classes_.tolist(), found.tolist()) == (sorted(NLI), rows.tolist())
        else:
            assert_same_rows(found, rows)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 7),
        ("symmetric", "yes"),
        ("prompt", 1),
        ("max_length", 0),
        ("long_text", "chunk"),
        ("missing", "zero"),
        ("dtype", "float64"),
        ("batch_tokens", 0),
        ("fine_tuner", "adam"),
        ("warm_start", "no"),
        ("store_weights_in_pickle", "embed"),
        ("verbose", -1),
    ],
)
def test_invalid_parameter_raises(estimator, name, value):
    message = f"The '{name}' parameter of {type(estimator).__name__}"
    with pytest.raises(InvalidParameterError, match=message):
        clone(estimator).set_params(**{name: value}).fit(PAIRS)


def test_classifier_rejects_missing_nan():
    with pytest.raises(InvalidParameterError, match="The 'missing' parameter"):
        CrossEncoderClassifier(TINY_NLI, missing="nan").fit(PAIRS)


@both
def test_parameters_without_effect_give_warnings(estimator):
    with pytest.warns(UserWarning, match="sample_weight has no effect without a fine_tuner"):
        clone(estimator).fit(PAIRS, sample_weight=np.ones(8))
    if not is_classifier(estimator):
        with pytest.warns(UserWarning, match="query_id has no effect without a fine_tuner"):
            clone(estimator).fit(PAIRS, query_id=range(8))


@both
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "auto"])
def test_dtype_does_not_change_dtype_of_output(estimator, dtype):
    fitted = clone(estimator).set_params(dtype=dtype).fit(PAIRS)
    assert dtype in ("auto", fitted.encoder_.dtype)
    found = fitted.decision_function(PAIRS)
    assert found.dtype == np.float32
    exact = clone(estimator).fit(PAIRS).decision_function(PAIRS)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


LONG = [("?" * 40, "!"), ("!", "?" * 40), ("?", "!"), ("?" * 40, "!")]


@pytest.mark.parametrize("symmetric", [False, True])
@both
def test_truncation_warning_counts_rows(estimator, symmetric):
    fitted = clone(estimator).set_params(max_length=12, symmetric=symmetric).fit(PAIRS)
    with pytest.warns(
        TruncationWarning, match=r"^3 of 4 pairs exceed the limit of 12 tokens"
    ) as caught:
        rows = fitted.decision_function(LONG)
    assert len(caught) == 1
    # Eight tokens of the longer text are left, and the shorter one is whole.
    fits = [("?" * 8, "!"), ("!", "?" * 8), ("?", "!"), ("?" * 8, "!")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_rows(rows, fitted.decision_function(fits))


def test_truncation_warning_ignores_missing_pairs():
    scorer = CrossEncoderScorer(TINY_SCORER, max_length=12, missing="nan").fit(PAIRS)
    with pytest.warns(TruncationWarning, match="^1 of 2 pairs exceed"):
        scores = scorer.predict([("?" * 40, None), ("?" * 40, "!"), ("?", "!")])
    np.testing.assert_array_equal(np.isnan(scores), [True, False, False])


@both
def test_long_text_error_names_row(estimator):
    fitted = clone(estimator).set_params(max_length=12, long_text="error").fit(PAIRS)
    message = (
        r"^the pair in row 1 of X has more than 12 tokens, and long_text='error'\. Shorten it, or pass "
        r"long_text='truncate'\.$"
    )
    for symmetric in (False, True):
        with pytest.raises(ValueError, match=message):
            fitted.set_params(symmetric=symmetric).predict([LONG[2], LONG[1], LONG[0]])


@both
def test_prompt_is_prepended_to_first_text(estimator):
    fitted = clone(estimator).set_params(prompt="ferry: ").fit(PAIRS)
    plain = clone(estimator).fit(PAIRS)
    prompted = [(f"ferry: {first}", second) for first, second in PAIRS]
    assert_same_rows(fitted.decision_function(PAIRS), plain.decision_function(prompted))


def test_saved_settings_are_loaded_by_sentence_transformers(tmp_path):
    scorer = CrossEncoderScorer(TINY_SCORER, prompt="ferry: ", max_length=20).fit(PAIRS)
    scorer.save_pretrained(tmp_path / "saved")
    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        np.testing.assert_allclose(reference.predict(PAIRS), scorer.predict(PAIRS), atol=1e-6)
        again = CrossEncoderScorer(tmp_path / "saved").fit(PAIRS)
        assert_same_rows(again.predict(PAIRS), scorer.predict(PAIRS))
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(FileExistsError, match="which do not belong to a checkpoint"):
        scorer.save_pretrained(tmp_path)
