"""Classifier and regressor whose encoder and head are trained together."""

from .classifier import SentenceClassifier
from .regressor import SentenceRegressor

__all__ = ["SentenceClassifier", "SentenceRegressor"]
