"""Save and load a SemanticIndex."""

import json
import os
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..encoder import to_python_scalar
from ..exceptions import ModelChangedError
from .backend_slot import BackendSlot
from .documents import TEXT
from .embedding_store import EmbeddingStore, normalize_rows
from .search_prompts import with_parameters
from .storage import IndexParts, load_parts, save_parts
from .stored_embedder import get_side_params
from .text_embedding import FittedEmbedders

# Fitted attributes that are numbers or strings.
_FITTED = (
    *("query_prompt_", "document_prompt_", "embedding_dim_", "fingerprint_", "index_", "recall_"),
    "n_features_in_",
)

# The number of documents that an embedder has to embed as before, and the difference that devices make.
_N_COMPARED = 8
_TOLERANCE = 0.02


class SavedIndexMixin:
    """`save` and `load` of an index."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save the index in a folder.

        The folder afterwards holds this index alone, or, if the process is killed or an error is raised
        meanwhile, what it held before. Files are on the disk when the method returns. Nothing is
        pickled: embeddings are a ``.npy`` file, documents an Arrow file, and a manifest holds their
        sizes and checksums.

        For a :class:`~sk_sentemb.SentenceEmbedder`, the parameters are saved, and the name and
        fingerprint of its model; for a fine-tuned one, or with ``store_weights_in_pickle=True``,
        also the weights, but not the ``fine_tuner``. For other embedders, only a fingerprint is saved.

        Parameters
        ----------
        folder : str or path-like
            The folder: a new one, or one that holds a saved index, which is replaced. Processes that
            have loaded that index are not disturbed.

        Raises
        ------
        FileExistsError
            If ``folder`` is a file or holds other files than those of an index.
        ValueError
            If a column of ``documents_`` has objects that Arrow cannot represent, such as tuples. The
            message names the column.
        TypeError
            If the index has a ``quantizer``: pickle it instead.
        ImportError
            If pyarrow is not installed.

        See Also
        --------
        SemanticIndex.load : Load the index.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from sk_sentemb import SemanticIndex
        >>> index = SemanticIndex().fit(["The cat sleeps.", "Stocks fell sharply."])
        >>> with TemporaryDirectory() as folder:
        ...     index.save(folder)
        ...     loaded = SemanticIndex.load(folder)
        >>> loaded.search(["a kitten"], n=1)["text"].tolist()
        ['The cat sleeps.']
        """
        check_is_fitted(self)
        save_parts(folder, _to_parts(self))

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, embedder: Any = None, verify: bool = False
    ) -> Self:
        """Load an index that `save` has saved.

        Embeddings are mapped into memory and read when they are searched, so that processes share
        them. Later saves into the folder do not change a loaded index.

        Parameters
        ----------
        folder : str or path-like
            The folder.
        embedder : SentenceEmbedder or other transformer, default=None
            The embedder to embed queries with, if it cannot be loaded by name, runs on another device,
            or is not a :class:`~sk_sentemb.SentenceEmbedder`. It has to be the one that the index was
            fitted with.
        verify : bool, default=False
            Whether to compare the checksums of all files. Otherwise those of up to 64 MiB are verified,
            and of larger ones the size. Pass True for files that were transferred.

        Returns
        -------
        SemanticIndex
            The fitted index.

        Raises
        ------
        FileNotFoundError
            If the folder holds no index.
        IndexFileError
            If a file is missing, damaged or of another version.
        ModelChangedError
            If the model has another fingerprint than the one the index was fitted with, or an
            ``embedder`` gives documents other embeddings.
        ModelNotFoundError
            If the model is not found.
        ValueError
            If ``embedder`` is None, and the index was fitted with an embedder that is not a
            :class:`~sk_sentemb.SentenceEmbedder`.
        ImportError
            If pyarrow or the library of the index is not installed.

        See Also
        --------
        SemanticIndex.save : Save an index.
        """
        parts = load_parts(folder, embedder=embedder, verify=verify)
        index = _from_parts(cls, parts, embedder)
        if embedder is not None:
            _check_embeddings(index)
        return index


def _to_parts(index: Any) -> IndexParts:
    params = index.get_params(deep=False)
    embedder = params.pop("embedder")
    for name, value in (params | {"quantizer": index.quantizer_}).items():
        try:
            json.dumps(to_python_scalar(value))
        except TypeError:
            raise TypeError(
                f"{name}={value!r} cannot be saved without a pickle, only numbers and strings can. "
                "Pickle the index instead."
            ) from None
    attributes = {
        "params": params,
        "fitted": {name: getattr(index, name) for name in _FITTED},
        # The parameter `embedder`, from which another fit starts, and the embedder of queries.
        "embedder": None if embedder is None else get_side_params(embedder),
        "query": get_side_params(index._embedders.query),
        "unit": index._store.unit,
        "next": {"id": index._next_id, "key": index._next_key},
    }
    return IndexParts(
        to_python_scalar(attributes),
        {"embeddings": index._store.stored, "keys": index._keys},
        index._documents,
        None if index._slot is None else index._slot.get(index._build_backend),
        index.embedder_,
    )


def _from_parts(cls: Any, parts: IndexParts, given: Any) -> Any:
    attributes, document = parts.attributes, parts.embedder
    embedder = given
    if given is None and attributes["embedder"] is not None:
        embedder = with_parameters(document, **attributes["embedder"])
    index = cls(embedder, **attributes["params"])
    vars(index).update(attributes["fitted"])
    index._embedders = FittedEmbedders(
        document,
        with_parameters(document, **attributes["query"]),
        index.document_prompt_,
        index.query_prompt_,
    )
    index.embedder_ = document
    index.quantizer_ = None
    index._store = EmbeddingStore(parts.arrays["embeddings"], unit=attributes["unit"])
    index._next_id, index._next_key = (attributes["next"][name] for name in ("id", "key"))
    index._set_documents(parts.documents, np.array(parts.arrays["keys"]))
    index._slot = None if parts.backend is None else BackendSlot(parts.backend)
    return index


def _check_embeddings(index: Any) -> None:
    """Raise unless the embedder that was passed gives documents the embeddings of the index."""
    rows = index._rows_with_text[:_N_COMPARED]
    expected = index._store.read(rows)
    texts = index._documents.take(rows)[TEXT].tolist()
    found = np.array(index.embedder_.transform(texts), dtype=np.float32)
    if found.shape == expected.shape:
        found = normalize_rows(found) if index._store.unit else found
        if np.allclose(found, expected, rtol=0, atol=_TOLERANCE * np.abs(expected).max()):
            return
    raise ModelChangedError(
        f"the embedder that was passed, of type {type(index.embedder_).__name__}, gives documents of "
        "the index other embeddings than they have. Pass the embedder that the index was fitted "
        "with, fitted as it was, or fit an index with the new one."
    )
