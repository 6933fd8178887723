"""Solve for the weights of a linear head over fixed features, which is a convex problem."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

# Inverse regularization strengths and penalties to choose from, the strongest regularization first.
_CS = np.logspace(-1, 3, 9)
_ALPHAS = np.logspace(-2, 4, 13)

# The columns of each part of a row have the same variance on average, divided by a power of the number
# of columns: 0 for equal columns, 1 for equal parts, 2 for a part that counts more, the smaller it is.
_EXPONENTS = (0, 1, 2)

# A variance below this part of the mean square is that of a constant, rounded.
_TINY = 1e-12

# Cross-validation over few rows chooses badly. With this many rows, the inverse regularization
# strength is halfway, in logarithms, between scikit-learn's default and the cross-validated one;
# with fewer, it is nearer to the default. Chosen on draws from clothing reviews, Banking77,
# docstrings and SICK.
_DEFAULT_C, _HALFWAY = 1.0, 400

# Candidates are compared by rough solutions: in folds, or in one split if there are many rows.
_ROUGH = {"tol": 1e-4, "max_iter": 200}
_EXACT = {"tol": 1e-5, "max_iter": 2000}
_N_FOLDS, _MANY_ROWS = 5, 2000

# The fewest rows by which penalties can be compared.
_FEWEST_ROWS = 3

# Cross-validation tries weaker regularization until the score is worse this many times in a row.
_PATIENCE = 2

Solution = tuple[np.ndarray, np.ndarray]


def solve_linear_head(
    error: str,
    features: np.ndarray,
    sizes: list[int],
    target: np.ndarray,
    weight: np.ndarray | None,
    n_outputs: int,
) -> Solution:
    """Solve for the weights of a linear head, and choose their L2 regularization by cross-validation.

    Regularization depends on the scale of features, and the columns of a table are some twenty times as
    large as those of embeddings. So cross-validation also chooses the scale of each part of a row.
    """
    features = features.astype(np.float64)
    weight = np.ones(len(features)) if weight is None else weight.astype(np.float64)
    # Relative to each other, since regularization is weaker, the larger all weights are.
    weight = weight / weight.mean()
    # Several labels are problems of their own.
    problems = list(target.astype(int).T) if error == "binary_cross_entropy" else [target]
    choose = _choose_alpha if error == "squared_error" else _choose_c
    candidates = []
    for scale in _compute_scales(features, sizes, weight):
        chosen = [choose(features * scale, problem, weight) for problem in problems]
        candidates.append((sum(score for score, _ in chosen), scale, [c for _, c in chosen]))
    _, scale, strengths = min(candidates, key=lambda candidate: candidate[0])
    features = features * scale
    if error == "squared_error":
        coef, intercept = _solve_ridge(features, target, weight, strengths[0])
    elif error == "cross_entropy":
        coef, intercept = _solve_classes(features, target, weight, strengths[0], n_outputs)
    else:
        solved = [
            _solve_label(features, label, weight, c)
            for label, c in zip(problems, strengths, strict=True)
        ]
        coef, intercept = (np.stack(parts) for parts in zip(*solved, strict=True))
    return coef * scale, intercept


def _compute_scales(features: np.ndarray, sizes: list[int], weight: np.ndarray) -> list[np.ndarray]:
    """Compute candidate scales of the columns, each with a total variance of 1."""
    mean = np.average(features, axis=0, weights=weight)
    square = np.average(features**2, axis=0, weights=weight)
    variance = np.average((features - mean) ** 2, axis=0, weights=weight)
    found = []
    for exponent in _EXPONENTS if len(set(sizes)) > 1 else _EXPONENTS[:1]:
        scale = np.ones(features.shape[1])
        for part in np.split(np.arange(features.shape[1]), np.cumsum(sizes)[:-1]):
            if (mean_variance := variance[part].mean()) > _TINY * square[part].mean():
                scale[part] = (mean_variance * len(part) ** exponent) ** -0.5
        total = (variance * scale**2).sum()
        found.append(scale / np.sqrt(total) if total > _TINY * (square * scale**2).sum() else scale)
    return found


def _choose_alpha(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Return the leave-one-out error of a ridge regression, and the penalty for it."""
    if len(target) < _FEWEST_ROWS:
        return 0.0, 1.0
    found = RidgeCV(_ALPHAS).fit(features, target, sample_weight=weight)
    # With few rows, the best penalty is as often too high as too low; halfway to scikit-learn's default,
    # which suits features of variance 1, is safer.
    return -found.best_score_, float(np.sqrt(found.alpha_))


