"""The forward pass without padding: which texts run together, and how."""

from .backbone import Backbone, StaticBackbone, find_layers
from .execution_mode import TOLERANCE, probe_inputs, relative_distance, select_execution_mode
from .packs import (
    Pack,
    average_windows,
    encode_packs,
    l2_normalize,
    make_packs,
    split_into_blocks,
)
from .prefetch import prefetch

__all__ = [
    "TOLERANCE",
    "Backbone",
    "Pack",
    "StaticBackbone",
    "average_windows",
    "encode_packs",
    "find_layers",
    "l2_normalize",
    "make_packs",
    "prefetch",
    "probe_inputs",
    "relative_distance",
    "select_execution_mode",
    "split_into_blocks",
]
