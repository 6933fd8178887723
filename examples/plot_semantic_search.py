"""
===============
Semantic search
===============

Which customers found that a fabric is too thin? They write "sheer", "see-through" or "you need a
camisole", so a search for words misses many of them. :class:`~sk_sentemb.SemanticIndex` embeds
documents once and finds those whose meaning is nearest to a question, under any filter.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import matplotlib.pyplot as plt
import pandas as pd

from sk_sentemb import SemanticIndex
from sk_sentemb.display import EmbeddingMapDisplay

# Run from the repository's root, or from the folder of this file.
root = Path("." if Path("examples").is_dir() else "..")
file = Path(os.environ.get("SK_SENTEMB_DATA", root / "../shared/data")) / "clothing/reviews.csv"
if not file.is_file():
    print(f"This example needs the clothing reviews, and {file} does not exist.")
    print("Set SK_SENTEMB_DATA to a folder that holds clothing/reviews.csv.")
    sys.exit(0)

# %%
# Index
# -----
#
# The documents are the sentences of reviews, which are about one thing, while a review is about many.
# The columns of the data frame are kept, for filters and results.

reviews = pd.read_csv(file, index_col=0).dropna(subset=["Review Text", "Department Name"])
sentences = reviews["Review Text"].str.split(r"(?<=[.!?])\s+", regex=True).explode()
sentences = sentences[sentences.str.split().str.len() >= 4]
columns = ["Rating", "Department Name", "Class Name"]
documents = sentences.to_frame("text").join(reviews[columns]).reset_index(names="review")
index = SemanticIndex(n_neighbors=5).fit(documents)
print(f"{len(reviews)} reviews, {index.n_samples_fit_} sentences, index={index.index_!r}")

# %%
# Search
# ------
#
# The result is a data frame: for each query, the nearest documents with their rank and score.


def show(found):
    """Print the sentences that were found."""
    for row in found.to_dict("records"):
        print(f"  {row['score']:.2f}  {row['Rating']} stars  {row['text'][:90]}")


queries = [
    "you can see through the fabric",
    "too tight in the shoulders",
    "something for a wedding",
    "keeps me warm in winter",
]
found = index.search(queries)
for row, query in enumerate(queries):
    print(f"\n{query}")
    show(found[found["query"] == row].head(3))

# %%
# Filters
# -------
#
# Embeddings know what a sentence is about, and hardly whether it says so or denies it: "not see-through"
# is near to the first query, too. The stars tell both apart.
#
# ``where`` takes values of columns, a function of the documents or a mask. The search considers
# only these documents, so that a narrow filter gives as many results as a wide one.

print(f"\n{queries[0]}: at most two stars")
show(index.search(queries[:1], n=3, where=lambda documents: documents["Rating"] <= 2))
print(f"\n{queries[2]}: skirts and pants")
show(index.search(queries[2:3], n=3, where={"Class Name": ["Skirts", "Pants"]}))

# %%
# Save and load
# -------------
#
# A saved index is a folder. Its embeddings are memory-mapped on load, and the fingerprint of the
# model is compared.

with TemporaryDirectory() as folder:
    index.save(Path(folder) / "reviews")
    start = perf_counter()
    loaded = SemanticIndex.load(Path(folder) / "reviews")
    seconds = perf_counter() - start
    same = loaded.search(queries).equals(found)
    print(f"\nLoaded in {seconds:.2f} s; the results are {'the same' if same else 'different'}.")
    del loaded

# %%
# A map
# -----
#
# The map shows all sentences in gray, and in color the 30 that each query finds. Most of them are next
# to each other; those that are not say the same of another garment.

more = [*queries, "it shrank in the wash", "the color is not as in the photo", "it has pockets"]
found = index.search(more, n=30).sort_values("score", ascending=False).drop_duplicates("id")
query_of_id = dict(zip(found["id"], found["query"], strict=True))
labels = [more[query_of_id[i]] if i in query_of_id else None for i in index.ids_]

fig, ax = plt.subplots(figsize=(11, 8.5), layout="constrained")
display = EmbeddingMapDisplay.from_embeddings(
    index.embeddings_, labels, reducer="tsne", random_state=0, ax=ax, s=40
)
ax.set(xlabel="", ylabel="")
display.legend_.get_texts()[0].set_text("other sentences")
fig.suptitle(
    f"What seven queries find among {index.n_samples_fit_:,} sentences about clothes", fontsize=17
)

output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "semantic_search.png", dpi=150)
print(f"\nSee {output / 'semantic_search.png'}")
plt.show()
