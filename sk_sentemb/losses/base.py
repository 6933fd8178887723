"""What a loss is given and what it has to say about itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .needs import NOTHING, Need

# The shapes of training data that a loss can be for: how many columns of text, and what `y` is.
LABELS = "labels"  # one column or several, and a class for each row
SCORES = "scores"  # two columns, and a similarity from 0 to 1
BINARY = "binary"  # two columns, and 0 or 1
CLASSES = "classes"  # two columns, and a class for each pair
PAIRS = "pairs"  # two columns that belong together, and no y
TRIPLETS = "triplets"  # three columns: anchor, positive, negative
TEXTS = "texts"  # one column, and no y
VECTORS = "vectors"  # one column, and the vector that each text shall get
MARGINS = (
    "margins"  # three columns as triplets, and by how much a teacher finds the positive better
)
ROWS_OF_CLASSES = "rows of classes"  # any columns, other features, and a class for each row
ROWS_OF_VALUES = "rows of values"  # the same, and one number or several for each row
LISTS = "lists"  # two columns, a grade for each pair, and the query whose list it is in


@dataclass(frozen=True)
class Batch:
    """What a loss is given.

    Attributes
    ----------
    columns : sequence of Tensor of shape (n_rows, dim), float32
        The vectors of each column of text, as the model gives them; of texts alone, two views of
        the same texts, which dropout makes different. Of a cross-encoder, the logits of each column
        of pairs.
    target : Tensor of shape (n_rows,) or (n_rows, target_dim) or None
        Class codes (int64), similarities from 0 to 1, 0 and 1, margins, grades, or vectors (float32).
    weight : Tensor of shape (n_rows,), float32, or None
        How much each row counts; None where all count alike.
    head : nn.Module or None
        What `Loss.make_head` made.
    guide : sequence of Tensor of shape (n_rows, guide_dim) or None
        The columns' vectors of unit length by a model that is not trained, for losses that ask for it.
    lists : Tensor of shape (n_rows,), int64, or None
        The number of the list that each row is in, for losses that compare the rows of a list; a
        batch has whole lists, whose rows are neighbours.
    features : Tensor of shape (n_rows, n_features), float32, or None
        What is known of the rows beside their texts.
    """

    columns: Sequence[Tensor]
    target: Tensor | None = None
    weight: Tensor | None = None
    head: nn.Module | None = None
    guide: Sequence[Tensor] | None = None
    lists: Tensor | None = None
    features: Tensor | None = None

    @property
    def joined(self) -> Tensor:
        """The embeddings of the columns, concatenated: the embedding of a row with several texts."""
        return torch.cat(list(self.columns), dim=1) if len(self.columns) > 1 else self.columns[0]


class Loss(ABC):
    """A number for a batch, the lower the better.

    Subclasses are frozen dataclasses, so that two with the same parameters are equal.
    """

    #: The shapes of data that it is for.
    data: ClassVar[tuple[str, ...]]
    #: Whether it needs several texts of one class in a batch.
    groups_classes: ClassVar[bool] = False
    #: Whether `Batch.guide` is wanted.
    guided: ClassVar[bool] = False
    #: Whether it compares some of a vector's dimensions, which cross-encoders do not have.
    of_dimensions: ClassVar[bool] = False
    #: Whether it wraps another loss, which is chosen by the data.
    follows_data: ClassVar[bool] = False
    #: The highest grade that it accepts; None for any.
    max_grade: ClassVar[float | None] = None
    #: What makes predictions of a cross-encoder's logits after it.
    activation: ClassVar[type[nn.Module]] = nn.Identity
    #: What a batch must contain for the loss to say something about the model.
    needs: ClassVar[Need] = NOTHING

    def make_head(self, dim: int, n_outputs: int, n_columns: int = 1) -> nn.Module | None:
        """Return a module that is trained along, or None.

        Parameters
        ----------
        dim : int
            Of the model's vectors.
        n_outputs : int
            Number of classes, or dimension of the targets.
        n_columns : int, default=1
            Columns of text.

        Returns
        -------
        nn.Module or None
            With random weights from torch's generator.

        Raises
        ------
        ValueError
            If the loss cannot be computed of such vectors.
        """
        del dim, n_outputs, n_columns
        return None

    @property
    def solves_head(self) -> bool:
        """Whether `solve_head` finds the best weights of a head for fixed embeddings."""
        return False

    def solve_head(self, batch: Batch) -> None:
        """Put the best weights into the head, where `solves_head`.

        Parameters
        ----------
        batch : Batch
            All rows to learn from, with embeddings that do not change.
        """
        raise NotImplementedError

    def for_data(self, shape: str) -> "Loss":
        """Return the loss for data of that shape: itself, unless it has a choice to make.

        Parameters
        ----------
        shape : str
            Among `data`.

        Returns
        -------
        Loss
            Ready to be called.
        """
        del shape
        return self

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar that gradients flow from."""


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Average the values of rows, by their weights if there are any."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)
