"""The losses that cross-encoders train with, and how their batches are made."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score
from torch import nn

from sk_sentemb import FineTuner
from sk_sentemb._inputs.text import read_text_columns
from sk_sentemb._training.batch_sampler import batches_of_lists
from sk_sentemb._training.data import RawTrainingData
from sk_sentemb._training.dataset import build_dataset
from sk_sentemb._training.random_negatives import add_random_negatives
from sk_sentemb._training.task import PAIR_REGRESSION
from sk_sentemb.losses import CROSS_ENCODER_LOSSES
from sk_sentemb.losses.cross_encoder import MultipleNegativesRankingLoss
from tests.cross_encoder.training_data import (
    BINARY,
    DATA,
    GRADES,
    PAIRS,
    QUERY,
    SCORES,
    TRIPLETS,
    N,
    Spy,
    tuned,
)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]


CASES = [(data, loss) for data, (*_, auto, others) in DATA.items() for loss in (auto, *others)]


@pytest.mark.parametrize("data", DATA)
def test_auto_loss_follows_format_of_data(data):
    X, y, query_id, loss, others = DATA[data]
    fit = {"query_id": query_id}
    auto = tuned(X, y, fit=fit, max_steps=2)
    assert tuned(X, y, fit=fit, max_steps=2, loss=loss).fingerprint_ == auto.fingerprint_
    assert tuned(
        X, y, fit=fit, max_steps=2, loss=CROSS_ENCODER_LOSSES.losses[loss]()
    ).fingerprint_ == (auto.fingerprint_)
    for other in others:
        assert tuned(X, y, fit=fit, max_steps=2, loss=other).fingerprint_ != auto.fingerprint_


def test_query_id_or_loss_makes_integers_grades():
    """Without lists they are scores; the loss or the lists say otherwise."""
    in_lists = tuned(PAIRS, GRADES, fit={"query_id": QUERY}, max_steps=1)
    by_loss = tuned(PAIRS, GRADES, fit={"query_id": QUERY}, max_steps=1, loss="lambda")
    assert in_lists.fingerprint_ == by_loss.fingerprint_
    assert in_lists.score_range_ == (0.0, 1.0)
    with pytest.warns(UserWarning, match="y goes from 0 to 3 and is scaled to 0 to 1"):
        scored = tuned(PAIRS, GRADES, max_steps=1)
    assert scored.score_range_ == (0.0, 3.0)
    assert type(scored.encoder_.head.activation) is nn.Sigmoid
    assert type(in_lists.encoder_.head.activation) is nn.Identity


def test_lists_default_to_rows_with_same_first_text():
    X = PAIRS.assign(a=[f"query {i}" for i in QUERY])
    said = tuned(X, GRADES, loss="ranknet", fit={"query_id": QUERY})
    assert tuned(X, GRADES, loss="ranknet").fingerprint_ == said.fingerprint_
    for names in ("gfedcba", [7, "b", 0.5, "d", None.__class__, ("a",), "g"]):
        end_to_end_task = np.empty(N, dtype=object)
        end_to_end_task[:] = [names[i] for i in QUERY]
        named = tuned(X, GRADES, loss="ranknet", fit={"query_id": end_to_end_task})
        assert named.fingerprint_ == said.fingerprint_


@pytest.mark.parametrize(("data", "loss"), CASES)
def test_every_loss_trains(data, loss, plain):
    X, y, query_id, *_ = DATA[data]
    scorer = tuned(
        X, y, model=plain, loss=loss, epochs=8, batch_size=24, fit={"query_id": query_id}
    )
    losses = scorer.history_["loss"]
    assert losses.iloc[-1] < 0.98 * losses.iloc[0]
    assert np.isfinite(scorer.predict(PAIRS)).all()


def test_every_loss_has_a_case():
    assert {loss for _, loss in CASES} | {"cross_entropy"} == CROSS_ENCODER_LOSSES.losses.keys()


@pytest.mark.parametrize(
    ("data", "better"),
    [
        ("scores", lambda s: spearmanr(s.predict(PAIRS), SCORES).statistic),
        ("binary", lambda s: average_precision_score(BINARY, s.predict(PAIRS))),
        (
            "lists",
            lambda s: np.mean(
                [
                    ndcg_score(GRADES[rows][None], s.predict(PAIRS.iloc[rows])[None])
                    for rows in (np.flatnonzero(i == QUERY) for i in sorted({*QUERY} - {1}))
                ]
            ),
        ),
        (
            "triplets",
            lambda s: np.mean(
                s.decision_function(TRIPLETS[["a", "b"]])
                - s.decision_function(TRIPLETS[["a", "c"]].rename(columns={"c": "b"}))
            ),
        ),
    ],
)
def test_trained_scorer_follows_direction_of_y(data, better, plain):
    """More is better, in the direction of y."""
    X, y, query_id, *_ = DATA[data]
    fit = {"query_id": query_id}
    before = tuned(X, y, model=plain, learning_rate=1e-12, max_steps=1, fit=fit)
    after = tuned(X, y, model=plain, epochs=15, learning_rate=3e-3, fit=fit)
    assert better(after) > better(before) + 0.15


@pytest.mark.parametrize(("batch_size", "n_together"), [(8, 1), (5, 1), (3, 1), (3, 2)])
def test_batches_keep_lists_whole(batch_size, n_together, spied):
    # The target says which row it is.
    how = {"batch_size": batch_size, "gradient_accumulation": n_together, "epochs": 5}
    scorer = tuned(PAIRS, np.arange(N), loss=Spy(), fit={"query_id": QUERY}, **how)
    sizes = np.bincount(QUERY)
    assert scorer.history_["learning_rate"].iloc[-1] < 2e-4  # it has come to its end
    if n_together > 1:
        assert len(spied) > len(scorer.history_)
        assert sum(len(target) for target, _, _ in spied) == 5 * N
        return
    epochs = scorer.history_["epoch"].tolist()
    assert len(spied) == len(epochs)
    for epoch in range(1, 6):
        batches = [batch for batch, e in zip(spied, epochs, strict=True) if e == epoch]
        rows = [int(row) for target, _, _ in batches for row in target]
        assert sorted(rows) == list(range(N))
        for target, _, lists in batches:
            assert lists == QUERY[np.array(target, dtype=int)].tolist()
            runs, counts = np.unique(lists, return_counts=True)
            assert counts.tolist() == sizes[runs].tolist()
            assert (np.diff(lists) != 0).sum() == len(runs) - 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 20))
def test_batches_of_any_lists(lists, batch_size):
    lists = np.array(lists)
    batches = batches_of_lists(lists, batch_size, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lists)))
    where = [set(lists[rows]) for rows in batches]
    assert sum(map(len, where)) == len(set(lists.tolist()))
    assert all(len(rows) for rows in batches)
    most = np.bincount(lists).max()
    assert all(len(rows) < batch_size + most for rows in batches)


def examples_of(pairs):
    raw = RawTrainingData(read_text_columns(pairs))
    return build_dataset(raw, FineTuner(), PAIR_REGRESSION, missing_is_empty=False)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("cdwxyz")), min_size=2),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_random_negatives_exclude_positives_and_query(pairs, n_negatives, seed):
    own = {query: {query, *(d for q, d in pairs if q == query)} for query, _ in pairs}
    everything = {document for _, document in pairs}
    assume(all(everything - documents for documents in own.values()))
    extended = add_random_negatives(examples_of(pairs), n_negatives, seed)
    assert extended.text_ids.shape == (1 + n_negatives, len(pairs))
    for row, (query, document) in enumerate(pairs):
        texts = [extended.texts[i] for i in extended.text_ids[:, row]]
        assert texts[0] == (query, document)
        for asked, drawn in texts[1:]:
            assert asked == query
            assert drawn in everything - own[query]


def test_random_negatives_are_added_to_those_of_triplets(plain):
    class SpyNegatives(MultipleNegativesRankingLoss):
        def __call__(self, batch):
            n_columns.append(len(batch.outputs))
            return super().__call__(batch)

    n_columns = []
    tuned(TRIPLETS, None, model=plain, loss=SpyNegatives(n_negatives=0), max_steps=1)
    tuned(TRIPLETS, None, model=plain, loss=SpyNegatives(n_negatives=3), max_steps=1)
    tuned(PAIRS, None, model=plain, loss=SpyNegatives(n_negatives=3), max_steps=1)
    assert n_columns == [2, 5, 4]
    with pytest.raises(ValueError, match="n_negatives=0 requires triplets"):
        tuned(PAIRS, None, loss=MultipleNegativesRankingLoss(n_negatives=0))
