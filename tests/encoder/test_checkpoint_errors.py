import os
import pickle
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sk_sentemb.encoder import load_encoder
from sk_sentemb.exceptions import CheckpointError
from tests.helpers.checkpoints import edit, make_checkpoint, make_static_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

DENSE = {"dense": {"out_features": 8}, "normalize": False}
STATIC = "0_StaticEmbedding"


def error_of(folder):
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder, device="cpu")
    return str(caught.value)


def cut(file, size):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 if size is None else size])


class RunsCode:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


# What is written into a file -> what the message says after naming the file.
MODULES, POOLING, FIRST = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
EDITS = [
    (MODULES, lambda m: m[1].update(type="lib.CNN"), "lists the module 'lib.CNN', which is not"),
    (
        MODULES,
        lambda m: m.pop(0),
        "must begin with one of ['Transformer', 'StaticEmbedding', 'CLIPModel']",
    ),
    (MODULES, lambda m: m.insert(1, m.pop()), "as ['Dense', 'Pooling'], which is not supported"),
    (MODULES, lambda m: m.insert(1, m[1]), "as ['Pooling', 'Pooling', 'Dense'], which is not"),
    (
        POOLING,
        lambda c: c.update(pooling_mode="attention"),
        "the pooling ['attention']; supported are",
    ),
    (POOLING, lambda c: c.update(pooling_mode=["mean", "x"]), "has the pooling ['x']; supported"),
    (POOLING, lambda c: c.pop("word_embedding_dimension"), "lacks the key 'embedding_dimension'"),
    (FIRST, lambda c: c.update(transformer_task="fill-mask"), "says transformer_task='fill-mask'"),
    *(
        (
            "2_Dense/config.json",
            lambda c, path=path: c.update(activation_function=path),
            f"names the activation {path!r}; only the module classes of torch.nn are loaded",
        )
        for path in ("os.system", "lib.Tanh", "torch.load", "torch.nn.init", "torch.nn.Nothing")
    ),
    ("2_Dense/config.json", lambda c: c.pop("in_features"), "lacks the key 'in_features'"),
    (
        "2_Dense/config.json",
        lambda c: c.update(module_output_name="token_weights"),
        "sends the output of Dense to 'token_weights'",
    ),
    (
        "config_sentence_transformers.json",
        lambda c: c.update(prompts={"query": "q: "}, default_prompt_name="passage"),
        "has the default_prompt_name 'passage', but its prompts are ['query']",
    ),
]


@pytest.mark.parametrize(("name", "change", "words"), EDITS, ids=[words for *_, words in EDITS])
def test_what_is_not_supported_is_named(name, change, words, tmp_path):
    folder = make_checkpoint(tmp_path, **DENSE)
    edit(folder / name, change)
    assert re.match(f"{folder / name} .*{re.escape(words)}", error_of(folder))


@pytest.mark.parametrize("idx", [0, 1])
@pytest.mark.parametrize("path", ["/etc", "..", "../other", "1_Pooling/../../other"])
def test_a_path_that_leaves_the_folder_is_refused(path, idx, tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    shutil.copytree(folder, tmp_path / "other")
    edit(folder / MODULES, lambda modules: modules[idx].update(path=path))
    assert f"{folder / MODULES} names {path!r}, which is outside" in error_of(folder)


@pytest.mark.parametrize("name", [MODULES, FIRST, "config_sentence_transformers.json", POOLING])
@pytest.mark.parametrize("content", [b"", b'{"key": ', b"\xff\xfe\x00"])
def test_broken_json_is_named(content, name, tmp_path):
    folder = make_checkpoint(tmp_path)
    (folder / name).write_bytes(content)
    assert error_of(folder).startswith(f"{folder / name} is not valid JSON")


@pytest.mark.parametrize("size", [None, 4, 0])
@pytest.mark.parametrize("weights", ["safetensors", "bin"])
@pytest.mark.parametrize("module", ["", "2_Dense"])
def test_weights_that_are_cut_short(module, weights, size, tmp_path):
    folder = make_checkpoint(tmp_path, weights=weights, **DENSE)
    cut(*(folder / module).glob("*model." + weights), size)
    message = error_of(folder)
    assert str(folder / module) in message
    assert "cut short" in message
    assert "etch the model again" in message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("module", ["", "2_Dense"])
@pytest.mark.parametrize("form", ["zip", "before zip", "pickle"])
def test_weights_that_would_run_code_are_refused(form, module, tmp_path):
    folder = make_checkpoint(tmp_path / "model", weights="bin", **DENSE)
    file = folder / module / "pytorch_model.bin"
    content = {"linear.weight": RunsCode(tmp_path / "has run")}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    assert str(folder / module) in error_of(folder)
    assert not (tmp_path / "has run").exists()


def test_code_in_a_checkpoint_is_not_run(run_python, tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    classes = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    edit(folder / "config.json", lambda c: c.update(model_type="own", auto_map=classes))
    (folder / "own.py").write_text(
        f"open({str(tmp_path / 'has run')!r}, 'w')\n"
        "from transformers import BertConfig as Config, BertModel as Model\n"
    )
    code = (
        "import sys; from sk_sentemb import load_encoder\n"
        "from sk_sentemb.exceptions import CheckpointError\n"
        "try: load_encoder(sys.argv[1], device='cpu')\n"
        "except CheckpointError as error: print(error)"
    )
    message = run_python(code, folder, answers="y\ny\ny\n").stdout
    assert not (tmp_path / "has run").exists()
    assert message.startswith(f"transformers cannot load the model in {folder}")


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 64), ("vocab_size", 9999)])
def test_weights_of_other_shapes_than_the_configuration_says(key, value, tmp_path):
    edit(make_checkpoint(tmp_path) / "config.json", lambda config: config.update({key: value}))
    message = error_of(tmp_path)
    assert f"cannot load the model in {tmp_path}" in message
    assert "_embeddings.weight" in message
    assert str(value) in message


