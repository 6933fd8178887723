"""Claims of processes that are gone are void, also where another process has their number by now."""

import os
import platform
import sqlite3
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from sk_sentemb import SentenceEmbedder, load_encoder
from sk_sentemb.cache import open_cache, processes
from sk_sentemb.cache.namespace import namespace_for
from sk_sentemb.cache.processes import is_alive, process_id
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import TINY

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is known of processes here")

TEXTS = ["a", "b"]


@pytest.fixture(params=["proc", "ps"])
def asked(request, monkeypatch):
    """Each of the ways to ask for the start of a process."""
    if request.param == "ps":
        if not processes._ask_ps(os.getpid()):
            pytest.skip("there is no ps here")
        monkeypatch.setattr(processes, "Path", _NoProc)


class _NoProc:
    def __init__(self, *parts):
        assert parts[0] == "/proc"

    def read_text(self, errors):
        raise FileNotFoundError


def claim(folder, owner):
    """Let an owner claim the texts for as long as it may."""
    SentenceEmbedder(TINY, cache=folder).fit_transform(["another"])
    rows = [
        (key, owner, time.time() + 299) for key in namespace_for(load_encoder(TINY)).keys(TEXTS)
    ]
    db = sqlite3.connect(open_cache(folder).path)
    with db:
        db.executemany("INSERT INTO claim VALUES (?, ?, ?)", rows)
    db.close()


def name_of(process):
    return f"{platform.node()} {process} {processes._read_start(process)}"


@pytest.mark.parametrize("start", ["", " 1", " Mon Jan  1 00:00:00 2001"])
def test_a_reused_process_id_is_not_waited_for(start, tmp_path):
    claim(tmp_path, f"{platform.node()} {os.getppid()}{start}")
    with ends_within(30):
        SentenceEmbedder(TINY, cache=tmp_path).fit_transform(TEXTS)


def test_a_process_that_runs_is_waited_for(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        owner = name_of(other.pid)
        assert is_alive(owner)
        claim(tmp_path, owner)
        with pytest.raises(BaseException, match="not done within 3"), ends_within(3):
            SentenceEmbedder(TINY, cache=tmp_path).fit_transform(TEXTS)
    finally:
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(owner)  # its exit status has not been read
        other.communicate()
    assert not is_alive(owner)
    with ends_within(30):
        SentenceEmbedder(TINY, cache=tmp_path).fit_transform(TEXTS)


def test_is_running(asked):
    me = process_id()
    assert me == process_id()
    assert is_alive(me)
    assert not is_alive(me + "1")
    assert not is_alive(me.rpartition(" ")[0])
    assert is_alive("another-computer 1 2")
    assert is_alive(f"{platform.node()} no-number 2")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = name_of(child.pid)
    assert is_alive(name)
    child.communicate(b"\n")
    assert not is_alive(name)


def test_a_system_that_tells_nothing_waits_for_the_lease(monkeypatch):
    monkeypatch.setattr(processes, "os", SimpleNamespace(name="nt", getpid=os.getpid))
    assert is_alive(process_id())
    assert is_alive(f"{platform.node()} 999999999 2")
