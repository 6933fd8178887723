"""TODO."""

from .classification_head import (
    SequenceHead,
    fresh_head,
    has_decoder,
    joined_state,
    pooling_of,
    split,
)
from .image_pooling import (
    IMAGE_POOLINGS,
    ImageStates,
    Pooler,
    pixels_of,
    pooling_named,
    run_tower,
    states_of_a_blank,
    tower_of,
)
from .layers import MODULES, Dense, Dropout, Normalize, activation_of, digest_of, path_of
from .pooling import POOLINGS, Pooling, TokenStates, WeightedLayerPooling

__all__ = [
    "IMAGE_POOLINGS",
    "MODULES",
    "POOLINGS",
    "Dense",
    "Dropout",
    "ImageStates",
    "Normalize",
    "Pooler",
    "Pooling",
    "SequenceHead",
    "TokenStates",
    "WeightedLayerPooling",
    "activation_of",
    "digest_of",
    "fresh_head",
    "has_decoder",
    "joined_state",
    "path_of",
    "pixels_of",
    "pooling_named",
    "pooling_of",
    "run_tower",
    "split",
    "states_of_a_blank",
    "tower_of",
]
