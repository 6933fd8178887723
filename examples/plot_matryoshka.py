"""
=====================
Matryoshka embeddings
=====================

Half of the dimensions need half of the memory, and half of the time in later steps. Ordinary
training distributes information over all dimensions. :class:`~sk_sentemb.losses.MatryoshkaLoss`
trains the first dimensions to be useful on their own, so that ``truncate_dim`` costs little
accuracy.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.losses import MatryoshkaLoss

# %%
# The texts
# ---------
#
# What does a customer of a bank want?

X, y = load_banking77_sample(return_X_y=True, as_frame=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

# %%
# With and without the Matryoshka loss
# ------------------------------------
#
# Each model is trained once. A nearest-neighbors classifier, which depends on nothing but the
# embeddings, shows how useful their first dimensions are.

DIMS = [384, 192, 96, 48, 24, 12]
settings = {"epochs": 4, "random_state": 0}
tuners = {
    "Matryoshka": FineTuner(MatryoshkaLoss("auto", dims=DIMS), **settings),
    "fine-tuned": FineTuner(**settings),
    "frozen": None,
}
accuracy = {}
for name, tuner in tuners.items():
    embedder = SentenceEmbedder(max_length=64, fine_tuner=tuner).fit(X_train, y_train)
    train, test = embedder.transform(X_train), embedder.transform(X_test)
    neighbors = KNeighborsClassifier(n_neighbors=5, metric="cosine")
    accuracy[name] = [
        neighbors.fit(train[:, :dim], y_train).score(test[:, :dim], y_test) for dim in DIMS
    ]
    print(f"{name:<11}", "  ".join(f"{score:.3f}" for score in accuracy[name]), flush=True)

# %%
# Results
# -------

fig, ax = plt.subplots(figsize=(8, 5), layout="constrained")
for (name, scores), color in zip(accuracy.items(), ["#0072B2", "#E69F00", "#8C8C8C"], strict=True):
    ax.plot(DIMS, scores, "o-", color=color, linewidth=2, label=name)
ax.set_xscale("log", base=2)
ax.set_xticks(DIMS, DIMS)
ax.minorticks_off()
ax.set_xlabel("Dimensions of truncated embeddings")
ax.set_ylabel("Accuracy of nearest neighbors")
ax.spines[["top", "right"]].set_visible(False)
ax.grid(axis="y", alpha=0.3)
ax.legend(frameon=False, fontsize=12)
ax.set_title("Accuracy of truncated embeddings", fontsize=15)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "matryoshka.png", dpi=150)
print(f"\nSee {output / 'matryoshka.png'}")
plt.show()
