"""Re-ranking Cranfield: a cross-encoder of half of the queries, and what it does for the others."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _common import data_file
from _cross_encoders import MODEL, SEED
from sklearn.metrics import ndcg_score

from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceEmbedder, mine_hard_negatives
from sk_sentemb.encoder import Encoder

TOP_K, MAX_LENGTH, N_FOLDS = 100, 128, 2
SHARES = np.linspace(0, 1, 11)  # of the scorer in the sum of both, to choose from

# First what the embedder says of titles and abstracts, then the judgements: chosen with the queries that
# are learnt from alone.
DISTIL = {"loss": "binary_cross_entropy", "epochs": 1, "learning_rate": 5e-5, "score_range": (0, 1)}
LISTS = {"loss": "lambda", "epochs": 2, "learning_rate": 3e-5}
SHARED = {"batch_size": 32, "dtype": "auto", "random_state": SEED}


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


def distil(collection: Collection, max_steps: int | None) -> tuple[Encoder, float]:
    """Teach a cross-encoder the cosines of titles and documents; return it, and its seconds."""
    titled = collection.titles != ""
    titles, own = collection.titles[titled], collection.documents[titled]
    # Documents that are near a title, and any.
    mined = pd.concat(
        mine_hard_negatives(
            collection.embedder,
            titles,
            own,
            collection.documents,
            n_negatives=n_negatives,
            range_max=range_max,
            sampling="random",
            random_state=SEED,
        )
        for n_negatives, range_max in [(4, 30), (1, len(collection.documents) - 1)]
    )
    cosines = mined["negative_score"].clip(0, 1)
    return fit_scorer(MODEL, mined[["query", "negative"]], cosines, DISTIL, max_steps)


def fit_scorer(
    model: Any, X: pd.DataFrame, y: Any, settings: dict[str, Any], max_steps: int | None
) -> tuple[CrossEncoderScorer, float]:
    """Fine-tune a cross-encoder; return it, and the seconds of its steps."""
    scorer = CrossEncoderScorer(
        model,
        device="cpu",
        dtype="auto",
        max_length=MAX_LENGTH,
        cache=None,
        fine_tuner=FineTuner(**settings, **SHARED, max_steps=max_steps),
    ).fit(X, y)
    return scorer, float(scorer.history_["seconds"].sum())
