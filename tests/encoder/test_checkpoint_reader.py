"""Malformed checkpoints: an error that names the file and what to do, before memory or time is spent."""

import io
import itertools
import json
import os
import random
import shutil
import warnings
import zipfile

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from sk_sentemb import SentenceEmbedder
from sk_sentemb.encoder import load_encoder, load_image_encoder
from sk_sentemb.exceptions import CheckpointError, CheckpointWarning
from tests.helpers.checkpoints import (
    HIDDEN,
    TEXTS,
    edit,
    make_checkpoint,
    make_cross_encoder,
    make_plain_checkpoint,
    make_static_checkpoint,
)
from tests.helpers.vision_checkpoints import make_clip, make_siglip

pytestmark = pytest.mark.usefixtures("one_thread")

ST, FIRST = "config_sentence_transformers.json", "sentence_bert_config.json"
DENSE = "2_Dense/config.json"


def embed(folder):
    return load_encoder(folder, device="cpu").encode(TEXTS[:3]).vectors


def score(folder):
    return load_encoder(folder, device="cpu", pairs=True).encode([("a", "b")]).vectors


def embed_image(folder):
    return load_image_encoder(folder, device="cpu").encode([Image.new("RGB", (20, 20), "red")])


def error_of(folder, read=embed):
    with pytest.raises(CheckpointError) as caught:
        read(folder)
    return str(caught.value)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {
        "text": make_checkpoint(folder / "text", dense={"out_features": 8}, normalize=False),
        "plain": make_plain_checkpoint(folder / "plain", "roberta", weights="safetensors"),
        "static": make_static_checkpoint(folder / "static"),
        "pairs": make_cross_encoder(folder / "pairs"),
        "images": make_siglip(folder / "images"),
        "clip": make_clip(folder / "clip"),
    }


READERS = {"pairs": score, "images": embed_image}


@pytest.fixture
def copied(bases, tmp_path):
    return lambda kind="text": shutil.copytree(bases[kind], tmp_path / kind)


# --- types of values

TYPES = [
    ("modules.json", None, [None], "has the line None, without a path and a type"),
    ("modules.json", None, [{"path": 3, "type": "x"}], "has path=3, but that must be a string"),
    (ST, "prompts", ["a"], "has prompts=['a'], but that must be an object"),
    (ST, "prompts", {"q": 3}, "has q=3, but that must be a string"),
    (ST, "truncate_dim", "8", "has truncate_dim='8', but that must be an integer"),
    (ST, "truncate_dim", 0, "has truncate_dim=0, but that must be an integer of at least 1"),
    (ST, "similarity_fn_name", 1, "has similarity_fn_name=1, but that must be a string"),
    (FIRST, "max_seq_length", "128", "has max_seq_length='128', but that must be an integer"),
    (FIRST, "max_seq_length", 0, "has max_seq_length=0, but that must be an integer of at least 1"),
    (FIRST, "max_seq_length", 2, "allows 2 tokens, but the special tokens and one token"),
    (FIRST, "do_lower_case", "yes", "has do_lower_case='yes', but that must be true or false"),
    (FIRST, "processing_kwargs", [], "has processing_kwargs=[], but that must be an object"),
    ("1_Pooling/config.json", "word_embedding_dimension", "32", "that must be an integer"),
    ("1_Pooling/config.json", "pooling_mode", [1], "that must be a string or a list of strings"),
    (DENSE, "in_features", 32.0, "has in_features=32.0, but that must be an integer"),
    (DENSE, "bias", "true", "has bias='true', but that must be true or false"),
    (DENSE, "activation_function", 1, "has activation_function=1, but that must be a string"),
    *(
        (
            DENSE,
            "activation_function",
            f"torch.nn.{name}",
            f"'torch.nn.{name}', which is not an elementwise activation",
        )
        for name in ("Linear", "Module", "MSELoss", "GLU", "PReLU", "MultiheadAttention", "Flatten")
    ),
    ("config.json", "architectures", 3, "has architectures=3, but that must be a string or a list"),
    ("config.json", "num_hidden_layers", 10**6, "has num_hidden_layers=1000000, but at most 512"),
    ("config.json", "num_labels", 10**9, "has num_labels=1000000000, but at most 100000"),
    ("tokenizer_config.json", "extra_ids", 10**30, "but at most 512 are supported"),
    ("config.json", "vocab_size", 10**12, "describes a model of"),
    ("config.json", "hidden_size", 10**8, "describes a model of"),
    ("config.json", "max_position_embeddings", 10**11, "describes a model of"),
    ("config.json", "layer_norm_eps", -1.0, "computes values that are not finite"),
]


