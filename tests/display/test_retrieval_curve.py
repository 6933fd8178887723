"""Curves of retrievers, by what is in them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from sk_sentemb import SemanticIndex, SentenceEmbedder
from sk_sentemb.display import RetrievalCurveDisplay
from sk_sentemb.metrics import ndcg_at_k, recall_at_k, retrieval_report


@pytest.fixture(scope="module")
def cranfield(shared_data):
    """Return documents, queries and judgments."""
    folder = shared_data("cranfield")
    documents = pd.read_csv(folder / "docs.csv").fillna("")
    queries = pd.read_csv(folder / "queries.csv").head(60)
    judged = pd.read_csv(folder / "qrels.csv").groupby("query_id")
    judgments = [
        dict(zip(rows["doc_id"], rows["grade"], strict=True))
        for rows in (judged.get_group(query) for query in queries["query_id"])
    ]
    return documents, queries["text"].tolist(), judgments


@pytest.fixture(scope="module")
def rankings(cranfield):
    """Return the rankings of a good and of a bad retriever."""
    documents, queries, _ = cranfield
    ids = documents["doc_id"].to_numpy()
    found = {}
    for name, column in (("texts", "text"), ("titles", "title")):
        vectorizer = TfidfVectorizer(stop_words="english")
        features = vectorizer.fit_transform(documents[column])
        scores = (vectorizer.transform(queries) @ features.T).toarray()
        found[name] = ids[np.argsort(-scores, axis=1)[:, :100]].tolist()
    return found


def test_the_curve_is_the_metric_at_each_k(cranfield, rankings):
    *_, judgments = cranfield
    display = RetrievalCurveDisplay.from_predictions(judgments, rankings, random_state=0)
    k = [1, 2, 3, 5, 10, 20, 50, 100]
    for name, ranking in rankings.items():
        expected = [recall_at_k(judgments, ranking, n) for n in k]
        line = display.lines_[name]
        assert line.get_xdata().tolist() == k
        np.testing.assert_allclose(line.get_ydata(), expected)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["texts", "titles"]
    assert display.ax_.get_ylabel() == "recall@k"
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == list(map(str, k))


def test_the_band_is_the_interval_of_the_report(cranfield, rankings):
    *_, judgments = cranfield
    display = RetrievalCurveDisplay.from_predictions(
        judgments,
        rankings["texts"],
        metric="ndcg",
        k=[10],
        name="TF-IDF",
        confidence_level=0.8,
        random_state=0,
    )
    report = retrieval_report(
        judgments, rankings["texts"], ["ndcg@10"], confidence_level=0.8, random_state=0
    )
    low, high = report.summary.loc["ndcg@10", ["low", "high"]]
    vertices = display.bands_["TF-IDF"].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([vertices.min(), vertices.max()], [low, high])
    mean = ndcg_at_k(judgments, rankings["texts"], 10)
    assert display.lines_["TF-IDF"].get_ydata() == pytest.approx(mean)
    assert display.ax_.get_ylabel() == "nDCG@k"


def test_fitted_retrievers_by_name(cranfield, minilm):
    documents, queries, judgments = cranfield
    some = documents.head(150).assign(text=documents["text"].str[:300])  # within the token limit
    # Queries with a relevant document among these.
    known = [row for row, judged in enumerate(judgments) if set(judged) & set(some["doc_id"])]
    queries, judgments = [queries[row] for row in known], [judgments[row] for row in known]
    embedder = SentenceEmbedder(minilm)
    indexes = {
        name: SemanticIndex(embedder).fit(some[["doc_id", name]], text=name, id="doc_id")
        for name in ("title", "text")
    }
    display = RetrievalCurveDisplay.from_estimator(indexes, queries, judgments, k=[1, 10, 200])
    for name, index in indexes.items():
        ids = index.ids_[index.kneighbors(queries, 150, return_distance=False)]
        expected = [recall_at_k(judgments, ids, k) for k in (1, 10, 150)]
        np.testing.assert_allclose(display.lines_[name].get_ydata(), expected)
    alone = RetrievalCurveDisplay.from_estimator(indexes["text"], queries, judgments)
    assert list(alone.lines_) == ["SemanticIndex"]
    frame = indexes["text"].search(queries, 20)
    searched = RetrievalCurveDisplay.from_predictions(judgments, frame)
    np.testing.assert_allclose(
        searched.lines_["Retriever"].get_ydata(), alone.lines_["SemanticIndex"].get_ydata()[:6]
    )


def test_curves_on_the_same_axes_have_their_own_colors(cranfield, rankings):
    *_, judgments = cranfield
    _, ax = plt.subplots()
    colors = []
    for name, ranking in rankings.items():
        display = RetrievalCurveDisplay.from_predictions(
            judgments, ranking, name=name, ax=ax, linewidth=3
        )
        assert display.ax_ is ax
        colors.append(display.lines_[name].get_color())
        assert display.lines_[name].get_linewidth() == 3
    assert len(set(colors)) == 2
    with pytest.raises(TypeError, match="Got both c and color"):
        display.plot(c="red", color="red")


def test_errors_say_what_to_pass(cranfield, rankings):
    *_, judgments = cranfield
    plot = RetrievalCurveDisplay.from_predictions
    for k in ([0, 1], [1.5], []):
        with pytest.raises(ValueError, match="k must be a sequence of positive integers"):
            plot(judgments, rankings, k=k)
    with pytest.raises(ValueError, match="accuracy"):
        plot(judgments, rankings, metric="accuracy")
    with pytest.raises(ValueError, match="no retrievers"):
        plot(judgments, {})
    with pytest.raises(ValueError, match="59"):
        plot(judgments[1:], rankings)
