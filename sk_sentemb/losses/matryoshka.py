"""A loss of the first dimensions as well as of all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch.nn.functional as F
from torch import Tensor, nn

from .base import VECTORS, Batch, Loss
from .embedder_table import SHAPES
from .loss_registry import find_loss
from .needs import Need


@dataclass(frozen=True)
class MatryoshkaLoss(Loss):
    """Another loss of the first dimensions of vectors, as unit vectors, summed over several numbers.

    After it, ``truncate_dim`` costs little.

    Parameters
    ----------
    loss : Loss or str, default="auto"
        The other loss, or its name.
    dims : sequence of int, default=(384, 192, 96, 48)
        The numbers of dimensions. Those that the model does not have are its whole vector.
    weights : sequence of float, default=None
        How much each number counts; None for one each.

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

    of_dimensions = True

    @property
    def follows_data(self) -> bool:  # type: ignore[override]
        """Whether the other loss follows from the data."""
        return self.loss == "auto"

    def __post_init__(self) -> None:
        if not self.dims or not all(isinstance(d, Integral) and d > 0 for d in self.dims):
            raise ValueError(f"dims={self.dims!r}: pass one or more positive ints.")
        if self.weights is not None and len(self.weights) != len(self.dims):
            raise ValueError(f"weights={self.weights!r}: pass one for each of dims={self.dims!r}.")

    @property
    def data(self) -> tuple[str, ...]:  # type: ignore[override]
        """The shapes of data that the other loss is for."""
        of_other = tuple(SHAPES) if self.loss == "auto" else find_loss(self.loss, None).data
        return tuple(shape for shape in of_other if shape != VECTORS)

    @property
    def groups_classes(self) -> bool:  # type: ignore[override]
        """Whether the other loss needs several texts of one class in a batch."""
        return isinstance(self.loss, Loss) and self.loss.groups_classes

    @property
    def guided(self) -> bool:  # type: ignore[override]
        """Whether the other loss asks for a guide."""
        return isinstance(self.loss, Loss) and self.loss.guided

    @property
    def needs(self) -> Need:  # type: ignore[override]
        """What the other loss needs."""
        return self.loss.needs if isinstance(self.loss, Loss) else Loss.needs

    def for_data(self, shape: str) -> "MatryoshkaLoss":
        """Return it with the other loss chosen."""
        return replace(self, loss=find_loss(self.loss, shape))

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module | None:
        """Return a head of the other loss for each number of dimensions."""
        assert isinstance(self.loss, Loss)
        heads = [self.loss.make_head(min(d, dim), n_outputs, n_columns) for d in self.dims]
        found = [head for head in heads if head is not None]
        return nn.ModuleList(found) if found else None

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        assert isinstance(self.loss, Loss)
        total = batch.columns[0].new_zeros(())
        for i, dim in enumerate(self.dims):
            cut = replace(
                batch,
                columns=[F.normalize(column[:, :dim], dim=1) for column in batch.columns],
                head=batch.head[i] if isinstance(batch.head, nn.ModuleList) else None,
            )
            total = total + self.loss(cut) * (1.0 if self.weights is None else self.weights[i])
        return total
