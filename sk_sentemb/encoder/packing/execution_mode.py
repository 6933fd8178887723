"""Select how a model runs: the fastest mode in which no text depends on its neighbors."""

from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from ..errors import PROBE_ERRORS
from ..transformers_logging import silence_transformers
from .backbone import Backbone
from .packs import Pack
from .varlen_attention import NAME as PACKED

# The maximum relative error of hidden states between two modes. Texts that attend to each other, or have
# wrong positions, have far larger errors.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


# With more positions, it takes too long to probe a pass with more tokens than positions.
_FEW_POSITIONS = 256


@torch.inference_mode()
def select_execution_mode(model: PreTrainedModel) -> Backbone:
    """Return a model in the fastest mode in which no text depends on its neighbors."""
    backbone = _select_before_pruning(model)
    if not backbone.packed:
        return backbone
    early = replace(backbone, stops_early=True)
    matches = _matches_on_first_tokens(early, probe_inputs(model, seed=0))
    return early if matches else backbone


def _select_before_pruning(model: PreTrainedModel) -> Backbone:
    before = model.config._attn_implementation
    alone = Backbone(model, packed=False, equal_lengths=True)
    padded = Backbone(model, packed=False)
    packed = Backbone(model, packed=True)
    texts, others = probe_inputs(model, seed=0), probe_inputs(model, seed=1)
    expected = [_run(alone, [text])[0] for text in texts]
    if _depends_on_the_longest(model):
        return alone
    with silence_transformers():
        try:
            model.set_attn_implementation(PACKED)
            _run_more_tokens_than_positions(packed, texts)
            if _matches_reference(packed, texts, others, expected):
                return packed
        except PROBE_ERRORS:
            pass
        model.set_attn_implementation(before)
    return padded if _matches_reference(padded, texts, others, expected) else alone


def _matches_reference(
    backbone: Backbone,
    texts: list[np.ndarray],
    others: list[np.ndarray],
    expected: list[torch.Tensor],
) -> bool:
    """Return whether hidden states are the same for texts alone, together, and with other texts."""
    together = _run(backbone, texts)
    # The same shapes, so that only the neighbors of a text can make a difference.
    with_others = _run(backbone, [texts[0], others[1], texts[2], others[3]])
    tolerance = TOLERANCE[backbone.model.dtype]
    return all(
        bool(relative_distance(together[i], expected[i]) <= tolerance) for i in range(len(texts))
    ) and all(bool(relative_distance(with_others[i], together[i]) <= 1e-6) for i in (0, 2))


def _matches_on_first_tokens(backbone: Backbone, texts: list[np.ndarray]) -> bool:
    """Return whether pruning the last layer leaves the states of first tokens as they are."""
    ids, pack = np.concatenate(texts), Pack.from_token_ids(texts)
    expected = torch.stack([states[0] for states in _run(backbone, texts)])
    try:
        found = backbone(ids, pack, first_only=True).hidden.float()
    except PROBE_ERRORS:
        return False
    tolerance = TOLERANCE[backbone.model.dtype]
    return found.shape == expected.shape and bool(relative_distance(found, expected) <= tolerance)


def _run_more_tokens_than_positions(backbone: Backbone, texts: list[np.ndarray]) -> None:
    """Provoke the error of models that count the tokens of a pass as those of one text (CLIP)."""
    most, n = backbone.max_length, sum(map(len, texts))
    if most is not None and most <= _FEW_POSITIONS:
        _run(backbone, sorted(texts * (most // n + 1), key=len, reverse=True))


def relative_distance(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return the largest error of a token relative to the largest norm; NaN stays NaN."""
    norms = torch.linalg.norm(expected, dim=1)
    return torch.linalg.norm(found - expected, dim=1).max() / norms.max()


def _run(backbone: Backbone, texts: list[np.ndarray]) -> list[torch.Tensor]:
    pack = Pack.from_token_ids(texts)
    return list(backbone(np.concatenate(texts), pack).hidden.float().split(pack.lengths.tolist()))


def probe_inputs(model: PreTrainedModel, seed: int) -> list[np.ndarray]:
    """Return random token ids of a few texts, the longest first and beyond a sliding window."""
    lengths = [44, 9, 9, 5]
    window = getattr(model.config, "sliding_window", None)
    if window and window < 256:
        lengths[0] = 2 * window + 9
    longest = Backbone(model, packed=False).max_length or lengths[0]
    # From the middle of the vocabulary, because special tokens are at its ends.
    vocabulary = model.config.vocab_size
    draw = np.random.default_rng(seed).integers
    return [draw(vocabulary // 4, vocabulary // 2 + 1, min(n, longest)) for n in lengths]


def _depends_on_the_longest(model: PreTrainedModel) -> bool:
    """Return whether rotary positions are scaled by the longest text of a pass."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    return any(kind in str(rope) for kind in ("'dynamic'", "'longrope'"))
