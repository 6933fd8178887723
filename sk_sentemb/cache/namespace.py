"""Keys of embeddings: the text, and everything else that determines its embedding."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from .._types import Text
from ..encoder import Embedded, Encoder, ImageEncoder, text_to_bytes

# Increases when the same parameters and text give another embedding, or a record another layout.
FORMAT = 1

_PREFIX_BYTES = 8
_TEXT_BYTES = 16
CHECKSUM_BYTES = 8


@dataclass(frozen=True)
class Namespace:
    """The embeddings of one model under one set of parameters."""

    digest: bytes
    model: str
    fingerprint: str
    dim: int

    @property
    def prefix(self) -> bytes:
        """The common prefix of its keys."""
        return self.digest[:_PREFIX_BYTES]

    def keys(self, texts: Iterable[Text]) -> list[bytes]:
        """Return the key of each text: a keyed hash, which does not reveal the text."""
        prefix, digest, blake2b = self.prefix, self.digest, hashlib.blake2b
        return [
            prefix + blake2b(text_to_bytes(text), key=digest, digest_size=_TEXT_BYTES).digest()
            for text in texts
        ]

    def serialize(self, embedded: Embedded) -> list[bytes]:
        """Return the record of each embedding."""
        rows = np.empty(len(embedded.vectors), dtype=self._record)
        rows["vector"], rows["truncated"] = embedded
        joined, size = rows.tobytes(), self._record.itemsize
        return [joined[start : start + size] for start in range(0, len(joined), size)]

    def deserialize(self, records: Iterable[bytes]) -> Embedded:
        """Return the embeddings of records, as read-only arrays."""
        rows = np.frombuffer(b"".join(records), dtype=self._record)
        return Embedded(rows["vector"], rows["truncated"])

    @property
    def record_bytes(self) -> int:
        """The length of a record."""
        return self._record.itemsize

    @property
    def _record(self) -> np.dtype:
        return np.dtype([("vector", "<f4", (self.dim,)), ("truncated", "?")])


def get_prefix(key: bytes) -> bytes:
    """Return the part of a key that all texts of a namespace share."""
    return key[:_PREFIX_BYTES]


def add_checksum(key: bytes, record: bytes) -> bytes:
    """Append a checksum of the record and its key."""
    return record + hashlib.blake2b(record, key=key, digest_size=CHECKSUM_BYTES).digest()


def verify_checksum(key: bytes, blob: object, record_bytes: int) -> bytes | None:
    """Return the record if its checksum and length are right, else None."""
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
    """Return the namespace of a model's embeddings under some settings."""
    params = encoder.encoding_params(prompt=prompt, max_length=max_length, long_text=long_text)
    return namespace_for_params(encoder, params)


def namespace_for_params(encoder: Encoder | ImageEncoder, params: dict[str, Any]) -> Namespace:
    """Return the namespace of the embeddings that a model makes with some parameters."""
    serialized = json.dumps([FORMAT, params], sort_keys=True, default=index).encode()
    return Namespace(
        hashlib.blake2b(serialized, digest_size=32).digest(),
        model=encoder.source.model if encoder.source else "unnamed",
        fingerprint=encoder.fingerprint,
        dim=encoder.embedding_dim,
    )
