"""Displays of fitted estimators, in the style of scikit-learn."""

from .embedding_map import EmbeddingMapDisplay
from .retrieval_curve import RetrievalCurveDisplay
from .similarity_matrix import SimilarityDisplay
from .training_curve import TrainingCurveDisplay

__all__ = [
    "EmbeddingMapDisplay",
    "RetrievalCurveDisplay",
    "SimilarityDisplay",
    "TrainingCurveDisplay",
]
