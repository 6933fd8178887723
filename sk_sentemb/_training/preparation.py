"""From raw data to a checked dataset and its loss."""

import numpy as np
import pandas as pd

from .._inputs import UniqueTexts, warn_truncated
from .._warn import warn
from ..encoder import Encoder, PairEncoder, TokenizedTexts
from ..exceptions import FineTuningWarning, IgnoredParameterWarning, TextTooLongError
from ..losses import POSITIVES, DataFormat, Loss, require
from ..losses.cross_encoder import LambdaLoss
from .batch_sampler import is_informative
from .data import EncodingOptions, RawTrainingData
from .dataset import TrainingDataset, build_dataset, describe_target
from .fine_tuner import FineTuner, Metric
from .task import EMBEDDING, Task


def prepare_data(
    fine_tuner: FineTuner, raw: RawTrainingData, task: Task, *, missing_is_empty: bool
) -> tuple[TrainingDataset, Loss]:
    """Return the training rows, followed by those of `validation_data`, and the loss for them."""
    dataset = build_dataset(raw, fine_tuner, task, missing_is_empty=missing_is_empty)
    loss = task.resolve_loss(fine_tuner.loss, dataset.format, dataset.n_outputs)
    has_in_batch_negatives = dataset.format in (DataFormat.PAIRS, DataFormat.TEXTS)
    compares_rows = loss.groups_classes or (has_in_batch_negatives and task is EMBEDDING)
    if fine_tuner.batch_size == 1 and compares_rows:
        raise ValueError("batch_size=1, but the loss compares the rows of a batch; pass 2 or more.")
    if raw.query_id is not None and dataset.query_ids is None:
        warn(f"query_id has no effect: loss={loss} is not listwise.", IgnoredParameterWarning)
    if dataset.query_ids is not None:
        _check_grades(dataset, loss)
        _check_lists(dataset.take(dataset.is_training_row), loss)
    _check_metric(fine_tuner.metric, dataset, task)
    if fine_tuner.trainable == "head" and task is EMBEDDING:
        raise ValueError(
            "trainable='head' trains nothing of a SentenceEmbedder, because the head of a loss is "
            "discarded. Pass another value, or fit a SentenceClassifier or a SentenceRegressor."
        )
    return dataset, loss


def _check_grades(dataset: TrainingDataset, loss: Loss) -> None:
    """Raise for a grade that is too high for the loss."""
    target = require(dataset.target, "y")
    if loss.max_grade is None or target.max() <= loss.max_grade:
        return
    at = target.argmax()
    raise ValueError(
        f"{describe_target(dataset.row_ids[at], dataset.n_training_rows)} is {target[at]:g}, but "
        f"loss={loss} supports grades up to {loss.max_grade:g}, because the gain of a grade g is "
        "2**g - 1. Pass small grades such as 0 to 4, or loss='ranknet' or 'listnet'."
    )


def _check_lists(dataset: TrainingDataset, loss: Loss) -> None:
    """Warn of lists without two grades, or raise if there are no others."""
    grades = require(dataset.target, "y")
    if isinstance(loss, LambdaLoss):
        grades = np.maximum(grades, 0)  # lower grades have no gain
    n_grades = pd.Series(grades).groupby(require(dataset.query_ids, "query_id")).nunique()
    n_useless = int((n_grades < 2).sum())
    if n_useless == len(n_grades):
        raise ValueError(
            f"No list has two grades, but loss={loss} compares the rows of a list. Pass query_id, the "
            "query that each row belongs to, or a loss for single pairs such as "
            "'binary_cross_entropy'."
        )
    if n_useless:
        warn(
            f"{n_useless} of {len(n_grades)} lists have a single grade and are not used for training.",
            FineTuningWarning,
        )


