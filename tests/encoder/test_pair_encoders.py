import itertools
import pickle
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from sk_sentemb.cache.namespace import namespace_for
from sk_sentemb.encoder import (
    Encoder,
    TrainableEncoder,
    encoder_from_state,
    encoder_to_state,
    load_encoder,
    write_encoder,
)
from sk_sentemb.encoder.checkpoint.text_checkpoint import read_encoder
from sk_sentemb.encoder.tokenization.tokenizer import TextTokenizer
from sk_sentemb.exceptions import CheckpointError, NoHeadError, TextTooLongError
from tests.helpers.checkpoints import (
    BACKBONES,
    MAX_TOKENS,
    TEXTS,
    edit,
    make_checkpoint,
    make_cross_encoder,
    make_static_checkpoint,
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
        assert not logits[1].any()


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
    write_encoder(case.encoder, tmp_path)
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
    write_encoder(encoder.replace(max_length=9), tmp_path)
    assert read(tmp_path).max_length == 9
    assert cross_encoder(tmp_path).max_seq_length == 9


def test_earlier_releases_find_the_activation(tmp_path):
    before = read(make_cross_encoder(tmp_path / "model", activation="Identity"))
    encoder = before.with_head(before.head.with_activation(torch.nn.Tanh()))
    written = tmp_path / "written"
    written.mkdir()
    write_encoder(encoder, written)
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
    write_encoder(encoder, tmp_path / "written")
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
    order = np.random.default_rng(0).permutation(len(PAIRS))
    shuffled = case.encoder.encode([PAIRS[i] for i in order]).vectors
    assert_same_rows(shuffled, case.logits[order])
    for budget in (1, 300):
        assert_same_rows(case.encoder.encode(PAIRS, batch_tokens=budget).vectors, case.logits)
    assert_same_rows(case.encoder.encode(SOME).vectors, case.logits[::3])


def test_each_side_is_tokenised_once(encoder, monkeypatch):
    seen = []
    content = TextTokenizer._content

    def watched(self, texts):
        seen.extend(texts)
        return content(self, texts)

    monkeypatch.setattr(TextTokenizer, "_content", watched)
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
        *(embedder.with_new_head(n, seed) for n in (1, 2) for seed in (0, 1)),
        encoder,
        load_encoder(encoder.source.model, device="cpu"),
    ]
    digests = {namespace_for(encoder).digest for encoder in encoders}
    digests.add(namespace_for(encoder, max_length=16).digest)
    digests.add(namespace_for(encoder, prompt="the ").digest)
    assert len(digests) == len(encoders) + 2
    same = embedder.with_new_head(2, 1)
    assert namespace_for(same).digest == namespace_for(encoders[4]).digest


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [["a", "b"], ("a",), ("a", "b", "c"), (), ("a", None), (1, "b"), "ab", None, float("nan")],
)
def test_what_is_no_pair_is_named(wrong, encoder):
    with pytest.raises(TypeError, match=r"^pair 1 is .*; a cross-encoder reads tuples of two str"):
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
    with pytest.raises(ValueError, match="long_text='chunk': a pair is read as a whole; pass 'tr"):
        encoder.encode(PAIRS, long_text="chunk")


def test_a_limit_needs_room_for_both_texts(encoder):
    with pytest.raises(ValueError, match=r"max_length=4 leaves no room .* pass at least 5\."):
        encoder.encode(PAIRS, max_length=4)
    assert np.isfinite(encoder.encode(PAIRS, max_length=5).vectors).all()
    with pytest.raises(ValueError, match=f"model reads at most {MAX_TOKENS} tokens"):
        encoder.encode(PAIRS, max_length=MAX_TOKENS + 1)


# Checkpoints that are not read


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama"])
def test_a_model_without_a_head_says_so(kind, tmp_path):
    message = error_of(make_checkpoint(tmp_path, kind), NoHeadError)
    name = BACKBONES[kind].args[0].__name__
    assert message == f"the model in {tmp_path} is {name}: it has no head that scores pairs."


@pytest.mark.parametrize("config", [{}, {"is_encoder_decoder": True, "decoder_start_token_id": 0}])
def test_a_model_with_a_decoder_is_refused(config, tmp_path):
    message = error_of(make_cross_encoder(tmp_path, "t5", **config))
    assert "is T5ForSequenceClassification, which has a decoder" in message


def test_models_that_can_have_no_head(tmp_path):
    static = make_static_checkpoint(tmp_path / "static")
    assert "is a table of token vectors, which cannot read pairs" in error_of(static)
    with pytest.raises(CheckpointError, match="static vectors cannot read pairs"):
        load_encoder(static, device="cpu").with_new_head(1, 0)
    t5 = load_encoder(make_checkpoint(tmp_path / "t5", "t5"), device="cpu")
    with pytest.raises(CheckpointError, match=r"T5EncoderModel cannot read pairs: .* decoder"):
        t5.with_new_head(1, 0)


