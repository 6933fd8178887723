"""Whatever is read of a checkpoint is covered by its fingerprint, and all of it is in its folder."""

import ctypes
import os
import pickle
import shutil
import struct
import sys

import numpy as np
import pytest
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from sk_sentemb import SentenceEmbedder, release_models
from sk_sentemb.encoder import load_encoder, load_image_encoder
from sk_sentemb.encoder.checkpoint.layout import compute_fingerprint
from sk_sentemb.encoder.model_files.names import DEFINING_FILES, matches_any
from sk_sentemb.exceptions import CheckpointError, ModelChangedError
from tests.helpers.checkpoints import (
    TEXTS,
    edit,
    make_checkpoint,
    make_cross_encoder,
    make_static_checkpoint,
)
from tests.helpers.vision_checkpoints import make_clip

pytestmark = pytest.mark.usefixtures("one_thread")


def shard(folder, name, *, kind="safetensors"):
    """Put the weights into a file of another name, which an index names."""
    import torch

    old = folder / "model.safetensors"
    tensors = load_file(old)
    old.unlink()
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    if kind == "bin":
        torch.save(tensors, file)
    else:
        save_file(tensors, file, metadata={"format": "pt"})
    index = "pytorch_model.bin.index.json" if kind == "bin" else "model.safetensors.index.json"
    (folder / index).write_text("{}")
    edit(folder / index, lambda c: c.update(weight_map=dict.fromkeys(tensors, name)))
    return file


@pytest.mark.parametrize("name", ["weights.safetensors", "model-1.safetensors", "a/b.safetensors"])
def test_changed_shards_of_any_name_are_another_model(name, tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    expected = SentenceEmbedder(folder, cache=None).fit_transform(TEXTS)
    file = shard(folder, name)
    embedder = SentenceEmbedder(folder, cache=tmp_path / "cache").fit(TEXTS)
    np.testing.assert_array_equal(embedder.transform(TEXTS), expected)
    pickled, old = pickle.dumps(embedder), embedder.fingerprint_
    del embedder
    release_models()
    changed = {name: tensor * 1.5 + 0.1 for name, tensor in load_file(file).items()}
    save_file(changed, file, metadata={"format": "pt"})
    embedder = SentenceEmbedder(folder, cache=tmp_path / "cache").fit(TEXTS)
    assert embedder.fingerprint_ != old
    truth = SentenceEmbedder(folder, cache=None).fit_transform(TEXTS)
    np.testing.assert_array_equal(embedder.transform(TEXTS), truth)
    assert abs(truth - expected).max() > 0.01
    with pytest.raises(ModelChangedError):
        pickle.loads(pickled)


def test_shards_that_are_pickles_are_read(tmp_path):
    expected = load_encoder(make_checkpoint(tmp_path / "a"), device="cpu").encode(TEXTS).vectors
    folder = make_checkpoint(tmp_path / "b")
    shard(folder, "weights.bin", kind="bin")
    np.testing.assert_array_equal(
        load_encoder(folder, device="cpu").encode(TEXTS).vectors, expected
    )


@pytest.mark.parametrize("absolute", [False, True])
def test_shards_outside_the_folder_are_refused(absolute, tmp_path):
    folder = make_checkpoint(tmp_path / "model")
    shard(folder, str(tmp_path / "w.safetensors") if absolute else "../w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"index.json names the file .*w.safetensors', which is outside"
    ):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize("name", ["spiece.spm", "any.tiktoken", "bpe.codes", "chat_template.jinja"])
def test_a_file_that_a_tokenizer_may_read_counts(name, tmp_path):
    before = compute_fingerprint(make_checkpoint(tmp_path))
    (tmp_path / name).write_text("a")
    assert compute_fingerprint(tmp_path) != before


def test_the_files_of_every_tokenizer_of_transformers_count():
    classes = TOKENIZER_MAPPING_NAMES.values()
    known = {getattr(transformers, name, None) for name in classes if isinstance(name, str)}
    names = {
        file
        for tokenizer in known
        for file in (getattr(tokenizer, "vocab_files_names", None) or {}).values()
    }
    assert len(names) > 10
    assert [name for name in sorted(names) if not matches_any(name, DEFINING_FILES)] == []


def test_files_that_nothing_reads_do_not_count(tmp_path):
    before = compute_fingerprint(make_checkpoint(tmp_path))
    for name in (
        *("README.md", ".gitattributes", "tf_model.h5", "optimizer.pt", "other.safetensors"),
        # What is in repositories, and some libraries download and others do not.
        *("data_config.json", "trainer_state.json", "eval_results.txt", "train.csv"),
    ):
        (tmp_path / name).write_text("a")
    os.mkfifo(tmp_path / "notes")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "config.json").write_text("{}")
    assert compute_fingerprint(tmp_path) == before


def test_equal_files_are_one_model_wherever_they_are(tmp_path):
    folder = make_checkpoint(tmp_path / "a", dense={"out_features": 8})
    shutil.copytree(folder, tmp_path / "b")
    assert compute_fingerprint(folder) == compute_fingerprint(tmp_path / "b")


def text(folder):
    load_encoder(folder, device="cpu").encode(TEXTS)


def pairs(folder):
    load_encoder(folder, device="cpu", pairs=True).encode([("a", "b")])


