"""The weights of a linear head over a frozen encoder are solved for, as scikit-learn does."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder, SentenceRegressor
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.end_to_end.linear_head import solve_linear_head
from sk_sentemb.exceptions import TruncationWarning
from tests.end_to_end.data import LABELS, NUMBERS, SEVERAL, SHOP, TEXTS
from tests.helpers.tiny_models import TINY

pytestmark = pytest.mark.usefixtures("one_thread")

THREE = np.array([*"abc"] * 8)


def classifier(model=TINY, **how):
    return SentenceClassifier(model, fine_tuner=FineTuner(trainable="head", **how))


def regressor(model=TINY, **how):
    return SentenceRegressor(model, fine_tuner=FineTuner(trainable="head", **how))


def embeddings():
    """Return embeddings, and the factor that gives all their columns together a variance of 1."""
    found = SentenceEmbedder(TINY).fit_transform(TEXTS).astype(np.float64)
    return found, found.var(axis=0).sum() ** -0.5


@pytest.mark.parametrize("y", [LABELS, THREE], ids=["two", "three"])
def test_linear_head_equals_logistic_regression(y):
    X, factor = embeddings()
    # Regularization of scaled features is that of the features with another strength.
    grid = {"C": np.logspace(-1, 3, 9) * factor**2}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=10_000, tol=1e-8)
    search = GridSearchCV(model, grid, cv=folds, scoring="neg_log_loss").fit(X, y)
    # Nearer to scikit-learn's default, the fewer rows there are; halfway with 400.
    best, ratio = search.best_params_["C"] / factor**2, len(y) / (len(y) + 400)
    expected = model.set_params(C=best**ratio * factor**2).fit(X, y)
    fitted = classifier().fit(TEXTS, y)
    np.testing.assert_allclose(fitted.predict_proba(TEXTS), expected.predict_proba(X), atol=1e-3)
    assert (fitted.predict(TEXTS) == expected.predict(X)).mean() > 0.95


def test_linear_head_equals_ridge_regression():
    X, factor = embeddings()
    y = StandardScaler().fit_transform(NUMBERS[:, None])[:, 0]
    alpha = RidgeCV(np.logspace(-2, 4, 13)).fit(X * factor, y).alpha_
    expected = Ridge(alpha**0.5).fit(X * factor, y).predict(X * factor)
    found = regressor().fit(TEXTS, NUMBERS).predict(TEXTS)
    np.testing.assert_allclose(found, expected * NUMBERS.std() + NUMBERS.mean(), rtol=1e-4)


def test_linear_head_solves_each_label():
    fitted = classifier().fit(TEXTS, SEVERAL)
    for label in (0, 1):
        alone = classifier().fit(TEXTS, SEVERAL[:, label])
        np.testing.assert_allclose(
            fitted.predict_proba(TEXTS)[:, label], alone.predict_proba(TEXTS)[:, 1], atol=1e-4
        )
    # The last label has one value.
    assert fitted.predict_proba(TEXTS)[:, 2].max() < 0.05


@pytest.mark.parametrize(
    ("make", "y", "wrong"),
    [(classifier, LABELS, "sea"), (regressor, NUMBERS, 1e3), (classifier, SEVERAL, 1)],
    ids=["classes", "numbers", "labels"],
)
def test_linear_head_ignores_rows_of_zero_weight(make, y, wrong):
    more = np.concatenate([y, np.full_like(y[:4], wrong)])
    weight = np.r_[np.ones(24), np.zeros(4)]
    given = make().fit([*TEXTS, *TEXTS[:4]], more, sample_weight=weight)
    without = make().fit(TEXTS, y)
    for name, parameter in given.head_.state_dict().items():
        np.testing.assert_allclose(parameter, without.head_.state_dict()[name], rtol=1e-5)


def test_linear_head_class_weight_equals_sample_weight():
    y = np.array(["a"] * 18 + ["b"] * 6)
    balanced = classifier(class_weight="balanced").fit(TEXTS, y)
    by_row = classifier().fit(TEXTS, y, sample_weight=np.where(y == "a", 24 / 36, 24 / 12))
    np.testing.assert_allclose(
        balanced.decision_function(TEXTS), by_row.decision_function(TEXTS), rtol=1e-4, atol=1e-4
    )
    plain = classifier().fit(TEXTS, y)
    assert (balanced.predict(TEXTS) == "b").sum() > (plain.predict(TEXTS) == "b").sum()


def test_linear_head_class_of_zero_weight_is_least_probable():
    weight = np.where(THREE == "b", 0.0, 1.0)
    fitted = classifier().fit(TEXTS, THREE, sample_weight=weight)
    assert set(fitted.predict_proba(TEXTS).argmin(axis=1)) == {1}


def test_linear_head_solves_classes_of_one_row():
    fitted = classifier().fit(TEXTS[:3], ["a", "b", "c"])
    assert fitted.predict(TEXTS[:3]).tolist() == ["a", "b", "c"]
    fitted = classifier().fit(TEXTS, [*LABELS[:23], "alone"])
    assert fitted.predict_proba(TEXTS).shape == (24, 3)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_linear_head_solves_few_rows(n_rows):
    found = regressor().fit(TEXTS[:n_rows], NUMBERS[:n_rows]).predict(TEXTS)
    np.testing.assert_allclose(found.mean(), NUMBERS[:n_rows].mean(), atol=2)


def test_linear_head_regularizes_table_like_embeddings():
    """The size of one part of a row does not decide how much it counts."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 12))
    y = features[:, 0] + features[:, 10]
    coef, intercept = solve_linear_head("squared_error", features, [8, 4], y, None, 1)
    smaller = features * np.r_[np.full(8, 0.05), np.ones(4)]
    other, same = solve_linear_head("squared_error", smaller, [8, 4], y, None, 1)
    np.testing.assert_allclose(other[:, :8] * 0.05, coef[:, :8])
    np.testing.assert_allclose(other[:, 8:], coef[:, 8:])
    np.testing.assert_allclose(same, intercept)


