"""A transformers model, read from a folder and checked."""

import math
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
)

from .backbone import Backbone
from .files import CheckpointError
from .quiet import quiet_transformers
from .ways import DOES_NOT_FIT, best_way


def load_backbone(folder: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Load a transformers model and find out how it can run.

    Raises
    ------
    CheckpointError
        If files are missing or damaged, or the weights do not fit the configuration.
    """
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            # Of a model with a decoder, this takes the encoder alone.
            is_text_encoder = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
            kind = AutoModelForTextEncoding if is_text_encoder else AutoModel
            model, found = kind.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # said below, where the report is not
                trust_remote_code=False,
            )
    except (EOFError, OSError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {error} If a file is cut short or "
            "missing, fetch the model again."
        ) from error
    if found["mismatched_keys"]:
        name, saved, expected = max(found["mismatched_keys"], key=lambda key: math.prod(key[2]))
        raise CheckpointError(
            f"transformers cannot load the model in {folder}: {name} has the shape {tuple(saved)}, "
            f"and its config.json asks for {tuple(expected)}. Fetch the model again."
        )
    # The pooler of BERT-like models is often not saved, and no module here reads it.
    missing = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if missing:
        raise CheckpointError(
            f"the weights in {folder} lack {len(missing)} tensors that {type(model).__name__} needs, "
            f"among them {missing[:3]}. They are weights of another model or cut short: fetch the "
            "model again."
        )
    model = model.to(device).eval().requires_grad_(False)
    if device.type == "cpu":
        # Weights that are mapped from a file would change, or vanish, with it.
        for tensor in chain(model.parameters(), model.buffers()):
            tensor.data = tensor.data.clone()
    try:
        return best_way(model)
    except DOES_NOT_FIT as error:
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not run as other text encoders do: "
            f"{type(error).__name__}: {error}"
        ) from error
