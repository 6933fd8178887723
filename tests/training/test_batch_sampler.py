"""The rows of each batch."""

import tracemalloc

import numpy as np
import pytest

from sk_sentemb._training.batch_sampler import sample_batches
from sk_sentemb._training.task import EMBEDDING
from sk_sentemb.losses import (
    CoSENTLoss,
    CosinePairsLoss,
    DataFormat,
    MultipleNegativesRankingLoss,
    SupervisedContrastiveLoss,
)
from tests.helpers.datasets import make_dataset


def test_groups_of_each_class_are_spread_evenly():
    y = np.repeat([0, 1, 2], [40, 20, 4])
    loss, dataset = SupervisedContrastiveLoss(), make_dataset(DataFormat.LABELS, target=y)
    rows = [
        sample_batches("grouped", 16, EMBEDDING, loss, dataset, rng, spread_classes=True)
        for rng in map(np.random.default_rng, range(2))
    ]
    for batches in rows:
        assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(64))
        for batch in batches:
            assert 8 <= (y[batch] == 0).sum() <= 12
            assert 4 <= (y[batch] == 1).sum() <= 6
    assert not all(map(np.array_equal, *rows))


@pytest.mark.parametrize("n_rows", [9, 10, 16])
def test_batches_have_no_repeated_text(n_rows):
    loss, dataset = MultipleNegativesRankingLoss(), make_dataset(DataFormat.PAIRS, n=n_rows)
    dataset.text_ids[0, :4] = 0
    batches = sample_batches("auto", 4, EMBEDDING, loss, dataset, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(n_rows))
    for rows in batches:
        assert len(set(dataset.text_ids[0, rows])) == len(rows)


def test_a_last_batch_of_one_row_joins_the_batch_before():
    loss, dataset = CoSENTLoss(), make_dataset(DataFormat.SCORES, target=np.linspace(0, 1, 9))
    batches = sample_batches("auto", 4, EMBEDDING, loss, dataset, np.random.default_rng(0))
    assert [len(rows) for rows in batches] == [4, 5]


@pytest.mark.parametrize("sampling", ["grouped", "balanced"])
def test_grouping_without_classes_is_an_error(sampling):
    loss, dataset = CoSENTLoss(), make_dataset(DataFormat.SCORES, target=np.linspace(0, 1, 9))
    with pytest.raises(ValueError, match=f"sampling='{sampling}' requires classes in y"):
        sample_batches(sampling, 4, EMBEDDING, loss, dataset, np.random.default_rng(0))


def test_memory_of_batches_is_linear_in_the_rows():
    """A list of the pairs of rows of one class would be a hundred times as large, not ten."""

    def peak(n_rows):
        labels = np.arange(n_rows) % (n_rows // 100)
        dataset = make_dataset(DataFormat.LABELS, target=labels)
        rng = np.random.default_rng(0)
        tracemalloc.start()
        batches = sample_batches("balanced", 32, EMBEDDING, CosinePairsLoss(), dataset, rng)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(map(len, batches)) == n_rows
        return found

    small, large = peak(10_000), peak(100_000)
    assert large < 12 * small
    assert large < 100_000 * 1_000  # bytes
