import copy
import itertools
import pickle
import re
import shutil
import sys

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from sk_sentemb.encoder import POOLINGS, encoder_from_state, encoder_to_state, load_encoder
from sk_sentemb.exceptions import ModelChangedError, TextTooLongError
from tests.helpers.checkpoints import TEXTS, make_checkpoint, make_static_checkpoint
from tests.helpers.tiny_models import TINY, TINY_SCORER, assert_same_rows

pytestmark = pytest.mark.usefixtures("one_thread")


# One that packs, one that pads, one whose tokens see only those before them.
@pytest.fixture(scope="module", params=["bert", "mpnet", "mistral"])
def encoder(request, one_thread, tmp_path_factory):
    folder = make_checkpoint(tmp_path_factory.mktemp("model"), request.param)
    return load_encoder(folder, device="cpu")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model"), prompts={"query": "the pier: "})


@pytest.fixture(scope="module")
def tiny(one_thread, tiny_folder):
    return load_encoder(tiny_folder, device="cpu")


# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(2_000)


@pytest.fixture
def own_folder(tmp_path):
    return make_checkpoint(tmp_path / "model", seed=next(_seeds))


def test_a_row_does_not_depend_on_its_neighbours(encoder):
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    assert_same_rows(encoder.encode(TEXTS).vectors, alone)
    order = np.random.default_rng(0).permutation(len(TEXTS) * 3) % len(TEXTS)
    assert_same_rows(encoder.encode([TEXTS[row] for row in order]).vectors, alone[order])


@pytest.mark.parametrize("batch_tokens", [1, 2, 17, 64, 256, 10**9])
def test_batch_tokens_change_no_row(batch_tokens, encoder):
    found = encoder.encode(TEXTS, batch_tokens=batch_tokens).vectors
    assert_same_rows(found, encoder.encode(TEXTS).vectors)


def test_rows_of_a_real_model_do_not_depend_on_their_neighbours(minilm):
    alone = np.concatenate([minilm.encode([text]).vectors for text in TEXTS])
    np.testing.assert_allclose(minilm.encode(TEXTS).vectors, alone, rtol=0, atol=1e-6)


