import itertools
import json
import os
import pickle
import shutil
import weakref

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from sk_sentemb.encoder import load_encoder, load_image_encoder, save_encoder
from sk_sentemb.exceptions import CheckpointError, ModelChangedError
from tests.helpers.checkpoints import edit, make_checkpoint, make_static_checkpoint
from tests.helpers.images import PICTURES, noise
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows
from tests.helpers.vision_checkpoints import HIDDEN, VISION
from tests.helpers.vision_references import (
    assert_equal_vectors,
    sentence_transformer,
    transformers_output,
)

pytestmark = pytest.mark.usefixtures("one_thread")

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(8_000)


@pytest.fixture(scope="module", params=VISION)
def vision(request, tmp_path_factory):
    return request.param, VISION[request.param](tmp_path_factory.mktemp("model"))


# Images


def test_vectors_are_those_of_transformers(vision):
    name, folder = vision
    projected = hf.CLIPVisionModelWithProjection if "projected" in name else hf.AutoModel
    output, features = transformers_output(folder, kind=projected)
    if features is not None:
        expected = features
    elif name.startswith(("vit", "dinov2")):
        expected = output.last_hidden_state[:, 0]
    else:
        expected = output.pooler_output
    encoder = load_image_encoder(folder, device="cpu")
    for size in (1, 3, "auto"):
        assert_equal_vectors(encoder.encode(PICTURES, batch_size=size), expected.numpy())
    assert encoder.embedding_dim == expected.shape[1]


def test_what_is_written_gives_equal_vectors(vision, tmp_path):
    name, folder = vision
    encoder = load_image_encoder(folder, device="cpu")
    vectors = encoder.encode(PICTURES)
    save_encoder(encoder, tmp_path)
    again = load_image_encoder(tmp_path, device="cpu")
    assert_equal_vectors(again.encode(PICTURES), vectors)
    assert again.pooling == encoder.pooling
    if name not in ("siglip2", "clip vision, projected"):  # which that library reads in another way
        assert_equal_vectors(sentence_transformer(tmp_path).encode(PICTURES), vectors)


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "dinov2", "swin", "convnext"])
def test_poolings(name, tmp_path):
    folder = VISION[name](tmp_path / "model")
    output, _ = transformers_output(folder)
    encoder = load_image_encoder(folder, device="cpu")
    hidden = output.last_hidden_state
    hidden = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
    expected = {"mean": hidden.mean(dim=1), "pooler": output.pooler_output}
    if name not in ("siglip", "swin", "convnext"):
        expected["cls"] = hidden[:, 0]
    for pooling, vectors in expected.items():
        found = encoder.with_pooling(pooling=pooling)
        assert_equal_vectors(found.encode(PICTURES), vectors.numpy())
        assert found.with_pooling(pooling=pooling) is found
        assert found.model is encoder.model
        assert found.encoding_params() != encoder.encoding_params() or pooling == encoder.pooling
    if "cls" not in expected:
        with pytest.raises(ValueError, match=r"pooling='cls', but .* has no CLS token"):
            encoder.with_pooling(pooling="cls")
    with pytest.raises(ValueError, match="pooling='max': pass 'auto' or one of"):
        encoder.with_pooling(pooling="max")


def test_normalize(vit, clip):
    for folder in (vit, clip):
        encoder = load_image_encoder(folder, device="cpu")
        assert not encoder.normalizes
        unit = encoder.with_pooling(normalize=True)
        vectors = unit.encode(PICTURES)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert unit.normalizes
        assert unit.with_pooling(normalize=False).modules == encoder.modules
        assert unit.encoding_params() != encoder.encoding_params()


def test_a_pooler_without_weights_is_not_used(tmp_path):
    encoder = load_image_encoder(VISION["vit classifier"](tmp_path), device="cpu")
    with pytest.raises(ValueError, match="pooling='pooler', but ViTModel has no pooler"):
        encoder.with_pooling(pooling="pooler")