def test_a_cross_encoder_is_no_embedder_where_it_says_so(tmp_path):
    folder = make_cross_encoder(tmp_path, style="new")
    with pytest.raises(CheckpointError, match=r"'sequence-classification': .* does not embed sent"):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        ("bert", "classifier.weight"),
        ("bert", "bert.pooler.dense.weight"),
        ("bert", "bert.encoder.layer.0.output.dense.bias"),
        ("roberta", "classifier.dense.weight"),
        ("qwen3", "score.weight"),
    ],
)
def test_weights_that_lack_a_tensor(kind, tensor, tmp_path):
    file = make_cross_encoder(tmp_path, kind) / "model.safetensors"
    kept = load_file(file)
    del kept[tensor]
    save_file(kept, file, metadata={"format": "pt"})
    message = error_of(tmp_path)
    assert message.startswith(f"the weights in {tmp_path} lack 1 tensors that ")
    assert tensor in message


@pytest.mark.parametrize("task", ["text-generation", "fill-mask", "any-to-any"])
def test_another_task_is_refused(task, tmp_path):
    changed(SETTINGS, transformer_task=task)(tmp_path, style="new")
    message = error_of(tmp_path)
    assert message == (
        f"{tmp_path / SETTINGS} says transformer_task={task!r}: this model does not score pairs."
    )


ACTIVATIONS = [
    ("config.json", lambda path: {"sbert_ce_default_activation_function": path}),
    ("config.json", lambda path: {"sentence_transformers": {"activation_fn": path}}),
    ("config_sentence_transformers.json", lambda path: {"activation_fn": path}),
]


@pytest.mark.parametrize("path", ["os.system", "torch.load", "lib.Sigmoid", "Sigmoid"])
def test_a_foreign_activation_is_refused(path, tmp_path):
    for i, (name, content) in enumerate(ACTIVATIONS):
        folder, keys = make_cross_encoder(tmp_path / str(i), style="plain"), content(path)
        if not (folder / name).exists():
            (folder / name).write_text("{}")
        edit(folder / name, lambda config, keys=keys: config.update(keys))
        message = f"names the activation {str(path)!r}; only the module classes of torch.nn"
        assert message in error_of(folder)


def test_a_head_that_needs_a_padding_token(tmp_path):
    folder = make_cross_encoder(tmp_path, "llama")
    edit(folder / "config.json", lambda config: config.update(pad_token_id=None))
    message = error_of(folder)
    assert message.startswith("the head of LlamaForSequenceClassification does not run as those of")
    assert "no padding token is defined" in message


def test_a_classifier_of_other_shapes_than_the_configuration_says(folder):
    names = {str(i): str(i) for i in range(5)}
    edit(folder / "config.json", lambda config: config.update(id2label=names))
    assert "classifier.weight has the shape (3, 32)" in error_of(folder)


