"""The forward pass without padding: which texts run together, and how."""

from .backbone import Backbone, StaticBackbone
from .blocks import iter_tokenized_blocks
from .execution_mode import TOLERANCE, probe_inputs, relative_distance, select_execution_mode
from .last_layer import find_layers
from .packs import Pack, make_packs
from .prefetch import prefetch
from .runner import average_windows, encode_packs, l2_normalize

__all__ = [
    "TOLERANCE",
    "Backbone",
    "Pack",
    "StaticBackbone",
    "average_windows",
    "encode_packs",
    "find_layers",
    "iter_tokenized_blocks",
    "l2_normalize",
    "make_packs",
    "prefetch",
    "probe_inputs",
    "relative_distance",
    "select_execution_mode",
]