def image(folder):
    load_image_encoder(folder, device="cpu")


READERS = {
    "bert": (lambda f: make_checkpoint(f, dense={"out_features": 8}), text),
    "t5": (lambda f: make_checkpoint(f, "t5", style="new"), text),
    "bin": (lambda f: make_checkpoint(f, "roberta", weights="bin"), text),
    "static": (make_static_checkpoint, text),
    "pairs": (lambda f: make_cross_encoder(f, style="new"), pairs),
    "clip": (make_clip, text),
    "images": (make_clip, image),
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel which files are opened")
@pytest.mark.parametrize("kind", READERS)
def test_every_file_that_is_opened_counts(kind, tmp_path):
    make, read = READERS[kind]
    folder = make(tmp_path / "model")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for each in folders:  # names that other loaders know, to be opened or not
        (each / "README.md").write_text("a")
    release_models()
    compute_fingerprint(folder)  # so that files are not opened to be digested, but to be read
    with opened_files(folders) as opened:
        read(folder)
    assert {".json", ".bin" if kind == "bin" else ".safetensors"} <= {f.suffix for f in opened}
    for file in sorted(opened):
        content, before = file.read_bytes(), compute_fingerprint(folder)
        shutil.copy(file, tmp_path / "kept")
        if file.suffix == ".safetensors":  # of the same size, so that it is not taken for damaged
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        else:
            file.write_bytes(content + b" ")
        assert compute_fingerprint(folder) != before, file
        shutil.copy(tmp_path / "kept", file)


class opened_files:
    """The files of some folders that anything, native code as well, opens meanwhile (inotify)."""

    def __init__(self, folders):
        self.folders, self.opened = folders, set()

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self.watcher = libc.inotify_init1(os.O_NONBLOCK)
        self.watched = {
            libc.inotify_add_watch(self.watcher, os.fsencode(folder), 0x20): folder
            for folder in self.folders
        }
        return self.opened

    def __exit__(self, *_):
        try:
            while events := os.read(self.watcher, 1 << 16):
                while events:
                    watch, _, _, n = struct.unpack("iIII", events[:16])
                    name = os.fsdecode(events[16 : 16 + n].rstrip(b"\0"))
                    if name and not (self.watched[watch] / name).is_dir():
                        self.opened.add(self.watched[watch] / name)
                    events = events[16 + n :]
        except BlockingIOError:
            pass
        finally:
            os.close(self.watcher)


@pytest.mark.parametrize("bare", [True, False], ids=["a name", "a path"])
@pytest.mark.parametrize("key", ["vocab_file", "merges_file", "tokenizer_file", "any_file"])
def test_paths_in_the_settings_of_a_tokenizer_are_not_followed(key, bare, tmp_path, monkeypatch):
    expected = load_encoder(make_checkpoint(tmp_path / "a"), device="cpu").encode(TEXTS).vectors
    folder = make_checkpoint(tmp_path / "b")
    other = tmp_path / "other.json"
    other.write_text('{"a": 0}')
    monkeypatch.chdir(tmp_path)
    named = other.name if bare else str(other)
    if bare:  # a file in the folder that no fingerprint covers is not read either
        shutil.copy(other, folder)
    edit(folder / "tokenizer_config.json", lambda c: c.update({key: named}))
    with opened_files([tmp_path]) as opened:
        found = load_encoder(folder, device="cpu").encode(TEXTS).vectors
    np.testing.assert_array_equal(found, expected)
    assert not opened


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("sentence_bert_config.json", {"tokenizer_args": {"subfolder": "../x"}}, "'subfolder'"),
        ("sentence_bert_config.json", {"processor_kwargs": {"vocab_file": "x"}}, "'vocab_file'"),
        ("config.json", {"configuration_files": ["../config.4.0.0.json"]}, "outside"),
        ("config.json", {"transformers_weights": "other.safetensors"}, "transformers_weights"),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["/tokenizer.4.0.json"]}, "outside"),
    ],
)
def test_settings_that_name_other_files_are_refused(name, keys, words, tmp_path):
    edit(make_checkpoint(tmp_path) / name, lambda c: c.update(keys))
    with pytest.raises(CheckpointError, match=f"{name} .*{words}"):
        load_encoder(tmp_path, device="cpu")


@pytest.mark.parametrize("whole", [True, False], ids=["with its base model", "alone"])
def test_an_adapter_is_refused_and_merged_as_the_error_says(whole, tmp_path):
    peft = pytest.importorskip("peft")
    base = make_checkpoint(tmp_path / "base")
    folder = shutil.copytree(base, tmp_path / "adapter") if whole else tmp_path / "adapter"
    model = transformers.AutoModel.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"], r=2))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data += 0.5
    adapted.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"adapter of peft .*merge_and_unload\(\)"):
        load_encoder(folder, device="cpu")
    # As the message says.
    model = transformers.AutoModel.from_pretrained(base)
    merged = shutil.copytree(base, tmp_path / "merged")
    peft.PeftModel.from_pretrained(model, folder).merge_and_unload().save_pretrained(merged)
    found, unadapted = (load_encoder(f, device="cpu").encode(TEXTS).vectors for f in (merged, base))
    assert abs(found - unadapted).max() > 1e-3
