"""The head of a cross-encoder: from the vector of a pair to its logits."""

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
from ..torch_state import isolated
from ..transformers_logging import silence_transformers
from .pooling import POOLINGS, Pooling

# How the transformers classifiers pool their tokens, the commonest first.
_POOLINGS = ("cls", "lasttoken", "mean")


class SequenceHead(nn.Module):
    """What a transformers sequence classifier does after its transformer, on pooled states."""

    def __init__(self, network: PreTrainedModel, activation: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.activation = activation

    @property
    def out_dim(self) -> int:
        """Number of logits."""
        return int(self.network.config.num_labels or 0)

    @property
    def labels(self) -> list[str]:
        """The names of the logits; ``LABEL_0`` and so on where nobody named them."""
        names: Any = self.network.config.id2label
        return [names[i] for i in range(self.out_dim)]

    @property
    def has_names(self) -> bool:
        """Whether somebody named the logits."""
        return self.labels != [f"LABEL_{i}" for i in range(self.out_dim)]

    def with_labels(self, labels: Sequence[str]) -> "SequenceHead":
        """Return a head with the same weights and these names for its logits."""
        network = copy.copy(self.network)
        network.config = copy.deepcopy(network.config)
        network.config.id2label = dict(enumerate(labels))
        network.config.label2id = {label: i for i, label in enumerate(labels)}
        return SequenceHead(network, self.activation)

    def with_activation(self, activation: nn.Module) -> "SequenceHead":
        """Return a head with the same weights and this activation."""
        return SequenceHead(self.network, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (n_pairs, n_labels), of pooled states, (n_pairs, dim)."""
        return _run(self.network, x[:, None])

    @isolated
    @torch.inference_mode()
    def activated(self, logits: np.ndarray) -> np.ndarray:
        """Return the predictions that logits, (n_pairs, n_labels), stand for."""
        return self.activation(torch.from_numpy(logits)).numpy()


class _Given(nn.Module):
    """Stands where a classifier had its transformer: hands on the states that it is given."""

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


def split(classifier: PreTrainedModel) -> PreTrainedModel:
    """Take the transformer out of a classifier, and leave the classifier without it."""
    transformer: Any = getattr(classifier, classifier.base_model_prefix)
    setattr(classifier, classifier.base_model_prefix, _Given(transformer))
    if getattr(transformer, "pooler", None) is not None:
        transformer.pooler = None
    return transformer


def has_decoder(classifier: PreTrainedModel) -> bool:
    """Say whether the transformer of a classifier has a decoder beside its encoder."""
    # The configuration of an encoder that was taken out of such a model says no.
    transformer: Any = getattr(classifier, classifier.base_model_prefix)
    return hasattr(transformer, "encoder") and hasattr(transformer, "decoder")


def merged_state_dict(transformer: PreTrainedModel, head: SequenceHead) -> dict[str, Tensor]:
    """Return the tensors of the whole classifier, by the names that it saves them under."""
    prefix = head.network.base_model_prefix
    of_transformer = {f"{prefix}.{name}": t for name, t in transformer.state_dict().items()}
    return of_transformer | head.network.state_dict()


def new_head(
    transformer: PreTrainedModel, old: SequenceHead | None, n_labels: int, seed: int
) -> SequenceHead:
    """Make a head with random weights."""
    config = copy.deepcopy(transformer.config)
    # Not the names of the logits that another head had.
    config.id2label = {i: f"LABEL_{i}" for i in range(n_labels)}
    config.label2id = {name: i for i, name in config.id2label.items()}
    try:
        # Without memory for the transformer, which is thrown away.
        with silence_transformers(), torch.device("meta"):
            network = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise CheckpointError(
            f"transformers has no sequence classifier for {type(transformer).__name__}, so that it "
            "cannot read pairs. Pass a model of another architecture."
        ) from error
    if has_decoder(network):
        raise CheckpointError(
            f"{type(transformer).__name__} cannot read pairs: transformers classifies with its decoder "
            "as well, which is not supported. Pass a model of another architecture."
        )
    split(network)
    network.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            network._init_weights(module)
    given: Any = getattr(network, network.base_model_prefix)
    before: Any = transformer if old is None else getattr(old.network, network.base_model_prefix)
    if given.pooler is not None and getattr(before, "pooler", None) is not None:
        given.pooler.load_state_dict(before.pooler.state_dict())
    activation = nn.Sigmoid() if n_labels == 1 else nn.Identity()
    return SequenceHead(network.float().eval(), activation)


@torch.no_grad()
def infer_pooling(head: SequenceHead, dim: int) -> Pooling:
    """Find out which states a head reads, by what it makes of made-up ones."""
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
            f"the head of {type(head.network).__name__} does not run as those of other cross-encoders "
            f"do: {type(error).__name__}: {error}"
        ) from error
    raise CheckpointError(
        f"the head of {type(head.network).__name__} reads its tokens in a way that is not supported: "
        f"not one of {list(_POOLINGS)}."
    )


def _run(network: PreTrainedModel, states: Tensor) -> Tensor:
    # Heads that look for the last token find it by the ids that are not padding.
    ids = torch.full(states.shape[:2], _no_padding(network.config), device=states.device)
    mask = torch.ones_like(ids)
    return network(input_ids=ids, attention_mask=mask, inputs_embeds=states).logits


def _no_padding(config: PretrainedConfig) -> int:
    return 1 if config.get_text_config().pad_token_id == 0 else 0
