"""TODO."""

from .backbone import Backbone, StaticBackbone
from .blocks import tokenized_blocks
from .execution_mode import TOLERANCE, best_way, made_up_texts, relative_distance
from .last_layer import layers_of
from .packs import Pack, make_packs
from .prefetch import prepared_ahead
from .runner import join_windows, run_packs, unit_rows

__all__ = [
    "TOLERANCE",
    "Backbone",
    "Pack",
    "StaticBackbone",
    "best_way",
    "join_windows",
    "layers_of",
    "made_up_texts",
    "make_packs",
    "prepared_ahead",
    "relative_distance",
    "run_packs",
    "tokenized_blocks",
    "unit_rows",
]
