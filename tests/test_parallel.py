import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb._parallel import count_workers, parallel_encode
from sk_sentemb.cache import DiskCache, MemoryCache
from sk_sentemb.exceptions import TruncationWarning
from tests.helpers.checkpoints import HIDDEN, make_checkpoint
from tests.helpers.processes import ends_within, models_read, witnesses
from tests.helpers.tiny_models import assert_same_rows

BACKENDS = ["loky", "threading", "multiprocessing", "sequential"]
TEXTS = [
    f"the {['ferry', 'market'][i % 2]} passed the pier {i * 37 % 101} times" for i in range(99)
]
LONG = ["?" * n for n in (30, 4, 40, 10, 50, 11)]
# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(7_000)


@pytest.fixture(autouse=True)
def a_time_limit(one_thread):
    with ends_within(240):
        yield


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    with witnesses(folder):
        yield folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("parallel") / "model", seed=next(_seeds))


@pytest.fixture
def fresh_model(tmp_path):
    """Weights that no process has read yet."""
    return make_checkpoint(tmp_path / "fresh", seed=next(_seeds))


@pytest.fixture(scope="module")
def expected(model):
    return SentenceEmbedder(model, cache=None).fit_transform(TEXTS)


def embed(X, model, *, backend, n_jobs=2, cache=None, **params):
    embedder = SentenceEmbedder(model, n_jobs=n_jobs, cache=cache, **params)
    with joblib.parallel_config(backend=backend):
        return embedder.fit_transform(X)


