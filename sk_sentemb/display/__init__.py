"""Displays of fitted estimators, in the style of scikit-learn."""

from .training_curve import TrainingCurveDisplay

__all__ = ["TrainingCurveDisplay"]
