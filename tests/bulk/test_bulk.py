import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import EmbeddedDataset, embed_dataset
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.exceptions import MissingTextWarning, TruncationWarning
from tests.helpers.tiny_models import OTHER, PROMPTED, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

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


def quoted(cell, delimiter):
    """Write a cell of CSV: None is nothing at all, the empty text a pair of quotes."""
    text = "" if cell is None else str(cell)
    needs_quotes = cell == "" or any(mark in text for mark in '"\n\r' + delimiter)
    return '"' + text.replace('"', '""') + '"' if needs_quotes else text


def write_csv(table, file, delimiter=","):
    rows = [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
    lines = [delimiter.join(quoted(cell, delimiter) for cell in row) for row in rows]
    write_text(file, "".join(f"{line}\n" for line in lines))


def write_json(table, file):
    write_text(file, "".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))


def write_text(file, text):
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "wt", encoding="utf-8", newline="") as stream:
        stream.write(text)


WRITERS = {
    "a.parquet": pq.write_table,
    "a.csv": write_csv,
    "a.csv.gz": write_csv,
    "a.tsv": lambda table, file: write_csv(table, file, "\t"),
    "a.jsonl": write_json,
    "a.ndjson": write_json,
    "a.json": write_json,
    "a.jsonl.gz": write_json,
}


@pytest.fixture
def source(tmp_path):
    pq.write_table(TABLE, tmp_path / "source.parquet")
    return tmp_path / "source.parquet"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


# What is read


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.MissingTextWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, target, name):
    table = TABLE.set_column(1, "text", pa.array([*TEXTS[:-1], None]))
    WRITERS[name](table, tmp_path / name)
    with pytest.warns(MissingTextWarning, match="1 of 10 cells"):
        done = embed(tmp_path / name, target, keep="all", rows_per_shard=4)
    assert done == EmbeddedDataset(target, 10, 32, n_resumed=0, n_truncated=0, n_missing=1)
    found = read(target)
    assert found.drop_columns("embedding").cast(table.schema).equals(table)
    assert found.schema.field("id").type == pa.int64()
    assert found.schema.field("score").type == pa.float64()
    assert shard_sizes(target) == [4, 4, 2]
    assert_same_rows(embedding(target), vectors_of(table["text"]))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_files_are_read_in_the_order_of_their_paths_and_a_list_in_its_own(tmp_path, suffix):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, rows in {"b": TABLE[:3], "a/c": TABLE[3:4], "a/b": TABLE[4:9]}.items():
        file = folder / f"{name}{suffix}"
        file.parent.mkdir(exist_ok=True)
        WRITERS[f"a{suffix}"](rows, file)
    (folder / "README.md").write_text("not data")
    (folder / "_SUCCESS").write_text("")
    (folder / f".hidden{suffix}").write_text("not data")
    in_order = [4, 5, 6, 7, 8, 3, 0, 1, 2]
    files = [folder / f"{name}{suffix}" for name in ("b", "a/b")]
    for i, source in enumerate([folder, str(folder / "**" / f"*{suffix}"), files]):
        embed(source, tmp_path / f"{i}", keep=["id"], rows_per_shard=2)
        ids = read(tmp_path / f"{i}")["id"].to_pylist()
        assert ids == ([0, 1, 2, 4, 5, 6, 7, 8] if source is files else in_order)
        assert_same_rows(embedding(tmp_path / f"{i}"), vectors_of([TEXTS[j] for j in ids]))


def test_a_dataset_is_read_as_it_was_set_up(tmp_path, target, source):
    dataset = ds.dataset(source).filter(ds.field("id") > 4)
    embed(dataset, target, keep=["id"], rows_per_shard=3)
    assert read(target)["id"].to_pylist() == [5, 6, 7, 8, 9]
    assert_same_rows(embedding(target), vectors_of(TEXTS[5:]))
    assert embed(dataset, target, keep=["id"], rows_per_shard=3).n_resumed == 5
    with pytest.raises(ValueError, match="source has changed"):
        embed(ds.dataset(source), target, keep=["id"], rows_per_shard=3)


