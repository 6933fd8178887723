"""From a parameter to a loss, in the table of one kind of model."""

from dataclasses import dataclass

from .base import Loss


@dataclass(frozen=True)
class LossTable:
    """Which losses there are for a kind of model."""

    estimators: str
    losses: dict[str, type[Loss]]
    shapes: dict[str, tuple[str, str]]

    def __contains__(self, loss: str | Loss) -> bool:
        if isinstance(loss, str):
            return loss in self.losses
        return type(loss) in self.losses.values()

    def names(self, shape: str | None = None) -> list[str]:
        """Return the names of the losses that are for data of a shape, or all."""
        return [name for name, kind in self.losses.items() if shape is None or shape in kind.data]


def look_up(loss: str | Loss, shape: str | None, table: LossTable, other: LossTable) -> Loss:
    """Return the loss that a parameter stands for."""
    if loss in other and loss not in table:
        raise ValueError(
            f"loss={loss!r}: it is for {other.estimators}. For {table.estimators} pass 'auto', a Loss "
            f"of your own, or one of {table.names(shape)}."
        )
    if isinstance(loss, str):
        if loss == "auto" and shape in other.shapes and shape not in table.shapes:
            raise ValueError(
                f"X and y are {other.shapes[shape][0]}, and no loss of {table.estimators} is for that."
            )
        name = table.shapes[shape][1] if loss == "auto" and shape is not None else loss
        if name not in table.losses:
            raise ValueError(f"loss={loss!r}: pass 'auto', a Loss, or one of {table.names()}.")
        loss = table.losses[name]()
    if shape is None:
        return loss
    if shape not in loss.data:
        words, _ = {**other.shapes, **table.shapes}[shape]
        raise ValueError(
            f"loss={loss}: it is not for {words}, which X and y are. Pass 'auto' or one of "
            f"{table.names(shape)}."
        )
    return loss.for_data(shape)
