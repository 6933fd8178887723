"""
=============================================
Text and tables: features first or end to end
=============================================

Customers review clothes: a title, a text, and a table about them and the garment. Would they
recommend it? Four models are compared: the table alone, the text alone, both in a
``ColumnTransformer``, and one network that is trained on both together.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceClassifier
from sk_sentemb.preprocessing import describe_columns, make_multimodal_transformer

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
file = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "clothing/reviews.csv"
if not file.is_file():
    print(f"This example needs the clothing reviews, and {file} does not exist.")
    print("Set SK_SENTEMB_DATA to a folder that holds clothing/reviews.csv.")
    sys.exit(0)

# %%
# Roles of columns
# ----------------
#
# Which columns are text, categories, numbers? The roles are inferred from the cells. The rating is
# left out, because customers give it together with the recommendation.

reviews = pd.read_csv(file, nrows=600)
recommended = reviews["Recommended IND"]
X = reviews.drop(columns=["Recommended IND", "Rating"])
print(describe_columns(X)[["role", "words", "unique", "missing"]].round(2))

# %%
# Features first
# --------------
#
# ``make_multimodal_transformer`` creates a ``ColumnTransformer`` with an embedder for each text
# column, one-hot categories and scaled numbers. Its entries can be inspected, searched over and
# replaced. The texts are embedded once for all models and folds.

both = make_multimodal_transformer(X)
print([name for name, _, _ in both.transformers])


def classifier(features):
    """Return logistic regression on these features."""
    return make_pipeline(features, LogisticRegression(max_iter=2000))


# %%
# End to end
# ----------
#
# ``SentenceClassifier`` has a head on the embeddings of the texts and the table features, and
# trains it together with the transformer. Three epochs over 400 reviews are little training: with
# more reviews, or texts that differ from those of the pretrained model, it gains more.

end_to_end = SentenceClassifier(
    max_length=96, fine_tuner=FineTuner(epochs=3, dtype="auto", random_state=0)
)
models = {
    "table": classifier(make_multimodal_transformer(X, text=[])),
    "text": classifier(make_multimodal_transformer(X, numeric=[], categorical=[])),
    "both, features first": classifier(both),
    "both, end to end": end_to_end,
}

# %%
# Cross-validation
# ----------------
#
# The metric is the area under the ROC curve: the probability that a review with a recommendation is
# ranked above one without. Random predictions have 0.5.

folds = StratifiedKFold(3, shuffle=True, random_state=0)
scores = {}
for name, model in models.items():
    scores[name] = cross_val_score(model, X, recommended, cv=folds, scoring="roc_auc")
    print(f"{name:<24} {scores[name].mean():.3f} ± {scores[name].std():.3f}", flush=True)

# %%
# Results
# -------

names = list(scores)[::-1]  # drawn from the bottom up
means = [scores[name].mean() for name in names]
deviations = [scores[name].std() for name in names]

fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
colors = ["#CC79A7", "#009E73", "#0072B2", "#E69F00"]
ax.barh(names, means, height=0.6, color=colors)
ax.errorbar(means, names, xerr=deviations, fmt="none", ecolor="#333333", elinewidth=1.5, capsize=5)
for name, mean, deviation in zip(names, means, deviations, strict=True):
    ax.text(mean + deviation + 0.012, name, f"{mean:.2f}", va="center", fontsize=14)
ax.axvline(0.5, color="#333333", linestyle=":", lw=1.5)
ax.text(0.5, 1.01, "random", transform=ax.get_xaxis_transform(), ha="center", fontsize=12)
ax.set_xlim(0.3, 1.05)
ax.set_xlabel("Area under the ROC curve (mean and standard deviation of 3 folds)", fontsize=12)
ax.tick_params(axis="y", labelsize=14, length=0)
ax.spines[["top", "right", "left"]].set_visible(False)
fig.suptitle("Would the customer recommend it?", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "multimodal.png", dpi=150, bbox_inches="tight", pad_inches=0.2)
print(f"\nSee {output / 'multimodal.png'}")
plt.show()
