"""Match the logits of a classification head with class labels."""

from typing import Any

import numpy as np
from torch import nn

from ..encoder import SequenceHead


def infer_classes(head: SequenceHead, y: np.ndarray | None) -> np.ndarray:
    """Infer the classes of a pretrained head, in the order of its logits."""
    classes = _infer_known_classes(head, y)
    known = set(classes.tolist())
    if y is not None and (unknown := [c for c in np.unique(y).tolist() if c not in known]):
        names = f", named {head.labels}" if head.has_names and classes.dtype.kind != "U" else ""
        raise ValueError(
            f"y has the classes {unknown}, which the model does not know. Its classes are "
            f"{classes.tolist()}{names}. Use these, or pass a FineTuner to train on other classes."
        )
    return classes


def _infer_known_classes(head: SequenceHead, y: np.ndarray | None) -> np.ndarray:
    if head.out_dim == 1:
        return np.arange(2)
    if not head.has_names or len(set(head.labels)) < head.out_dim:
        return np.arange(head.out_dim)
    if y is not None and y.dtype.kind not in "biuf":
        return np.array(head.labels)
    numbers = _parse_numbers(head.labels)
    if numbers is not None:
        return numbers
    if y is None:
        return np.array(head.labels)
    if sorted(head.labels) != head.labels:
        raise ValueError(
            f"y has numbers, but the model names its classes {head.labels}, so 0 could mean "
            f"{head.labels[0]!r} (its first class) or {min(head.labels)!r} (the first name in "
            "alphabetical order, as scikit-learn encodes classes). Pass the names. If scikit-learn "
            "encodes them itself, as VotingClassifier(voting='soft') and "
            "cross_val_predict(method='predict_proba') do, wrap the fitted classifier in a "
            "FrozenEstimator."
        )
    return np.arange(head.out_dim)


def validate_classes(y: Any) -> np.ndarray:
    """Return the classes in ``y``, at least two."""
    if y is None:
        raise ValueError(
            "CrossEncoderClassifier requires y to be passed, but the target y is None: with a "
            "fine_tuner, pass the class of each pair."
        )
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y contains one class ({classes.tolist()[0]!r}); at least two are required."
        )
    return classes


def count_logits(classes: np.ndarray) -> int:
    """Return the number of logits of a new head: one for 0 and 1, else one for each class."""
    return 1 if classes.tolist() == [0, 1] else len(classes)


def is_compatible(head: SequenceHead, classes: np.ndarray) -> bool:
    """Say whether a head has, or can be trained to have, these classes."""
    if head.out_dim == 1:
        return len(classes) == 2
    numbered = classes.tolist() == list(range(len(classes)))
    return head.out_dim == len(classes) and (
        numbered or not head.has_names or set(head.labels) == set(map(str, classes))
    )


def sort_by_logit(head: SequenceHead, classes: np.ndarray) -> np.ndarray:
    """Sort classes in the order of the head's logits, if its labels name them."""
    names = [str(label) for label in classes]
    if set(head.labels) != set(names):
        return classes
    return classes[[names.index(label) for label in head.labels]]


def label_head(head: SequenceHead, classes: np.ndarray) -> SequenceHead:
    """Store the classes in a head, for programs that load the saved model."""
    if head.out_dim > 1:
        return head.with_labels([str(label) for label in classes])
    # One logit cannot store two names; its sigmoid is the probability of the second class.
    return head.with_activation(nn.Sigmoid())


def _parse_numbers(names: list[str]) -> np.ndarray | None:
    """Parse names that are distinct finite numbers, or return None."""
    try:
        numbers = np.array([float(name) for name in names])
    except ValueError:
        return None
    if not np.isfinite(numbers).all() or len(set(numbers)) < len(numbers):
        return None
    return numbers.astype(np.int64) if (numbers % 1 == 0).all() else numbers
