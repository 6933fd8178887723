"""The base class of losses, the batch that a loss gets, and the formats of training data."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from .needs import NOTHING, Need

T = TypeVar("T")


class DataFormat(StrEnum):
    """Format of training data: the number of text columns and the meaning of ``y``.

    A loss lists the formats that it supports as `Loss.formats`.

    Attributes
    ----------
    description : str
        The format in words.

    Examples
    --------
    >>> from sk_sentemb.losses import DataFormat
    >>> DataFormat.TRIPLETS.description
    'three columns and no y'
    """

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        """Create a member with a description."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    LABELS = "labels", "columns of text and a class for each row"
    PAIR_LABELS = "pair_labels", "two columns and a class for each pair"
    SCORES = "scores", "two columns and a score for each pair"
    BINARY = "binary", "two columns and 0 or 1 for each pair"
    LISTS = "lists", "two columns and a grade for each pair, in ranked lists"
    PAIRS = "pairs", "two columns and no y"
    TRIPLETS = "triplets", "three columns and no y"
    MARGINS = "margins", "three columns and a margin for each triplet"
    TEXTS = "texts", "one column of texts and no y"
    EMBEDDINGS = "embeddings", "one column of texts and an embedding for each"
    ROW_LABELS = "row_labels", "rows of a table and a class for each"
    ROW_VALUES = "row_values", "rows of a table and one or more numbers for each"


@dataclass(frozen=True)
class Batch:
    """Model outputs for the rows of a batch, and everything else that a loss is computed from.

    Attributes
    ----------
    outputs : sequence of Tensor of shape (n_rows, dim), float32
        The embeddings of each text column. For `DataFormat.TEXTS`, two views of the same texts with
        different dropout. For cross-encoders, the logits of each column of pairs.
    target : Tensor of shape (n_rows,) or (n_rows, target_dim) or None
        Class codes (int64), or similarities from 0 to 1, zeros and ones, margins, grades or
        embeddings (float32).
    weight : Tensor of shape (n_rows,), float32, or None
        The weight of each row; None if all rows have the same weight.
    head : nn.Module or None
        The module that `Loss.make_head` returned.
    guide : sequence of Tensor of shape (n_rows, guide_dim) or None
        The L2-normalized embeddings of each column by the model before training, for losses with
        `Loss.guided`.
    query_ids : Tensor of shape (n_rows,), int64, or None
        The ranked list that each row belongs to, for listwise losses. A batch contains whole lists,
        whose rows are contiguous.
    features : Tensor of shape (n_rows, n_features), float32, or None
        The features of the rows that are not text.
    """

    outputs: Sequence[Tensor]
    target: Tensor | None = None
    weight: Tensor | None = None
    head: nn.Module | None = None
    guide: Sequence[Tensor] | None = None
    query_ids: Tensor | None = None
    features: Tensor | None = None

    @property
    def row_embeddings(self) -> Tensor:
        """The embedding of each row: the concatenated embeddings of its columns."""
        return torch.cat(list(self.outputs), dim=1) if len(self.outputs) > 1 else self.outputs[0]


class Loss(ABC):
    """Base class of losses: a scalar for each batch, which training minimizes.

    Define your own loss as a frozen dataclass, so that two losses with equal parameters are equal. Set
    `formats` and implement ``__call__``.

    Attributes
    ----------
    formats : tuple of DataFormat
        The formats of training data that the loss supports.
    groups_classes : bool
        Whether a batch should contain several rows of each class.
    guided : bool
        Whether the loss requires `Batch.guide`.
    requires_embeddings : bool
        Whether the loss requires embeddings, which cross-encoders do not output.
    follows_data : bool
        Whether the loss wraps another one that is selected by the format of the data.
    max_grade : float or None
        The highest grade that is supported; None if there is no limit.
    activation : type
        The activation function that turns the logits of a trained cross-encoder into predictions.
    needs : Need
        What a batch must contain for a gradient other than zero.
    """

    formats: ClassVar[tuple[DataFormat, ...]]
    groups_classes: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    requires_embeddings: ClassVar[bool] = False
    follows_data: ClassVar[bool] = False
    max_grade: ClassVar[float | None] = None
    activation: ClassVar[type[nn.Module]] = nn.Identity
    needs: ClassVar[Need] = NOTHING

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module | None:
        """Return a module that is trained along with the encoder, or None.

        Parameters
        ----------
        dim : int
            The dimension of the model's outputs.
        n_outputs : int
            Number of classes, or dimension of the targets.
        n_columns : int, default=1
            Number of text columns.

        Returns
        -------
        nn.Module or None
            A module with random weights from torch's generator.

        Raises
        ------
        ValueError
            If the loss is not defined for outputs of this dimension.
        """
        del dim, n_outputs, n_columns
        return None

    @property
    def solves_head(self) -> bool:
        """Whether `solve_head` computes the optimal weights of a head for fixed embeddings."""
        return False

    def solve_head(self, batch: Batch) -> None:
        """Set the weights of the head to their optimum, if `solves_head`.

        Parameters
        ----------
        batch : Batch
            All training rows, with embeddings that do not change.
        """
        raise NotImplementedError

    def for_format(self, data_format: DataFormat) -> "Loss":
        """Return the loss for data of a format.

        Parameters
        ----------
        data_format : DataFormat
            One of `formats`.

        Returns
        -------
        Loss
            The loss itself, unless it wraps another one.
        """
        del data_format
        return self

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar with a gradient."""


def require(value: T | None, name: str) -> T:
    """Return a part of the training data, or raise if it is None."""
    if value is None:
        raise ValueError(f"This loss requires {name}, and the batch has none.")
    return value


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Average the values of rows, weighted if there are weights."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)


def single_logit(column: Tensor) -> Tensor:
    """Return the logit of each pair, for a model that outputs one."""
    if column.shape[1] != 1:
        raise ValueError(
            f"This loss requires a model with one logit, got {column.shape[1]}. Pass a model with one "
            "logit, or loss='cross_entropy' and a class for each pair."
        )
    return column[:, 0]
