"""
===========================
Clusters and their keywords
===========================

What are thousands of unlabeled questions about? Embeddings place questions with the same meaning
close to each other, `k`-means finds the clusters, and the words that are frequent in a cluster and
rare elsewhere describe it. The questions are those of Banking77, which have labels, so we can
measure how well this works.
"""

import sys
from pathlib import Path

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder
from sk_sentemb.datasets import fetch_banking77

# %%
# The questions
# -------------
#
# 3,080 questions, 40 of each of 77 intents. The intents are only used for evaluation.

try:
    banking = fetch_banking77(subset="test")
except (ImportError, OSError) as reason:
    print(f"This example needs the Banking77 questions: {reason}")
    sys.exit(0)
questions = banking.data
intents = banking.target_names[banking.target]
print(f"Embedding {len(questions)} questions ...", flush=True)

# %%
# Embeddings
# ----------
#
# Embeddings depend on the texts only, so they are computed once and used for everything below.

embeddings = SentenceEmbedder().fit_transform(questions)

# %%
# Clusters
# --------
#
# Adjusted mutual information is 1 if clusters and intents are the same, and 0 for random clusters
# of any number. Twenty clusters are fewer than there are intents, so they cannot match them
# exactly; 77 can. TF-IDF features are clustered for comparison.


def cluster(features, n_clusters):
    """Return the cluster of each row."""
    return KMeans(n_clusters, n_init=5, random_state=0).fit_predict(features)


tfidf = TfidfVectorizer(sublinear_tf=True).fit_transform(questions)
print("\nAdjusted mutual information with the intents")
print("  clusters   embeddings   TF-IDF")
for n_clusters in (20, 77):
    with_embeddings, with_tfidf = (
        adjusted_mutual_info_score(intents, cluster(features, n_clusters))
        for features in (embeddings, tfidf)
    )
    print(f"  {n_clusters:>8}   {with_embeddings:>10.2f}   {with_tfidf:>6.2f}", flush=True)

# %%
# Keywords of a cluster
# ---------------------
#
# A word is a keyword of a cluster if it is frequent in the cluster, and more frequent than in all
# questions. This is TF-IDF with clusters instead of documents: the relative frequency in the
# cluster, times the squared logarithm of its ratio to the overall relative frequency. The logarithm
# is small for words like "the", so no list of stop words is needed; its square also suppresses "my"
# and "an".


def keywords(texts, clusters, n_words):
    """Return the most characteristic words of each cluster, the strongest first."""
    vectorizer = CountVectorizer(min_df=5)
    occurs = vectorizer.fit_transform(texts).toarray()
    counts = np.array([occurs[clusters == label].sum(axis=0) for label in np.unique(clusters)])
    frequency = counts / counts.sum(axis=1, keepdims=True)
    overall = counts.sum(axis=0) / counts.sum()
    # A word that is less frequent than elsewhere is a keyword of other clusters.
    score = frequency * np.log(np.maximum(frequency / overall, 1)) ** 2
    strongest = np.argsort(-score, axis=1)[:, :n_words]
    return vectorizer.get_feature_names_out()[strongest]


clusters = cluster(embeddings, n_clusters=20)
words = keywords(questions, clusters, n_words=5)
print("\nQuestions   Keywords of the cluster")
for label in np.argsort(-np.bincount(clusters)):
    print(f"  {np.sum(clusters == label):>7}   {', '.join(words[label])}")

# %%
# A map
# -----
#
# The clusters are those of the full embeddings; t-SNE only arranges them in two dimensions. Colors
# repeat after seven clusters; the keywords distinguish them.

points = make_pipeline(PCA(50, random_state=0), TSNE(random_state=0)).fit_transform(embeddings)

colors = np.array(["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C"])
fig, ax = plt.subplots(figsize=(11, 9), layout="constrained")
ax.scatter(*points.T, s=14, c=colors[clusters % len(colors)], alpha=0.7, linewidths=0)
for label in np.unique(clusters):
    ax.annotate(
        "\n".join(words[label, :3]),
        np.median(points[clusters == label], axis=0),
        ha="center",
        va="center",
        fontsize=12,
        fontweight="bold",
        path_effects=[effects.withStroke(linewidth=3, foreground="white")],
    )
fig.suptitle(f"{len(questions):,} questions to a bank in 20 clusters", fontsize=17)
ax.set_axis_off()

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "clustering.png", dpi=150)
print(f"\nSee {output / 'clustering.png'}")
plt.show()
