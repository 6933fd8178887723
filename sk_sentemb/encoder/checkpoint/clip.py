"""CLIP: a text model and an image model whose embeddings are in one space.

The model is that of Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, PreTrainedModel

from ...exceptions import CheckpointError
from ..errors import wrap_loading_errors
from ..isolation import ForkSafeLock
from ..modules import Dense, Pooling
from ..packing import TOLERANCE, Backbone, relative_distance
from ..tokenization import TextTokenizer
from ..transformers_logging import silence_transformers
from .layout import CLIP, Entry, compute_fingerprint
from .model_config import load_config
from .transformers_models import (
    check_none_missing,
    load_model,
    make_backbone,
    move_to_device,
)

# The files of the image processor and the tokenizer.
_FILES = (
    *("*processor_config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"),
    "added_tokens.json",
)

# The folder in a checkpoint of sentence-transformers.
CLIP_FOLDER = f"0_{CLIP}"


class CLIPModelPair:
    """A CLIP in memory, which the encoder of its texts and that of its images share."""

    def __init__(self, model: CLIPModel, files: Mapping[str, bytes]) -> None:
        self.model, self.files = model, files
        self.lock = ForkSafeLock()  # held while either of the models runs
        self._text_parts: tuple[Backbone, Pooling, Dense] | None = None

    def text_parts(self, tokenizer: TextTokenizer, folder: Path) -> tuple[Backbone, Pooling, Dense]:
        """Return what turns token ids into embeddings."""
        if self._text_parts is None:
            text_model = _standalone_text_model(self.model)
            with wrap_loading_errors(f"the model in {folder}"):
                _check_last_token(text_model, tokenizer, folder)
            inside: Any = self.model.text_model
            inside.embeddings = _Embeddings(inside.embeddings)
            backbone = replace(make_backbone(text_model, folder), lock=self.lock)
            projection = projection_to_dense(self.model.text_projection)
            self._text_parts = backbone, Pooling(backbone.dim, ["lasttoken"]), projection
        return self._text_parts

    def save(self, folder: Path, text_model: nn.Module, projection: nn.Linear) -> None:
        """Save the model, the image processor and the original tokenizer."""
        dtype = next(self.model.vision_model.parameters()).dtype
        text_state = {
            f"text_model.{name.removeprefix('text_model.')}": tensor
            for name, tensor in text_model.state_dict().items()
        }
        text_state["text_projection.weight"] = projection.weight
        state = {name: t.to(dtype) for name, t in (self.model.state_dict() | text_state).items()}
        with silence_transformers():
            self.model.save_pretrained(folder, state_dict=state)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class _Embeddings(nn.Module):
    """Text embeddings of CLIP without the limit of tokens that transformers checks per pass."""

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        # These names are those in the state dict.
        self.token_embedding = embeddings.token_embedding
        self.position_embedding = embeddings.position_embedding

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, **_: object) -> Tensor:
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[-1], device=input_ids.device)[None]
        return self.token_embedding(input_ids) + self.position_embedding(position_ids)


_ALIVE: WeakValueDictionary[tuple[str, str, str], CLIPModelPair] = WeakValueDictionary()
_LOCK = ForkSafeLock()


def load_clip(entry: Entry, device: torch.device, dtype: torch.dtype) -> CLIPModelPair | None:
    """Return the CLIP a checkpoint begins with, of which a process has one copy, or None."""
    folder = entry.folder
    if load_config(folder).model_type == "clip":
        key = compute_fingerprint(folder), str(device), str(dtype)
        with _LOCK:
            pair = _ALIVE.get(key)
            if pair is None:
                pair = _ALIVE[key] = _load_pair(folder, device, dtype)
        return pair
    if entry.kind == CLIP:
        raise CheckpointError(
            f"modules.json says that {folder} holds a {CLIP}, but its config.json belongs to another "
            "model. Fetch the model again."
        )
    return None


def _load_pair(folder: Path, device: torch.device, dtype: torch.dtype) -> CLIPModelPair:
    model: Any
    model, missing = load_model(CLIPModel, load_config(folder), folder, dtype)
    check_none_missing(model, missing, folder)
    move_to_device(model, device)
    model.text_projection.float()
    model.visual_projection.float()
    files = {file for pattern in _FILES for file in folder.glob(pattern)}
    return CLIPModelPair(model, {file.name: file.read_bytes() for file in sorted(files)})


def projection_to_dense(layer: nn.Linear) -> Dense:
    """Wrap a projection in a module, which shares its weights."""
    # The meta device takes no memory and draws no random numbers.
    with torch.device("meta"):
        dense = Dense(layer.in_features, layer.out_features, bias=False, activation=nn.Identity())
    dense.linear = layer
    return dense.eval()


def _standalone_text_model(model: CLIPModel) -> PreTrainedModel:
    """Return the text model, which early releases of transformers 5 wrap only on its own."""
    inside: Any = model.text_model
    if isinstance(inside, PreTrainedModel):
        return inside
    config: Any = model.config.text_config
    with torch.device("meta"):
        text_model: Any = CLIPTextModel(config)
    text_model.text_model = inside
    return text_model.eval()


@torch.inference_mode()
def _check_last_token(text_model: PreTrainedModel, tokenizer: TextTokenizer, folder: Path) -> None:
    """Check that the model pools the last token of a text."""
    ids = tokenizer(["a harbour"], prompt="", max_length=None, long_text="truncate").ids
    on_device: Tensor = torch.from_numpy(ids)[None].to(text_model.device)
    output = text_model(input_ids=on_device)
    last, pooled = output.last_hidden_state[:, -1].float(), output.pooler_output.float()
    if not relative_distance(last, pooled) <= TOLERANCE[text_model.dtype]:
        raise CheckpointError(
            f"the CLIP in {folder} does not pool the last token of a text, which is {int(ids[-1])}: its "
            "config.json belongs to another tokenizer. Fetch the model again."
        )
