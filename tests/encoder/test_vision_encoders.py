import gc
import itertools
import json
import logging
import os
import pickle
import shutil
import weakref
from functools import partial

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceEmbedder,
    release_models,
)
from sk_sentemb.encoder import load_encoder, load_image_encoder, write_encoder, write_image_encoder
from sk_sentemb.exceptions import CheckpointError, ModelChangedError, NoHeadError
from tests.helpers.checkpoints import TEXTS, edit, make_checkpoint, make_static_checkpoint
from tests.helpers.hub import Hub
from tests.helpers.images import PICTURES, noise
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows
from tests.helpers.vision_checkpoints import HIDDEN, PROJECTED, VISION, make_clip

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = {
    "plain": make_clip,
    "old layout": partial(make_clip, layout="old"),
    "new layout": partial(make_clip, layout="new"),
    "old end of texts": partial(make_clip, layout="old", legacy_end=True),
    "normalised": partial(make_clip, layout="old", normalize=True),
    "short texts": partial(make_clip, max_tokens=20),
}

# Weights that no other test has, so that no other test's copy of the model is met.
_seeds = itertools.count(7_000)


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip", layout="old", seed=next(_seeds))


@pytest.fixture
def vit(tmp_path):
    return VISION["vit"](tmp_path / "vit", seed=next(_seeds))


@pytest.fixture(scope="module", params=VISION)
def vision(request, tmp_path_factory):
    return request.param, VISION[request.param](tmp_path_factory.mktemp("model"))


def assert_equal_vectors(found, expected):
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def transformers_output(folder, images=PICTURES, kind=hf.AutoModel):
    """Return what transformers' own processor and model make of images."""
    if (folder / "0_CLIPModel").is_dir():
        folder = folder / "0_CLIPModel"
    model = kind.from_pretrained(folder).eval()
    inputs = hf.AutoImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
    if hasattr(model, "get_image_features"):
        return model.vision_model(**inputs), model.get_image_features(**inputs).pooler_output
    output = model(**inputs)
    return output, getattr(output, "image_embeds", None)


def clip_features(folder, texts):
    folder = folder / "0_CLIPModel" if (folder / "0_CLIPModel").is_dir() else folder
    model = hf.CLIPModel.from_pretrained(folder).eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return model.get_text_features(**inputs).pooler_output.numpy()


