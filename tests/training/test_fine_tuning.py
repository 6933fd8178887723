"""Fine-tuning as a parameter of SentenceEmbedder."""

import copy
import pickle
import re
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder, load_encoder
from sk_sentemb.exceptions import FineTuningWarning, TruncationWarning
from sk_sentemb.losses import (
    EMBEDDER_LOSSES,
    CoSENTLoss,
    MatryoshkaLoss,
)
from tests.helpers.tiny_models import NO_DROPOUT, TINY, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
TEXTS = [
    f"the {a} and the {b} of day {i}"
    for i, (a, b) in enumerate(zip(WORDS * 3, WORDS[::-1] * 3, strict=True))
]
LABELS = ["sea" if i % 2 else "land" for i in range(len(TEXTS))]
PAIRS = pd.DataFrame({"a": TEXTS, "b": [f"{text}?" for text in TEXTS]})
TRIPLETS = PAIRS.assign(c=[f"{text}!" for text in TEXTS[7:] + TEXTS[:7]])
SCORES = np.linspace(0, 1, len(TEXTS))
VECTORS = np.random.default_rng(0).normal(size=(len(TEXTS), 32)).astype(np.float32)

# What X and y are -> the losses that are for it
DATA = {
    "labels": (
        TEXTS,
        LABELS,
        [
            "auto",
            "supervised_contrastive",
            "batch_hard_triplet",
            "batch_semi_hard_triplet",
            "cosine_pairs",
            "softmax",
        ],
    ),
    "scores": (PAIRS, SCORES, ["auto", "cosent", "angle", "cosine_similarity"]),
    "binary": (PAIRS, np.arange(24) % 2, ["online_contrastive", "contrastive", "cosent"]),
    "classes": (PAIRS, [*"abc"] * 8, ["auto", "softmax"]),
    "pairs": (PAIRS, None, ["auto", "multiple_negatives_ranking", "gist_embed"]),
    "triplets": (TRIPLETS, None, ["auto", "multiple_negatives_ranking", "triplet", "gist_embed"]),
    "margins": (TRIPLETS, SCORES * 3 - 1, ["auto", "margin_mse"]),
    "texts": (TEXTS, None, ["auto", "simcse"]),
    "vectors": (TEXTS, VECTORS, ["auto", "mse"]),
}
CASES = [(shape, loss) for shape, (_, _, names) in DATA.items() for loss in names]


def tuned(X=TEXTS, y=LABELS, *, model=TINY, embedder=None, fit=None, **how):
    how = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    made = SentenceEmbedder(model, fine_tuner=FineTuner(**how), **(embedder or {}))
    return made.fit(X, y, **(fit or {}))


def weights(embedder):
    return {k: v.clone() for k, v in embedder.encoder_.backbone.model.state_dict().items()}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("shape", "loss"), CASES)
