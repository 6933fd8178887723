"""What embed_dataset must not do to files: its source, its finished shards, those behind links."""

import gzip
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb.cache import MemoryCache, prewarm
from tests.helpers.checkpoints import contents
from tests.helpers.tiny_models import TINY

pa = pytest.importorskip("pyarrow")
ds = pytest.importorskip("pyarrow.dataset")
fs = pytest.importorskip("pyarrow.fs")
pq = pytest.importorskip("pyarrow.parquet")

from sk_sentemb.bulk import embed_dataset  # noqa: E402
from sk_sentemb.bulk.nesting import MAX_DEPTH, DepthLimitedStream  # noqa: E402

TEXTS = [f"the ferry number {i} passed the pier" for i in range(10)]
TABLE = pd.DataFrame({"id": range(10), "text": TEXTS})


@pytest.fixture
def source(tmp_path):
    TABLE.to_parquet(tmp_path / "notes.parquet")
    return tmp_path / "notes.parquet"


def embed(source, target, *, params=(), **options):
    options = {"column": "text", "keep": ["id", "text"], "progress": False, **options}
    return embed_dataset(SentenceEmbedder(TINY, **dict(params)), source, target, **options)


def content(folder):
    """Return the bytes of all files, without locks."""
    return {name: data for name, data in contents(folder).items() if not name.endswith(".lock")}


# The source is never removed


def through_link(target):
    link = target.with_name("link")
    link.symlink_to(target, target_is_directory=True)
    return str(link / "*.parquet")


def linked_files(target):
    folder = target.with_name("links")
    folder.mkdir()
    for file in target.glob("*.parquet"):
        (folder / file.name).symlink_to(file)
    return folder


def through_fsspec(target):
    from fsspec.implementations.local import LocalFileSystem

    return ds.dataset(sorted(map(str, target.glob("*.parquet"))), filesystem=LocalFileSystem())


SOURCES = {
    "pattern": lambda target: str(target / "*.parquet"),
    "pattern with dots": lambda target: str(target / ".." / target.name / "*.parquet"),
    "file": lambda target: target / "part-00001.parquet",
    "list": lambda target: sorted(target.glob("*.parquet")),
    "Dataset": lambda target: ds.dataset(target),
    "filtered Dataset": lambda target: ds.dataset(target).filter(ds.field("id") > 2),
    "union": lambda target: ds.dataset([ds.dataset(target), ds.dataset(target)]),
    "subtree": lambda target: ds.dataset(
        target.name, filesystem=fs.SubTreeFileSystem(str(target.parent), fs.LocalFileSystem())
    ),
    "fsspec": through_fsspec,
    "link to the folder": through_link,
    "links to the files": linked_files,
    "relative": lambda target: os.path.join(os.path.relpath(target), "*.parquet"),
}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_in_the_target_is_refused_however_it_is_given(name, overwrite, source, tmp_path):
    target = tmp_path / "vectors"
    embed(source, target, rows_per_shard=4)
    source.unlink()  # everything is in the target now
    before = content(target)
    given = SOURCES[name](target)
    with pytest.raises(ValueError, match="which is where target writes and removes files"):
        embed(given, target, rows_per_shard=4, overwrite=overwrite, params={"pooling": "cls"})
    assert content(target) == before


def test_a_target_behind_a_link_is_compared_too(source, tmp_path):
    embed(source, tmp_path / "vectors", rows_per_shard=4)
    (tmp_path / "link").symlink_to(tmp_path / "vectors")
    before = content(tmp_path / "vectors")
    with pytest.raises(ValueError, match="which is where target writes and removes files"):
        embed(str(tmp_path / "vectors/*.parquet"), tmp_path / "link", overwrite=True)
    assert content(tmp_path / "vectors") == before


def test_kept_columns_beside_an_array_are_no_source_of_it(source, tmp_path):
    embed(source, tmp_path / "out.npy")
    source.unlink()
    kept = tmp_path / "out.parquet"
    before = kept.read_bytes()
    for keep in (["id"], []):
        with pytest.raises(ValueError, match="which is where target writes and removes files"):
            embed(kept, tmp_path / "out.npy", keep=keep, overwrite=True)
    assert kept.read_bytes() == before


def test_an_array_beside_a_source_of_its_name_keeps_nothing_and_is_fine(source):
    assert embed(source, source.with_suffix(".npy"), keep=()).n_rows == 10
    assert embed(source, source.with_suffix(".npy"), keep=(), overwrite=True).n_rows == 10
    pd.testing.assert_frame_equal(pd.read_parquet(source), TABLE)


# Links at the names of scratch files


