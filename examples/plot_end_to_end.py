"""
======================================
Frozen encoder, LoRA, full fine-tuning
======================================

Train only a new head, low-rank adapters (LoRA), or all weights: how do accuracy, time and memory
compare?
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
    print(f"This example needs the Banking77 questions, and they are not in {folder}.")
    print("Set SK_SENTEMB_DATA to a folder that holds banking77/train.csv and banking77/test.csv.")
    sys.exit(0)

# %%
# The questions
# -------------
#
# What do customers of a bank want? There are 77 intents, with 10 training questions each, and 1,000
# test questions.

train = pd.read_csv(folder / "train.csv").groupby("category").head(10)
test = pd.read_csv(folder / "test.csv").sample(1000, random_state=0)
print(f"{len(train)} training questions, {train['category'].nunique()} intents")

# %%
# Three settings
# --------------
#
# A frozen encoder embeds each question once, and the optimal linear head is computed. LoRA trains
# low-rank adapters, which are merged into the weights at the end. ``learning_rate`` is that of the
# encoder, and ``head_learning_rate`` that of the head.

settings = {
    "frozen": FineTuner(trainable="head"),
    "LoRA": FineTuner(lora_rank=16, learning_rate=1e-3, epochs=8, dtype="auto", random_state=0),
    "full": FineTuner(learning_rate=1e-4, epochs=8, dtype="auto", random_state=0),
}


# %%
# In addition to the pretrained weights, training stores a copy of each trainable weight, its
# gradient, and the two moments of AdamW: sixteen bytes per weight in float32. The head has few
# weights. Of the token embeddings, half of the weights of this small model, only the rows of tokens
# that occur are trained. Each layer also stores activations for the backward pass, even if only
# LoRA adapters are trained.
#
# Each setting runs in its own process, so that memory can be compared.


def peak_memory(stop):
    """Return the peak memory of this process in megabytes until the event is set."""
    peak, process = 0, psutil.Process()
    while not stop.wait(0.02):
        peak = max(peak, process.memory_info().rss)
    return peak / 1e6


def fit_and_measure(tuner):
    """Return accuracy, seconds, and the memory added to that of a first, small fit."""
    warm_up = FineTuner(epochs=1, max_steps=1, lora_rank=tuner.lora_rank, trainable=tuner.trainable)
    SentenceClassifier(fine_tuner=warm_up).fit(["ready", "steady"], [0, 1])
    model, stop = SentenceClassifier(fine_tuner=tuner), Event()
    before, start = psutil.Process().memory_info().rss / 1e6, perf_counter()
    with ThreadPoolExecutor(1) as thread:
        peak = thread.submit(peak_memory, stop)
        try:
            model.fit(train["text"], train["category"])
        finally:
            stop.set()
    seconds = perf_counter() - start
    accuracy = model.score(test["text"], test["category"])
    return {"accuracy": accuracy, "seconds": seconds, "memory": peak.result() - before}


rows = []
for name, tuner in settings.items():
    with ProcessPoolExecutor(1) as process:
        row = process.submit(fit_and_measure, tuner).result()
    rows.append({"setting": name, **row})
    print(
        "{setting:<8} accuracy {accuracy:.3f}, {seconds:.0f} s, {memory:.0f} MB".format(**rows[-1])
    )
results = pd.DataFrame(rows).set_index("setting")

# %%
# Results
# -------
#
# With ten questions per intent, a head on the embeddings of the pretrained model is the most accurate,
# and it takes seconds. With thousands of questions, or texts unlike those of the pretrained model,
# training more weights is worthwhile.

fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
colors = ["#56B4E9", "#E69F00", "#009E73"]
titles = {
    "accuracy": "Accuracy on 1,000 questions",
    "seconds": "Seconds to fit",
    "memory": "Megabytes of memory to fit",
}
for ax, (column, title) in zip(axes, titles.items(), strict=True):
    bars = ax.bar(results.index, results[column], color=colors, width=0.6)
    digits = "{:.3f}" if column == "accuracy" else "{:.0f}"
    ax.bar_label(bars, fmt=digits, padding=3, fontsize=13)
    ax.set_title(title, fontsize=13)
    ax.tick_params(axis="x", labelsize=13, length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(y=0.12)
axes[0].set_ylim(0.6, 1)
fig.suptitle("Frozen encoder, LoRA, full fine-tuning", fontsize=16)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "end_to_end.png", dpi=150)
print(f"\nSee {output / 'end_to_end.png'}")
plt.show()