def test_a_dataset_without_files(target):
    embed(ds.dataset(TABLE), target, keep=["id"], rows_per_shard=3)
    assert_same_rows(embedding(target), vectors_of(TEXTS))


def test_columns_are_embedded_side_by_side(target):
    table = pa.table({"title": TEXTS, "body": [None, *TEXTS[1:]]})
    done = embed(ds.dataset(table), target, ["title", "body"], params={"missing": "nan"})
    assert done.n_dimensions == 64
    assert_same_rows(embedding(target), vectors_of(table, missing="nan"))
    assert np.isnan(embedding(target)[0, 32:]).all()


def test_types_of_kept_columns_stay(target):
    table = pa.table(
        {
            "text": pa.array(["?", "!"], pa.large_string()),
            "tags": [["a"], ["b", "c"]],
            "day": pa.array([0, 1], pa.date32()),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "flag": [True, None],
        }
    )
    embed(ds.dataset(table), target, keep="all")
    found = read(target).drop_columns("embedding")
    assert found.replace_schema_metadata().equals(table)


def test_text_of_parquet_may_be_categories_or_numbers(target, tmp_path):
    table = pa.table({"kind": pa.array(["x", "y", "x"]).dictionary_encode(), "year": [1987, 3, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    embed(tmp_path / "a.parquet", target, ["kind", "year"])
    assert_same_rows(embedding(target), vectors_of([["x", "1987"], ["y", "3"], ["x", "3"]]))


def test_strings_of_json_are_no_times(tmp_path, target):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "2020-01-01", "day": "2020-01-01"}\n' * 2)
    embed(file, target, keep=["day"])
    assert read(target)["day"].to_pylist() == ["2020-01-01"] * 2
    assert_same_rows(embedding(target), vectors_of(["2020-01-01"] * 2))


def test_a_format_for_names_that_do_not_tell(tmp_path, target):
    write_csv(TABLE, tmp_path / "data.txt")
    with pytest.raises(ValueError, match=r"data.txt' has none of the endings .*pass format="):
        embed(tmp_path / "data.txt", target)
    assert embed(tmp_path / "data.txt", target, format="csv").n_rows == 10


def test_long_rows_with_line_breaks_across_the_blocks_that_pyarrow_reads(tmp_path, target):
    text = ("x" * 99 + "\n") * 15_000
    write_csv(pa.table({"id": range(5), "text": [text] * 4 + ["?"]}), tmp_path / "a.csv")
    with pytest.warns(TruncationWarning, match="4 of 5 texts"):
        embed(tmp_path / "a.csv", target, keep=["id"])
    assert read(target)["id"].to_pylist() == [0, 1, 2, 3, 4]


# What is written


def test_a_shard_says_what_its_vectors_are(source, target):
    params = {"prompt_name": "query", "truncate_dim": 16, "max_length": 20, "pooling": "cls"}
    embed(source, target, model=PROMPTED, params=params, rows_per_shard=4)
    for file in target.glob("*.parquet"):
        schema = pq.read_schema(file)
        assert schema.field("embedding").type == pa.list_(pa.float32(), 16)
        said = json.loads(schema.metadata[b"sk_sentemb"])
        assert said["model"] == str(PROMPTED)
        assert said["fingerprint"] == SentenceEmbedder(PROMPTED).fit(["?"]).fingerprint_
        assert said["columns"] == ["text"]
        assert said["version"]
        found = [said[name] for name in ("prompt", "embedding_dim", "max_length", "pooling")]
        assert found == ["ferry: ", 16, 20, ["cls"]]


def test_pandas_polars_and_pyarrow_read_the_folder(source, target):
    embed(source, target, keep=["id"], rows_per_shard=4)
    expected = embedding(target)
    np.testing.assert_array_equal(np.stack(pd.read_parquet(target)["embedding"]), expected)
    frame = pl.read_parquet(target / "*.parquet")
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), expected)
    assert frame.schema["embedding"] == pl.Array(pl.Float32, 32)
    assert ds.dataset(target).count_rows() == 10


