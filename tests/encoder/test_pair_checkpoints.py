import itertools
import pickle
import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from sk_sentemb.encoder import (
    PairEncoder,
    TextEncoder,
    TrainableEncoder,
    encoder_from_state,
    encoder_to_state,
    load_encoder,
    save_encoder,
)
from sk_sentemb.encoder.checkpoint.text_checkpoint import load_text_checkpoint
from sk_sentemb.exceptions import CheckpointError, NoHeadError
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
KINDS = [kind for kind in BACKBONES if kind != "t5"]

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(7_000)

NLI = ("contradiction", "entailment", "neutral")


def changed(file, **content):
    """Make a cross-encoder whose JSON file says something else."""

    def make(folder, **options):
        make_cross_encoder(folder, **options)
        edit(folder / file, lambda old: old.update(content))
        return folder

    return make


SETTINGS = "sentence_bert_config.json"


@pytest.fixture
def folder(tmp_path):
    return make_cross_encoder(tmp_path / "model", n_labels=3, seed=next(_seeds))


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


# Checkpoints that are not read


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama"])
def test_a_model_without_a_head_says_so(kind, tmp_path):
    message = error_of(make_checkpoint(tmp_path, kind), NoHeadError)
    name = BACKBONES[kind].args[0].__name__
    assert message == f"the model in {tmp_path} is {name}, which has no classification head."


@pytest.mark.parametrize("config", [{}, {"is_encoder_decoder": True, "decoder_start_token_id": 0}])
def test_a_model_with_a_decoder_is_refused(config, tmp_path):
    message = error_of(make_cross_encoder(tmp_path, "t5", **config))
    assert "is T5ForSequenceClassification, which has a decoder" in message


def test_models_that_can_have_no_head(tmp_path):
    static = make_static_checkpoint(tmp_path / "static")
    assert "is a static embedding model, which cannot read pairs" in error_of(static)
    with pytest.raises(CheckpointError, match="static embedding model cannot read pairs"):
        PairEncoder.with_new_head(load_encoder(static, device="cpu"), 1, 0)
    t5 = load_encoder(make_checkpoint(tmp_path / "t5", "t5"), device="cpu")
    with pytest.raises(CheckpointError, match=r"T5EncoderModel cannot read pairs: .* decoder"):
        PairEncoder.with_new_head(t5, 1, 0)


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
    assert message.startswith(
        "the head of LlamaForSequenceClassification does not run like those of"
    )
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
    encoder = PairEncoder.with_new_head(base, 3, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    logits = encoder.encode(SOME).vectors
    assert logits.shape == (len(SOME), 3)
    assert np.ptp(logits, axis=0).min() > 1e-4
    assert encoder.head.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert not any(weight.requires_grad for weight in encoder.head.parameters())

    torch.manual_seed(1)
    assert np.array_equal(PairEncoder.with_new_head(base, 3, seed=7).encode(SOME).vectors, logits)
    assert_other_rows(
        1e3 * PairEncoder.with_new_head(base, 3, seed=8).encode(SOME).vectors, 1e3 * logits
    )

    (tmp_path / "written").mkdir()
    save_encoder(encoder, tmp_path / "written")
    assert_same_rows(read(tmp_path / "written").encode(SOME).vectors, logits)
    assert_equal_logits(predicted(cross_encoder(tmp_path / "written"), SOME), logits)

    # It was shared all the time.
    assert encoder.backbone is base.backbone
    assert np.array_equal(base.encode(TEXTS).vectors, vectors)


@pytest.mark.parametrize(("n_labels", "kind"), [(1, torch.nn.Sigmoid), (2, torch.nn.Identity)])
def test_a_fresh_head_has_the_activation_of_its_number_of_labels(n_labels, kind, tmp_path):
    base = load_encoder(make_checkpoint(tmp_path), device="cpu")
    assert type(PairEncoder.with_new_head(base, n_labels, 0).head.activation) is kind


def test_a_fresh_head_has_no_names_of_another(tmp_path):
    encoder = read(make_cross_encoder(tmp_path, labels=NLI))
    fresh = PairEncoder.with_new_head(encoder, 3, 0).head
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
            base = load_text_checkpoint(tmp_path, torch.device("cpu"), torch.float32)
        logits.append(PairEncoder.with_new_head(base, 1, 0).encode(SOME).vectors)
    assert np.array_equal(*logits)


def test_a_fresh_head_of_a_real_model(minilm, minilm_folder):
    # Which has a pooler: it stays the model's own.
    encoder = PairEncoder.with_new_head(minilm, 2, seed=0)
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
    encoder = PairEncoder.with_new_head(
        load_encoder(make_checkpoint(tmp_path / "base"), device="cpu"), 2, 0
    )
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
    assert type(embedder) is TextEncoder
    assert type(encoder) is PairEncoder
    assert embedder.embedding_dim == 32
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
    encoders = [
        PairEncoder.with_new_head(base, n_labels, seed) for n_labels in (1, 3) for seed in (0, 1)
    ]
    encoders.append(encoders[-1].with_head(encoders[-1].head.with_labels(NLI)))
    again = [pickle.loads(pickle.dumps(encoder)) for encoder in encoders]
    for encoder, loaded in zip(encoders, again, strict=True):
        assert loaded.head.labels == encoder.head.labels
        assert_same_rows(loaded.encode(PAIRS).vectors, encoder.encode(PAIRS).vectors)
