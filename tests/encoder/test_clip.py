import gc
import logging
import pickle
import shutil
import weakref
from functools import partial

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

from sk_sentemb import (
    CrossEncoderScorer,
    FineTuner,
    ImageEmbedder,
    SentenceEmbedder,
    release_models,
)
from sk_sentemb.encoder import load_encoder, load_image_encoder, save_encoder
from sk_sentemb.exceptions import CheckpointError, NoHeadError
from tests.helpers.checkpoints import TEXTS, edit
from tests.helpers.hub import Hub
from tests.helpers.images import PICTURES
from tests.helpers.tiny_models import assert_other_rows, assert_same_rows
from tests.helpers.vision_checkpoints import PROJECTED, make_clip
from tests.helpers.vision_references import (
    assert_equal_vectors,
    clip_features,
    sentence_transformer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = {
    "plain": make_clip,
    "old layout": partial(make_clip, layout="old"),
    "new layout": partial(make_clip, layout="new"),
    "old end of texts": partial(make_clip, layout="old", legacy_end=True),
    "normalised": partial(make_clip, layout="old", normalize=True),
    "short texts": partial(make_clip, max_tokens=20),
}


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
        save_encoder(texts, written)
    else:
        save_encoder(images, written)
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
    of_images = [*images.vision_model.parameters(), images.modules[1].linear.weight]
    assert {weight.data_ptr() for weight in of_texts} < storage
    assert {weight.data_ptr() for weight in of_images} < storage
    assert len(of_texts) + len(of_images) + 1 == len(storage)  # and the temperature
    assert texts.shared_model is images.shared_model
    assert texts.backbone.lock is images.lock
    assert texts.n_bytes == images.n_bytes == sum(w.nbytes for w in model.parameters())
    # In any number format of their own.
    other = load_image_encoder(clip, device="cpu", dtype="bfloat16")
    assert other.shared_model is not images.shared_model
    assert other.shared_model is load_encoder(clip, device="cpu", dtype="bfloat16").shared_model


def test_a_clip_stays_in_memory_as_long_as_one_half_is_used(clip):
    release_models()
    images = load_image_encoder(clip, device="cpu")
    weights = weakref.ref(images.model)
    expected = load_encoder(clip, device="cpu").encode(TEXTS).vectors
    release_models()
    gc.collect()
    # The half of the texts is read again, and finds the model that that of the images has.
    texts = load_encoder(clip, device="cpu")
    assert texts.shared_model.model is images.model
    np.testing.assert_array_equal(texts.encode(TEXTS).vectors, expected)
    del images
    release_models()
    gc.collect()
    assert load_image_encoder(clip, device="cpu").model is texts.shared_model.model
    del texts
    release_models()
    gc.collect()
    assert weights() is None


def test_the_folder_of_a_clip_inside_is_the_same_model(clip):
    outside = load_encoder(clip, device="cpu")
    inside = load_image_encoder(clip / "0_CLIPModel", device="cpu")
    assert inside.shared_model is outside.shared_model


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
    with pytest.raises(CheckpointError, match="does not pool the last token of a text"):
        load_encoder(clip)
    load_image_encoder(clip)


def test_a_clip_with_another_pooling_of_texts_cannot_be_saved(clip, tmp_path):
    embedder = SentenceEmbedder(clip, pooling="mean").fit(TEXTS)
    with pytest.raises(ValueError, match=r"cannot be saved with pooling=\['mean'\]"):
        embedder.save_pretrained(tmp_path / "saved")
    images = ImageEmbedder(clip, pooling="mean").fit(PICTURES)
    with pytest.raises(ValueError, match="cannot be saved with pooling='mean'"):
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
    with pytest.raises(NoHeadError, match="has no classification head"):
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
assert texts.shared_model is images.shared_model
np.save(sys.argv[3], images.encode([Image.new("RGB", (30, 40), "teal")]))
"""
    hub = Hub()
    with hub.running():
        hub.publish("sentence-transformers/clip-tiny", folder)
        run_python(code, hub.url, tmp_path / "home", tmp_path / "vectors.npy")
    expected = sentence_transformer(folder).encode([Image.new("RGB", (30, 40), "teal")])
    assert_equal_vectors(np.load(tmp_path / "vectors.npy"), expected)