def sentence_transformer(folder):
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


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
    write_image_encoder(encoder, tmp_path)
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
        with pytest.raises(ValueError, match=r"pooling='cls', but .* has no such token"):
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
    with pytest.raises(ValueError, match="pooling='pooler', but ViTModel has none here"):
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
    write_image_encoder(encoder, tmp_path / "written")
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
    write_image_encoder(encoder, tmp_path / "half")
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

    def forward(self, batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return run(self, batch)

    monkeypatch.setattr(type(encoder), "_forward", forward)
    with pytest.warns(RuntimeWarning, match="out of memory: going on with batch_size=2"):
        found = encoder.encode(PICTURES)
    assert_same_rows(found, expected)
    assert sizes[:3] == [8, 4, 2]


def test_numbers_that_are_too_large_are_an_error(vit):
    file = vit / "model.safetensors"
    tensors = load_file(file)
    tensors["layernorm.weight"] *= 1e6
    save_file(tensors, file, metadata={"format": "pt"})
    encoder = load_image_encoder(vit, device="cpu", dtype="float16")
    with pytest.raises(FloatingPointError, match="dtype='float16' cannot hold"):
        encoder.encode(PICTURES)


@pytest.mark.parametrize(("name", "most"), [("clip", 24 * 24 * 1000), ("vit", 0)])
def test_what_resizing_makes_of_elongated_images(name, most, tmp_path):
    encoder = load_image_encoder(VISION[name](tmp_path), device="cpu")
    assert encoder.pixels_after_resizing(1000, 1) == most


# A CLIP


@pytest.mark.parametrize("make", CLIPS.values(), ids=CLIPS)
def test_clip_gives_what_sentence_transformers_and_transformers_give(make, tmp_path):
    folder = make(tmp_path / "clip")
    reference = sentence_transformer(folder)
    texts, images = load_encoder(folder, device="cpu"), load_image_encoder(folder, device="cpu")
    found = texts.encode(TEXTS)
    assert_equal_vectors(found.vectors, reference.encode(TEXTS))
    assert_equal_vectors(images.encode(PICTURES), reference.encode(PICTURES))
    assert texts.normalizes == images.normalizes
    if not texts.normalizes:
        assert_equal_vectors(found.vectors, clip_features(folder, TEXTS))
    assert texts.max_length == reference.max_seq_length
    assert texts.embedding_dim == images.embedding_dim == PROJECTED
    assert texts.fingerprint == images.fingerprint


@pytest.mark.parametrize("make", CLIPS.values(), ids=CLIPS)
@pytest.mark.parametrize("half", ["texts", "images"])
def test_either_half_of_a_clip_writes_all_of_it(half, make, tmp_path):
    folder, written = make(tmp_path / "clip"), tmp_path / "written"
    written.mkdir()
    texts, images = load_encoder(folder, device="cpu"), load_image_encoder(folder, device="cpu")
    if half == "texts":
        write_encoder(texts, written)
    else:
        write_image_encoder(images, written)
    reference = sentence_transformer(written)
    expected = texts.encode(TEXTS).vectors, images.encode(PICTURES)
    assert_equal_vectors(reference.encode(TEXTS), expected[0])
    assert_equal_vectors(reference.encode(PICTURES), expected[1])
    again = load_encoder(written, device="cpu")
    assert_equal_vectors(again.encode(TEXTS).vectors, expected[0])
    assert again.max_length == texts.max_length
    assert_equal_vectors(load_image_encoder(written, device="cpu").encode(PICTURES), expected[1])


def test_texts_of_a_clip_run_without_padding(clip):
    encoder = load_encoder(clip, device="cpu")
    assert encoder.backbone.packed
    assert encoder.pooling == ("lasttoken",)
    # A pack of more tokens than a text may have.
    found = encoder.encode(TEXTS * 20, batch_tokens=5000)
    assert_same_rows(found.vectors, np.tile(encoder.encode(TEXTS).vectors, (20, 1)))
    assert found.truncated.sum() == 20
    with pytest.raises(ValueError, match="the model reads at most 77 tokens"):
        encoder.encode(TEXTS, max_length=78)
    assert_equal_vectors(encoder.encode(TEXTS, batch_tokens=10).vectors, clip_features(clip, TEXTS))


def test_a_tower_of_texts_alone_is_padded(tmp_path):
    """Outside a CLIP, transformers refuses packs of more tokens than a text may have."""
    folder = make_clip(tmp_path / "clip")
    model = hf.CLIPModel.from_pretrained(folder)
    model.text_model.save_pretrained(tmp_path / "texts")
    for file in folder.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "texts")
    encoder = load_encoder(tmp_path / "texts", device="cpu")
    assert not encoder.backbone.packed
    expected = sentence_transformer(tmp_path / "texts").encode(TEXTS)
    assert_equal_vectors(encoder.encode(TEXTS).vectors, expected)


@pytest.mark.parametrize("images_first", [True, False])
def test_texts_and_images_share_one_model_in_memory(images_first, clip, caplog):
    caplog.set_level(logging.INFO, "sk_sentemb.encoder.registry")
    readers = [load_encoder, load_image_encoder]
    halves = [read(clip, device="cpu") for read in readers[:: -1 if images_first else 1]]
    images, texts = halves if images_first else halves[::-1]
    model = images.model
    storage = {weight.data_ptr() for weight in model.parameters()}
    of_texts = [*texts.backbone.model.parameters(), texts.modules[1].linear.weight]
    of_images = [*images.tower.parameters(), images.modules[1].linear.weight]
    assert {weight.data_ptr() for weight in of_texts} < storage
    assert {weight.data_ptr() for weight in of_images} < storage
    assert len(of_texts) + len(of_images) + 1 == len(storage)  # and the temperature
    assert texts.towers is images.towers
    assert texts.backbone.lock is images.lock
    assert texts.n_bytes == images.n_bytes == sum(w.nbytes for w in model.parameters())
    # In any number format of their own.
    other = load_image_encoder(clip, device="cpu", dtype="bfloat16")
    assert other.towers is not images.towers
    assert other.towers is load_encoder(clip, device="cpu", dtype="bfloat16").towers