def test_an_array_with_its_kept_columns_beside_it(source, tmp_path):
    done = embed(source, tmp_path / "out.npy", keep=["label", "id"], rows_per_shard=3)
    assert done.path == tmp_path / "out.npy"
    array = np.load(done.path, mmap_mode="r")
    assert array.dtype == np.float32
    assert_same_rows(array, vectors_of(TEXTS))
    kept = pq.read_table(tmp_path / "out.parquet")
    assert kept.select(["id", "label"]).equals(TABLE.select(["id", "label"]))
    assert kept.column_names == ["label", "id"]
    assert b"sk_sentemb" in kept.schema.metadata
    assert not (tmp_path / "out.npy.part").exists()


def test_an_array_alone(source, tmp_path):
    embed(source, tmp_path / "out.npy")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["out", "out.npy"])
@pytest.mark.parametrize("rows", ["no rows", "no line"])
def test_no_rows_are_a_target_too(tmp_path, name, rows):
    source = tmp_path / "a.jsonl"
    source.touch()
    if rows == "no rows":
        source = tmp_path / "a.parquet"
        pq.write_table(TABLE[:0], source)
    for _ in range(2):
        done = embed(source, tmp_path / name, keep=["label"])
        assert (done.n_rows, done.n_dimensions, done.n_resumed) == (0, 32, 0)
    if name == "out":
        assert embedding(tmp_path / name).shape == (0, 32)
    else:
        assert np.load(tmp_path / name).shape == (0, 32)
        assert pq.read_table(tmp_path / "out.parquet").column_names == ["label"]


def test_the_same_call_writes_the_same_bytes(source, tmp_path):
    for name in "ab":
        embed(source, tmp_path / name, keep=["id"], rows_per_shard=4)
    assert content(tmp_path / "a") == content(tmp_path / "b")


# The embedder


def test_a_fitted_embedder_is_used_and_not_changed(source, target, capfd):
    embedder = SentenceEmbedder(TINY, verbose=1).fit(["?"])
    state = dict(vars(embedder))
    embed_dataset(embedder, source, target, column="text", progress=False)
    assert vars(embedder) == state
    assert capfd.readouterr().err == ""


def test_an_embedder_is_not_fitted(source, target):
    embedder = SentenceEmbedder(TINY)
    embed_dataset(embedder, source, target, column="text", progress=False)
    assert not hasattr(embedder, "encoder_")


def test_names_of_columns_are_those_of_fit(target):
    table = pd.DataFrame({"a": ["?"], "b": ["!"]})
    embedder = SentenceEmbedder(TINY).fit(table)
    dataset = ds.dataset(pa.Table.from_pandas(table))
    with pytest.raises(ValueError, match="same order"):
        embed_dataset(embedder, dataset, target, column=["b", "a"])
    with pytest.raises(ValueError, match="1 features, but SentenceEmbedder is expecting 2"):
        embed_dataset(embedder, dataset, target, column="a")
    with pytest.raises(TypeError, match="embedder is of type str; pass a SentenceEmbedder"):
        embed_dataset("model", dataset, target, column="a")


def test_shards_do_not_know_of_each_other_but_a_cache_on_disk_does(source, tmp_path):
    cache = DiskCache(tmp_path / "cache")
    for name in ["first", "second"]:
        embed(source, tmp_path / name, params={"cache": cache}, rows_per_shard=2)
    assert_same_rows(embedding(tmp_path / "second"), vectors_of(TEXTS))
    found = cache.statistics()
    assert (found.n_texts, found.hits) == (len(TEXTS), len(TEXTS))


def test_a_cache_in_memory_is_left_alone(source, target):
    cache = MemoryCache()
    embed(source, target, params={"cache": cache}, rows_per_shard=2)
    found = cache.statistics()
    assert (found.n_texts, found.hits, found.misses) == (0, 0, 0)


