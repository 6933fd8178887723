"""Fine-tuning of cross-encoders: weights, rows and settings."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import transformers as hf

from sk_sentemb import CrossEncoderClassifier, CrossEncoderScorer, load_encoder
from sk_sentemb.exceptions import TruncationWarning
from tests.cross_encoder.training_data import (
    BINARY,
    CLASSES,
    DATA,
    FIRST,
    GRADES,
    NO_DROPOUT,
    PAIRS,
    QUERY,
    SCORES,
    TRIPLETS,
    N,
    classified,
    tuned,
)
from tests.helpers.checkpoints import BACKBONES, make_cross_encoder
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


def weights(fitted):
    encoder = fitted.encoder_ if hasattr(fitted, "encoder_") else fitted
    head = {f"head.{k}": v for k, v in encoder.head.state_dict().items()}
    return {k: v.clone() for k, v in (encoder.backbone.model.state_dict() | head).items()}


def changed(fitted, before):
    after = weights(fitted)
    assert after.keys() == before.keys()
    return {name for name in after if not torch.equal(after[name], before[name])}


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
def test_scorer_trains_like_transformers(y, loss, symmetric, plain, request):
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


def test_classifier_trains_like_transformers(plain_nli):
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
def test_every_architecture_trains(kind, tmp_path):
    folder = make_cross_encoder(tmp_path, kind, seed=3, **EVERY_DROPOUT)
    before = load_encoder(folder, pairs=True)
    scorer = tuned(model=folder, epochs=5, learning_rate=1e-3, batch_size=24)
    assert scorer.history_["loss"].iloc[-1] < scorer.history_["loss"].iloc[0]
    names = changed(scorer, weights(before))
    assert any(name.startswith("head.") for name in names)
    assert any(not name.startswith("head.") for name in names)
    again = pickle.loads(pickle.dumps(scorer))
    assert_same_rows(again.set_params(cache=None).predict(PAIRS), scorer.predict(PAIRS))


def test_training_leaves_shared_model_unchanged():
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


def test_trainable_selects_weights():
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


def test_lora_rank_trains_adapters(tmp_path):
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
def test_forward_batch_size_and_accumulation_give_same_step(data, plain):
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


def test_bfloat16_trains():
    exact, mixed = (tuned(dtype=dtype).history_["loss"] for dtype in ("float32", "bfloat16"))
    np.testing.assert_allclose(mixed, exact, rtol=0.1)
    half = tuned(params={"dtype": "bfloat16"})
    assert half.encoder_.dtype == "bfloat16"
    assert np.isfinite(half.predict(PAIRS)).all()


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
def test_sample_weight_zero_excludes_rows(kind, y, wrong, how):
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


def test_sample_weight_two_equals_repeated_row(plain, plain_nli):
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
def test_sample_weight_zero_excludes_lists(loss):
    counts = (QUERY != 0).astype(float)
    wrong = np.where(QUERY == 0, GRADES[::-1], GRADES)
    fit = {"query_id": QUERY, "sample_weight": counts}
    right = tuned(y=GRADES, loss=loss, fit=fit)
    assert tuned(y=wrong, loss=loss, fit=fit).fingerprint_ == right.fingerprint_
    fit = {"query_id": QUERY}
    assert tuned(y=wrong, loss=loss, fit=fit).fingerprint_ != (
        tuned(y=GRADES, loss=loss, fit=fit).fingerprint_
    )


def test_missing_nan_leaves_rows_out_of_training():
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


def test_training_warns_of_truncated_pairs():
    X = pd.concat([PAIRS[1:], pd.DataFrame({"a": ["ferry " * 60], "b": ["pier"]})])
    with pytest.warns(TruncationWarning, match="1 of 24 pairs exceed the limit of 40 tokens"):
        tuned(X, params={"max_length": 40})
    message = r"row 23 of X has more than 40 tokens.* or pass long_text='truncate'\.$"
    with pytest.raises(ValueError, match=message):
        tuned(X, params={"max_length": 40, "long_text": "error"})


def test_training_uses_prompt():
    prompted = tuned(params={"prompt": "query: "})
    assert prompted.fingerprint_ != tuned().fingerprint_
    written = PAIRS.assign(a=["query: " + text for text in FIRST])
    same = tuned(written)
    assert same.fingerprint_ == prompted.fingerprint_
    assert_same_rows(prompted.predict(PAIRS), same.predict(written))


def test_random_state_makes_training_reproducible():
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


def test_threads_train_independently():
    seeds = [0, 1, 2, 0, 1, 2]
    run = joblib.Parallel(n_jobs=3, backend="threading")
    found = run(
        joblib.delayed(lambda s: tuned(model=TINY, random_state=s).fingerprint_)(s) for s in seeds
    )
    assert found[:3] == found[3:]
    assert found[0] == tuned(model=TINY).fingerprint_


def test_scorer_trains_on_triplets():
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
