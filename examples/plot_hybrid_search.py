"""
=============
Hybrid search
=============

An embedder finds documents by meaning, BM25 by the words that they share with the query: names, codes
and terms of a field. :class:`~sk_sentemb.SemanticRetriever` does both and learns from judgments how
much each counts. It is an estimator whose ``X`` is queries, so that a grid search compares the ways to
fuse scores on queries that were not used to learn weights.
"""

import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.linalg
import scipy.ndimage
import scipy.signal
from sklearn.model_selection import GridSearchCV, KFold

from sk_sentemb import SemanticRetriever, SentenceEmbedder
from sk_sentemb.cache import MemoryCache

# %%
# A collection
# ------------
#
# The documents are descriptions of functions of NumPy and SciPy, without their first line. The first
# line is the query, and the description it belongs to is the relevant document.

rows = {}
for module in [np.linalg, np.fft, scipy.linalg, scipy.ndimage, scipy.signal]:
    for name in module.__all__:
        summary, _, description = (inspect.getdoc(getattr(module, name)) or "").partition("\n")
        description = " ".join(description.split())[:300]
        if len(description) > 100:
            rows[f"{module.__name__}.{name}"] = (summary, description)
corpus = pd.DataFrame({"id": list(rows), "text": [text for _, text in rows.values()]})
queries = [summary for summary, _ in rows.values()]
judgments = [[name] for name in rows]
print(f"{len(corpus)} documents, such as {corpus.loc[0, 'text'][:80]!r} for {queries[0]!r}")

# %%
# Search over fusion and candidates
# ---------------------------------
#
# ``"weighted"`` has equal weights here. The cache shows that the search embeds each document once.

cache = MemoryCache()
retriever = SemanticRetriever(corpus, embedder=SentenceEmbedder(cache=cache))
grid = {"fusion": ["learned", "weighted", "rrf"], "n_candidates": [10, 30, 100]}
folds = KFold(5, shuffle=True, random_state=0)
search = GridSearchCV(retriever, grid, cv=folds, error_score="raise").fit(queries, judgments)
alone = GridSearchCV(retriever, {"lexical": [None]}, cv=folds).fit(queries, judgments)
n_texts = len(set(corpus["text"]) | set(queries))
print(f"texts embedded: {cache.statistics().misses}, distinct texts: {n_texts}")
print(f"best: {search.best_params_}, weights {search.best_estimator_.weights_}")

# %%
# nDCG@10 in folds
# ----------------

results = pd.DataFrame(search.cv_results_)
fig, ax = plt.subplots(layout="constrained")
for fusion, found in results.groupby("param_fusion"):
    sizes = found["param_n_candidates"].astype(int)
    error = found["std_test_score"] / np.sqrt(folds.n_splits)
    ax.errorbar(sizes, found["mean_test_score"], error, marker="o", capsize=3, label=fusion)
ax.axhline(alone.best_score_, color="black", linestyle="--", label="embedder alone")
ax.set(xscale="log", xlabel="n_candidates", ylabel="nDCG@10, mean of 5 folds")
ax.legend(title="fusion")
ax.spines[["top", "right"]].set_visible(False)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "hybrid_search.png", dpi=150)
print(f"See {output / 'hybrid_search.png'}")
plt.show()

# %%
# Results
# -------
#
# The best retriever was refitted on all queries. Its results are a data frame.

search.best_estimator_.search(["remove noise but keep edges"], n=3)
