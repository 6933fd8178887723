"""Models that read two texts together: a number for each pair, or a class."""

from .classifier import CrossEncoderClassifier
from .scorer import CrossEncoderScorer

__all__ = ["CrossEncoderClassifier", "CrossEncoderScorer"]
