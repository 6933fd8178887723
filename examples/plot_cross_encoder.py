"""
===========================
Bi-encoder or cross-encoder
===========================

How similar are two sentences? A bi-encoder, such as :class:`~sk_sentemb.SentenceEmbedder`, embeds
each text independently and compares embeddings by cosine similarity. A
:class:`~sk_sentemb.CrossEncoderScorer` reads both texts jointly and returns a score. How well do
they agree with human ratings, and what does a pair cost?
"""

import os
import sys
import warnings
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.pipeline import make_pipeline

from sk_sentemb import CrossEncoderScorer, FineTuner, PairSimilarity, SentenceEmbedder
from sk_sentemb.exceptions import NewHeadWarning

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
folder = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "stsb"
if not (folder / "stsb-en-train.csv").is_file():
    print(f"This example needs the STS benchmark, and it is not in {folder}.")
    print("Set SK_SENTEMB_DATA to a folder that holds stsb/stsb-en-train.csv and stsb-en-test.csv.")
    sys.exit(0)

# %%
# The pairs
# ---------
#
# Annotators rated how similar two sentences are, from 0 (unrelated) to 5 (equivalent). The models
# are compared on the test set, and the cross-encoder is trained on the training set.

names = ["first", "second", "similarity"]
# 3,000 of the 5,749 training pairs, to save time.
train = pd.read_csv(folder / "stsb-en-train.csv", names=names).sample(3000, random_state=0)
test = pd.read_csv(folder / "stsb-en-test.csv", names=names)
pairs = ["first", "second"]
print(test.head(3).to_string(index=False))

# %%
# Two models
# ----------
#
# The bi-encoder is used without fine-tuning: all-MiniLM-L6-v2 was pretrained on a billion pairs.
# The cross-encoder starts with the same transformer, but has to learn how to compare two texts from
# our pairs only. The cache is disabled, because we measure the cost.

tuner = FineTuner(
    epochs=2, batch_size=16, learning_rate=1e-4, score_range=(0, 5), dtype="auto", random_state=0
)
models = {
    "Bi-encoder": make_pipeline(SentenceEmbedder(dtype="auto", cache=None), PairSimilarity()),
    "Cross-encoder": CrossEncoderScorer(
        "all-MiniLM-L6-v2", dtype="auto", cache=None, fine_tuner=tuner
    ),
}
predicted, agreement = {}, {}
for name, model in models.items():
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NewHeadWarning)  # a new head is intended
        model.fit(train[pairs], train["similarity"])
    print(f"{name}: fitted in {perf_counter() - start:.0f} s", flush=True)
    predicted[name] = model.predict(test[pairs])
    agreement[name] = spearmanr(predicted[name], test["similarity"]).statistic
    print(f"  Spearman correlation with human ratings: {agreement[name]:.3f}", flush=True)

# %%
# Cost per pair
# -------------
#
# If each text occurs in one pair only, the bi-encoder processes two texts per pair, and the
# cross-encoder one pair. If each of 40 texts is compared with each of 40 others, the bi-encoder
# processes 80 texts, and the cross-encoder 1,600 pairs.

some = test.drop_duplicates("first").drop_duplicates("second").head(40)
grid = pd.merge(some["first"], some["second"], how="cross")
cost = {}
for name, model in models.items():
    cost[name] = []
    for X in (test[pairs], grid):
        start = perf_counter()
        model.predict(X)
        cost[name].append(1000 * (perf_counter() - start) / len(X))
    print(f"{name:<14} ms per pair: {cost[name][0]:.2f}, in a grid: {cost[name][1]:.2f}")

# %%
# Results
# -------
#
# Each point is a pair; the line is the median of pairs with similar ratings.

fig = plt.figure(figsize=(14, 4.8), layout="constrained")
axes = fig.subplots(1, 3, width_ratios=[1, 1, 0.9])
# The colors of Okabe and Ito, which color-blind readers can distinguish.
colors = {"Bi-encoder": "#0072B2", "Cross-encoder": "#D55E00"}
units = {"Bi-encoder": "Cosine similarity", "Cross-encoder": "Predicted similarity"}
for ax, name in zip(axes, models, strict=False):
    rated = test["similarity"]
    ax.scatter(rated, predicted[name], s=12, color=colors[name], alpha=0.35, linewidths=0)
    medians = pd.Series(predicted[name]).groupby((2 * rated).round() / 2).median()
    ax.plot(medians.index, medians, color="black", lw=2, marker="o", ms=4)
    ax.set_title(f"{name}: Spearman {agreement[name]:.3f}", fontsize=14)
    ax.set_xlabel("Human rating", fontsize=12)
    ax.set_ylabel(units[name], fontsize=12)

ax = axes[2]
positions = np.arange(2)
for shift, (name, milliseconds) in zip([-0.2, 0.2], cost.items(), strict=True):
    bars = ax.bar(positions + shift, milliseconds, width=0.36, color=colors[name], label=name)
    ax.bar_label(bars, fmt="%.2g", padding=2, fontsize=12)
ax.set_yscale("log")
ax.set_ylim(top=8 * max(max(milliseconds) for milliseconds in cost.values()))
ax.set_xticks(positions, ["each text in one pair", "40 texts by 40"], fontsize=12)
ax.set_ylabel("Milliseconds", fontsize=12)
ax.set_title("Cost per pair", fontsize=14)
ax.legend(loc="upper left", frameon=False, fontsize=11)
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=11)
axes[2].tick_params(axis="x", labelsize=12, length=0)
fig.suptitle("Bi-encoder and cross-encoder on the STS benchmark", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "cross_encoder.png", dpi=150)
print(f"\nSee {output / 'cross_encoder.png'}")
plt.show()
