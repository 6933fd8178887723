"""Folders that are replaced completely or not at all: kills, damage, foreign files, concurrency."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sk_sentemb.exceptions import IndexFileError
from sk_sentemb.retrieval import snapshot as snapshot_module
from sk_sentemb.retrieval.snapshot import MANIFEST, list_files
from sk_sentemb.retrieval.storage import load_parts as load
from sk_sentemb.retrieval.storage import save_parts
from tests.retrieval.stored_parts import assert_same_parts, make_parts, numbers_in_backend

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path):
    save_parts(tmp_path / "index", make_parts(1))
    return tmp_path / "index"


def data_of(folder):
    (data,) = folder.glob("data-*")
    return data


def test_a_save_replaces_the_one_before_and_removes_its_files(folder):
    save_parts(folder, make_parts(2, n=5))
    assert_same_parts(load(folder), make_parts(2, n=5))
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        data_of(folder).name,
        MANIFEST,
    ]


def test_a_reader_keeps_what_it_mapped(folder):
    old = load(folder)
    save_parts(folder, make_parts(2))
    assert_same_parts(old, make_parts(1))
    assert isinstance(old.arrays["embeddings"], np.memmap)


def test_an_index_is_saved_over_the_files_that_it_is_mapped_from(folder):
    old = load(folder)
    save_parts(folder, old)
    save_parts(folder, load(folder))
    assert_same_parts(load(folder), make_parts(1))


class InterruptedBackend:
    name, dim, spec = "usearch", 4, ""

    def save(self, folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_save_leaves_the_folder_as_it_was(folder):
    before = list_files(folder)
    with pytest.raises(KeyboardInterrupt):
        save_parts(folder, make_parts(2)._replace(backend=InterruptedBackend()))
    assert list_files(folder) == before
    assert_same_parts(load(folder), make_parts(1))


def test_a_column_that_cannot_be_saved_creates_no_folder(tmp_path):
    with pytest.raises(ValueError, match="column 'tags' of the documents"):
        save_parts(tmp_path / "index", make_parts(1, n=1, tags=[(1,)]))
    assert not (tmp_path / "index").exists()


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from tests.retrieval.stored_parts import make_parts, numbers_in_backend
from sk_sentemb.retrieval.storage import load_parts as load, save_parts

folder, n_trials = Path(sys.argv[1]), int(sys.argv[2])
parts = make_parts(0, n=3000)
save_parts(folder, parts)
start = time.perf_counter()
save_parts(folder, parts)
duration = time.perf_counter() - start

for trial in range(1, n_trials + 1):
    old = load(folder).attributes["number"]
    new = make_parts(trial, n=3000, embedder=parts.embedder)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, b"1")
        try:
            save_parts(folder, new)
        finally:
            os._exit(0)
    os.read(read, 1)
    time.sleep(random.Random(trial).uniform(0, 1.2 * duration))
    n_data = len(list(folder.glob("data-*")))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(read), os.close(write)
    found = load(folder, verify=True)
    number = found.attributes["number"]
    assert number in (old, trial)
    assert (found.arrays["embeddings"] == number).all() and found.arrays["embeddings"].shape == (3000, 4)
    assert numbers_in_backend(found) == {number}
    assert (found.documents.frame["id"].str.split("-").str[0] == str(number)).all()
    print("killed" if os.WIFSIGNALED(status) else "ended", "new" if number == trial else "old", n_data)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("n_trials", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_a_kill_at_any_instant_leaves_the_old_or_the_new_index(tmp_path, run_python, n_trials):
    found = run_python(KILLED, tmp_path / "index", n_trials).stdout.splitlines()
    assert len(found) == n_trials
    killed = [line.split()[1:] for line in found if line.startswith("killed")]
    # Some were killed while the new files were there and were not valid yet.
    assert ["old", "2"] in killed
    # The next save removes what the killed ones left behind.
    save_parts(tmp_path / "index", make_parts(7))
    data_of(tmp_path / "index")
    assert_same_parts(load(tmp_path / "index"), make_parts(7))


STEPS = ["flush", "compute_digest", "flush_folder", "write_text", "rmtree"]

KILLED_AT_STEPS = """
import os, shutil, signal, sys
from sk_sentemb.retrieval import snapshot
from sk_sentemb.retrieval.storage import load_parts as load, save_parts
from tests.retrieval.stored_parts import assert_same_parts, make_parts, numbers_in_backend

