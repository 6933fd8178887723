"""
============================
Before and after fine-tuning
============================

A pretrained model does not know which differences between texts matter to you. Fine-tuning with a
label for each text moves texts of the same class closer together and others apart. It is a
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
# What does a customer of a bank want? Half of the messages are used for training, the others for
# testing.

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
# A part of the training rows is held out to validate the model after each epoch. Training stops
# when the validation loss stops improving, and the best weights are restored. ``max_length``
# truncates texts, which costs little here and saves time.

tuner = FineTuner(validation_fraction=0.15, early_stopping=True, random_state=0)
embedders = {
    "before": SentenceEmbedder(max_length=64),
    "after": SentenceEmbedder(max_length=64, fine_tuner=tuner),
}
embeddings, accuracy = {}, {}
for name, embedder in embedders.items():
    # Nearest neighbors depend on nothing but the embeddings.
    neighbors = KNeighborsClassifier(metric="cosine")
    neighbors.fit(embedder.fit(X_train, y_train).transform(X_train), y_train)
    embeddings[name] = embedder.transform(X_test)
    accuracy[name] = neighbors.score(embeddings[name], y_test)
    print(f"{name:<8} accuracy on {len(X_test)} test texts: {accuracy[name]:.3f}")

# %%
# Results
# -------
#
# The training curve, and the test texts before and after fine-tuning, arranged by t-SNE.

fig = plt.figure(figsize=(13, 4.8), layout="constrained")
axes = fig.subplots(1, 3, width_ratios=[1, 1.1, 1.1])
TrainingCurveDisplay.from_estimator(embedders["after"], ax=axes[0])
axes[0].set_title("Training", fontsize=13)
# Similar intents have a dark and a light shade of one color.
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
    x, y = TSNE(metric="cosine", init="pca", random_state=0).fit_transform(embeddings[name]).T
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
