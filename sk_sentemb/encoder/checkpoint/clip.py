"""CLIP: a tower that reads texts and one that reads images, with vectors in one space.

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
from ..fork_safety import ForkSafeLock
from ..modules import Dense, Pooling
from ..packing import TOLERANCE, Backbone, relative_distance
from ..tokenization import TextTokenizer
from ..transformers_logging import silence_transformers
from .layout import CLIP
from .model_config import read_config
from .transformers_models import check_none_missing, extract_text_backbone, placed, read_model

# What a checkpoint has beside weights: how images become pixels, and texts token ids.
_FILES = (
    *("*processor_config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"),
    "added_tokens.json",
)

# Where a checkpoint of sentence-transformers has it.
FOLDER = f"0_{CLIP}"


class CLIPModelPair:
    """A CLIP in memory, which the encoder of its texts and that of its images share."""

    def __init__(self, model: CLIPModel, files: Mapping[str, bytes]) -> None:
        self.model, self.files = model, files
        # Held by whoever runs either of the towers.
        self.lock = ForkSafeLock()
        self._of_texts: tuple[Backbone, Pooling, Dense] | None = None

    def of_texts(self, tokenizer: TextTokenizer, folder: Path) -> tuple[Backbone, Pooling, Dense]:
        """Return what turns token ids into vectors of texts."""
        if self._of_texts is None:
            text_model = _on_its_own(self.model)
            with wrap_loading_errors(f"the model in {folder}"):
                _check_last_token(text_model, tokenizer, folder)
            inside: Any = self.model.text_model
            inside.embeddings = _Embeddings(inside.embeddings)
            backbone = replace(extract_text_backbone(text_model, folder), lock=self.lock)
            projection = projection_to_dense(self.model.text_projection)
            self._of_texts = backbone, Pooling(backbone.dim, ["lasttoken"]), projection
        return self._of_texts

    def write(self, folder: Path, text_model: nn.Module, projection: nn.Linear) -> None:
        """Write the model, how images are processed, and the tokenizer as it was."""
        dtype = next(self.model.vision_model.parameters()).dtype
        of_texts = {
            f"text_model.{name.removeprefix('text_model.')}": tensor
            for name, tensor in text_model.state_dict().items()
        }
        of_texts["text_projection.weight"] = projection.weight
        state = {name: t.to(dtype) for name, t in (self.model.state_dict() | of_texts).items()}
        with silence_transformers():
            self.model.save_pretrained(folder, state_dict=state)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class _Embeddings(nn.Module):
    """Those of CLIP's texts, for passes of more tokens than one text may have; transformers refuses."""

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        # By the names that they are saved under.
        self.token_embedding = embeddings.token_embedding
        self.position_embedding = embeddings.position_embedding

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, **_: object) -> Tensor:
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[-1], device=input_ids.device)[None]
        return self.token_embedding(input_ids) + self.position_embedding(position_ids)


def is_clip(folder: Path) -> bool:
    """Say whether a transformers checkpoint is a CLIP with both towers."""
    return read_config(folder).model_type == "clip"


_ALIVE: WeakValueDictionary[tuple[str, str, str], CLIPModelPair] = WeakValueDictionary()
_LOCK = ForkSafeLock()


def shared_towers(
    folder: Path, fingerprint: str, device: torch.device, dtype: torch.dtype
) -> CLIPModelPair:
    """Return the process's copy of a CLIP, read now if there is none."""
    key = fingerprint, str(device), str(dtype)
    with _LOCK:
        towers = _ALIVE.get(key)
        if towers is None:
            towers = _ALIVE[key] = _read_towers(folder, device, dtype)
    return towers


def _read_towers(folder: Path, device: torch.device, dtype: torch.dtype) -> CLIPModelPair:
    config = read_config(folder)
    model: Any
    model, missing = read_model(CLIPModel, config, folder, dtype)
    check_none_missing(model, missing, folder)
    placed(model, device)
    model.text_projection.float()
    model.visual_projection.float()
    found = {file for pattern in _FILES for file in folder.glob(pattern)}
    return CLIPModelPair(model, {file.name: file.read_bytes() for file in sorted(found)})


def projection_to_dense(layer: nn.Linear) -> Dense:
    """Make a module of a projection; it has the layer's own weights, not a copy."""
    # On the meta device, which takes no memory and draws no random numbers.
    with torch.device("meta"):
        dense = Dense(layer.in_features, layer.out_features, bias=False, activation=nn.Identity())
    dense.linear = layer
    return dense.eval()


def _on_its_own(model: CLIPModel) -> PreTrainedModel:
    """Return the tower for texts as a model; early releases of transformers 5 have only its inside."""
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
    """Make sure that the model reads a text off its last token, as texts are pooled here."""
    ids = tokenizer(["a harbour"], prompt="", max_length=None, long_text="truncate").ids
    on_device: Tensor = torch.from_numpy(ids)[None].to(text_model.device)
    output = text_model(input_ids=on_device)
    last, pooled = output.last_hidden_state[:, -1].float(), output.pooler_output.float()
    if not relative_distance(last, pooled) <= TOLERANCE[text_model.dtype]:
        raise CheckpointError(
            f"the CLIP in {folder} does not read a text off its last token, which its tokenizer makes "
            f"{int(ids[-1])}: its config.json is of another tokenizer. Fetch the model again."
        )