def test_one_warning_for_the_whole_dataset(target, recwarn):
    table = pa.table({"text": [None, "?", "? " * 60] * 4})
    done = embed(ds.dataset(table), target, params={"max_length": 8}, rows_per_shard=5)
    assert (done.n_truncated, done.n_missing) == (4, 4)
    said = [str(warning.message) for warning in recwarn]
    assert len(said) == 2
    assert said[0].startswith("4 of 12 cells have no text")
    assert said[1].startswith("4 of 8 texts are longer than 8 tokens")


@pytest.mark.parametrize(
    ("params", "bad", "says"),
    [
        ({"missing": "error"}, None, "has no text"),
        ({"long_text": "error"}, "? " * 300, "more than 256"),
    ],
)
def test_errors_name_the_row_of_the_dataset_and_of_the_file(tmp_path, target, params, bad, says):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["?", "!", bad, "."]}), tmp_path / "b.parquet")
    source = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(ValueError, match=rf"^row 12, column 0 of X .*{says}") as caught:
        embed(source, target, params=params, rows_per_shard=4)
    assert f"It is row 2 of {tmp_path / 'b.parquet'}" in str(caught.value)
    assert shard_sizes(target) == [4, 4, 4]


def test_the_bar_counts_rows_and_begins_where_an_earlier_call_ended(source, target, capfd):
    embedder = SentenceEmbedder(TINY)
    embed_dataset(embedder, source, target, column="text", rows_per_shard=4)
    err = capfd.readouterr().err
    assert "10/10" in err
    assert "row/s" in err
    done = embed_dataset(embedder, source, target, column="text", rows_per_shard=4)
    assert done.n_resumed == done.n_rows == 10
    assert "0/10" not in capfd.readouterr().err.replace("10/10", "")


# Errors


def test_what_is_no_source(tmp_path, target):
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv': no such file"):
        embed(tmp_path / "nowhere.csv", target)
    with pytest.raises(FileNotFoundError, match="no data file there"):
        embed(f"{tmp_path}/*", target)
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv' is not a file"):
        embed([tmp_path / "nowhere.csv"], target)
    with pytest.raises(ValueError, match="format='xlsx': pass 'auto' or one of"):
        embed(tmp_path / "nowhere.csv", target, format="xlsx")
    assert not target.exists()


def test_files_of_several_formats(tmp_path, target):
    write_csv(TABLE, tmp_path / "a.csv")
    write_json(TABLE, tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match="several formats"):
        embed([tmp_path / "a.csv", tmp_path / "b.jsonl"], target)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_column_that_one_file_lacks_is_an_error_before_anything_is_embedded(
    tmp_path, target, name
):
    WRITERS[name](TABLE, tmp_path / f"0{name}")
    WRITERS[name](TABLE.rename_columns(["id", "test", "label", "score"]), tmp_path / name)
    with pytest.raises(ValueError, match=rf"/{name} has no column 'text'; it has \['id', 'test'"):
        embed([tmp_path / f"0{name}", tmp_path / name], target)
    with pytest.raises(ValueError, match=rf"0{name} has no column 'words'"):
        embed(tmp_path / f"0{name}", target, "words")
    with pytest.raises(ValueError, match=rf"0{name} has no column 'key'"):
        embed(tmp_path / f"0{name}", target, keep=["key"])
    assert not list(target.glob("*"))[1:]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_text_that_is_not_utf_8(tmp_path, target, name):
    WRITERS[name](pa.table({"text": ["fine", "caf_"]}), tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw.replace(b"caf_", b"caf\xe9"))
    with pytest.raises(ValueError, match=rf"/{name} cannot be read: .*(invalid|Invalid) UTF8"):
        embed(tmp_path / name, target)
    assert not list(target.glob("*.parquet"))


def test_a_type_that_the_first_rows_did_not_have(tmp_path, target):
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "b.csv").write_text("id,text\nx,a\n")
    with pytest.raises(ValueError, match=r"b.csv cannot be read: .*int64.*first rows of the first"):
        embed([tmp_path / "a.csv", tmp_path / "b.csv"], target, keep=["id"])