def test_a_clip_stays_in_memory_as_long_as_one_half_is_used(clip):
    release_models()
    images = load_image_encoder(clip, device="cpu")
    weights = weakref.ref(images.model)
    expected = load_encoder(clip, device="cpu").encode(TEXTS).vectors
    release_models()
    gc.collect()
    # The half of the texts is read again, and finds the model that that of the images has.
    texts = load_encoder(clip, device="cpu")
    assert texts.towers.model is images.model
    np.testing.assert_array_equal(texts.encode(TEXTS).vectors, expected)
    del images
    release_models()
    gc.collect()
    assert load_image_encoder(clip, device="cpu").model is texts.towers.model
    del texts
    release_models()
    gc.collect()
    assert weights() is None


def test_the_folder_of_a_clip_inside_is_the_same_model(clip):
    outside = load_encoder(clip, device="cpu")
    inside = load_image_encoder(clip / "0_CLIPModel", device="cpu")
    assert inside.towers is outside.towers


def test_texts_find_images_in_one_space(clip):
    texts, images = load_encoder(clip, device="cpu"), load_image_encoder(clip, device="cpu")
    model = hf.CLIPModel.from_pretrained(clip / "0_CLIPModel").eval()
    processor = hf.AutoImageProcessor.from_pretrained(clip / "0_CLIPModel")
    tokenizer = hf.AutoTokenizer.from_pretrained(clip / "0_CLIPModel")
    with torch.inference_mode():
        expected = model(
            **tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"),
            **processor(images=PICTURES, return_tensors="pt"),
        ).logits_per_text
        expected /= model.logit_scale.exp()
    u = texts.with_pooling(normalize=True).encode(TEXTS).vectors
    v = images.with_pooling(normalize=True).encode(PICTURES)
    np.testing.assert_allclose(u @ v.T, expected.numpy(), atol=1e-5)


def test_a_clip_that_reads_texts_off_another_token_is_refused(clip):
    def change(config):
        config["text_config"]["eos_token_id"] = config["text_config"]["bos_token_id"]

    edit(clip / "0_CLIPModel" / "config.json", change)
    with pytest.raises(CheckpointError, match="does not read a text off its last token"):
        load_encoder(clip)
    load_image_encoder(clip)


def test_a_clip_with_another_pooling_of_texts_cannot_be_saved(clip, tmp_path):
    embedder = SentenceEmbedder(clip, pooling="mean").fit(TEXTS)
    with pytest.raises(ValueError, match=r"has no place for pooling=\['mean'\]"):
        embedder.save_pretrained(tmp_path / "saved")
    images = ImageEmbedder(clip, pooling="mean").fit(PICTURES)
    with pytest.raises(ValueError, match="has no place for pooling='mean'"):
        images.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.TruncationWarning")
def test_the_texts_of_a_clip_can_be_fine_tuned(clip, tmp_path):
    images = ImageEmbedder(clip).fit(PICTURES)
    before = SentenceEmbedder(clip).fit(TEXTS)
    labels = np.arange(len(TEXTS)) % 2
    tuned = SentenceEmbedder(clip, fine_tuner=FineTuner(epochs=2, random_state=0))
    vectors = tuned.fit(TEXTS, labels).transform(TEXTS)
    assert_other_rows(vectors, before.transform(TEXTS))
    # The model that others have is as it was, and its images are in the folder that is written.
    assert_equal_vectors(before.transform(TEXTS), clip_features(clip, TEXTS))
    tuned.save_pretrained(tmp_path / "tuned")
    assert_same_rows(SentenceEmbedder(tmp_path / "tuned").fit_transform(TEXTS), vectors)
    assert_same_rows(
        ImageEmbedder(tmp_path / "tuned").fit_transform(PICTURES), images.transform(PICTURES)
    )
    assert_equal_vectors(sentence_transformer(tmp_path / "tuned").encode(TEXTS), vectors)
    assert_same_rows(pickle.loads(pickle.dumps(tuned)).transform(TEXTS), vectors)


