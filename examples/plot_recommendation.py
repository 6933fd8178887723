"""
========================================
Recommendations from what a reader likes
========================================

Which papers would interest a reader who likes these three? :meth:`SemanticIndex.recommend
<sk_sentemb.SemanticIndex.recommend>` finds the papers nearest to the mean of the embeddings of the
liked ones. It needs no data on other readers. Someone new describes an interest in their own words.
"""

import os
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_sentemb import SemanticIndex
from sk_sentemb.display import RetrievalCurveDisplay
from sk_sentemb.exceptions import TruncationWarning
from sk_sentemb.metrics import compare_retrievers, recall_at_k

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
folder = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "cranfield"
if not (folder / "docs.csv").is_file():
    print(f"This example needs the Cranfield collection, and it is not in {folder}.")
    print("Set SK_SENTEMB_DATA to a folder that holds cranfield/docs.csv.")
    sys.exit(0)

# %%
# Readers and papers
# ------------------
#
# The Cranfield collection has 1,400 abstracts on aerodynamics, and questions of researchers who said
# which of the papers are relevant to them. Each question is a reader here: the relevant papers are
# those that the reader likes, and the question describes the interest in words.
#
# Half of the liked papers of each reader, at random, are hidden. A good recommender finds them.

papers = pd.read_csv(folder / "docs.csv").dropna(subset=["title", "text"])
papers["text"] = papers["title"] + ". " + papers["text"]
questions = pd.read_csv(folder / "queries.csv").set_index("query_id")["text"]
judgments = pd.read_csv(folder / "qrels.csv").query("doc_id in @papers.doc_id")

rng = np.random.default_rng(0)
interests, liked, hidden = [], [], []
for query, rows in judgments.groupby("query_id"):
    if len(rows) >= 4:
        shuffled = rng.permutation(rows["doc_id"]).tolist()
        interests.append(questions[query])
        liked.append(shuffled[: len(shuffled) // 2])
        hidden.append(shuffled[len(shuffled) // 2 :])
print(f"{len(papers)} papers, {len(liked)} readers with {np.mean([*map(len, liked)]):.1f} papers")

# %%
# An index of the papers
# ----------------------

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TruncationWarning)  # the first 256 tokens tell enough
    index = SemanticIndex().fit(papers, id="doc_id")

reader = 4
print(f"\nA reader who asked: {interests[reader]}\nlikes")
for title in papers.set_index("doc_id").loc[liked[reader], "title"]:
    print(f"  - {title}")
print("and could like")
for row in index.recommend(liked[reader], n=5).itertuples():
    print(f"  {'+' if row.id in hidden[reader] else '-'} {row.title}")
print("  (+ is a hidden paper)")

# %%
# Four recommenders
# -----------------
#
# - **Popularity**: the papers that most of the other readers like. It is the same for everyone, and a
#   baseline that recommenders often fail to beat.
# - **Free text**: the words of a new reader, of whom no liked papers are known.
# - **Liked papers**: the mean of their embeddings.
# - **Both**: the words count as much as all liked papers together.

n = 100


def recommend_popular(reader):
    """Return the papers that most of the other readers like."""
    others = [paper for i, papers in enumerate(liked) if i != reader for paper in papers]
    ranked = pd.Series(others).value_counts().index
    return [paper for paper in ranked if paper not in liked[reader]][:n]


words = [[interest] for interest in interests]
weights = [[1 / len(papers)] * len(papers) + [1] for papers in liked]
recommended = {
    "popularity": [recommend_popular(reader) for reader in range(len(liked))],
    "free text": index.recommend(texts=words, exclude=liked, n=n),
    "liked papers": index.recommend(liked, n=n),
    "both": index.recommend(liked, texts=words, weights=weights, n=n),
}

# %%
# Hidden papers that were found
# -----------------------------

print("\nHidden papers among the first 10")
for name, rankings in recommended.items():
    print(f"  {name:<13} {recall_at_k(hidden, rankings, 10):.2f}")
comparison = compare_retrievers(
    hidden, recommended["liked papers"], recommended["both"], "recall@10", random_state=0
)
print(
    f"Both instead of liked papers: {comparison.difference:+.3f}, 95% interval "
    f"{comparison.low:+.3f} to {comparison.high:+.3f}, p = {comparison.p_value:.2g}"
)

# %%
# Results
# -------
#
# Few papers are liked by many, so popularity is of little help here. A few words from a new reader
# are worth nearly as much as liked papers, and together they are better than each alone.

fig, ax = plt.subplots(figsize=(8, 5.2), layout="constrained")
RetrievalCurveDisplay.from_predictions(hidden, recommended, random_state=0, ax=ax, linewidth=2)
ax.set_xlabel("Number of recommended papers", fontsize=12)
ax.set_ylabel("Fraction of the hidden papers", fontsize=12)
ax.set_ylim(bottom=0)
ax.legend(frameon=False, fontsize=12)
fig.suptitle("Papers for readers: what finds those that they like?", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "recommendation.png", dpi=150)
print(f"\nSee {output / 'recommendation.png'}")
plt.show()
