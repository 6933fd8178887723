"""Block-diagonal attention over a pack, registered as an attention implementation of transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from .packs import Pack

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]

NAME = "sk_sentemb_packed"

# (batch, head, query position, key position) -> whether the query attends to the key
MaskRule = Callable[[int, int, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """The positions of the texts of a pack, computed once for all layers."""

    groups: list[tuple[int, int]]  # (n_texts, length) of each run of equally long texts
    edges: torch.Tensor  # cumulative lengths
    longest: int

    @classmethod
    def from_pack(cls, pack: Pack, device: torch.device) -> Self:
        """Compute the layout of a pack."""
        edges = np.concatenate([[0], np.cumsum(pack.lengths)]).astype(np.int32)
        groups = [(n, length) for n, length in pack.groups if length]
        return cls(groups, torch.from_numpy(edges).to(device), int(pack.lengths.max()))


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: MaskRule,
    *,
    layout: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: torch.Tensor | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend within each of several concatenated texts."""
    if position_bias is not None or softcap is not None or s_aux is not None:
        raise NotImplementedError(
            "packed attention does not support additions to the attention weights"
        )
    shared_heads = key.shape[1] != query.shape[1]
    if _has_cuda_kernel(query, attention_mask, dropout):
        return _run_cuda_kernel(
            query,
            key,
            value,
            layout,
            causal=attention_mask is causal_mask_function,
            scaling=scaling,
            shared_heads=shared_heads,
        ), None
    sizes = [n * length for n, length in layout.groups]
    outputs = []
    # `split` instead of slices: its backward writes one gradient, that of slices adds whole tensors.
    for (n, length), *parts in zip(
        layout.groups, *(x[0].split(sizes, dim=1) for x in (query, key, value)), strict=True
    ):
        q, k, v = (x.unflatten(1, (n, length)).transpose(0, 1) for x in parts)
        output = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_local_mask(attention_mask, length, query.device),
            is_causal=attention_mask is causal_mask_function,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=shared_heads,
        )
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return (torch.cat(outputs) if len(outputs) > 1 else outputs[0])[None], None


def mask_rule(*, mask_function: MaskRule, **_: object) -> MaskRule:
    """Return the mask function itself, which the attention applies within each text."""
    return mask_function


def _local_mask(rule: MaskRule, length: int, device: torch.device) -> torch.Tensor | None:
    """Return the mask of one text, or None if `is_causal` or no mask expresses it."""
    if rule in (causal_mask_function, bidirectional_mask_function):
        return None
    position = torch.arange(length, device=device)
    return rule(0, 0, position[:, None], position[None, :]).expand(length, length)


def _has_cuda_kernel(query: torch.Tensor, rule: MaskRule, dropout: float) -> bool:
    """Return whether the variable-length kernel of torch supports the inputs."""
    return (
        varlen_attn is not None
        and query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and rule in (causal_mask_function, bidirectional_mask_function)
        and not dropout
    )


def _run_cuda_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    *,
    causal: bool,
    scaling: float | None,
    shared_heads: bool,
) -> torch.Tensor:
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    output: Any = varlen_attn(
        q,
        k,
        v,
        layout.edges,
        layout.edges,
        layout.longest,
        layout.longest,
        scale=scaling,
        window_size=(-1, 0) if causal else (-1, -1),
        enable_gqa=shared_heads,
    )
    return output[None]


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, mask_rule)
