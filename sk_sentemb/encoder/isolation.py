"""Isolation from the caller: default settings of torch, and locks that survive a fork."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

# The dtypes that float32 matrix products are rounded to at reduced precision.
_REDUCED = ("tf32", "bf16")

# The legacy setting, and the precisions of the backends since torch 2.9.
_Precision = tuple[str | None, tuple[str, ...]]


_IMPORTED_IN = os.getpid()


class ForkSafeLock:
    """A lock that is free in a forked child, whichever thread of its parent held it."""

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    def acquire(self) -> None:
        """Wait until no other thread has the lock, and acquire it."""
        if self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
        self._lock.acquire()

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def isolated(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function under the default settings of torch, and in a new thread in a forked child."""
    # OpenMP keeps a pool of workers for each thread that ever computed in parallel. A forked child has
    # the pool of its parent but not the workers, and would wait for them forever.

    def run_in_default_state(*args: P.args, **kwargs: P.kwargs) -> T:
        with default_torch_state():
            return function(*args, **kwargs)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if os.getpid() != _IMPORTED_IN:
            with ThreadPoolExecutor(max_workers=1) as fresh:
                return fresh.submit(run_in_default_state, *args, **kwargs).result()
        return run_in_default_state(*args, **kwargs)

    return run


@contextmanager
def default_torch_state() -> Iterator[None]:
    """Run under the default settings of torch, and restore the caller's settings."""
    # Autocast, gradient and inference mode, and the default device are settings of the thread. The
    # default dtype and the precision of float32 matrix products are settings of the process, so other
    # threads see their defaults meanwhile.
    with ExitStack() as stack:
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))  # enables gradients as well
        stack.enter_context(_PROCESS)
        yield


class _ProcessSettings:
    """Default settings of the process while any thread is in this context."""

    def __init__(self) -> None:
        self._inside: Counter[int] = Counter()
        self._dtype: torch.dtype | None = None
        self._precision: _Precision | None = None

    def __enter__(self) -> None:
        with SETTINGS_LOCK:
            if (dtype := torch.get_default_dtype()) != torch.float32:
                self._dtype = dtype
                torch.set_default_dtype(torch.float32)
            if _is_reduced(precision := _read_precision()):
                self._precision = precision
                _set_full_precision()
            self._inside[threading.get_ident()] += 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with SETTINGS_LOCK:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
            if not self._inside:
                self._restore()

    def forget_other_threads(self) -> None:
        """Leave the context on behalf of the threads of the parent, which a forked child lacks."""
        me = threading.get_ident()
        self._inside = Counter({me: self._inside[me]} if me in self._inside else {})
        if not self._inside:
            self._restore()

    def _restore(self) -> None:
        # Unless another dtype has been set in the meantime.
        if self._dtype is not None and torch.get_default_dtype() == torch.float32:
            torch.set_default_dtype(self._dtype)
        if self._precision is not None:
            _set_precision(self._precision)
        self._dtype = self._precision = None


# Also held while other code changes such a setting temporarily, as transformers does with the default
# dtype: otherwise that would be taken for the setting of the caller, and restored later.
SETTINGS_LOCK = ForkSafeLock()
_PROCESS = _ProcessSettings()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.forget_other_threads)


def _precision_switches() -> list[Any]:
    """Return the objects with the attribute ``fp32_precision`` of a backend's operation."""
    cuda, mkldnn = torch.backends.cuda, torch.backends.mkldnn
    found = [getattr(cuda, "matmul", None), *(getattr(mkldnn, n, None) for n in ("matmul", "conv"))]
    return [switch for switch in found if hasattr(switch, "fp32_precision")]


_SWITCHES = _precision_switches()


def _read_precision() -> _Precision:
    try:
        legacy = torch.get_float32_matmul_precision()
    except RuntimeError:  # each backend has been given a precision of its own
        legacy = None
    return legacy, tuple(switch.fp32_precision for switch in _SWITCHES)


def _is_reduced(precision: _Precision) -> bool:
    legacy, backends = precision
    return legacy != "highest" or any(value in _REDUCED for value in backends)


def _set_full_precision() -> None:
    torch.set_float32_matmul_precision("highest")
    for switch in _SWITCHES:
        if switch.fp32_precision in _REDUCED:
            switch.fp32_precision = "ieee"


def _set_precision(precision: _Precision) -> None:
    legacy, backends = precision
    if legacy is not None:
        torch.set_float32_matmul_precision(legacy)
    for switch, value in zip(_SWITCHES, backends, strict=True):
        if switch.fp32_precision != value:
            switch.fp32_precision = "none"  # where it was inherited, it is again
        if switch.fp32_precision != value:
            switch.fp32_precision = value
