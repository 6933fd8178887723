"""An Encoder, written as a folder that sentence-transformers reads."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from .backbone import StaticBackbone
from .checkpoint import SETTINGS_FILES
from .encoder import Encoder
from .files import DEFINING_FILES, SAFETENSORS, write_json
from .quiet import quiet_transformers


def _foreign_files(folder: Path) -> list[str]:
    """Return the names in a folder that a checkpoint does not have; without modules.json, all."""
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if "modules.json" not in names:
        return names
    known = (
        *DEFINING_FILES,
        "*.json",
        "*.safetensors",
        "*.bin",
        "*.md",
        ".gitattributes",
        "[0-9]_*",
    )
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in known)]


def write_encoder(encoder: Encoder, folder: Path) -> None:
    """Write a checkpoint that sentence-transformers reads, weights as safetensors.

    Parameters
    ----------
    encoder : Encoder
        What to write, in the number format it runs in.
    folder : Path
        A folder that exists and is empty.
    """
    modules = list(encoder.modules)
    if isinstance(encoder.backbone, StaticBackbone):
        kinds = ["StaticEmbedding"]
        modules = modules[1:]  # its pooling is part of it
        _write_static(encoder.backbone, encoder, folder)
    else:
        kinds = ["Transformer"]
        with quiet_transformers():
            encoder.backbone.model.save_pretrained(folder)
        encoder.saved_tokenizer.save_pretrained(folder)  # type: ignore[union-attr]
        write_json(
            folder / SETTINGS_FILES[0],
            {"max_seq_length": encoder.max_length, "do_lower_case": encoder.tokenizer.lowercase},
        )
    paths = [""]
    for module in modules:
        kinds.append(type(module).__name__)
        paths.append(f"{len(paths)}_{kinds[-1]}")
        module.write(folder / paths[-1])
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
    )
    write_json(folder / "config_sentence_transformers.json", _written_prompts(encoder))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes ``target`` only when all went well.

    Parameters
    ----------
    target : Path
        Must not exist, be empty, or hold a checkpoint, which is replaced.

    Yields
    ------
    Path
        An empty folder beside it.

    Raises
    ------
    FileExistsError
        If ``target`` is a file or a folder of something else.
    """
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; pass the folder to write the checkpoint to.")
    if foreign := _foreign_files(target):
        raise FileExistsError(
            f"{target} holds {foreign[:3]}, which are not of a checkpoint and would be lost; pass a "
            "new folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh, old = Path(scratch, "new"), Path(scratch, "old")
        fresh.mkdir()
        yield fresh
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)


def _write_static(backbone: StaticBackbone, encoder: Encoder, folder: Path) -> None:
    save_file(
        {"embedding.weight": backbone.embedding.weight.cpu().contiguous()}, folder / SAFETENSORS
    )
    encoder.tokenizer.save(folder / "tokenizer.json")


def _written_prompts(encoder: Encoder) -> dict[str, Any]:
    prompts = dict(encoder.prompts)
    name = next((key for key, text in prompts.items() if text == encoder.default_prompt), None)
    if encoder.default_prompt and name is None:
        name = next(free for free in ("default", "prefix", "prompt", "_") if free not in prompts)
        prompts[name] = encoder.default_prompt
    return {
        "prompts": prompts,
        "default_prompt_name": name if encoder.default_prompt else None,
        "similarity_fn_name": encoder.similarity,
        "truncate_dim": encoder.truncate_dim,
    }
