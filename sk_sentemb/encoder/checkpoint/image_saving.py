"""An ImageEncoder, written as a folder that sentence-transformers reads."""

from pathlib import Path

from ..image_encoder import ImageEncoder
from ..model_files import write_json
from ..modules import Pooler
from ..transformers_logging import silence_transformers
from .clip import FOLDER
from .layout import CLIP, CONFIG
from .saving import write_modules


def write_image_encoder(encoder: ImageEncoder, folder: Path) -> None:
    """Write a checkpoint, weights as safetensors; of a CLIP, both towers."""
    pooling, *others = encoder.modules
    kind, path = "Transformer", ""
    if encoder.pooling == "auto":
        others = others[1:]  # the projection is part of the model
    elif hasattr(encoder.model, "visual_projection"):
        raise ValueError(
            f"a CLIP's folder has no place for pooling={encoder.pooling!r}: its images are projected. "
            "Pass pooling='auto'."
        )
    if encoder.towers is not None:
        kind, path = CLIP, FOLDER
        model = encoder.towers.model
        encoder.towers.write(folder / path, model.text_model, model.text_projection)
    else:
        with silence_transformers():
            encoder.model.save_pretrained(folder)
            encoder.processor.save_pretrained(folder)
        takes_pooled = isinstance(pooling, Pooler)
        write_json(folder / "sentence_bert_config.json", _settings(takes_pooled))
        if not takes_pooled:
            others = [pooling, *others]
    write_modules(folder, kind, path, others)
    write_json(folder / CONFIG, {"truncate_dim": encoder.truncate_dim})


def _settings(takes_pooled: bool) -> dict:
    """Say which of the model's outputs is read, as releases since 5.4 do."""
    output = "pooler_output" if takes_pooled else "last_hidden_state"
    return {
        "transformer_task": "feature-extraction",
        "modality_config": {"image": {"method": "forward", "method_output_name": output}},
        "module_output_name": "sentence_embedding" if takes_pooled else "token_embeddings",
    }
