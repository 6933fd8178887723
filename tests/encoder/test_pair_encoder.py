import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from sentence_transformers import CrossEncoder
from sklearn.utils.fixes import parse_version

from sk_sentemb.cache.namespace import namespace_for
from sk_sentemb.encoder import (
    Encoder,
    PairEncoder,
    load_encoder,
    save_encoder,
)
from sk_sentemb.encoder.tokenization.tokenizer import TextTokenizer
from sk_sentemb.exceptions import CheckpointError, TextTooLongError
from tests.helpers.checkpoints import (
    BACKBONES,
    MAX_TOKENS,
    TEXTS,
    edit,
    make_checkpoint,
    make_cross_encoder,
)
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")

# Each text stands on both sides, beside shorter and longer ones.
PAIRS = [
    (first, second)
    for i, first in enumerate(TEXTS)
    for second in TEXTS[i % 4 :: 4]
    if first or second
]
SOME = PAIRS[::3]
EMPTY = ("", "")
KINDS = [kind for kind in BACKBONES if kind != "t5"]
PADDED = {"mpnet", "deberta-v2"}
OLD_MODERNBERT = parse_version(hf.__version__) < parse_version("5.1")
if OLD_MODERNBERT:
    PADDED.add("modernbert")  # its attention could not be exchanged

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(7_000)

PROMPTS = {"query": "the pier: ", "passage": "Harbour "}
LIMITS = (9, 16, 33)
NLI = ("contradiction", "entailment", "neutral")


def changed(file, **content):
    """Make a cross-encoder whose JSON file says something else."""

    def make(folder, **options):
        make_cross_encoder(folder, **options)
        edit(folder / file, lambda old: old.update(content))
        return folder

    return make


SETTINGS = "sentence_bert_config.json"
LEFT = changed("tokenizer_config.json", truncation_side="left")
MAKERS = {
    **{kind: partial(make_cross_encoder, backbone=kind, n_labels=3) for kind in KINDS},
    "one label": make_cross_encoder,
    "plain": partial(make_cross_encoder, style="plain", labels=NLI),
    "old": partial(make_cross_encoder, activation="Identity", labels=NLI),
    "5": partial(make_cross_encoder, style="5", activation="Tanh"),
    "new": partial(make_cross_encoder, style="new", activation="Sigmoid", labels=NLI),
    "prompts": partial(
        make_cross_encoder, style="new", prompts=PROMPTS, default_prompt_name="query"
    ),
    "short pairs": partial(make_cross_encoder, max_length=15),
    "short pairs, new": partial(make_cross_encoder, style="new", max_length=16),
    "ends": partial(LEFT, max_length=21),
    "ends, padded": partial(LEFT, backbone="deberta-v2", max_length=16),
    "lower case": partial(changed(SETTINGS, do_lower_case=True), style="new"),
    "types, padded": partial(make_cross_encoder, backbone="deberta-v2", type_vocab_size=2),
    "mean": partial(make_cross_encoder, backbone="modernbert", classifier_pooling="mean"),
    "mean, new": partial(
        make_cross_encoder, backbone="modernbert", classifier_pooling="mean", style="new"
    ),
    "float16": partial(make_cross_encoder, dtype="float16", style="new"),
    "bfloat16": partial(make_cross_encoder, dtype="bfloat16"),
}


@dataclass
class Case:
    folder: Path
    encoder: Encoder
    reference: CrossEncoder
    logits: np.ndarray


@pytest.fixture(scope="module", params=MAKERS)
def case(request, one_thread, tmp_path_factory):
    folder = MAKERS[request.param](tmp_path_factory.mktemp("model"))
    encoder = load_encoder(folder, device="cpu", pairs=True)
    return Case(folder, encoder, cross_encoder(folder), encoder.encode(PAIRS).vectors)


@pytest.fixture
def folder(tmp_path):
    return make_cross_encoder(tmp_path / "model", n_labels=3, seed=next(_seeds))


@pytest.fixture(scope="module")
def encoder(one_thread, tmp_path_factory):
    folder = make_cross_encoder(tmp_path_factory.mktemp("model"), n_labels=3)
    return load_encoder(folder, device="cpu", pairs=True)


def cross_encoder(folder):
    options = {"model_kwargs": {"dtype": torch.float32}, "local_files_only": True}
    return CrossEncoder(str(folder), device="cpu", **options)