@pytest.mark.parametrize(("name", "key", "value", "words"), TYPES)
def test_values_of_other_types_are_named(name, key, value, words, copied):
    folder = copied()
    if key is None:
        (folder / name).write_text(json.dumps(value))
    else:
        edit(folder / name, lambda content: content.update({key: value}))
    message = error_of(folder)
    assert words in message
    assert str(folder) in message


def test_a_limit_that_a_tokenizer_sets_leaves_room_for_text(copied):
    folder = copied("plain")
    edit(folder / "tokenizer_config.json", lambda c: c.update(model_max_length=0))
    assert "tokenizer_config.json allows 0 tokens" in error_of(folder)


def test_images_are_not_enlarged_beyond_reason(copied):
    folder = copied("images")
    name = "preprocessor_config.json"
    edit(folder / name, lambda c: c.update(size={"height": 10**5, "width": 10**5}))
    assert "at most 8192 pixels a side" in error_of(folder, embed_image)


# --- weights and tokens that do not fit


def test_a_token_beyond_the_table(copied):
    folder = copied()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zzzword"])
    tokenizer.save_pretrained(folder)
    message = error_of(folder)
    assert f"the tokenizer in {folder} has token ids up to" in message
    assert "resize_token_embeddings" in message


def test_a_static_table_of_fewer_rows_than_tokens(copied):
    file = copied("static") / "0_StaticEmbedding" / "model.safetensors"
    save_file({"embedding.weight": load_file(file)["embedding.weight"][:6].clone()}, file)
    assert "for the ids below 6 only" in error_of(file.parent.parent)


def test_types_of_tokens_that_the_model_does_not_know(copied):
    folder = copied("pairs")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "bert.embeddings.token_type_embeddings.weight"
    save_file(tensors | {name: tensors[name][:1].clone()}, file, metadata={"format": "pt"})
    edit(folder / "config.json", lambda c: c.update(type_vocab_size=1))
    assert f"the model in {folder} cannot encode a pair: IndexError" in error_of(folder, score)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("module", ["", "2_Dense"])
def test_weights_that_are_not_finite(module, value, copied):
    file = copied() / module / "model.safetensors"
    tensors = load_file(file)
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensors[name][1, 0] = value  # of a token that may never come
    save_file(tensors, file, metadata={"format": "pt"})
    assert error_of(file.parents[1 if module else 0]).startswith(
        f"{file} has values in {name!r} that are not finite"
    )


def with_pickle(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: list(t.values()), "does not hold a dictionary of named tensors"),
        (lambda t: {"state_dict": t}, "does not hold a dictionary of named tensors"),
        (lambda t: dict.fromkeys(t, 3), "does not hold a dictionary of named tensors"),
        (
            lambda t: {name: torch.zeros(1).expand(10**6, 10**6) for name in t},
            "which is larger than the file",
        ),
    ],
)
def test_pickles_that_hold_something_else(change, words, copied):
    folder = copied()
    with_pickle(folder, change(load_file(folder / "model.safetensors")))
    assert words in error_of(folder)


def test_a_compressed_archive_is_not_unpacked(copied):
    folder = copied()
    stream = io.BytesIO()
    torch.save(load_file(folder / "model.safetensors"), stream)
    (folder / "model.safetensors").unlink()
    with (
        zipfile.ZipFile(stream) as source,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member) + b"\0" * 10**6)
    assert "is compressed, which torch.save does not do" in error_of(folder)


# --- files that are no files


def fifo(file):
    file.unlink()
    os.mkfifo(file)


def device(file):
    file.unlink()
    file.symlink_to("/dev/zero")


def dangling(file):
    file.unlink()
    file.symlink_to("nothing")


def loop(file):
    file.unlink()
    file.symlink_to(file.name)


def huge(file):
    os.truncate(file, 10**11)  # with a hole, which takes no room


NAMES = ["modules.json", "config.json", "tokenizer.json", FIRST, "model.safetensors", DENSE]


@pytest.mark.skipif(os.name != "posix", reason="files of POSIX")
@pytest.mark.parametrize("change", [fifo, device, dangling, loop, huge])
@pytest.mark.parametrize("name", [*NAMES, "2_Dense/model.safetensors"])
def test_only_regular_files_of_a_sensible_size_are_read(name, change, copied):
    folder = copied()
    change(folder / name)
    assert str(folder / name) in error_of(folder)


def test_json_that_is_nested_too_deeply(copied):
    folder = copied()
    (folder / ST).write_text("[" * 10**5 + "]" * 10**5)
    assert f"{folder / ST} is not valid JSON" in error_of(folder)


# --- what loads, but not as it may have been meant


