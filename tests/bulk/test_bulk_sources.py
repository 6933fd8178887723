import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sk_sentemb.bulk import EmbeddedDataset
from sk_sentemb.exceptions import MissingTextWarning, TruncationWarning
from tests.bulk.bulk_helpers import (
    TABLE,
    TEXTS,
    embed,
    embedding,
    read,
    shard_sizes,
    vectors_of,
    write_json,
    write_text,
)
from tests.helpers.tiny_models import assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def quoted(cell, delimiter):
    """Write a cell of CSV: None is nothing at all, the empty text a pair of quotes."""
    text = "" if cell is None else str(cell)
    needs_quotes = cell == "" or any(mark in text for mark in '"\n\r' + delimiter)
    return '"' + text.replace('"', '""') + '"' if needs_quotes else text


def write_csv(table, file, delimiter=","):
    rows = [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
    lines = [delimiter.join(quoted(cell, delimiter) for cell in row) for row in rows]
    write_text(file, "".join(f"{line}\n" for line in lines))


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


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.MissingTextWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_every_file_format_gives_the_same_rows(tmp_path, target, name):
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
def test_source_files_are_read_in_the_order_of_their_paths_and_lists_in_theirs(tmp_path, suffix):
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


def test_pyarrow_dataset_is_read_with_its_options(tmp_path, target, source):
    dataset = ds.dataset(source).filter(ds.field("id") > 4)
    embed(dataset, target, keep=["id"], rows_per_shard=3)
    assert read(target)["id"].to_pylist() == [5, 6, 7, 8, 9]
    assert_same_rows(embedding(target), vectors_of(TEXTS[5:]))
    assert embed(dataset, target, keep=["id"], rows_per_shard=3).n_resumed == 5
    with pytest.raises(ValueError, match="source has changed"):
        embed(ds.dataset(source), target, keep=["id"], rows_per_shard=3)


def test_pyarrow_dataset_without_files(target):
    embed(ds.dataset(TABLE), target, keep=["id"], rows_per_shard=3)
    assert_same_rows(embedding(target), vectors_of(TEXTS))


def test_embed_dataset_concatenates_the_embeddings_of_columns(target):
    table = pa.table({"title": TEXTS, "body": [None, *TEXTS[1:]]})
    done = embed(ds.dataset(table), target, ["title", "body"], params={"missing": "nan"})
    assert done.n_dimensions == 64
    assert_same_rows(embedding(target), vectors_of(table, missing="nan"))
    assert np.isnan(embedding(target)[0, 32:]).all()


def test_kept_columns_keep_their_types(target):
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


def test_parquet_text_may_be_categories_or_numbers(target, tmp_path):
    table = pa.table({"kind": pa.array(["x", "y", "x"]).dictionary_encode(), "year": [1987, 3, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    embed(tmp_path / "a.parquet", target, ["kind", "year"])
    assert_same_rows(embedding(target), vectors_of([["x", "1987"], ["y", "3"], ["x", "3"]]))


def test_json_strings_are_not_read_as_times(tmp_path, target):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "2020-01-01", "day": "2020-01-01"}\n' * 2)
    embed(file, target, keep=["day"])
    assert read(target)["day"].to_pylist() == ["2020-01-01"] * 2
    assert_same_rows(embedding(target), vectors_of(["2020-01-01"] * 2))


def test_format_is_used_for_names_without_a_known_ending(tmp_path, target):
    write_csv(TABLE, tmp_path / "data.txt")
    with pytest.raises(ValueError, match=r"data.txt' has none of the endings .*pass format="):
        embed(tmp_path / "data.txt", target)
    assert embed(tmp_path / "data.txt", target, format="csv").n_rows == 10


def test_csv_rows_with_line_breaks_across_blocks(tmp_path, target):
    text = ("x" * 99 + "\n") * 15_000
    write_csv(pa.table({"id": range(5), "text": [text] * 4 + ["?"]}), tmp_path / "a.csv")
    with pytest.warns(TruncationWarning, match="4 of 5 texts"):
        embed(tmp_path / "a.csv", target, keep=["id"])
    assert read(target)["id"].to_pylist() == [0, 1, 2, 3, 4]


def test_invalid_sources_are_refused(tmp_path, target):
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv': no such file"):
        embed(tmp_path / "nowhere.csv", target)
    with pytest.raises(FileNotFoundError, match="no data file there"):
        embed(f"{tmp_path}/*", target)
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv' is not a file"):
        embed([tmp_path / "nowhere.csv"], target)
    with pytest.raises(ValueError, match="format='xlsx': pass 'auto' or one of"):
        embed(tmp_path / "nowhere.csv", target, format="xlsx")
    assert not target.exists()


def test_source_of_several_formats_is_refused(tmp_path, target):
    write_csv(TABLE, tmp_path / "a.csv")
    write_json(TABLE, tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match="several formats"):
        embed([tmp_path / "a.csv", tmp_path / "b.jsonl"], target)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_missing_column_of_one_file_is_an_error_before_embedding(tmp_path, target, name):
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
def test_text_that_is_not_utf_8_is_refused(tmp_path, target, name):
    WRITERS[name](pa.table({"text": ["fine", "caf_"]}), tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw.replace(b"caf_", b"caf\xe9"))
    with pytest.raises(ValueError, match=rf"/{name} cannot be read: .*(invalid|Invalid) UTF8"):
        embed(tmp_path / name, target)
    assert not list(target.glob("*.parquet"))


def test_type_that_differs_from_the_first_rows_is_refused(tmp_path, target):
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "b.csv").write_text("id,text\nx,a\n")
    with pytest.raises(ValueError, match=r"b.csv cannot be read: .*int64.*first rows of the first"):
        embed([tmp_path / "a.csv", tmp_path / "b.csv"], target, keep=["id"])


def test_file_of_another_format_than_its_name_is_refused(tmp_path, target):
    for name in ["a.parquet", "a.csv.gz", "a.jsonl"]:
        (tmp_path / name).write_text("[1, 2]\n")
        with pytest.raises((ValueError, OSError), match=f"{name} cannot be read"):
            embed(tmp_path / name, target)


@pytest.mark.parametrize("values", [[b"bytes"], [["a", "list"]]])
def test_column_that_is_not_text_is_refused(target, values):
    with pytest.raises(ValueError, match=r"column 'text' of .* not text"):
        embed(ds.dataset(pa.table({"text": values})), target)


def test_clashing_column_names_are_refused(tmp_path, target):
    table = pa.table({"text": ["?"], "embedding": [1]})
    with pytest.raises(ValueError, match="keep has a column 'embedding'"):
        embed(ds.dataset(table), target, keep="all")
    assert embed(ds.dataset(table), tmp_path / "out.npy", keep="all").n_rows == 1
    for options in [{"keep": ["text", "text"]}, {"column": []}, {"column": ["text", "text"]}]:
        with pytest.raises(ValueError, match="pass column names, each once"):
            embed(ds.dataset(table), target, **options)


@pytest.mark.parametrize("rows_per_shard", [0, -1, 2.5, "many"])
def test_rows_per_shard_is_validated(source, target, rows_per_shard):
    with pytest.raises(ValueError, match=r"rows_per_shard=.*: pass a positive int"):
        embed(source, target, rows_per_shard=rows_per_shard)


def test_too_many_shards_are_refused(target):
    dataset = ds.dataset(pa.table({"text": ["?"] * 100_001}))
    with pytest.raises(ValueError, match="gives 100001 files"):
        embed(dataset, target, rows_per_shard=1)


def test_target_within_the_source_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match="is in the folder source="):
        embed(tmp_path, tmp_path / "vectors")
