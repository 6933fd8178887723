"""Cross-encoders: models that read both texts of a pair jointly."""

from .classifier import CrossEncoderClassifier
from .scorer import CrossEncoderScorer

__all__ = ["CrossEncoderClassifier", "CrossEncoderScorer"]
