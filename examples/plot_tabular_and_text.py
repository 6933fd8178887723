"""
========================
Tables with text columns
========================

Customers review clothes: a title, a text, their age, the type of garment. Would they recommend it?
A :class:`~sk_sentemb.SentenceEmbedder` transforms its columns in a ``ColumnTransformer``, like a
scaler or a one-hot encoder, and the pipeline is cross-validated as one estimator.
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
    print(f"This example needs the clothing reviews, and {file} does not exist.")
    print("Set SK_SENTEMB_DATA to a folder that holds clothing/reviews.csv.")
    sys.exit(0)

# %%
# The reviews
# -----------
#
# The first 600 reviews, to save time. ``Rating`` is left out: customers give it together with the
# recommendation, so it would reveal the target.

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
# One embedder transforms both text columns and concatenates their embeddings. It is frozen, so
# nothing leaks from one fold to another.
#
# Many reviews have no title. By default, a missing value becomes a vector of zeros, and a warning
# reports the number of cells. Here, missing titles are expected: ``missing="empty"`` uses the
# embedding of the empty string, so that the classifier can also learn from the absence.
#
# The values of an embedding are small, because it has unit norm, and ages are large. The scaler
# gives all features the same scale, so that the penalty on the coefficients affects them equally.

text = (SentenceEmbedder(missing="empty"), texts)
table = [
    ("passthrough", numbers),
    (OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False), categories),
]


def pipeline(*columns):
    """Return a classifier on these columns."""
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
# The metric is the area under the ROC curve: the probability that a review with a recommendation is
# ranked above one without. Random predictions have 0.5, whatever the fraction of recommendations.

folds = StratifiedKFold(3)
print("\nArea under the ROC curve, 3 folds")
scores = {}
for name, model in models.items():
    print(f"  {name:<16}", end="", flush=True)
    scores[name] = cross_val_score(model, reviews, recommended, cv=folds, scoring="roc_auc")
    print(f"{scores[name].mean():.3f} ± {scores[name].std():.3f}", flush=True)

# %%
# Results
# -------
#
# The table says little about whether customers recommend a garment; the text says nearly all.
# Adding the table to the text does no harm here, and the same pipeline uses it where it is
# informative.

names = list(scores)[::-1]  # drawn from the bottom up
means = [scores[name].mean() for name in names]
deviations = [scores[name].std() for name in names]

fig, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
# The colors of Okabe and Ito, which color-blind readers can distinguish.
ax.barh(names, means, height=0.6, color=["#009E73", "#0072B2", "#E69F00"])
ax.errorbar(means, names, xerr=deviations, fmt="none", ecolor="#333333", elinewidth=1.5, capsize=5)
for name, mean, deviation in zip(names, means, deviations, strict=True):
    ax.text(mean + deviation + 0.015, name, f"{mean:.2f}", va="center", fontsize=14)
ax.axvline(0.5, color="#333333", linestyle=":", lw=1.5)
ax.text(0.5, 1.01, "random", transform=ax.get_xaxis_transform(), ha="center", fontsize=12)
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
