"""Progress bars: none where none is asked for, and none that other processes or threads wait for."""

import os

import pytest
from tqdm import tqdm

from sk_sentemb._progress import progress_bar
from tests.helpers.tiny_models import TINY, TINY_SCORER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

# Of a fresh process each: what tqdm has made once stays.
_BEGIN = """
import os, random, signal, sys, threading, time
import tqdm.std
from sk_sentemb import CrossEncoderScorer, FineTuner, SentenceEmbedder
from sk_sentemb.bulk import embed_dataset
from sk_sentemb.hard_negatives import mine_hard_negatives
model, scorer, folder = sys.argv[1:4]
texts = [f"ferry {i}" for i in range(8)]


def use_all(verbose):
    tuner = FineTuner(max_steps=2, random_state=0, verbose=verbose)
    embedder = SentenceEmbedder(model, fine_tuner=tuner, verbose=verbose)
    embedder.fit(texts, [0, 1] * 4).transform(texts)
    pairs = [(text, text) for text in texts]
    CrossEncoderScorer(scorer, verbose=verbose).fit_transform(pairs)
    frozen = SentenceEmbedder(model)
    mine_hard_negatives(
        frozen, texts[:2], texts[2:4], texts, n_negatives=1, verbose=verbose
    )
    import pandas as pd
    pd.DataFrame({"text": texts}).to_csv(f"{folder}/texts.csv", index=False)
    embed_dataset(
        frozen, f"{folder}/texts.csv", f"{folder}/vectors-{verbose}",
        column="text", progress=bool(verbose),
    )
"""

_SILENT = """
use_all(verbose=0)
# Made with the first bar, were it a disabled one.
assert not hasattr(tqdm.std.tqdm, "_lock")
assert not hasattr(tqdm.std.TqdmDefaultWriteLock, "mp_lock")
assert [thread.name for thread in threading.enumerate()] == ["MainThread"], threading.enumerate()
"""

_SHOWN = """
use_all(verbose=1)
assert not hasattr(tqdm.std.TqdmDefaultWriteLock, "mp_lock")
assert tqdm.std.tqdm.monitor is None
assert [thread.name for thread in threading.enumerate()] == ["MainThread"], threading.enumerate()
"""

# A thread is in the lock of the bars while another one forks.
_FORK_IN_THE_LOCK = """
from sk_sentemb._progress import _Bar
embedder = SentenceEmbedder(model, verbose=1, cache=None).fit(texts)
embedder.transform(texts)
inside, leave = threading.Event(), threading.Event()


def hold():
    with _Bar.get_lock():
        inside.set()
        leave.wait(60)


thread = threading.Thread(target=hold)
thread.start()
inside.wait(60)
child = os.fork()
if not child:
    embedder.transform(texts)
    os._exit(0)
end = time.monotonic() + 30
while os.waitpid(child, os.WNOHANG) == (0, 0):
    if time.monotonic() > end:
        os.kill(child, signal.SIGKILL)
        sys.exit("the child hangs")
    time.sleep(0.01)
leave.set()
thread.join()
embedder.transform(texts)
"""

_KILLS = """
import faulthandler
embedder = SentenceEmbedder(model, verbose=int(sys.argv[5])).fit(texts)
embedder.transform(texts)
draw = random.Random(0)
for _ in range(int(sys.argv[4])):
    child = os.fork()
    if not child:
        while True:
            embedder.transform(texts)
    time.sleep(0.02 + 0.05 * draw.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    faulthandler.dump_traceback_later(20, exit=True)
    embedder.transform(texts)
    faulthandler.cancel_dump_traceback_later()
"""


def run(code, run_python, folder, *arguments):
    return run_python(_BEGIN + code, TINY, TINY_SCORER, folder, *arguments).stderr


@pytest.mark.parametrize("verbose", [0, 1])
def test_no_shared_lock_and_no_thread(verbose, run_python, tmp_path):
    code = _SHOWN + _FORK_IN_THE_LOCK if verbose else _SILENT
    shown = run(code + _KILLS, run_python, tmp_path, 20, verbose)
    for work in ("fine-tuning", "embedding", "mining", "scoring"):
        assert (f"{work}:" in shown) == bool(verbose), work


@pytest.mark.slow
def test_killed_forks_block_no_other_process(run_python, tmp_path):
    run(_KILLS, run_python, tmp_path, 400, 0)


def test_a_bar_is_below_those_of_the_caller(capsys):
    with tqdm(total=1) as outer, progress_bar(2, shown=True, work="ours", unit="row") as inner:
        inner.update()
        assert (outer.pos, inner.pos) == (0, -1)
    assert "ours:" in capsys.readouterr().err