@pytest.mark.parametrize("modes", ["mean", ("cls", "max")])
def test_folders_of_sentence_transformers_pool_as_they_say(modes, vit, tmp_path):
    from sentence_transformers.models import Normalize, Pooling, Transformer

    transformer = Transformer(str(vit))
    pooling = Pooling(HIDDEN, pooling_mode=modes)
    reference = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    reference.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    encoder = load_image_encoder(tmp_path / "saved", device="cpu")
    vectors = encoder.encode(PICTURES)
    assert_equal_vectors(vectors, reference.encode(PICTURES))
    (tmp_path / "written").mkdir()
    save_encoder(encoder, tmp_path / "written")
    assert_equal_vectors(sentence_transformer(tmp_path / "written").encode(PICTURES), vectors)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["clip", "vit"])
def test_number_formats(name, dtype, tmp_path):
    folder = VISION[name](tmp_path / "model", seed=next(_seeds))
    expected = load_image_encoder(folder, device="cpu").encode(PICTURES)
    encoder = load_image_encoder(folder, device="cpu", dtype=dtype)
    assert encoder.dtype == dtype
    found = encoder.encode(PICTURES)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    # Weights that are saved as half load as what is asked for.
    (tmp_path / "half").mkdir()
    save_encoder(encoder, tmp_path / "half")
    again = load_image_encoder(tmp_path / "half", device="cpu", dtype=dtype)
    np.testing.assert_array_equal(again.encode(PICTURES), found)
    assert load_image_encoder(tmp_path / "half", device="cpu").dtype == "float32"


def test_rows_do_not_depend_on_neighbours(vit):
    encoder = load_image_encoder(vit, device="cpu")
    together = encoder.encode(PICTURES)
    alone = np.vstack([encoder.encode([picture]) for picture in PICTURES])
    assert_same_rows(alone, together)
    assert_other_rows(together, np.roll(together, 1, axis=0))
    assert encoder.encode([]).shape == (0, HIDDEN)


def test_images_of_other_sizes_run_apart(tmp_path):
    """Of a processor that neither squeezes nor crops, images keep sizes of their own."""
    folder = VISION["dinov2"](tmp_path)
    edit(folder / "preprocessor_config.json", lambda c: c.update(do_center_crop=False))
    images = [Image.fromarray(noise(h, w)) for h, w in [(24, 48), (24, 24), (48, 24), (24, 48)]]
    alone = [transformers_output(folder, [image])[0].last_hidden_state[0, 0] for image in images]
    found = load_image_encoder(folder, device="cpu").encode(images)
    assert_equal_vectors(found, torch.stack(alone).numpy())


def test_images_are_read_a_few_batches_ahead_and_let_go(vit):
    encoder = load_image_encoder(vit, device="cpu")
    pictures, n_alive, n_ahead, n_done = [], [], [], [0]

    def read(seed):
        picture = Image.fromarray(noise(30, 30, seed=seed))
        pictures.append(weakref.ref(picture))
        n_alive.append(sum(picture() is not None for picture in pictures))
        n_ahead.append(len(pictures) - n_done[-1])
        return picture

    vectors = encoder.encode(range(60), read=read, batch_size=5, on_progress=n_done.append)
    assert np.isfinite(vectors).all()
    assert max(n_alive) <= 2  # what else there is of a picture are the pixels that the model reads
    assert max(n_ahead) <= 5 * 4
    assert n_done == list(range(0, 61, 5))


def test_no_image_is_nan(vit):
    encoder = load_image_encoder(vit, device="cpu")
    kept = {1, 4}
    pictures = PICTURES[:5]
    found = encoder.encode(
        range(5), read=lambda i: pictures[i] if i in kept else None, batch_size=2
    )
    assert {i for i in range(5) if np.isfinite(found[i]).all()} == kept
    assert_same_rows(found[[1, 4]], encoder.encode([pictures[1], pictures[4]]))
    assert np.isnan(encoder.encode([0], read=lambda i: None)).all()


def test_an_error_of_a_reader_is_raised(vit):
    def read(i):
        if i == 7:
            raise KeyError("seven")
        return PICTURES[0]

    with pytest.raises(KeyError, match="seven"):
        load_image_encoder(vit, device="cpu").encode(range(99), read=read, batch_size=2)


