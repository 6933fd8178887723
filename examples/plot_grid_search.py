"""
==================================
Grid searches embed each text once
==================================

A grid search needs the embeddings of the same texts repeatedly: for each candidate, in each fold,
for fitting and for scoring. The cache of :class:`~sk_sentemb.SentenceEmbedder` embeds each text
once, so that the search takes as long as one on precomputed embeddings. The pipeline is evaluated
as a whole, as it is deployed.
"""

from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import MemoryCache
from sk_sentemb.datasets import load_banking77_sample

# %%
# The search
# ----------
#
# What does a customer of a bank want? The search has 200 messages, 3 folds and 4 values of `C`, and
# refits the best candidate on all messages.

banking = load_banking77_sample()
texts = banking.data[:200]
intents = banking.target_names[banking.target[:200]]
grid = {"logisticregression__C": [0.1, 1, 10, 100]}


def timed_search(cache):
    """Return the fitted search and its duration in seconds."""
    pipeline = make_pipeline(SentenceEmbedder(cache=cache), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipeline, grid, cv=3)
    start = perf_counter()
    search.fit(texts, intents)
    return search, perf_counter() - start


# Load the model first, so that all three searches start equally.
SentenceEmbedder().fit(texts)

# %%
# Without a cache, with a cache, with a filled cache
# --------------------------------------------------
#
# The default, ``cache="memory"``, is one cache for the whole process. A separate cache is used here
# to count its entries. The third search also covers the number of dimensions: embeddings are
# truncated after the cache, so that nothing is embedded at all.

# Without a cache, every requested text is embedded.
n_requested = len(texts) * (len(grid["logisticregression__C"]) * 3 + 1)
searches = {"cache=None": timed_search(None)}
cache = MemoryCache()
searches['cache="memory"'] = timed_search(cache)
n_embedded = {"cache=None": n_requested, 'cache="memory"': cache.statistics().misses}
grid["sentenceembedder__truncate_dim"] = [None, 192]
searches["filled cache,\ntruncate_dim"] = timed_search(cache)
n_embedded["filled cache,\ntruncate_dim"] = cache.statistics().misses - n_embedded['cache="memory"']

for name, (search, seconds) in searches.items():
    print(
        f"{name.replace(chr(10), ' '):<26} {n_embedded[name]:>5} texts embedded   {seconds:6.1f} s   "
        f"accuracy {search.best_score_:.3f}"
    )
print(f"\n{cache.statistics().to_frame().to_string(index=False, max_colwidth=40)}")

# %%
# Results
# -------

fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
colors = ["#8C8C8C", "#0072B2", "#009E73"]
bars = axes[0].bar(n_embedded.keys(), n_embedded.values(), color=colors)
axes[0].bar_label(bars, fmt="{:,.0f}", fontsize=12)
axes[0].set_title(f"Texts embedded ({len(texts)} distinct texts)", fontsize=13)
bars = axes[1].bar(searches.keys(), [seconds for _, seconds in searches.values()], color=colors)
axes[1].bar_label(bars, fmt="{:.1f}", fontsize=12)
axes[1].set_title("Seconds", fontsize=13)
for ax in axes:
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_yticks([])
fig.suptitle("With the cache, a grid search embeds each text once", fontsize=16)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "grid_search.png", dpi=150)
print(f"\nSee {output / 'grid_search.png'}")
plt.show()