def test_modules_without_modules_json_are_a_warning(copied):
    folder = copied()
    (folder / "modules.json").unlink()
    with pytest.warns(CheckpointWarning, match=r"has 1_Pooling/, 2_Dense/ but no modules.json"):
        found = embed(folder)
    assert found.shape[1] == HIDDEN


def test_unused_tensors_are_a_warning(copied):
    folder = copied()
    edit(folder / "config.json", lambda c: c.update(num_hidden_layers=1))
    with pytest.warns(
        CheckpointWarning, match=r"16 tensors .* are not used, because the BertModel .*layer.1"
    ):
        embed(folder)


@pytest.mark.parametrize("kind", ["text", "plain", "static", "pairs", "images", "clip"])
def test_whole_checkpoints_load_without_a_warning(kind, copied):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        READERS.get(kind, embed)(copied(kind))


def test_weights_of_a_pretraining_model_load_without_a_warning(tmp_path):
    folder = make_plain_checkpoint(tmp_path / "plain")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        SentenceEmbedder(folder).fit(["a"])


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [("albert", "AlbertForPreTraining"), ("deberta-v2", "DebertaV2ForMaskedLM")],
)
def test_any_head_of_transformers_is_left_out_without_a_warning(backbone, kind, tmp_path):
    folder = make_plain_checkpoint(tmp_path / "model", backbone, weights="safetensors")
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        getattr(transformers, kind)(config).save_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        embed(folder)
    edit(folder / "config.json", lambda c: c.update(num_hidden_layers=1))
    if backbone != "albert":  # all of whose layers are one
        with pytest.warns(CheckpointWarning, match=r"among them .*layer.1"):
            embed(folder)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_that_a_part_of_a_checkpoint_names_is_not_fetched(key, copied):
    folder = copied("images")
    expected = embed_image(folder)
    kernel = {key: "kernels-community/flash-attn"}
    edit(folder / "config.json", lambda c: c["vision_config"].update(kernel))
    np.testing.assert_array_equal(embed_image(folder), expected)


@pytest.mark.parametrize("kind", ["text", "plain", "static", "pairs", "images", "clip"])
def test_loading_leaves_random_generators_as_they_are(kind, copied):
    folder = copied(kind)
    before = torch.get_rng_state(), random.getstate()
    READERS.get(kind, embed)(folder)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_loading_the_images_of_a_clip_leaves_random_generators_as_they_are(copied):
    folder = copied("clip")
    before = torch.get_rng_state()
    embed_image(folder)
    assert torch.equal(torch.get_rng_state(), before)


# --- anything may be wrong

VALUES = [
    *(None, "", "x", -1, 0, 1.5, 10**9, 10**30, float("nan"), True, "../x"),
    *([], {}, [None], ["a"], {"a": None}, "torch.nn.Linear", {"text": "kernels-community/x"}),
]


def paths_in(content, path=()):
    items = content.items() if isinstance(content, dict) else enumerate(content[:4])
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths_in(value, (*path, key))


def mutated(file, draw):
    """Change one value in a JSON file, or remove it, and say which."""
    content = json.loads(file.read_text())
    paths = [p for p in paths_in(content) if p[:2] != ("model", "vocab")]
    if not paths:
        return file.name
    *path, key = draw.choice(paths)
    inside = content
    for name in path:
        inside = inside[name]
    value = draw.choice([..., *VALUES])
    if value is ...:
        del inside[key]
    else:
        inside[key] = value
    file.write_text(json.dumps(content))
    return f"{file.name}: {[*path, key]} = {value!r}"


FUZZED = ["text", "static", "pairs", "images", "clip"]
CASES = list(itertools.product(FUZZED, range(4)))


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_checkpoint_loads_and_runs_or_says_what_is_wrong(kind, seed, bases, tmp_path):
    check_mutations(bases[kind], READERS.get(kind, embed), seed, 8, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.SentenceEmbeddingWarning")
@pytest.mark.parametrize(("kind", "seed"), list(itertools.product(FUZZED, range(4, 24))))
def test_many_checkpoints_load_and_run_or_say_what_is_wrong(kind, seed, bases, tmp_path):
    check_mutations(bases[kind], READERS.get(kind, embed), seed, 20, tmp_path)


def check_mutations(base, read, seed, n, tmp_path):
    draw = random.Random(f"{base.name} {seed}")
    for i in range(n):
        folder = shutil.copytree(base, tmp_path / str(i))
        what = mutated(draw.choice(sorted(folder.rglob("*.json"))), draw)
        try:
            fits = np.isfinite(read(folder)).all()
        except CheckpointError as error:
            fits = str(folder) in str(error)
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        assert fits, what
