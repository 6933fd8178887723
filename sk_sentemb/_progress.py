"""Progress: a bar on the terminal, and scikit-learn's callbacks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol
from weakref import WeakSet

from tqdm import tqdm

from .encoder import ForkSafeLock

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Replaces scikit-learn's class where it has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method unchanged."""
        return method


__all__ = [
    "N_TASKS",
    "CallbackSupportMixin",
    "ProgressBar",
    "SklearnCallbackAdapter",
    "fit_task",
    "progress_bar",
    "progress_reporter",
    "with_callbacks",
]

# scikit-learn's callbacks count tasks, and an estimator declares in advance how many there will be.
N_TASKS = 20


class ProgressBar(Protocol):
    """A progress bar that counts steps."""

    def update(self, n: int = 1) -> object:
        """Count `n` more steps."""

    def set_postfix(self, *, refresh: bool, **values: object) -> object:
        """Show values after the bar."""


class _Bar(tqdm):
    """A tqdm bar that shares no lock with other processes and starts no monitor thread."""

    # The lock of tqdm is shared with all forked processes: one that is killed while it holds the lock
    # would block all others. Its monitor thread would outlive the bar.

    monitor_interval = 0
    _instances: ClassVar[WeakSet] = WeakSet()  # changed under the lock of the class


_Bar.set_lock(ForkSafeLock())


class _NoBar:
    """A bar that shows nothing and, unlike a disabled tqdm bar, takes no lock."""

    def update(self, n: int = 1) -> None:
        """Do nothing."""

    def set_postfix(self, *, refresh: bool, **values: object) -> None:
        """Do nothing."""


@contextmanager
def progress_bar(
    total: int, *, shown: bool, work: str, unit: str, initial: int = 0
) -> Iterator[ProgressBar]:
    """Show a bar on standard error while the block runs, or nothing."""
    if not shown:
        yield _NoBar()
        return
    below = len(tqdm._instances) or None  # the caller's own bars
    with _Bar(total=total, initial=initial, desc=work, unit=unit, position=below) as bar:
        yield bar


@contextmanager
def progress_reporter(
    estimator: Any,
    total: int,
    *,
    bar: bool,
    work: str = "embedding",
    unit: str = "text",
    context: Any = None,
) -> Iterator[Callable[[int], None]]:
    """Yield a function that reports the number of finished texts to the bar and to callbacks."""
    n_tasks = n_done = 0
    with progress_bar(total, shown=bar, work=work, unit=unit) as shown:

        def report(done: int) -> None:
            nonlocal n_done, n_tasks
            shown.update(done - n_done)
            n_done = done
            while context is not None and n_tasks < done * N_TASKS // total:
                task = context.subcontext(task_name="embed")
                task.call_on_fit_task_begin(estimator=estimator)
                task.call_on_fit_task_end(estimator=estimator)
                n_tasks += 1

        yield report


@contextmanager
def fit_task(estimator: Any, name: str, X: Any, y: Any, max_subtasks: int = 0) -> Iterator[Any]:
    """Tell scikit-learn's callbacks, where they exist, about the beginning and the end of a fit."""
    if not hasattr(estimator, "_init_callback_context"):
        yield None
        return
    context = estimator._init_callback_context(task_name=name, max_subtasks=max_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    yield context
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y)


class SklearnCallbackAdapter:
    """Reports epochs, and the steps within them, to scikit-learn's callbacks."""

    def __init__(
        self, estimator: Any, context: Any, X: Any, y: Any, as_fitted: Callable[..., dict]
    ) -> None:
        self.estimator, self.context, self.as_fitted = estimator, context, as_fitted
        self.data = {"X": X, "y": y}

    def on_epoch_begin(self, n_steps: int) -> None:
        """Begin a task of `n_steps` subtasks."""
        self.epoch = self.context.subcontext(task_name="epoch", max_subtasks=n_steps)
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_step_end(self, state: Any) -> None:
        """Begin and end a task."""
        step = self.epoch.subcontext(task_name="step")
        step.call_on_fit_task_begin(estimator=self.estimator)
        step.call_on_fit_task_end(estimator=self.estimator)

    def on_epoch_end(self, state: Any, snapshot: Callable[[], tuple[Any, ...]]) -> None:
        """End the task, and stop training if a callback requests it."""
        if self.epoch.call_on_fit_task_end(
            estimator=self.estimator,
            **self.data,
            # A function, because most callbacks do not call it, and a copy of the model takes long.
            reconstruction_attributes=lambda: self.as_fitted(*snapshot()),
        ):
            state.stopped = True
