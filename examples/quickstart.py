"""
==========
Quickstart
==========

Which package is a docstring from, once the package names in it are hidden? A
:class:`~sk_sentemb.SentenceEmbedder` turns each text into numbers, and everything after it is
ordinary scikit-learn: a pipeline, cross-validation, a grid search, saving and loading.

It needs no network, and takes a minute or two on two cores.
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
from sk_sentemb.datasets import load_docstrings

started = perf_counter()
# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)


def heading(text):
    """Print a heading at once, also where the output goes to a file."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


# %%
# The texts
# ---------
#
# The first paragraphs of docstrings, from the packages that are installed here anyway. Package
# names are masked, so the meaning has to be read.

heading("1. The texts")
docstrings = load_docstrings(max_per_package=100)
texts = docstrings.data["text"]
packages = docstrings.target_names[docstrings.target]

print(f"{len(texts)} docstrings, 100 from each of {', '.join(docstrings.target_names)}.")
print("Which package is a text from?\n")
for text, package in list(zip(texts, packages, strict=True))[:4]:
    print(f"  {package:<8} {text if len(text) < 80 else text[:76] + ' ...'}")

# %%
# A pipeline, cross-validated
# ---------------------------
#
# The embedder takes the place that ``TfidfVectorizer`` has in a text pipeline, or stands beside it.
# It comes pretrained, so it knows words that no training text contains, which counts most where
# labels are few. With all 2,500 docstrings, counting words is as good or better on its own; the two
# know different things, and both together are better than either.
#
# A few docstrings may be longer than the model reads at once: ``long_text="chunk"`` embeds them in
# windows. By default they are cut off, and a warning says how many.

heading("2. A pipeline, cross-validated (accuracy, 5 folds)")


def classifier():
    """Return the same classifier for all rows of the table."""
    return LogisticRegression(C=10, max_iter=1000)


embedder = SentenceEmbedder(long_text="chunk")
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
    scores = cross_val_score(model, texts, packages, cv=5)
    seconds = perf_counter() - before
    print(f"{scores.mean():.3f} ± {scores.std():.3f}   {seconds:5.1f} s", flush=True)

# %%
# A grid search
# -------------
#
# All that the embedder can do is a parameter, so it is searched like any other: here, how the
# vectors of a text's tokens become one, together with the classifier's ``C``.

grid = {"sentenceembedder__pooling": ["mean", "cls"], "logisticregression__C": [1, 10]}
heading("3. A grid search over pooling and C (300 texts, 4 candidates x 3 folds)")
search = GridSearchCV(models["SentenceEmbedder + LogisticRegression"], grid, cv=3)
search.fit(texts[:300], packages[:300])

results = search.cv_results_
for candidate, score in zip(results["params"], results["mean_test_score"], strict=True):
    pooling, C = candidate["sentenceembedder__pooling"], candidate["logisticregression__C"]
    best = "   <- best" if candidate == search.best_params_ else ""
    print(f"  pooling={pooling!r:<8} C={C:<4} {score:.3f}{best}")

# %%
# Saved, loaded, predicting
# -------------------------
#
# A saved pipeline names its model and carries the model's fingerprint, which is checked on loading,
# so the file is small. ``weights_in_pickle="embed"`` puts the weights inside.

heading("4. Saved, loaded, predicting")
model = search.best_estimator_.fit(texts, packages)
saved = output / "quickstart.joblib"
joblib.dump(model, saved)
print(f"Saved {saved}: {saved.stat().st_size / 1000:.0f} kB.\n")

loaded = joblib.load(saved)
new_texts = [
    "Fill the gaps in a table with the average of each column.",
    "Move a layer and its weights to the graphics card.",
]
for text, probabilities in zip(new_texts, loaded.predict_proba(new_texts), strict=True):
    best = probabilities.argmax()
    print(f"  {text}\n    -> {loaded.classes_[best]} (probability {probabilities[best]:.2f})")

# %%
# A map of the texts
# ------------------
#
# Texts that mean similar things have similar vectors. t-SNE lays them out in two dimensions, and
# the colours, which it never saw, show what of the packages is in the meaning alone.

heading("5. A map of the texts")
vectors = loaded["sentenceembedder"].transform(texts)
flat = make_pipeline(PCA(50, random_state=0), TSNE(random_state=0))
places = flat.fit_transform(vectors)

# The colours of Okabe and Ito, which colour-blind readers can tell apart; shapes help further.
looks = zip(["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"], "os^Dv", strict=True)
fig, ax = plt.subplots(figsize=(9, 7), layout="constrained")
for package, (color, marker) in zip(docstrings.target_names, looks, strict=False):
    of_package = places[packages == package]
    ax.scatter(*of_package.T, s=36, c=color, marker=marker, ec="white", lw=0.6, label=package)
fig.suptitle(f"{len(texts)} docstrings, placed by meaning and coloured by package", fontsize=15)
ax.set_axis_off()
fig.legend(
    loc="outside lower center",
    ncols=len(docstrings.target_names),
    fontsize=13,
    frameon=False,
    markerscale=1.6,
    handletextpad=0.2,
)
picture = output / "quickstart.png"
fig.savefig(picture, dpi=150)
print(f"See {picture}")
print(f"\nAll done in {perf_counter() - started:.0f} s.")
