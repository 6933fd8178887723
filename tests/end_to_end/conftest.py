"""Fixtures of the tests in this folder."""

import pytest

from tests.end_to_end.data import LABELS, SHOP, TEXTS, classifier


@pytest.fixture(scope="module")
def of_texts(one_thread):
    return classifier().fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def of_shop(one_thread):
    return classifier().fit(SHOP, LABELS)
