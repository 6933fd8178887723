"""SemanticRetriever: a ranking of documents that is trained on judgments."""

from copy import copy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._inputs import read_text_columns
from .._random import draw_seed
from .._warn import warn
from ..exceptions import IgnoredParameterWarning
from ..metrics import ndcg_at_k
from .filters import find_rows
from .first_stage import FirstStage, Pool, concatenate_pools, fit_first_stage
from .lexical import fit_lexical
from .ranker_training import (
    fit_reranker,
    has_tuner,
    is_trained,
    score_candidates,
    train_embedder,
    without_tuner,
)
from .relevance import Relevance, read_relevance
from .score_fusion import learn_weights, sum_reciprocal_ranks, sum_weighted
from .search_results import make_result_frame

RERANKER = "reranker"


class SemanticRetriever(BaseEstimator):
    """Hybrid search of a corpus, with weights that are learned from judgments.

    An embedder and a lexical scorer find candidates, a cross-encoder may re-rank them, and the scores
    are fused. The corpus is a parameter, ``X`` has queries and ``y`` their judgments, so that
    ``cross_validate`` and ``GridSearchCV`` split queries.

    Parameters
    ----------
    corpus : array-like or data frame
        The documents, as :meth:`.SemanticIndex.fit` takes them. Clones share it.

    embedder : SentenceEmbedder or other transformer, default=None
        The transformer of texts to dense embeddings. If None, a :class:`~sk_sentemb.SentenceEmbedder`
        with default parameters. If it has a ``fine_tuner``, it is trained on triplets of a query, a
        relevant document and a mined hard negative, all with the embedder's own prompt.

    lexical : "bm25", vectorizer or None, default="bm25"
        How documents are scored by common terms.

        - ``"bm25"``: BM25 of bm25s, in its variant of Lucene (extra ``search``);
        - a transformer of texts to features, such as ``TfidfVectorizer()``: the cosine similarity;
        - None: the embedder alone.

    reranker : CrossEncoderScorer or other estimator, default=None
        An estimator that scores pairs of a query and a document, which re-ranks the best candidates. A
        :class:`~sk_sentemb.CrossEncoderScorer` with a ``fine_tuner``, or any other estimator with
        ``fit`` and ``predict``, is trained on the judgments, with mined hard negatives of grade 0.

    n_candidates : int, default=100
        Number of documents that the embedder and the lexical scorer find each. The candidates are the
        union, and each has the exact score of both.

    n_reranked : int, default=None
        Number of candidates that the re-ranker scores; the others follow after them. If None,
        ``n_candidates``.

    fusion : {"learned", "rrf", "weighted"}, default="learned"
        How scores are fused.

        - ``"learned"``: sum of scores, standardized over the candidates of each query, with the weights
          that have the best nDCG@10 on the queries passed to ``fit``. Without ``y``, as ``"rrf"``;
        - ``"rrf"``: sum of reciprocal ranks, 1 / (60 + rank) [1]_;
        - ``"weighted"``: sum of standardized scores with ``weights``.

    weights : dict or sequence of float, default=None
        The weights with ``fusion="weighted"``: by the names ``"embedder"``, ``"lexical"`` and
        ``"reranker"``, or in that order, of those that are used. If None, all are equal.

    index : str or options object, default="auto"
        How the embedder's neighbors are found, as for :class:`~sk_sentemb.SemanticIndex`.

    n_neighbors : int, default=10
        Number of documents to return for each query, unless a method is called with another.

    n_negatives : int, default=2
        Number of hard negatives for each relevant document in training.

    cv : int or splitter, default=3
        How training queries are split where an embedder or a re-ranker is trained: weights are learned
        from scores of models that were trained on the other folds. An int is a number of shuffled folds.

    query_prompt : str, default="auto"
        Prompt prepended to queries, as for :class:`~sk_sentemb.SemanticIndex`.

    document_prompt : str, default="auto"
        Prompt prepended to documents, likewise.

    text : str, default=None
        Column of the texts of a ``corpus`` that is a data frame, as for :meth:`.SemanticIndex.fit`.

    id : str or array-like of shape (n_documents,), default=None
        Column of the ids, or the ids, likewise.

    random_state : int, RandomState instance or None, default=None
        Controls the folds and the mined hard negatives. Pass an int for reproducible results.

    Attributes
    ----------
    documents_ : DataFrame
        The documents: ``id``, ``text`` and the other columns of ``corpus``.

    ids_ : ndarray of shape (n_documents,), int64 or object
        The ids of the documents.

    embedder_ : SentenceEmbedder or other transformer
        The fitted embedder.

    reranker_ : estimator or None
        The fitted re-ranker.

    fusion_ : {"rrf", "weighted"}
        How scores are fused: ``"weighted"`` also for learned weights.

    weights_ : dict of str to float
        The weight of each ranker: ``"embedder"``, ``"lexical"`` and ``"reranker"``.

    first_stage_weights_ : dict of str to float
        The weights by which candidates are selected for the re-ranker; without one, ``weights_``.

    n_features_in_ : int
        Number of text columns: 1.

    See Also
    --------
    SemanticIndex : Search by an embedder alone.
    CrossEncoderScorer : Scores of pairs of texts.
    sk_sentemb.metrics.make_retrieval_scorer : Metrics for ``cross_validate`` and ``GridSearchCV``.

    Notes
    -----
    Weights are searched on a grid of twentieths, with nDCG@10 averaged over neighboring points.
    Judgments in ``y`` have one entry per query: a list of relevant ids, or a dict of ids to grades, or a
    row of a sparse matrix of shape (n_queries, n_documents). The embedder's cache has the embeddings of
    the corpus, so that a search embeds each distinct document once.

    References
    ----------
    .. [1] G. Cormack, C. Clarke and S. Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
       individual Rank Learning Methods", SIGIR 2009.

    Examples
    --------
    >>> from sk_sentemb import SemanticRetriever
    >>> corpus = [
    ...     "Tap on the card to freeze it.",
    ...     "We exchange money at the bank's rate.",
    ...     "Your new card comes by mail.",
    ... ]
    >>> queries = ["How do I block my card?", "Which exchange rate do you have?"]
    >>> retriever = SemanticRetriever(corpus).fit(queries, [[0], [1]])
    >>> retriever.predict(["When does the mail bring my card?"])
    array([2])
    >>> retriever.score(queries, [[0], [1]])
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "corpus": "no_validation",  # type: ignore[dict-item]
        "embedder": [HasMethods(["fit", "transform"]), None],
        "lexical": [StrOptions({"bm25"}), HasMethods(["fit_transform", "transform"]), None],
        "reranker": [HasMethods(["fit", "predict"]), None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_reranked": [Interval(Integral, 1, None, closed="left"), None],
        "fusion": [StrOptions({"learned", "rrf", "weighted"})],
        "weights": [dict, "array-like", None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "query_prompt": [str, None],
        "document_prompt": [str, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        corpus: Any,
        *,
        embedder: Any = None,
        lexical: Any = "bm25",
        reranker: Any = None,
        n_candidates: int = 100,
        n_reranked: int | None = None,
        fusion: str = "learned",
        weights: Any = None,
        index: Any = "auto",
        n_neighbors: int = 10,
        n_negatives: int = 2,
        cv: Any = 3,
        query_prompt: str | None = "auto",
        document_prompt: str | None = "auto",
        text: Any = None,
        id: Any = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.corpus = corpus
        self.embedder = embedder
        self.lexical = lexical
        self.reranker = reranker
        self.n_candidates = n_candidates
        self.n_reranked = n_reranked
        self.fusion = fusion
        self.weights = weights
        self.index = index
        self.n_neighbors = n_neighbors
        self.n_negatives = n_negatives
        self.cv = cv
        self.query_prompt = query_prompt
        self.document_prompt = document_prompt
        self.text = text
        self.id = id
        self.random_state = random_state

    def __sklearn_clone__(self) -> Self:
        # A corpus is not changed, and may be large: clones share it.
        template = copy(self)
        template.corpus = None
        cloned = BaseEstimator.__sklearn_clone__(template)
        cloned.corpus = self.corpus
        return cloned

    @_fit_context(prefer_skip_nested_validation=False)
    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Index the corpus, train what is trainable, and learn the weights of the scores.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.
        y : list of n_queries judgments or sparse matrix of shape (n_queries, n_documents), default=None
            The relevant documents of each query: a list of ids, or a dict of ids to grades; in a sparse
            matrix, grades by the position of the document. If None, nothing is learned.

        Returns
        -------
        SemanticRetriever
            The fitted retriever itself.

        Raises
        ------
        ValueError
            If a query is missing, an id in ``y`` is not in the corpus, no query has a relevant document,
            or ``weights`` do not fit the rankers.
        """
        queries = _read_queries(X)
        if not queries:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        stage = self._index_corpus(without_tuner(self.embedder))
        relevance = None if y is None else read_relevance(y, stage.index.ids_, len(queries))
        self._check_targets(relevance)
        self._seed = draw_seed(self.random_state)
        self.fusion_ = "rrf" if relevance is None and self.fusion == "learned" else self.fusion
        self.fusion_ = "weighted" if self.fusion_ == "learned" else self.fusion_
        self._stage = stage
        if has_tuner(self.embedder):
            self._stage = self._train_stage(stage, queries, relevance)
        self.reranker_ = None
        if self.reranker is not None:
            self.reranker_ = self._fit_reranker(self._stage, queries, relevance)
        if relevance is not None and self.fusion == "learned":
            self._learn_weights(stage, queries, relevance)
        else:
            self._set_weights(self._given_weights(), None)
        self.documents_ = self._stage.index.documents_
        self.ids_ = self._stage.index.ids_
        self.embedder_ = self._stage.index.embedder_
        self.n_features_in_ = 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the id of the best document of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.

        Returns
        -------
        ndarray of shape (n_queries,), int64 or object
            Ids of documents.
        """
        check_is_fitted(self)
        return self.ids_[self.kneighbors(X, 1, return_distance=False)[:, 0]]

    def kneighbors(
        self, X: Any, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the best documents of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.
        n_neighbors : int, default=None
            Number of documents for each query. If None, the parameter of the retriever.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
            The negative fused scores. Only if ``return_distance`` is True.
        indices : ndarray of shape (n_queries, n_neighbors), int64
            The rows of ``documents_``, best first, equal ones in the order of the corpus.

        Raises
        ------
        ValueError
            If a query is missing, or ``n_neighbors`` exceeds the number of documents with a text.
        """
        check_is_fitted(self)
        index = self._stage.index
        n_neighbors = index._check_n_neighbors(
            self.n_neighbors if n_neighbors is None else n_neighbors
        )
        n_found = len(index._rows_with_text)
        if n_neighbors > n_found:
            raise ValueError(
                f"Expected n_neighbors <= n_documents, but n_neighbors = {n_neighbors}, and {n_found} "
                "documents can be found. Pass fewer, or call search."
            )
        rows, scores = self._rank(_read_queries(X), n_neighbors)
        return (-scores, rows) if return_distance else rows

    def search(self, queries: Any, n: int | None = None, where: Any = None) -> pd.DataFrame:
        """Find the best documents of each query, with their texts and columns.

        Parameters
        ----------
        queries : array-like of shape (n_queries,)
            The queries.
        n : int, default=None
            Maximum number of documents for each query. If None, ``n_neighbors``.
        where : mask, callable or dict, default=None
            The documents that are considered, as for :meth:`.SemanticIndex.search`.

        Returns
        -------
        DataFrame
            One row per document found, query by query and best first: ``query``, ``rank``, ``id``,
            ``score``, ``text`` and the other columns of ``documents_``.
        """
        check_is_fitted(self)
        n = self._stage.index._check_n_neighbors(self.n_neighbors if n is None else n, "n")
        found = None
        if where is not None:
            found = find_rows(where, self._stage.index._documents)
        rows, scores = self._rank(_read_queries(queries, "queries"), n, found)
        return make_result_frame(rows, scores, self._stage.index._documents)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the fused scores of all documents.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.

        Returns
        -------
        ndarray of shape (n_queries, n_documents), float64
            Scores. Documents that are no candidates of a query have 1 less than its last candidate.
        """
        check_is_fitted(self)
        queries = _read_queries(X)
        pool, fused = self._score_pool(queries)
        lowest = (
            np.min(fused, axis=1, where=pool.is_candidate, initial=np.inf) if len(queries) else []
        )
        scores = np.empty((len(queries), len(self.documents_)))
        scores[:] = np.reshape(lowest, (-1, 1)) - 1
        query, place = np.nonzero(pool.is_candidate)
        scores[query, pool.rows[query, place]] = fused[query, place]
        return scores

    def score(self, X: Any, y: Any) -> float:
        """Return the mean nDCG@10 over the queries that have a relevant document.

        Parameters
        ----------
        X : array-like of shape (n_queries,)
            The queries.
        y : list of n_queries judgments or sparse matrix of shape (n_queries, n_documents)
            The relevant documents, as for ``fit``.

        Returns
        -------
        float
            The mean, from 0 to 1.
        """
        check_is_fitted(self)
        queries = _read_queries(X)
        relevance = read_relevance(y, self.ids_, len(queries))
        rows, _ = self._rank(queries, 10)
        rankings = [row[row >= 0] for row in rows]
        return float(ndcg_at_k(relevance.grades, rankings, k=10))

    def _index_corpus(self, embedder: Any, lexical: Any = None) -> FirstStage:
        """Index the corpus by an embedder, and by a lexical scorer unless one is given."""
        prompts = {"query_prompt": self.query_prompt, "document_prompt": self.document_prompt}
        stage = fit_first_stage(
            self.corpus,
            text=self.text,
            id=self.id,
            lexical=lexical,
            embedder=embedder,
            index=self.index,
            **prompts,
        )
        if lexical is not None or self.lexical is None:
            return stage
        texts = ["" if text is None else text for text in stage.texts]
        return FirstStage(stage.index, fit_lexical(self.lexical, texts))

    def _check_targets(self, relevance: Relevance | None) -> None:
        if relevance is None:
            for name, trains in (
                ("embedder", has_tuner(self.embedder)),
                ("reranker", is_trained(self.reranker)),
            ):
                if trains:
                    raise ValueError(
                        f"{name} is trained in fit, which requires judgments. Pass y, or a {name} "
                        "without a fine_tuner."
                    )
        elif not any(relevance.grades):
            raise ValueError(
                "no query of y has a relevant document, so that nothing can be learned. Pass y=None, "
                "or queries with relevant documents."
            )
        if self.weights is not None and self.fusion != "weighted":
            warn(
                f"weights have no effect with fusion={self.fusion!r}. Pass fusion='weighted'.",
                IgnoredParameterWarning,
            )

    @property
    def _mining(self) -> dict[str, int]:
        return {
            "n_negatives": self.n_negatives,
            "n_candidates": self.n_candidates,
            "random_state": self._seed,
        }

    def _train_stage(
        self, stage: FirstStage, queries: list[str], relevance: Relevance | None
    ) -> FirstStage:
        assert relevance is not None
        trained = train_embedder(self.embedder, stage, queries, relevance, **self._mining)
        return self._index_corpus(trained, stage.lexical)

    def _fit_reranker(
        self, stage: FirstStage, queries: list[str], relevance: Relevance | None
    ) -> Any:
        return fit_reranker(self.reranker, stage, queries, relevance, **self._mining)

    def _learn_weights(self, frozen: FirstStage, queries: list[str], relevance: Relevance) -> None:
        """Learn the weights from scores of models that have not seen the query in training."""
        parts = self._hold_out(frozen, queries, relevance)
        pool = concatenate_pools([pool for _, _, pool in parts])
        order = np.concatenate([test for _, test, _ in parts])
        relevance = relevance.take(order)
        grades, ideal = relevance.grade(pool.rows), relevance.compute_ideal()
        first = learn_weights(pool.scores, pool.is_candidate, grades, ideal)
        if self.reranker is None:
            self._set_weights(first, first)
            return
        scored = [
            self._add_reranked(stage, reranker, [queries[i] for i in test], pool, first)
            for (stage, reranker), test, pool in parts
        ]
        pool = concatenate_pools([pool for pool, _ in scored])
        width = pool.rows.shape[1]
        chosen = np.concatenate(
            [np.pad(mask, [(0, 0), (0, width - mask.shape[1])]) for _, mask in scored]
        )
        self._set_weights(learn_weights(pool.scores, chosen, grades, ideal), first)

    def _hold_out(
        self, frozen: FirstStage, queries: list[str], relevance: Relevance
    ) -> list[tuple[tuple[FirstStage, Any], np.ndarray, Pool]]:
        """Return models, the queries that they were not trained on, and the candidates of these."""
        tuned, reranks = has_tuner(self.embedder), is_trained(self.reranker)
        if not (tuned or reranks):
            pool = self._stage.find_candidates(queries, self.n_candidates)
            return [((self._stage, self.reranker_), np.arange(len(queries)), pool)]
        parts = []
        for train, test in self._split(len(queries)):
            texts, judged = [queries[i] for i in train], relevance.take(train)
            stage = self._train_stage(frozen, texts, judged) if tuned else frozen
            reranker = self._fit_reranker(stage, texts, judged) if reranks else self.reranker_
            pool = stage.find_candidates([queries[i] for i in test], self.n_candidates)
            parts.append(((stage, reranker), test, pool))
        return parts

    def _split(self, n_queries: int) -> list[tuple[np.ndarray, np.ndarray]]:
        cv = self.cv
        if isinstance(cv, Integral):
            if n_queries < int(cv):
                raise ValueError(
                    f"cv={cv} folds need as many queries, got {n_queries}. Pass fewer folds, or "
                    "fusion='rrf'."
                )
            cv = KFold(int(cv), shuffle=True, random_state=self._seed)
        return list(check_cv(cv).split(np.zeros(n_queries)))

    def _add_reranked(
        self,
        stage: FirstStage,
        reranker: Any,
        queries: list[str],
        pool: Pool,
        first: np.ndarray,
    ) -> tuple[Pool, np.ndarray]:
        """Return the pool with the scores of a re-ranker, and where it has any."""
        fused = self._fuse(pool.scores, pool.is_candidate, first)
        ranked = np.argsort(np.where(pool.is_candidate, -fused, np.inf), axis=1, kind="stable")
        chosen = np.zeros(pool.rows.shape, dtype=bool)
        n_reranked = self.n_reranked or self.n_candidates
        np.put_along_axis(chosen, ranked[:, :n_reranked], True, axis=1)
        chosen &= pool.is_candidate
        scores = score_candidates(reranker, queries, stage.texts, pool, chosen)
        return Pool(pool.rows, np.concatenate([pool.scores, scores[None]])), chosen

    def _fuse(self, scores: np.ndarray, mask: np.ndarray, weights: np.ndarray) -> np.ndarray:
        fuse = sum_reciprocal_ranks if self.fusion_ == "rrf" else sum_weighted
        return fuse(scores, mask, weights)

    @property
    def _names(self) -> list[str]:
        return self._stage.names + [RERANKER] * (self.reranker is not None)

    def _given_weights(self) -> np.ndarray:
        """Return the parameter `weights` as an array, or equal weights."""
        names = self._names
        if self.fusion_ == "rrf":
            return np.ones(len(names))
        weights = self.weights
        if weights is None:
            return np.full(len(names), 1 / len(names))
        if isinstance(weights, dict):
            if set(weights) != set(names):
                raise ValueError(f"weights={weights!r}: pass a weight for each of {names}.")
            weights = [weights[name] for name in names]
        values = list(weights)
        numeric = all(isinstance(value, Real) and np.isfinite(float(value)) for value in values)
        if len(values) != len(names) or not numeric or min(values) < 0 or max(values) == 0:
            raise ValueError(
                f"weights={self.weights!r}: pass a number of 0 or above for each of {names}, and not "
                "all of them 0."
            )
        return np.array(values, dtype=np.float64)

    def _set_weights(self, weights: np.ndarray, first: np.ndarray | None) -> None:
        n_first = len(self._stage.names)
        first = weights[:n_first] if first is None else first
        if not first.any():  # all the weight is on the re-ranker
            first = np.full(n_first, 1 / n_first)
        self._weights, self._first_weights = weights, first
        self.weights_ = dict(zip(self._names, weights.tolist(), strict=True))
        self.first_stage_weights_ = dict(zip(self._stage.names, first.tolist(), strict=True))

    def _score_pool(
        self, queries: list[str], rows: np.ndarray | None = None
    ) -> tuple[Pool, np.ndarray]:
        """Return the candidates and their fused scores, those of the re-ranker above the others."""
        pool = self._stage.find_candidates(queries, self.n_candidates, rows)
        first = self._fuse(pool.scores, pool.is_candidate, self._first_weights)
        if self.reranker_ is None or not pool.rows.size:
            return pool, first
        pool, chosen = self._add_reranked(
            self._stage, self.reranker_, queries, pool, self._first_weights
        )
        fused = self._fuse(pool.scores, chosen, self._weights)
        others = pool.is_candidate & ~chosen
        lowest = np.min(fused, axis=1, where=chosen, initial=np.inf, keepdims=True)
        highest = np.max(first, axis=1, where=others, initial=-np.inf, keepdims=True)
        below = np.where(others, first - np.where(np.isfinite(highest), highest, 0) - 1, 0) + lowest
        return pool, np.where(chosen, fused, below)

    def _rank(
        self, queries: list[str], n_neighbors: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows, -1 where there are fewer, and fused scores of the best documents."""
        pool, fused = self._score_pool(queries, rows)
        fused = np.where(pool.is_candidate, fused, -np.inf)
        found = pool.rows
        if pool.is_candidate.sum(axis=1).min(initial=n_neighbors) < n_neighbors:
            # After the candidates, the nearest others.
            others = self._stage.find_others(queries, n_neighbors, found, rows)
            below = np.min(fused, axis=1, where=pool.is_candidate, initial=np.inf)[:, None] - 1
            found = np.hstack([found, others])
            fused = np.hstack([fused, np.where(others >= 0, below, -np.inf)])
        order = np.argsort(-fused, axis=1, kind="stable")[:, :n_neighbors]
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(fused, order, axis=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _read_queries(X: Any, name: str = "X") -> list[str]:
    """Return queries as a list of texts; raise where one is missing."""
    if isinstance(X, str):
        raise TypeError(f"{name} is the single str {X[:40]!r}. Pass a list of queries.")
    columns = read_text_columns(X, name)
    if columns.n_columns != 1:
        raise ValueError(f"{name} has {columns.n_columns} columns. Pass one column of queries.")
    if columns.missing.any():
        raise ValueError(
            f"row {int(columns.missing.argmax())} (counting from 0) of {name} has no text. Leave such "
            "rows out."
        )
    return columns.texts[0]
