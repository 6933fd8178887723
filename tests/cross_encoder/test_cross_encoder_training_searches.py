"""Fine-tuned cross-encoders in searches, folds and routing."""

import joblib
import numpy as np
import pytest
import sklearn
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    TunedThresholdClassifierCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, FineTuner
from tests.cross_encoder.training_data import BINARY, PAIRS, QUERY, SCORES, N, Spy
from tests.helpers.tiny_models import TINY, TINY_SCORER

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


spearman = make_scorer(lambda y, predicted: spearmanr(y, predicted).statistic)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_grid_search_gives_same_result_with_two_jobs(backend):
    tuner = FineTuner(epochs=2, batch_size=8, score_range=(0, 1), random_state=0)
    search = GridSearchCV(
        CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner),
        {
            "fine_tuner__learning_rate": [1e-4, 3e-3],
            "symmetric": [False, True],
        },
        cv=KFold(2, shuffle=True, random_state=0),
        scoring=spearman,
        error_score="raise",
    )
    one = clone(search).fit(PAIRS, SCORES)
    with joblib.parallel_config(backend=backend):
        two = clone(search).set_params(n_jobs=2).fit(PAIRS, SCORES)
    found = one.cv_results_["mean_test_score"]
    np.testing.assert_allclose(found, two.cv_results_["mean_test_score"], atol=1e-6)
    assert len(set(found.round(6))) > 2
    assert one.best_params_ == two.best_params_
    np.testing.assert_array_equal(one.predict(PAIRS), one.best_estimator_.predict(PAIRS))
    learnt = one.best_estimator_.fine_tuner
    assert learnt.learning_rate == one.best_params_["fine_tuner__learning_rate"]


def test_cross_validation_trains_each_fold_alone():
    tuner = FineTuner(epochs=1, batch_size=8, learning_rate=1e-3, random_state=0)
    scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner)
    folds = KFold(3, shuffle=True, random_state=1)
    for X in (PAIRS, PAIRS.to_numpy(), list(PAIRS.itertuples(index=False, name=None))):
        scores = cross_val_score(scorer, X, SCORES, cv=folds, scoring=spearman)
        expected = []
        for train, test in folds.split(SCORES):
            fitted = clone(scorer).fit(PAIRS.iloc[train], SCORES[train])
            expected.append(spearman(fitted, PAIRS.iloc[test], SCORES[test]))
        np.testing.assert_allclose(scores, expected)


def test_query_id_and_sample_weight_are_routed(spied):
    tuner = FineTuner(Spy(), epochs=1, batch_size=6, learning_rate=1e-3, random_state=0)
    weight = 1.0 + QUERY
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner)
        scorer.set_fit_request(query_id=True, sample_weight=True)
        scorer.set_score_request(sample_weight=True)
        found = cross_validate(
            scorer,
            PAIRS,
            np.arange(N),
            cv=GroupKFold(3),
            params={"query_id": QUERY, "sample_weight": weight, "groups": QUERY},
            return_estimator=True,
            return_indices=True,
            error_score="raise",
        )
        sizes = np.bincount(QUERY)
        seen = list(spied)
        for fitted, train, test in zip(
            found["estimator"], found["indices"]["train"], found["indices"]["test"], strict=True
        ):
            assert set(QUERY[train]).isdisjoint(QUERY[test])
            batches, seen = seen[: len(fitted.history_)], seen[len(fitted.history_) :]
            rows = [int(row) for target, _, _ in batches for row in target]
            assert sorted(rows) == train.tolist()
            for target, weights_, _ in batches:
                queries = QUERY[np.array(target, dtype=int)]
                assert weights_.tolist() == (1.0 + queries).tolist()
                runs, counts = np.unique(queries, return_counts=True)
                assert counts.tolist() == sizes[runs].tolist()
        search = GridSearchCV(scorer, {"fine_tuner__learning_rate": [1e-4, 1e-3]}, cv=GroupKFold(2))
        search.fit(PAIRS, np.arange(N), query_id=QUERY, sample_weight=weight, groups=QUERY)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        pipeline = make_pipeline(
            CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner).set_fit_request(query_id=True)
        )
        before = len(spied)
        pipeline.fit(PAIRS, np.arange(N), query_id=QUERY)
        assert len(spied) > before


def test_query_id_and_sample_weight_are_routed_to_fit_transform(spied):
    tuner = FineTuner(Spy(), epochs=1, batch_size=6, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner).set_fit_request(query_id=True)
        model = make_pipeline(scorer, sklearn.linear_model.LinearRegression())
        model.fit(PAIRS, np.arange(N), query_id=QUERY)
        assert model.predict(PAIRS).shape == (N,)
    lists = {(tuple(target), tuple(lists)) for target, _, lists in spied}
    assert all(tuple(QUERY[np.array(target, dtype=int)]) == of_lists for target, of_lists in lists)


def test_threshold_tuning_and_calibration_train_inside():
    tuner = FineTuner(epochs=1, batch_size=8, random_state=0)
    y = np.where(BINARY, "yes", "no")
    classifier = CrossEncoderClassifier(TINY, fine_tuner=tuner)
    threshold = TunedThresholdClassifierCV(
        classifier, scoring="balanced_accuracy", cv=2, random_state=0
    ).fit(PAIRS, y)
    assert set(threshold.predict(PAIRS)) <= {"yes", "no"}
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(PAIRS.to_numpy(), y)
    np.testing.assert_allclose(calibrated.predict_proba(PAIRS.to_numpy()).sum(axis=1), 1)
    scores = cross_val_score(classifier, PAIRS, y, cv=3, scoring="roc_auc", error_score="raise")
    assert np.isfinite(scores).all()
