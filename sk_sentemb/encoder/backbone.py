"""The transformer of a model, and the way it runs: texts laid end to end, or padded."""

import inspect
import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PreTrainedModel,
)

from .attention import NAME as PACKED
from .attention import Layout
from .files import CheckpointError
from .forks import ForkSafeLock
from .packing import Pack
from .pooling import TokenStates
from .quiet import quiet_transformers

# How far the states of a packed run may be from those of a padded one, relative to their size. Texts
# that see each other, or stand at wrong positions, are off by far more.
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}

# An architecture that packing does not fit fails in its own way, or not at all: then the comparison
# of the results tells.
_DOES_NOT_FIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A transformers model on its device.

    Attributes
    ----------
    model : PreTrainedModel
        In evaluation mode.
    packed : bool
        Whether it runs texts laid end to end; otherwise it pads them.
    equal_lengths : bool
        Whether only equally long texts run together.
    lock : ForkSafeLock
        Held by whoever runs it: two passes at once would only fight for the cores and the memory.
    """

    model: PreTrainedModel
    packed: bool
    equal_lengths: bool = False
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    @property
    def dim(self) -> int:
        """Dimension of a token's vector."""
        return self.model.config.hidden_size

    @cached_property
    def first_position(self) -> int:
        """Position of a text's first token: after the padding index where positions have one."""
        table = _position_table(self.model)
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    @property
    def max_length(self) -> int | None:
        """The most tokens a text can have, or None without a limit."""
        table = _position_table(self.model)
        if table is not None:
            return table.num_embeddings - self.first_position
        longest = getattr(self.model.config, "max_position_embeddings", None)
        return longest if longest and longest > 0 else None

    @cached_property
    def _accepts_cache(self) -> bool:
        return "use_cache" in inspect.signature(self.model.forward).parameters

    def __call__(self, ids: np.ndarray, pack: Pack, *, all_layers: bool = False) -> TokenStates:
        """Run a pack.

        Parameters
        ----------
        ids : ndarray of shape (n_tokens,), int64
            The token ids of the pack's texts, laid end to end.
        pack : Pack
            Their lengths.
        all_layers : bool
            Whether the states of every layer are wanted too.

        Returns
        -------
        TokenStates
            The hidden states, without padding.
        """
        if not len(ids):
            return TokenStates(torch.empty(0, self.dim, device=self.model.device), pack.groups)
        if self.packed:
            inputs, real = self._packed_inputs(ids, pack), None
        else:
            inputs, real = self._padded_inputs(ids, pack)
        if self._accepts_cache:
            inputs["use_cache"] = False
        output = self.model(**inputs, output_hidden_states=all_layers)

        def flat(x: torch.Tensor) -> torch.Tensor:
            return x[0] if real is None else x[real]

        layers = tuple(map(flat, output.hidden_states)) if all_layers else ()
        return TokenStates(flat(output.last_hidden_state), pack.groups, layers=layers)

    def _packed_inputs(self, ids: np.ndarray, pack: Pack) -> dict:
        # Where positions have a padding index, transformers does not count padding tokens, not even
        # those that a text spells out.
        uncounted = self.first_position - 1
        counted = ids != uncounted
        n_counted = np.concatenate([[0], np.cumsum(counted)])
        before = np.repeat(n_counted[np.cumsum(pack.lengths) - pack.lengths], pack.lengths)
        position_ids = np.where(counted, n_counted[1:] - before + uncounted, uncounted)
        return {
            "input_ids": self._to_device(ids)[None],
            "position_ids": self._to_device(position_ids)[None],
            # All ones, and read by nobody: without a mask, transformers looks for packed texts itself.
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=self.model.device),
            "layout": Layout.of(pack, self.model.device),
        }

    def _padded_inputs(self, ids: np.ndarray, pack: Pack) -> tuple[dict, torch.Tensor]:
        real = np.arange(pack.lengths.max()) < pack.lengths[:, None]
        input_ids = np.full(real.shape, self.model.config.pad_token_id or 0, dtype=np.int64)
        input_ids[real] = ids
        mask = self._to_device(real)
        return {"input_ids": self._to_device(input_ids), "attention_mask": mask.long()}, mask

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device)


