"""What an embedding is found by: the text, and everything else that decides its vector."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from .._types import Text
from ..encoder import Embedded, Encoder, ImageEncoder, text_to_bytes

# Counts up whenever the same recipe and text would give another vector, or a record another layout.
FORMAT = 1

_SPACE_BYTES = 8
_TEXT_BYTES = 16
CHECKSUM_BYTES = 8


@dataclass(frozen=True)
class Namespace:
    """All the embeddings that one model makes with one set of settings."""

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
            prefix + blake2b(text_to_bytes(text), key=digest, digest_size=_TEXT_BYTES).digest()
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


def add_checksum(key: bytes, record: bytes) -> bytes:
    """Return the record with a check of itself and its key."""
    return record + hashlib.blake2b(record, key=key, digest_size=CHECKSUM_BYTES).digest()


def verify_checksum(key: bytes, blob: object, record_bytes: int) -> bytes | None:
    """Return the record if it is what was once written under this key, and of the right length."""
    if not isinstance(blob, bytes) or len(blob) != record_bytes + CHECKSUM_BYTES:
        return None
    record = blob[:-CHECKSUM_BYTES]
    return record if add_checksum(key, record) == blob else None


def namespace_for(
    encoder: Encoder,
    *,
    prompt: str | None = None,
    max_length: int | None = None,
    long_text: str = "truncate",
) -> Namespace:
    """Return the space of a model's embeddings under some settings."""
    recipe = encoder.recipe(prompt=prompt, max_length=max_length, long_text=long_text)
    return namespace_for_params(encoder, recipe)


def namespace_for_params(encoder: Encoder | ImageEncoder, recipe: dict[str, Any]) -> Namespace:
    """Return the space of the embeddings that a model makes by a recipe."""
    told = json.dumps([FORMAT, recipe], sort_keys=True, default=index).encode()
    return Namespace(
        hashlib.blake2b(told, digest_size=32).digest(),
        model=encoder.source.model if encoder.source else "unnamed",
        fingerprint=encoder.fingerprint,
        dim=encoder.embedding_dim,
    )
