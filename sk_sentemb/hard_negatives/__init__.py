"""Hard negatives: pairs in, triplets to fine-tune on out."""

from .mine import mine_hard_negatives

__all__ = ["mine_hard_negatives"]