def test_more_texts_than_a_block_keep_their_order(tiny):
    words = ["pier", "ferry", "the", "net", "ice"]
    texts = [" ".join(words[(n // 5**i) % 5] for i in range(6)) for n in range(9_000)]
    done = []
    vectors = tiny.encode(texts, on_progress=done.append).vectors
    rows = np.arange(0, len(texts), 1_000)
    assert_same_rows(vectors[rows], tiny.encode([texts[row] for row in rows]).vectors)
    assert done == sorted(done)
    assert done[-1] == len(texts)


def test_no_texts_are_no_rows(encoder):
    vectors, truncated = encoder.encode([])
    assert (vectors.shape, vectors.dtype) == ((0, encoder.embedding_dim), np.float32)
    assert (truncated.shape, truncated.dtype) == ((0,), np.bool_)


def test_texts_of_nothing_are_texts(encoder):
    vectors = encoder.encode(["", " ", "\n\t\u3000", "\0", "pier"]).vectors
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.abs(vectors[0] - vectors[4]).max() > 1e-3


@pytest.mark.parametrize("pooling", [*POOLINGS, ["cls", "mean"], ["mean", "cls"]])
def test_another_pooling_is_that_of_sentence_transformers(pooling, tiny, tiny_folder):
    reference = SentenceTransformer(str(tiny_folder), device="cpu", local_files_only=True)
    transformer, old, normalize = reference
    names = [pooling] if isinstance(pooling, str) else pooling
    other = type(old)(old.embedding_dimension, pooling_mode=names)
    expected = SentenceTransformer(modules=[transformer, other, normalize], device="cpu")
    configured = tiny.with_pooling(pooling=pooling)
    vectors = configured.encode(TEXTS).vectors
    np.testing.assert_allclose(vectors, expected.encode(TEXTS), rtol=1e-5, atol=1e-5)
    assert configured.backbone is tiny.backbone
    assert configured.embedding_dim == vectors.shape[1]
    assert tiny.pooling == ("mean",)


def test_another_scale(tiny, tiny_folder):
    plain = tiny.with_pooling(normalize=False)
    reference = SentenceTransformer(str(tiny_folder), device="cpu", local_files_only=True)
    reference = SentenceTransformer(modules=[*reference][:2], device="cpu")
    vectors = plain.encode(TEXTS).vectors
    np.testing.assert_allclose(vectors, reference.encode(TEXTS), rtol=1e-5, atol=1e-5)
    unit = plain.with_pooling(normalize=True)
    assert plain.backbone is unit.backbone is tiny.backbone
    assert_same_rows(unit.encode(TEXTS).vectors, tiny.encode(TEXTS).vectors)
    assert tiny.with_pooling(pooling="mean", normalize=True) is tiny


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "auto"])
def test_a_smaller_number_format_is_close(dtype, minilm, minilm_folder):
    small = load_encoder(minilm_folder, device="cpu", dtype=dtype)
    assert small.dtype == dtype or (dtype == "auto" and small.dtype in ("float32", "bfloat16"))
    vectors = small.encode(TEXTS).vectors
    assert vectors.dtype == np.float32
    cosines = np.einsum("ij,ij->i", vectors, minilm.encode(TEXTS).vectors)
    assert cosines.min() > 0.99
    assert small.dtype == "float32" or cosines.min() < 1 - 1e-7


def test_an_overflow_is_an_error(own_folder):
    weights = load_file(own_folder / "model.safetensors")
    weights["embeddings.LayerNorm.weight"] *= 1e6
    save_file(weights, own_folder / "model.safetensors", metadata={"format": "pt"})
    assert np.isfinite(load_encoder(own_folder, device="cpu").encode(TEXTS).vectors).all()
    half = load_encoder(own_folder, device="cpu", dtype="float16")
    with pytest.raises(FloatingPointError, match=r"dtype='float16' cannot represent .* 'bfloat16'"):
        half.encode(TEXTS)


@pytest.mark.parametrize("normalize", [True, False])
def test_chunks_are_averaged_by_hand(normalize, tiny):
    encoder = tiny.with_pooling(normalize=normalize)
    words = ["pier", "Harbour", "market"]
    assert not encoder.encode(words, max_length=3).truncated.any()  # a token each
    text = list(np.random.default_rng(0).choice(words, 40))
    # 18 tokens less two special ones: windows of 16 words, at least 2 shared with the next.
    windows = [" ".join(text[start : start + 16]) for start in (0, 12, 24)]
    expected = encoder.encode(windows).vectors.mean(axis=0)
    expected /= np.linalg.norm(expected) if normalize else 1
    found = encoder.encode([" ".join(text), "pier"], max_length=18, long_text="chunk")
    assert_same_rows(found.vectors, [expected, encoder.encode(["pier"]).vectors[0]])
    assert not found.truncated.any()


def test_chunks_beside_a_text_without_tokens(tmp_path):
    static = load_encoder(make_static_checkpoint(tmp_path), device="cpu")
    vectors = static.encode(["", TEXTS[-1]], max_length=9, long_text="chunk").vectors
    assert (vectors[0] == 0).all()
    assert np.isfinite(vectors[1]).all()


def test_a_text_that_is_too_long(tiny):
    assert tiny.encode(["pier", TEXTS[-1], ""], max_length=12).truncated.tolist() == [0, 1, 0]
    texts = [f"pier {n}" for n in range(9_000)]
    texts[7_000] = TEXTS[-1]
    with pytest.raises(TextTooLongError, match="text 7000 is longer than 8 tokens") as caught:
        tiny.encode(texts, max_length=8, long_text="error")
    assert caught.value.position == 7_000
    with pytest.raises(ValueError, match=r"max_length=257, but the model reads at most 256 tokens"):
        tiny.encode(["pier"], max_length=257)


OUT_OF_MEMORY = """
import resource, sys, warnings
import numpy as np, torch
from sk_sentemb.encoder import load_encoder

torch.set_num_threads(1)
encoder = load_encoder(sys.argv[1], device="cpu")
words = np.random.default_rng(0).choice(["pier", "the", "nets", "ice"], (900, 200))
texts = [" ".join(row[: 100 + n % 100]) for n, row in enumerate(words)]
expected = encoder.encode(texts, batch_tokens=2048).vectors
in_use = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = int(in_use.split()[1]) * 1024 + 64 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = encoder.encode(texts, batch_tokens=10**9).vectors
print(np.abs(found - expected).max() <= 1e-6, {w.category.__name__ for w in caught})
print(*caught[-1].message.args)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are not kept elsewhere")
@pytest.mark.parametrize("backbone", ["llama", "t5"])  # one packs, one pads
def test_out_of_memory_goes_on_with_smaller_packs(backbone, run_python, tmp_path):
    folder = make_checkpoint(tmp_path, backbone)
    summary, message = run_python(OUT_OF_MEMORY, folder).stdout.splitlines()
    assert summary == "True {'RuntimeWarning'}"
    assert re.search(r"Out of memory.*batch_tokens=\d+\. Pass that value to start with it", message)


def test_repr_names_the_model_only():
    for folder, name in ((TINY, "TextEncoder"), (TINY_SCORER, "PairEncoder")):
        encoder = load_encoder(folder, pairs=name == "PairEncoder")
        assert repr(encoder) == f"{name}('{folder}', device='cpu', dtype='float32')"


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_encoder_itself(make_copy, tiny):
    assert make_copy(tiny) is tiny
    configured = tiny.with_pooling(pooling="cls")
    assert make_copy({"model": configured})["model"] is configured


def test_a_pickle_is_small_and_gives_the_copy_of_the_process(tiny):
    pickled = pickle.dumps(tiny)
    assert len(pickled) < 1_000
    assert pickle.loads(pickled) is tiny
    cls = pickle.loads(pickle.dumps(tiny.with_pooling(pooling="cls", normalize=False)))
    assert (cls.pooling, cls.normalizes) == (("cls",), False)
    assert cls.backbone is tiny.backbone


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_model_that_has_changed_is_an_error(name, own_folder, tmp_path):
    encoder = load_encoder(own_folder, device="cpu")
    pickled = pickle.dumps(encoder)
    other = make_checkpoint(tmp_path / "other", "mpnet", pooling="cls")
    (other / name).replace(own_folder / name)
    with pytest.raises(ModelChangedError, match=encoder.fingerprint) as caught:
        pickle.loads(pickled)
    assert len(set(re.findall("[0-9a-f]{64}", str(caught.value)))) == 2
    assert str(own_folder) in str(caught.value)


def test_a_loaded_model_does_not_change_with_its_file(own_folder, tmp_path):
    encoder = load_encoder(own_folder, device="cpu")
    expected = encoder.encode(TEXTS).vectors
    other = make_checkpoint(tmp_path / "other")
    shutil.copyfile(other / "model.safetensors", own_folder / "model.safetensors")
    assert_same_rows(encoder.encode(TEXTS).vectors, expected)


def test_weights_that_are_carried_along_need_no_folder(own_folder):
    encoder = load_encoder(own_folder, device="cpu").with_pooling(pooling="max")
    state, expected = encoder_to_state(encoder, embed=True), encoder.encode(TEXTS).vectors
    shutil.rmtree(own_folder)
    again = encoder_from_state(pickle.loads(pickle.dumps(state)))
    assert_same_rows(again.encode(TEXTS).vectors, expected)
    assert (again.fingerprint, again.pooling) == (encoder.fingerprint, ("max",))
    assert encoder_from_state(state).backbone is again.backbone