@pytest.mark.parametrize("key", ["in_features", "out_features"])
def test_dense_weights_of_other_shapes_than_the_configuration_says(key, tmp_path):
    dense = make_checkpoint(tmp_path, **DENSE) / "2_Dense"
    edit(dense / "config.json", lambda config: config.update({key: 9}))
    message = error_of(tmp_path)
    assert message.startswith(f"the weights in {dense} do not fit its config.json")
    assert "size mismatch for linear.weight" in message


def test_a_pooling_of_another_dimension_than_the_backbone(tmp_path):
    folder = make_checkpoint(tmp_path)
    edit(folder / POOLING, lambda config: config.update(word_embedding_dimension=64))
    assert re.search("64.*32|32.*64", error_of(folder))


@pytest.mark.parametrize(
    ("module", "tensor", "words"),
    [
        ("", "encoder.layer.1.output.dense.weight", "lack 1 tensors that BertModel needs"),
        ("2_Dense", "linear.bias", "do not fit its config.json"),
    ],
)
def test_weights_that_lack_a_tensor(module, tensor, words, tmp_path):
    file = make_checkpoint(tmp_path, **DENSE) / module / "model.safetensors"
    kept = load_file(file)
    del kept[tensor]
    save_file(kept, file, metadata={"format": "pt"})
    message = error_of(tmp_path)
    assert message.startswith(f"the weights in {file.parent} {words}")
    assert tensor in message


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("config.json", ""),
        ("model.safetensors", ""),
        ("tokenizer.json", ""),
        ("tokenizer*", ""),
        ("1_Pooling", POOLING),
        ("2_Dense", "2_Dense/config.json"),
        ("2_Dense/model.safetensors", "2_Dense has neither model.safetensors nor"),
        (f"{STATIC}/model.safetensors", f"{STATIC} has neither model.safetensors nor"),
        (f"{STATIC}/tokenizer.json", f"{STATIC}/tokenizer.json is missing"),
    ],
)
def test_what_is_missing_is_named(gone, named, tmp_path):
    is_static = gone.startswith(STATIC)
    make_static_checkpoint(tmp_path) if is_static else make_checkpoint(tmp_path, **DENSE)
    for path in tmp_path.glob(gone):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    message = error_of(tmp_path)
    assert str(tmp_path / named) in message
    assert "etch the model again" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_a_broken_file_that_transformers_reads(name, tmp_path):
    cut(make_checkpoint(tmp_path) / name, None)
    where = f"load the tokenizer in {tmp_path}" if name == "tokenizer.json" else tmp_path / name
    assert str(where) in error_of(tmp_path)


def test_a_broken_tokenizer_of_static_vectors(tmp_path):
    file = make_static_checkpoint(tmp_path) / STATIC / "tokenizer.json"
    cut(file, None)
    assert str(file) in error_of(tmp_path)


def test_an_empty_folder(tmp_path):
    assert error_of(tmp_path).startswith(f"{tmp_path} has neither modules.json nor config")
