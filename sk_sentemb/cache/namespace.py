"""What an embedding is found by: the text, and everything else that decides its vector."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from .._types import Text
from ..encoder import Embedded, Encoder, ImageEncoder, bytes_of

# Counts up whenever the same recipe and text would give another vector, or a record another layout.
FORMAT = 1

_SPACE_BYTES = 8
_TEXT_BYTES = 16
SEAL_BYTES = 8


@dataclass(frozen=True)
class Space:
    """All the embeddings that one model makes with one set of settings.

    Attributes
    ----------
    digest : bytes
        32 bytes that tell it from every other.
    model : str
        The name that led to the model.
    fingerprint : str
        The model's.
    dim : int
        Dimension of a vector.
    """

    digest: bytes
    model: str
    fingerprint: str
    dim: int

    @property
    def prefix(self) -> bytes:
        """The start of the keys of all its texts."""
        return self.digest[:_SPACE_BYTES]

    def keys(self, texts: Iterable[Text]) -> list[bytes]:
        """Return the key of each text: where its vector lies, whoever computed it.

        Two texts share a key with a probability of one in 2**128, and keys do not tell the texts.
        """
        prefix, digest, blake2b = self.prefix, self.digest, hashlib.blake2b
        return [
            prefix + blake2b(bytes_of(text), key=digest, digest_size=_TEXT_BYTES).digest()
            for text in texts
        ]

    def pack(self, embedded: Embedded) -> list[bytes]:
        """Turn vectors into records."""
        rows = np.empty(len(embedded.vectors), dtype=self._record)
        rows["vector"], rows["truncated"] = embedded
        laid, size = rows.tobytes(), self._record.itemsize
        return [laid[start : start + size] for start in range(0, len(laid), size)]

    def unpack(self, records: Iterable[bytes]) -> Embedded:
        """Turn records into vectors, which must be copied to be written to."""
        rows = np.frombuffer(b"".join(records), dtype=self._record)
        return Embedded(rows["vector"], rows["truncated"])

    @property
    def record_bytes(self) -> int:
        """Length of a record."""
        return self._record.itemsize

    @property
    def _record(self) -> np.dtype:
        return np.dtype([("vector", "<f4", (self.dim,)), ("truncated", "?")])


def prefix_of(key: bytes) -> bytes:
    """Return the part of a key that all texts of a space share."""
    return key[:_SPACE_BYTES]


def sealed(key: bytes, record: bytes) -> bytes:
    """Return the record with a check of itself and its key."""
    return record + hashlib.blake2b(record, key=key, digest_size=SEAL_BYTES).digest()


def unsealed(key: bytes, blob: object, record_bytes: int) -> bytes | None:
    """Return the record if it is what was once written under this key, and of the right length."""
    if not isinstance(blob, bytes) or len(blob) != record_bytes + SEAL_BYTES:
        return None
    record = blob[:-SEAL_BYTES]
    return record if sealed(key, record) == blob else None


def space_of(
    encoder: Encoder,
    *,
    prompt: str | None = None,
    max_length: int | None = None,
    long_text: str = "truncate",
) -> Space:
    """Return the space of a model's embeddings under some settings.

    Parameters
    ----------
    encoder : Encoder
        The model.
    prompt, max_length, long_text
        As in :meth:`Encoder.encode`.

    Returns
    -------
    Space
        Equal for equal files and settings, whatever the machine, device or name of the model.
    """
    recipe = encoder.recipe(prompt=prompt, max_length=max_length, long_text=long_text)
    return space_of_recipe(encoder, recipe)


def space_of_recipe(encoder: Encoder | ImageEncoder, recipe: dict[str, Any]) -> Space:
    """Return the space of the embeddings that a model makes by a recipe.

    Parameters
    ----------
    encoder : Encoder or ImageEncoder
        The model.
    recipe : dict
        Strings, numbers and None: all that decides a vector, beside the text or the image.

    Returns
    -------
    Space
        Equal for equal recipes.
    """
    told = json.dumps([FORMAT, recipe], sort_keys=True, default=index).encode()
    return Space(
        hashlib.blake2b(told, digest_size=32).digest(),
        model=encoder.source.model if encoder.source else "unnamed",
        fingerprint=encoder.fingerprint,
        dim=encoder.embedding_dim,
    )
