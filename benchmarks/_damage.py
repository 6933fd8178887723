"""Effects of killed writers, corrupt files and read-only folders on a store.

Every use of a store is a process of its own, since some damage kills the process that meets it. A
loss of power is not among the damages; it is what `synchronous = OFF` does not survive.
"""

import os
import random
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_int
from functools import partial
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import lmdb
from _stores import FLUSH, Store, fill, keys_of, record

# What comes of writing, and of reading then.
Outcome = tuple[str, str]

_KEYS = keys_of(50)
_NEW_KEYS = keys_of(100, seed=1)  # so many more that no store fits them into the space it takes

_FORK = get_context("fork")
_PATIENCE = 60.0
_NOBODY = 65534


def outcomes_of_damage(store: Store, n_trials: int) -> dict[str, list[Outcome]]:
    """Damage copies of a store, each kind of damage so many times, and use them."""
    trials = range(n_trials)
    with TemporaryDirectory() as whole:
        fill(store, whole, _KEYS)
        outcomes = {"two writers killed": [_kill(store, whole, seed) for seed in trials]}
        for name, damage in _DAMAGES.items():
            outcomes[name] = [_damage(store, whole, damage, seed) for seed in trials]
        for name, hinder in _HINDRANCES.items():
            outcomes[name] = [_hinder(store, whole, hinder)]
    return outcomes


def _kill(store: Store, whole: str, seed: int) -> Outcome:
    with _copy(whole) as folder:
        counts = [_FORK.RawValue(c_int) for _ in range(2)]
        writers = [
            _FORK.Process(target=_write_on, args=(store, folder, *numbered))
            for numbered in enumerate(counts)
        ]
        for writer in writers:
            writer.start()
        while not any(n.value for n in counts) and all(w.is_alive() for w in writers):
            sleep(0.001)
        sleep(random.Random(seed).uniform(0, 0.2))
        for writer in writers:
            writer.kill()
            writer.join()
        committed = [
            key
            for number, n_flushes in enumerate(counts)
            for turn in range(n_flushes.value)
            for key in _keys_of_writer(number, turn)
        ]
        return _use(store, folder, _KEYS + committed)


def _write_on(store: Store, folder: str, number: int, n_flushes: c_int) -> None:
    with store.open(folder) as handle:
        for turn in count():
            store.put(handle, _keys_of_writer(number, turn))
            n_flushes.value += 1


def _keys_of_writer(number: int, turn: int) -> list[bytes]:
    return keys_of(FLUSH, seed=2 + 2 * turn + number)


def _damage(
    store: Store, whole: str, damage: Callable[[Path, random.Random], None], seed: int
) -> Outcome:
    with _copy(whole) as folder:
        rng = random.Random(seed)
        damage(rng.choice(sorted(Path(folder).glob(store.pattern))), rng)
        return _use(store, folder, _KEYS)


def _noise(file: Path, rng: random.Random, n_bytes: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(rng.randrange(0, file.stat().st_size, n_bytes))
        opened.write(rng.randbytes(n_bytes))


def _cut(file: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(file.stat().st_size))


_DAMAGES = {
    "16 bytes of noise": partial(_noise, n_bytes=16),
    "4,096 bytes of noise": partial(_noise, n_bytes=4096),
    "cut short": _cut,
}


def _hinder(store: Store, whole: str, hinder: Callable[[str], None]) -> Outcome:
    with _copy(whole) as folder:
        return _use(store, folder, _KEYS, partial(hinder, folder))


def _forbid_growth(folder: str) -> None:
    limit = max(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) - 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _forbid_writing(folder: str) -> None:
    for path in [Path(folder), *Path(folder).rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() == 0:  # who may write everywhere
        os.seteuid(_NOBODY)


# Stores are opened as ever: read without locks, as SQLite's `immutable` and LMDB's `lock=False` do,
# one that another process writes gives back anything.
_HINDRANCES = {"no space": _forbid_growth, "read-only": _forbid_writing}


@contextmanager
def _copy(folder: str) -> Iterator[str]:
    with TemporaryDirectory() as copy:
        yield shutil.copytree(folder, copy, dirs_exist_ok=True)


def _use(store: Store, folder: str, keys: list[bytes], *before: Callable[[], None]) -> Outcome:
    written = _in_child(*before, partial(_write, store, folder))
    return written, _in_child(*before, partial(_read, store, folder, keys))


def _read(store: Store, folder: str, keys: list[bytes]) -> str:
    with store.open(folder) as handle:
        found = store.get(handle, keys)
    if any(have not in (None, record(key)) for key, have in zip(keys, found, strict=True)):
        return "wrong data"
    return "some missing" if None in found else "fine"


def _write(store: Store, folder: str) -> str:
    fill(store, folder, _NEW_KEYS)
    return "fine"


def _in_child(*steps: Callable[[], Any]) -> str:
    """Return what the last step says in a new process, the error, or the signal that ends it."""
    reader, writer = _FORK.Pipe(duplex=False)
    with reader, writer:
        process = _FORK.Process(target=_tell, args=(writer, *steps))
        process.start()
        process.join(_PATIENCE)
        if process.exitcode == 0:
            return reader.recv()
        process.kill()  # where it hangs
        process.join()
    return signal.Signals(-process.exitcode).name


def _tell(writer: Connection, *steps: Callable[[], Any]) -> None:
    try:
        writer.send([step() for step in steps][-1])
    except (sqlite3.Error, lmdb.Error, OSError) as error:
        writer.send(type(error).__name__)
