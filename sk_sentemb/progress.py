"""How far an embedding has come: a bar on the terminal, and scikit-learn's callbacks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

# scikit-learn's callbacks count tasks, and an estimator has to say beforehand how many there will be.
N_TASKS = 20


@contextmanager
def reporting(
    estimator: Any, total: int, *, bar: bool, context: Any = None
) -> Iterator[Callable[[int], None]]:
    """Report the progress over some texts.

    Parameters
    ----------
    estimator : estimator
        What embeds them.
    total : int
        How many texts there are.
    bar : bool
        Whether to show a bar on standard error.
    context : sklearn.callback.CallbackContext, default=None
        Where to report `N_TASKS` tasks, evenly spread over the texts.

    Yields
    ------
    callable
        To call with the number of texts that are done.
    """
    n_tasks = 0
    with tqdm(total=total, desc="embedding", unit="text", disable=not bar) as shown:

        def report(done: int) -> None:
            nonlocal n_tasks
            shown.update(done - shown.n)
            while context is not None and n_tasks < done * N_TASKS // total:
                task = context.subcontext(task_name="embed")
                task.call_on_fit_task_begin(estimator=estimator)
                task.call_on_fit_task_end(estimator=estimator)
                n_tasks += 1

        yield report