@pytest.mark.filterwarnings("ignore:out of memory:RuntimeWarning")
def test_out_of_memory_halves_the_batch(vit, monkeypatch):
    encoder = load_image_encoder(vit, device="cpu")
    expected, run, sizes = encoder.encode(PICTURES), type(encoder)._forward, []

    def forward(self, pixels, pack):
        sizes.append(len(pack.rows))
        if len(pack.rows) > 2:
            raise torch.OutOfMemoryError
        return run(self, pixels, pack)

    monkeypatch.setattr(type(encoder), "_forward", forward)
    with pytest.warns(RuntimeWarning, match="Out of memory: continuing with batch_size=2"):
        found = encoder.encode(PICTURES)
    assert_same_rows(found, expected)
    assert sizes[:3] == [8, 4, 2]


def test_numbers_that_are_too_large_are_an_error(vit):
    file = vit / "model.safetensors"
    tensors = load_file(file)
    tensors["layernorm.weight"] *= 1e6
    save_file(tensors, file, metadata={"format": "pt"})
    encoder = load_image_encoder(vit, device="cpu", dtype="float16")
    with pytest.raises(FloatingPointError, match="dtype='float16' cannot represent"):
        encoder.encode(PICTURES)


@pytest.mark.parametrize(("name", "most"), [("clip", 24 * 24 * 1000), ("vit", 0)])
def test_what_resizing_makes_of_elongated_images(name, most, tmp_path):
    encoder = load_image_encoder(VISION[name](tmp_path), device="cpu")
    assert encoder.pixels_after_resizing(1000, 1) == most


# What is refused


def error_of(read, folder):
    with pytest.raises(CheckpointError) as raised:
        read(folder, device="cpu")
    return str(raised.value)


@pytest.mark.parametrize("name", ["vit", "siglip", "dinov2"])
def test_models_of_images_embed_no_texts(name, tmp_path):
    error = error_of(load_encoder, VISION[name](tmp_path))
    assert "reads images. Of models of images, only a CLIP can embed texts" in error


def test_models_of_texts_embed_no_images(tmp_path):
    error = error_of(load_image_encoder, make_checkpoint(tmp_path / "bert"))
    assert "does not read images. Pass it to a SentenceEmbedder" in error
    error = error_of(load_image_encoder, make_static_checkpoint(tmp_path / "static"))
    assert "is a static embedding model of texts, which cannot read images" in error


def test_other_models_of_images_and_texts_are_named(tmp_path):
    hf.BlipConfig().save_pretrained(tmp_path)
    assert "of the type 'blip'" in error_of(load_image_encoder, tmp_path)


def test_a_module_that_is_no_clip(clip):
    hf.BertConfig().save_pretrained(clip / "0_CLIPModel")
    for read in (load_encoder, load_image_encoder):
        assert "its config.json belongs to another model" in error_of(read, clip)


def test_no_way_from_images_to_pixels(vit):
    file = vit / "preprocessor_config.json"
    file.write_text(file.read_text()[:-20])
    assert "cannot load the image processor in" in error_of(load_image_encoder, vit)
    file.unlink()
    assert "has no preprocessor_config.json" in error_of(load_image_encoder, vit)


def test_pixels_of_another_size_than_the_model_reads(vit):
    square = {"height": 30, "width": 30}
    edit(vit / "preprocessor_config.json", lambda config: config.update(size=square))
    assert "does not run like other models of images" in error_of(load_image_encoder, vit)


def test_weights_that_are_not_all_there(vit, clip):
    for file in (vit / "model.safetensors", clip / "0_CLIPModel" / "model.safetensors"):
        tensors = load_file(file)
        del tensors[next(name for name in tensors if "layer" in name and "weight" in name)]
        save_file(tensors, file, metadata={"format": "pt"})
    assert "lack 1 tensors" in error_of(load_image_encoder, vit)
    assert "lack 1 tensors" in error_of(load_image_encoder, clip)
    assert "lack 1 tensors" in error_of(load_encoder, clip)


