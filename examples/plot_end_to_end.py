"""
=============================================
How much of the model to train
=============================================

The encoder as it is with a new head, low-rank matrices beside its layers, or all of its weights: what do
they bring, how long do they take, how much memory?
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import perf_counter

import matplotlib.pyplot as plt
import pandas as pd
import psutil
from joblib.externals.loky import ProcessPoolExecutor

from sk_sentemb import FineTuner, SentenceClassifier

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
folder = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "banking77"
if not folder.is_dir():
    print(f"This example needs the questions of Banking77, and {folder} is not there.")
    print("Set SK_SENTEMB_DATA to a folder that holds banking77/train.csv and banking77/test.csv.")
    sys.exit(0)

# %%
# The questions
# -------------
#
# What do customers of a bank want? 77 intents, 10 questions of each to learn from, and 1,000 others to
# test on.

train = pd.read_csv(folder / "train.csv").groupby("category").head(10)
test = pd.read_csv(folder / "test.csv").sample(1000, random_state=0)
print(f"{len(train)} questions to learn from, of {train['category'].nunique()} intents")

# %%
# Three ways
# ----------
#
# A frozen encoder embeds each question once, and the head is solved for. LoRA trains a few
# low-rank matrices, which then become part of the weights. ``learning_rate`` is that of the encoder, and
# ``head_learning_rate`` that of the head.

ways = {
    "frozen": FineTuner(trainable="head"),
    "LoRA": FineTuner(lora_rank=16, learning_rate=1e-3, epochs=8, dtype="auto", random_state=0),
    "full": FineTuner(learning_rate=1e-4, epochs=8, dtype="auto", random_state=0),
}


# %%
# Beside the encoder's weights, training keeps a copy of each weight that changes, its gradient, and the
# two averages of AdamW: sixteen bytes for each in float32. Those of the head are few. Of the table of
# token vectors, half of the weights of this small model, only the rows of words that occur are trained.
# And each layer keeps what it needs of a batch for the gradients, also where only LoRA's matrices learn.
#
# Each way has a process of its own, so that none finds the memory of another.


def peak_memory(stop):
    """Return the most megabytes that this process has until the event."""
    peak, process = 0, psutil.Process()
    while not stop.wait(0.02):
        peak = max(peak, process.memory_info().rss)
    return peak / 1e6


def fit_and_measure(tuner):
    """Return accuracy, seconds, and the memory beyond that of a process that has fitted before."""
    warm_up = FineTuner(epochs=1, max_steps=1, lora_rank=tuner.lora_rank, trainable=tuner.trainable)
    SentenceClassifier(fine_tuner=warm_up).fit(["ready", "steady"], [0, 1])
    model, stop = SentenceClassifier(fine_tuner=tuner), Event()
    before, begun = psutil.Process().memory_info().rss / 1e6, perf_counter()
    with ThreadPoolExecutor(1) as watcher:
        peak = watcher.submit(peak_memory, stop)
        try:
            model.fit(train["text"], train["category"])
        finally:
            stop.set()
    seconds = perf_counter() - begun
    accuracy = model.score(test["text"], test["category"])
    return {"accuracy": accuracy, "seconds": seconds, "memory": peak.result() - before}


rows = []
for name, tuner in ways.items():
    with ProcessPoolExecutor(1) as process:
        row = process.submit(fit_and_measure, tuner).result()
    rows.append({"way": name, **row})
    print("{way:<8} accuracy {accuracy:.3f}, {seconds:.0f} s, {memory:.0f} MB".format(**rows[-1]))
found = pd.DataFrame(rows).set_index("way")

# %%
# The picture
# -----------
#
# From ten questions for each intent, a head on the vectors of the pretrained model learns most, in
# seconds. With thousands of questions, or texts unlike those that the model was made of, training more
# of it pays.

fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
colors = ["#56B4E9", "#E69F00", "#009E73"]
titles = {
    "accuracy": "Accuracy on 1,000 questions",
    "seconds": "Seconds to fit",
    "memory": "Megabytes of memory to fit",
}
for ax, (column, title) in zip(axes, titles.items(), strict=True):
    bars = ax.bar(found.index, found[column], color=colors, width=0.6)
    digits = "{:.3f}" if column == "accuracy" else "{:.0f}"
    ax.bar_label(bars, fmt=digits, padding=3, fontsize=13)
    ax.set_title(title, fontsize=13)
    ax.tick_params(axis="x", labelsize=13, length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(y=0.12)
axes[0].set_ylim(0.6, 1)
fig.suptitle("How much of the model to train", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "end_to_end.png", dpi=150)
print(f"\nSee {output / 'end_to_end.png'}")
plt.show()
