"""What save_pretrained does to a folder that holds something already."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from sk_sentemb import SentenceEmbedder
from sk_sentemb.encoder.checkpoint.layout import compute_fingerprint
from sk_sentemb.encoder.model_files.atomic_folder import MANIFEST, new_folder
from tests.helpers.checkpoints import contents, make_checkpoint, make_static_checkpoint
from tests.helpers.tiny_models import OTHER, TINY

TEXTS = ["the ferry passed the pier", "Nobody remembers the storm?"]
OF_THE_USER = {
    "README.md": "model card",
    "label_names.json": '["spam", "ham"]',
    "classifier.bin": "x",
    "2_notes/thesis.txt": "...",
    "1_Pooling/notes.txt": "why the mean",
    ".gitattributes": "*.safetensors filter=lfs",
}


@pytest.fixture
def embedder():
    return SentenceEmbedder(TINY).fit(TEXTS)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def assert_holds(folder, model, kept=OF_THE_USER):
    rows = SentenceEmbedder(folder).fit_transform(TEXTS)
    np.testing.assert_array_equal(rows, SentenceEmbedder(model).fit_transform(TEXTS))
    assert {name: (folder / name).read_text() for name in kept} == kept
    assert not [path for path in folder.iterdir() if path.name.startswith(".saving")]


@pytest.mark.parametrize("earlier", ["this package", "sentence-transformers"])
def test_files_of_the_user_stay(earlier, embedder, tmp_path):
    folder = tmp_path / "model"
    if earlier == "this package":
        embedder.save_pretrained(folder)
    else:
        make_checkpoint(folder, seed=3)
    write(folder, OF_THE_USER)
    SentenceEmbedder(OTHER).fit(TEXTS).save_pretrained(folder)
    assert_holds(folder, OTHER)
    assert os.listdir(tmp_path) == ["model"]


def test_what_an_earlier_save_wrote_goes(embedder, tmp_path):
    deep = make_checkpoint(tmp_path / "deep", dense={"out_features": 8}, layer_norm=True)
    folder = tmp_path / "model"
    SentenceEmbedder(deep).fit(TEXTS).save_pretrained(folder)
    assert (folder / "3_Dense" / "model.safetensors").exists()
    write(folder, {"2_LayerNorm/notes.txt": "mine"})
    embedder.save_pretrained(folder)
    fresh = tmp_path / "fresh"
    embedder.save_pretrained(fresh)
    assert contents(folder) == contents(fresh) | {"2_LayerNorm/notes.txt": b"mine"}
    assert not (folder / "3_Dense").exists()


def test_a_file_that_was_changed_since_its_save_stays(embedder, tmp_path):
    deep = make_checkpoint(tmp_path / "deep", dense={"out_features": 8})
    folder = tmp_path / "model"
    SentenceEmbedder(deep).fit(TEXTS).save_pretrained(folder)
    (folder / "2_Dense" / "config.json").write_text("edited")
    embedder.save_pretrained(folder)
    assert_holds(folder, TINY, {"2_Dense/config.json": "edited"})
    assert not (folder / "2_Dense" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "name", ["../precious.json", "/{folder}/precious.json", "1_Pooling/../../precious.json"]
)
def test_a_foreign_manifest_removes_nothing(name, embedder, tmp_path):
    folder = tmp_path / "model"
    embedder.save_pretrained(folder)
    precious = tmp_path / "precious.json"
    precious.write_text("{}")
    manifest = json.loads((folder / MANIFEST).read_text())
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    manifest["files"][name.replace("{folder}", str(tmp_path))] = digest
    (folder / MANIFEST).write_text(json.dumps(manifest))
    embedder.save_pretrained(folder)
    assert precious.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"layout": "x"}', '{"layout": "sk_sentemb.save 1", "files": 3}']
)
def test_a_damaged_manifest_removes_nothing(content, embedder, tmp_path):
    deep = make_checkpoint(tmp_path / "deep", dense={"out_features": 8})
    SentenceEmbedder(deep).fit(TEXTS).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).write_text(content)
    embedder.save_pretrained(tmp_path / "model")
    assert_holds(tmp_path / "model", TINY, {})
    assert (tmp_path / "model" / "2_Dense" / "model.safetensors").exists()


# What would be read along


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "model.safetensors.index.json", "processor_config.json"]
)
def test_files_that_would_be_read_along_are_an_error(name, embedder, tmp_path):
    folder = make_checkpoint(tmp_path / "model", seed=3)
    write(folder, {name: "{}"})
    before = contents(folder)
    with pytest.raises(
        FileExistsError, match=rf"holds \['{name}'\], which this package did not write"
    ):
        embedder.save_pretrained(folder)
    assert contents(folder) == before


def test_a_tokenizer_s_files_stay_only_if_they_change_nothing(embedder, tmp_path):
    folder = make_checkpoint(tmp_path / "model", seed=3)
    special = {name: f"[{name[:-6].upper()}]" for name in ("cls_token", "sep_token", "unk_token")}
    write(folder, {"special_tokens_map.json": json.dumps(special), "vocab.txt": "[UNK]\n"})
    kept = {name: (folder / name).read_text() for name in ("special_tokens_map.json", "vocab.txt")}
    embedder.save_pretrained(folder)
    assert_holds(folder, TINY, kept)
    write(folder, {"special_tokens_map.json": json.dumps(special | {"cls_token": "the"})})
    with pytest.raises(FileExistsError, match=r"special_tokens_map\.json"):
        embedder.save_pretrained(folder)
    write(
        folder, {"special_tokens_map.json": json.dumps(special), "chat_template.jinja": "{{ x }}"}
    )
    with pytest.raises(FileExistsError, match=r"chat_template\.jinja"):
        embedder.save_pretrained(folder)


def test_a_copy_of_a_real_checkpoint_is_saved_over(minilm_folder, tmp_path):
    folder = shutil.copytree(minilm_folder, tmp_path / "model")
    readme = (folder / "README.md").read_text()
    SentenceEmbedder(folder, pooling="cls").fit(TEXTS).save_pretrained(folder)
    assert (folder / "README.md").read_text() == readme
    again = SentenceEmbedder(folder).fit(TEXTS)
    expected = SentenceEmbedder(minilm_folder, pooling="cls").fit_transform(TEXTS)
    np.testing.assert_allclose(again.transform(TEXTS), expected, atol=1e-6)


def test_a_static_model_is_saved_over_a_transformer(embedder, tmp_path):
    static = make_static_checkpoint(tmp_path / "static")
    embedder.save_pretrained(tmp_path / "model")
    SentenceEmbedder(static).fit(TEXTS).save_pretrained(tmp_path / "model")
    assert_holds(tmp_path / "model", static, {})
    assert not (tmp_path / "model" / "config.json").exists()


# Targets of other kinds


def test_a_link_to_a_folder_stays_one(embedder, tmp_path):
    folder = tmp_path / "disk" / "model"
    folder.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(folder)
    for model in (TINY, OTHER):
        SentenceEmbedder(model).fit(TEXTS).save_pretrained(link)
        assert link.is_symlink()
        assert_holds(folder, model, {})
    assert os.listdir(folder.parent) == ["model"]


def test_the_folder_itself_is_not_replaced(embedder, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    inode = folder.stat().st_ino  # that of a mount point cannot change
    for _ in range(2):
        embedder.save_pretrained(folder)
        assert folder.stat().st_ino == inode
    assert_holds(folder, TINY, {})


def test_links_to_files_are_replaced_and_not_followed(embedder, tmp_path):
    blobs = make_checkpoint(tmp_path / "blobs", seed=3)
    before = contents(blobs)
    folder = tmp_path / "snapshot"
    for name in before:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(blobs / name)
    embedder.save_pretrained(folder)
    assert contents(blobs) == before
    assert_holds(folder, TINY, {})


def test_a_folder_of_something_else_is_an_error(embedder, tmp_path):
    write(tmp_path / "node", {"modules.json": "{}", "config.json": "precious"})
    with pytest.raises(FileExistsError, match="which do not belong to a checkpoint"):
        embedder.save_pretrained(tmp_path / "node")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="is a broken link"):
        embedder.save_pretrained(tmp_path / "link")
    folder = make_checkpoint(tmp_path / "model", seed=3)
    (folder / "tokenizer.json").unlink()
    write(folder, {"tokenizer.json/mine.txt": "precious"})
    before = contents(folder)
    with pytest.raises(FileExistsError, match=r"tokenizer\.json is a folder"):
        embedder.save_pretrained(folder)
    assert contents(folder) == before


# Interruptions


def test_a_failure_between_two_files_leaves_the_old_model(tmp_path):
    folder = make_checkpoint(tmp_path / "model", seed=3)
    write(folder, OF_THE_USER)
    (folder / "9_Late").write_text("a file where a folder is needed")
    before = contents(folder)

    def save():
        with new_folder(folder) as fresh:
            shutil.copytree(TINY, fresh, dirs_exist_ok=True)
            write(fresh, {"0_New/config.json": "{}", "9_Late/config.json": "{}"})

    with pytest.raises(OSError, match="9_Late"):
        save()
    assert contents(folder) == before
    assert not (folder / "0_New").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from sk_sentemb.encoder import atomic_folder

left = int(sys.argv[2])
replace = os.replace

def replace_some(*names):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    replace(*names)

os.replace = replace_some
with atomic_folder.new_folder(Path(sys.argv[1])) as fresh:
    for name in ("config.json", "modules.json", "model.safetensors", "1_Pooling/config.json"):
        (fresh / name).parent.mkdir(exist_ok=True)
        (fresh / name).write_text("[]" if name == "modules.json" else "{}")
"""


