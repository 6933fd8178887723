"""The modules after the transformer: pooling, dense layers, normalization and heads."""

from .classification_head import (
    SequenceHead,
    detach_backbone,
    has_decoder,
    infer_pooling,
    merged_state_dict,
    new_head,
)
from .image_pooling import (
    IMAGE_POOLINGS,
    ImageStates,
    Pooler,
    compute_pixels,
    make_image_pooling,
    probe_image_model,
    run_image_model,
)
from .layers import (
    MODULES,
    Dense,
    Dropout,
    Normalize,
    compute_modules_digest,
    get_dotted_path,
    hash_weights,
    resolve_activation,
)
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
    "compute_modules_digest",
    "compute_pixels",
    "detach_backbone",
    "get_dotted_path",
    "has_decoder",
    "hash_weights",
    "infer_pooling",
    "make_image_pooling",
    "merged_state_dict",
    "new_head",
    "probe_image_model",
    "resolve_activation",
    "run_image_model",
]