def predicted(reference, pairs=PAIRS, **options):
    logits = reference.predict(pairs, activation_fn=torch.nn.Identity(), **options)
    return logits.reshape(len(pairs), -1)


def assert_equal_logits(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))


def read(folder, **options):
    return load_encoder(folder, device="cpu", pairs=True, **options)


def error_of(folder, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        read(folder)
    assert type(caught.value) is kind
    return str(caught.value)


# What sentence-transformers computes


def test_logits_are_those_of_sentence_transformers(case):
    assert_equal_logits(case.logits, predicted(case.reference))
    assert case.encoder.max_length == case.reference.max_seq_length
    assert type(case.encoder.head.activation) is type(case.reference.activation_fn)
    assert case.encoder.head.labels == [*case.reference.config.id2label.values()]


@pytest.mark.parametrize("limit", LIMITS)
def test_the_longer_text_is_cut_as_sentence_transformers_does(limit, case, monkeypatch):
    firsts, seconds = zip(*PAIRS, strict=True)
    firsts = [case.encoder.default_prompt + first for first in firsts]
    whole = case.reference.tokenizer(firsts, list(seconds))["input_ids"]
    monkeypatch.setattr(case.reference.tokenizer, "model_max_length", limit)
    found = case.encoder.encode(PAIRS, max_length=limit)
    assert_equal_logits(found.vectors, predicted(case.reference))
    assert found.truncated.tolist() == [len(ids) > limit for ids in whole]
    assert found.truncated.sum() > 3


def test_a_prompt_stands_before_the_first_text(case, monkeypatch):
    found = case.encoder.encode(SOME, prompt="the tide of ", max_length=64).vectors
    prompted = [("the tide of " + first, second) for first, second in SOME]
    expected = case.encoder.encode(prompted, prompt="", max_length=64).vectors
    assert_same_rows(found, expected)
    monkeypatch.setattr(case.reference.tokenizer, "model_max_length", 64)
    assert_equal_logits(found, predicted(case.reference, SOME, prompt="the tide of "))


def test_two_empty_texts(case):
    pairs = [("Harbour", "the ferry"), EMPTY]
    logits = case.encoder.encode(pairs, prompt="").vectors
    if case.reference.tokenizer([""], [""])["input_ids"][0]:
        assert_equal_logits(logits, predicted(case.reference, pairs, prompt=""))
    else:  # there is no token to read: sentence-transformers reads one of the padding
        assert not (case.encoder.backbone.packed and logits[1].any())


def test_prompts_of_a_checkpoint(tmp_path):
    folder = MAKERS["prompts"](tmp_path)
    encoder, reference = read(folder), cross_encoder(folder)
    assert (encoder.prompts, encoder.default_prompt) == (PROMPTS, PROMPTS["query"])
    named = encoder.encode(PAIRS, prompt_name="passage").vectors
    assert_equal_logits(named, predicted(reference, prompt_name="passage"))
    without = encoder.encode(PAIRS, prompt="").vectors
    assert_equal_logits(without, predicted(reference, prompt=""))
    assert np.abs(named - without).max() > 1e-3


def test_half_a_surrogate_pair_is_the_replacement_character(encoder):
    found = encoder.encode([("\ud83d", "the pier"), ("Harbour", "\ud83d\ude42\ude42")]).vectors
    assert_same_rows(
        found, encoder.encode([("\ufffd", "the pier"), ("Harbour", "🙂\ufffd")]).vectors
    )


def test_no_pairs(encoder):
    logits, truncated = encoder.encode([])
    assert (logits.shape, logits.dtype, truncated.shape) == ((0, 3), np.float32, (0,))


# What is written


def test_what_is_written_gives_equal_logits(case, tmp_path):
    save_encoder(case.encoder, tmp_path)
    again, reference = read(tmp_path), cross_encoder(tmp_path)
    assert_equal_logits(again.encode(SOME).vectors, case.logits[::3])
    assert_equal_logits(predicted(reference, SOME), case.logits[::3])
    for name in ("max_length", "prompts", "default_prompt", "pooling", "dtype"):
        assert getattr(again, name) == getattr(case.encoder, name)
    assert again.head.labels == case.encoder.head.labels
    assert reference.config.id2label == case.reference.config.id2label
    assert reference.config.label2id == case.reference.config.label2id
    assert reference.max_seq_length == case.encoder.max_length
    assert reference.prompts == case.reference.prompts
    assert reference.default_prompt_name == case.reference.default_prompt_name
    activation = type(case.encoder.head.activation)
    assert activation is type(again.head.activation) is type(reference.activation_fn)


def test_a_limit_that_was_set_is_written(encoder, tmp_path):
    save_encoder(encoder.replace(max_length=9), tmp_path)
    assert read(tmp_path).max_length == 9
    assert cross_encoder(tmp_path).max_seq_length == 9


def test_earlier_releases_find_the_activation(tmp_path):
    before = read(make_cross_encoder(tmp_path / "model", activation="Identity"))
    encoder = before.with_head(before.head.with_activation(torch.nn.Tanh()))
    written = tmp_path / "written"
    written.mkdir()
    save_encoder(encoder, written)
    # Those before 5.4 read none of these.
    for name in ("modules.json", SETTINGS, "config_sentence_transformers.json"):
        (written / name).unlink()
    for _ in range(2):
        assert type(cross_encoder(written).activation_fn) is torch.nn.Tanh
        assert type(read(written).head.activation) is torch.nn.Tanh
        # And those before 4.0 not this.
        edit(written / "config.json", lambda config: config.pop("sentence_transformers", None))
    assert type(before.head.activation) is torch.nn.Identity
    assert not hasattr(before.head.network.config, "sentence_transformers")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("bert", "bfloat16"), ("mpnet", "bfloat16"), ("modernbert", "float16"), ("qwen3", "bfloat16")],
)
def test_half_precision_is_close_and_lasts(kind, dtype, tmp_path):
    folder = make_cross_encoder(tmp_path / "model", kind, n_labels=3)
    expected = read(folder).encode(PAIRS).vectors
    encoder = read(folder, dtype=dtype)
    found = encoder.encode(PAIRS).vectors
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.1 * np.abs(expected).max())
    (tmp_path / "written").mkdir()
    save_encoder(encoder, tmp_path / "written")
    again = read(tmp_path / "written", dtype=dtype)
    assert again.dtype == dtype
    assert_same_rows(again.encode(PAIRS).vectors, found)


