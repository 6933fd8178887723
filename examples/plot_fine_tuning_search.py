"""
==================================
Grid search over training settings
==================================

Which learning rate, how many epochs? :class:`~sk_sentemb.FineTuner` is a parameter of
:class:`~sk_sentemb.SentenceEmbedder` and has parameters itself, so that
:class:`~sklearn.model_selection.GridSearchCV` can search over them. Each candidate is trained in
each fold on the training rows of that fold only: the test texts of a fold are seen by neither the
model nor the classifier.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample

# %%
# The search
# ----------
#
# What does a customer of a bank want? The first candidate is the frozen model, as a baseline for
# fine-tuning.

banking = load_banking77_sample()
texts = banking.data[:120]
intents = banking.target_names[banking.target[:120]]
rates = [1e-5, 5e-5, 2e-4]
epochs = [1, 3]

pipeline = make_pipeline(SentenceEmbedder(max_length=64), LogisticRegression(max_iter=1000))
search = GridSearchCV(
    pipeline,
    [
        {"sentenceembedder__fine_tuner": [None]},
        {
            "sentenceembedder__fine_tuner": [FineTuner(random_state=0)],
            "sentenceembedder__fine_tuner__learning_rate": rates,
            "sentenceembedder__fine_tuner__epochs": epochs,
        },
    ],
    cv=3,
)
search.fit(texts, intents)
print(search.best_params_)

# %%
# Results
# -------
#
# More epochs take more time; the accuracy shows whether they are worth it. With few texts a model
# can overfit, so the frozen model is part of the comparison.

frozen, *tuned = search.cv_results_["mean_test_score"]
seconds = search.cv_results_["mean_fit_time"]
# Candidates are in alphabetical order of their parameters: the last one, learning_rate, changes
# fastest.
scores = [tuned[start : start + len(rates)] for start in range(0, len(tuned), len(rates))]

fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=[1.2, 1])
image = axes[0].imshow(scores, cmap="cividis", aspect="auto")
for row, values in enumerate(scores):
    for column, value in enumerate(values):
        dark = image.norm(value) < 0.5
        color = "white" if dark else "black"
        axes[0].text(column, row, f"{value:.3f}", ha="center", va="center", color=color, size=12)
axes[0].set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
axes[0].set_yticks(range(len(epochs)), [str(number) for number in epochs])
axes[0].set_xlabel("learning_rate")
axes[0].set_ylabel("epochs")
axes[0].set_title(f"Accuracy (frozen: {frozen:.3f})", fontsize=13)

per_fit = seconds[1:].reshape(len(epochs), len(rates)).mean(axis=1)
names = ["frozen", *(f"{number} epoch{'s' * (number > 1)}" for number in epochs)]
bars = axes[1].bar(names, [seconds[0], *per_fit], color=["#8C8C8C", *["#0072B2"] * len(epochs)])
axes[1].bar_label(bars, fmt="{:.1f}", fontsize=12)
axes[1].set_title("Seconds per fit", fontsize=13)
axes[1].set_yticks([])
axes[1].spines[["top", "right", "left"]].set_visible(False)
fig.suptitle(f"Grid search over training settings: {len(texts)} messages, 3 folds", fontsize=16)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "fine_tuning_search.png", dpi=150)
print(f"\nSee {output / 'fine_tuning_search.png'}")
plt.show()