# Fresh heads


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_heads(kind, tmp_path):
    base = load_encoder(make_checkpoint(tmp_path / "base", kind), device="cpu")
    vectors, before = base.encode(TEXTS).vectors, torch.random.get_rng_state()
    encoder = base.with_new_head(3, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    logits = encoder.encode(SOME).vectors
    assert logits.shape == (len(SOME), 3)
    assert np.ptp(logits, axis=0).min() > 1e-4
    assert encoder.head.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert not any(weight.requires_grad for weight in encoder.head.parameters())

    torch.manual_seed(1)
    assert np.array_equal(base.with_new_head(3, seed=7).encode(SOME).vectors, logits)
    assert_other_rows(1e3 * base.with_new_head(3, seed=8).encode(SOME).vectors, 1e3 * logits)

    (tmp_path / "written").mkdir()
    write_encoder(encoder, tmp_path / "written")
    assert_same_rows(read(tmp_path / "written").encode(SOME).vectors, logits)
    assert_equal_logits(predicted(cross_encoder(tmp_path / "written"), SOME), logits)

    # It was shared all the time.
    assert encoder.backbone is base.backbone
    assert np.array_equal(base.encode(TEXTS).vectors, vectors)


@pytest.mark.parametrize(("n_labels", "kind"), [(1, torch.nn.Sigmoid), (2, torch.nn.Identity)])
def test_a_fresh_head_has_the_activation_of_its_number_of_labels(n_labels, kind, tmp_path):
    base = load_encoder(make_checkpoint(tmp_path), device="cpu")
    assert type(base.with_new_head(n_labels, 0).head.activation) is kind


def test_a_fresh_head_has_no_names_of_another(tmp_path):
    encoder = read(make_cross_encoder(tmp_path, labels=NLI))
    fresh = encoder.with_new_head(3, 0).head
    assert fresh.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert fresh.network.config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    assert encoder.head.labels == [*NLI]


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_the_seed_decides_where_the_pooler_was_not_saved(kind, tmp_path):
    file = make_checkpoint(tmp_path, kind) / "model.safetensors"
    kept = {name: weight for name, weight in load_file(file).items() if "pooler" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    logits = []
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            base = read_encoder(tmp_path, torch.device("cpu"), torch.float32)
        logits.append(base.with_new_head(1, 0).encode(SOME).vectors)
    assert np.array_equal(*logits)


def test_a_fresh_head_of_a_real_model(minilm, minilm_folder):
    # Which has a pooler: it stays the model's own.
    encoder = minilm.with_new_head(2, seed=0)
    classifier = hf.BertForSequenceClassification.from_pretrained(minilm_folder, num_labels=2)
    assert torch.equal(
        encoder.head.network.bert.pooler.dense.weight, classifier.bert.pooler.dense.weight
    )
    classifier.classifier.load_state_dict(encoder.head.network.classifier.state_dict())
    assert 0.01 < classifier.classifier.weight.std() < 0.03
    pairs = SOME
    tokenizer = hf.AutoTokenizer.from_pretrained(minilm_folder)
    inputs = tokenizer([*map(list, pairs)], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = classifier.eval()(**inputs).logits.numpy()
    assert_equal_logits(encoder.encode(pairs).vectors, expected)


def test_a_head_can_be_trained_and_lasts(tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path / "base"), device="cpu").with_new_head(2, 0)
    before = encoder.encode(PAIRS).vectors
    trainable = TrainableEncoder(encoder)
    tokens = encoder.tokenizer(PAIRS, prompt="", max_length=MAX_TOKENS, long_text="truncate")
    logits = trainable.embed(tokens, np.arange(len(PAIRS)))
    np.testing.assert_allclose(logits.detach().numpy(), before, rtol=0, atol=1e-6)
    logits.square().sum().backward()
    trained = dict(trainable.named_parameters())
    assert trained["modules.1.network.classifier.weight"].grad.abs().max() > 0
    with torch.no_grad():
        trained["modules.1.network.classifier.bias"].add_(1)
    finished = trainable.to_encoder()
    assert_same_rows(finished.encode(PAIRS).vectors, before + 1)
    assert_same_rows(encoder.encode(PAIRS).vectors, before)
    again = pickle.loads(pickle.dumps(finished))
    assert again.fingerprint == finished.fingerprint != encoder.fingerprint
    assert_same_rows(again.encode(PAIRS).vectors, before + 1)


# One copy, and pickles


def test_loads_share_one_model(folder):
    encoder = read(folder)
    assert read(folder) is encoder
    assert read(shutil.copytree(folder, folder.with_name("copy"))).backbone is encoder.backbone
    embedder = load_encoder(folder, device="cpu")
    assert embedder is not encoder
    assert (embedder.head, embedder.embedding_dim) == (None, 32)
    assert load_encoder(folder, device="cpu") is embedder
    assert read(folder) is encoder


def test_a_pickle_by_name_gives_the_same_object(folder):
    encoder = read(folder)
    dumped = pickle.dumps(encoder)
    assert len(dumped) < 5_000
    assert pickle.loads(dumped) is encoder
    short = encoder.replace(max_length=9)
    again = pickle.loads(pickle.dumps(short))
    assert (again.max_length, again.backbone) == (9, encoder.backbone)
    assert_same_rows(again.encode(PAIRS).vectors, short.encode(PAIRS).vectors)


def test_a_pickle_with_weights_needs_no_folder(tmp_path):
    folder = make_cross_encoder(tmp_path / "model", activation="Tanh", labels=NLI, seed=3)
    encoder = read(folder)
    expected = encoder.encode(PAIRS).vectors
    state = pickle.loads(pickle.dumps(encoder_to_state(encoder, embed=True)))
    shutil.rmtree(folder)
    again = encoder_from_state(state)
    assert again.fingerprint == encoder.fingerprint
    assert type(again.head.activation) is torch.nn.Tanh
    assert again.head.labels == [*NLI]
    assert_same_rows(again.encode(PAIRS).vectors, expected)
    assert encoder_from_state(state).backbone is again.backbone


def test_pickles_of_fresh_heads_are_not_mixed_up(tmp_path):
    base = load_encoder(make_checkpoint(tmp_path), device="cpu")
    encoders = [base.with_new_head(n_labels, seed) for n_labels in (1, 3) for seed in (0, 1)]
    encoders.append(encoders[-1].with_head(encoders[-1].head.with_labels(NLI)))
    again = [pickle.loads(pickle.dumps(encoder)) for encoder in encoders]
    for encoder, loaded in zip(encoders, again, strict=True):
        assert loaded.head.labels == encoder.head.labels
        assert_same_rows(loaded.encode(PAIRS).vectors, encoder.encode(PAIRS).vectors)


def test_a_pickle_of_a_version_without_pairs(tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path), device="cpu")
    for embed in (False, True):
        state = encoder_to_state(encoder, embed=embed)
        del state["pairs"], state["modules"], state["labels"]
        found = encoder_from_state(state).encode(TEXTS).vectors
        assert_same_rows(found, encoder.encode(TEXTS).vectors)
