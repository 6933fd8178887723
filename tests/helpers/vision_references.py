"""What transformers and sentence-transformers compute for images and texts."""

import numpy as np
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer

from tests.helpers.images import PICTURES


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
