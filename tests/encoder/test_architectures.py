import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sklearn.utils.fixes import parse_version

from sk_sentemb.encoder import POOLINGS, Encoder, load_encoder, save_encoder
from sk_sentemb.encoder.packing.backbone import find_layers
from tests.helpers.checkpoints import (
    BACKBONES,
    DECODERS,
    HIDDEN,
    TEXTS,
    make_checkpoint,
    make_plain_checkpoint,
    make_static_checkpoint,
)

pytestmark = pytest.mark.usefixtures("one_thread")

# The others add a bias of their own to the attention weights. No code knows these names: it is found
# by a check on load.
PADDED = {"mpnet", "deberta-v2", "t5"}
if parse_version(transformers.__version__) < parse_version("5.1"):
    PADDED.add("modernbert")  # its attention could not be exchanged
# Their last layer can leave out all but the tokens that are read.
STOP_EARLY = {"bert", "bert-multilingual", "roberta", "xlm-roberta", "camembert", "electra"}

PLAIN = ("bert", "roberta", "xlm-roberta", "mpnet", "modernbert", "t5", "llama")
DENSE = {
    "tanh": {"out_features": 8},
    "no bias": {"out_features": 8, "bias": False},
    "gelu": {"out_features": 8, "activation_function": "torch.nn.modules.activation.GELU"},
    "identity": {"out_features": 8, "activation_function": "torch.nn.modules.linear.Identity"},
    "residual": {"out_features": HIDDEN, "use_residual": True},
    "projected residual": {"out_features": 8, "use_residual": True},
}
VARIANTS = {
    **{f"pooling {mode}": {"pooling": mode} for mode in POOLINGS},
    **{f"dense {name}": {"dense": config} for name, config in DENSE.items()},
    "poolings": {"pooling": ("cls", "max", "mean", "lasttoken")},
    "poolings in another order": {"pooling": ("mean", "cls"), "style": "new"},
    "not normalised": {"normalize": False},
    "layer norm": {"layer_norm": True},
    "dropout": {"dropout": True},
    "everything": {
        "pooling": ("cls", "mean"),
        "dropout": True,
        "layer_norm": True,
        "dense": DENSE["projected residual"],
    },
    "weighted layers": {"weighted_layers": True},
    "weighted layers, new": {"weighted_layers": True, "style": "new"},
    "weighted layers, padded": {"backbone": "mpnet", "weighted_layers": True},
    "lower case": {"do_lower_case": True},
    "lower case, new": {"do_lower_case": True, "style": "new"},
    "new": {"style": "new"},
    "new, dense": {"style": "new", "dense": DENSE["tanh"]},
    "bin": {"weights": "bin", "dense": DENSE["tanh"]},
    "short texts": {"max_seq_length": 16},
    "no limit": {"max_seq_length": None},
    "no limit, new": {"max_seq_length": None, "style": "new"},
    "default prompt": {"prompts": {"query": "the pier: "}, "default_prompt_name": "query"},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    **{f"{kind}, last token": {"backbone": kind, "pooling": "lasttoken"} for kind in DECODERS},
}
MAKERS = {
    **{kind: partial(make_checkpoint, backbone=kind) for kind in BACKBONES},
    **{name: partial(make_checkpoint, **options) for name, options in VARIANTS.items()},
    **{f"plain {kind}": partial(make_plain_checkpoint, backbone=kind) for kind in PLAIN},
    "plain safetensors": partial(make_plain_checkpoint, weights="safetensors"),
    "static": make_static_checkpoint,
    "static, normalised": partial(make_static_checkpoint, normalize=True),
}


@dataclass
class Checkpoint:
    folder: Path
    encoder: Encoder
    vectors: np.ndarray


@pytest.fixture(scope="module", params=MAKERS)
def checkpoint(request, one_thread, tmp_path_factory):
    folder = MAKERS[request.param](tmp_path_factory.mktemp("model"))
    encoder = load_encoder(folder, device="cpu")
    return Checkpoint(folder, encoder, encoder.encode(TEXTS).vectors)


def sentence_transformer(folder):
    options = {"model_kwargs": {"dtype": torch.float32}, "local_files_only": True}
    return SentenceTransformer(str(folder), device="cpu", **options)


def assert_equal_vectors(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    dots = np.einsum("ij,ij->i", found, expected)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert (dots >= 0.99999 * norms).all()


def test_vectors_are_those_of_sentence_transformers(checkpoint):
    expected = sentence_transformer(checkpoint.folder).encode(TEXTS)
    assert_equal_vectors(checkpoint.vectors, expected)


def test_what_is_written_gives_equal_vectors(checkpoint, tmp_path):
    save_encoder(checkpoint.encoder, tmp_path)
    assert_equal_vectors(sentence_transformer(tmp_path).encode(TEXTS), checkpoint.vectors)
    again = load_encoder(tmp_path, device="cpu")
    assert_equal_vectors(again.encode(TEXTS).vectors, checkpoint.vectors)
    for name in ("max_length", "prompts", "default_prompt", "pooling", "normalizes"):
        assert getattr(again, name) == getattr(checkpoint.encoder, name)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_which_architectures_run_without_padding(backbone, tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path, backbone), device="cpu")
    assert encoder.backbone.packed == (backbone not in PADDED)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_last_layer_runs_for_the_tokens_that_are_read(backbone, pooling, tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path, backbone, pooling=pooling), device="cpu")
    assert encoder.backbone.stops_early == (backbone in STOP_EARLY)
    texts, seen = ["the pier", "the harbour and the nets", "storm"], []
    if backbone in STOP_EARLY:
        end = find_layers(encoder.network)[-1].output
        end.register_forward_hook(lambda _, args, out: seen.append(out.shape[:-1].numel()))
    vectors = encoder.encode(texts).vectors
    if backbone in STOP_EARLY:
        assert (seen == [len(texts)]) == (pooling == "cls")
    everything = replace(encoder.backbone, stops_early=False)
    encoder = encoder.replace(backbone=everything, fingerprint=encoder.fingerprint)
    np.testing.assert_allclose(encoder.encode(texts).vectors, vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [
        ("bert", ("mean", "max")),
        ("bert", "weightedmean"),
        ("xlm-roberta", "mean"),
        ("mpnet", "mean_sqrt_len_tokens"),
        ("t5", "mean"),
        ("llama", "weightedmean"),
        ("qwen3", "lasttoken"),
    ],
)
def test_prompts_are_those_of_sentence_transformers(backbone, pooling, include_prompt, tmp_path):
    make_checkpoint(
        tmp_path,
        backbone,
        pooling=pooling,
        include_prompt=include_prompt,
        prompts={"query": "the pier: ", "document": "Harbour "},
        default_prompt_name="document",
    )
    encoder, reference = load_encoder(tmp_path, device="cpu"), sentence_transformer(tmp_path)
    found = [
        encoder.encode(TEXTS, **prompt).vectors
        for prompt in (
            {},
            {"prompt_name": "query"},
            {"prompt": "the tide of "},
            {"prompt": "query"},
        )
    ]
    assert_equal_vectors(found[0], reference.encode(TEXTS))
    assert_equal_vectors(found[1], reference.encode(TEXTS, prompt_name="query"))
    assert_equal_vectors(found[2], reference.encode(TEXTS, prompt="the tide of "))
    assert_equal_vectors(found[3], reference.encode(TEXTS, prompt="query"))
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_modules_are_told_by_the_last_part_of_their_type(tmp_path):
    folder = make_checkpoint(tmp_path)
    expected = load_encoder(folder, device="cpu").encode(TEXTS).vectors
    listing = json.loads((folder / "modules.json").read_text())
    for line in listing:
        kind = line["type"].rpartition(".")[2]
        line["type"] = f"sentence_transformers.somewhere.else.{kind}"
    (folder / "modules.json").write_text(json.dumps(listing))
    assert_equal_vectors(load_encoder(folder, device="cpu").encode(TEXTS).vectors, expected)


def test_dense_over_tokens(tmp_path):
    dense = {"out_features": HIDDEN, "module_input_name": "token_embeddings"}
    folder = make_checkpoint(tmp_path / "model", dense=dense, normalize=False)
    transformer, pooling, dense = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([transformer, dense, pooling]))
    encoder = load_encoder(folder, device="cpu")
    vectors = encoder.encode(TEXTS).vectors
    assert_equal_vectors(vectors, sentence_transformer(folder).encode(TEXTS))
    (tmp_path / "written").mkdir()
    save_encoder(encoder, tmp_path / "written")
    assert_equal_vectors(sentence_transformer(tmp_path / "written").encode(TEXTS), vectors)


@pytest.mark.parametrize("family", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta"])
def test_settings_files_of_early_releases(family, tmp_path):
    folder = make_checkpoint(tmp_path, family, max_seq_length=16)
    (folder / "sentence_bert_config.json").rename(folder / f"sentence_{family}_config.json")
    encoder = load_encoder(folder, device="cpu")
    assert encoder.max_length == 16
    assert_equal_vectors(encoder.encode(TEXTS).vectors, sentence_transformer(folder).encode(TEXTS))


@pytest.mark.parametrize(("backbone", "limit"), [("bert", 256), ("xlm-roberta", 256)])
def test_positions_limit_the_length_where_nothing_else_does(backbone, limit, tmp_path):
    folder = make_checkpoint(tmp_path, backbone, max_seq_length=None)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["model_max_length"]
    file.write_text(json.dumps(config))
    encoder = load_encoder(folder, device="cpu")
    assert encoder.max_length == limit
    assert encoder.encode([TEXTS[-1] * 9]).truncated.tolist() == [True]