@pytest.mark.parametrize(
    "name", ["._manifest.json.tmp", ".part-00000.parquet.tmp", ".part-00001.parquet.tmp"]
)
def test_a_link_at_a_scratch_name_of_a_folder_is_not_followed(name, source, tmp_path):
    target, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("precious")
    embed(source, target, rows_per_shard=4)
    (target / "part-00002.parquet").unlink()
    (target / "part-00002.parquet").write_bytes(b"damaged")  # so that there is something to write
    (target / name).symlink_to(victim)
    with pytest.warns(UserWarning, match="finished shards of .* are damaged"):
        embed(source, target, rows_per_shard=4)
    assert victim.read_text() == "precious"
    assert not any(file.is_symlink() for file in target.iterdir())
    embed(source, tmp_path / "clean", rows_per_shard=4)
    assert content(target) == content(tmp_path / "clean")


@pytest.mark.parametrize(
    "name", ["._manifest.json.tmp", ".out.npy.manifest.json.tmp", "out.npy.part"]
)
def test_a_link_at_a_scratch_name_of_a_new_target_is_not_followed(name, source, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "out" if name.startswith("._") else tmp_path / "out.npy"
    place = target / name if name.startswith("._") else tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim)
    if name.endswith(".part"):  # which is in the way, as any other file would be
        with pytest.raises(
            FileExistsError, match="contains files that embed_dataset did not write"
        ):
            embed(source, target)
    else:
        embed(source, target)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(("name", "lock"), [("out", "out/.lock"), ("out.npy", "out.npy.lock")])
def test_a_link_at_the_lock_s_name_is_an_error(name, lock, source, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / lock).parent.mkdir(exist_ok=True)
    (tmp_path / lock).symlink_to(victim)
    with pytest.raises(FileExistsError, match="is a link to"):
        embed(source, tmp_path / name)
    assert victim.read_text() == "precious"


def test_an_array_that_became_a_link_is_not_written_through(source, tmp_path):
    embed(source, tmp_path / "out.npy", rows_per_shard=4)
    victim = shutil.copy(tmp_path / "out.npy", tmp_path / "victim")
    with open(victim, "r+b") as stream:
        stream.seek(-4, os.SEEK_END)
        stream.write(b"\0\0\0\0")
    before = Path(victim).read_bytes()
    (tmp_path / "out.npy").unlink()
    (tmp_path / "out.npy").symlink_to(victim)
    with pytest.raises(FileExistsError, match="is a link"):
        embed(source, tmp_path / "out.npy", rows_per_shard=4)
    assert Path(victim).read_bytes() == before


# Damage to what was finished


def flip(file, position):
    blob = bytearray(file.read_bytes())
    blob[position] ^= 255
    file.write_bytes(blob)


DAMAGES = {
    "a flipped byte": lambda file: flip(file, len(file.read_bytes()) // 2),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "empty": lambda file: file.write_bytes(b""),
    "another shard": lambda file: shutil.copy(file.with_name("part-00000.parquet"), file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_embedded_again(damage, source, tmp_path):
    target = tmp_path / "out"
    embed(source, target, rows_per_shard=4)
    before = content(target)
    DAMAGES[damage](target / "part-00001.parquet")
    with pytest.warns(UserWarning, match="1 of the 3 finished shards"):
        done = embed(source, target, rows_per_shard=4)
    assert (done.n_rows, done.n_resumed) == (10, 6)
    assert content(target) == before
    assert embed(source, target, rows_per_shard=4).n_resumed == 10


def test_damaged_rows_of_an_array_are_embedded_again(source, tmp_path):
    target = tmp_path / "out.npy"
    embed(source, target, rows_per_shard=4)
    before = content(tmp_path)
    flip(target, -1)
    with pytest.warns(UserWarning, match="1 of the 3 finished shards"):
        assert embed(source, target, rows_per_shard=4).n_resumed == 8
    assert content(tmp_path) == before
    flip(tmp_path / "out.parquet", 40)
    assert embed(source, target, rows_per_shard=4).n_resumed == 10
    assert content(tmp_path) == before
    target.write_bytes(target.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"out\.npy is damaged"):
        embed(source, target, rows_per_shard=4)
    embed(source, target, rows_per_shard=4, overwrite=True)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"layout": "sk_sentemb.bulk 2"}',
        '{"layout": "sk_sentemb.bulk 2", "n_rows": [1], "kept_digest": null, "shards": [3]}',
    ],
)
def test_a_damaged_manifest_is_an_error(text, source, tmp_path):
    embed(source, tmp_path / "out")
    (tmp_path / "out" / "_manifest.json").write_text(text)
    with pytest.raises(FileExistsError, match="is not a manifest of this version"):
        embed(source, tmp_path / "out")


# JSON that would end the process


def write_lines(file, *lines):
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def nested(depth, opening="[", closing="]"):
    return opening * depth + closing * depth


