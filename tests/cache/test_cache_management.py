import copy
import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import DiskCache, MemoryCache, open_cache, prewarm
from tests.cache.memory_cache_helpers import SPACE, TEXTS, embed, n_embedded_by, records_of
from tests.helpers.checkpoints import HIDDEN
from tests.helpers.tiny_models import (
    OTHER,
    TINY,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: clone(e).fit(TEXTS)])
def test_memory_cache_is_shared_by_copies_of_an_embedder(duplicate):
    cache = MemoryCache()
    embedder = SentenceEmbedder(TINY, cache=cache).fit(TEXTS)
    embedder.transform(TEXTS)
    other = duplicate(embedder)
    assert other.cache is cache
    assert n_embedded_by(cache, lambda: other.transform(TEXTS)) == 0


def test_memory_cache_unpickles_to_itself_in_its_process():
    cache = MemoryCache(123_456)
    cache.put(SPACE, records_of("abc"))
    assert pickle.loads(pickle.dumps(cache)) is cache
    assert all(text.encode() not in pickle.dumps(cache) for text in map(str, records_of("abc")))
    assert len(pickle.dumps(cache)) < 200


def test_memory_cache_unpickles_empty_in_another_process(tmp_path, run_python):
    cache = MemoryCache(123_456)
    embedder = SentenceEmbedder(TINY, cache=cache, store_weights_in_pickle=False).fit(TEXTS)
    embedder.transform(TEXTS)
    (tmp_path / "pickle").write_bytes(pickle.dumps((embedder, MemoryCache(5))))
    code = """
import gc, pickle, sys
def run():
    with open(sys.argv[1], "rb") as file:
        embedder, other = pickle.load(file)
    embedder.transform(["a", "b"])
    return embedder.cache.statistics(), id(embedder.cache), other.max_bytes, embedder.cache is other
first = run()
gc.collect()
second = run()
print(first[0].misses, second[0].misses, second[0].hits, second[0].max_bytes, first[1:] == second[1:])
print(second[2:])
"""
    printed = run_python(code, tmp_path / "pickle").stdout.split("\n")
    assert printed[:2] == ["2 2 2 123456 True", "(5, False)"]


def test_disk_cache_is_copied_by_its_folder(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=1_000_000)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (other.path, other.max_bytes) == (cache.path, cache.max_bytes)


def test_default_memory_cache_is_shared_by_all_embedders():
    texts = [f"{time.monotonic_ns()} {text}" for text in TEXTS]
    cache = open_cache("memory")
    assert n_embedded_by(cache, lambda: embed(texts)) == len(TEXTS)
    assert n_embedded_by(cache, lambda: embed(texts, cache="memory")) == 0
    assert n_embedded_by(cache, lambda: embed(texts, cache=None)) == 0


def test_cache_statistics_count_hits_misses_and_texts(cache):
    embed(TEXTS, cache=cache)
    embed([*TEXTS[:2], "new", "new"], cache=cache)
    embed(TEXTS, OTHER, cache=cache, normalize=False)
    found = cache.statistics()
    assert (found.n_texts, found.hits, found.misses, found.n_embedded) == (7, 2, 7, 7)
    assert found.max_bytes == cache.max_bytes
    by_model = {space.model: space for space in found.namespaces}
    assert {name: space.n_texts for name, space in by_model.items()} == {
        str(TINY): 4,
        str(OTHER): 3,
    }
    assert by_model[str(TINY)].fingerprint == load_encoder(TINY).fingerprint
    assert by_model[str(TINY)].dim == HIDDEN
    assert 0 < sum(space.n_bytes for space in found.namespaces) <= found.n_bytes
    frame = found.to_frame()
    assert list(frame) == ["model", "fingerprint", "dim", "n_texts", "n_bytes"]
    assert frame["n_texts"].sum() == found.n_texts


def test_cache_statistics_of_an_empty_cache_are_an_empty_frame(cache):
    assert len(cache.statistics().to_frame()) == 0
    assert cache.clear() == 0