def test_simultaneous_saves_leave_one_of_the_models(tmp_path):
    wide = make_checkpoint(tmp_path / "wide", dense={"out_features": 8}, seed=3)
    embedders = [SentenceEmbedder(model).fit(TEXTS) for model in (TINY, wide)]
    for n, embedder in enumerate(embedders):
        embedder.save_pretrained(tmp_path / str(n))
    whole = {compute_fingerprint(tmp_path / "0"), compute_fingerprint(tmp_path / "1")}
    for attempt in range(10):
        folder, together = tmp_path / f"both{attempt}", Barrier(2, timeout=60)

        def save(embedder, folder=folder, together=together):
            for _ in range(2):  # into a new folder, and into one with a model
                together.wait()
                embedder.save_pretrained(folder)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(save, embedders))
        assert compute_fingerprint(folder) in whole
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 1, 4, 7])
def test_a_kill_between_two_files_leaves_no_mixture(left, embedder, tmp_path):
    folder = tmp_path / "model"
    embedder.save_pretrained(folder)
    before = SentenceEmbedder(folder).fit(TEXTS).fingerprint_
    write(folder, OF_THE_USER)
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, str(left)], check=False)
    assert killed.returncode == -signal.SIGKILL
    if left == 0:
        assert SentenceEmbedder(folder).fit(TEXTS).fingerprint_ == before
    else:
        assert not (folder / "modules.json").exists()
    assert {name: (folder / name).read_text() for name in OF_THE_USER} == OF_THE_USER
    embedder.save_pretrained(folder)
    shutil.rmtree(next(folder.glob(".saving-*")))
    assert_holds(folder, TINY)
