import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset
from tests.helpers.tiny_models import TINY

# What a format could take for something else than text.
TEXTS = [
    "the ferry",
    "007",
    "true",
    "1.50",
    "NA",
    "null",
    "2020-01-01",
    "",
    'say "hi",\nand go',
    "é",
]


TABLE = pa.table(
    {
        "id": pa.array(range(len(TEXTS))),
        "text": TEXTS,
        "label": ["a", "b"] * (len(TEXTS) // 2),
        "score": np.arange(len(TEXTS)) / 4,
    }
)


def embed(source, target, column="text", model=TINY, *, params=(), **options):
    embedder = SentenceEmbedder(model, **dict(params))
    return embed_dataset(embedder, source, target, column=column, progress=False, **options)


def vectors_of(X, model=TINY, **params):
    return SentenceEmbedder(model, **params).fit_transform(X)


def read(target):
    return pq.read_table(target)


def embedding(target):
    column = read(target)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def shard_sizes(target):
    return [pq.read_metadata(file).num_rows for file in sorted(target.glob("*.parquet"))]


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


def write_json(table, file):
    write_text(file, "".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))


def write_text(file, text):
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "wt", encoding="utf-8", newline="") as stream:
        stream.write(text)
