"""Fine-tuning as a parameter of CrossEncoderScorer and CrossEncoderClassifier."""

import copy
import pickle
import warnings
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
import torch.nn.functional as F
import transformers as hf
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import spearmanr
from sentence_transformers import CrossEncoder
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import average_precision_score, make_scorer, ndcg_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    TunedThresholdClassifierCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from torch import nn

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, FineTuner, load_encoder
from sk_sentemb._inputs.text import read_text_columns
from sk_sentemb._training.batch_sampler import batches_of_lists
from sk_sentemb._training.data import RawTrainingData
from sk_sentemb._training.dataset import build_dataset
from sk_sentemb._training.random_negatives import add_random_negatives
from sk_sentemb._training.task import PAIR_REGRESSION
from sk_sentemb.exceptions import FineTuningWarning, NewHeadWarning, TruncationWarning
from sk_sentemb.losses import CROSS_ENCODER_LOSSES, CoSENTLoss, DataFormat, Loss, MatryoshkaLoss
from sk_sentemb.losses.cross_encoder import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    LambdaLoss,
    MultipleNegativesRankingLoss,
)
from tests.helpers.checkpoints import BACKBONES, make_cross_encoder
from tests.helpers.processes import ends_within
from tests.helpers.tiny_models import NLI, TINY, TINY_NLI, TINY_SCORER, assert_same_rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning"),
    pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning"),
    # Trained on frames, called on lists, or the other way around.
    pytest.mark.filterwarnings(
        "ignore:X (has|does not have valid) feature names:UserWarning:sklearn"
    ),
]

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
N = 24
FIRST = [f"the {WORDS[i % 8]} of day {i}" for i in range(N)]
SECOND = [f"a {WORDS[(i * 3) % 8]} and the {WORDS[7 - i % 8]}" for i in range(N)]
PAIRS = pd.DataFrame({"a": FIRST, "b": SECOND})
TRIPLETS = PAIRS.assign(c=SECOND[5:] + SECOND[:5])
SCORES = np.linspace(0, 1, N)
BINARY = np.arange(N) % 2
CLASSES = np.array([NLI[i % 3] for i in range(N)])
# Lists of 1 to 6 rows.
QUERY = np.repeat(np.arange(7), [6, 1, 4, 3, 5, 2, 3])
GRADES = np.arange(N) % 4

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A scorer in which two trainings see the same vectors."""
    return make_cross_encoder(tmp_path_factory.mktemp("plain") / "model", **NO_DROPOUT)


@pytest.fixture(scope="module")
def plain_nli(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "model"
    return make_cross_encoder(folder, labels=NLI, seed=24, **NO_DROPOUT)


@pytest.fixture(autouse=True)
def a_time_limit():
    with ends_within(120):
        yield


def tuned(X=PAIRS, y=SCORES, *, kind=CrossEncoderScorer, model=None, params=None, fit=None, **how):
    how = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    model = model or (TINY_SCORER if kind is CrossEncoderScorer else TINY_NLI)
    made = kind(model, fine_tuner=FineTuner(**how), **(params or {}))
    return made.fit(X, y, **(fit or {}))


classified = partial(tuned, y=CLASSES, kind=CrossEncoderClassifier)


def weights(fitted):
    encoder = fitted.encoder_ if hasattr(fitted, "encoder_") else fitted
    head = {f"head.{k}": v for k, v in encoder.head.state_dict().items()}
    return {k: v.clone() for k, v in (encoder.backbone.model.state_dict() | head).items()}


def changed(fitted, before):
    after = weights(fitted)
    assert after.keys() == before.keys()
    return {name for name in after if not torch.equal(after[name], before[name])}


# Losses

# What X, y and query_id are, the loss that is chosen, and others that are for it
DATA = {
    "scores": (PAIRS, SCORES, None, "binary_cross_entropy", ["mse"]),
    "binary": (PAIRS, BINARY, None, "binary_cross_entropy", ["mse"]),
    "lists": (PAIRS, GRADES, QUERY, "lambda", ["ranknet", "listnet"]),
    "lists of 0 and 1": (PAIRS, BINARY, QUERY, "lambda", ["ranknet", "listnet"]),
    "pairs": (PAIRS, None, None, "multiple_negatives_ranking", []),
    "triplets": (TRIPLETS, None, None, "multiple_negatives_ranking", []),
    "margins": (TRIPLETS, SCORES * 6 - 1, None, "margin_mse", []),
    "teacher": (
        TRIPLETS,
        np.column_stack([SCORES * 6, np.ones(N)]),
        None,
        "margin_mse",
        [],
    ),
}
CASES = [(data, loss) for data, (*_, auto, others) in DATA.items() for loss in (auto, *others)]


@pytest.mark.parametrize("data", DATA)
def test_auto_is_the_loss_for_the_data(data):
    X, y, query_id, loss, others = DATA[data]
    fit = {"query_id": query_id}
    auto = tuned(X, y, fit=fit, max_steps=2)
    assert tuned(X, y, fit=fit, max_steps=2, loss=loss).fingerprint_ == auto.fingerprint_
    assert tuned(
        X, y, fit=fit, max_steps=2, loss=CROSS_ENCODER_LOSSES.losses[loss]()
    ).fingerprint_ == (auto.fingerprint_)
    for other in others:
        assert tuned(X, y, fit=fit, max_steps=2, loss=other).fingerprint_ != auto.fingerprint_


def test_numbers_that_may_be_grades_or_scores():
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


def test_lists_are_rows_with_the_same_first_text_if_nothing_else_is_said():
    X = PAIRS.assign(a=[f"query {i}" for i in QUERY])
    said = tuned(X, GRADES, loss="ranknet", fit={"query_id": QUERY})
    assert tuned(X, GRADES, loss="ranknet").fingerprint_ == said.fingerprint_
    for names in ("gfedcba", [7, "b", 0.5, "d", None.__class__, ("a",), "g"]):
        end_to_end_task = np.empty(N, dtype=object)
        end_to_end_task[:] = [names[i] for i in QUERY]
        named = tuned(X, GRADES, loss="ranknet", fit={"query_id": end_to_end_task})
        assert named.fingerprint_ == said.fingerprint_


@pytest.mark.parametrize(("data", "loss"), CASES)
def test_every_loss_learns(data, loss, plain):
    X, y, query_id, *_ = DATA[data]
    scorer = tuned(
        X, y, model=plain, loss=loss, epochs=8, batch_size=24, fit={"query_id": query_id}
    )
    losses = scorer.history_["loss"]
    assert losses.iloc[-1] < 0.98 * losses.iloc[0]
    assert np.isfinite(scorer.predict(PAIRS)).all()


def test_every_loss_is_tried():
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
def test_what_is_learnt_is_what_was_asked(data, better, plain):
    """More is better, in the direction of y."""
    X, y, query_id, *_ = DATA[data]
    fit = {"query_id": query_id}
    before = tuned(X, y, model=plain, learning_rate=1e-12, max_steps=1, fit=fit)
    after = tuned(X, y, model=plain, epochs=15, learning_rate=3e-3, fit=fit)
    assert better(after) > better(before) + 0.15


@dataclass(frozen=True)
class Spy(Loss):
    """Writes down the targets, weights and lists of each batch."""

    seen: ClassVar[list] = []
    formats = (DataFormat.LISTS,)

    def __call__(self, batch):
        Spy.seen.append((batch.target.tolist(), batch.weight, batch.query_ids.tolist()))
        return LambdaLoss()(batch)


@pytest.fixture
def spied():
    Spy.seen.clear()
    return Spy.seen


@pytest.mark.parametrize(("batch_size", "n_together"), [(8, 1), (5, 1), (3, 1), (3, 2)])
def test_lists_stay_whole_and_each_is_seen_once_an_epoch(batch_size, n_together, spied):
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
def test_a_negative_is_never_a_document_of_its_query_or_itself(pairs, n_negatives, seed):
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


def test_negatives_of_triplets_come_beside_their_own(plain):
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


# Training as others train


def steps_of_transformers(folder, pairs, target, loss, *, epochs, batch_size, rate, seed):
    """Return the losses of a plain loop over padded batches."""
    model = hf.AutoModelForSequenceClassification.from_pretrained(folder).train()
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    n_steps = epochs * -(-len(pairs) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = hf.get_linear_schedule_with_warmup(optimizer, -(-n_steps // 10), n_steps)
    losses = []
    for epoch in range(epochs):
        rows = np.random.default_rng([seed, epoch]).permutation(len(pairs))
        for chosen in np.split(rows, range(batch_size, len(rows), batch_size)):
            inputs = tokenizer(
                [pairs[i][0] for i in chosen],
                [pairs[i][1] for i in chosen],
                padding=True,
                return_tensors="pt",
            )
            value = loss(model(**inputs).logits, target[chosen])
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(value.item())
    model.eval()
    with torch.no_grad():
        inputs = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, return_tensors="pt")
        return losses, model(**inputs).logits.numpy()


LOOP = {"epochs": 3, "batch_size": 7, "seed": 0}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("y", "loss"),
    [
        (SCORES, lambda logits, y: F.binary_cross_entropy_with_logits(logits[:, 0], y)),
        (SCORES, lambda logits, y: F.mse_loss(logits[:, 0], y)),
    ],
    ids=["binary_cross_entropy", "mse"],
)
def test_scores_are_learnt_as_by_transformers(y, loss, symmetric, plain, request):
    pairs, target = PAIRS.to_numpy().tolist(), torch.tensor(y, dtype=torch.float32)
    expected, logits = steps_of_transformers(plain, pairs, target, loss, rate=1e-3, **LOOP)
    scorer = tuned(
        model=plain,
        loss=request.node.callspec.id.split("-")[0],
        epochs=3,
        batch_size=7,
        params={"symmetric": symmetric},
    )
    np.testing.assert_allclose(scorer.history_["loss"], expected, rtol=0, atol=1e-5)
    found = scorer.set_params(symmetric=False).decision_function(PAIRS)
    np.testing.assert_allclose(found, logits[:, 0], rtol=0, atol=1e-4)


def test_classes_are_learnt_as_by_transformers(plain_nli):
    pairs = PAIRS.to_numpy().tolist()
    target = torch.tensor([NLI.index(name) for name in CLASSES])
    expected, logits = steps_of_transformers(
        plain_nli, pairs, target, F.cross_entropy, rate=1e-3, **LOOP
    )
    classifier = classified(model=plain_nli, epochs=3, batch_size=7)
    np.testing.assert_allclose(classifier.history_["loss"], expected, rtol=0, atol=1e-5)
    found = classifier.decision_function(PAIRS)
    order = [NLI.index(name) for name in classifier.classes_]
    np.testing.assert_allclose(found, logits[:, order], rtol=0, atol=1e-4)


EVERY_DROPOUT = dict.fromkeys(
    [
        *NO_DROPOUT,
        *("dropout", "attention_dropout", "embedding_dropout", "mlp_dropout", "pooler_dropout"),
        *("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout"),
    ],
    0.0,
)


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if kind != "t5"])
def test_every_architecture_learns(kind, tmp_path):
    folder = make_cross_encoder(tmp_path, kind, seed=3, **EVERY_DROPOUT)
    before = load_encoder(folder, pairs=True)
    scorer = tuned(model=folder, epochs=5, learning_rate=1e-3, batch_size=24)
    assert scorer.history_["loss"].iloc[-1] < scorer.history_["loss"].iloc[0]
    names = changed(scorer, weights(before))
    assert any(name.startswith("head.") for name in names)
    assert any(not name.startswith("head.") for name in names)
    again = pickle.loads(pickle.dumps(scorer))
    assert_same_rows(again.set_params(cache=None).predict(PAIRS), scorer.predict(PAIRS))


# Units


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
@pytest.mark.parametrize("ends", [(0, 5), (-2, 2)])
def test_predictions_are_in_the_units_of_y(loss, ends, plain):
    low, high = ends
    y = low + (high - low) * SCORES
    how = {"epochs": 12, "batch_size": 12, "learning_rate": 3e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = tuned(y=y, model=plain, loss=loss, score_range=ends, **how)
        unit = tuned(y=SCORES, model=plain, loss=loss, **how)
    assert said.score_range_ == (low, high)
    np.testing.assert_allclose(said.history_["loss"], unit.history_["loss"], atol=1e-4)
    activation = expit if loss == "binary_cross_entropy" else np.asarray
    expected = low + (high - low) * activation(said.decision_function(PAIRS))
    np.testing.assert_allclose(said.predict(PAIRS), expected, atol=1e-5)
    assert said.score(PAIRS, y) > 0.5
    assert np.abs(said.predict(PAIRS) - y).mean() < 0.25 * (high - low)
    np.testing.assert_array_equal(said.transform(PAIRS)[:, 0], said.predict(PAIRS))
    assert said.rank(FIRST[0], SECOND)["score"].between(low - 1, high + 1).all()


def test_the_range_is_that_of_y_with_a_warning():
    with pytest.warns(UserWarning, match="y goes from 0 to 5 and is scaled to 0 to 1"):
        scorer = tuned(y=SCORES * 5)
    assert scorer.score_range_ == (0.0, 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuned(y=0.2 + SCORES / 2).score_range_ == (0.0, 1.0)
    with pytest.raises(ValueError, match=r"y\[20\] is 4.34783, outside of score_range=\(0, 4.2\)"):
        tuned(y=SCORES * 5, score_range=(0, 4.2))
    with pytest.raises(ValueError, match="y is 5 in all rows"):
        tuned(y=np.full(N, 5.0))
    assert tuned(y=GRADES, score_range=(0, 3), fit={"query_id": QUERY}).score_range_ == (0.0, 1.0)
    y = 0.1 + SCORES / 5
    assert tuned(y=y, score_range=(y.min(), y.max())).score_range_ == (y.min(), y.max())


def test_zeros_and_ones_of_a_wider_range_are_scores():
    """A fold may have no others."""
    scorer = tuned(y=BINARY, score_range=(0, 5))
    assert scorer.score_range_ == (0.0, 5.0)
    fifth = tuned(y=BINARY / 5, score_range=(0, 1))
    assert_same_rows(scorer.predict(PAIRS), 5 * fifth.predict(PAIRS))
    with pytest.raises(ValueError, match=r"y\[0\] is 0, outside of score_range=\(1, 5\)"):
        tuned(y=BINARY, score_range=(1, 5))


def test_saturated_predictions_stay_within_the_range():
    scorer = tuned(y=0.1 + SCORES / 2, score_range=(0.1, 0.7))
    scorer.encoder_.head.network.classifier.bias.add_(90.0)
    found = scorer.predict(PAIRS)
    assert (found == np.float32(0.7)).all()
    tuned(y=found, score_range=(0.1, 0.7))
    # Where the scores are all the same, the logits are not.
    order = scorer.rank(FIRST[0], SECOND)["index"].to_numpy()
    logits = scorer.decision_function([(FIRST[0], text) for text in SECOND])
    assert (np.diff(logits[order]) <= 0).all()
    assert (order != np.arange(N)).any()
    frozen = scorer.set_params(fine_tuner=None).fit(PAIRS)
    assert frozen.score_range_ == (0.0, 1.0)
    assert not hasattr(frozen, "history_")


def test_the_range_stays_with_copies_and_goes_with_a_folder(tmp_path):
    scorer = tuned(y=SCORES * 5, score_range=(0, 5))
    for again in (pickle.loads(pickle.dumps(scorer)), copy.deepcopy(scorer)):
        assert_same_rows(again.predict(PAIRS), scorer.predict(PAIRS))
        pd.testing.assert_frame_equal(again.history_, scorer.history_)
    scorer.save_pretrained(tmp_path / "saved")
    unit = CrossEncoderScorer(tmp_path / "saved").fit(PAIRS)
    assert_same_rows(5 * unit.predict(PAIRS), scorer.predict(PAIRS))
    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    found = reference.predict(PAIRS.to_numpy().tolist())
    np.testing.assert_allclose(found, unit.predict(PAIRS), atol=1e-6)


# Heads


def test_a_model_without_a_head_gets_one_and_says_so():
    with pytest.warns(
        NewHeadWarning, match=r"has no classification head. A new head is initialized with random"
    ):
        scorer = tuned(model=TINY)
    assert scorer.encoder_.head.out_dim == 1
    with pytest.warns(NewHeadWarning, match="has a head for another task. A new head"):
        assert tuned(model=TINY_NLI).encoder_.head.out_dim == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", NewHeadWarning)
        tuned()
        classified()
    with pytest.warns(NewHeadWarning, match="The model that was passed has no class"):
        tuned(model=load_encoder(TINY).replace(source=None))
    for seed in (0, 1):
        alike = [tuned(model=TINY, random_state=seed).fingerprint_ for _ in range(2)]
        assert alike[0] == alike[1]
        assert (alike[0] == scorer.fingerprint_) == (seed == 0)


def test_the_shared_model_is_not_touched():
    for kind, folder, y in (
        (CrossEncoderScorer, TINY_SCORER, SCORES),
        (CrossEncoderClassifier, TINY_NLI, CLASSES),
        (CrossEncoderClassifier, TINY_SCORER, CLASSES),
    ):
        shared = load_encoder(folder, pairs=True)
        before, labels = weights(shared), shared.head.labels
        fitted = tuned(y=y, kind=kind, model=folder)
        assert load_encoder(folder, pairs=True).network is shared.network
        assert changed(shared, before) == set()
        assert shared.head.labels == labels
        assert fitted.fingerprint_ != shared.fingerprint
        assert not any(p.requires_grad for p in fitted.encoder_.head.parameters())


def test_what_is_trainable():
    before = weights(load_encoder(TINY_SCORER, pairs=True))
    every = changed(tuned(), before)
    for part in ("word_embeddings", "layer.0", "layer.1", "head.network.classifier", "pooler"):
        assert any(part in name for name in every), part
    head = changed(tuned(trainable="modules"), before)
    assert head
    assert all(name.startswith("head.") for name in head)
    last = changed(tuned(trainable=1), before)
    assert all(name.startswith("head.") or "layer.1." in name for name in last)
    assert not any("word_embeddings" in n for n in changed(tuned(train_embeddings=False), before))
    with pytest.raises(ValueError, match="leave nothing to train"):
        tuned(trainable="head")


def test_lora(tmp_path):
    pytest.importorskip("peft")
    before = weights(load_encoder(TINY_SCORER, pairs=True))
    scorer = tuned(lora_rank=4, learning_rate=1e-2)
    names = changed(scorer, before)
    assert any("attention" in name for name in names)
    assert any(name.startswith("head.") for name in names)
    scorer.save_pretrained(tmp_path / "lora")
    again = CrossEncoderScorer(tmp_path / "lora").fit(PAIRS)
    assert_same_rows(again.predict(PAIRS), scorer.predict(PAIRS))


@pytest.mark.parametrize("data", ["scores", "lists", "triplets"])
def test_forward_in_parts_and_accumulated_is_the_same_step(data, plain):
    X, y, query_id, *_ = DATA[data]
    how = {"max_steps": 1, "warmup_ratio": 0.0, "model": plain, "fit": {"query_id": query_id}}
    whole = tuned(X, y, **how)
    as_it_is = CrossEncoderScorer(plain).fit(PAIRS).decision_function(PAIRS)
    moved = np.abs(whole.decision_function(PAIRS) - as_it_is).max()

    def assert_same_step(parts):
        assert parts.history_["loss"].tolist() == pytest.approx(whole.history_["loss"].tolist())
        # The first step of AdamW is as long where a gradient is nothing but rounding.
        apart = np.abs(parts.decision_function(PAIRS) - whole.decision_function(PAIRS)).max()
        assert apart < 0.01 * moved

    for more in ({"forward_batch_size": 5}, {"gradient_checkpointing": True}):
        assert_same_step(tuned(X, y, **how, **more))
    if data == "scores":
        halves = {"batch_size": 4, "gradient_accumulation": 2}
        assert_same_step(tuned(X, y, **how, **halves))


def test_mixed_numbers_train():
    exact, mixed = (tuned(dtype=dtype).history_["loss"] for dtype in ("float32", "bfloat16"))
    np.testing.assert_allclose(mixed, exact, rtol=0.1)
    half = tuned(params={"dtype": "bfloat16"})
    assert half.encoder_.dtype == "bfloat16"
    assert np.isfinite(half.predict(PAIRS)).all()


# Rows that do not count, are missing, or are cut


@pytest.mark.parametrize(
    ("kind", "y", "wrong", "how"),
    [
        (CrossEncoderScorer, SCORES, 1 - SCORES, {}),
        (CrossEncoderScorer, SCORES, 1 - SCORES, {"loss": "mse"}),
        (CrossEncoderScorer, BINARY, 1 - BINARY, {}),
        (CrossEncoderClassifier, CLASSES, np.roll(CLASSES, 1), {}),
        (CrossEncoderClassifier, BINARY, 1 - BINARY, {"model": TINY_SCORER}),
    ],
)
def test_rows_of_weight_zero_teach_nothing(kind, y, wrong, how):
    counts = (np.arange(N) >= 6).astype(float)
    mistaken = np.where(counts == 0, wrong, y)
    how = {"kind": kind, "fit": {"sample_weight": counts}, **how}
    right = tuned(y=y, **how)
    assert tuned(y=mistaken, **how).fingerprint_ == right.fingerprint_
    how["fit"] = {"sample_weight": np.ones(N)}
    even = tuned(y=y, **how)
    assert tuned(y=mistaken, **how).fingerprint_ != right.fingerprint_
    how["fit"] = {}
    assert_same_rows(even.decision_function(PAIRS), tuned(y=y, **how).decision_function(PAIRS))


def test_a_row_of_weight_two_is_as_two_rows_of_a_batch(plain, plain_nli):
    counts = 1 + np.arange(N) % 2
    twice = np.repeat(np.arange(N), counts)
    how = {"batch_size": 99, "epochs": 4}
    for kind, y, model in (
        (CrossEncoderScorer, SCORES, plain),
        (CrossEncoderClassifier, CLASSES, plain_nli),
    ):
        weighted = tuned(y=y, kind=kind, model=model, fit={"sample_weight": counts}, **how)
        repeated = tuned(PAIRS.iloc[twice], y[twice], kind=kind, model=model, **how)
        np.testing.assert_allclose(weighted.history_["loss"], repeated.history_["loss"], rtol=1e-4)


@pytest.mark.parametrize("loss", ["lambda", "ranknet", "listnet"])
def test_lists_of_weight_zero_teach_nothing(loss):
    counts = (QUERY != 0).astype(float)
    wrong = np.where(QUERY == 0, GRADES[::-1], GRADES)
    fit = {"query_id": QUERY, "sample_weight": counts}
    right = tuned(y=GRADES, loss=loss, fit=fit)
    assert tuned(y=wrong, loss=loss, fit=fit).fingerprint_ == right.fingerprint_
    fit = {"query_id": QUERY}
    assert tuned(y=wrong, loss=loss, fit=fit).fingerprint_ != (
        tuned(y=GRADES, loss=loss, fit=fit).fingerprint_
    )


def test_rows_without_a_text_are_left_out_and_counted():
    X = pd.concat([PAIRS, pd.DataFrame({"a": [None, "a"], "b": ["b", np.nan]})])
    y = [*SCORES, 0.5, 0.5]
    with pytest.warns(
        UserWarning, match=r"^2 of 26 rows have a missing text and are not used for training"
    ):
        scorer = tuned(X, y, params={"missing": "nan"})
    assert scorer.fingerprint_ == tuned().fingerprint_
    assert np.isnan(scorer.predict(X)).tolist() == [False] * N + [True, True]
    fit = {"query_id": [*QUERY, 6, 9], "sample_weight": np.ones(26)}
    with pytest.warns(UserWarning, match="2 of 26 rows"):
        in_lists = tuned(X, [*GRADES, 1, 2], params={"missing": "nan"}, fit=fit)
    fit = {"query_id": QUERY, "sample_weight": np.ones(N)}
    assert in_lists.fingerprint_ == tuned(y=GRADES, fit=fit).fingerprint_
    with pytest.raises(ValueError, match="X has no row without a missing text"):
        tuned(X[-2:], [0.5, 0.6], params={"missing": "nan"})


def test_pairs_that_are_cut_are_said():
    X = pd.concat([PAIRS[1:], pd.DataFrame({"a": ["ferry " * 60], "b": ["pier"]})])
    with pytest.warns(TruncationWarning, match="1 of 24 pairs exceed the limit of 40 tokens"):
        tuned(X, params={"max_length": 40})
    message = r"row 23 of X has more than 40 tokens.* or pass long_text='truncate'\.$"
    with pytest.raises(ValueError, match=message):
        tuned(X, params={"max_length": 40, "long_text": "error"})


def test_settings_are_learnt_with():
    prompted = tuned(params={"prompt": "query: "})
    assert prompted.fingerprint_ != tuned().fingerprint_
    written = PAIRS.assign(a=["query: " + text for text in FIRST])
    same = tuned(written)
    assert same.fingerprint_ == prompted.fingerprint_
    assert_same_rows(prompted.predict(PAIRS), same.predict(written))


# Validation


HELD_OUT = (PAIRS[:9], SCORES[:9])


def of_validation(fitted):
    (column,) = fitted.history_.filter(like="validation").columns
    return column, fitted.history_[column].dropna().tolist()


@pytest.mark.parametrize("data", DATA)
def test_every_shape_can_be_validated(data):
    X, y, query_id, *_ = DATA[data]
    best = {"scores": "spearman", "binary": "average_precision", "lists": "ndcg"}
    scorer = tuned(X, y, validation_fraction=0.3, fit={"query_id": query_id})
    name, found = of_validation(scorer)
    assert name == f"validation_{best.get(data.split()[0], 'loss')}"
    assert len(found) == 2
    assert np.isfinite(found).all()


def test_spearman_and_loss_are_those_of_predictions():
    name, found = of_validation(tuned(validation_data=HELD_OUT, max_steps=2))
    predicted = tuned(validation_data=HELD_OUT, max_steps=2).predict(HELD_OUT[0])
    assert name == "validation_spearman"
    assert found[-1] == pytest.approx(spearmanr(predicted, HELD_OUT[1]).statistic, abs=0.02)
    scorer = tuned(validation_data=HELD_OUT, metric="loss", batch_size=32)
    name, found = of_validation(scorer)
    logits = torch.from_numpy(scorer.decision_function(HELD_OUT[0]))
    target = torch.tensor(HELD_OUT[1], dtype=torch.float32)
    assert found[-1] == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, target).item(), abs=1e-5
    )


@pytest.mark.parametrize("lowest", [0, -2])
def test_ndcg_is_that_of_the_lists_of_validation_data(lowest):
    """Its lists are those of its first texts, whatever the numbers of those that are learnt from."""
    X = pd.DataFrame(
        {"a": np.repeat([FIRST[0], FIRST[1], "new", "alone"], [4, 5, 2, 1]), "b": SECOND[:12]}
    )
    grades = np.array([0, 1, 2, 0, 3, 0, 0, 1, 1, 0, 2, 3]) + lowest
    for query_id in (QUERY, [f"query {i}" for i in QUERY], [("a", "b")[i % 2] for i in QUERY]):
        scorer = tuned(y=GRADES + lowest, validation_data=(X, grades), fit={"query_id": query_id})
        name, found = of_validation(scorer)
        assert name == "validation_ndcg"
        expected = []
        for query in ("new", FIRST[0], FIRST[1]):
            rows = (X["a"] == query).to_numpy()
            gains = np.maximum(grades[rows], 0)
            if gains.max() > 0:
                scores = scorer.decision_function(X[rows])
                expected.append(ndcg_score(gains[None], scores[None], k=10))
        assert found[-1] == pytest.approx(np.mean(expected), abs=1e-6)


def test_lists_are_validated_on_as_wholes(spied):
    how = {"loss": Spy(), "metric": lambda logits, y: 1.0}  # the loss of the learnt rows alone
    tuned(y=np.arange(N), validation_fraction=0.3, epochs=1, fit={"query_id": QUERY}, **how)
    learnt = sorted(int(row) for target, _, _ in spied for row in target)
    assert set(QUERY[learnt]).isdisjoint(set(np.delete(QUERY, learnt)))
    assert 0 < len(learnt) < N


def test_average_precision_of_two_classes_is_of_the_second():
    """Whatever the order of the logits; of three classes there is none."""
    how = {"metric": "average_precision", "max_steps": 2, "kind": CrossEncoderClassifier}
    y = np.where(BINARY, "yes", "no")
    held_out = (PAIRS[:9], y[:9])
    for model, target, data in (
        (TINY, y, held_out),
        (TINY_SCORER, y, held_out),
        (TINY_SCORER, BINARY, (PAIRS[:9], BINARY[:9])),
    ):
        fitted = tuned(y=target, model=model, validation_data=data, **how)
        _, found = of_validation(fitted)
        truth = np.array(data[1]) == fitted.classes_[1]
        expected = average_precision_score(truth, fitted.decision_function(data[0]))
        assert found[-1] == pytest.approx(expected, abs=0.02)
    for metric in ("spearman", "average_precision"):
        with pytest.raises(ValueError, match=f"metric='{metric}' is of"):
            classified(metric=metric, validation_fraction=0.3)


def test_two_named_logits_in_the_other_order_are_validated_by_name(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("yes", "no"), seed=2)
    y = np.where(BINARY, "yes", "no")
    fitted = tuned(
        y=y,
        kind=CrossEncoderClassifier,
        model=folder,
        metric="average_precision",
        validation_data=(PAIRS[:9], y[:9]),
        max_steps=1,
    )
    _, found = of_validation(fitted)
    no = average_precision_score(y[:9] == "no", -fitted.decision_function(PAIRS[:9]))
    assert found[-1] == pytest.approx(no, abs=0.02)


def test_early_stopping_takes_the_best_weights():
    how = {"early_stopping": True, "patience": 2, "learning_rate": 0.03, "epochs": 20}
    scorer = tuned(validation_data=HELD_OUT, **how)
    _, found = of_validation(scorer)
    assert len(found) < 20
    assert found[-1] < max(found)
    predicted = scorer.decision_function(HELD_OUT[0])
    assert spearmanr(predicted, HELD_OUT[1]).statistic == pytest.approx(max(found), abs=0.05)


def test_a_metric_of_one_s_own_is_given_logits():
    def metric(columns, y):
        seen.append(([column.shape for column in columns], y.tolist()))
        return 0.5

    seen = []
    tuned(validation_data=HELD_OUT, metric=metric, epochs=1)
    classified(validation_data=(PAIRS[:6], CLASSES[:6]), metric=metric, epochs=1)
    assert seen[0][0] == [(9, 1)]
    assert seen[0][1] == pytest.approx(SCORES[:9].tolist())
    assert seen[1] == ([(6, 3)], [NLI.index(name) for name in CLASSES[:6]])


# Interrupted, killed, gone on with


class StopError(Exception):
    pass


def failing_after(n_calls):
    calls = iter([1.0] * n_calls)

    def metric(columns, y):
        if (score := next(calls, None)) is None:
            raise StopError
        return score

    return metric


@pytest.mark.parametrize("model", [TINY_SCORER, TINY])
@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_what_was_stopped_goes_on_where_it_was(kind, model, tmp_path):
    how = {
        "y": BINARY,
        "kind": kind,
        "model": model,
        "epochs": 4,
        "validation_fraction": 0.25,
    }
    whole = tuned(metric=failing_after(9), **how)
    kept = {"checkpoint_dir": tmp_path, "checkpoint_steps": 1}
    with pytest.raises(StopError):
        tuned(metric=failing_after(2), **how, **kept)
    assert list(tmp_path.rglob("training.pt"))
    # Names instead of 0 and 1 are learnt by a new head with two logits: another training.
    names = how | {
        "y": np.where(BINARY, "yes", "no"),
        "kind": CrossEncoderClassifier,
        "model": TINY,
    }
    other = tuned(metric=failing_after(9), **names, **kept)
    assert other.fingerprint_ == tuned(metric=failing_after(9), **names).fingerprint_
    again = tuned(metric=failing_after(2), **how, **kept)  # it validates twice more
    assert again.fingerprint_ == whole.fingerprint_
    assert_same_rows(again.decision_function(PAIRS), whole.decision_function(PAIRS))
    assert not list(tmp_path.rglob("training.pt"))


@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_interruption_leaves_a_fitted_estimator(kind):
    calls = iter([None, None, KeyboardInterrupt])

    def metric(columns, y):
        if (error := next(calls)) is not None:
            raise error
        return 1.0

    y = SCORES * 5 if kind is CrossEncoderScorer else CLASSES
    with pytest.warns(FineTuningWarning, match="interrupted after 6 of 18 steps"):
        fitted = tuned(
            y=y,
            kind=kind,
            epochs=9,
            batch_size=9,
            metric=metric,
            validation_fraction=0.25,
            score_range=(0, 5),
        )
    assert fitted.predict(PAIRS).shape == (N,)
    if kind is CrossEncoderScorer:
        assert fitted.score_range_ == (0.0, 5.0)


def test_warm_start_goes_on():
    once = tuned()
    warm = tuned(params={"warm_start": True})
    assert warm.fingerprint_ == once.fingerprint_
    first = warm.history_["loss"].iloc[0]
    assert warm.fit(PAIRS, SCORES).fingerprint_ != once.fingerprint_
    assert warm.history_["loss"].iloc[0] < first
    from_folder = tuned(params={"warm_start": True}, model=TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NewHeadWarning)  # the head is there by now
        from_folder.fit(PAIRS, SCORES)
    assert once.fit(PAIRS, SCORES).fingerprint_ == tuned().fingerprint_


def test_warm_start_of_a_classifier_keeps_its_classes():
    for y, model in ((CLASSES, TINY_NLI), (CLASSES, TINY), (np.where(BINARY, "yes", "no"), TINY)):
        warm = classified(y=y, model=model, params={"warm_start": True}, learning_rate=1e-9)
        before = warm.decision_function(PAIRS)
        classes = warm.classes_.tolist()
        warm.fit(PAIRS[::-1], y[::-1])
        assert warm.classes_.tolist() == classes
        np.testing.assert_allclose(warm.decision_function(PAIRS), before, atol=1e-4)
    with pytest.raises(
        ValueError, match=r"y has the classes \['a', 'b'\], but with warm_start they"
    ):
        warm.fit(PAIRS, [*"ab"] * 12)


# Chance


def test_one_random_state_gives_one_model_and_leaves_global_chance_alone():
    for kind, y, model in (
        (CrossEncoderScorer, SCORES, TINY),
        (CrossEncoderScorer, None, TINY_SCORER),
        (CrossEncoderClassifier, CLASSES, TINY),
    ):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        one = tuned(y=y, kind=kind, model=model, max_steps=3)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(4)
        other = tuned(y=y, kind=kind, model=model, max_steps=3)
        assert one.fingerprint_ == other.fingerprint_
        np.testing.assert_array_equal(one.decision_function(PAIRS), other.decision_function(PAIRS))
        assert changed(one, weights(other)) == set()
        another = tuned(y=y, kind=kind, model=model, max_steps=3, random_state=1)
        assert another.fingerprint_ != one.fingerprint_
        drawn = [
            tuned(y=y, kind=kind, model=model, max_steps=3, random_state=None) for _ in range(2)
        ]
        assert drawn[0].fingerprint_ != drawn[1].fingerprint_
        given = [
            tuned(y=y, kind=kind, model=model, max_steps=3, random_state=np.random.RandomState(5))
            for _ in range(2)
        ]
        assert given[0].fingerprint_ == given[1].fingerprint_


def test_threads_do_not_disturb_each_other():
    seeds = [0, 1, 2, 0, 1, 2]
    run = joblib.Parallel(n_jobs=3, backend="threading")
    found = run(
        joblib.delayed(lambda s: tuned(model=TINY, random_state=s).fingerprint_)(s) for s in seeds
    )
    assert found[:3] == found[3:]
    assert found[0] == tuned(model=TINY).fingerprint_


# Searches, folds, routing

spearman = make_scorer(lambda y, predicted: spearmanr(y, predicted).statistic)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_grid_search_gives_the_same_with_one_job_and_with_two(backend):
    tuner = FineTuner(epochs=2, batch_size=8, score_range=(0, 1), random_state=0)
    search = GridSearchCV(
        CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner),
        {
            "fine_tuner__learning_rate": [1e-4, 3e-3],
            "symmetric": [False, True],
        },
        cv=KFold(2, shuffle=True, random_state=0),
        scoring=spearman,
        error_score="raise",
    )
    one = clone(search).fit(PAIRS, SCORES)
    with joblib.parallel_config(backend=backend):
        two = clone(search).set_params(n_jobs=2).fit(PAIRS, SCORES)
    found = one.cv_results_["mean_test_score"]
    np.testing.assert_allclose(found, two.cv_results_["mean_test_score"], atol=1e-6)
    assert len(set(found.round(6))) > 2
    assert one.best_params_ == two.best_params_
    np.testing.assert_array_equal(one.predict(PAIRS), one.best_estimator_.predict(PAIRS))
    learnt = one.best_estimator_.fine_tuner
    assert learnt.learning_rate == one.best_params_["fine_tuner__learning_rate"]


def test_each_fold_is_learnt_from_alone():
    tuner = FineTuner(epochs=1, batch_size=8, learning_rate=1e-3, random_state=0)
    scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner)
    folds = KFold(3, shuffle=True, random_state=1)
    for X in (PAIRS, PAIRS.to_numpy(), list(PAIRS.itertuples(index=False, name=None))):
        scores = cross_val_score(scorer, X, SCORES, cv=folds, scoring=spearman)
        expected = []
        for train, test in folds.split(SCORES):
            fitted = clone(scorer).fit(PAIRS.iloc[train], SCORES[train])
            expected.append(spearman(fitted, PAIRS.iloc[test], SCORES[test]))
        np.testing.assert_allclose(scores, expected)


def test_lists_and_weights_are_routed(spied):
    tuner = FineTuner(Spy(), epochs=1, batch_size=6, learning_rate=1e-3, random_state=0)
    weight = 1.0 + QUERY
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner)
        scorer.set_fit_request(query_id=True, sample_weight=True)
        scorer.set_score_request(sample_weight=True)
        found = cross_validate(
            scorer,
            PAIRS,
            np.arange(N),
            cv=GroupKFold(3),
            params={"query_id": QUERY, "sample_weight": weight, "groups": QUERY},
            return_estimator=True,
            return_indices=True,
            error_score="raise",
        )
        sizes = np.bincount(QUERY)
        seen = list(spied)
        for fitted, train, test in zip(
            found["estimator"], found["indices"]["train"], found["indices"]["test"], strict=True
        ):
            assert set(QUERY[train]).isdisjoint(QUERY[test])
            batches, seen = seen[: len(fitted.history_)], seen[len(fitted.history_) :]
            rows = [int(row) for target, _, _ in batches for row in target]
            assert sorted(rows) == train.tolist()
            for target, weights_, _ in batches:
                queries = QUERY[np.array(target, dtype=int)]
                assert weights_.tolist() == (1.0 + queries).tolist()
                runs, counts = np.unique(queries, return_counts=True)
                assert counts.tolist() == sizes[runs].tolist()
        search = GridSearchCV(scorer, {"fine_tuner__learning_rate": [1e-4, 1e-3]}, cv=GroupKFold(2))
        search.fit(PAIRS, np.arange(N), query_id=QUERY, sample_weight=weight, groups=QUERY)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        pipeline = make_pipeline(
            CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner).set_fit_request(query_id=True)
        )
        before = len(spied)
        pipeline.fit(PAIRS, np.arange(N), query_id=QUERY)
        assert len(spied) > before


def test_routed_in_fit_transform(spied):
    tuner = FineTuner(Spy(), epochs=1, batch_size=6, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = CrossEncoderScorer(TINY_SCORER, fine_tuner=tuner).set_fit_request(query_id=True)
        model = make_pipeline(scorer, sklearn.linear_model.LinearRegression())
        model.fit(PAIRS, np.arange(N), query_id=QUERY)
        assert model.predict(PAIRS).shape == (N,)
    lists = {(tuple(target), tuple(lists)) for target, _, lists in spied}
    assert all(tuple(QUERY[np.array(target, dtype=int)]) == of_lists for target, of_lists in lists)


# Classes


YES = np.where(BINARY, "yes", "no")
THREE = np.arange(N) % 3
ANY_CLASSES = [
    *((TINY, y) for y in (YES, BINARY, BINARY.astype(bool), BINARY + 1, BINARY * 2.0 - 1)),
    *((TINY, y) for y in (CLASSES, THREE + 5, pd.Series(YES, dtype="category"))),
    (TINY, pd.Series(YES).astype(object)),
    *((TINY_SCORER, y) for y in (YES, BINARY, CLASSES)),
    *((TINY_NLI, y) for y in (CLASSES, THREE, THREE + 5, YES)),
]


@pytest.mark.parametrize(
    ("model", "y"),
    ANY_CLASSES,
    ids=[f"{m.name}-{np.unique(np.asarray(y))}" for m, y in ANY_CLASSES],
)
def test_any_classes_are_learnt_and_kept(y, model, tmp_path):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    X = PAIRS.assign(b=[["? ? ?", "ferry ferry ferry", "nets nets nets"][code] for code in codes])
    fitted = classified(X, y=y, model=model, epochs=16, learning_rate=2e-3)
    assert fitted.classes_.tolist() == classes.tolist()
    assert fitted.score(X, y) >= 0.75
    predicted = fitted.predict(X)
    assert predicted.dtype == fitted.classes_.dtype
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_array_equal(fitted.classes_[proba.argmax(axis=1)], predicted)
    decision = fitted.decision_function(X)
    if len(fitted.classes_) == 2:
        np.testing.assert_allclose(proba[:, 1], expit(decision), atol=1e-6)
        np.testing.assert_array_equal(predicted == fitted.classes_[1], decision > 0)
    else:
        np.testing.assert_array_equal(predicted, fitted.classes_[decision.argmax(axis=1)])

    fitted.save_pretrained(tmp_path / "saved")
    again = CrossEncoderClassifier(tmp_path / "saved").fit(X)
    assert_same_rows(again.decision_function(X), decision)
    if fitted.encoder_.head.out_dim > 1:
        assert again.classes_.tolist() == fitted.classes_.tolist()
        np.testing.assert_array_equal(again.predict(X), predicted)
    else:
        np.testing.assert_array_equal(again.predict(X), predicted == fitted.classes_[1])
    if fitted.encoder_.head.out_dim > 1 or fitted.classes_.tolist() == [0, 1]:
        known = CrossEncoderClassifier(tmp_path / "saved").fit(X, y)
        np.testing.assert_array_equal(known.predict(X), predicted)

    reference = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    found = reference.predict(X.to_numpy().tolist())
    if fitted.encoder_.head.out_dim == 1:
        np.testing.assert_allclose(found, proba[:, 1], atol=1e-5)
    else:
        names = [reference.config.id2label[i] for i in found.argmax(axis=1)]
        assert names == [str(label) for label in predicted]


def test_a_head_for_these_classes_stays_whatever_their_order():
    """Learnt from by a step that changes nothing, it predicts what it did before."""
    as_it_is = CrossEncoderClassifier(TINY_NLI).fit(PAIRS)
    for y, of_place in ((CLASSES, NLI), (np.arange(N) % 3, range(3))):
        fitted = classified(y=y, learning_rate=1e-9, max_steps=1)
        named = dict(zip(of_place, NLI, strict=True))
        assert [named[label] for label in fitted.predict(PAIRS)] == as_it_is.predict(PAIRS).tolist()
    assert len(set(as_it_is.predict(PAIRS))) > 1
    with pytest.warns(NewHeadWarning, match="a head for another task"):
        other = classified(y=np.array([*"abc"] * 8), max_steps=1)
    assert other.encoder_.head.labels == [*"abc"]
    with pytest.warns(NewHeadWarning):
        assert classified(y=CLASSES[CLASSES != "neutral"], X=PAIRS[CLASSES != "neutral"]).encoder_


def test_names_that_are_numbers_keep_their_logits(tmp_path):
    folder = make_cross_encoder(tmp_path, labels=("3", "1", "2"), seed=24)
    as_it_is = CrossEncoderClassifier(folder).fit(PAIRS)
    fitted = classified(y=np.arange(N) % 3 + 1, model=folder, learning_rate=1e-9, max_steps=1)
    assert fitted.classes_.tolist() == as_it_is.classes_.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(fitted.predict(PAIRS), as_it_is.predict(PAIRS))


def test_balanced_classes_weigh_alike():
    y = np.array(["a"] * 18 + ["b"] * 6)
    how = {"model": TINY_SCORER, "epochs": 1}
    balanced = classified(y=y, class_weight="balanced", **how)
    plain_ = classified(y=y, **how)
    assert balanced.fingerprint_ != plain_.fingerprint_
    by_class = classified(y=y, class_weight={"a": 24 / 36, "b": 24 / 12}, **how)
    by_row = classified(y=y, fit={"sample_weight": np.where(y == "a", 24 / 36, 24 / 12)}, **how)
    assert by_class.fingerprint_ == balanced.fingerprint_ == by_row.fingerprint_


def test_classes_are_balanced_among_the_rows_that_are_learnt_from(plain_nli):
    others = (PAIRS[:9], np.repeat(NLI, [7, 1, 1]))
    how = {"model": plain_nli, "class_weight": "balanced", "max_steps": 1}
    y = np.repeat(NLI, [12, 6, 6])
    alone, watched = classified(y=y, **how), classified(y=y, validation_data=others, **how)
    assert watched.history_["loss"][0] == pytest.approx(alone.history_["loss"][0], rel=1e-6)


def test_a_fit_that_fails_leaves_the_classes_of_the_last_one():
    fitted = classified(params={"long_text": "error", "max_length": 64})
    before = fitted.predict(PAIRS)
    with pytest.raises(ValueError, match="more than 64 tokens"):
        fitted.fit(PAIRS.assign(b="market " * 300), ["x", "y", "z"] * 8)
    assert fitted.predict(PAIRS).tolist() == before.tolist()


def test_an_interruption_before_the_training_leaves_the_classes_of_the_last_one(monkeypatch):
    fitted = classified()
    before = fitted.predict(PAIRS)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sk_sentemb._training.training.prepare_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(PAIRS, ["x", "y", "z"] * 8)
    assert fitted.predict(PAIRS).tolist() == before.tolist()


def test_lists_of_one_grade_are_said():
    with pytest.warns(FineTuningWarning, match="2 of 7 lists have a single grade"):
        tuned(y=np.where(QUERY == 2, 0, GRADES), fit={"query_id": QUERY})


def test_balanced_classes_weigh_alike_whatever_the_order_of_logits():
    y = np.array(["neutral"] * 12 + ["entailment"] * 8 + ["contradiction"] * 4)
    weight = {"neutral": 24 / 36, "entailment": 1.0, "contradiction": 2.0}
    balanced = classified(y=y, class_weight="balanced")
    assert balanced.fingerprint_ == classified(y=y, class_weight=weight).fingerprint_
    by_row = classified(y=y, fit={"sample_weight": [weight[label] for label in y]})
    assert by_row.fingerprint_ == balanced.fingerprint_


@pytest.mark.parametrize("how", [{"sampling": "balanced"}, {"loss": CrossEntropyLoss(0.1)}])
def test_other_ways_to_learn_classes(how):
    fitted = classified(**how)
    assert fitted.fingerprint_ != classified().fingerprint_
    assert fitted.classes_.tolist() == sorted(NLI)


def test_thresholds_and_calibration_learn_inside():
    tuner = FineTuner(epochs=1, batch_size=8, random_state=0)
    y = np.where(BINARY, "yes", "no")
    classifier = CrossEncoderClassifier(TINY, fine_tuner=tuner)
    threshold = TunedThresholdClassifierCV(
        classifier, scoring="balanced_accuracy", cv=2, random_state=0
    ).fit(PAIRS, y)
    assert set(threshold.predict(PAIRS)) <= {"yes", "no"}
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(PAIRS.to_numpy(), y)
    np.testing.assert_allclose(calibrated.predict_proba(PAIRS.to_numpy()).sum(axis=1), 1)
    scores = cross_val_score(classifier, PAIRS, y, cv=3, scoring="roc_auc", error_score="raise")
    assert np.isfinite(scores).all()


# Triplets


def test_triplets_are_learnt_from_and_pairs_predicted():
    for y in (None, SCORES):
        scorer = tuned(TRIPLETS, y)
        assert scorer.n_features_in_ == 2
        assert not hasattr(scorer, "feature_names_in_")
        assert scorer.predict(PAIRS).shape == (N,)
        assert scorer.score_range_ == (0.0, 1.0)
        with pytest.raises(ValueError, match="X has 3 features"):
            scorer.predict(TRIPLETS)
        with pytest.raises(ValueError, match="X has 3 text columns, but a pair has two"):
            scorer.fit_transform(TRIPLETS, y)
    named = tuned()
    assert named.feature_names_in_.tolist() == ["a", "b"]
    assert not hasattr(named.fit(TRIPLETS), "feature_names_in_")
    one = tuned(TRIPLETS, SCORES)
    two = tuned(TRIPLETS, np.column_stack([SCORES + 2, np.full(N, 2)]))
    np.testing.assert_allclose(one.history_["loss"], two.history_["loss"], rtol=1e-4)


# Callbacks


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


@pytest.mark.parametrize("kind", [CrossEncoderScorer, CrossEncoderClassifier])
def test_a_scoring_monitor_sees_the_model_after_each_epoch(callback, kind):
    seen = []

    def score(fitted, X, y):
        seen.append((fitted.fingerprint_, fitted.predict(X)))
        return fitted.score(X, y)

    monitor = callback.ScoringMonitor(scoring={"own": score})
    tuner = FineTuner(epochs=3, batch_size=10, score_range=(0, 5), random_state=0)
    y = SCORES * 5 if kind is CrossEncoderScorer else CLASSES
    made = kind(TINY, fine_tuner=tuner).set_callbacks(monitor)
    fitted = made.fit(PAIRS, y)
    scores = monitor.get_logs().data_as_pandas
    assert (scores["task_name"] == "epoch").sum() == 3
    assert len({fingerprint for fingerprint, _ in seen}) == 3
    assert seen[-1][0] == fitted.fingerprint_
    np.testing.assert_array_equal(seen[-1][1], fitted.predict(PAIRS))


# What is refused


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (PAIRS, ["good"] * N, {}, "requires a numeric y, got values such as 'good'"),
        (PAIRS, SCORES[:-1], {}, "inconsistent numbers of samples"),
        (PAIRS, [*SCORES[:-1], np.nan], {}, r"y\[23\] is missing"),
        (PAIRS, [*SCORES[:-1], np.inf], {}, "y contains infinity"),
        (PAIRS, np.column_stack([SCORES, SCORES]), {}, "y should be a 1d array"),
        (PAIRS, SCORES, {"loss": "cross_entropy"}, "does not support two columns and a score"),
        (PAIRS, None, {"loss": "binary_cross_entropy"}, "does not support two columns and no y"),
        (
            PAIRS,
            SCORES,
            {"loss": "multiple_negatives_ranking"},
            "does not support two columns and a score",
        ),
        (PAIRS, SCORES, {"loss": "margin_mse"}, "does not support two columns and a score"),
        (TRIPLETS, None, {"loss": "lambda"}, "does not support three columns and no y"),
        (PAIRS, SCORES, {"loss": "cosent"}, "loss='cosent' is for SentenceEmbedder"),
        (PAIRS, SCORES, {"loss": CoSENTLoss()}, "is for SentenceEmbedder"),
        (PAIRS, SCORES, {"loss": MatryoshkaLoss("auto", dims=(8,))}, "requires embeddings"),
        (PAIRS, SCORES, {"class_weight": "balanced"}, "requires classes in y"),
        (PAIRS, SCORES, {"sampling": "balanced"}, "requires classes in y"),
        (PAIRS, SCORES, {"metric": "ndcg"}, "metric='ndcg' requires ranked lists"),
        (TRIPLETS, None, {"metric": "spearman"}, "metric='spearman' requires"),
        (
            PAIRS,
            SCORES,
            {"metric": "average_precision"},
            "metric='average_precision' requires a target of 0 and 1",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (TRIPLETS, SCORES)},
            "validation_data has 3 text columns",
        ),
        (PAIRS, SCORES, {"validation_data": (PAIRS, None)}, "must be given, or neither"),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS, SCORES * 2)},
            r"outside of score_range=\(0, 1\)",
        ),
        (PAIRS.assign(b="same"), None, {}, "so that it has no negatives"),
        (PAIRS, GRADES, {"fit": {"query_id": QUERY[:-1]}}, r"query_id has the shape \(23,\)"),
        (PAIRS, GRADES, {"fit": {"query_id": [*QUERY[:-1], None]}}, r"query_id\[23\] is missing"),
        (
            PAIRS,
            GRADES,
            {"fit": {"query_id": np.ones((N, 2))}},
            r"query_id has the shape \(24, 2\)",
        ),
        (
            PAIRS,
            GRADES,
            {"fit": {"query_id": np.arange(N)}},
            "No list has two grades, but loss=Lam",
        ),
        (PAIRS, GRADES, {"loss": "ranknet", "fit": {"query_id": np.arange(N)}}, "No list has two"),
        (PAIRS, -BINARY, {"fit": {"query_id": np.zeros(N)}}, "No list has two grades"),
        (
            PAIRS,
            GRADES,
            {"early_stopping": True, "fit": {"query_id": np.zeros(N)}},
            "validation_fraction=0.1 requires two lists, got one",
        ),
        (PAIRS[:1], [0.5], {"early_stopping": True}, "requires two rows, got one"),
        (PAIRS, SCORES, {"validation_data": (PAIRS, SCORES[:4])}, "24 rows of X and 4 of y"),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:2], [0, None])},
            r"validation_data\[1\]\[1\] is",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": ([["a"], ["b", "c"]], [0, 1])},
            "the X of validation_data has",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:1], [[0, 1]])},
            "that of validation_data \\(1, 2",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": (PAIRS[:2], [0, 9])},
            "row 1 of the y of validation_data is 9, outside of",
        ),
        (
            PAIRS,
            SCORES,
            {"validation_data": ([("a", None)], [1])},
            "the X of validation_data has no row without a missing text",
        ),
    ],
)
def test_what_a_scorer_cannot_learn_is_named(X, y, how, message):
    how = {"score_range": (0, 1)} | how if "validation_data" in how else how
    with pytest.raises(ValueError, match=message):
        tuned(X, y, **how)


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (PAIRS, SCORES, {}, "Unknown label type: continuous"),
        (PAIRS, None, {}, "requires y to be passed, but the target y is None: with a fine_tuner"),
        (PAIRS, ["one"] * N, {}, r"y contains one class \('one'\); at least two"),
        (PAIRS, [*CLASSES[:-1], None], {}, r"y\[23\] is missing"),
        (PAIRS, CLASSES[:-1], {}, "inconsistent numbers of samples"),
        (TRIPLETS, CLASSES, {}, "X has 3 text columns, but a pair has two"),
        (
            PAIRS,
            CLASSES,
            {"loss": "binary_cross_entropy"},
            "does not support two columns and a class",
        ),
        (PAIRS, CLASSES, {"loss": "softmax"}, "is for SentenceEmbedder"),
        (PAIRS, CLASSES, {"class_weight": {"a": 2}}, "are not in class_weight"),
        (
            PAIRS,
            CLASSES,
            {"validation_data": (PAIRS[:2], ["a", "b"])},
            r"classes \['a', 'b'\], which",
        ),
    ],
)
def test_what_a_classifier_cannot_learn_is_named(X, y, how, message):
    with pytest.raises(ValueError, match=message):
        tuned(X, y, kind=CrossEncoderClassifier, **how)


@pytest.mark.parametrize(
    ("y", "loss"),
    [(SCORES, "binary_cross_entropy"), (GRADES, BinaryCrossEntropyLoss()), (None, "auto")],
)
def test_lists_that_the_loss_does_not_compare_are_said(y, loss):
    with pytest.warns(UserWarning, match="query_id has no effect"):
        tuned(y=y, loss=loss, fit={"query_id": QUERY}, max_steps=1, score_range=(0, 3))


def test_the_bar_of_a_fine_tuning_shows_steps_and_loss(capfd):
    tuned(verbose=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "fine-tuning: 100%" in err
    assert "6/6" in err
    assert "loss=" in err