folder, *steps = sys.argv[1:]
old, new = make_parts(1), make_parts(2)
for step in steps:
    save_parts(folder, old)
    child = os.fork()
    if not child:
        where = shutil if step == "rmtree" else snapshot
        setattr(where, step, lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))
        save_parts(folder, new)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    found = load(folder)
    assert_same_parts(found, new if step == "rmtree" else old)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_each_step_leaves_the_old_or_the_new_index(folder, run_python):
    run_python(KILLED_AT_STEPS, folder, *STEPS)


def test_saves_at_the_same_time_wait_for_each_other(folder):
    embedder = make_parts(0).embedder

    def save(number):
        for _ in range(3):
            save_parts(folder, make_parts(number, n=number, embedder=embedder))

    def read(_):
        for _ in range(30):
            found = load(folder, embedder=embedder)
            number = found.attributes["number"]
            assert (found.arrays["embeddings"] == number).all()
            assert numbers_in_backend(found) == {number}

    with ThreadPoolExecutor(5) as pool:
        runs = [*map(pool.submit, [save, save, save, read, read], [2, 3, 4, 0, 0])]
    for run in runs:
        run.result()
    number = load(folder).attributes["number"]
    assert_same_parts(load(folder), make_parts(number, n=number))
    data_of(folder)


@pytest.mark.parametrize("name", ["embeddings.npy", "documents.arrow", "backend/index.usearch"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "replace"])
def test_damaged_files_are_errors(folder, name, damage):
    file = data_of(folder) / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[:-8])
    elif damage == "remove":
        file.unlink()
    else:
        file.write_bytes(b"of another program")
    match = {
        "flip": "its checksum does not match",
        "truncate": "was truncated or replaced",
        "remove": "is missing",
        "replace": "was truncated or replaced",
    }[damage]
    with pytest.raises(IndexFileError, match=match) as error:
        load(folder)
    assert str(file) in str(error.value)


def test_large_files_are_verified_on_request(folder, monkeypatch):
    monkeypatch.setattr(snapshot_module, "VERIFIED_BYTES", 300)
    file = data_of(folder) / "embeddings.npy"
    content = bytearray(file.read_bytes())
    assert len(content) > 300
    content[-1] ^= 1
    file.write_bytes(content)
    load(folder)
    with pytest.raises(IndexFileError, match="its checksum does not match"):
        load(folder, verify=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text[:-30], "is damaged"),
        (lambda text: text.replace('"number": 1', '"number": 2'), "checksum does not match"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "has version 9 of the format"),
        (lambda text: "{}", "was not written by SemanticIndex.save"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: "", "is damaged"),
    ],
)
def test_damaged_manifests_are_errors(folder, change, match):
    file = folder / MANIFEST
    file.write_text(change(file.read_text()))
    with pytest.raises(IndexFileError, match=match):
        load(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(folder):
    file = folder / MANIFEST
    manifest = json.loads(file.read_text())
    for change in (
        {"data": "../other"},
        {"files": {"../../secret": {"bytes": 1, "sha256": ""}}},
        {"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}},
    ):
        changed = manifest | change
        changed["sha256"] = snapshot_module._compute_digest_of(changed)
        file.write_text(json.dumps(changed))
        with pytest.raises(IndexFileError, match="names files outside of the folder"):
            load(folder)


def test_folders_without_an_index_are_errors(tmp_path):
    (tmp_path / "file").write_text("text")
    for name in ("nowhere", "file", "."):
        with pytest.raises(FileNotFoundError, match="holds no saved index"):
            load(tmp_path / name)


def test_folders_with_other_files_are_not_written(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds \['notes.txt'\], which do not belong"):
        save_parts(tmp_path, make_parts(1))
    with pytest.raises(FileExistsError, match="is a file"):
        save_parts(tmp_path / "notes.txt", make_parts(1))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="is a broken link"):
        save_parts(tmp_path / "link", make_parts(1))
    assert sorted(os.listdir(tmp_path)) == ["link", "notes.txt"]


def test_files_of_others_beside_an_index_stay(folder):
    (folder / "README.md").write_text("mine")
    (folder / "data-mine").mkdir()
    save_parts(folder, make_parts(2))
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "data-mine").is_dir()
    assert_same_parts(load(folder), make_parts(2))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_index_loads_from_a_folder_that_is_read_only(folder):
    folder.chmod(0o500)
    try:
        assert_same_parts(load(folder), make_parts(1))
    finally:
        folder.chmod(0o700)