@pytest.mark.parametrize("style", ["plain", "old", "5", "new"])
@pytest.mark.parametrize(("n_labels", "expected"), [(1, "Sigmoid"), (3, "Identity")])
def test_activations_that_nobody_named(n_labels, expected, style, tmp_path):
    make_cross_encoder(tmp_path, n_labels=n_labels, style=style)
    assert type(read(tmp_path).head.activation).__name__ == expected
    assert type(cross_encoder(tmp_path).activation_fn).__name__ == expected


@pytest.mark.parametrize("style", ["old", "5", "new"])
@pytest.mark.parametrize(("n_labels", "activation"), [(1, "Identity"), (3, "Sigmoid")])
def test_activations(n_labels, activation, style, tmp_path):
    make_cross_encoder(tmp_path, n_labels=n_labels, activation=activation, style=style)
    assert type(read(tmp_path).head.activation).__name__ == activation
    assert type(cross_encoder(tmp_path).activation_fn).__name__ == activation


def test_the_latest_place_of_an_activation_counts(tmp_path):
    folder = make_cross_encoder(tmp_path, style="new", activation="Tanh")
    paths = [f"torch.nn.modules.activation.{name}" for name in ("ReLU", "GELU")]
    new = {"activation_fn": paths[0]}
    keys = {"sentence_transformers": new, "sbert_ce_default_activation_function": paths[1]}
    edit(folder / "config.json", lambda config: config.update(keys))
    assert type(read(folder).head.activation) is torch.nn.Tanh
    assert type(cross_encoder(folder).activation_fn) is torch.nn.Tanh
    edit(folder / "config_sentence_transformers.json", lambda config: config.pop("activation_fn"))
    assert type(read(folder).head.activation) is torch.nn.ReLU
    assert type(cross_encoder(folder).activation_fn) is torch.nn.ReLU


def test_an_error_names_the_file_of_the_activation(tmp_path):
    folder = make_cross_encoder(tmp_path, style="new", activation="Tanh")
    file = folder / "config_sentence_transformers.json"
    edit(file, lambda config: config.update(activation_fn="torch.nn.Linear"))
    assert error_of(folder).startswith(f"{file} names 'torch.nn.Linear'")


# How they run


def test_which_architectures_run_without_padding(case):
    assert case.encoder.backbone.packed == (case.reference.config.model_type not in PADDED)


