import pickle

import numpy as np
import pytest
import torch

from sk_sentemb import SentenceEmbedder, load_encoder
from tests.helpers.checkpoints import TEXTS, make_checkpoint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture(scope="module", params=["bert", "modernbert", "qwen3", "mpnet"])
def folder(request, tmp_path_factory):
    pooling = "lasttoken" if request.param == "qwen3" else "mean"
    return make_checkpoint(
        tmp_path_factory.mktemp("gpu") / request.param, request.param, pooling=pooling
    )


@pytest.mark.parametrize(
    ("dtype", "cosine"), [("float32", 0.99999), ("bfloat16", 0.98), ("float16", 0.999)]
)
def test_cuda_gives_the_rows_of_the_processor(folder, dtype, cosine):
    expected = load_encoder(folder, device="cpu").encode(TEXTS).vectors
    encoder = load_encoder(folder, device="cuda", dtype=dtype)
    found = encoder.encode(TEXTS).vectors
    assert encoder.dtype == dtype
    assert found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() >= cosine


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bert_runs_packed_in_every_format(tmp_path, dtype):
    folder = make_checkpoint(tmp_path / "bert", "bert")
    assert load_encoder(folder, device="cuda", dtype=dtype).backbone.packed


def test_out_of_memory_halves_the_budget(tmp_path):
    encoder = load_encoder(make_checkpoint(tmp_path / "bert", "bert"), device="cuda")
    texts = [f"{text} {i}" for i in range(20_000) for text in TEXTS[:2]]
    expected = encoder.encode(texts).vectors
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**25) / total)
    try:
        with pytest.warns(RuntimeWarning, match="Out of memory"):
            found = encoder.encode(texts, batch_tokens=10**6).vectors
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_pickle_says_cuda_by_name_only(tmp_path):
    folder = make_checkpoint(tmp_path / "bert", "bert")
    embedder = SentenceEmbedder(str(folder), device="cuda").fit(TEXTS)
    copy = pickle.loads(pickle.dumps(embedder))
    assert copy.encoder_.device.type == "cuda"
    np.testing.assert_allclose(copy.transform(TEXTS), embedder.transform(TEXTS), atol=1e-6)