def test_every_loss_learns(shape, loss):
    X, y, _ = DATA[shape]
    model = TINY if shape == "texts" else NO_DROPOUT
    embedder = tuned(X, y, loss=loss, epochs=8, batch_size=24, model=model)
    losses = embedder.history_["loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert np.isfinite(embedder.transform(TEXTS)).all()


def test_every_loss_is_tried():
    assert {loss for _, loss in CASES} - {"auto"} == EMBEDDER_LOSSES.losses.keys()


def test_the_shared_model_is_not_touched():
    shared = load_encoder(TINY)
    before = {k: v.clone() for k, v in shared.backbone.model.state_dict().items()}
    expected = SentenceEmbedder(TINY).fit_transform(TEXTS)
    embedder = tuned()
    assert load_encoder(TINY).network is shared.network
    assert_equal_weights(before, shared.backbone.model.state_dict())
    assert not any(p.requires_grad for p in shared.backbone.model.parameters())
    assert embedder.fingerprint_ != shared.fingerprint
    assert np.abs(embedder.transform(TEXTS) - expected).max() > 1e-2
    np.testing.assert_array_equal(SentenceEmbedder(TINY).fit_transform(TEXTS), expected)


def test_only_embeddings_of_tokens_that_occur_change():
    embedder = tuned(weight_decay=0.1)
    before = load_encoder(TINY).backbone.model.get_input_embeddings().weight
    after = embedder.encoder_.backbone.model.get_input_embeddings().weight
    assert type(embedder.encoder_.backbone.model.get_input_embeddings()) is torch.nn.Embedding
    changed = (before != after).any(dim=1).numpy()
    ids = embedder.encoder_.tokenizer(TEXTS, prompt="", max_length=64, long_text="truncate").ids
    assert set(np.flatnonzero(changed)) == set(ids)


def test_partial_embedding_is_trained_as_the_whole_table(monkeypatch):
    """The same steps with plain torch: a dense gradient for the whole table."""
    expected = weights(tuned(dtype="float32"))
    tune_module = sys.modules["sk_sentemb._training.builder"]
    monkeypatch.setattr(tune_module, "PartialEmbedding", lambda table, used: table)
    found = weights(tuned(dtype="float32"))
    assert all(torch.allclose(found[k], expected[k], atol=1e-6) for k in expected)


def global_state():
    """Return numpy's, which old code draws from."""
    return np.random.get_state()[1].copy()  # noqa: NPY002


def test_one_random_state_gives_one_model_and_leaves_global_chance_alone():
    torch.manual_seed(3)
    numpy_before, torch_before = global_state(), torch.get_rng_state()
    n_threads = torch.get_num_threads()
    one = tuned()
    assert np.array_equal(global_state(), numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert torch.get_num_threads() == n_threads
    assert torch.is_grad_enabled()
    torch.manual_seed(4)
    other = tuned()
    assert_equal_weights(weights(one), weights(other))
    assert one.fingerprint_ == other.fingerprint_
    assert tuned(random_state=1).fingerprint_ != one.fingerprint_


def test_threads_do_not_disturb_each_other():
    seeds = [0, 1, 2, 0, 1, 2]
    run = joblib.Parallel(n_jobs=3, backend="threading")
    found = run(joblib.delayed(lambda s: tuned(random_state=s).fingerprint_)(s) for s in seeds)
    assert found[:3] == found[3:]
    assert found[0] == tuned(random_state=0).fingerprint_


@pytest.mark.parametrize("carry", [pickle, copy, "joblib"], ids=["pickle", "deepcopy", "joblib"])
def test_a_fine_tuned_embedder_is_copied_with_its_weights(carry, tmp_path):
    embedder = tuned()
    if carry is pickle:
        again = pickle.loads(pickle.dumps(embedder))
    elif carry is copy:
        again = copy.deepcopy(embedder)
    else:
        joblib.dump(embedder, tmp_path / "embedder")
        again = joblib.load(tmp_path / "embedder")
    assert again.fingerprint_ == embedder.fingerprint_ == again.encoder_.fingerprint
    assert_same_rows(again.transform(["new text"]), embedder.transform(["new text"]))
    pd.testing.assert_frame_equal(again.history_, embedder.history_)


def test_clone_forgets_the_weights():
    embedder = tuned()
    fresh = clone(embedder)
    assert not hasattr(fresh, "encoder_")
    assert fresh.fit(TEXTS, LABELS).fingerprint_ == embedder.fingerprint_


def test_sentence_transformers_reads_a_tuned_model(tmp_path):
    from sentence_transformers import SentenceTransformer

    embedder = tuned(PAIRS, SCORES)
    embedder.save_pretrained(tmp_path / "tuned")
    expected = SentenceTransformer(str(tmp_path / "tuned"), device="cpu").encode(TEXTS)
    assert_same_rows(embedder.transform(TEXTS), expected)
    assert_same_rows(SentenceEmbedder(tmp_path / "tuned").fit_transform(TEXTS), expected)


def test_pairs_are_fitted_and_single_texts_embedded():
    embedder = tuned(PAIRS, SCORES)
    both, single = embedder.transform(PAIRS), embedder.transform(TEXTS)
    assert both.shape == (24, 64)
    assert single.shape == (24, 32)
    assert_same_rows(both[:, :32], single)
    with pytest.raises(ValueError, match="feature names should match"):
        embedder.transform(TRIPLETS)


def test_settings_of_the_embedder_are_trained_with():
    prompted = tuned(embedder={"prompt": "query: "})
    assert prompted.fingerprint_ != tuned().fingerprint_
    with pytest.raises(ValueError, match=r"row 3 of X has more than 20 tokens"):
        tuned(
            [*TEXTS[:3], "ferry " * 30],
            [0, 1, 0, 1],
            embedder={"max_length": 20, "long_text": "error"},
        )


def test_grid_search_gives_the_same_with_one_job_and_with_two():
    search = GridSearchCV(
        make_pipeline(
            SentenceEmbedder(TINY, fine_tuner=FineTuner(batch_size=8, random_state=0)),
            LogisticRegression(),
        ),
        {
            "sentenceembedder__fine_tuner__learning_rate": [1e-4, 1e-3],
            "sentenceembedder__fine_tuner__epochs": [1, 2],
        },
        cv=3,
    )
    one = clone(search).fit(TEXTS, LABELS)
    two = clone(search).set_params(n_jobs=2).fit(TEXTS, LABELS)
    np.testing.assert_allclose(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    assert one.best_params_ == two.best_params_


def test_sample_weight_and_class_weight():
    assert tuned(fit={"sample_weight": np.ones(24)}).history_["loss"].iloc[0] == pytest.approx(
        tuned().history_["loss"].iloc[0], rel=1e-5
    )
    # Rows that do not count teach nothing: their labels may be wrong.
    wrong = ["land" if i < 6 else label for i, label in enumerate(LABELS)]
    counts = (np.arange(24) >= 6).astype(float)
    how = {"loss": "softmax", "sampling": "shuffle", "fit": {"sample_weight": counts}}
    assert tuned(TEXTS, wrong, **how).fingerprint_ == tuned(**how).fingerprint_
    balanced = tuned(TEXTS, ["a"] * 18 + ["b"] * 6, class_weight="balanced", loss="softmax")
    plain = tuned(TEXTS, ["a"] * 18 + ["b"] * 6, loss="softmax")
    assert balanced.fingerprint_ != plain.fingerprint_
    with pytest.warns(UserWarning, match="no effect without a fine_tuner"):
        SentenceEmbedder(TINY).fit(TEXTS, sample_weight=np.ones(24))


def test_early_stopping_restores_the_best_weights():
    held_out = (PAIRS[:8], SCORES[:8])
    how = {
        "early_stopping": True,
        "patience": 2,
        "learning_rate": 0.03,
        "validation_data": held_out,
    }
    embedder = tuned(PAIRS, SCORES, epochs=20, **how)
    scores = embedder.history_["validation_spearman"].dropna()
    assert len(scores) < 20
    assert scores.iloc[-1] < scores.max()
    a, b = np.split(embedder.transform(held_out[0]), 2, axis=1)
    cosines = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert spearmanr(cosines, held_out[1]).statistic == pytest.approx(scores.max(), abs=0.05)


def test_given_validation_data():
    embedder = tuned(PAIRS, SCORES, validation_data=(PAIRS[:6], SCORES[:6]), metric="loss")
    assert embedder.history_["validation_loss"].notna().sum() == 2
    assert len(embedder.history_) == 6
    with pytest.raises(ValueError, match="validation_data has 1 text columns"):
        tuned(PAIRS, SCORES, validation_data=(TEXTS, SCORES))

    def metric(columns, y):
        assert [column.shape for column in columns] == [(6, 32), (6, 32)]
        return float(len(y))

    embedder = tuned(PAIRS, SCORES, validation_data=(PAIRS[:6], SCORES[:6]), metric=metric)
    assert embedder.history_["validation_score"].dropna().tolist() == [6.0, 6.0]


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.AmbiguousTargetWarning")
@pytest.mark.parametrize("shape", DATA)
def test_every_format_can_be_validated(shape):
    X, y, _ = DATA[shape]
    embedder = tuned(X, y, validation_fraction=0.25)
    assert embedder.history_.filter(like="validation").notna().to_numpy().sum() == 2
    assert embedder.history_.filter(like="validation").iloc[-1].notna().all()


@pytest.mark.parametrize("n_at_once", [1, 5])
def test_forward_batch_size_gives_the_same_step(n_at_once):
    how = {"max_steps": 1, "warmup_ratio": 0, "model": NO_DROPOUT}
    whole, parts = tuned(**how), tuned(forward_batch_size=n_at_once, **how)
    assert parts.history_["loss"].tolist() == pytest.approx(whole.history_["loss"].tolist())
    assert changed_parameters(whole)
    assert_same_rows(parts.transform(TEXTS), whole.transform(TEXTS))


def test_gradient_accumulation_and_checkpointing():
    how = {"loss": "cosine_similarity", "max_steps": 1, "warmup_ratio": 0, "model": NO_DROPOUT}
    once = tuned(PAIRS, SCORES, batch_size=8, **how)
    how |= {"gradient_accumulation": 2, "gradient_checkpointing": True}
    twice = tuned(PAIRS, SCORES, batch_size=4, **how)
    assert twice.history_["loss"].tolist() == pytest.approx(
        once.history_["loss"].tolist(), rel=1e-5
    )
    assert changed_parameters(once)
    assert_same_rows(once.transform(TEXTS), twice.transform(TEXTS))


def changed_parameters(embedder):
    before = load_encoder(TINY).backbone.model.state_dict()
    return {
        name for name, value in weights(embedder).items() if not torch.equal(value, before[name])
    }


def test_trainable_selects_the_weights():
    every = changed_parameters(tuned())
    assert any("word_embeddings" in name for name in every)
    assert any("layer.0" in name for name in every)
    last = changed_parameters(tuned(trainable=1))
    assert last
    assert all("layer.1." in name for name in last)
    assert not any(
        "word_embeddings" in n for n in changed_parameters(tuned(train_embeddings=False))
    )
    assert changed_parameters(tuned(trainable="modules", loss="softmax")) == set()
    with pytest.raises(ValueError, match="leaves nothing to train"):
        tuned(trainable="modules")
    with pytest.raises(ValueError, match="the model has 2 layers"):
        tuned(trainable=3)


def test_lora(tmp_path):
    pytest.importorskip("peft")
    embedder = tuned(lora_rank=4, learning_rate=1e-2)
    changed = changed_parameters(embedder)
    assert changed
    assert all(
        (name.endswith(".weight") and "dense" in name) or "attention" in name for name in changed
    )
    assert weights(embedder).keys() == load_encoder(TINY).backbone.model.state_dict().keys()
    embedder.save_pretrained(tmp_path / "lora")
    assert_same_rows(
        SentenceEmbedder(tmp_path / "lora").fit_transform(TEXTS), embedder.transform(TEXTS)
    )


def test_warm_start_and_partial_fit_go_on():
    first = tuned()
    went_on = copy.deepcopy(first).partial_fit(TEXTS, LABELS)
    assert went_on.fingerprint_ not in (first.fingerprint_, tuned().fingerprint_)
    warm = tuned(embedder={"warm_start": True})
    assert warm.fit(TEXTS, LABELS).fingerprint_ == went_on.fingerprint_
    started = SentenceEmbedder(TINY, fine_tuner=first.fine_tuner).partial_fit(TEXTS, LABELS)
    assert started.fingerprint_ == first.fingerprint_
    assert not hasattr(SentenceEmbedder(TINY), "partial_fit")


def test_missing_texts():
    X = [*TEXTS[:-2], None, np.nan]
    with pytest.warns(UserWarning, match="2 of 24 rows have a missing text"):
        embedder = tuned(X, LABELS)
    assert embedder.fingerprint_ != tuned().fingerprint_
    with pytest.raises(ValueError, match="row 22, column 0 of X has no text"):
        tuned(X, LABELS, embedder={"missing": "error"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned(X, LABELS, embedder={"missing": "empty"})


def test_similarities_are_scaled_with_a_warning():
    with pytest.warns(UserWarning, match="y goes from 0 to 5 and is scaled to 0 to 1"):
        scaled = tuned(PAIRS, SCORES * 5, loss="cosine_similarity")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = tuned(PAIRS, SCORES * 5, loss="cosine_similarity", score_range=(0, 5))
        plain = tuned(PAIRS, SCORES, loss="cosine_similarity")
    np.testing.assert_allclose(
        [e.history_["loss"] for e in (scaled, said)], [plain.history_["loss"]] * 2, rtol=1e-4
    )
    with pytest.raises(ValueError, match=r"y\[19\] is 4\.13043\d*, outside of score_range"):
        tuned(PAIRS, SCORES * 5, loss="cosine_similarity", score_range=(0, 4))


@pytest.mark.parametrize("seed", range(4))
def test_score_range_of_the_warning_covers_all_scores(seed):
    scores = np.random.default_rng(seed).normal(size=len(PAIRS))
    with pytest.warns(UserWarning, match="is scaled to 0 to 1") as caught:
        tuned(PAIRS, scores, max_steps=1)
    low, high = re.search(r"score_range=\((.+?), (.+?)\)", str(caught[0].message)).groups()
    tuned(PAIRS, scores, max_steps=1, score_range=(float(low), float(high)))


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (TEXTS, ["one"] * 24, {}, "y contains a single class"),
        (TEXTS, SCORES, {}, "which no loss supports"),
        (PAIRS.assign(c="c", d="d"), None, {}, "X has 4 columns and y is None"),
        (TEXTS, LABELS, {"loss": "triplet"}, "triplet"),
        (TEXTS, LABELS[:-1], {}, "inconsistent numbers of samples"),
        (TEXTS, LABELS, {"epochs": 0}, "'epochs' parameter"),
        (TEXTS, LABELS, {"loss": "nonsense"}, "'loss' parameter"),
        (PAIRS, SCORES, {"class_weight": "balanced"}, "requires classes in y"),
        (PAIRS, SCORES, {"sampling": "balanced"}, "requires classes in y"),
        (TEXTS, VECTORS[:, :5], {}, "y has embeddings of 5 dimensions, but the model outputs 32"),
        (PAIRS, ["one"] * 24, {}, "y contains a single class"),
        (TEXTS, [*LABELS[:-1], None], {}, r"y\[23\] is missing"),
        (PAIRS, [*SCORES[:-1], np.nan], {}, r"y\[23\] is missing"),
        (TEXTS, LABELS, {"batch_size": 1}, "batch_size=1, but the loss compares the rows"),
        (PAIRS, None, {"batch_size": 1}, "batch_size=1, but the loss compares the rows"),
        (PAIRS, SCORES, {"score_range": (1,)}, r"score_range=\(1,\): pass two numbers"),
        (PAIRS, SCORES, {"score_range": "ab"}, "'score_range' parameter"),
        (PAIRS, SCORES, {"score_range": ("a", "b")}, "pass two numbers"),
        (TEXTS, LABELS, {"validation_data": (TEXTS,)}, "validation_data has 1 items"),
        (TEXTS, LABELS, {"metric": "spearman"}, "metric='spearman' requires text pairs"),
    ],
)
def test_bad_input_is_an_error(X, y, how, message):
    with pytest.raises(ValueError, match=message):
        tuned(X, y, **how)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match=r"the loss of step \d+ is nan, in rows \[\d"):
        tuned(
            PAIRS,
            np.where(np.arange(24) == 5, 1e38, SCORES),
            loss="cosine_similarity",
            score_range=(0, 2e38),
            learning_rate=1e30,
            max_grad_norm=1e30,
            epochs=5,
        )


def test_interruption_leaves_a_fitted_embedder():
    calls = iter([None, None, None, KeyboardInterrupt])

    def metric(columns, y):
        if (error := next(calls)) is not None:
            raise error
        return 1.0

    with pytest.warns(FineTuningWarning, match="interrupted after 8 of 18 steps"):
        embedder = tuned(
            PAIRS, SCORES, epochs=9, batch_size=9, metric=metric, validation_fraction=0.25
        )
    assert embedder.transform(TEXTS).shape == (24, 32)


def test_matryoshka_heads_and_objects():
    embedder = tuned(loss=MatryoshkaLoss("auto", dims=(32, 8)))
    short = embedder.set_params(truncate_dim=8)
    assert short.encoder_.embedding_dim == 32
    one = tuned(PAIRS, SCORES, loss=CoSENTLoss(scale=20.0))
    assert one.fingerprint_ == tuned(PAIRS, SCORES, loss="cosent").fingerprint_
    assert clone(one.fine_tuner).loss == CoSENTLoss(scale=20.0)


def test_classes_of_one_text_are_a_warning():
    y = [*"aabbccddeeffgghhiijjkkl", "m"]
    with pytest.warns(FineTuningWarning, match="2 of 13 classes have only one text"):
        tuned(TEXTS, y)
    with pytest.raises(ValueError, match="No class in y has two texts"):
        tuned(TEXTS, range(24))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.FineTuningWarning")
def test_checkpoints_that_cannot_be_saved_or_loaded_are_a_warning(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(FineTuningWarning, match="step 3 could not be saved in checkpoint_dir"):
        embedder = tuned(checkpoint_dir=tmp_path / "file" / "folder")
    assert embedder.fingerprint_ == tuned().fingerprint_

    errors = [FileExistsError("no more")]

    def metric(columns, y):
        if errors:
            raise errors.pop()
        return 1.0

    how = {"metric": metric, "validation_fraction": 0.25}
    with pytest.raises(FileExistsError):
        tuned(checkpoint_dir=tmp_path, checkpoint_steps=1, **how)
    (file,) = tmp_path.rglob("training.pt")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(FineTuningWarning, match="cannot be loaded, and training starts again"):
        embedder = tuned(checkpoint_dir=tmp_path, **how)
    assert embedder.fingerprint_ == tuned(**how).fingerprint_


def test_max_steps_ends_in_the_middle_of_an_epoch_and_is_validated():
    embedder = tuned(epochs=9, max_steps=4, validation_fraction=0.25)
    assert embedder.history_["step"].tolist() == [1, 2, 3, 4]
    assert embedder.history_["epoch"].tolist() == [1, 1, 1, 2]
    assert embedder.history_["validation_loss"].notna().tolist() == [False, False, True, True]


def test_truncated_texts_are_a_warning():
    with pytest.warns(TruncationWarning, match="1 of 24 texts exceed the limit of 20 tokens"):
        tuned([*TEXTS[1:], "ferry " * 30], embedder={"max_length": 20})
