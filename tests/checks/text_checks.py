"""What every estimator that embeds texts must do, in addition to the checks of embeddings."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from tests.checks.data import STRANGE_TEXTS, TEXTS
from tests.helpers.tiny_models import assert_same_rows


def check_single_string_is_rejected(estimator):
    with pytest.raises(ValueError, match="string object received"):
        clone(estimator).fit(TEXTS[0])


def check_strange_texts_give_finite_rows(estimator):
    fitted = clone(estimator).fit(TEXTS)
    with warnings.catch_warnings():
        # An empty text is a text: nothing is missing.
        warnings.simplefilter("error")
        rows = fitted.transform(list(STRANGE_TEXTS.values()))
    assert np.isfinite(rows).all()
    for row, (kind, text) in zip(rows, STRANGE_TEXTS.items(), strict=True):
        assert np.abs(row).max() > 0, kind
        assert_same_rows(row, fitted.transform([text])[0])


TEXT_CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
