"""Pictures of fitted estimators, in the manner of scikit-learn's displays."""

from .training_curve import TrainingCurveDisplay

__all__ = ["TrainingCurveDisplay"]
