"""
==================================
Fine-tuning, before and afterwards
==================================

A model that was trained on all kinds of text does not know which differences matter to you. Fine-tuning
shows it: with a class for each text, texts of one class move together and all others apart. It is a
parameter of :class:`~sk_sentemb.SentenceEmbedder`, and happens in ``fit``.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.datasets import load_banking77_sample
from sk_sentemb.display import TrainingCurveDisplay

# %%
# The texts
# ---------
#
# What does a customer of a bank want? Half of the messages are for training, the pictures show the rest.

banking = load_banking77_sample(as_frame=False)
texts = banking.data
intents = banking.target_names[banking.target]
X_train, X_test, y_train, y_test = train_test_split(
    texts, intents, test_size=0.5, stratify=intents, random_state=0
)

# %%
# With and without a FineTuner
# ----------------------------
#
# Some rows are held out, to see after each epoch how good the model is on texts that it does not learn
# from. Once it only learns the others by heart, training stops, and the best weights are taken.
# ``max_length`` cuts the texts, which costs little here and saves time.

tuner = FineTuner(validation_fraction=0.15, early_stopping=True, random_state=0)
embedders = {
    "before": SentenceEmbedder(max_length=64),
    "after": SentenceEmbedder(max_length=64, fine_tuner=tuner),
}
vectors, accuracy = {}, {}
for name, embedder in embedders.items():
    # The nearest neighbours have nothing but the vectors to go by.
    neighbors = KNeighborsClassifier(metric="cosine")
    neighbors.fit(embedder.fit(X_train, y_train).transform(X_train), y_train)
    vectors[name] = embedder.transform(X_test)
    accuracy[name] = neighbors.score(vectors[name], y_test)
    print(f"{name:<8} accuracy on {len(X_test)} other texts: {accuracy[name]:.3f}")

# %%
# The picture
# -----------
#
# On the left, how the loss went down. Beside it the texts that were not learnt from, laid out by t-SNE
# so that near is near.

fig = plt.figure(figsize=(13, 4.8), layout="constrained")
axes = fig.subplots(1, 3, width_ratios=[1, 1.1, 1.1])
TrainingCurveDisplay.from_estimator(embedders["after"], ax=axes[0])
axes[0].set_title("Training", fontsize=13)
# Intents that are alike have a dark and a light shade of one color.
pairs = [
    ("card_arrival", "card_delivery_estimate"),
    ("card_not_working", "declined_card_payment"),
    ("compromised_card", "lost_or_stolen_card"),
    ("exchange_charge", "exchange_rate"),
    ("pending_transfer", "transfer_timing"),
]
colors = {
    intent: plt.color_sequences["tab20"][2 * number + shade]
    for number, pair in enumerate(pairs)
    for shade, intent in enumerate(pair)
}
for ax, name in zip(axes[1:], embedders, strict=True):
    x, y = TSNE(metric="cosine", init="pca", random_state=0).fit_transform(vectors[name]).T
    for intent, color in colors.items():
        rows = y_test == intent
        ax.scatter(x[rows], y[rows], s=16, color=color, label=intent)
    ax.set_title(f"{name.capitalize()}: accuracy {accuracy[name]:.2f}", fontsize=13)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color("0.8")
handles, labels = axes[2].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside lower right", ncols=5, frameon=False)
fig.suptitle("Messages of bank customers, before and after fine-tuning", fontsize=16)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "fine_tuning.png", dpi=150)
print(f"\nSee {output / 'fine_tuning.png'}")
plt.show()
