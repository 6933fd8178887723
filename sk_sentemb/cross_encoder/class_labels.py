"""Which class each logit of a model stands for."""

from typing import Any

import numpy as np
from torch import nn

from ..encoder import SequenceHead


def classes_of_checkpoint(head: SequenceHead, y: np.ndarray | None) -> np.ndarray:
    """Return the classes of a model as it is, in the order of its logits."""
    by_logit = _known_classes(head, y)
    known = set(by_logit.tolist())
    if y is not None and (unknown := [c for c in np.unique(y).tolist() if c not in known]):
        by_name = by_logit.dtype.kind == "U"
        names = f", by name {head.labels}" if head.has_names and not by_name else ""
        raise ValueError(
            f"y has the classes {unknown}, which the model does not know: it has "
            f"{by_logit.tolist()}{names}. Pass these, or a FineTuner, which learns others."
        )
    return by_logit


def _known_classes(head: SequenceHead, y: np.ndarray | None) -> np.ndarray:
    if head.out_dim == 1:
        return np.arange(2)
    if not head.has_names or len(set(head.labels)) < head.out_dim:
        return np.arange(head.out_dim)
    if y is not None and y.dtype.kind not in "biuf":
        return np.array(head.labels)
    numbers = _as_numbers(head.labels)
    if numbers is not None:
        return numbers
    if y is None:
        return np.array(head.labels)
    if sorted(head.labels) != head.labels:
        raise ValueError(
            f"y has numbers, and the model names its classes {head.labels}: is 0 {head.labels[0]!r}, "
            f"its first one, or {min(head.labels)!r}, the first one by name, as scikit-learn numbers "
            "classes? Pass the names. Where scikit-learn numbers them itself, as "
            "VotingClassifier(voting='soft') and cross_val_predict(method='predict_proba') do, wrap the "
            "fitted classifier in a FrozenEstimator."
        )
    return np.arange(head.out_dim)


def classes_to_learn(y: Any) -> np.ndarray:
    """Return the classes in ``y``, or raise if there are no two."""
    if y is None:
        raise ValueError(
            "CrossEncoderClassifier requires y to be passed, but the target y is None: with a "
            "fine_tuner, pass the class of each pair."
        )
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y has one class, {classes.tolist()[0]!r}: there is nothing to tell apart. Pass pairs of "
            "two classes or more."
        )
    return classes


def n_logits_for(classes: np.ndarray) -> int:
    """Return how many logits a new head gets: one for yes or no, else one for each class."""
    return 1 if classes.tolist() == [0, 1] else len(classes)


def fits(head: SequenceHead, classes: np.ndarray) -> bool:
    """Say whether a head tells these classes apart already, or may learn to."""
    if head.out_dim == 1:
        return len(classes) == 2
    numbered = classes.tolist() == list(range(len(classes)))
    return head.out_dim == len(classes) and (
        numbered or not head.has_names or set(head.labels) == set(map(str, classes))
    )


def in_order_of_logits(head: SequenceHead, classes: np.ndarray) -> np.ndarray:
    """Return the classes in the order of a head's logits: by its names, if it has these."""
    names = [str(label) for label in classes]
    if set(head.labels) != set(names):
        return classes
    return classes[[names.index(label) for label in head.labels]]


def for_classes(head: SequenceHead, by_logit: np.ndarray) -> SequenceHead:
    """Return a head that says, to whoever loads it, what its logits stand for."""
    if head.out_dim > 1:
        return head.with_labels([str(label) for label in by_logit])
    # One logit has no room for two names; its sigmoid is the probability of the second class.
    return head.with_activation(nn.Sigmoid())


def _as_numbers(names: list[str]) -> np.ndarray | None:
    """Return the numbers that names are, if all are some."""
    try:
        numbers = np.array([float(name) for name in names])
    except ValueError:
        return None
    if not np.isfinite(numbers).all() or len(set(numbers)) < len(numbers):
        return None
    return numbers.astype(np.int64) if (numbers % 1 == 0).all() else numbers