def test_a_clip_scores_no_pairs(clip):
    with pytest.raises(NoHeadError, match="has no head that scores pairs"):
        CrossEncoderScorer(clip).fit([("a", "b")])


def test_a_clip_comes_from_the_hub(tmp_path, run_python):
    folder = make_clip(tmp_path / "clip", layout="old")
    code = """
import os, sys
os.environ.update(HF_ENDPOINT=sys.argv[1], HF_HOME=sys.argv[2])
os.environ.pop("HF_HUB_OFFLINE", None)
import numpy as np
from PIL import Image
from sk_sentemb.encoder import load_encoder, load_image_encoder
images = load_image_encoder("sentence-transformers/clip-tiny", device="cpu")
texts = load_encoder("clip-tiny", device="cpu")
assert texts.towers is images.towers
np.save(sys.argv[3], images.encode([Image.new("RGB", (30, 40), "teal")]))
"""
    hub = Hub()
    with hub.running():
        hub.publish("sentence-transformers/clip-tiny", folder)
        run_python(code, hub.url, tmp_path / "home", tmp_path / "vectors.npy")
    expected = sentence_transformer(folder).encode([Image.new("RGB", (30, 40), "teal")])
    assert_equal_vectors(np.load(tmp_path / "vectors.npy"), expected)


# What is refused


def error_of(read, folder):
    with pytest.raises(CheckpointError) as raised:
        read(folder, device="cpu")
    return str(raised.value)


@pytest.mark.parametrize("name", ["vit", "siglip", "dinov2"])
def test_models_of_images_embed_no_texts(name, tmp_path):
    error = error_of(load_encoder, VISION[name](tmp_path))
    assert "reads images, and of the models that do, only a CLIP embeds texts here" in error


def test_models_of_texts_embed_no_images(tmp_path):
    error = error_of(load_image_encoder, make_checkpoint(tmp_path / "bert"))
    assert "does not read images. Pass it to a SentenceEmbedder" in error
    error = error_of(load_image_encoder, make_static_checkpoint(tmp_path / "static"))
    assert "a table of token vectors: no images" in error


def test_other_models_of_images_and_texts_are_named(tmp_path):
    hf.BlipConfig().save_pretrained(tmp_path)
    assert "of the kind 'blip'" in error_of(load_image_encoder, tmp_path)


def test_a_module_that_is_no_clip(clip):
    hf.BertConfig().save_pretrained(clip / "0_CLIPModel")
    for read in (load_encoder, load_image_encoder):
        assert "its config.json is of another model" in error_of(read, clip)


def test_no_way_from_images_to_pixels(vit):
    file = vit / "preprocessor_config.json"
    file.write_text(file.read_text()[:-20])
    assert "cannot load the image processor in" in error_of(load_image_encoder, vit)
    file.unlink()
    assert "has no preprocessor_config.json" in error_of(load_image_encoder, vit)


def test_pixels_of_another_size_than_the_model_reads(vit):
    square = {"height": 30, "width": 30}
    edit(vit / "preprocessor_config.json", lambda config: config.update(size=square))
    assert "does not run as other models of images do" in error_of(load_image_encoder, vit)


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
    assert "pools what CLIPModel has pooled already" in error_of(load_image_encoder, clip)
    lines = [{"idx": 0, "name": "0", "path": "", "type": "x.Transformer"}, pooling]
    (vit / "modules.json").write_text(json.dumps(lines))
    shutil.copytree(clip / "1_Pooling", vit / "1_Pooling")
    assert "is for 99 dimensions, but gets 32" in error_of(load_image_encoder, vit)


# Copies


def test_the_fingerprint_is_of_the_processing_too(vit):
    before = load_image_encoder(vit, device="cpu")
    edit(vit / "preprocessor_config.json", lambda config: config.update(image_mean=[0.1] * 3))
    after = load_image_encoder(vit, device="cpu")
    assert after.fingerprint != before.fingerprint
    assert after.encoding_params() != before.encoding_params()
    assert_other_rows(after.encode(PICTURES), before.encode(PICTURES))
    with pytest.raises(ModelChangedError, match="its files have changed"):
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
