import json
import os
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.bulk import embed_dataset
from tests.bulk.bulk_helpers import TABLE, content, embed, write_json
from tests.helpers.tiny_models import OTHER, TINY

pytestmark = pytest.mark.usefixtures("one_thread")


def test_resuming_does_not_embed_finished_shards(source, target):
    first = embed(source, target, rows_per_shard=4)
    before = {file: file.stat().st_mtime_ns for file in target.glob("*.parquet")}
    second = embed(source, target, rows_per_shard=4)
    assert (first.n_resumed, second.n_resumed) == (0, 10)
    assert {file: file.stat().st_mtime_ns for file in target.glob("*.parquet")} == before


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
def test_resuming_with_other_settings_is_refused(source, tmp_path, name, changes, says):
    embed(source, tmp_path / name, rows_per_shard=4)
    again = {"rows_per_shard": 4, **changes}
    with pytest.raises(ValueError, match=f"{says}.* overwrite=True to start again"):
        embed(source, tmp_path / name, **again)
    done = embed(source, tmp_path / name, overwrite=True, **again)
    assert done.n_resumed == 0
    assert embed(source, tmp_path / name, **again).n_resumed == 10


def test_resuming_with_changed_sources_is_refused(tmp_path, target):
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

    def _embed_columns(self, columns, context=None):
        if columns.n_rows:
            with self.file.open("a") as stream:
                stream.write('{"id": 10, "text": "late"}\n')
        return super()._embed_columns(columns, context)


def test_source_that_changes_while_being_read_is_refused(tmp_path, target):
    file = tmp_path / "a.jsonl"
    write_json(TABLE, file)
    embedder = Meddling(TINY).fit(["?"])
    embedder.file = file
    with pytest.raises(ValueError, match=r"a.jsonl changed while it was being read"):
        embed_dataset(embedder, file, target, column="text", rows_per_shard=3, progress=False)
    with pytest.raises(ValueError, match="source has changed"):
        embed(file, target, rows_per_shard=3)


def test_missing_finished_shard_is_an_error(source, target):
    embed(source, target, rows_per_shard=4)
    (target / "part-00001.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"finished .*part-00001.parquet no longer exists"):
        embed(source, target, rows_per_shard=4)
    assert embed(source, target, rows_per_shard=4, overwrite=True).n_resumed == 0


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
def test_killed_and_resumed_run_writes_the_same_bytes(tmp_path, run_python, n_trials):
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
def test_target_lock_refuses_a_second_run(source, tmp_path, name, lock):
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
def test_full_disk_leaves_no_partial_file(tmp_path, run_python):
    # The vectors of the first shard are all the same, which Parquet squeezes.
    texts = ["?"] * 100 + [f"ferry {i}" for i in range(100)]
    write_json(pa.table({"text": texts}), tmp_path / "source.jsonl")
    found = run_python(FULL, TINY, tmp_path / "source.jsonl", tmp_path / "to").stdout.splitlines()
    folder = ["OSError", "_manifest.json out part-00000.parquet", "100 200"]
    array = ["OSError", "out.npy.lock out.npy.manifest.json out.npy.part", "0 200"]
    assert found == folder + array


def test_overwrite_removes_the_earlier_run(source, tmp_path):
    embed(source, tmp_path / "a", rows_per_shard=2)
    embed(source, tmp_path / "a", rows_per_shard=6, overwrite=True)
    embed(source, tmp_path / "b", rows_per_shard=6)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("overwrite", [False, True])
def test_overwrite_keeps_foreign_files(source, tmp_path, overwrite):
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


def test_overwrite_refuses_foreign_files_added_later(source, target):
    embed(source, target, rows_per_shard=4)
    (target / "part-00007.parquet").write_text("mine")
    with pytest.raises(FileExistsError, match=r"part-00007.parquet"):
        embed(source, target, rows_per_shard=1, overwrite=True)
    assert shard_sizes_of_ours(target) == [4, 4, 2]


def shard_sizes_of_ours(target):
    return [pq.read_metadata(target / f"part-0000{i}.parquet").num_rows for i in range(3)]


def test_overwrite_removes_nothing_if_the_source_cannot_be_read(source, tmp_path, target):
    embed(source, target)
    before = content(target)
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 5}\n')
    with pytest.raises(ValueError, match="cannot be read"):
        embed(tmp_path / "bad.jsonl", target, overwrite=True)
    assert content(target) == before