def test_a_row_does_not_depend_on_its_neighbours(case):
    if OLD_MODERNBERT and case.reference.config.model_type == "modernbert":
        pytest.skip("transformers < 5.1 runs it padded, and rows are equal to 2e-6")
    order = np.random.default_rng(0).permutation(len(PAIRS))
    shuffled = case.encoder.encode([PAIRS[i] for i in order]).vectors
    assert_same_rows(shuffled, case.logits[order])
    for budget in (1, 300):
        assert_same_rows(case.encoder.encode(PAIRS, batch_tokens=budget).vectors, case.logits)
    assert_same_rows(case.encoder.encode(SOME).vectors, case.logits[::3])


def test_each_side_is_tokenised_once(encoder, monkeypatch):
    seen = []
    content = TextTokenizer._tokenize

    def watched(self, texts):
        seen.extend(texts)
        return content(self, texts)

    monkeypatch.setattr(TextTokenizer, "_tokenize", watched)
    queries = ["the ferry", "the pier"]
    encoder.encode([(query, text) for query in queries for text in [*TEXTS, *queries]])
    assert sorted(seen) == sorted({*TEXTS, *queries})


# The texts are told apart


def test_the_order_of_the_texts_counts(encoder):
    pairs = [pair for pair in PAIRS if pair[0] != pair[1]]
    swapped = [(second, first) for first, second in pairs]
    assert_other_rows(encoder.encode(swapped).vectors, encoder.encode(pairs).vectors)


def test_keys_of_pairs_and_texts_all_differ(encoder):
    texts = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), EMPTY, "ab", "a", "", "a\x00b", "aÿb"]
    texts += [("\ud83d", "\ude42"), ("\ud83d\ude42", ""), "\ud83d\ude42"]
    keys = namespace_for(encoder).keys(texts)
    assert len(set(keys)) == len(texts)
    assert keys == namespace_for(encoder).keys(texts)


def test_heads_and_ways_of_reading_have_keys_of_their_own(encoder, tmp_path):
    embedder = load_encoder(make_checkpoint(tmp_path), device="cpu")
    encoders = [
        embedder,
        *(PairEncoder.with_new_head(embedder, n, seed) for n in (1, 2) for seed in (0, 1)),
        encoder,
        load_encoder(encoder.source.model, device="cpu"),
    ]
    digests = {namespace_for(encoder).digest for encoder in encoders}
    digests.add(namespace_for(encoder, max_length=16).digest)
    digests.add(namespace_for(encoder, prompt="the ").digest)
    assert len(digests) == len(encoders) + 2
    same = PairEncoder.with_new_head(embedder, 2, 1)
    assert namespace_for(same).digest == namespace_for(encoders[4]).digest


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [["a", "b"], ("a",), ("a", "b", "c"), (), ("a", None), (1, "b"), "ab", None, float("nan")],
)
def test_what_is_no_pair_is_named(wrong, encoder):
    with pytest.raises(
        TypeError, match=r"^pair 1 is .*; a cross-encoder expects tuples of two str"
    ):
        encoder.encode([("the ferry", "the pier"), wrong])


def test_an_embedder_reads_no_pairs(tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path), device="cpu")
    with pytest.raises(TypeError, match="text 1 is of type tuple; pass str"):
        encoder.encode(["the ferry", ("the ferry", "the pier")])


def test_the_error_about_a_long_pair_has_its_place(encoder):
    pairs = [("the pier", ""), ("Harbour", TEXTS[-1]), ("", "storm")]
    with pytest.raises(TextTooLongError, match="text 1 is longer than 16 tokens") as caught:
        encoder.encode(pairs, max_length=16, long_text="error")
    assert caught.value.position == 1
    encoder.encode(pairs[::2], max_length=16, long_text="error")


def test_a_pair_is_not_read_in_windows(encoder):
    with pytest.raises(ValueError, match="long_text='chunk' is not supported for pairs of texts"):
        encoder.encode(PAIRS, long_text="chunk")


def test_a_limit_needs_room_for_both_texts(encoder):
    with pytest.raises(ValueError, match=r"max_length=4 leaves no room .* Pass at least 5\."):
        encoder.encode(PAIRS, max_length=4)
    assert np.isfinite(encoder.encode(PAIRS, max_length=5).vectors).all()
    with pytest.raises(ValueError, match=f"model reads at most {MAX_TOKENS} tokens"):
        encoder.encode(PAIRS, max_length=MAX_TOKENS + 1)
