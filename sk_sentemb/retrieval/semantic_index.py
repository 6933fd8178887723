"""SemanticIndex: nearest neighbors of texts."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import read_text_columns
from .._warn import warn
from ..exceptions import MissingTextWarning
from .backend_slot import BackendSlot, build_backend, choose_index
from .backends import Backend
from .candidates import exclude_rows, find_candidates
from .documents import ID, TEXT, append_documents, check_unique, find_positions, read_documents
from .embedding_store import EmbeddingStore
from .filters import find_rows
from .lazy_documents import LazyDocuments
from .persistence import SavedIndexMixin
from .recall import measure_recall, sample_rows, warn_low_recall
from .recommendation import compute_profiles, read_excluded, read_liked, read_weights
from .search_results import make_graph, make_result_frame
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

    index : str, default="auto"
        How to find neighbors. What an approximate index finds is scored again exactly.

        - ``"exact"``: all documents are compared with each query;
        - ``"usearch"``: HNSW of usearch with int8 embeddings, or with another dtype: ``"usearch:bf16"``,
          ``"usearch:f16"``, ``"usearch:f32"``;
        - ``"faiss"``: a flat index of FAISS, or that of a factory string: ``"faiss:HNSW32"``,
          ``"faiss:IVF1024,Flat"``;
        - ``"milvus"``: Milvus Lite in a temporary folder, or a server: ``"milvus:http://host:19530"``;
        - ``"auto"``: exact for up to 200,000 documents, usearch for more.

    metric : {"cosine", "dot"}, default="cosine"
        The similarity of embeddings: of cosine, or their inner product.

    n_neighbors : int, default=10
        Number of documents to find for each query, unless a method is called with another.

    query_prompt : str or None, default="auto"
        Prompt prepended to queries.

        - ``"auto"``: the prompt of the embedder, if it has a parameter ``prompt`` or ``prompt_name``;
          or else the checkpoint's prompt named ``query``; or else, for models called E5, ``"query: "``;
          or else the checkpoint's default prompt;
        - None: no prompt;
        - other str: the name of a prompt of the checkpoint, or else literal text.

    document_prompt : str or None, default="auto"
        Prompt prepended to documents, likewise. ``"auto"`` looks for the checkpoint's prompts named
        ``document``, ``passage`` and ``corpus``; that of E5 models is ``"passage: "``.

    quantizer : transformer, default=None
        Stores embeddings in less memory: an estimator with ``transform`` and ``inverse_transform``, of
        which a clone is fitted to the embeddings of the documents. Searches restore embeddings block by
        block. If None, embeddings are stored as float32.

    rescore : int, default=4
        Number of candidates per neighbor that an approximate index finds and that are scored again. For
        queries with too few candidates, the search is exact.

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

    ids_ : ndarray of shape (`n_samples_fit_`,), int64 or object
        The ids of the documents.

    embeddings_ : ndarray of shape (`n_samples_fit_`, `embedding_dim_`), float32
        The embeddings of the documents: zeros where a text is missing, otherwise with unit norm if
        ``metric="cosine"``. With a ``quantizer``, all of them are restored whenever this is used.

    quantizer_ : transformer or None
        The fitted quantizer.

    n_samples_fit_ : int
        Number of documents.

    embedding_dim_ : int
        Number of dimensions of the embeddings.

    query_prompt_, document_prompt_ : str or None
        The text that is prepended to queries and to documents; None if the embedder has no prompts.

    index_ : str
        How neighbors are found: ``index``, or what ``"auto"`` stands for.

    recall_ : float or None
        The share of the exact ``n_neighbors`` nearest neighbors that the index found in ``fit`` for a
        sample of 200 documents. None if the search is exact.

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

    # The first parameter is the data, whatever its name.
    __metadata_request__fit: ClassVar = {"documents": UNUSED}
    __metadata_request__partial_fit: ClassVar = {"documents": UNUSED}

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "embedder": [HasMethods(["fit", "transform"]), None],
        "index": [str],
        "metric": [StrOptions({"cosine", "dot"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "query_prompt": [str, None],
        "document_prompt": [str, None],
        "quantizer": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "rescore": [Interval(Integral, 1, None, closed="left")],
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
        quantizer: Any = None,
        rescore: int = 4,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.embedder = embedder
        self.index = index
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.query_prompt = query_prompt
        self.document_prompt = document_prompt
        self.quantizer = quantizer
        self.rescore = rescore
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
        IndexWarning
            If the recall of an approximate index is below 0.95, or usearch is not installed.
        """
        del y
        table = read_documents(documents, text=text, id=id)
        if ID not in table:
            table.insert(0, ID, np.arange(len(table)))
        check_unique(table[ID].to_numpy())
        if table[TEXT].isna().all():
            raise ValueError(f"none of the {len(table)} documents has a text. Pass at least one.")
        has_text = self._find_texts(table)
        texts = table.loc[has_text, TEXT].tolist()
        embedders = fit_embedders(
            self.embedder,
            list(dict.fromkeys(texts)),
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        self._embedders, self.embedder_ = embedders, embedders.document
        self.query_prompt_, self.document_prompt_ = (
            embedders.query_prompt,
            embedders.document_prompt,
        )
        self.fingerprint_ = compute_fingerprint(self.embedder_)
        unit = self.metric == "cosine"
        embeddings = self._embed_documents(table, has_text, unit=unit)
        self.embedding_dim_ = int(embeddings.shape[1])
        self.quantizer_ = None
        if self.quantizer is not None:
            self.quantizer_ = clone(self.quantizer).fit(embeddings[has_text])
        self._store = EmbeddingStore.from_embeddings(embeddings, self.quantizer_, unit=unit)
        self._next_id = self._next_key = 0
        self._set_documents(table, np.arange(len(table)))
        self.n_features_in_ = 1
        self.index_ = choose_index(self.index, len(table))
        self._slot = self.recall_ = None
        if self.index_ != "exact":
            self._slot = BackendSlot(self._build_backend())
            self.recall_ = self._measure_recall()
            warn_low_recall(self.recall_, self.index_)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    @atomic_fit
    def partial_fit(
        self, documents: Any, y: Any = None, *, text: Any = None, id: Any = None
    ) -> Self:
        """Add documents; the first call is equivalent to `fit`.

        Neither the embedder nor the quantizer is fitted again.

        Parameters
        ----------
        documents : array-like or data frame
            The documents, with the same other columns as those in the index.
        y : Ignored
            Not used, present for API consistency by convention.
        text : str, default=None
            The column of the texts, as in `fit`.
        id : str or array-like of shape (n_documents,), default=None
            The column of the ids, or the ids. If None, the column called ``id``, or else the numbers
            that follow the largest id so far, if ids are integers.

        Returns
        -------
        SemanticIndex
            The index itself.

        Raises
        ------
        ValueError
            If an id is already in the index, or the other columns differ.

        Warns
        -----
        MissingTextWarning
            If documents have no text. It reports their number.
        """
        if not hasattr(self, "_store"):
            return self.fit(documents, y, text=text, id=id)
        table = read_documents(documents, text=text, id=id)
        if ID not in table:
            if not np.issubdtype(self.ids_.dtype, np.integer):
                raise ValueError(
                    f"the ids of the index are not integers, such as {self.ids_[0]!r}, so that new "
                    "documents need ids. Pass them as id."
                )
            table.insert(0, ID, self._next_id + np.arange(len(table)))
        check_unique(np.concatenate([self.ids_, table[ID].to_numpy()]), len(self.ids_))
        joined = append_documents(self.documents_, table)
        has_text = self._find_texts(table)
        embeddings = self._embed_documents(table, has_text, unit=self._store.unit)
        if embeddings.shape[1] != self.embedding_dim_:
            raise ValueError(
                f"embedder returns {embeddings.shape[1]} dimensions, but returned "
                f"{self.embedding_dim_} in fit. Pass one that always returns the same."
            )
        new_keys = self._next_key + np.arange(len(table))
        self._store = self._store.append(embeddings)
        self._set_documents(joined, np.concatenate([self._keys, new_keys]))
        if self._slot is not None:  # last, because it is changed in place
            self._slot.change(lambda backend: backend.add(new_keys[has_text], embeddings[has_text]))
        return self

    @atomic_fit
    def remove(self, ids: Any) -> Self:
        """Remove documents.

        Parameters
        ----------
        ids : array-like of shape (n_documents,)
            The ids of the documents to remove.

        Returns
        -------
        SemanticIndex
            The index itself.

        Raises
        ------
        ValueError
            If an id is not in the index, or no document with a text would remain.
        """
        check_is_fitted(self)
        kept = np.ones(self.n_samples_fit_, dtype=bool)
        kept[find_positions(self.ids_, ids, "ids")] = False
        if not kept[self._rows_with_text].any():
            raise ValueError(
                "ids has all documents with a text, and an index without any finds nothing. Keep at "
                "least one, or fit the index to other documents."
            )
        rows = np.flatnonzero(kept)
        gone = self._keys[np.setdiff1d(self._rows_with_text, rows)]
        self._store = self._store.select(rows)
        self._set_documents(self.documents_.iloc[rows].reset_index(drop=True), self._keys[rows])
        if self._slot is not None:  # last, because it is changed in place
            self._slot.change(lambda backend: backend.remove(gone))
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

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> csr_matrix:
        """Compute the graph of the nearest documents of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries,), default=None
            The queries. If None, the documents themselves; none is its own neighbor.
        n_neighbors : int, default=None
            Number of documents for each query. If None, the parameter of the index.
        mode : {"connectivity", "distance"}, default="connectivity"
            The values of the graph: ones, or the distances that `kneighbors` returns, which estimators
            with ``metric="precomputed"`` take.

        Returns
        -------
        csr_matrix of shape (n_queries, `n_samples_fit_`), float64
            The graph. In each row, the nearest documents are first.

        Raises
        ------
        ValueError
            If a query is missing, or ``n_neighbors`` exceeds the number of documents with a text.
        """
        if mode not in ("connectivity", "distance"):
            raise ValueError(f"mode={mode!r}: pass 'connectivity' or 'distance'.")
        distances, rows = self.kneighbors(X, n_neighbors)
        weights = np.ones_like(distances) if mode == "connectivity" else distances
        return make_graph(rows, weights, self.n_samples_fit_)

    def search(self, queries: Any, n: int | None = None, where: Any = None) -> pd.DataFrame:
        """Find the nearest documents of each query, with their texts and columns.

        Parameters
        ----------
        queries : array-like of shape (n_queries,)
            The queries.
        n : int, default=None
            Maximum number of documents for each query. If None, ``n_neighbors``.
        where : mapping, callable or array-like of bool, default=None
            Which documents to consider; the result is then exact with any ``index``.

            - mapping: for columns of ``documents_``, the value or a list of values;
            - callable: a function of ``documents_`` that returns a mask;
            - array-like of shape (`n_samples_fit_`,): a mask, in the order of ``documents_``.

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
            If a query is missing, or ``where`` names an unknown column or is a mask of another length.
        """
        check_is_fitted(self)
        n = self._check_n_neighbors(n, "n")
        rows = None if where is None else find_rows(where, self._documents)
        found = self._find(self._embed_queries(queries), n, rows)
        return make_result_frame(*found, self._documents)

    def recommend(
        self,
        liked: Any = None,
        n: int | None = None,
        *,
        texts: Any = None,
        weights: Any = None,
        exclude: Any = None,
        where: Any = None,
    ) -> pd.DataFrame:
        """Find the documents nearest to the mean of those that a user likes.

        Documents that a user likes are not recommended again. All list arguments are lists for one
        user, or lists of such lists for several.

        Parameters
        ----------
        liked : list of ids or list of lists, default=None
            The ids of the documents that the user likes.
        n : int, default=None
            Maximum number of documents for each user. If None, ``n_neighbors``.
        texts : list of str or list of lists, default=None
            What the user likes, in free text, for new users or beside ``liked``. They are embedded
            like queries.
        weights : list of float or list of lists, default=None
            The weight of each of ``liked``, then of each of ``texts``; negative for what the user
            dislikes. If None, all have the same weight.
        exclude : list of ids or list of lists, default=None
            Other documents not to recommend. One list is for all users.
        where : mapping, callable or array-like of bool, default=None
            Which documents to consider, as in `search`.

        Returns
        -------
        DataFrame
            One row per recommended document, as `search` returns. ``query`` is the row of the user,
            counted from 0.

        Raises
        ------
        ValueError
            If an id is unknown, a user likes nothing, or the arguments have different lengths.

        Examples
        --------
        >>> from sk_sentemb import SemanticIndex
        >>> films = ["A shark hunts swimmers.", "Whales at sea.", "A wedding in Rome.", "Deep water."]
        >>> index = SemanticIndex().fit(films)
        >>> index.recommend([0], n=2)["text"].tolist()
        ['Whales at sea.', 'Deep water.']
        >>> index.recommend(texts=["getting married"], n=1)["text"].tolist()
        ['A wedding in Rome.']
        """
        check_is_fitted(self)
        n = self._check_n_neighbors(n, "n")
        ids, strings = read_liked(liked, texts)
        own = [find_positions(self.ids_, user, "liked") for user in ids]
        counts = [len(a) + len(b) for a, b in zip(own, strings, strict=True)]
        profiles = compute_profiles(
            self._store, own, strings, read_weights(weights, counts), self._embed_queries
        )
        others = read_excluded(exclude, len(own), self.ids_)
        seen = [np.union1d(a, b) for a, b in zip(own, others, strict=True)]
        rows = None if where is None else find_rows(where, self._documents)
        found = self._find(profiles, n + max(map(len, seen)), rows)
        return make_result_frame(*exclude_rows(*found, seen, n), self._documents)

    @property
    def embeddings_(self) -> np.ndarray:
        """The embeddings of the documents."""
        return self._store.read()

    @property
    def documents_(self) -> pd.DataFrame:
        """The documents."""
        return self._documents.frame

    @property
    def ids_(self) -> np.ndarray:
        """The ids of the documents."""
        return self._documents.ids

    @property
    def n_samples_fit_(self) -> int:
        """Number of documents."""
        return len(self._documents)

    def _find_texts(self, table: pd.DataFrame) -> np.ndarray:
        """Return which documents have a text, and warn of the others."""
        has_text = table[TEXT].notna().to_numpy()
        if not has_text.all():
            warn(
                f"{(~has_text).sum()} of {len(table)} documents have no text and will not be found. "
                "Fill them, or leave them out.",
                MissingTextWarning,
            )
        return has_text

    def _embed_documents(
        self, table: pd.DataFrame, has_text: np.ndarray, *, unit: bool
    ) -> np.ndarray:
        """Return the embeddings of documents, zeros where they have no text."""
        if not has_text.any():
            return np.zeros((len(table), self.embedding_dim_), dtype=np.float32)
        embeddings = embed_texts(
            self._embedders.document,
            table.loc[has_text, TEXT].tolist(),
            unit=unit,
            name="documents",
            rows=np.flatnonzero(has_text),
        )
        if has_text.all():
            return embeddings
        expanded = np.zeros((len(table), embeddings.shape[1]), dtype=np.float32)
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
        embeddings = embed_texts(
            self._embedders.query, columns.texts[0], unit=self._store.unit, name="queries"
        )
        if embeddings.shape[1] != self.embedding_dim_:
            raise ValueError(
                f"embedder returns {embeddings.shape[1]} dimensions for queries, but returned "
                f"{self.embedding_dim_} for documents. Pass one that always returns the same."
            )
        return embeddings

    def _set_documents(self, documents: pd.DataFrame | LazyDocuments, keys: np.ndarray) -> None:
        if isinstance(documents, pd.DataFrame):
            documents = LazyDocuments(documents)
        self._documents = documents
        self._rows_with_text = np.flatnonzero(documents.has_text)
        # What a backend calls the documents: in ascending order, and never used twice.
        self._keys = keys
        self._next_key = max(self._next_key, int(keys[-1]) + 1)
        if documents.has_integer_ids:
            self._next_id = max(self._next_id, int(documents.ids.max()) + 1)

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
        if rows is not None:
            rows = np.intersect1d(rows, self._rows_with_text, assume_unique=True)
        elif len(self._rows_with_text) < self.n_samples_fit_:
            rows = self._rows_with_text
        n_found = min(n_neighbors, self.n_samples_fit_ if rows is None else len(rows))
        is_filtered = rows is not None and rows is not self._rows_with_text
        if self._slot is None or is_filtered or n_found * self.rescore >= len(self._rows_with_text):
            return self._store.find_nearest(queries, n_found, rows)
        backend = self._slot.get(self._build_backend)
        found, products = find_candidates(
            self._store, backend, self._keys, queries, n_found, self.rescore
        )
        few = np.flatnonzero(found[:, -1] < 0)
        if len(few):
            found[few], products[few] = self._store.find_nearest(queries[few], n_found, rows)
        return found, products

    def _build_backend(self) -> Backend:
        """Return a backend with the documents that have a text."""
        rows: Any = self._rows_with_text
        if len(rows) == self.n_samples_fit_:
            rows = slice(None)  # no copy
        return build_backend(self.index_, self._keys[rows], self._store.read(rows))

    def _measure_recall(self) -> float:
        """Return the share of exact neighbors that are found for a sample of documents."""
        sample = sample_rows(self._rows_with_text)
        queries, own = self._store.read(sample), list(sample[:, np.newaxis])
        n_neighbors = min(self.n_neighbors, len(self._rows_with_text) - 1)
        if not n_neighbors:
            return 1.0
        exact = self._store.find_nearest(queries, n_neighbors + 1, self._rows_with_text)
        found = self._find(queries, n_neighbors + 1)
        return measure_recall(
            exclude_rows(*found, own, n_neighbors)[0], exclude_rows(*exact, own, n_neighbors)[0]
        )

    def _find_neighbors_of_documents(self, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and products of the documents nearest to each document, without itself."""
        parts = []
        for batch, block in self._store.blocks():
            own = list(np.arange(batch.start, batch.stop)[:, np.newaxis])
            parts.append(exclude_rows(*self._find(block, n_neighbors + 1), own, n_neighbors))
        rows, products = (np.concatenate(part) for part in zip(*parts, strict=True))
        without_text = np.ones(len(rows), dtype=bool)
        without_text[self._rows_with_text] = False
        rows[without_text], products[without_text] = -1, -np.inf
        return rows, products

    def _to_distances(self, products: np.ndarray) -> np.ndarray:
        if not self._store.unit:
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
