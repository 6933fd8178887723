"""The classification head of a cross-encoder, from the pooled state of a pair to its logits."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from ...exceptions import CheckpointError
from ..errors import PROBE_ERRORS
from ..isolation import isolated
from ..transformers_logging import silence_transformers
from .pooling import POOLINGS, Pooling

# How the transformers classifiers pool their tokens, the commonest first.
_POOLINGS = ("cls", "lasttoken", "mean")


class SequenceHead(nn.Module):
    """The part of a transformers sequence classifier after its transformer."""

    def __init__(self, network: PreTrainedModel, activation: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.activation = activation

    @property
    def out_dim(self) -> int:
        """Number of logits."""
        return int(self.network.config.num_labels or 0)

    @property
    def pooler(self) -> Any:
        """The pooler of the transformer, which only the head uses; None if there is none."""
        return getattr(self.network, self.network.base_model_prefix).pooler

    @property
    def labels(self) -> list[str]:
        """The names of the logits; by default ``LABEL_0`` and so on."""
        names: Any = self.network.config.id2label
        return [names[i] for i in range(self.out_dim)]

    @property
    def has_names(self) -> bool:
        """Whether the logits have other names than the default ones."""
        return self.labels != [f"LABEL_{i}" for i in range(self.out_dim)]

    def with_labels(self, labels: Sequence[str]) -> "SequenceHead":
        """Return a head with other names of its logits and the same weights."""
        network = copy.copy(self.network)
        network.config = copy.deepcopy(network.config)
        network.config.id2label = dict(enumerate(labels))
        network.config.label2id = {label: i for i, label in enumerate(labels)}
        return SequenceHead(network, self.activation)

    def with_activation(self, activation: nn.Module) -> "SequenceHead":
        """Return a head with another activation and the same weights."""
        return SequenceHead(self.network, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (n_pairs, n_labels), of pooled states, (n_pairs, dim)."""
        return _run(self.network, x[:, None])

    @isolated
    @torch.inference_mode()
    def activated(self, logits: np.ndarray) -> np.ndarray:
        """Apply the activation to logits, (n_pairs, n_labels)."""
        return self.activation(torch.from_numpy(logits)).numpy()


class _PrecomputedBackbone(nn.Module):
    """Replace the transformer of a classifier: return the hidden states that it is given."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.pooler: Any = getattr(transformer, "pooler", None)
        self.pooler_activation: Any = getattr(transformer, "pooler_activation", None)

    def forward(
        self, input_ids: Tensor | None = None, *, inputs_embeds: Tensor, **_: object
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        del input_ids
        pooled = None
        if isinstance(self.pooler, nn.Linear):  # ALBERT's is a layer alone
            pooled = self.pooler_activation(self.pooler(inputs_embeds[:, 0]))
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=inputs_embeds,
            pooler_output=pooled,
        )


def detach_backbone(classifier: PreTrainedModel) -> PreTrainedModel:
    """Take the transformer out of a classifier, which keeps its pooler and head."""
    transformer: Any = getattr(classifier, classifier.base_model_prefix)
    setattr(classifier, classifier.base_model_prefix, _PrecomputedBackbone(transformer))
    if getattr(transformer, "pooler", None) is not None:
        transformer.pooler = None
    return transformer


def has_decoder(classifier: PreTrainedModel) -> bool:
    """Return whether the transformer of a classifier has a decoder."""
    # The configuration does not tell, if the encoder was taken out of such a model.
    transformer: Any = getattr(classifier, classifier.base_model_prefix)
    return hasattr(transformer, "encoder") and hasattr(transformer, "decoder")


def merged_state_dict(transformer: PreTrainedModel, head: SequenceHead) -> dict[str, Tensor]:
    """Return the state dict of the whole classifier, by the names it is saved under."""
    prefix = head.network.base_model_prefix
    of_transformer = {f"{prefix}.{name}": t for name, t in transformer.state_dict().items()}
    return of_transformer | head.network.state_dict()


def new_head(
    transformer: PreTrainedModel, pooler: nn.Module | None, n_labels: int, seed: int
) -> SequenceHead:
    """Make a randomly initialized head, with the weights of a pooler if it has one."""
    config = copy.deepcopy(transformer.config)
    # The configuration may name the logits of another head.
    config.id2label = {i: f"LABEL_{i}" for i in range(n_labels)}
    config.label2id = {name: i for i, name in config.id2label.items()}
    try:
        # On the meta device, without memory for the transformer, which is discarded.
        with silence_transformers(), torch.device("meta"):
            network = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise CheckpointError(
            f"transformers has no sequence classifier for {type(transformer).__name__}, so it cannot "
            "read pairs. Pass a model of another architecture."
        ) from error
    if has_decoder(network):
        raise CheckpointError(
            f"{type(transformer).__name__} cannot read pairs: its sequence classifier uses a decoder, "
            "which is not supported. Pass a model of another architecture."
        )
    detach_backbone(network)
    network.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            network._init_weights(module)
    head = SequenceHead(network.float().eval(), nn.Sigmoid() if n_labels == 1 else nn.Identity())
    if head.pooler is not None and pooler is not None:
        head.pooler.load_state_dict(pooler.state_dict())
    return head


@torch.no_grad()
def infer_pooling(head: SequenceHead, dim: int) -> Pooling:
    """Find the pooling of a head by its logits for random hidden states."""
    device = next(head.parameters()).device
    states = torch.randn(2, 5, dim, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        expected = _run(head.network, states)
        for name in _POOLINGS:
            pool: Any = POOLINGS[name]
            if torch.allclose(head(pool(states)), expected, atol=1e-5, rtol=1e-4):
                return Pooling(dim, [name])
    except PROBE_ERRORS as error:
        raise CheckpointError(
            f"the head of {type(head.network).__name__} does not run like those of other "
            f"cross-encoders: {type(error).__name__}: {error}"
        ) from error
    raise CheckpointError(
        f"the head of {type(head.network).__name__} does not pool by one of {list(_POOLINGS)}, which is "
        "not supported."
    )


def _run(network: PreTrainedModel, states: Tensor) -> Tensor:
    # Heads that use the last token find it as the last id that is not padding.
    ids = torch.full(states.shape[:2], _no_padding(network.config), device=states.device)
    mask = torch.ones_like(ids)
    return network(input_ids=ids, attention_mask=mask, inputs_embeds=states).logits


def _no_padding(config: PretrainedConfig) -> int:
    return 1 if config.get_text_config().pad_token_id == 0 else 0
