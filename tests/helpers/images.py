"""Pictures, and tiny models of images that are there while tests are still collected."""

import atexit
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from tests.helpers.vision_checkpoints import VISION, make_clip

_SCRATCH = TemporaryDirectory(prefix="sk_sentemb-")
atexit.register(_SCRATCH.cleanup)
SCRATCH = Path(_SCRATCH.name)

TINY_CLIP = make_clip(Path(SCRATCH, "clip"), layout="old")
OTHER_CLIP = make_clip(Path(SCRATCH, "other-clip"), layout="old", seed=1)
TINY_VIT = VISION["vit"](Path(SCRATCH, "vit"))

# Height and width.
SHAPES = [(40, 60), (24, 24), (1, 1), (1, 50), (3, 50), (50, 3), (7, 200), (100, 30)]


def noise(height: int, width: int, *, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return pixels of no meaning."""
    shape = (height, width, channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


PICTURES = [Image.fromarray(noise(*shape, seed=i)) for i, shape in enumerate(SHAPES)]


def shaded(height: int = 20, width: int = 30) -> Image.Image:
    """Return a picture with another colour in each corner, so that it shows how it was turned."""
    down, right = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
    return Image.fromarray(np.dstack([down, right, 255 - down]).astype(np.uint8))


def save_all(pictures: list[Image.Image], folder: Path) -> list[Path]:
    """Save pictures without loss, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    return paths