@dataclass(frozen=True, eq=False)
class StaticBackbone:
    """A table of token vectors and nothing else (StaticEmbedding): no token sees another."""

    embedding: nn.Embedding
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    max_length = None
    packed = True
    equal_lengths = False

    @property
    def dim(self) -> int:
        """Dimension of a token's vector."""
        return self.embedding.embedding_dim

    def __call__(self, ids: np.ndarray, pack: Pack, *, all_layers: bool = False) -> TokenStates:
        """Look the tokens of a pack up."""
        del all_layers
        rows = torch.from_numpy(ids).to(self.embedding.weight.device)
        return TokenStates(self.embedding(rows), pack.groups)


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
        return _best_way(model)
    except _DOES_NOT_FIT as error:
        raise CheckpointError(
            f"{type(model).__name__} in {folder} does not run as other text encoders do: "
            f"{type(error).__name__}: {error}"
        ) from error


@torch.inference_mode()
def _best_way(model: PreTrainedModel) -> Backbone:
    """Return the fastest way of running a model in which no text depends on its neighbours."""
    before = model.config._attn_implementation
    alone = Backbone(model, packed=False, equal_lengths=True)
    padded = Backbone(model, packed=False)
    packed = Backbone(model, packed=True)
    texts, others = _made_up_texts(model, seed=0), _made_up_texts(model, seed=1)
    expected = [_run(alone, [text])[0] for text in texts]
    if _depends_on_the_longest(model):
        return alone
    with quiet_transformers():
        try:
            model.set_attn_implementation(PACKED)
            if _agrees(packed, texts, others, expected):
                return packed
        except _DOES_NOT_FIT:
            pass
        model.set_attn_implementation(before)
    return padded if _agrees(padded, texts, others, expected) else alone


def _agrees(
    backbone: Backbone,
    texts: list[np.ndarray],
    others: list[np.ndarray],
    expected: list[torch.Tensor],
) -> bool:
    """Say whether texts give the same states together as alone, and beside any others."""
    together = _run(backbone, texts)
    # Same shapes, so that nothing but a text's neighbours can make a difference to it.
    beside_others = _run(backbone, [texts[0], others[1], texts[2], others[3]])
    tolerance = _TOLERANCE[backbone.model.dtype]
    return all(
        bool(_distance(together[i], expected[i]) <= tolerance) for i in range(len(texts))
    ) and all(bool(_distance(beside_others[i], together[i]) <= 1e-6) for i in (0, 2))


def _distance(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return the largest error of a token, relative to the largest token; NaN stays NaN."""
    norms = torch.linalg.norm(expected, dim=1)
    return torch.linalg.norm(found - expected, dim=1).max() / norms.max()


def _run(backbone: Backbone, texts: list[np.ndarray]) -> list[torch.Tensor]:
    lengths = np.array([len(text) for text in texts])
    pack = Pack(np.arange(len(texts)), lengths)
    return list(backbone(np.concatenate(texts), pack).hidden.float().split(lengths.tolist()))


def _made_up_texts(model: PreTrainedModel, seed: int) -> list[np.ndarray]:
    """Return token ids of a few texts, longest first, one of them beyond a sliding window."""
    lengths = [44, 9, 9, 5]
    window = getattr(model.config, "sliding_window", None)
    if window and window < 256:
        lengths[0] = 2 * window + 9
    longest = Backbone(model, packed=False).max_length or lengths[0]
    # From the middle of the vocabulary: special tokens stand at its ends.
    vocabulary = model.config.vocab_size
    draw = np.random.default_rng(seed).integers
    return [draw(vocabulary // 4, vocabulary // 2 + 1, min(n, longest)) for n in lengths]


def _depends_on_the_longest(model: PreTrainedModel) -> bool:
    """Say whether rotary positions are scaled by the longest text of a pass."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    return any(kind in str(rope) for kind in ("'dynamic'", "'longrope'"))


def _position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """Return the table of learned absolute positions, which bounds the length of a text."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None
