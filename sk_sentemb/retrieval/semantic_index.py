"""SemanticIndex: nearest neighbors of texts."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import read_text_columns
from .._warn import warn
from ..exceptions import MissingTextWarning
from .candidates import exclude_rows
from .documents import ID, TEXT, check_unique, read_documents
from .embedding_store import EmbeddingStore
from .persistence import SavedIndexMixin
from .search_results import make_result_frame
from .text_embedding import compute_fingerprint, embed_texts, fit_embedders


@substitute_docstring
class SemanticIndex(SavedIndexMixin, BaseEstimator):
    """Nearest neighbors of texts, by the similarity of their embeddings.

    It is to texts what :class:`sklearn.neighbors.NearestNeighbors` is to numbers: ``fit`` embeds
    documents, ``kneighbors`` and ``search`` embed queries and find the nearest documents.

    Parameters
    ----------
    embedder : SentenceEmbedder or other transformer, default=None
        The transformer of texts to dense embeddings; a clone of it is fitted to the documents. If None,
        a :class:`~sk_sentemb.SentenceEmbedder` with default parameters. A ``FrozenEstimator`` is used as
        it is, and so is a fitted embedder with a ``fine_tuner``.

    index : {"auto", "exact"}, default="auto"
        How to find neighbors.

        - ``"exact"``: all documents are compared with each query;
        - ``"auto"``: the same.

    metric : {"cosine", "dot"}, default="cosine"
        The similarity of embeddings: of cosine, or their inner product.

    n_neighbors : int, default=10
        Number of documents to find for each query, unless a method is called with another.

    query_prompt : str, default="auto"
        Prompt prepended to queries.

        - ``"auto"``: the prompt of the embedder, if it has a parameter ``prompt`` or ``prompt_name``;
          or else the checkpoint's prompt named ``query``; or else, for models called E5, ``"query: "``;
          or else the checkpoint's default prompt;
        - None: no prompt;
        - other str: the name of a prompt of the checkpoint, or else literal text.

    document_prompt : str, default="auto"
        Prompt prepended to documents, likewise. ``"auto"`` looks for the checkpoint's prompts named
        ``document``, ``passage`` and ``corpus``; that of E5 models is ``"passage: "``.

    n_jobs : int, default=None
        Number of joblib workers that run the model. If None, that of the ``embedder``.

    verbose : int, default=0
        If positive, show a progress bar on standard error while texts are embedded.

    Attributes
    ----------
    embedder_ : SentenceEmbedder or other transformer
        The fitted embedder, with the prompt of documents.

    documents_ : DataFrame
        The documents, in the order of ``fit``: ``id``, ``text`` (None where missing) and the other
        columns of the data frame passed to ``fit``.

    ids_ : ndarray of shape (n_samples_fit_,), int64 or object
        The ids of the documents.

    embeddings_ : ndarray of shape (n_samples_fit_, embedding_dim_), float32
        The embeddings of the documents: zeros where a text is missing, otherwise with unit norm if
        ``metric="cosine"``.

    n_samples_fit_ : int
        Number of documents.

    embedding_dim_ : int
        Number of dimensions of the embeddings.

    query_prompt_, document_prompt_ : str or None
        The text that is prepended to queries and to documents; None if the embedder has no prompts.

    index_ : str
        How neighbors are found: ``"exact"``.

    recall_ : float or None
        None, because the search is exact.

    fingerprint_ : str
        Hash of the embedder's model.

    n_features_in_ : int
        Number of text columns: 1.

    See Also
    --------
    SentenceEmbedder : Embeddings of texts.
    CrossEncoderScorer : Scores of pairs of texts, to re-rank what was found.
    sklearn.neighbors.NearestNeighbors : Nearest neighbors of numbers.

    Notes
    -----
    Documents with the same text are separate documents, and the text is embedded once. A document
    without a text stays in ``documents_`` and is never found; a
    :class:`~sk_sentemb.exceptions.MissingTextWarning` reports the number. Documents that are equally
    near are in the order of ``documents_``.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_sentemb import SemanticIndex
    >>> documents = pd.DataFrame({
    ...     "id": ["freeze", "rate", "mail"],
    ...     "text": [
    ...         "Tap on the card to freeze it.",
    ...         "We exchange money at the bank's rate.",
    ...         "Your new card comes by mail.",
    ...     ],
    ... })
    >>> index = SemanticIndex().fit(documents)
    >>> index.search(["How do I block my card?"], n=1)[["query", "rank", "id"]].values.tolist()
    [[0, 1, 'freeze']]
    >>> index.ids_[index.kneighbors(["When does the card arrive?"], 1, return_distance=False)]
    array([['mail']], dtype=object)
    """

    # The first parameter of fit is the data, whatever its name.
    __metadata_request__fit: ClassVar = {"documents": UNUSED}

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "embedder": [HasMethods(["fit", "transform"]), None],
        "index": [StrOptions({"auto", "exact"})],
        "metric": [StrOptions({"cosine", "dot"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "query_prompt": [str, None],
        "document_prompt": [str, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        embedder: Any = None,
        *,
        index: str = "auto",
        metric: str = "cosine",
        n_neighbors: int = 10,
        query_prompt: str | None = "auto",
        document_prompt: str | None = "auto",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.embedder = embedder
        self.index = index
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.query_prompt = query_prompt
        self.document_prompt = document_prompt
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    @atomic_fit
    def fit(self, documents: Any, y: Any = None, *, text: Any = None, id: Any = None) -> Self:
        """Embed the documents.

        Parameters
        ----------
        documents : array-like or data frame
            The documents: a list, tuple, array or series of texts, or a data frame of pandas, polars or
            pyarrow, whose other columns are kept for filters and results.
        y : Ignored
            Not used, present for API consistency by convention.
        text : str, default=None
            The column of the texts. If None, the column called ``text``, or else the only one.
        id : str or array-like of shape (n_documents,), default=None
            The column of the ids, or the ids: distinct strings or integers. If None, the column called
            ``id``, or else the numbers from 0.

        Returns
        -------
        SemanticIndex
            The fitted index itself.

        Raises
        ------
        ValueError
            If there are no documents or none has a text, an id is missing or occurs twice, a column is
            not found, or a kept column has the name of a column of results.

        Warns
        -----
        MissingTextWarning
            If documents have no text. It reports their number.
        """
        del y
        table = read_documents(documents, text=text, id=id)
        if ID not in table:
            table.insert(0, ID, np.arange(len(table)))
        ids = table[ID].to_numpy()
        check_unique(ids)
        has_text = self._find_texts(table)
        texts = table.loc[has_text, TEXT].tolist()
        self._embedders = fit_embedders(
            self.embedder,
            list(dict.fromkeys(texts)),
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        self._unit = self.metric == "cosine"
        embeddings = self._embed_documents(texts, has_text)
        self._store = EmbeddingStore(embeddings, unit=self._unit)
        self._set_documents(table, has_text)
        self.embedder_ = self._embedders.document
        self.query_prompt_ = self._embedders.query_prompt
        self.document_prompt_ = self._embedders.document_prompt
        self.embedding_dim_ = int(embeddings.shape[1])
        self.fingerprint_ = compute_fingerprint(self.embedder_)
        self.index_, self.recall_ = "exact", None
        self.n_features_in_ = 1
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the nearest documents of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries,), default=None
            The queries. If None, the documents themselves; none is its own neighbor.
        n_neighbors : int, default=None
            Number of documents for each query. If None, the parameter of the index.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float32
            For ``metric="cosine"`` one minus the cosine similarity, from 0 to 2; for ``"dot"`` the
            negative inner product. Only if ``return_distance`` is True.
        indices : ndarray of shape (n_queries, n_neighbors), int64
            The rows of ``documents_``, nearest first. With ``X=None``, the neighbors of a document
            without a text are -1, at an infinite distance.

        Raises
        ------
        ValueError
            If a query is missing, or ``n_neighbors`` exceeds the number of documents with a text.
        """
        check_is_fitted(self)
        n_neighbors = self._check_n_neighbors(n_neighbors)
        n_found = len(self._rows_with_text) - (X is None)
        if n_neighbors > n_found:
            raise ValueError(
                f"Expected n_neighbors <= n_samples_fit_, but n_neighbors = {n_neighbors}, and "
                f"{n_found} documents can be found (n_samples_fit_ = {self.n_samples_fit_})"
                + (", because no document is its own neighbor" if X is None else "")
                + ". Pass fewer, or call search, which returns as many as there are."
            )
        if X is None:
            rows, products = self._find_neighbors_of_documents(n_neighbors)
        else:
            rows, products = self._find(self._embed_queries(X), n_neighbors)
        return (self._to_distances(products), rows) if return_distance else rows

    def search(self, queries: Any, n: int | None = None) -> pd.DataFrame:
        """Find the nearest documents of each query, with their texts and columns.

        Parameters
        ----------
        queries : array-like of shape (n_queries,)
            The queries.
        n : int, default=None
            Maximum number of documents for each query. If None, ``n_neighbors``.

        Returns
        -------
        DataFrame
            One row per document found, query by query and best first:

            - ``query``: the row of ``queries``, counted from 0;
            - ``rank``: the rank of the document, counted from 1;
            - ``id``: its id;
            - ``score``: its cosine similarity or inner product, float32;
            - ``text``: its text;
            - the other columns of ``documents_``.

        Raises
        ------
        ValueError
            If a query is missing.
        """
        check_is_fitted(self)
        rows, products = self._find(self._embed_queries(queries), self._check_n_neighbors(n, "n"))
        return make_result_frame(rows, products, self.documents_)

    @property
    def embeddings_(self) -> np.ndarray:
        """The embeddings of the documents."""
        return self._store.read()

    @property
    def ids_(self) -> np.ndarray:
        """The ids of the documents."""
        return self.documents_[ID].to_numpy()

    @property
    def n_samples_fit_(self) -> int:
        """Number of documents."""
        return len(self.documents_)

    def _find_texts(self, table: pd.DataFrame) -> np.ndarray:
        """Return which documents have a text, and warn of the others."""
        has_text = table[TEXT].notna().to_numpy()
        n_missing = int((~has_text).sum())
        if n_missing == len(table):
            raise ValueError(f"none of the {len(table)} documents has a text. Pass at least one.")
        if n_missing:
            warn(
                f"{n_missing} of {len(table)} documents have no text and will not be found. Fill them, "
                "or leave them out.",
                MissingTextWarning,
            )
        return has_text

    def _embed_documents(self, texts: list[str], has_text: np.ndarray) -> np.ndarray:
        embeddings = embed_texts(self._embedders.document, texts, unit=self._unit)
        if has_text.all():
            return embeddings
        expanded = np.zeros((len(has_text), embeddings.shape[1]), dtype=np.float32)
        expanded[has_text] = embeddings
        return expanded

    def _embed_queries(self, queries: Any) -> np.ndarray:
        columns = read_text_columns(queries, "queries")
        if columns.n_columns != 1:
            raise ValueError(f"queries have {columns.n_columns} columns. Pass one column of texts.")
        if columns.missing.any():
            raise ValueError(
                f"row {int(columns.missing.argmax())} (counting from 0) of queries has no text "
                f"({columns.missing.sum()} of {columns.n_rows} rows have none). Leave such rows out."
            )
        if not columns.n_rows:
            return np.empty((0, self.embedding_dim_), dtype=np.float32)
        embeddings = embed_texts(self._embedders.query, columns.texts[0], unit=self._unit)
        if embeddings.shape[1] != self.embedding_dim_:
            raise ValueError(
                f"embedder returns {embeddings.shape[1]} dimensions for queries, but returned "
                f"{self.embedding_dim_} for documents. Pass one that always returns the same."
            )
        return embeddings

    def _set_documents(self, table: pd.DataFrame, has_text: np.ndarray) -> None:
        self.documents_ = table
        self._rows_with_text = np.flatnonzero(has_text)

    def _check_n_neighbors(self, n_neighbors: int | None, name: str = "n_neighbors") -> int:
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        if not isinstance(n_neighbors, Integral) or isinstance(n_neighbors, bool):
            raise TypeError(f"{name} does not take {type(n_neighbors)} value, enter integer value")
        if n_neighbors < 1:
            raise ValueError(f"Expected {name} > 0. Got {n_neighbors}")
        return int(n_neighbors)

    def _find(
        self, queries: np.ndarray, n_neighbors: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and products of the nearest documents, as many as there are."""
        if rows is None and len(self._rows_with_text) < self.n_samples_fit_:
            rows = self._rows_with_text
        n_found = min(n_neighbors, self.n_samples_fit_ if rows is None else len(rows))
        return self._store.find_nearest(queries, n_found, rows)

    def _find_neighbors_of_documents(self, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and products of the documents nearest to each document, without itself."""
        parts = []
        for start, block in self._store.blocks():
            own = np.arange(start, start + len(block))[:, np.newaxis]
            parts.append(exclude_rows(*self._find(block, n_neighbors + 1), own, n_neighbors))
        rows, products = (np.concatenate(part) for part in zip(*parts, strict=True))
        without_text = np.ones(len(rows), dtype=bool)
        without_text[self._rows_with_text] = False
        rows[without_text], products[without_text] = -1, -np.inf
        return rows, products

    def _to_distances(self, products: np.ndarray) -> np.ndarray:
        if self.metric == "dot":
            return -products
        distances = 1 - products
        # Rounding takes the distance of equal texts below zero, which other estimators refuse.
        return np.maximum(distances, 0, out=distances)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags
