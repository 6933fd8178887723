"""What a checkpoint's files may say beside the usual, each compared with sentence-transformers."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, processors

from sk_sentemb import load_encoder
from sk_sentemb.encoder.tokenization.tokenizer import TextTokenizer
from sk_sentemb.exceptions import CheckpointError
from tests.helpers.checkpoints import TEXTS, make_checkpoint, make_static_checkpoint

LONG = " ".join(TEXTS)


def change(file, **values):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | values))


def assert_as_sentence_transformers(folder, texts=(*TEXTS, LONG)):
    expected = SentenceTransformer(str(folder), device="cpu").encode(list(texts))
    found = load_encoder(folder, device="cpu").encode(list(texts)).vectors
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"processing_kwargs": {"text": {"add_special_tokens": False}}},
        {"tokenizer_args": {"truncation_side": "left"}, "max_seq_length": 12},
        {"tokenizer_args": {"model_max_length": 12}, "max_seq_length": None},
    ],
)
def test_settings_of_the_tokenizer_are_followed(tmp_path, settings):
    folder = make_checkpoint(tmp_path / "model")
    change(folder / "sentence_bert_config.json", **settings)
    assert_as_sentence_transformers(folder)


def test_settings_that_are_not_known_are_refused(tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    unknown = {"processing_kwargs": {"text": {"spell_check": True}}}
    change(folder / "sentence_bert_config.json", **unknown)
    with pytest.raises(CheckpointError, match=r"has the text processing \['spell_check'\]"):
        load_encoder(folder)


@pytest.mark.parametrize("backbone", ["roberta", "xlm-roberta"])
def test_padding_tokens_that_a_text_spells_out_have_no_position(tmp_path, backbone):
    folder = make_checkpoint(tmp_path / "model", backbone)
    assert_as_sentence_transformers(folder, ["<pad> the ferry", "the <pad> ferry", TEXTS[0]])


def test_static_vectors_keep_the_limit_in_their_tokenizer(tmp_path):
    folder = make_static_checkpoint(tmp_path / "static")
    (file,) = folder.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(4)
    tokenizer.save(str(file))
    assert_as_sentence_transformers(folder)
    assert load_encoder(folder, device="cpu").encode([LONG]).truncated.all()


def test_token_types_other_than_zero_are_refused(tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    start, end = (
        ("[CLS]", tokenizer.token_to_id("[CLS]")),
        ("[SEP]", tokenizer.token_to_id("[SEP]")),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:1 [SEP]:1", special_tokens=[start, end]
    )
    with pytest.raises(ValueError, match="but only type 0 is supported"):
        TextTokenizer(tokenizer)


def test_a_stray_file_of_weights_does_not_hide_those_that_are_read(tmp_path):
    folders = [make_checkpoint(tmp_path / str(i), weights="bin", seed=i) for i in range(2)]
    for folder in folders:
        save_file({"x": torch.zeros(1)}, folder / "adapter_old.safetensors")
    first, second = (load_encoder(folder) for folder in folders)
    assert first.fingerprint != second.fingerprint
    assert not np.allclose(first.encode(TEXTS).vectors, second.encode(TEXTS).vectors, atol=1e-3)


def test_files_that_change_under_a_loaded_model_leave_it_as_it_is(tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    other = make_checkpoint(tmp_path / "other", seed=1)
    encoder = load_encoder(folder, device="cpu")
    expected = encoder.encode(TEXTS).vectors
    weights = (other / "model.safetensors").read_bytes()
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(weights)
    np.testing.assert_array_equal(encoder.encode(TEXTS).vectors, expected)
    assert load_encoder(folder, device="cpu").fingerprint != encoder.fingerprint


def test_code_in_a_checkpoint_does_not_run(tmp_path, capfd):
    folder = make_checkpoint(tmp_path / "model")
    (folder / "evil.py").write_text(
        "print('RAN')\nfrom transformers import BertConfig\n"
        "class C(BertConfig):\n    model_type = 'evil'\n"
    )
    change(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.C"})
    with pytest.raises(CheckpointError, match="cannot load the model"):
        load_encoder(folder)
    assert "RAN" not in capfd.readouterr().out


def test_an_inner_normalize_stays(tmp_path):
    folder = make_checkpoint(tmp_path / "model", normalize=True, dense={"out_features": 16})
    listing = json.loads((folder / "modules.json").read_text())
    kinds = [line["type"].rpartition(".")[2] for line in listing]
    dense, unit = kinds.index("Dense"), kinds.index("Normalize")
    listing[dense], listing[unit] = listing[unit], listing[dense]
    (folder / "modules.json").write_text(json.dumps(listing))
    reference = SentenceTransformer(str(folder), device="cpu")
    encoder = load_encoder(folder, device="cpu")
    assert not encoder.normalizes
    for normalize in (False, True):
        np.testing.assert_allclose(
            encoder.with_pooling(normalize=normalize).encode(TEXTS).vectors,
            reference.encode(TEXTS, normalize_embeddings=normalize),
            atol=1e-5,
        )


@pytest.mark.parametrize("kind", ["lfm2", "fnet", "dynamic"])
def test_models_that_mix_texts_run_equal_lengths_only(tmp_path, kind):
    folder = make_checkpoint(tmp_path / kind, "llama", pooling="mean")
    if kind == "dynamic":
        rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
        change(folder / "config.json", max_position_embeddings=32, rope_parameters=rope)
    else:
        from transformers import FNetConfig, FNetModel, Lfm2Config, Lfm2Model

        size = json.loads((folder / "config.json").read_text())["vocab_size"]
        common = {"vocab_size": size, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if kind == "lfm2":
                layers = {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 2}
                heads = {"num_attention_heads": 4, "intermediate_size": 64}
                model = Lfm2Model(Lfm2Config(**common, **layers, **heads))
            else:
                model = FNetModel(FNetConfig(**common, intermediate_size=64))
        model.save_pretrained(folder)
    encoder = load_encoder(folder, device="cpu")
    assert not encoder.backbone.packed
    together = encoder.encode(TEXTS).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