def test_a_file_that_is_not_what_its_name_says(tmp_path, target):
    for name in ["a.parquet", "a.csv.gz", "a.jsonl"]:
        (tmp_path / name).write_text("[1, 2]\n")
        with pytest.raises((ValueError, OSError), match=f"{name} cannot be read"):
            embed(tmp_path / name, target)


@pytest.mark.parametrize("values", [[b"bytes"], [["a", "list"]]])
def test_a_column_that_is_not_text(target, values):
    with pytest.raises(ValueError, match=r"column 'text' of .* not text"):
        embed(ds.dataset(pa.table({"text": values})), target)


def test_names_that_clash(tmp_path, target):
    table = pa.table({"text": ["?"], "embedding": [1]})
    with pytest.raises(ValueError, match="keep has a column 'embedding'"):
        embed(ds.dataset(table), target, keep="all")
    assert embed(ds.dataset(table), tmp_path / "out.npy", keep="all").n_rows == 1
    for options in [{"keep": ["text", "text"]}, {"column": []}, {"column": ["text", "text"]}]:
        with pytest.raises(ValueError, match="pass column names, each once"):
            embed(ds.dataset(table), target, **options)


@pytest.mark.parametrize("rows_per_shard", [0, -1, 2.5, "many"])
def test_rows_per_shard_is_a_positive_int(source, target, rows_per_shard):
    with pytest.raises(ValueError, match=r"rows_per_shard=.*: pass a positive int"):
        embed(source, target, rows_per_shard=rows_per_shard)


def test_more_shards_than_their_names_have_digits_for(target):
    dataset = ds.dataset(pa.table({"text": ["?"] * 100_001}))
    with pytest.raises(ValueError, match="gives 100001 files"):
        embed(dataset, target, rows_per_shard=1)


def test_a_target_in_its_source(tmp_path, source):
    with pytest.raises(ValueError, match="is in the folder source="):
        embed(tmp_path, tmp_path / "vectors")


# Resuming


def test_what_is_finished_is_not_embedded_again(source, target):
    first = embed(source, target, rows_per_shard=4)
    before = {file: file.stat() for file in target.glob("*.parquet")}
    second = embed(source, target, rows_per_shard=4)
    assert (first.n_resumed, second.n_resumed) == (0, 10)
    assert {file: file.stat() for file in target.glob("*.parquet")} == before


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": OTHER}, "fingerprint was"),
        ({"column": "label"}, r"columns was \['text'\] and is \['label'\]"),
        ({"keep": ["id"]}, r"keep was \{\} and is \{'id': 'int64'\}"),
        ({"rows_per_shard": 5}, "rows_per_shard was 4 and is 5"),
        ({"params": {"max_length": 9}}, "max_length was 256 and is 9"),
        ({"params": {"missing": "empty"}}, "missing was 'zero' and is 'empty'"),
        ({"params": {"pooling": "cls"}}, r"pooling was \['mean'\] and is \['cls'\]"),
        ({"params": {"dtype": "bfloat16"}}, "dtype was 'float32' and is 'bfloat16'"),
    ],
)
@pytest.mark.parametrize("name", ["out", "out.npy"])
def test_another_task_is_refused_until_it_may_overwrite(source, tmp_path, name, changes, says):
    embed(source, tmp_path / name, rows_per_shard=4)
    again = {"rows_per_shard": 4, **changes}
    with pytest.raises(ValueError, match=f"{says}.* overwrite=True to start again"):
        embed(source, tmp_path / name, **again)
    done = embed(source, tmp_path / name, overwrite=True, **again)
    assert done.n_resumed == 0
    assert embed(source, tmp_path / name, **again).n_resumed == 10


