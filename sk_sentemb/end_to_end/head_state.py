"""A trained head as plain data, for pickles and skops files."""

from typing import Any

from safetensors.torch import load, save

from .._random import torch_seed
from .fusion import Head, HeadSpec


def dismantle_head(head: Head) -> dict[str, Any]:
    """Return the plain data from which :func:`assemble_head` builds a head again."""
    state = head.state_dict()
    # Copies, because safetensors takes no two tensors in one piece of memory.
    tensors = {name: t.detach().cpu().clone() for name, t in state.items() if hasattr(t, "detach")}
    if others := sorted(state.keys() - tensors.keys()):
        raise TypeError(
            f"the head's state {others[0]!r} is of type {type(state[others[0]]).__name__}, and only "
            "tensors can be saved. Return a tensor from the module's get_extra_state."
        )
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return {"n_outputs": head.n_outputs, "tensors": save(contiguous)}


def assemble_head(plain: dict[str, Any], spec: HeadSpec, dim: int) -> Head:
    """Build a head from plain data, on the CPU."""
    with torch_seed(
        0
    ):  # the random weights that it begins with leave torch's generators as they are
        head = spec.make(dim, plain["n_outputs"])
    try:
        head.load_state_dict(load(plain["tensors"]))
    except RuntimeError as error:
        raise ValueError(
            f"head={spec.factory!r} builds another module than the one that was trained: {error}"
        ) from error
    return head.eval().requires_grad_(False)
