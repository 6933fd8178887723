"""
======================
Few examples per class
======================

Labeling takes time. How accurate is a classifier with a few labels? Word counts need many examples.
Pretrained embeddings already represent the language, and with a handful of examples per class they
can be fine-tuned: the pipeline is the same, with a :class:`~sk_sentemb.FineTuner`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.datasets import fetch_banking77

# %%
# The questions
# -------------
#
# Of the 77 intents of Banking77, twelve about cards, which are easily confused.

try:
    train, test = (fetch_banking77(subset=subset) for subset in ("train", "test"))
except (ImportError, OSError) as reason:
    print(f"This example needs the Banking77 questions: {reason}")
    sys.exit(0)


def about_cards(banking):
    """Return the questions whose intent has a card in its name."""
    intents = banking.target_names[banking.target]
    cards = sorted({intent for intent in intents if "card" in intent})[:12]
    rows = np.flatnonzero(np.isin(intents, cards))
    return np.asarray(banking.data)[rows], intents[rows]


X, y = about_cards(train)
X_test, y_test = about_cards(test)
print(f"{len(np.unique(y))} intents, {len(X_test)} test questions")


def draw(n_examples, seed):
    """Return random rows, the same number for each intent."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(y == intent), n_examples, False) for intent in np.unique(y)]
    return np.concatenate(rows)


# %%
# Three pipelines
# ---------------
#
# Each is fitted to two random draws of 2, 4, 8 and 16 examples per intent.

N_EXAMPLES, SEEDS = [2, 4, 8, 16], [0, 1]


def pipelines(seed):
    """Return the pipelines to compare."""
    tuner = FineTuner(random_state=seed)
    return {
        "fine-tuned": make_pipeline(SentenceEmbedder(fine_tuner=tuner), LogisticRegression()),
        "frozen": make_pipeline(SentenceEmbedder(), LogisticRegression()),
        "TF-IDF": make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression()),
    }


accuracy = {name: np.zeros((len(N_EXAMPLES), len(SEEDS))) for name in pipelines(0)}
for i, n_examples in enumerate(N_EXAMPLES):
    for j, seed in enumerate(SEEDS):
        rows = draw(n_examples, seed)
        for name, pipeline in pipelines(seed).items():
            accuracy[name][i, j] = pipeline.fit(X[rows], y[rows]).score(X_test, y_test)
    print(
        f"{n_examples:>3} examples  "
        + "   ".join(f"{name} {scores[i].mean():.3f}" for name, scores in accuracy.items()),
        flush=True,
    )

# %%
# Results
# -------

fig, ax = plt.subplots(figsize=(8, 5), layout="constrained")
for (name, scores), color in zip(accuracy.items(), ["#0072B2", "#E69F00", "#8C8C8C"], strict=True):
    ax.plot(N_EXAMPLES, scores.mean(axis=1), "o-", color=color, linewidth=2, label=name)
    ax.fill_between(N_EXAMPLES, scores.min(axis=1), scores.max(axis=1), color=color, alpha=0.15)
ax.set_xscale("log", base=2)
ax.set_xticks(N_EXAMPLES, N_EXAMPLES)
ax.legend(frameon=False, fontsize=13)
ax.set_xlabel("Training examples per intent")
ax.set_ylabel("Accuracy on test questions")
ax.spines[["top", "right"]].set_visible(False)
ax.grid(axis="y", alpha=0.3)
ax.set_title(f"{len(np.unique(y))} intents about cards", fontsize=16)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "few_shot.png", dpi=150)
print(f"\nSee {output / 'few_shot.png'}")
plt.show()