def _check_metric(metric: str | Metric, dataset: TrainingDataset, task: Task) -> None:
    """Raise if the metric is not defined for such data."""
    is_scored = (
        dataset.target is not None
        and len(dataset.text_ids) == task.n_compared
        and not (dataset.classes is not None and dataset.n_outputs > 2)
        and not (task is EMBEDDING and dataset.format == DataFormat.LABELS)
    )
    if metric in ("spearman", "average_precision") and not is_scored:
        raise ValueError(
            f"metric={metric!r} requires text pairs with a numeric target. Use 'auto', 'loss' or a "
            "function."
        )
    if metric == "average_precision" and not set(np.unique(require(dataset.target, "y"))) <= {0, 1}:
        raise ValueError(
            "metric='average_precision' requires a target of 0 and 1, but y has other numbers. Use "
            "'auto' or 'spearman'."
        )
    if metric == "ndcg" and dataset.query_ids is None:
        raise ValueError("metric='ndcg' requires ranked lists (a listwise loss and query_id).")


def check_classes(dataset: TrainingDataset) -> None:
    """Warn of classes without two texts, or raise if there are no others."""
    _, sizes = np.unique(require(dataset.target, "y"), return_counts=True)
    n_single = int((sizes == 1).sum())
    if n_single == len(sizes):
        raise ValueError(
            "No class in y has two texts, but the loss compares texts of a class. Pass more texts, "
            "fewer classes, or loss='softmax'."
        )
    if n_single:
        warn(
            f"{n_single} of {len(sizes)} classes have only one text and provide no positive pairs.",
            FineTuningWarning,
        )


def check_batches(loss: Loss, dataset: TrainingDataset, batches: list[np.ndarray]) -> None:
    """Warn of batches in which the loss has nothing to compare, or raise if there are no others."""
    if not any(is_informative(loss.needs, dataset, rows) for rows in batches):
        raise ValueError(
            f"loss={loss} needs {loss.needs.words} in a batch, and no batch of the {len(dataset)} rows "
            "has that. Pass other rows, a larger batch_size or another loss."
        )
    if dataset.query_ids is not None:
        return  # lists of a single grade have been counted already
    # A small batch may have a single class by chance, which still has a small gradient.
    need = POSITIVES if loss.groups_classes else loss.needs
    if n_useless := sum(not is_informative(need, dataset, rows) for rows in batches):
        warn(
            f"in {n_useless} of the {len(batches)} batches of an epoch there is nothing to compare: "
            f"loss={loss} needs {need.words} in a batch. Pass other rows, a larger batch_size or "
            "another loss.",
            FineTuningWarning,
        )


def tokenize(
    fine_tuner: FineTuner,
    encoder: Encoder,
    dataset: TrainingDataset,
    cells: np.ndarray,
    options: EncodingOptions,
) -> TokenizedTexts:
    """Tokenize the texts, with a warning or an error if some are too long."""
    limit = encoder.resolve_max_length(options.max_length)
    policy = "error" if options.long_text == "error" else "truncate"
    try:
        tokens = encoder.tokenizer(
            dataset.texts, prompt=options.prompt, max_length=limit, long_text=policy
        )
    except TextTooLongError as error:
        at = np.flatnonzero((dataset.text_ids == error.position).any(axis=0))
        others = "'truncate'" if isinstance(encoder, PairEncoder) else "'chunk' or 'truncate'"
        raise ValueError(
            f"row {dataset.row_ids[at[0]] if len(at) else '?'} of X has more than {error.max_length} "
            f"tokens, and long_text='error'. Shorten it, or pass long_text={others}."
        ) from None
    # A frozen encoder uses the embeddings of predictions, which average windows if texts are chunked.
    if not (options.long_text == "chunk" and fine_tuner.trainable == "head"):
        warn_truncated(
            *UniqueTexts(dataset.texts, cells).count_truncated(tokens.truncated),
            noun=encoder.input_noun,
            limit=limit,
            advice="Split them into rows, or pass a model with a larger limit.",
        )
    return tokens
