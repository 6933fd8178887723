"""
===========================
Tables with columns of text
===========================

Customers review clothes: a title, a text, their age, the kind of garment. Would they recommend it?
A :class:`~sk_sentemb.SentenceEmbedder` takes its columns in a ``ColumnTransformer`` as a scaler
and an encoder take theirs, and the whole is cross-validated as one estimator.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_sentemb import SentenceEmbedder

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
file = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "clothing/reviews.csv"
if not file.is_file():
    print(f"This example needs the clothing reviews, and {file} is not there.")
    print("Set SK_SENTEMB_DATA to a folder that holds clothing/reviews.csv.")
    sys.exit(0)

# %%
# The reviews
# -----------
#
# The first 600, to be quick. ``Rating`` stays out: customers give stars and a recommendation in one
# breath, so the stars are the answer in another form, and where they are known nobody needs a
# prediction. Without them, the question is what the words and the table tell.

reviews = pd.read_csv(file, nrows=600)
recommended = reviews["Recommended IND"]
texts = ["Title", "Review Text"]
numbers = ["Age", "Positive Feedback Count"]
categories = ["Division Name", "Department Name", "Class Name"]

print(f"{len(reviews)} reviews, of which {recommended.mean():.0%} recommend the garment.")
for column in texts:
    print(f"  {column} is missing in {reviews[column].isna().sum()}.")

# %%
# The columns
# -----------
#
# One embedder takes both text columns and gives the vectors of each, side by side. Embedders are
# frozen: they learn nothing from the folds, so nothing leaks from one to another.
#
# Many reviews have no title. By default such a cell becomes zeros and a warning counts them, because
# a gap may be a mistake. Here it is none: customers need not write one, and we have just counted
# them. ``missing="empty"`` reads it as a text without words, whose vector is a place of its own, so
# that the classifier can also learn from the absence.
#
# The values of an embedding are small, since its length is one, and ages are not. The scaler behind
# the columns puts all on one footing, for the penalty on weights should not favour large units.

text = (SentenceEmbedder(missing="empty"), texts)
table = [
    ("passthrough", numbers),
    (OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False), categories),
]


def pipeline(*columns):
    """Return a classifier that reads these columns and no others."""
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    return make_pipeline(make_column_transformer(*columns), StandardScaler(), classifier)


models = {
    "table alone": pipeline(*table),
    "text alone": pipeline(text),
    "table and text": pipeline(*table, text),
}

# %%
# Cross-validation
# ----------------
#
# The area under the ROC curve: how often a review with a recommendation is ranked above one
# without. A coin toss gets 0.5, whatever the share of recommendations.

folds = StratifiedKFold(3)
print("\nArea under the ROC curve, 3 folds")
scores = {}
for name, model in models.items():
    print(f"  {name:<16}", end="", flush=True)
    scores[name] = cross_val_score(model, reviews, recommended, cv=folds, scoring="roc_auc")
    print(f"{scores[name].mean():.3f} ± {scores[name].std():.3f}", flush=True)

# %%
# What is in the text
# -------------------
#
# Who the customers are and what they bought says little about whether they are content; what they
# write says nearly all. The table does no harm beside the text, and where it does know something,
# the same pipeline uses it.

# Drawn from the bottom up.
names = list(scores)[::-1]
means = [scores[name].mean() for name in names]
spreads = [scores[name].std() for name in names]

fig, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
# The colours of Okabe and Ito, which colour-blind readers can tell apart.
ax.barh(names, means, height=0.6, color=["#009E73", "#0072B2", "#E69F00"])
ax.errorbar(means, names, xerr=spreads, fmt="none", ecolor="#333333", elinewidth=1.5, capsize=5)
for name, mean, spread in zip(names, means, spreads, strict=True):
    ax.text(mean + spread + 0.015, name, f"{mean:.2f}", va="center", fontsize=14)
ax.axvline(0.5, color="#333333", linestyle=":", lw=1.5)
ax.text(0.5, 1.01, "a coin toss", transform=ax.get_xaxis_transform(), ha="center", fontsize=12)
ax.set_xlim(0, 1)
ax.set_xlabel("Area under the ROC curve (mean and standard deviation of 3 folds)", fontsize=12)
ax.tick_params(axis="x", labelsize=12)
ax.tick_params(axis="y", labelsize=14, length=0)
ax.spines[["top", "right", "left"]].set_visible(False)
fig.suptitle("Would the customer recommend it?", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "tabular_and_text.png", dpi=150, bbox_inches="tight", pad_inches=0.2)
print(f"\nSee {output / 'tabular_and_text.png'}")
plt.show()
