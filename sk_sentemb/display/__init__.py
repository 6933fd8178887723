"""Displays of fitted estimators, in the style of scikit-learn."""

from .embedding_map import EmbeddingMapDisplay
from .training_curve import TrainingCurveDisplay

__all__ = ["EmbeddingMapDisplay", "TrainingCurveDisplay"]
