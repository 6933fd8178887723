"""
========================
Clusters and their words
========================

Thousands of questions, and nobody has said yet what they are about: embeddings put questions of the
same meaning close to each other, `k`-means finds the groups, and the words that are common in a
group, and rare elsewhere, name it. The questions are those of Banking77, whose intents were written
down by people, so we can tell how well that works.
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
# 3,080 questions, 40 of each of 77 intents. The intents are for the check at the end only.

try:
    banking = fetch_banking77(subset="test")
except (ImportError, OSError) as reason:
    print(f"This example needs the Banking77 questions: {reason}")
    sys.exit(0)
questions = banking.data
intents = banking.target_names[banking.target]
print(f"Embedding {len(questions)} questions ...", flush=True)

# %%
# Vectors
# -------
#
# They depend on the texts alone, so they are made once and used for everything below.

vectors = SentenceEmbedder().fit_transform(questions)

# %%
# Groups
# ------
#
# Adjusted mutual information is 1 where groups and intents say the same, and 0 for groups made by
# chance, whatever their number. Twenty groups are fewer than there are intents, so they cannot say
# everything about them; 77 can. Beside them, the same on counts of words.


def grouped(features, n_groups):
    """Return the number of the group of each row."""
    return KMeans(n_groups, n_init=5, random_state=0).fit_predict(features)


counts = TfidfVectorizer(sublinear_tf=True).fit_transform(questions)
print("\nAdjusted mutual information with the intents")
print("  groups   embeddings   TF-IDF")
for n_groups in (20, 77):
    on_vectors, on_counts = (
        adjusted_mutual_info_score(intents, grouped(features, n_groups))
        for features in (vectors, counts)
    )
    print(f"  {n_groups:>6}   {on_vectors:>10.2f}   {on_counts:>6.2f}", flush=True)

# %%
# The words of a group
# --------------------
#
# A word marks a group if it makes up much of what the group says, and more of it than of what all
# say. This is TF-IDF with groups in the place of documents: the share in the group, times the
# square of the logarithm of how many times the overall share that is. The logarithm is small
# for words like "the", so no list of them is needed; its square keeps "my" and "an" down, too.


def marking_words(texts, groups, n_words):
    """Return the words that set each group apart from the others, the strongest first."""
    vectorizer = CountVectorizer(min_df=5)
    occurs = vectorizer.fit_transform(texts).toarray()
    uses = np.array([occurs[groups == group].sum(axis=0) for group in np.unique(groups)])
    share = uses / uses.sum(axis=1, keepdims=True)
    overall = uses.sum(axis=0) / uses.sum()
    # A word that the group uses less than others do marks those.
    score = share * np.log(np.maximum(share / overall, 1)) ** 2
    strongest = np.argsort(-score, axis=1)[:, :n_words]
    return vectorizer.get_feature_names_out()[strongest]


groups = grouped(vectors, n_groups=20)
words = marking_words(questions, groups, n_words=5)
print("\nQuestions   Words that mark the group")
for group in np.argsort(-np.bincount(groups)):
    print(f"  {np.sum(groups == group):>7}   {', '.join(words[group])}")

# %%
# A map
# -----
#
# The groups are those of the vectors in all their dimensions; t-SNE only lays them out. Colours come
# back after seven groups, and the words say which is which.

places = make_pipeline(PCA(50, random_state=0), TSNE(random_state=0)).fit_transform(vectors)

colors = np.array(["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C"])
fig, ax = plt.subplots(figsize=(11, 9), layout="constrained")
ax.scatter(*places.T, s=14, c=colors[groups % len(colors)], alpha=0.7, linewidths=0)
for group in np.unique(groups):
    ax.annotate(
        "\n".join(words[group, :3]),
        np.median(places[groups == group], axis=0),
        ha="center",
        va="center",
        fontsize=12,
        fontweight="bold",
        path_effects=[effects.withStroke(linewidth=3, foreground="white")],
    )
fig.suptitle(f"{len(questions):,} questions to a bank, in 20 groups by meaning", fontsize=17)
ax.set_axis_off()

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "clustering.png", dpi=150)
print(f"\nSee {output / 'clustering.png'}")
plt.show()
