"""
=====================================
A grid search at the price of vectors
=====================================

A search asks for the vectors of the same texts again and again: for each candidate, in each fold, for
fitting and for scoring. The cache of :class:`~sk_sentemb.SentenceEmbedder` embeds each text once, so
that the search costs what it would cost on vectors made beforehand, and the pipeline stays whole:
what is scored is what is deployed.
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
# What does a customer of a bank want? 200 messages, 3 folds, 4 values of `C`, and the best candidate
# once more on all texts.

banking = load_banking77_sample()
texts = banking.data[:200]
intents = banking.target_names[banking.target[:200]]
grid = {"logisticregression__C": [0.1, 1, 10, 100]}


def timed_search(cache):
    """Return the fitted search and how long it took."""
    pipeline = make_pipeline(SentenceEmbedder(cache=cache), LogisticRegression(max_iter=1000))
    search = GridSearchCV(pipeline, grid, cv=3)
    start = perf_counter()
    search.fit(texts, intents)
    return search, perf_counter() - start


# The model is loaded beforehand, so that all three start alike.
SentenceEmbedder().fit(texts)

# %%
# Without a cache, with one, and once more
# ----------------------------------------
#
# The default, ``cache="memory"``, is one cache for the whole process. A cache of its own can be
# counted. Its second search is over the number of dimensions, too: they are cut after the cache, so
# that nothing is embedded at all.

# Without a cache, all that is asked for is embedded.
n_asked = len(texts) * (len(grid["logisticregression__C"]) * 3 + 1)
searches = {"cache=None": timed_search(None)}
cache = MemoryCache()
searches['cache="memory"'] = timed_search(cache)
n_embedded = {"cache=None": n_asked, 'cache="memory"': cache.statistics().misses}
grid["sentenceembedder__truncate_dim"] = [None, 192]
searches["again, with\ntruncate_dim"] = timed_search(cache)
n_embedded["again, with\ntruncate_dim"] = cache.statistics().misses - n_embedded['cache="memory"']

for name, (search, seconds) in searches.items():
    print(
        f"{name.replace(chr(10), ' '):<26} {n_embedded[name]:>5} texts embedded   {seconds:6.1f} s   "
        f"accuracy {search.best_score_:.3f}"
    )
print(f"\n{cache.statistics().to_frame().to_string(index=False, max_colwidth=40)}")

# %%
# The picture
# -----------

fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
colors = ["#8C8C8C", "#0072B2", "#009E73"]
bars = axes[0].bar(n_embedded.keys(), n_embedded.values(), color=colors)
axes[0].bar_label(bars, fmt="{:,.0f}", fontsize=12)
axes[0].set_title(f"texts embedded ({len(texts)} texts)", fontsize=13)
bars = axes[1].bar(searches.keys(), [seconds for _, seconds in searches.values()], color=colors)
axes[1].bar_label(bars, fmt="{:.1f}", fontsize=12)
axes[1].set_title("seconds", fontsize=13)
for ax in axes:
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_yticks([])
fig.suptitle("A grid search embeds each text once", fontsize=16)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "grid_search.png", dpi=150)
print(f"\nSee {output / 'grid_search.png'}")
plt.show()
