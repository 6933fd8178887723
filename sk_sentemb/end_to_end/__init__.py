"""Encoder and head trained together: classes and numbers for rows with texts."""

from .classifier import SentenceClassifier
from .regressor import SentenceRegressor

__all__ = ["SentenceClassifier", "SentenceRegressor"]
