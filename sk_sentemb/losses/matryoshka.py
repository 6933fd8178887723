"""Matryoshka loss: another loss on truncated embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch, DataFormat, Loss
from .loss_registry import EMBEDDER_LOSSES
from .needs import Need


@dataclass(frozen=True)
class MatryoshkaLoss(Loss):
    """Weighted sum of another loss over embeddings that are truncated to several dimensions.

    Embeddings of the trained model lose little quality if they are truncated, with ``truncate_dim`` of
    :class:`~sk_sentemb.SentenceEmbedder`. Truncated embeddings are L2-normalized before the loss.

    Parameters
    ----------
    loss : Loss or str, default="auto"
        The other loss, its name, or ``"auto"`` for the default loss of the data format.
    dims : sequence of int, default=(384, 192, 96, 48)
        The dimensions. Values above the embedding dimension use the full embedding.
    weights : sequence of float, default=None
        The weight of each dimension. If None, all weights are 1.

    References
    ----------
    .. [1] A. Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022,
       https://arxiv.org/abs/2205.13147; MatryoshkaLoss of sentence-transformers.

    Examples
    --------
    >>> from sk_sentemb.losses import MatryoshkaLoss
    >>> MatryoshkaLoss("cosent", dims=(384, 64))
    MatryoshkaLoss(loss='cosent', dims=(384, 64), weights=None)
    """

    loss: Loss | str = "auto"
    dims: Sequence[int] = (384, 192, 96, 48)
    weights: Sequence[float] | None = None

    requires_embeddings = True

    @property
    def follows_data(self) -> bool:  # type: ignore[override]
        """Whether the other loss is selected by the format of the data."""
        return self.loss == "auto"

    def __post_init__(self) -> None:
        if not self.dims or not all(isinstance(d, Integral) and d > 0 for d in self.dims):
            raise ValueError(f"dims={self.dims!r}: pass one or more positive ints.")
        if self.weights is not None and len(self.weights) != len(self.dims):
            raise ValueError(f"weights={self.weights!r}: pass one for each of dims={self.dims!r}.")

    @property
    def formats(self) -> tuple[DataFormat, ...]:  # type: ignore[override]
        """The formats that the other loss supports, except a teacher's embeddings."""
        if self.loss == "auto":
            formats = tuple(EMBEDDER_LOSSES.defaults)
        else:
            formats = EMBEDDER_LOSSES.resolve(self.loss).formats
        return tuple(supported for supported in formats if supported != DataFormat.EMBEDDINGS)

    @property
    def groups_classes(self) -> bool:  # type: ignore[override]
        """Whether the other loss groups classes."""
        return isinstance(self.loss, Loss) and self.loss.groups_classes

    @property
    def guided(self) -> bool:  # type: ignore[override]
        """Whether the other loss requires a guide."""
        return isinstance(self.loss, Loss) and self.loss.guided

    @property
    def needs(self) -> Need:  # type: ignore[override]
        """The requirements of the other loss on a batch."""
        return self.loss.needs if isinstance(self.loss, Loss) else Loss.needs

    def for_format(self, data_format: DataFormat) -> "MatryoshkaLoss":
        """Return this loss with the other loss for that format."""
        return replace(self, loss=EMBEDDER_LOSSES.resolve(self.loss, data_format))

    @property
    def _inner(self) -> Loss:
        if isinstance(self.loss, str):
            raise TypeError(f"{self} names its loss; call `for_format` first, or pass a Loss.")
        return self.loss

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module | None:
        """Return a head of the other loss for each dimension."""
        heads = [self._inner.make_head(min(d, dim), n_outputs, n_columns) for d in self.dims]
        found = [head for head in heads if head is not None]
        return nn.ModuleList(found) if found else None

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        total = batch.outputs[0].new_zeros(())
        for i, dim in enumerate(self.dims):
            truncated = replace(
                batch,
                outputs=[F.normalize(column[:, :dim], dim=1) for column in batch.outputs],
                head=batch.head[i] if isinstance(batch.head, nn.ModuleList) else None,
            )
            total = total + self._inner(truncated) * (
                1.0 if self.weights is None else self.weights[i]
            )
        return total
