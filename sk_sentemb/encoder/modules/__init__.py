"""The modules after the transformer: pooling, dense layers, normalization and heads."""

from .classification_head import (
    SequenceHead,
    has_decoder,
    infer_pooling,
    merged_state_dict,
    new_head,
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
from .layers import MODULES, Dense, Dropout, Normalize, digest_of, path_of, resolve_activation
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
    "digest_of",
    "has_decoder",
    "infer_pooling",
    "merged_state_dict",
    "new_head",
    "path_of",
    "pixels_of",
    "pooling_named",
    "resolve_activation",
    "run_tower",
    "split",
    "states_of_a_blank",
    "tower_of",
]
