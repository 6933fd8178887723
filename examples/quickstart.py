"""
==========
Quickstart
==========

What does a customer of a bank want? A :class:`~sk_sentemb.SentenceEmbedder` turns each message into
an embedding, and everything after it is ordinary scikit-learn: a pipeline, cross-validation, a grid
search, saving and loading.

It needs no network, and takes less than a minute on two cores.
"""

from pathlib import Path
from time import perf_counter

import joblib
import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union

from sk_sentemb import SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample

started = perf_counter()
# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)


def heading(text):
    """Print a heading at once, also where the output goes to a file."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


# %%
# The messages
# ------------
#
# 500 messages of bank customers, a sample of the Banking77 dataset. Each of the 10 intents has a
# similar one, so that the words alone do not always distinguish them.

heading("1. The messages")
banking = load_banking77_sample()
texts = banking.data
intents = banking.target_names[banking.target]

print(
    f"{len(texts)} messages, 50 for each of {len(banking.target_names)} intents. What do they want?\n"
)
for text, intent in list(zip(texts, intents, strict=True))[:6]:
    print(f"  {intent:<23} {text}")

# %%
# A pipeline, cross-validated
# ---------------------------
#
# The embedder replaces ``TfidfVectorizer`` in a text pipeline, or complements it in a union. It is
# pretrained, so it relates words that no training message contains, which helps most where labels
# are few.

heading("2. A pipeline, cross-validated (accuracy, 5 folds)")


def classifier():
    """Return the same classifier for all rows of the table."""
    return LogisticRegression(C=10, max_iter=1000)


embedder = SentenceEmbedder()
models = {
    "chance": DummyClassifier(),
    "TF-IDF + LogisticRegression": make_pipeline(TfidfVectorizer(), classifier()),
    "SentenceEmbedder + LogisticRegression": make_pipeline(embedder, classifier()),
    "both + LogisticRegression": make_pipeline(
        make_union(TfidfVectorizer(), embedder), classifier()
    ),
}
for name, model in models.items():
    print(f"  {name:<40}", end="", flush=True)
    before = perf_counter()
    scores = cross_val_score(model, texts, intents, cv=5)
    seconds = perf_counter() - before
    print(f"{scores.mean():.3f} ± {scores.std():.3f}   {seconds:5.1f} s", flush=True)

# %%
# A grid search
# -------------
#
# Every option of the embedder is a parameter that can be searched: here the pooling mode, together
# with the ``C`` of the classifier.

grid = {"sentenceembedder__pooling": ["mean", "cls"], "logisticregression__C": [1, 10]}
heading("3. A grid search over pooling and C (300 texts, 4 candidates x 3 folds)")
search = GridSearchCV(models["SentenceEmbedder + LogisticRegression"], grid, cv=3)
search.fit(texts[:300], intents[:300])

results = search.cv_results_
for candidate, score in zip(results["params"], results["mean_test_score"], strict=True):
    pooling, C = candidate["sentenceembedder__pooling"], candidate["logisticregression__C"]
    best = "   <- best" if candidate == search.best_params_ else ""
    print(f"  pooling={pooling!r:<8} C={C:<4} {score:.3f}{best}")

# %%
# Save, load, predict
# -------------------
#
# A saved pipeline stores the name and the fingerprint of its model, which is verified on loading,
# so the file is small. With ``store_weights_in_pickle=True``, it also stores the weights.

heading("4. Save, load, predict")
model = search.best_estimator_.fit(texts, intents)
saved = output / "quickstart.joblib"
joblib.dump(model, saved)
print(f"Saved {saved}: {saved.stat().st_size / 1000:.0f} kB.\n")

loaded = joblib.load(saved)
new_texts = [
    "My wallet is gone, with all my cards in it!",
    "What is the euro worth in dollars today?",
]
for text, probabilities in zip(new_texts, loaded.predict_proba(new_texts), strict=True):
    best = probabilities.argmax()
    print(f"  {text}\n    -> {loaded.classes_[best]} (probability {probabilities[best]:.2f})")

# %%
# A map of the texts
# ------------------
#
# Texts with similar meanings have similar embeddings. t-SNE arranges them in two dimensions without
# knowing the intents, which the colors show. Similar intents share a color and differ in the
# marker.

heading("5. A map of the texts")
embeddings = loaded["sentenceembedder"].transform(texts)
points = make_pipeline(PCA(50, random_state=0), TSNE(random_state=0)).fit_transform(embeddings)

# The colors of Okabe and Ito, which color-blind readers can distinguish.
looks = {
    "#0072B2": ("card_arrival", "card_delivery_estimate"),
    "#E69F00": ("card_not_working", "declined_card_payment"),
    "#D55E00": ("compromised_card", "lost_or_stolen_card"),
    "#009E73": ("exchange_charge", "exchange_rate"),
    "#CC79A7": ("pending_transfer", "transfer_timing"),
}
fig, ax = plt.subplots(figsize=(9, 7), layout="constrained")
for color, similar in looks.items():
    for intent, marker in zip(similar, "o^", strict=True):
        x, y = points[intents == intent].T
        ax.scatter(x, y, s=36, c=color, marker=marker, ec="white", lw=0.6, label=intent)
fig.suptitle(f"{len(texts)} messages, arranged by meaning and colored by intent", fontsize=15)
ax.set_axis_off()
fig.legend(
    loc="outside lower center",
    ncols=5,
    fontsize=10,
    frameon=False,
    handletextpad=0,
    columnspacing=0.5,
)
figure_path = output / "quickstart.png"
fig.savefig(figure_path, dpi=150)
print(f"See {figure_path}")
print(f"\nDone in {perf_counter() - started:.0f} s.")
