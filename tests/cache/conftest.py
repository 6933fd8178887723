import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache, MemoryCache
from tests.cache.disk_cache_helpers import MORE, SPACE, TEXTS, count_computed, run_without_warnings
from tests.helpers.tiny_models import TINY


@pytest.fixture
def public():
    """A folder that another user can reach."""
    with TemporaryDirectory(prefix="sk_sentemb-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            path.chmod(0o755)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The file of a cache with texts, and with claims of a process that is gone."""
    cache = DiskCache(tmp_path_factory.mktemp("cache"))
    run_without_warnings(
        lambda: (count_computed(cache, TEXTS), cache.claim(SPACE, SPACE.keys(MORE), 3))
    )
    return cache.path


@pytest.fixture
def copies(filled, tmp_path):
    """Make caches that another process has filled."""

    def make(n):
        caches = [DiskCache(tmp_path / f"cache{i}") for i in range(n)]
        for cache in caches:
            cache.path.parent.mkdir()
            shutil.copy(filled, cache.path)
        return caches

    return make


@pytest.fixture
def warm(copies):
    return copies(1)[0]


@pytest.fixture(scope="module")
def tiny():
    return SentenceEmbedder(TINY, cache=None).fit(TEXTS)


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    return MemoryCache() if request.param == "memory" else DiskCache(tmp_path / "cache")
