import gc
import pickle
import subprocess
import sys

import numpy as np
import pytest

from sk_sentemb._exact_search import find_nearest
from sk_sentemb.retrieval.backends import load_backend, open_backend
from tests.test_exact_search import make_embeddings

DIM, N = 24, 600
LIBRARIES = {"usearch": "usearch", "faiss": "faiss", "milvus": "pymilvus"}
EXACT = ["faiss", "milvus"]
EVERY = [
    "usearch",
    "usearch:bf16",
    "usearch:f32",
    "faiss",
    "faiss:HNSW16",
    "faiss:IVF8,Flat",
    "milvus",
]


def filled(index, keys=None):
    pytest.importorskip(LIBRARIES[index.partition(":")[0]])
    backend = open_backend(index, DIM)
    embeddings = make_embeddings(N, DIM)
    keys = np.arange(N) if keys is None else keys
    backend.add(keys[:400], embeddings[:400])
    backend.add(keys[400:], embeddings[400:])
    return backend, embeddings


@pytest.fixture(params=EVERY)
def index(request):
    return request.param


def test_candidates_hold_the_nearest(index):
    backend, embeddings = filled(index, keys=3 * np.arange(N) + 5)
    queries = make_embeddings(50, DIM, seed=1)
    candidates = backend.search(queries, 40)
    nearest, _ = find_nearest(queries, embeddings, 10)
    assert candidates.shape == (50, 40)
    assert candidates.dtype == np.int64
    found = [
        np.isin(3 * rows + 5, keys).mean() for rows, keys in zip(nearest, candidates, strict=True)
    ]
    assert np.mean(found) == 1 if index in EXACT else np.mean(found) > 0.8
    assert all(len(set(keys)) == 40 for keys in candidates)


def test_more_candidates_than_documents(index):
    backend, embeddings = filled(index)
    found = backend.search(embeddings[:1], N + 50)
    assert found.shape == (1, N + 50)
    present = found[0][found[0] >= 0]
    assert len(set(present)) == len(present) <= N
    assert (found[0][len(present) :] == -1).all()


def test_removed_documents_are_not_found(index):
    backend, embeddings = filled(index)
    gone = np.array([0, 7, 450])
    if backend.remove(gone):
        assert not np.isin(backend.search(embeddings[gone], 20), gone).any()
        backend.add(np.array([N]), embeddings[:1])
        assert backend.search(embeddings[:1], 1)[0, 0] == N
    else:
        assert index == "faiss:HNSW16"


@pytest.mark.parametrize("way", ["pickle", "folder"])
def test_a_stored_backend_finds_the_same(index, way, tmp_path):
    backend, _ = filled(index)
    queries = make_embeddings(20, DIM, seed=1)
    expected = backend.search(queries, 10)
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(backend))
    else:
        backend.save(tmp_path)
        before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
        loaded = load_backend(index, DIM, tmp_path)
    np.testing.assert_array_equal(loaded.search(queries, 10), expected)
    np.testing.assert_array_equal(backend.search(queries, 10), expected)
    loaded.add(np.array([N]), queries[:1])
    assert loaded.search(queries[:1], 1)[0, 0] == N
    if way == "folder":
        assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before


def test_no_queries(index):
    backend, embeddings = filled(index)
    assert backend.search(embeddings[:0], 5).shape == (0, 5)


def test_embeddings_beyond_unit_norm_keep_their_order():
    pytest.importorskip("usearch")
    backend = open_backend("usearch", DIM)
    embeddings = make_embeddings(N, DIM) * np.linspace(1, 50, N, dtype=np.float32)[:, np.newaxis]
    backend.add(np.arange(N), embeddings)
    queries = make_embeddings(20, DIM, seed=1)
    nearest, _ = find_nearest(queries, embeddings, 1)
    assert (backend.search(queries, 20) == nearest).any(axis=1).mean() > 0.9


def test_temporary_databases_of_milvus_are_removed():
    pytest.importorskip("pymilvus")
    from milvus_lite.server_manager import server_manager_instance

    backend, _ = filled("milvus")
    file = backend._file
    assert file.is_dir()
    assert str(file) in server_manager_instance._servers
    del backend
    gc.collect()
    assert not file.parent.exists()
    assert str(file) not in server_manager_instance._servers


PROGRAM = """
import sys, tempfile
from pathlib import Path
import numpy as np
tempfile.tempdir = sys.argv[3]  # where backends keep their temporary files
from sk_sentemb.retrieval.backends import load_backend
loaded = load_backend(sys.argv[1], {dim}, Path(sys.argv[2]))
np.save(sys.argv[4], loaded.search(np.load(sys.argv[5]), 10))
"""


@pytest.mark.parametrize("index", ["usearch", "faiss", "milvus"])
def test_a_saved_backend_is_opened_in_another_process(index, tmp_path):
    backend, _ = filled(index)
    queries = make_embeddings(20, DIM, seed=1)
    for name in ("saved", "temporary"):
        (tmp_path / name).mkdir()
    backend.save(tmp_path / "saved")
    np.save(tmp_path / "queries.npy", queries)
    paths = [tmp_path / n for n in ("saved", "temporary", "found.npy", "queries.npy")]
    command = [sys.executable, "-c", PROGRAM.format(dim=DIM), index, *map(str, paths)]
    subprocess.run(command, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), backend.search(queries, 10))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            "annoy",
            r"index='annoy': pass 'auto', 'exact', or one of \['faiss', 'milvus', 'usearch'\]",
        ),
        (3, "index=3: pass"),
        ("usearch:int8", "'int8' is not a dtype of usearch. Pass one of"),
        ("faiss:Flut", "index='faiss:Flut' is not an index that FAISS makes for 24 dimensions"),
        ("faiss:PQ7", "is not an index|cannot be trained"),
        ("milvus:corpus", "'corpus' is not the URI of a server"),
    ],
)
def test_unknown_indexes_are_refused(index, message):
    with pytest.raises(ValueError, match=message):
        open_backend(index, DIM)


def test_too_few_documents_to_train():
    pytest.importorskip("faiss")
    backend = open_backend("faiss:IVF64,Flat", DIM)
    with pytest.raises(ValueError, match="'faiss:IVF64,Flat' cannot be trained on 10 documents"):
        backend.add(np.arange(10), make_embeddings(10, DIM))


@pytest.mark.parametrize(
    ("index", "extra"), [("usearch", "search"), ("faiss", "faiss"), ("milvus", "milvus")]
)
def test_an_absent_library_names_the_extra(index, extra, monkeypatch):
    for name in ("usearch", "usearch.index", "faiss", "pymilvus"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"sk-sentemb\[{extra}\]"):
        open_backend(index, DIM)


@pytest.mark.parametrize("index", ["usearch", "faiss", "milvus"])
def test_files_that_are_gone_are_an_os_error(index, tmp_path):
    pytest.importorskip(LIBRARIES[index])
    with pytest.raises(OSError, match=r"Save the index again|No such file"):
        load_backend(index, DIM, tmp_path)
