"""Tiny random models that read images, made of the real transformers classes with their processors.

As in `checkpoints`, the weights are random but large, so that a vector depends on every patch and its
position.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import processors

from tests.helpers.checkpoints import _bpe, _draw, _random, _save_again

SIDE = 24
PATCH = 6
HIDDEN = 32
PROJECTED = 20
N_PATCHES = (SIDE // PATCH) ** 2
# The registers of a model that has some.
N_REGISTERS = 2

_SIZES = {
    "hidden_size": HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_PATCHES = {"image_size": SIDE, "patch_size": PATCH}
_CONVOLUTIONS = {"depths": [1, 1, 1, 1], "image_size": SIDE}

_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def _clip_tokenizer(folder: Path, max_tokens: int) -> hf.PreTrainedTokenizerFast:
    """Save a tokenizer with the template of CLIP's; the end of a text has the highest id, as there."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _bpe(())
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    begin, end = _SPECIAL
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        model_max_length=max_tokens,
    )
    fast.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B {end}",
        special_tokens=[(token, fast.convert_tokens_to_ids(token)) for token in _SPECIAL],
    )
    fast.save_pretrained(folder)
    return fast


def _save(folder: Path, model: hf.PreTrainedModel, processor: Any, seed: int, dtype: str) -> Path:
    _draw(model, _random(seed))
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor(name: str) -> Any:
    # With the name of the one that needs torchvision, transformers warns where it is not there.
    return getattr(hf, f"{name}ImageProcessorPil", None) or getattr(hf, f"{name}ImageProcessor")


def _cropped(name: str) -> Any:
    """Resize the shorter edge, and crop the middle."""
    square = {"height": SIDE, "width": SIDE}
    return _processor(name)(size={"shortest_edge": SIDE}, crop_size=square)


def _squeezed(name: str) -> Any:
    return _processor(name)(size={"height": SIDE, "width": SIDE})


def make_clip(
    folder: Path,
    *,
    layout: str = "plain",
    legacy_end: bool = False,
    normalize: bool = False,
    max_tokens: int = 77,
    dtype: str = "float32",
    seed: int = 0,
) -> Path:
    """Write a CLIP: plain, or as sentence-transformers saves it, before 5.4 ("old") or since ("new").

    With `legacy_end`, config.json names a wrong end of texts, as those of OpenAI do.
    """
    inside = folder / "0_CLIPModel" if layout == "old" else folder
    tokenizer = _clip_tokenizer(inside, max_tokens)
    text: dict[str, Any] = {
        **_SIZES,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": 0 if legacy_end else tokenizer.bos_token_id,
        "eos_token_id": 2 if legacy_end else tokenizer.eos_token_id,
    }
    # Another width than the text's, so that nothing can be mixed up.
    vision = {**_SIZES, **_PATCHES, "hidden_size": 24}
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTED)
    with torch.random.fork_rng(devices=[]):
        model = hf.CLIPModel(config)
    _save(inside, model, _cropped("CLIP"), seed, dtype)
    if layout == "old":
        kinds = ["CLIPModel"] + ["Normalize"] * normalize
        lines = [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(lines))
        known = {"__version__": {"sentence_transformers": "2.0.0"}}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(known))
    if layout == "new":
        _save_again(folder)
    return folder


def make_siglip(folder: Path, *, dtype: str = "float32", seed: int = 0) -> Path:
    """Write a SigLIP, both towers, without its tokenizer, which is sentencepiece's."""
    text = {**_SIZES, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = hf.SiglipConfig(text_config=text, vision_config={**_SIZES, **_PATCHES})
    with torch.random.fork_rng(devices=[]):
        model = hf.SiglipModel(config)
    return _save(folder, model, _squeezed("Siglip"), seed, dtype)


def make_siglip2(folder: Path, *, dtype: str = "float32", seed: int = 0) -> Path:
    """Write a SigLIP 2 of the kind that keeps the shape of images, and masks patches."""
    text = {**_SIZES, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**_SIZES, "patch_size": PATCH, "num_patches": N_PATCHES}
    config = hf.Siglip2Config(text_config=text, vision_config=vision)
    with torch.random.fork_rng(devices=[]):
        model = hf.Siglip2Model(config)
    processor = _processor("Siglip2")(patch_size=PATCH, max_num_patches=N_PATCHES)
    return _save(folder, model, processor, seed, dtype)


def _make(
    folder: Path,
    model: Callable[[], hf.PreTrainedModel],
    processor: Any,
    *,
    dtype: str = "float32",
    seed: int = 0,
) -> Path:
    with torch.random.fork_rng(devices=[]):
        built = model()
    return _save(folder, built, processor, seed, dtype)


def _vit() -> hf.PreTrainedModel:
    return hf.ViTModel(hf.ViTConfig(**_SIZES, **_PATCHES))


def _vit_classifier() -> hf.PreTrainedModel:
    return hf.ViTForImageClassification(hf.ViTConfig(**_SIZES, **_PATCHES, num_labels=3))


def _dinov2() -> hf.PreTrainedModel:
    sizes = {**_SIZES, "mlp_ratio": 2}
    del sizes["intermediate_size"]
    return hf.Dinov2Model(hf.Dinov2Config(**sizes, **_PATCHES))


def _dinov2_with_registers() -> hf.PreTrainedModel:
    sizes = {**_SIZES, "mlp_ratio": 2, "num_register_tokens": N_REGISTERS}
    del sizes["intermediate_size"]
    return hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**sizes, **_PATCHES))


def _swin() -> hf.PreTrainedModel:
    config = hf.SwinConfig(
        image_size=SIDE, patch_size=3, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2
    )
    return hf.SwinModel(config)


def _convnext() -> hf.PreTrainedModel:
    return hf.ConvNextModel(
        hf.ConvNextConfig(hidden_sizes=[8, 8, 8, 16], patch_size=2, **_CONVOLUTIONS)
    )


def _clip_vision() -> hf.PreTrainedModel:
    return hf.CLIPVisionModel(hf.CLIPVisionConfig(**_SIZES, **_PATCHES))


def _clip_vision_projected() -> hf.PreTrainedModel:
    config = hf.CLIPVisionConfig(**_SIZES, **_PATCHES, projection_dim=PROJECTED)
    return hf.CLIPVisionModelWithProjection(config)


VISION = {
    "clip": make_clip,
    "siglip": make_siglip,
    "siglip2": make_siglip2,
    "vit": partial(_make, model=_vit, processor=_squeezed("ViT")),
    "vit classifier": partial(_make, model=_vit_classifier, processor=_squeezed("ViT")),
    "dinov2": partial(_make, model=_dinov2, processor=_cropped("Bit")),
    "dinov2 with registers": partial(
        _make, model=_dinov2_with_registers, processor=_cropped("Bit")
    ),
    "swin": partial(_make, model=_swin, processor=_squeezed("ViT")),
    "convnext": partial(_make, model=_convnext, processor=_squeezed("ViT")),
    "clip vision": partial(_make, model=_clip_vision, processor=_cropped("CLIP")),
    "clip vision, projected": partial(
        _make, model=_clip_vision_projected, processor=_cropped("CLIP")
    ),
}
