"""
======================================
Two texts apart, or two texts together
======================================

How similar are two sentences? A bi-encoder, such as :class:`~sk_sentemb.SentenceEmbedder`, makes a
vector of each, and the cosine says how near they are. A :class:`~sk_sentemb.CrossEncoderScorer`
reads both together, word beside word, and says a number. How well does either agree with people,
and what does a pair cost?
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
# People rated how similar two sentences are, from 0 (nothing in common) to 5 (the same). The models
# are compared on the test set, and the cross-encoder learns from the training set.

names = ["first", "second", "similarity"]
train = pd.read_csv(folder / "stsb-en-train.csv", names=names)
test = pd.read_csv(folder / "stsb-en-test.csv", names=names)
pairs = ["first", "second"]
print(test.head(3).to_string(index=False))

# %%
# Two ways
# --------
#
# The bi-encoder is taken as it is: all-MiniLM-L6-v2 has learnt from a billion pairs what is similar.
# The cross-encoder begins with the same transformer, but has to learn anew how to compare two texts,
# from our pairs alone. There is no cache, since we want to know what it costs.

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
        warnings.simplefilter("ignore", NewHeadWarning)  # that is the idea
        model.fit(train[pairs], train["similarity"])
    print(f"{name}: fitted in {perf_counter() - start:.0f} s", flush=True)
    predicted[name] = model.predict(test[pairs])
    agreement[name] = spearmanr(predicted[name], test["similarity"]).statistic
    print(f"  Spearman correlation with people: {agreement[name]:.3f}", flush=True)

# %%
# What a pair costs
# -----------------
#
# If each text is in one pair only, the bi-encoder reads two texts where the cross-encoder reads one
# pair. But if each of 40 texts is compared with each of 40 others, then the bi-encoder reads 80
# texts, and the cross-encoder 1,600 pairs.

some = test.drop_duplicates("first").drop_duplicates("second").head(40)
grid = pd.merge(some["first"], some["second"], how="cross")
cost = {}
for name, model in models.items():
    cost[name] = []
    for asked in (test[pairs], grid):
        start = perf_counter()
        model.predict(asked)
        cost[name].append(1000 * (perf_counter() - start) / len(asked))
    print(f"{name:<14} ms per pair: {cost[name][0]:.2f}, in a grid: {cost[name][1]:.2f}")

# %%
# The picture
# -----------
#
# Each point is a pair, and the line is the median of pairs with like ratings.

fig = plt.figure(figsize=(14, 4.8), layout="constrained")
axes = fig.subplots(1, 3, width_ratios=[1, 1, 0.9])
# The colours of Okabe and Ito, which colour-blind readers can tell apart.
colors = {"Bi-encoder": "#0072B2", "Cross-encoder": "#D55E00"}
units = {"Bi-encoder": "Cosine of the vectors", "Cross-encoder": "Predicted similarity"}
for ax, name in zip(axes, models, strict=False):
    rated = test["similarity"]
    ax.scatter(rated, predicted[name], s=12, color=colors[name], alpha=0.35, linewidths=0)
    medians = pd.Series(predicted[name]).groupby((2 * rated).round() / 2).median()
    ax.plot(medians.index, medians, color="black", lw=2, marker="o", ms=4)
    ax.set_title(f"{name}: Spearman {agreement[name]:.3f}", fontsize=14)
    ax.set_xlabel("Similarity rated by people", fontsize=12)
    ax.set_ylabel(units[name], fontsize=12)

ax = axes[2]
places = np.arange(2)
for shift, (name, milliseconds) in zip([-0.2, 0.2], cost.items(), strict=True):
    bars = ax.bar(places + shift, milliseconds, width=0.36, color=colors[name], label=name)
    ax.bar_label(bars, fmt="%.2g", padding=2, fontsize=12)
ax.set_yscale("log")
ax.set_ylim(top=8 * max(max(milliseconds) for milliseconds in cost.values()))
ax.set_xticks(places, ["each text in one pair", "40 texts by 40"], fontsize=12)
ax.set_ylabel("Milliseconds", fontsize=12)
ax.set_title("Cost of a pair", fontsize=14)
ax.legend(loc="upper left", frameon=False, fontsize=11)
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=11)
axes[2].tick_params(axis="x", labelsize=12, length=0)
fig.suptitle("Two texts apart, and two texts together: the STS benchmark", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "cross_encoder.png", dpi=150)
print(f"\nSee {output / 'cross_encoder.png'}")
plt.show()