def test_other_files_are_refused(tmp_path, target):
    for name in "ab":
        pq.write_table(TABLE, tmp_path / f"{name}.parquet")
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    embed(files, target)
    with pytest.raises(ValueError, match=r"source has changed \(the order of its files\)"):
        embed(files[::-1], target)
    with pytest.raises(ValueError, match=r"source has changed \(.*b.parquet\)"):
        embed(files[:1], target)
    os.utime(files[0], ns=(0, 0))
    with pytest.raises(ValueError, match=r"source has changed \(.*a.parquet\)"):
        embed(files, target)


class Meddling(SentenceEmbedder):
    """Somebody goes on writing the file while it is embedded."""

    file = None

    def _rows(self, columns, context=None):
        with self.file.open("a") as stream:
            stream.write('{"id": 10, "text": "late"}\n')
        return super()._rows(columns, context)


def test_a_file_that_changes_while_it_is_read(tmp_path, target):
    file = tmp_path / "a.jsonl"
    write_json(TABLE, file)
    embedder = Meddling(TINY).fit(["?"])
    embedder.file = file
    with pytest.raises(ValueError, match=r"a.jsonl changed while it was being read"):
        embed_dataset(embedder, file, target, column="text", rows_per_shard=3, progress=False)
    with pytest.raises(ValueError, match="source has changed"):
        embed(file, target, rows_per_shard=3)


