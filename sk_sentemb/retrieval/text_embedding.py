"""Fit the embedder of a corpus, and embed texts on either side of a search."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from .._inputs import read_text_columns
from .._training import FineTuner
from ..embedder import EmbeddedRows, SentenceEmbedder
from ..exceptions import InvalidRowError
from .embedding_store import normalize_rows
from .search_prompts import find_text_embedder, log_prompts, resolve_prompt, with_parameters

# Texts that are embedded together: their embeddings are the only ones that are in memory twice.
_BLOCK_TEXTS = 32_768


class FittedEmbedders(NamedTuple):
    """One model, as it embeds documents and as it embeds queries."""

    document: Any
    query: Any
    document_prompt: str | None  # literal texts, None if the embedder has no prompts
    query_prompt: str | None


def fit_embedders(
    embedder: Any,
    texts: list[str],
    *,
    query_prompt: str | None,
    document_prompt: str | None,
    n_jobs: int | None,
    verbose: int,
) -> FittedEmbedders:
    """Fit a copy of an embedder to distinct texts, and give each side its prompt."""
    embedder = SentenceEmbedder() if embedder is None else embedder
    of_text = find_text_embedder(embedder)
    if of_text is None:
        for name, prompt in (("query_prompt", query_prompt), ("document_prompt", document_prompt)):
            if prompt not in ("auto", None):
                raise ValueError(
                    f"{name}={prompt!r}, but only a SentenceEmbedder has prompts, and embedder is of "
                    f"type {type(embedder).__name__}. Pass 'auto' or None."
                )
        fitted = embedder if _is_ready(embedder) else clone(embedder).fit(texts)
        return FittedEmbedders(fitted, fitted, None, None)
    chosen = {
        "query": resolve_prompt("query", query_prompt, of_text),
        "document": resolve_prompt("document", document_prompt, of_text),
    }
    running = {
        "n_jobs": of_text.n_jobs if n_jobs is None else n_jobs,
        "verbose": verbose or of_text.verbose,
    }
    ready = _is_ready(embedder)
    document = embedder if ready else clone(embedder)
    document = with_parameters(document, **chosen["document"]._asdict(), **running)
    if not ready:
        document.fit(texts)
    query = with_parameters(document, **chosen["query"]._asdict())
    encoder = find_text_embedder(document).encoder_  # type: ignore[union-attr]
    prompts = {side: encoder.resolve_prompt(*prompt) for side, prompt in chosen.items()}
    log_prompts(prompts)
    return FittedEmbedders(document, query, prompts["document"], prompts["query"])


def _is_ready(embedder: Any) -> bool:
    """Return whether an embedder is used as it is; raise if it would be trained without targets."""
    if isinstance(embedder, FrozenEstimator):
        check_is_fitted(embedder)
        return True
    tuners = [value for value in embedder.get_params().values() if isinstance(value, FineTuner)]
    if not tuners:
        return False
    if not getattr(embedder, "__sklearn_is_fitted__", lambda: False)():
        raise ValueError(
            "embedder has a fine_tuner and is not fitted, but documents are no targets to train on. "
            "Fit it first, and pass FrozenEstimator(embedder), which keeps its weights in clones."
        )
    return True


def compute_fingerprint(embedder: Any) -> str:
    """Return a hash of what determines the embeddings of a fitted embedder."""
    if isinstance(embedder, FrozenEstimator):
        return compute_fingerprint(embedder.estimator)
    if isinstance(embedder, SentenceEmbedder):
        return embedder.fingerprint_
    return str(joblib.hash(embedder))


def embed_texts(
    embedder: Any,
    texts: Sequence[str],
    *,
    unit: bool,
    name: str = "texts",
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Embed each distinct text once; return float32 rows in the order of the texts.

    `name` and `rows` say in errors where the texts come from.
    """
    index: dict[str, int] = {}
    inverse = np.array([index.setdefault(text, len(index)) for text in texts], dtype=np.intp)
    distinct = list(index)
    embeddings = np.empty((0, 0), dtype=np.float32)
    order = np.argsort(inverse, kind="stable")
    ends = np.searchsorted(inverse, np.arange(len(distinct) + 1), sorter=order)
    n_truncated = 0
    for batch in gen_batches(len(distinct), _BLOCK_TEXTS):
        try:
            block, n_cut = _embed(embedder, distinct[batch])
        except InvalidRowError as error:
            row = order[ends[batch.start + error.row]]
            row = int(row if rows is None else rows[row])
            where = f"row {row} (counting from 0) of {name}"
            raise InvalidRowError(row, 0, error.problem, where) from None
        n_truncated += n_cut
        if len(distinct) == len(texts) == len(block):
            embeddings = block
            break
        if not batch.start:
            embeddings = np.empty((len(texts), block.shape[1]), dtype=np.float32)
        places = order[ends[batch.start] : ends[batch.stop]]
        embeddings[places] = block[inverse[places] - batch.start]
    if n_truncated:  # once for all blocks
        embedder._warn_about(EmbeddedRows(embeddings, len(distinct), n_truncated, n_missing=0))
    return normalize_rows(embeddings) if unit else embeddings


def _embed(embedder: Any, texts: list[str]) -> tuple[np.ndarray, int]:
    """Embed distinct texts, check what comes out, and count the truncated ones."""
    n_truncated = 0
    if isinstance(embedder, SentenceEmbedder):
        raw, _, n_truncated, _ = embedder._embed_columns(read_text_columns(texts))
    else:
        raw = embedder.transform(texts)
    if issparse(raw):
        raise TypeError(
            "embedder returns sparse rows, and an index holds dense embeddings. Reduce them: "
            "make_pipeline(TfidfVectorizer(), TruncatedSVD())."
        )
    # The array of a SentenceEmbedder is new, and may be normalized in place.
    convert = np.asarray if isinstance(embedder, SentenceEmbedder) else np.array
    embeddings = convert(raw, dtype=np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(texts):
        raise ValueError(
            f"embedder returns an array of shape {embeddings.shape} for {len(texts)} texts. Pass a "
            "transformer that takes a list of texts and returns one embedding for each."
        )
    is_finite = np.isfinite(embeddings).all(axis=1)
    if not is_finite.all():
        text = texts[int(np.flatnonzero(~is_finite)[0])]
        raise ValueError(f"embedder returns NaN or infinity for the text {text!r:.80}.")
    return embeddings, n_truncated