DEEP = {
    "lists": nested(100_000),
    "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "both": '[{"a":' * 50_000 + "1" + "}]" * 50_000,
    "never closed": "[" * 100_000,
    "closed too often before": "]" * 300_000 + nested(100_000),
    "behind a string": r'["\\", "\"", "[", ' + nested(100_000) + "]",
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_json_is_an_error_that_names_file_and_line(kind, tmp_path):
    file = write_lines(tmp_path / "a.jsonl", '{"text": "a"}', f'{{"text": "b", "x": {DEEP[kind]}}}')
    with pytest.raises(
        ValueError, match=r"a\.jsonl cannot be read: line 2: values are nested more"
    ):
        embed(file, tmp_path / "out", keep=())


def test_deep_json_in_a_later_file_or_a_dataset_is_an_error(tmp_path):
    write_lines(tmp_path / "a.jsonl", '{"text": "a"}')
    write_lines(tmp_path / "b.jsonl", '{"text": "b"}', f'{{"x": {nested(100_000)}}}')
    dataset = ds.dataset([str(tmp_path / f"{name}.jsonl") for name in "ab"], format="json")
    for source in (str(tmp_path / "*.jsonl"), dataset):
        with pytest.raises(ValueError, match=r"b\.jsonl cannot be read: line 2"):
            embed(source, tmp_path / "out", keep=())


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_brackets_in_texts_and_nesting_that_is_allowed_are_read(suffix, tmp_path):
    texts = ["[" * 500, r"\\[\"" * 300, '"[', "{}]" * 500, "\\", '\\"[', "é[" * 9, "plain"]
    table = pd.DataFrame({"text": texts, "x": [None] * 8})
    lines = table.to_json(orient="records", lines=True).splitlines()
    lines[-1] = f'{{"text": "plain", "x": {nested(MAX_DEPTH - 1)}}}'
    file = write_lines(tmp_path / "a.jsonl", *lines)
    if suffix:
        compressed = gzip.compress(file.read_bytes())
        file = tmp_path / "a.jsonl.gz"
        file.write_bytes(compressed)
    embed(file, tmp_path / "out", keep=["text"])
    assert pd.read_parquet(tmp_path / "out")["text"].tolist() == texts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_blocks_of_any_size_are_checked_alike(size):
    def read(*lines):
        checked = DepthLimitedStream(io.BytesIO("\n".join(lines).encode()))
        while checked.read(size):
            pass

    text = json.dumps({"t": 'a "[{\\" \\\\', "x": [[["[\\"], "]"]], "é": {"y": []}})
    read(*[text] * 50)
    with pytest.raises(pa.ArrowInvalid, match="line 2: values are nested more than"):
        read(text, f'{{"t": "{{[", "x": {nested(MAX_DEPTH)}}}', text)
    with pytest.raises(pa.ArrowInvalid, match="line 3: a string is not closed"):
        read(text, text, '{"t": "a', nested(MAX_DEPTH))


# Not fitted, and to be trained


@pytest.mark.parametrize("column", ["text", ["text"]])
def test_an_embedder_to_be_tuned_must_be_fitted_first(column, source, tmp_path):
    embedder = SentenceEmbedder(TINY, fine_tuner=FineTuner(epochs=1, random_state=0))
    with pytest.raises(NotFittedError, match="has a fine_tuner and is not fitted"):
        embed_dataset(embedder, source, tmp_path / "out", column=column, progress=False)
    assert not (tmp_path / "out").exists()
    fitted = embedder.fit(TABLE[["text"]] if column == ["text"] else TEXTS, [0, 1] * 5)
    embed_dataset(fitted, source, tmp_path / "out", column=column, progress=False)
    rows = np.vstack(pd.read_parquet(tmp_path / "out")["embedding"])
    X = TABLE[["text"]] if column == ["text"] else TEXTS
    np.testing.assert_allclose(rows, fitted.transform(X), atol=1e-6)


def test_prewarm_trains_nothing():
    cache = MemoryCache()
    embedder = SentenceEmbedder(TINY, cache=cache, fine_tuner=FineTuner(epochs=1, random_state=0))
    for unfitted in (embedder, SentenceClassifier(TINY, cache=cache)):
        with pytest.raises(NotFittedError, match="has a fine_tuner and is not fitted"):
            prewarm(unfitted, TEXTS)
    fitted = embedder.fit(TEXTS, [0, 1] * 5)
    prewarm(fitted, TEXTS)
    n_embedded = cache.statistics().n_embedded
    fitted.transform(TEXTS)
    assert cache.statistics().n_embedded == n_embedded


def test_prewarm_without_rows_or_embedder():
    cache = MemoryCache()
    for X in ([], pd.Series([], dtype=object), pd.DataFrame({"a": []})):
        prewarm(SentenceEmbedder(TINY, cache=cache), X)
    assert cache.statistics().n_texts == 0
    pipeline = make_pipeline(SentenceEmbedder(TINY, cache=cache))
    for other in (pipeline, "all-MiniLM-L6-v2"):
        with pytest.raises(TypeError, match=rf"embedder is of type {type(other).__name__}; pass a"):
            prewarm(other, TEXTS)