def test_linear_head_takes_one_step_and_is_deterministic():
    one, other = (classifier(random_state=seed).fit(SHOP, LABELS) for seed in (0, 1))
    np.testing.assert_array_equal(one.decision_function(SHOP), other.decision_function(SHOP))
    assert one.history_["step"].tolist() == [1]
    assert one.history_["learning_rate"].isna().all()
    assert one.history_["loss"].iloc[0] < np.log(2)


def test_linear_head_is_validated():
    fitted = classifier(validation_fraction=0.25, random_state=0).fit(SHOP, LABELS)
    assert np.isfinite(fitted.history_["validation_loss"]).all()


def test_linear_head_warm_start_solves_for_new_rows():
    warm = classifier().set_params(warm_start=True).fit(TEXTS[:12], LABELS[:12])
    warm.fit(TEXTS, LABELS)
    cold = classifier().fit(TEXTS, LABELS)
    np.testing.assert_allclose(warm.decision_function(TEXTS), cold.decision_function(TEXTS))


def test_linear_head_ignores_step_parameters_with_warning():
    with pytest.warns(UserWarning, match="head_learning_rate and max_steps have no effect"):
        classifier(head_learning_rate=0.1, max_steps=3).fit(TEXTS, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(head_learning_rate=0.1, epochs=1).fit(TEXTS, LABELS)


@pytest.mark.parametrize(("name", "value"), [("interpolation", 0.5), ("early_stopping", True)])
def test_linear_head_is_not_interpolated_or_stopped_early(name, value):
    """The weights before it are random, and no row is held out for a decision that is not made."""
    with pytest.warns(UserWarning, match=f"^{name} has no effect"):
        found = classifier(random_state=0, **{name: value}).fit(TEXTS, LABELS)
    expected = classifier(random_state=0).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(found.decision_function(TEXTS), expected.decision_function(TEXTS))
    held_out = {"validation_fraction": 0.25}
    assert "validation_loss" in classifier(**held_out).fit(TEXTS, LABELS).history_


def test_other_heads_train_to_convergence():
    made = classifier(random_state=0).set_params(hidden_layer_sizes=(8,), dropout=0.0)
    fitted = made.fit(TEXTS, LABELS)
    assert len(fitted.history_) == 200
    assert fitted.score(TEXTS, LABELS) == 1.0
    # Steps that draw some rows more often than others are not a convex problem over all rows.
    assert len(classifier(sampling="balanced").fit(TEXTS, LABELS).history_) == 200


def test_linear_head_matches_ridge_on_table_with_texts():
    """Predict the length of messages from their text, their intent and a number."""
    banking = load_banking77_sample()
    n_commas = banking.data.str.count(",").astype(float).where(banking.data.index % 8 > 0)
    intents = banking.target_names[banking.target]
    X = pd.DataFrame({"text": banking.data, "intent": intents, "n_commas": n_commas})
    y = np.log(banking.data.str.len().to_numpy())
    scores = {"solved": [], 1: [], 10: []}
    test = np.arange(200)
    for train in np.arange(200, 500).reshape(2, 150):
        made = regressor("all-MiniLM-L6-v2").set_params(text="text", max_length=16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            fitted = made.fit(X.iloc[train], y[train])
            seen, unseen = (fitted.transform(X.iloc[part]) for part in (train, test))
            scores["solved"].append(fitted.score(X.iloc[test], y[test]))
        for alpha in (1, 10):
            ridge = Ridge(alpha).fit(seen, y[train])
            scores[alpha].append(r2_score(y[test], ridge.predict(unseen)))
    found = {name: np.mean(values) for name, values in scores.items()}
    assert found["solved"] > max(found[1], found[10]) - 0.02


def test_table_of_one_column_keeps_its_names():
    frame = pd.DataFrame({"text": TEXTS})
    fitted = classifier().fit(frame, LABELS)
    assert fitted.feature_names_in_.tolist() == ["text"]
