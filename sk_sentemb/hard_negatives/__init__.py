"""Hard negative mining for fine-tuning."""

from .mine import mine_hard_negatives

__all__ = ["mine_hard_negatives"]
