import hashlib
import os
import random
import sqlite3
import warnings
from multiprocessing import get_context

import numpy as np

from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache.namespace import Namespace
from sk_sentemb.cache.single_flight import get_or_compute
from sk_sentemb.encoder import Embedded
from sk_sentemb.exceptions import CacheWarning

TEXTS = [f"the ferry {i} passed the pier" for i in range(40)]


MORE = [f"nobody remembers the storm {i}" for i in range(10)]


LIMIT = 30.0


NOBODY = 65534


SPACE = Namespace(bytes(range(32)), model="some/model", fingerprint="f00d", dim=16)


def embed(texts, on_progress=None):
    digests = [hashlib.blake2b(text.encode(), digest_size=SPACE.dim).digest() for text in texts]
    vectors = np.array([list(digest) for digest in digests], dtype=np.float32)
    return Embedded(vectors.reshape(-1, SPACE.dim), np.array([d[0] > 99 for d in digests], bool))


def count_computed(cache, texts, run=embed, tokens_per_pass=50):
    """Get vectors, be sure that they are right, and return how many texts had to be embedded."""
    n_embedded = 0

    def count(asked, on_progress):
        nonlocal n_embedded
        n_embedded += len(asked)
        return run(asked, on_progress)

    found = get_or_compute(
        cache, SPACE, texts, count, tokens_per_pass=tokens_per_pass, on_progress=lambda n: None
    )
    assert_right(found, texts)
    return n_embedded


def assert_right(found, texts):
    expected = embed(texts)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    np.testing.assert_array_equal(found.truncated, expected.truncated)


def records_of(texts):
    return dict(zip(SPACE.keys(texts), SPACE.serialize(embed(texts)), strict=True))


FORK = get_context("fork")


def start(action, *arguments):
    process = FORK.Process(target=action, args=arguments, daemon=True)
    process.start()
    return process


def run_in_process(action):
    """Call in a process of its own; return what it returns, and what its cache warned of."""
    ours, theirs = FORK.Pipe(duplex=False)

    def run():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer = action()
            except BaseException as error:
                theirs.send(error)
                raise
        said = [str(w.message) for w in caught if issubclass(w.category, CacheWarning)]
        theirs.send((answer, said))

    process = start(run)
    theirs.close()
    try:
        assert ours.poll(LIMIT), f"not done within {LIMIT} seconds"
        answer = ours.recv()
    finally:
        process.kill()
        process.join()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def run_without_warnings(action):
    """Call in a process of its own, where the cache may not warn of anything."""
    answer, said = run_in_process(action)
    assert said == []
    return answer


def drop_privileges():
    """Become a user to whom permissions apply."""
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def sql(cache, *statements):
    """Reach into the file."""
    db = sqlite3.connect(cache.path, isolation_level=None)
    try:
        return [db.execute(statement).fetchall() for statement in statements][-1]
    finally:
        db.close()


def with_cache(embedder, cache):
    return SentenceEmbedder(embedder.encoder_, cache=cache).fit(TEXTS)


def journal_of(cache):
    return cache.path.with_name(cache.path.name + "-journal")


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start, os.SEEK_SET if start >= 0 else os.SEEK_END)
        file.write(content)


def noise(n):
    return random.Random(n).randbytes(n)
