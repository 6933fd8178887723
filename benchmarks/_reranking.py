"""Re-ranking Cranfield: a cross-encoder trained on half of the queries, tested on the others."""

import copy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _common import data_file
from _cross_encoders import MODEL, SEED
from sklearn.metrics import ndcg_score

from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceEmbedder, mine_hard_negatives

TOP_K, MAX_LENGTH, N_FOLDS = 100, 128, 2
SHARES = np.linspace(0, 1, 11)  # of the scorer in the sum of both, to choose from

# First cosine similarities of titles and abstracts, then the judgments: chosen on training queries only.
SHARED: dict[str, Any] = {"batch_size": 32, "dtype": "auto", "random_state": SEED}
DISTIL = {
    "loss": "binary_cross_entropy",
    "epochs": 1,
    "learning_rate": 5e-5,
    "score_range": (0, 1),
    **SHARED,
}
LISTS = {"loss": "lambda", "epochs": 2, "learning_rate": 3e-5, **SHARED}


class Collection(NamedTuple):
    """Documents, queries, grades of each document for each query, and the cosines of the two."""

    titles: np.ndarray
    documents: np.ndarray
    queries: np.ndarray
    grades: np.ndarray
    cosines: np.ndarray
    embedder: SentenceEmbedder

    @property
    def nearest(self) -> np.ndarray:
        """The numbers of the documents that are re-ranked, (n_queries, TOP_K)."""
        return np.argsort(-self.cosines, axis=1)[:, :TOP_K]


def read_collection() -> Collection:
    """Read Cranfield, and embed it."""
    corpus, queries, judged = (
        pd.read_csv(data_file(f"cranfield/{name}.csv")).fillna("")
        for name in ("docs", "queries", "qrels")
    )
    row = pd.Index(queries["query_id"]).get_indexer(judged["query_id"])
    column = pd.Index(corpus["doc_id"]).get_indexer(judged["doc_id"])
    grades = np.zeros((len(queries), len(corpus)))
    grades[row, column] = judged["grade"]
    titles, asked = (of.to_numpy(object) for of in (corpus["title"], queries["text"]))
    documents = (corpus["title"] + ". " + corpus["text"]).to_numpy(object)
    embedder = SentenceEmbedder(MODEL, device="cpu").fit(documents)
    cosines = embedder.transform(asked) @ embedder.transform(documents).T
    return Collection(titles, documents, asked, grades, cosines, embedder)


def study(split: int, max_steps: int | None = None) -> list[dict[str, Any]]:
    """Train on half of the queries, and rank for the others: by either score, and by both."""
    of = read_collection()
    rows = np.random.default_rng(split).permutation(len(of.queries))
    train, test = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    scorers = [distil(of, max_steps)]
    # The weight of each score is chosen in folds of the training queries.
    folds, held_out = np.array_split(train, N_FOLDS), []
    for fold in folds:
        scorers.append(learn(of, np.setdiff1d(train, fold), scorers[0], max_steps))
        held_out.append(rerank(of, fold, scorers[-1]))
    scorers.append(learn(of, train, scorers[0], max_steps))
    seconds = sum(float(scorer.history_["seconds"].sum()) for scorer in scorers)
    in_folds = ndcg_by_share(of, np.concatenate(folds), np.concatenate(held_out))
    in_test = ndcg_by_share(of, test, rerank(of, test, scorers[-1]))
    gains = in_test - in_test[0]
    kinds = {"embedder": 0, "scorer": len(SHARES) - 1, "both": in_folds.mean(axis=1).argmax()}
    return [
        {
            "split": split,
            "order": kind,
            "share": float(SHARES[k]),
            "nDCG@10 in folds": float(in_folds[k].mean()),
            "nDCG@10": float(in_test[k].mean()),
            "gain": float(gains[k].mean()),
            "error": float(gains[k].std() / np.sqrt(len(test))),
            "seconds": seconds,
        }
        for kind, k in kinds.items()
    ]


def distil(of: Collection, max_steps: int | None) -> CrossEncoderScorer:
    """Train a cross-encoder on cosine similarities of titles and documents, without judgments."""
    titled = of.titles != ""
    # Documents that are near a title, and any.
    mined = pd.concat(
        mine_hard_negatives(
            of.embedder,
            of.titles[titled],
            of.documents[titled],
            of.documents,
            n_negatives=n_negatives,
            range_max=range_max,
            sampling="random",
            random_state=SEED,
        )
        for n_negatives, range_max in [(4, 30), (1, len(of.documents) - 1)]
    )
    scorer = CrossEncoderScorer(
        MODEL,
        device="cpu",
        dtype="auto",
        max_length=MAX_LENGTH,
        cache=None,
        fine_tuner=FineTuner(**DISTIL, max_steps=max_steps),
    )
    return scorer.fit(mined[["query", "negative"]], mined["negative_score"].clip(0, 1))


def learn(
    of: Collection, rows: np.ndarray, begin: CrossEncoderScorer, max_steps: int | None
) -> CrossEncoderScorer:
    """Continue training on the judgments of some queries, with unjudged neighbors as negatives."""
    row, document = of.grades[rows].nonzero()
    lists = pd.DataFrame(
        {
            "query": of.queries[rows[row]],
            "document": of.documents[document],
            "grade": of.grades[rows[row], document],
        }
    )
    mined = mine_hard_negatives(
        of.embedder,
        lists["query"],
        lists["document"],
        of.documents,
        n_negatives=2,
        range_max=TOP_K,
        sampling="random",
        random_state=SEED,
    )
    others = mined[["query", "negative"]].set_axis(["query", "document"], axis=1).drop_duplicates()
    lists = pd.concat([lists, others.assign(grade=0.0)])
    scorer = copy.deepcopy(begin)
    scorer.set_params(warm_start=True, fine_tuner=FineTuner(**LISTS, max_steps=max_steps))
    return scorer.fit(lists[["query", "document"]], lists["grade"])


def rerank(of: Collection, rows: np.ndarray, scorer: CrossEncoderScorer) -> np.ndarray:
    """Return the scores of the documents that are nearest to some queries, standardized per query."""
    ranking = scorer.rerank(of.queries[rows], of.documents[of.nearest[rows]])
    scores = np.empty((len(rows), TOP_K))
    scores[ranking["query"], ranking["index"]] = ranking["score"]
    return standardised(scores)


def ndcg_by_share(of: Collection, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return nDCG@10 for each weight of the scorer, and each query."""
    cosines = standardised(np.take_along_axis(of.cosines[rows], of.nearest[rows], axis=1))
    return np.array([ndcg(of, rows, s * scores + (1 - s) * cosines) for s in SHARES])


def ndcg(of: Collection, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return nDCG@10 of each query, documents in the order of these scores and no others after."""
    in_place = np.full((len(rows), len(of.documents)), scores.min() - 1)
    np.put_along_axis(in_place, of.nearest[rows], scores, axis=1)
    grades = of.grades[rows]
    return np.array(
        [ndcg_score(grades[[i]], in_place[[i]], k=10, ignore_ties=True) for i in range(len(rows))]
    )


def standardised(scores: np.ndarray) -> np.ndarray:
    """Standardize the scores of each query to mean 0 and standard deviation 1."""
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
