"""A model of images: images in, float32 vectors out."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .._warn import warn
from .errors import is_out_of_memory
from .fork_safety import ForkSafeLock
from .modules import (
    IMAGE_POOLINGS,
    Dense,
    Normalize,
    Pooler,
    digest_of,
    pixels_of,
    pooling_named,
    run_tower,
    tower_of,
)
from .packing import prefetch
from .python_scalars import to_python_scalar
from .text_encoder import AUTO_BATCH_TOKENS, Source
from .torch_state import isolated


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A model of images that is loaded and ready. It is immutable, so that copies share it.

    Get one with :func:`sk_sentemb.encoder.load_image_encoder`.

    Attributes
    ----------
    processor : BaseImageProcessor
        Images to pixels, by transformers.
    model : PreTrainedModel
        As it is saved; what reads images may be a part of it.
    modules : tuple of nn.Module
        Hidden states to vectors: pooling and what follows it.
    n_patches : int
        How many states an image has.
    fingerprint : str
        A digest of the weights and the configuration, as hexadecimal digits.
    truncate_dim : int or None
        How many dimensions the checkpoint asks to keep.
    source : Source or None
        Where it came from; None if no name leads to it.
    origin : ImageEncoder or None
        The one that this was made from, if any; it lives as long.
    towers : CLIPModelPair or None
        The CLIP whose images it encodes.
    carried : str
        As in :class:`Encoder`.
    lock : ForkSafeLock
        Held by whoever runs it.
    """

    processor: Any
    model: PreTrainedModel
    modules: tuple[Any, ...]
    n_patches: int
    fingerprint: str
    truncate_dim: int | None = None
    source: Source | None = None
    origin: "ImageEncoder | None" = None
    towers: Any = None
    carried: str = ""
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)

    def __repr__(self) -> str:
        name = self.source.model if self.source else "unnamed"
        return f"ImageEncoder({name!r}, device='{self.device}', dtype='{self.dtype}')"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    @property
    def tower(self) -> nn.Module:
        """What reads images."""
        return tower_of(self.model)

    @property
    def network(self) -> nn.Module:
        """The model whose weights it keeps in memory; another encoder may share it."""
        return self.model

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.tower.parameters()).device

    @property
    def dtype(self) -> str:
        """The number format of the transformer: ``"float32"``, ``"bfloat16"`` or ``"float16"``."""
        return str(next(self.tower.parameters()).dtype).removeprefix("torch.")

    @property
    def n_bytes(self) -> int:
        """Memory of its weights."""
        return sum(weight.nbytes for weight in self.network.parameters())

    @property
    def pooling(self) -> str:
        """The name of the pooling; ``"auto"`` where a projection follows it that belongs to it."""
        first, *others = self.modules
        if others and others[0] is self._projection:
            return "auto"
        return "pooler" if isinstance(first, Pooler) else " and ".join(first.modes)

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have length one."""
        return isinstance(self.modules[-1], Normalize)

    @property
    def embedding_dim(self) -> int:
        """Dimension of a vector."""
        return next(m.out_dim for m in reversed(self.modules) if hasattr(m, "out_dim"))

    @property
    def _projection(self) -> nn.Module | None:
        """The projection into the space of texts, among the modules."""
        layer = getattr(self.model, "visual_projection", None)
        dense = (m for m in self.modules if isinstance(m, Dense) and m.linear is layer)
        return next(dense, None)

    def with_pooling(self, *, pooling: str = "auto", normalize: bool | str = "auto") -> Self:
        """Return an encoder that pools or normalises in another way, with the same weights.

        Parameters
        ----------
        pooling : {"auto", "cls", "mean", "pooler"}, default="auto"
            What becomes of the patches' states, or ``"auto"`` for what the checkpoint is made for.
            Of a CLIP, the others are not projected into the space of its texts.
        normalize : bool or "auto", default="auto"
            Whether vectors get length one, or ``"auto"`` as the checkpoint says.

        Returns
        -------
        ImageEncoder
            It shares the weights with this one.

        Raises
        ------
        ValueError
            If the model has no such states, or a layer that follows needs another dimension.
        """
        pooling, normalize = to_python_scalar((pooling, normalize))
        modules = list(self.modules)
        if pooling not in ("auto", self.pooling):
            modules = self._repooled(pooling)
        if normalize != "auto" and normalize != self.normalizes:
            modules = [*modules, Normalize()] if normalize else modules[:-1]
        if tuple(modules) == self.modules:
            return self
        return self.replace(modules=tuple(modules))

    def replace(self, **changes: Any) -> Self:
        """Return an encoder with some attributes changed, and the same weights.

        Parameters
        ----------
        **changes : object
            New values of attributes.

        Returns
        -------
        ImageEncoder
            It shares the weights with this one.
        """
        return replace(self, origin=self.origin or self, **to_python_scalar(changes))

    def encoding_params(self) -> dict[str, Any]:
        """Return all that decides an image's vector, beside the image.

        Returns
        -------
        dict
            Strings. Equal recipes give equal vectors, up to the last bits.
        """
        return {
            "reads": "images",
            # Of what was trained from carried weights, both count.
            "fingerprint": f"{self.carried} {self.fingerprint}".strip(),
            "modules": self._modules_digest,
            "dtype": self.dtype,
            # With torchvision and without it, transformers resizes in two ways.
            "processor": type(self.processor).__name__,
        }

    @cached_property
    def _modules_digest(self) -> str:
        return digest_of(self.modules)

    def images_per_batch(self, batch_size: int | str) -> int:
        """Return how many images run together.

        Parameters
        ----------
        batch_size : int or "auto"
            What is asked for; "auto" for what suits the device.

        Returns
        -------
        int
            At least 1.
        """
        if batch_size != "auto":
            return int(batch_size)
        return max(1, AUTO_BATCH_TOKENS[self.device.type] // self.n_patches)

    def pixels_after_resizing(self, width: int, height: int) -> int:
        """Return how many pixels an image has before its middle is cut out.

        Parameters
        ----------
        width, height : int
            Its size.

        Returns
        -------
        int
            Many, if it is far longer than it is wide and its shorter edge is enlarged.
        """
        if not getattr(self.processor, "do_resize", False) or self._side("longest_edge"):
            return 0
        return round(self._side("shortest_edge") ** 2 * max(width, height) / min(width, height))

    def _side(self, name: str) -> int:
        """Return a side that images are resized to, or 0."""
        size = getattr(self.processor, "size", None)
        side = size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)
        return side or 0

    @isolated
    def encode(
        self,
        images: Sequence[Any],
        *,
        read: Callable[[Any], Any] | None = None,
        batch_size: int | str = "auto",
        n_threads: int = 1,
        on_progress: Callable[[int], object] | None = None,
    ) -> np.ndarray:
        """Embed images. Give each distinct image once; equal ones are not looked for.

        Parameters
        ----------
        images : sequence
            Images of PIL in RGB, or what ``read`` turns into them.
        read : callable, default=None
            Called with one of ``images`` at a time, in another thread and shortly before it is needed,
            so that they need not be in memory together. May return None where there is no image.
        batch_size : int or "auto", default="auto"
            How many run together. Halved, with a warning, when memory runs out.
        n_threads : int, default=1
            How many threads read and process images while the model runs.
        on_progress : callable, default=None
            Called after each batch with the number of images that are done.

        Returns
        -------
        ndarray of shape (n_images, embedding_dim), float32
            One row for each; NaN where there is no image.

        Raises
        ------
        FloatingPointError
            If the number format cannot hold the model's states.
        """
        vectors = np.full((len(images), self.embedding_dim), np.nan, dtype=np.float32)

        def prepare(image: Any) -> dict[str, Tensor] | None:
            found = image if read is None else read(image)
            return None if found is None else pixels_of(found, self.processor)

        size = self.images_per_batch(batch_size)
        for start, batch in prefetch(images, prepare, size, n_threads):
            rows = [start + i for i, pixels in enumerate(batch) if pixels is not None]
            if rows:
                done, size = self._run([p for p in batch if p is not None], size)
                vectors[rows] = done
            if on_progress is not None:
                on_progress(start + len(batch))
        return vectors

    @torch.inference_mode()
    def _run(self, batch: Sequence[Mapping[str, Tensor]], size: int) -> tuple[np.ndarray, int]:
        """Run images, at most so many together, and return how many had room."""
        vectors = np.empty((len(batch), self.embedding_dim), dtype=np.float32)
        todo = deque(_of_one_shape(batch))
        while todo:
            rows = todo.popleft()
            if len(rows) > size:
                todo.appendleft(rows[size:])
                rows = rows[:size]
            try:
                vectors[rows] = self._forward([batch[i] for i in rows]).cpu().numpy()
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(rows) == 1:
                    raise
                size = len(rows) // 2
                todo.appendleft(rows)
                warn(
                    f"out of memory: going on with batch_size={size}. Pass that to start with it.",
                    RuntimeWarning,
                )
        if not np.isfinite(vectors).all():
            raise FloatingPointError(
                f"dtype={self.dtype!r} cannot hold what this model computes: the vectors are not "
                "finite. Pass dtype='float32' or 'bfloat16'."
            )
        return vectors, size

    def _forward(self, batch: Sequence[Mapping[str, Tensor]]) -> Tensor:
        pixels = {name: torch.cat([one[name] for one in batch]) for name in batch[0]}
        with self.lock:
            x: Any = run_tower(self.model, pixels)
            for module in self.modules:
                x = module(x)
            return x

    def _repooled(self, name: str) -> list[Any]:
        if name not in IMAGE_POOLINGS:
            raise ValueError(f"pooling={name!r}: pass 'auto' or one of {list(IMAGE_POOLINGS)}.")
        old, *followers = self.modules
        followers = [module for module in followers if module is not self._projection]
        new = pooling_named(name, self.model, self.processor)
        if new.out_dim != old.out_dim and any(list(m.parameters()) for m in followers):
            raise ValueError(
                f"pooling={name!r} gives {new.out_dim} dimensions, but the layer that follows takes "
                f"{old.out_dim}."
            )
        return [new, *followers]


def _of_one_shape(batch: Sequence[Mapping[str, Tensor]]) -> list[list[int]]:
    """Group images that can run together; most processors make all of one size."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, pixels in enumerate(batch):
        groups.setdefault(tuple(x.shape for x in pixels.values()), []).append(i)
    return list(groups.values())
