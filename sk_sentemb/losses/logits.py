"""The logits of a cross-encoder."""

from torch import Tensor


def one_logit(column: Tensor) -> Tensor:
    """Return the logit of each pair, of a model that gives one."""
    if column.shape[1] != 1:
        raise ValueError(
            f"the model gives {column.shape[1]} logits for each pair, and the loss is of one. Pass a "
            "model with one, or loss='cross_entropy' and a class for each pair."
        )
    return column[:, 0]
