"""Hard negative mining for fine-tuning."""

from .mine import mine_hard_negatives
from .neighbors import fit_if_needed as fit_if_needed

__all__ = ["mine_hard_negatives"]