CACHES = {"none": lambda _: None, "object": lambda _: MemoryCache(), "disk": DiskCache}


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_those_of_one_job(backend, cache, model, expected, tmp_path, logs):
    cache = CACHES[cache](tmp_path)
    assert_same_rows(embed(TEXTS, model, backend=backend, cache=cache), expected)
    backwards = embed(TEXTS[::-1] + TEXTS, model, backend=backend, cache=cache)
    assert_same_rows(backwards, np.vstack([expected[::-1], expected]))
    if cache is not None:
        assert cache.statistics().n_embedded == len(TEXTS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_texts", [1, 2, 3])
def test_few_texts_are_enough(backend, n_texts, model, expected, logs):
    assert_same_rows(embed(TEXTS[:n_texts], model, backend=backend), expected[:n_texts])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_texts_are_no_rows(backend, model):
    embedder = SentenceEmbedder(model, n_jobs=2, cache=None, missing="nan").fit(["?"])
    with joblib.parallel_config(backend=backend):
        assert embedder.transform([]).shape == (0, HIDDEN)
        assert np.isnan(embedder.transform([None])).all()


@pytest.mark.parametrize("n_jobs", [-1, 3, 200])
def test_any_number_of_jobs_gives_the_same_rows(n_jobs, model, expected):
    assert_same_rows(embed(TEXTS, model, backend="threading", n_jobs=n_jobs), expected)


def test_no_jobs_are_an_error(model):
    with pytest.raises(ValueError, match="n_jobs == 0"):
        embed(TEXTS, model, backend="loky", n_jobs=0)


def test_texts_of_very_different_lengths_give_the_same_rows(model):
    texts = ["", "?", "ferry " * 3_000, "pier", *TEXTS[:5], "market " * 2_000]
    alone = SentenceEmbedder(model, cache=None, long_text="chunk").fit_transform(texts)
    found = embed(texts, model, backend="threading", n_jobs=3, long_text="chunk")
    assert_same_rows(found, alone)


def test_settings_go_to_the_workers(model, logs):
    settings = {"prompt": "pier: ", "pooling": "cls", "normalize": False, "truncate_dim": 7}
    alone = SentenceEmbedder(model, cache=None, **settings).fit_transform(TEXTS)
    assert_same_rows(embed(TEXTS, model, backend="loky", **settings), alone)


def test_settings_of_an_encoder_go_to_the_workers(model, logs):
    encoder = load_encoder(model).replace(max_length=9, default_prompt="pier: ")
    encoder = encoder.with_pooling(pooling="max", normalize=False)
    with pytest.warns(TruncationWarning):
        alone = SentenceEmbedder(encoder, cache=None).fit_transform(TEXTS)
    with pytest.warns(TruncationWarning):
        assert_same_rows(embed(TEXTS, encoder, backend="loky"), alone)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_an_encoder_without_a_name_is_carried_to_the_workers(backend, fresh_model, logs):
    encoder = load_encoder(fresh_model).replace(source=None)
    alone = SentenceEmbedder(encoder, cache=None).fit_transform(TEXTS)
    assert_same_rows(embed(TEXTS, encoder, backend=backend), alone)
    n_read = models_read(logs, encoder.fingerprint)
    assert set(n_read.values()) <= {1}


def test_each_worker_reads_the_model_once(fresh_model, logs):
    for _ in range(3):
        embed(TEXTS, fresh_model, backend="loky")
    n_read = models_read(logs, load_encoder(fresh_model).fingerprint)
    assert set(n_read.values()) == {1}
    assert 1 <= len(n_read) <= 2
    assert os.getpid() not in n_read


@pytest.mark.parametrize("cache", ["none", "disk"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_truncated_texts_are_counted_wherever_they_were_cut(backend, cache, model, tmp_path, logs):
    cache = CACHES[cache](tmp_path)
    with pytest.warns(TruncationWarning, match=r"^5 of 8 texts exceed the limit of 12 tokens"):
        embed([*LONG, LONG[0], "pier"], model, backend=backend, cache=cache, max_length=12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_row_that_is_too_long_is_named(backend, model, expected, tmp_path, logs):
    # In the middle of the alphabet too, so that it is not in the first block.
    too_long = "the hill" + LONG[0]
    X = [*TEXTS[:60], too_long, *TEXTS[60:], too_long]
    settings = {"max_length": 20, "long_text": "error", "cache": tmp_path}
    with pytest.raises(ValueError, match=r"^row 60, column 0 of X has more than 20 tokens"):
        embed(X, model, backend=backend, **settings)
    # The workers are of use after an error, and no text stays claimed.
    assert_same_rows(embed(TEXTS, model, backend=backend, **settings), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bar_reaches_all_texts(backend, model, capfd, logs):
    embed(TEXTS, model, backend=backend, verbose=1)
    shown = capfd.readouterr().err
    assert f"{len(TEXTS)}/{len(TEXTS)}" in shown
    assert shown.count("embedding:") >= 1


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_progress_is_reported_block_by_block(backend, model, logs):
    done = []
    with (
        joblib.parallel_config(backend=backend),
        parallel_encode(load_encoder(model), n_jobs=2) as encode,
    ):
        encode(TEXTS, done.append)
    assert len(done) > 4
    assert done == sorted(done)
    assert done[-1] == len(TEXTS)


class EnoughError(Exception):
    pass


@pytest.mark.filterwarnings("ignore:.*tasks.* have been cancelled")  # so says joblib
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_what_is_raised_in_the_middle_stops_the_workers(backend, model, expected, logs):
    encoder = load_encoder(model)

    def stop(n_done):
        raise EnoughError

    def run():
        with joblib.parallel_config(backend=backend), parallel_encode(encoder, n_jobs=2) as encode:
            encode(TEXTS * 50, stop)

    with pytest.raises(EnoughError):
        run()
    assert_same_rows(embed(TEXTS, model, backend=backend), expected)


def test_parallel_config_decides_where_nothing_else_does(model, expected):
    embedder = SentenceEmbedder(model, cache=None).fit(TEXTS)
    assert count_workers(None) == 1
    with joblib.parallel_config("threading", n_jobs=2):
        assert count_workers(None) == 2
        assert_same_rows(embedder.transform(TEXTS), expected)
        assert count_workers(1) == 1


def test_workers_share_the_cores_and_the_caller_keeps_its_threads(model, logs):
    torch.set_num_threads(5)
    embed(TEXTS, model, backend="loky")
    assert torch.get_num_threads() == 5
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(torch.get_num_threads)() for _ in range(4))
    assert set(threads) == {max(1, joblib.cpu_count() // 2)}


def test_workers_take_any_number_of_turns(model, expected, tmp_path, logs):
    # Of one token each, so that a turn is a handful of texts.
    rows = embed(TEXTS, model, backend="loky", batch_tokens=1, cache=DiskCache(tmp_path))
    assert_same_rows(rows, expected)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_jobs_in_a_search_in_jobs(backend, model, tmp_path, logs):
    y = np.array(["market" in text for text in TEXTS])
    cache = DiskCache(tmp_path)
    grid = {"logisticregression__C": [0.1, 1.0]}
    p = make_pipeline(SentenceEmbedder(model, n_jobs=2, cache=cache), LogisticRegression())
    with joblib.parallel_config(backend=backend):
        search = GridSearchCV(p, grid, cv=3, n_jobs=2).fit(TEXTS, y)
    assert cache.statistics().n_embedded == len(TEXTS)
    assert search.best_score_ > 0.5


# Interrupts

INTERRUPTED = """
import sys, time
import joblib
import numpy as np
import torch
from sk_sentemb import SentenceEmbedder

torch.set_num_threads(1)
model, folder, backend = sys.argv[1:]
texts = sorted(f"the ferry passed the pier {i} times " * 12 for i in range(30_000))
embedder = SentenceEmbedder(model, cache=folder, n_jobs=2, verbose=1).fit(["?"])
try:
    with joblib.parallel_config(backend=backend):
        embedder.transform(texts)
except KeyboardInterrupt:
    begin = time.monotonic()
    # Nobody may be left who claims the texts that were under way.
    some = embedder.set_params(n_jobs=None).transform(texts[:200])
    alone = embedder.set_params(cache=None).transform(texts[:200])
    print("interrupted", np.abs(some - alone).max() < 1e-6, time.monotonic() - begin < 60)
"""


def read_until(stream, pattern):
    seen = ""
    while not re.search(pattern, seen):
        some = os.read(stream.fileno(), 4096).decode()
        assert some, f"ended without {pattern!r}: {seen}"
        seen += some


@pytest.mark.parametrize(
    ("backend", "to_all"),
    [
        pytest.param("loky", False),
        pytest.param("loky", True, marks=pytest.mark.slow),
        pytest.param("threading", False, marks=pytest.mark.slow),
        # Not to all: Python's own pool may then wait forever for a worker that is gone.
        pytest.param("multiprocessing", False, marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_ends_it_soon_and_leaves_no_process(backend, to_all, model, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, model, tmp_path, backend]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        try:
            read_until(process.stderr, r"[1-9]\d*/30000")
            begin = time.monotonic()
            # A terminal interrupts the workers too; `kill` and a notebook do not.
            (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
            # The workers hold the pipes, so this waits for them as well.
            out, err = process.communicate(timeout=90)
            took = time.monotonic() - begin
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err.decode()
    assert out.decode() == "interrupted True True\n"
    assert took < 60


# Dask


@pytest.fixture(scope="module")
def client(logs, tmp_path_factory):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        ends_within(120),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=":0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1")
        client.wait_for_workers(2)
        yield client


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("n_jobs", [None, 2, -1])
def test_dask_gives_the_rows_of_one_job(n_jobs, cache, model, expected, client, tmp_path):
    cache = CACHES[cache](tmp_path)
    with joblib.parallel_config(backend="dask"):
        assert count_workers(n_jobs) == 2
    rows = embed(TEXTS[::-1], model, backend="dask", n_jobs=n_jobs, cache=cache)
    assert_same_rows(rows, expected[::-1])
    if cache is not None:
        assert cache.statistics().n_embedded == len(TEXTS)


def test_a_worker_of_dask_reads_the_model_once(fresh_model, client, logs):
    for _ in range(3):
        embed(TEXTS, fresh_model, backend="dask")
    n_read = models_read(logs, load_encoder(fresh_model).fingerprint)
    assert set(n_read) == set(client.run(os.getpid).values())
    assert set(n_read.values()) == {1}


def test_dask_carries_an_encoder_without_a_name(fresh_model, client, logs):
    encoder = load_encoder(fresh_model).replace(source=None)
    alone = SentenceEmbedder(encoder, cache=None).fit_transform(TEXTS)
    assert_same_rows(embed(TEXTS, encoder, backend="dask"), alone)
    assert set(models_read(logs, encoder.fingerprint).values()) == {1}


def test_dask_brings_counts_and_errors_back(model, client):
    with pytest.warns(TruncationWarning, match=r"^4 of 6 texts exceed the limit of 12 tokens"):
        embed(LONG, model, backend="dask", max_length=12)
    with pytest.raises(ValueError, match=r"^row 60, column 0 of X has more than 20 tokens"):
        embed(
            [*TEXTS[:60], LONG[0], *TEXTS[60:]],
            model,
            backend="dask",
            max_length=20,
            long_text="error",
        )


@pytest.mark.parametrize("n_jobs", [None, -1])
def test_a_task_of_dask_embeds_alone(n_jobs, client):
    def inside():
        with joblib.parallel_config(backend="dask"):
            return count_workers(n_jobs)

    assert client.submit(inside).result(timeout=60) == 1


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_on_dask_embeds_each_text_once(n_jobs, model, client, tmp_path):
    y = np.array(["market" in text for text in TEXTS])
    cache = DiskCache(tmp_path)
    grid = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    scores = []
    for backend, embedder in [
        ("dask", SentenceEmbedder(model, cache=cache, n_jobs=n_jobs)),
        ("sequential", SentenceEmbedder(model, cache=None)),
    ]:
        search = GridSearchCV(
            make_pipeline(embedder, LogisticRegression()), grid, cv=3, scoring="neg_log_loss"
        )
        with joblib.parallel_config(backend=backend):
            scores.append(search.fit(TEXTS, y).cv_results_["mean_test_score"])
    assert cache.statistics().n_embedded == len(TEXTS)
    np.testing.assert_allclose(*scores, rtol=1e-4)


def killer(client, *, after):
    """Kill a worker of the cluster, once so many texts are done."""
    workers = list(client.run(os.getpid).values())
    killed = []

    def on_progress(n_done):
        if n_done >= after and not killed:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(n_done)

    return on_progress, killed


MANY = [f"the ferry passed the pier {i * 7919 % 10_007} times " * 3 for i in range(4_000)]


@pytest.mark.parametrize(
    "named",
    [pytest.param(True, id="named"), pytest.param(False, marks=pytest.mark.slow, id="carried")],
)
def test_dask_loses_nothing_with_a_worker(named, model, client):
    encoder = load_encoder(model) if named else load_encoder(model).replace(source=None)
    alone = encoder.encode(MANY)
    on_progress, killed = killer(client, after=1)
    with (
        joblib.parallel_config(backend="dask"),
        parallel_encode(encoder, n_jobs=-1) as encode,
    ):
        found = encode(MANY, on_progress)
    assert killed[0] < len(MANY) / 2
    assert_same_rows(found.vectors, alone.vectors)
    client.wait_for_workers(2)


@pytest.mark.slow
def test_a_search_that_lost_a_worker_goes_on_where_it_was(model, client, tmp_path):
    y = np.arange(len(MANY)) % 2
    cache = DiskCache(tmp_path)
    p = make_pipeline(SentenceEmbedder(model, cache=cache), LogisticRegression())
    search = GridSearchCV(p, {"logisticregression__C": [0.1, 1.0]}, cv=3, scoring="neg_log_loss")
    workers = set(client.run(os.getpid).values())

    def kill_one_when_some_texts_are_done():
        while not cache.statistics().n_embedded:
            time.sleep(0.02)
        os.kill(min(workers), signal.SIGKILL)

    with ThreadPoolExecutor(1) as beside, joblib.parallel_config(backend="dask"):
        killed = beside.submit(kill_one_when_some_texts_are_done)
        # joblib leaves folds with a single worker, and Dask cannot make them again.
        with suppress(CancelledError):
            search.fit(MANY, y)
        killed.result()
        client.wait_for_workers(2)
        search.fit(MANY, y)
    # What the killed worker had claimed is embedded again, and nothing else.
    assert len(MANY) <= cache.statistics().n_embedded <= 1.5 * len(MANY)
    assert set(client.run(os.getpid).values()) != workers
    alone = GridSearchCV(
        make_pipeline(SentenceEmbedder(model, cache=None), LogisticRegression()),
        search.param_grid,
        cv=3,
        scoring="neg_log_loss",
    ).fit(MANY, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-4
    )


# Ray

ON_RAY = """
import os, sys
import joblib
import numpy as np
import ray
from ray.util.joblib import register_ray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sk_sentemb import SentenceEmbedder
from sk_sentemb.cache import DiskCache

model, folder, scratch = sys.argv[1:]
texts = [f"the ferry passed the pier {i} times " * 4 for i in range(4_000)]
alone = SentenceEmbedder(model, cache=None).fit_transform(texts)
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, _temp_dir=scratch)
register_ray()
cache = DiskCache(folder)
with joblib.parallel_config(backend="ray"):
    rows = SentenceEmbedder(model, cache=cache, n_jobs=2).fit_transform(texts)
    np.testing.assert_allclose(rows, alone, atol=1e-6)
    assert cache.statistics().n_embedded == len(texts)
    embedder = SentenceEmbedder(model, cache=None, n_jobs=-1, max_length=20, long_text="error")
    try:
        embedder.fit_transform([*"abcdefgh", "?" * 30, *"ijklmnop"])
    except ValueError as error:
        print(error)
    texts = [text + " again" for text in texts[:100]]
    search = GridSearchCV(
        make_pipeline(SentenceEmbedder(model, cache=cache), LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        n_jobs=2,
    ).fit(texts, np.arange(100) % 2)
    assert cache.statistics().n_embedded == 4_100
ray.shutdown()
"""


@pytest.mark.slow
def test_ray_gives_the_rows_of_one_job(fresh_model, tmp_path, logs):
    pytest.importorskip("ray", reason="Ray is not installed")
    settings = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    # In a process of its own, because Ray replaces joblib's pool of processes for good.
    with tempfile.TemporaryDirectory(
        prefix="ray-"
    ) as scratch:  # short, as names of sockets must be
        command = [sys.executable, "-c", ON_RAY, fresh_model, tmp_path / "cache", scratch]
        with subprocess.Popen(
            command,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=230)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    assert out.startswith("row 8, column 0 of X has more than 20 tokens")
    # The process itself, and two workers for each of the rows, the error and the search.
    n_read = models_read(logs, load_encoder(fresh_model).fingerprint)
    assert set(n_read.values()) == {1}
    assert 2 <= len(n_read) <= 7
