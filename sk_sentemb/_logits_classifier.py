"""Predictions of classifiers whose model outputs logits."""

from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted


class LogitsClassifierMixin(ClassifierMixin):
    """Classes and probabilities from one, two or more logits for each row."""

    classes_: np.ndarray

    @property
    def _is_multilabel(self) -> bool:
        """Whether `y` has several labels at once, each with its own logit."""
        return False

    def _compute_logits(self, X: Any) -> np.ndarray:
        """Compute the logits in the order of `classes_`, or one logit for the second of two."""
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The same columns as in ``fit``. It may have no rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            A class of `classes_` for each row; with several labels at once, 0 or 1 for each label.
        """
        scores = self.decision_function(X)
        if self._is_multilabel:
            return (scores > 0).astype(int)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The same columns as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            The probabilities, in the order of `classes_`; with several labels at once, the probability
            of each label.
        """
        scores = self.decision_function(X).astype(np.float64)
        if self._is_multilabel:
            return expit(scores)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The same columns as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            The log-probabilities, in the order of `classes_`; with several labels at once, the
            log-probability of each label.
        """
        scores = self.decision_function(X).astype(np.float64)
        if self._is_multilabel:
            return log_expit(scores)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return log_softmax(scores, axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the logits of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The same columns as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float32
            The logits, in the order of `classes_`; with two classes, the logit of the second class
            minus the logit of the first.
        """
        check_is_fitted(self)
        logits = self._compute_logits(X)
        if self._is_multilabel or logits.shape[1] > 2:
            return logits
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