def _solve_ridge(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, alpha: float
) -> Solution:
    target = target.reshape(len(target), -1)
    ridge = Ridge(alpha).fit(features, target, sample_weight=weight)
    return ridge.coef_.reshape(target.shape[1], -1), np.ravel(ridge.intercept_)


def _solve_classes(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, c: float, n_classes: int
) -> Solution:
    """Return a row of coefficients for each class."""
    coef, intercept = np.zeros((n_classes, features.shape[1])), np.zeros(n_classes)
    present = np.unique(target)
    if len(present) > 1:
        model = _fit_logistic(features, target, weight, c)
        if len(present) == 2:
            # One output for the second class: half of it for each, with the same difference.
            coef[present] = np.outer([-0.5, 0.5], model.coef_[0])
            intercept[present] = np.multiply([-0.5, 0.5], model.intercept_[0])
        else:
            coef[present], intercept[present] = model.coef_, model.intercept_
    absent = np.setdiff1d(np.arange(n_classes), present)
    intercept[absent] = intercept[present].min() - np.log(len(target) + 1)
    return coef, intercept


def _solve_label(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, c: float
) -> tuple[np.ndarray, float]:
    """Return the coefficients of one label, and its intercept."""
    if len(np.unique(target)) < 2:
        odds = (target.sum() + 0.5) / (len(target) - target.sum() + 0.5)
        return np.zeros(features.shape[1]), float(np.log(odds))
    model = _fit_logistic(features, target, weight, c)
    return model.coef_[0], float(model.intercept_[0])


def _fit_logistic(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, c: float
) -> LogisticRegression:
    return _fit_silently(LogisticRegression(C=c, **_EXACT), features, target, weight)


def _fit_silently(
    model: LogisticRegression, features: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> LogisticRegression:
    with warnings.catch_warnings():
        # Weak regularization takes many steps, the last of which change little.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, target, sample_weight=weight)


def _choose_c(features: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return the lowest cross-validated log loss, and an inverse regularization strength."""
    sizes = np.bincount(target)
    if np.count_nonzero(sizes > 1) < 2:
        return 0.0, _DEFAULT_C
    # A class of one row is learned from in each fold.
    apart = np.flatnonzero(sizes[target] == 1)
    rows = np.flatnonzero(sizes[target] > 1)
    totals = np.zeros(len(_CS))
    best, n_worse = 0, 0
    models = []
    for train, test in _split_folds(target[rows]):
        models.append(
            (
                LogisticRegression(warm_start=True, **_ROUGH),
                np.concatenate([rows[train], apart]),
                rows[test],
            )
        )
    for i, c in enumerate(_CS):
        for model, train, test in models:
            _fit_silently(model.set_params(C=c), features[train], target[train], weight[train])
            totals[i] += _compute_log_loss(model, features[test], target[test], weight[test])
        if totals[i] < totals[best]:
            best, n_worse = i, 0
        elif i:
            n_worse += 1
        if n_worse == _PATIENCE:
            break
    ratio = len(target) / (len(target) + _HALFWAY)
    return totals[best], float(_DEFAULT_C * (_CS[best] / _DEFAULT_C) ** ratio)


def _split_folds(target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return stratified folds, or one split where there are many rows."""
    rows = np.zeros(len(target))
    if len(target) > _MANY_ROWS:
        return list(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(rows, target))
    sizes = np.bincount(target)
    n_folds = min(_N_FOLDS, int(sizes.max()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(rows, target))


def _compute_log_loss(
    model: LogisticRegression, features: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> float:
    """Return the log loss, summed over the rows with classes that the model knows."""
    known = np.isin(target, model.classes_)
    proba = model.predict_proba(features[known])
    of_class = proba[np.arange(len(proba)), np.searchsorted(model.classes_, target[known])]
    return float(-(weight[known] * np.log(of_class.clip(1e-15))).sum())