def test_modules_in_an_order_that_makes_no_sense(clip, vit, tmp_path):
    lines = json.loads((clip / "modules.json").read_text())
    pooling = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "x.Pooling"}
    (clip / "modules.json").write_text(json.dumps([*lines, pooling]))
    (clip / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": 99, "pooling_mode_mean_tokens": True}
    (clip / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert "pools the output of CLIPVisionModel, which is pooled already" in error_of(
        load_image_encoder, clip
    )
    lines = [{"idx": 0, "name": "0", "path": "", "type": "x.Transformer"}, pooling]
    (vit / "modules.json").write_text(json.dumps(lines))
    shutil.copytree(clip / "1_Pooling", vit / "1_Pooling")
    assert "expects 99 dimensions, but gets 32" in error_of(load_image_encoder, vit)


# Copies


def test_the_fingerprint_is_of_the_processing_too(vit):
    before = load_image_encoder(vit, device="cpu")
    edit(vit / "preprocessor_config.json", lambda config: config.update(image_mean=[0.1] * 3))
    after = load_image_encoder(vit, device="cpu")
    assert after.fingerprint != before.fingerprint
    assert after.encoding_params() != before.encoding_params()
    assert_other_rows(after.encode(PICTURES), before.encode(PICTURES))
    with pytest.raises(ModelChangedError, match="have changed: its fingerprint is"):
        load_image_encoder(vit, device="cpu", expected_fingerprint=before.fingerprint)


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "clip vision, projected"])
def test_pickles(name, tmp_path):
    encoder = load_image_encoder(VISION[name](tmp_path / "model", seed=next(_seeds)), device="cpu")
    for changed in (
        encoder,
        encoder.with_pooling(normalize=True),
        encoder.with_pooling(pooling="mean"),
        encoder.replace(truncate_dim=7),
    ):
        pickled = pickle.dumps(changed)
        assert len(pickled) < 1000
        again = pickle.loads(pickled)
        assert again.model is encoder.model
        assert again.truncate_dim == changed.truncate_dim
        np.testing.assert_array_equal(again.encode(PICTURES), changed.encode(PICTURES))
        # Without a name, with its weights.
        nameless = pickle.loads(pickle.dumps(changed.replace(source=None)))
        assert nameless.model is not encoder.model
        np.testing.assert_array_equal(nameless.encode(PICTURES), changed.encode(PICTURES))
        assert nameless.fingerprint == encoder.fingerprint


def test_an_encoder_is_shared_by_its_copies(vit):
    import copy

    encoder = load_image_encoder(vit, device="cpu")
    assert copy.copy(encoder) is copy.deepcopy(encoder) is encoder
    assert load_image_encoder(str(vit), device="cpu") is encoder
    assert repr(encoder) == f"ImageEncoder('{vit}', device='cpu', dtype='float32')"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize(
    ("dtype", "atol"), [("float32", 1e-4), ("float16", 1e-2), ("bfloat16", 1e-1)]
)
@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "dinov2"])
def test_cuda_gives_the_rows_of_the_processor(name, dtype, atol, tmp_path):
    folder = VISION[name](tmp_path)
    expected = load_image_encoder(folder, device="cpu").encode(PICTURES)
    encoder = load_image_encoder(folder, device="cuda", dtype=dtype)
    found = encoder.encode(PICTURES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol * np.abs(expected).max())
    assert pickle.loads(pickle.dumps(encoder)).model is encoder.model


# In a process that has no other threads: MKL itself does not survive a fork that comes while one of its
# threads allocates.
FORKS = """
import multiprocessing, sys
import numpy as np, torch
from PIL import Image
from sk_sentemb.encoder import load_encoder, load_image_encoder

clip, file = sys.argv[1:]
torch.set_num_threads(2)  # so that there are workers that the child has not
encoder = load_image_encoder(clip, device="cpu")
context = multiprocessing.get_context("fork")
receiver, sender = context.Pipe(duplex=False)
images, texts = [Image.open(file)] * 3, ["a pier", "the harbour"]


def embed():
    sender.send((encoder.encode(images), load_encoder(clip, device="cpu").encode(texts).vectors))


expected = encoder.encode(images), load_encoder(clip, device="cpu").encode(texts).vectors
child = context.Process(target=embed)
child.start()
assert receiver.poll(60), "the child hangs"
for one, other in zip(receiver.recv(), expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
child.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_embeds_images(clip, tmp_path, run_python):
    PICTURES[0].save(tmp_path / "picture.png")
    run_python(FORKS, clip, tmp_path / "picture.png")
