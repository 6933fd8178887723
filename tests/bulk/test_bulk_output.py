import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset
from sk_sentemb.cache import DiskCache, MemoryCache
from tests.bulk.bulk_helpers import TABLE, TEXTS, content, embed, embedding, shard_sizes, vectors_of
from tests.helpers.tiny_models import PROMPTED, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_shard_metadata_describe_the_embeddings(source, target):
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


def test_parquet_folder_is_read_by_pandas_polars_and_pyarrow(source, target):
    embed(source, target, keep=["id"], rows_per_shard=4)
    expected = embedding(target)
    np.testing.assert_array_equal(np.stack(pd.read_parquet(target)["embedding"]), expected)
    frame = pl.read_parquet(target / "*.parquet")
    np.testing.assert_array_equal(frame["embedding"].to_numpy(), expected)
    assert frame.schema["embedding"] == pl.Array(pl.Float32, 32)
    assert ds.dataset(target).count_rows() == 10


def test_array_target_writes_kept_columns_to_parquet(source, tmp_path):
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


def test_array_target_without_kept_columns(source, tmp_path):
    embed(source, tmp_path / "out.npy")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["out", "out.npy"])
@pytest.mark.parametrize("rows", ["no rows", "no line"])
def test_embed_dataset_without_rows_writes_a_target(tmp_path, name, rows):
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


def test_embed_dataset_is_reproducible_byte_for_byte(source, tmp_path):
    for name in "ab":
        embed(source, tmp_path / name, keep=["id"], rows_per_shard=4)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_embed_dataset_does_not_change_a_fitted_embedder(source, target, capfd):
    embedder = SentenceEmbedder(TINY, verbose=1).fit(["?"])
    state = dict(vars(embedder))
    embed_dataset(embedder, source, target, column="text", progress=False)
    assert vars(embedder) == state
    assert capfd.readouterr().err == ""


def test_embed_dataset_leaves_an_unfitted_embedder_unfitted(source, target):
    embedder = SentenceEmbedder(TINY)
    embed_dataset(embedder, source, target, column="text", progress=False)
    assert not hasattr(embedder, "encoder_")


def test_embed_dataset_checks_column_names_against_fit(target):
    table = pd.DataFrame({"a": ["?"], "b": ["!"]})
    embedder = SentenceEmbedder(TINY).fit(table)
    dataset = ds.dataset(pa.Table.from_pandas(table))
    with pytest.raises(ValueError, match="same order"):
        embed_dataset(embedder, dataset, target, column=["b", "a"])
    with pytest.raises(ValueError, match="1 features, but SentenceEmbedder is expecting 2"):
        embed_dataset(embedder, dataset, target, column="a")
    with pytest.raises(TypeError, match="embedder is of type str; pass a SentenceEmbedder"):
        embed_dataset("model", dataset, target, column="a")


def test_disk_cache_is_shared_over_shards(source, tmp_path):
    cache = DiskCache(tmp_path / "cache")
    for name in ["first", "second"]:
        embed(source, tmp_path / name, params={"cache": cache}, rows_per_shard=2)
    assert_same_rows(embedding(tmp_path / "second"), vectors_of(TEXTS))
    found = cache.statistics()
    assert (found.n_texts, found.hits) == (len(TEXTS), len(TEXTS))


def test_memory_cache_is_not_filled_by_embed_dataset(source, target):
    cache = MemoryCache()
    embed(source, target, params={"cache": cache}, rows_per_shard=2)
    found = cache.statistics()
    assert (found.n_texts, found.hits, found.misses) == (0, 0, 0)


def test_embed_dataset_warns_once_per_dataset(target, recwarn):
    table = pa.table({"text": [None, "?", "? " * 60] * 4})
    done = embed(ds.dataset(table), target, params={"max_length": 8}, rows_per_shard=5)
    assert (done.n_truncated, done.n_missing) == (4, 4)
    said = [str(warning.message) for warning in recwarn]
    assert len(said) == 2
    assert said[0].startswith("4 of 12 cells have no text")
    assert said[1].startswith("4 of 8 texts exceed the limit of 8 tokens")


@pytest.mark.parametrize(
    ("params", "bad", "says"),
    [
        ({"missing": "error"}, None, "has no text"),
        ({"long_text": "error"}, "? " * 300, "more than 256"),
    ],
)
def test_row_errors_name_the_row_of_the_dataset_and_of_the_file(
    tmp_path, target, params, bad, says
):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["?", "!", bad, "."]}), tmp_path / "b.parquet")
    source = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(ValueError, match=rf"^row 12, column 0 of X .*{says}") as caught:
        embed(source, target, params=params, rows_per_shard=4)
    assert f"It is row 2 of {tmp_path / 'b.parquet'}" in str(caught.value)
    assert shard_sizes(target) == [4, 4, 4]


def test_progress_bar_starts_at_the_resumed_row(source, target, capfd):
    embedder = SentenceEmbedder(TINY)
    embed_dataset(embedder, source, target, column="text", rows_per_shard=4)
    err = capfd.readouterr().err
    assert "10/10" in err
    assert "row/s" in err
    done = embed_dataset(embedder, source, target, column="text", rows_per_shard=4)
    assert done.n_resumed == done.n_rows == 10
    assert "0/10" not in capfd.readouterr().err.replace("10/10", "")
