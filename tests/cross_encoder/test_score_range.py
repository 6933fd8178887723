"""The units of the scores of a CrossEncoderScorer."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sentence_transformers import CrossEncoder

from sk_sentemb import CrossEncoderScorer
from tests.cross_encoder.training_data import (
    BINARY,
    FIRST,
    GRADES,
    PAIRS,
    QUERY,
    SCORES,
    SECOND,
    N,
    tuned,
)
from tests.helpers.tiny_models import assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
@pytest.mark.parametrize("ends", [(0, 5), (-2, 2)])
def test_predictions_have_units_of_y(loss, ends, plain):
    low, high = ends
    y = low + (high - low) * SCORES
    how = {"epochs": 12, "batch_size": 12, "learning_rate": 3e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = tuned(y=y, model=plain, loss=loss, score_range=ends, **how)
        unit = tuned(y=SCORES, model=plain, loss=loss, **how)
    assert said.score_range_ == (low, high)
    np.testing.assert_allclose(said.history_["loss"], unit.history_["loss"], atol=1e-4)
    activation = expit if loss == "binary_cross_entropy" else np.asarray
    expected = low + (high - low) * activation(said.decision_function(PAIRS))
    np.testing.assert_allclose(said.predict(PAIRS), expected, atol=1e-5)
    assert said.score(PAIRS, y) > 0.5
    assert np.abs(said.predict(PAIRS) - y).mean() < 0.25 * (high - low)
    np.testing.assert_array_equal(said.transform(PAIRS)[:, 0], said.predict(PAIRS))
    assert said.rank(FIRST[0], SECOND)["score"].between(low - 1, high + 1).all()


def test_score_range_defaults_to_range_of_y_with_warning():
    with pytest.warns(UserWarning, match="y goes from 0 to 5 and is scaled to 0 to 1"):
        scorer = tuned(y=SCORES * 5)
    assert scorer.score_range_ == (0.0, 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuned(y=0.2 + SCORES / 2).score_range_ == (0.0, 1.0)
    with pytest.raises(ValueError, match=r"y\[20\] is 4.347826, outside of score_range=\(0, 4.2\)"):
        tuned(y=SCORES * 5, score_range=(0, 4.2))
    with pytest.raises(ValueError, match="y is 5 in all rows"):
        tuned(y=np.full(N, 5.0))
    assert tuned(y=GRADES, score_range=(0, 3), fit={"query_id": QUERY}).score_range_ == (0.0, 1.0)
    y = 0.1 + SCORES / 5
    assert tuned(y=y, score_range=(y.min(), y.max())).score_range_ == (y.min(), y.max())


def test_score_range_makes_zeros_and_ones_scores():
    """A fold may have no others."""
    scorer = tuned(y=BINARY, score_range=(0, 5))
    assert scorer.score_range_ == (0.0, 5.0)
    fifth = tuned(y=BINARY / 5, score_range=(0, 1))
    assert_same_rows(scorer.predict(PAIRS), 5 * fifth.predict(PAIRS))
    with pytest.raises(ValueError, match=r"y\[0\] is 0, outside of score_range=\(1, 5\)"):
        tuned(y=BINARY, score_range=(1, 5))


def test_saturated_predictions_stay_in_score_range():
    scorer = tuned(y=0.1 + SCORES / 2, score_range=(0.1, 0.7))
    scorer.encoder_.head.network.classifier.bias.add_(90.0)
    found = scorer.predict(PAIRS)
    assert (found == np.float32(0.7)).all()
    tuned(y=found, score_range=(0.1, 0.7))
    # Where the scores are all the same, the logits are not.
    order = scorer.rank(FIRST[0], SECOND)["index"].to_numpy()
    logits = scorer.decision_function([(FIRST[0], text) for text in SECOND])
    assert (np.diff(logits[order]) <= 0).all()
    assert (order != np.arange(N)).any()
    frozen = scorer.set_params(fine_tuner=None).fit(PAIRS)
    assert frozen.score_range_ == (0.0, 1.0)
    assert not hasattr(frozen, "history_")


def test_score_range_is_kept_by_copies_not_by_save_pretrained(tmp_path):
    scorer = tuned(y=SCORES * 5, score_range=(0, 5))
    for again in (pickle.loads(pickle.dumps(scorer)), copy.deepcopy(scorer)):
        assert_same_rows(again.predict(PAIRS), scorer.predict(PAIRS))
        pd.testing.assert_frame_equal(again.history_, scorer.history_)
    scorer.save_pretrained(tmp_path / "saved")
    unit = CrossEncoderScorer(tmp_path / "saved").fit(PAIRS)
    assert_same_rows(5 * unit.predict(PAIRS), scorer.predict(PAIRS))
    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    found = reference.predict(PAIRS.to_numpy().tolist())
    np.testing.assert_allclose(found, unit.predict(PAIRS), atol=1e-6)
