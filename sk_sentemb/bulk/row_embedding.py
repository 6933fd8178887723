"""Embed tables of rows with the embedder of a run."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from .._inputs import read_text_columns
from ..cache import MemoryCache, load_fitted
from ..embedder import EmbeddedRows, SentenceEmbedder
from ..exceptions import InvalidRowError


def prepare_embedder(embedder: SentenceEmbedder, column: str | Sequence[str]) -> SentenceEmbedder:
    """Return a fitted embedder for a run, without changing the caller's."""
    if not isinstance(embedder, SentenceEmbedder):
        raise TypeError(
            f"embedder is of type {type(embedder).__name__}; pass a SentenceEmbedder, fitted or not."
        )
    # Fitting only loads the model and records the columns, so any text will do. A column that is not
    # in a list has no name to record or check, like a Series.
    sample = [""] if isinstance(column, str) else pa.table({name: [""] for name in column})
    ready = load_fitted(embedder, sample)
    if ready is embedder:
        ready = copy.copy(embedder)
    ready.verbose = 0
    ready.transform(sample[:0])  # raises if the columns differ from those seen in fit
    if ready.cache == "memory" or isinstance(ready.cache, MemoryCache):
        ready.cache = None
    return ready


def encoding_params(embedder: SentenceEmbedder) -> dict[str, Any]:
    """Return the model and the parameters that determine an embedding, for JSON."""
    encoder = embedder.encoder_
    limit = encoder.resolve_max_length(embedder.max_length)
    return {
        "model": encoder.source.model if encoder.source else None,
        "revision": encoder.source.revision if encoder.source else None,
        "fingerprint": encoder.fingerprint,
        "embedding_dim": int(embedder.embedding_dim_),
        "pooling": list(encoder.pooling),
        "normalize": encoder.normalizes,
        "prompt": encoder.resolve_prompt(embedder.prompt, embedder.prompt_name),
        "max_length": limit if limit is None else int(limit),
        "long_text": embedder.long_text,
        "missing": embedder.missing,
        "dtype": encoder.dtype,
    }


def embed_rows(
    embedder: SentenceEmbedder, texts: pa.Table, first_row: int, place_of: Callable[[int], str]
) -> EmbeddedRows:
    """Embed consecutive rows of a dataset."""
    try:
        return embedder._embed_columns(read_text_columns(texts))
    except InvalidRowError as error:
        row = first_row + error.row
        problem = f"{error.problem} It is {place_of(row)}, counting from 0."
        raise InvalidRowError(row, error.column, problem) from None