def test_a_shard_that_is_gone(source, target):
    embed(source, target, rows_per_shard=4)
    (target / "part-00001.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"finished .*part-00001.parquet no longer exists"):
        embed(source, target, rows_per_shard=4)
    assert embed(source, target, rows_per_shard=4, overwrite=True).n_resumed == 0


# Killed at any instant. One process imports everything, and forks what is to be killed.

KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset

model, source, folder, n_trials = sys.argv[1:]
torch.set_num_threads(1)


def start(target, name):
    child = os.fork()
    if child == 0:
        os.close(2)
        embed_dataset(
            SentenceEmbedder(model), source, target / name,
            column="text", keep=["id"], rows_per_shard=4, progress=False,
        )
        os._exit(0)
    return child


def files(target):
    found = [file for file in target.rglob("*") if file.is_file() and ".lock" not in file.name]
    return {str(file.relative_to(target)): file for file in found}


def text_to_bytes(target):
    return {name: file.read_bytes() for name, file in files(target).items()}


def finished(target):
    named = {n: f for n, f in files(target).items() if "part-" in n and not f.name.startswith(".")}
    return {n: (f.stat().st_ino, f.stat().st_mtime_ns) for n, f in named.items()}


def shards(target):
    manifest = [file for file in files(target).values() if file.name.endswith("manifest.json")]
    return sum(len(json.loads(file.read_text())["shards"]) for file in manifest)


names = ("out", "out.npy")
for name in names:
    assert os.waitpid(start(Path(folder, name), name), 0)[1] == 0
for trial in range(int(n_trials)):
    name, draw = names[trial % 2], random.Random(trial)
    whole, target = Path(folder, name), Path(folder, str(trial))
    child = start(target, name)
    # At a point that does not depend on how fast the machine is, and at any instant from there.
    n_finished = draw.randrange(20)
    while shards(target) < n_finished:
        pass
    time.sleep(draw.uniform(0, 0.005))
    os.kill(child, signal.SIGINT if trial % 6 == 5 else signal.SIGKILL)
    os.waitpid(child, 0)
    n_shards = shards(target)
    before = finished(target)
    ended = os.waitpid(start(target, name), 0)[1]
    unchanged = before.items() <= finished(target).items()
    print(json.dumps([n_shards, ended, unchanged, text_to_bytes(target) == text_to_bytes(whole)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("n_trials", [6, pytest.param(24, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_as_if_it_had_not_been(tmp_path, run_python, n_trials):
    n_rows = 100
    table = pa.table(
        {"id": range(n_rows), "text": [f"ferry {i} of the day" for i in range(n_rows)]}
    )
    pq.write_table(table, tmp_path / "source.parquet")
    arguments = (TINY, tmp_path / "source.parquet", tmp_path / "to", n_trials)
    lines = run_python(KILLED, *arguments).stdout.splitlines()
    n_shards, *found = zip(*map(json.loads, lines), strict=True)
    assert found == [(0,) * n_trials, (True,) * n_trials, (True,) * n_trials]
    # Some were killed on the way.
    assert any(0 < n < n_rows // 4 for n in n_shards)


LOCKED = (
    "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(); input()"
)


@pytest.mark.parametrize(("name", "lock"), [("out", "out/.lock"), ("out.npy", "out.npy.lock")])
def test_two_runs_of_one_target(source, tmp_path, name, lock):
    embed(source, tmp_path / name)
    command = [sys.executable, "-c", LOCKED, tmp_path / lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(BlockingIOError, match=f"another run is writing .*{name}"):
            embed(source, tmp_path / name)
        other.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        other.wait()
        assert embed(source, tmp_path / name).n_resumed == 10


FULL = """
import resource, sys
from pathlib import Path
from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset

model, source, folder = sys.argv[1:]
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

for name in ("out", "out.npy"):

    def embed():
        return embed_dataset(
            SentenceEmbedder(model), source, Path(folder, name, name),
            column="text", rows_per_shard=100, progress=False,
        )

    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
    try:
        embed()
    except OSError as error:
        print(type(error).__name__)
    written = [file.name for file in Path(folder, name).rglob("*") if not file.name.startswith(".")]
    print(*sorted(written))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    done = embed()
    print(done.n_resumed, done.n_rows)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")
def test_a_full_disk_leaves_nothing_half_written(tmp_path, run_python):
    # The vectors of the first shard are all the same, which Parquet squeezes.
    texts = ["?"] * 100 + [f"ferry {i}" for i in range(100)]
    write_json(pa.table({"text": texts}), tmp_path / "source.jsonl")
    found = run_python(FULL, TINY, tmp_path / "source.jsonl", tmp_path / "to").stdout.splitlines()
    folder = ["OSError", "_manifest.json out part-00000.parquet", "100 200"]
    array = ["OSError", "out.npy.lock out.npy.manifest.json out.npy.part", "0 200"]
    assert found == folder + array


# Overwriting


def test_overwriting_leaves_nothing_of_the_earlier_run(source, tmp_path):
    embed(source, tmp_path / "a", rows_per_shard=2)
    embed(source, tmp_path / "a", rows_per_shard=6, overwrite=True)
    embed(source, tmp_path / "b", rows_per_shard=6)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(source, tmp_path, overwrite):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ["part-00000.parquet", "notes.txt"]:
        (folder / name).write_text("mine")
        with pytest.raises(FileExistsError, match=rf"did not write: \['{name}'\]"):
            embed(source, folder, overwrite=overwrite)
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
    (folder / "_manifest.json").write_text("{}")
    with pytest.raises(FileExistsError, match="is not a manifest"):
        embed(source, folder, overwrite=overwrite)
    for name in ["out.npy", "out.parquet"]:
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match=name):
            embed(source, tmp_path / "out.npy", keep=["id"], overwrite=overwrite)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file; pass a folder"):
        embed(source, tmp_path / "file", overwrite=overwrite)


def test_overwriting_stops_before_files_that_came_later(source, target):
    embed(source, target, rows_per_shard=4)
    (target / "part-00007.parquet").write_text("mine")
    with pytest.raises(FileExistsError, match=r"part-00007.parquet"):
        embed(source, target, rows_per_shard=1, overwrite=True)
    assert shard_sizes_of_ours(target) == [4, 4, 2]


def shard_sizes_of_ours(target):
    return [pq.read_metadata(target / f"part-0000{i}.parquet").num_rows for i in range(3)]


def test_a_source_that_cannot_be_read_is_no_reason_to_remove_anything(source, tmp_path, target):
    embed(source, target)
    before = content(target)
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 5}\n')
    with pytest.raises(ValueError, match="cannot be read"):
        embed(tmp_path / "bad.jsonl", target, overwrite=True)
    assert content(target) == before
