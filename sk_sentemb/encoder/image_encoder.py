"""A model of images: images in, float32 embeddings out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ._base import AUTO_BATCH_TOKENS, BaseEncoder
from .isolation import ForkSafeLock, isolated
from .modules import (
    IMAGE_POOLINGS,
    Pooler,
    compute_pixels,
    make_image_pooling,
    run_image_model,
)
from .packing import Pack, encode_packs, prefetch


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ImageEncoder(BaseEncoder):
    """A loaded model that turns images into embeddings.

    Image encoders are immutable, and copies share one model. Get one with
    :func:`sk_sentemb.encoder.load_image_encoder`.

    Attributes
    ----------
    processor : BaseImageProcessor
        Turns images into pixel tensors, by transformers.
    model : PreTrainedModel
        The model as it is saved.
    vision_model : nn.Module
        The part of the model that runs.
    projection : Dense or None
        A layer of the model that maps its pooled states into the space of text embeddings.
    modules : tuple of nn.Module
        Turn hidden states into embeddings: pooling and what follows it.
    n_patches : int
        The number of hidden states per image.
    fingerprint : str
        A checksum of the weights and the configuration, as hexadecimal digits.
    truncate_dim : int or None
        The number of dimensions to which the checkpoint truncates embeddings.
    source : Source or None
        The name and revision the model was loaded by; None if no name leads to these weights.
    """

    reads = "images"

    processor: Any
    model: PreTrainedModel
    vision_model: nn.Module
    n_patches: int
    projection: nn.Module | None = None
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)  # held while the model runs

    @property
    def _running_part(self) -> nn.Module:
        return self.vision_model

    @property
    def network(self) -> nn.Module:
        """The network whose weights are in memory, which another encoder may share."""
        return self.model

    @property
    def pooling(self) -> str:
        """The name of the pooling; ``"auto"`` if it is followed by the projection of the model."""
        if self._is_projected:
            return "auto"
        first = self.modules[0]
        return "pooler" if isinstance(first, Pooler) else " and ".join(first.modes)

    @property
    def _is_projected(self) -> bool:
        return self.projection is not None and self.projection in self.modules

    def _replace_pooling(self, pooling: Any) -> tuple[Any, ...]:
        if pooling in ("auto", self.pooling):
            return self.modules
        if pooling not in IMAGE_POOLINGS:
            raise ValueError(f"pooling={pooling!r}: pass 'auto' or one of {list(IMAGE_POOLINGS)}.")
        old, *followers = self.modules
        followers = [module for module in followers if module is not self.projection]
        new = make_image_pooling(pooling, self.vision_model, self.processor)
        if new.out_dim != old.out_dim and any(list(m.parameters()) for m in followers):
            raise ValueError(
                f"pooling={pooling!r} outputs {new.out_dim} dimensions, but the layer that follows "
                f"expects {old.out_dim}."
            )
        return (new, *followers)

    def encoding_params(self) -> dict[str, Any]:
        """Return everything apart from the image that determines an embedding."""
        # transformers resizes differently with and without torchvision.
        processor = type(self.processor).__name__
        return self._common_params() | {"reads": self.reads, "processor": processor}

    def images_per_batch(self, batch_size: int | str) -> int:
        """Return the number of images per forward pass; ``"auto"`` selects it for the device."""
        if batch_size != "auto":
            return int(batch_size)
        return max(1, AUTO_BATCH_TOKENS[self.device.type] // self.n_patches)

    def pixels_after_resizing(self, width: int, height: int) -> int:
        """Return the number of pixels of an image between resizing and cropping.

        It is large for elongated images, whose shorter edge is enlarged.
        """
        if not getattr(self.processor, "do_resize", False) or self._edge("longest_edge"):
            return 0
        return round(self._edge("shortest_edge") ** 2 * max(width, height) / min(width, height))

    def _edge(self, name: str) -> int:
        """Return the length that an edge of images is resized to, or 0."""
        size = getattr(self.processor, "size", None)
        edge = size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)
        return edge or 0

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
        """Embed images.

        Equal images are not recognized: pass each distinct image once.

        Parameters
        ----------
        images : sequence
            PIL images in RGB, or what ``read`` turns into them.
        read : callable, default=None
            Called with one of ``images`` at a time, in another thread and shortly before the image is
            needed, so that not all images have to be in memory. May return None for no image.
        batch_size : int or "auto", default="auto"
            Number of images per forward pass. Halved, with a warning, after an out-of-memory error.
        n_threads : int, default=1
            Number of threads that read and process images while the model runs.
        on_progress : callable, default=None
            Called with the number of images done after each batch.

        Returns
        -------
        ndarray of shape (n_images, embedding_dim), float32
            The embeddings; NaN where there is no image.

        Raises
        ------
        FloatingPointError
            If the dtype of the model cannot represent its hidden states.
        """

        def prepare(image: Any) -> dict[str, Tensor] | None:
            loaded = image if read is None else read(image)
            return None if loaded is None else compute_pixels(loaded, self.processor)

        embeddings = np.full((len(images), self.embedding_dim), np.nan, dtype=np.float32)
        size = per_batch = self.images_per_batch(batch_size)
        prepared = prefetch(images, prepare, n_ahead=2 * per_batch, n_threads=n_threads)
        for start in range(0, len(images), per_batch):
            batch = list(islice(prepared, per_batch))
            for rows in _group_by_shape(batch):
                found, size = self._run([batch[row] for row in rows], size)
                embeddings[[start + row for row in rows]] = found
            if on_progress is not None:
                on_progress(start + len(batch))
        return embeddings

    @torch.inference_mode()
    def _run(self, pixels: Sequence[Any], size: int) -> tuple[np.ndarray, int]:
        """Embed images of one shape, and return the batch size that fits into memory."""
        found, size = encode_packs(
            partial(self._forward, pixels),
            np.ones(len(pixels), dtype=np.int64),
            size,
            name="batch_size",
        )
        self._check_finite(found)
        return found, size

    def _forward(self, pixels: Sequence[Mapping[str, Tensor]], pack: Pack) -> Tensor:
        batch = [pixels[row] for row in pack.rows]
        with self.lock:
            x: Any = run_image_model(
                self.vision_model,
                {name: torch.cat([one[name] for one in batch]) for name in batch[0]},
            )
            for module in self.modules:
                x = module(x)
            return x


def _group_by_shape(batch: Sequence[Mapping[str, Tensor] | None]) -> list[list[int]]:
    """Group the images that can run together; most processors resize all to one shape."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, pixels in enumerate(batch):
        if pixels is not None:
            groups.setdefault(tuple(x.shape for x in pixels.values()), []).append(i)
    return list(groups.values())