@pytest.mark.parametrize("name", [str(TINY), TINY.name, load_encoder(TINY).fingerprint])
def test_memory_cache_clear_removes_a_model_by_any_of_its_names(name, cache):
    embed(TEXTS, cache=cache)
    embed(TEXTS, cache=cache, pooling="cls")
    embed(TEXTS, OTHER, cache=cache)
    assert cache.clear("tin") == cache.clear("") == cache.clear("iny") == 0
    assert cache.clear(name) == 2 * len(TEXTS)
    assert [space.model for space in cache.statistics().namespaces] == [str(OTHER)]
    assert n_embedded_by(cache, lambda: embed(TEXTS, OTHER, cache=cache)) == 0
    assert n_embedded_by(cache, lambda: embed(TEXTS, cache=cache)) == len(TEXTS)
    assert cache.clear() == 2 * len(TEXTS)
    assert cache.statistics().n_texts == 0


def test_memory_cache_clear_keeps_count_of_the_bytes():
    cache = MemoryCache()
    embed(TEXTS, cache=cache)
    embed(TEXTS, OTHER, cache=cache)
    n_bytes = cache.statistics().n_bytes
    cache.clear(str(OTHER))
    assert cache.statistics().n_bytes == n_bytes // 2
    cache.clear()
    assert cache.statistics().n_bytes == 0


def test_open_cache_returns_the_selected_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SK_SENTEMB_CACHE", str(tmp_path / "named"))
    memory, disk = MemoryCache(), DiskCache(tmp_path)
    assert open_cache(memory) is memory
    assert open_cache(disk) is disk
    assert open_cache() is open_cache("memory")
    assert open_cache(None) is open_cache(False) is open_cache(np.bool_(False)) is None
    assert open_cache(True).path.parent == open_cache(np.bool_(True)).path.parent
    assert open_cache(True).path.parent == tmp_path / "named"
    assert open_cache(tmp_path).path == open_cache(str(tmp_path)).path == disk.path


@pytest.mark.parametrize("value", [0, 1, 3.5, [], {}, b"folder", object()], ids=repr)
def test_open_cache_refuses_other_types(value):
    with pytest.raises(InvalidParameterError, match="The 'cache' parameter of SentenceEmbedder"):
        SentenceEmbedder(TINY, cache=value).fit(TEXTS)
    with pytest.raises(TypeError, match=r"^cache="):
        open_cache(value)


def test_disk_cache_refuses_an_empty_folder_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"cache='' is neither .* Pass '\./'"):
        SentenceEmbedder(TINY, cache="").fit_transform(TEXTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [MemoryCache, lambda n: DiskCache("x", max_bytes=n)])
@pytest.mark.parametrize("max_bytes", [-1, 1e9, "1 GB", None])
def test_max_bytes_is_validated(make, max_bytes):
    with pytest.raises(ValueError, match=r"max_bytes=.*: pass a number of bytes, 0 or more"):
        make(max_bytes)


@pytest.mark.parametrize("max_bytes", [-1, 0.5])
def test_max_bytes_is_validated_when_set(max_bytes):
    cache = MemoryCache(100)
    with pytest.raises(ValueError, match="max_bytes="):
        cache.max_bytes = max_bytes
    assert cache.max_bytes == 100


def frame(texts):
    return pd.DataFrame({"t": texts})


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series, pl.Series, pa.array, frame])
@pytest.mark.parametrize("n_rows", [2, 10_000])
def test_prewarm_fills_the_cache(make, n_rows, cache):
    texts = [*TEXTS, *TEXTS, "new"]
    embedder = SentenceEmbedder(TINY, cache=cache)
    prewarm(embedder, make(texts), n_rows=n_rows)
    assert not hasattr(embedder, "encoder_")
    assert cache.statistics().misses == len(TEXTS) + 1
    assert n_embedded_by(cache, lambda: embedder.fit_transform(make(texts))) == 0
    prewarm(embedder, make(["newer"]))
    assert cache.statistics().misses == len(TEXTS) + 2
