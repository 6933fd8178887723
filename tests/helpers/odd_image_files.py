"""Files that are images in odd ways, and files that are none, written into a folder.

Each function takes a path and writes to it. What `READ` writes has an image, which the value says if it
is known to the last bit; what `CORRUPT` writes has none, for a reason that the value matches.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, TiffImagePlugin
from sklearn.utils.fixes import parse_version

from tests.helpers.images import noise, shaded

_WHITE = (255, 255, 255)
_GREY = noise(20, 30, channels=1)
_RGB = shaded()


def _bytes_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _grey_rgb(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(grey).convert("RGB")


# Files with an image, and the image where it is kept to the last bit.


def _file(picture: Image.Image, kind: str, **options: Any) -> Callable[[Path], None]:
    return lambda path: picture.save(path, kind, **options)


def _on_white(rgba: Image.Image) -> Image.Image:
    """Put a picture on white, by the formula."""
    pixels = np.asarray(rgba.convert("RGBA"), dtype=float)
    alpha = pixels[:, :, 3:] / 255
    return Image.fromarray(np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))


_RGBA = Image.fromarray(np.dstack([np.asarray(_RGB), noise(20, 30, channels=1) // 128 * 255]))
_LA = Image.fromarray(np.dstack([_GREY, noise(20, 30, channels=1, seed=1) // 128 * 255]), "LA")
_PALETTE = _RGB.quantize(16)
_CMYK = _RGB.convert("CMYK")
_SIXTEEN = (_GREY.astype(np.uint16) * 257)[:, ::-1].copy()
_HEIGHTS = np.linspace(-400, 8000, 600, dtype=np.float32).reshape(20, 30)
_FRAMES = [Image.new("RGB", (30, 20), colour) for colour in ("red", "lime", "blue")]


def _key_colour(mode: str) -> tuple[Image.Image, Any, Image.Image]:
    """Return a picture, the colour that shall be transparent, and what is to be seen."""
    if mode == "P":
        seen = np.asarray(_PALETTE.convert("RGB")).copy()
        index = int(np.asarray(_PALETTE)[0, 0])
        seen[np.asarray(_PALETTE) == index] = _WHITE
        return _PALETTE, index, Image.fromarray(seen)
    if mode == "L":
        grey = _GREY // 64 * 64
        seen = np.where(grey == 128, 255, grey).astype(np.uint8)
        return Image.fromarray(grey), 128, _grey_rgb(seen)
    flat = np.zeros((20, 30, 3), dtype=np.uint8)
    flat[5:10] = (1, 2, 3)
    seen = flat.copy()
    seen[5:10] = _WHITE
    return Image.fromarray(flat), (1, 2, 3), Image.fromarray(seen)


def _palette_of_opacities(path: Path) -> None:
    opacities = bytes([0, 128, 255] + [255] * 13)
    _PALETTE.save(path, "PNG", transparency=opacities)


def _palette_with_opacities() -> Image.Image:
    opacities = np.array([0, 128, 255] + [255] * 13)[np.asarray(_PALETTE)]
    return _on_white(
        Image.fromarray(
            np.dstack([np.asarray(_PALETTE.convert("RGB")), opacities]).astype(np.uint8)
        )
    )


def _with_orientation(kind: str, orientation: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        _turned(orientation).save(path, kind, exif=exif, **options)

    return write


def _turned(orientation: int) -> Image.Image:
    """Return the picture as a camera stores it that was held in some way."""
    turn = Image.Transpose
    back = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    return _RGB.transpose(back[orientation]) if orientation in back else _RGB


def _damaged_exif(path: Path) -> None:
    path.write_bytes(_bytes_of(_RGB, "PNG", exif=b"Exif\x00\x00MM\x00*\x00\xff\xff\xff\xff\xff"))


def _with_tail(path: Path) -> None:
    path.write_bytes(_bytes_of(_RGB, "PNG") + b"\x00" * 999 + b"<html>")


def _through_a_link(path: Path) -> None:
    target = path.with_name("target of a link")
    _RGB.save(target, "PNG")
    path.symlink_to(target)


def _tiff_of_pages(path: Path) -> None:
    _FRAMES[0].save(path, "TIFF", save_all=True, append_images=_FRAMES[1:])


def _big_endian(path: Path) -> None:
    Image.frombytes("I;16B", (30, 20), _SIXTEEN.astype(">u2").tobytes()).save(path, "TIFF")


def _animation(kind: str, **options: Any) -> Callable[[Path], None]:
    first, *others = _FRAMES
    return _file(first, kind, save_all=True, append_images=others, duration=50, **options)


READ: dict[str, tuple[Callable[[Path], None], Image.Image | None]] = {
    "colours.png": (_file(_RGB, "PNG"), _RGB),
    "colours.bmp": (_file(_RGB, "BMP"), _RGB),
    "colours.ppm": (_file(_RGB, "PPM"), _RGB),
    "colours.tga": (_file(_RGB, "TGA"), _RGB),
    "colours.ico": (_file(_RGB, "ICO"), None),
    "colours.tiff": (_file(_RGB, "TIFF"), _RGB),
    "lzw.tiff": (_file(_RGB, "TIFF", compression="tiff_lzw"), _RGB),
    "lossless.webp": (_file(_RGB, "WEBP", lossless=True), _RGB),
    "lossy.webp": (_file(_RGB, "WEBP"), None),
    "colours.jpg": (_file(_RGB, "JPEG"), None),
    "progressive.jpg": (_file(_RGB, "JPEG", progressive=True), None),
    "grey.png": (_file(Image.fromarray(_GREY), "PNG"), _grey_rgb(_GREY)),
    "grey.jpg": (_file(Image.fromarray(_GREY), "JPEG"), None),
    "opacity.png": (_file(_RGBA, "PNG"), _on_white(_RGBA)),
    "opacity.webp": (_file(_RGBA, "WEBP", lossless=True, exact=True), _on_white(_RGBA)),
    "grey and opacity.png": (_file(_LA, "PNG"), _on_white(_LA)),
    "palette.png": (_file(_PALETTE, "PNG"), _PALETTE.convert("RGB")),
    "palette with a hole.png": (
        _file(_key_colour("P")[0], "PNG", transparency=_key_colour("P")[1]),
        _key_colour("P")[2],
    ),
    "palette with a hole.gif": (
        _file(_key_colour("P")[0], "GIF", transparency=_key_colour("P")[1]),
        _key_colour("P")[2],
    ),
    "palette of opacities.png": (_palette_of_opacities, _palette_with_opacities()),
    "colours with a hole.png": (
        _file(_key_colour("RGB")[0], "PNG", transparency=_key_colour("RGB")[1]),
        _key_colour("RGB")[2],
    ),
    "greys with a hole.png": (
        _file(_key_colour("L")[0], "PNG", transparency=_key_colour("L")[1]),
        _key_colour("L")[2],
    ),
    "black and white.png": (
        _file(Image.fromarray(_GREY > 127), "PNG"),
        _grey_rgb((_GREY > 127) * np.uint8(255)),
    ),
    "sixteen bits.png": (_file(Image.fromarray(_SIXTEEN), "PNG"), _grey_rgb(_GREY[:, ::-1])),
    "sixteen bits.tiff": (_file(Image.fromarray(_SIXTEEN), "TIFF"), _grey_rgb(_GREY[:, ::-1])),
    "sixteen bits, big end first.tiff": (_big_endian, _grey_rgb(_GREY[:, ::-1])),
    "thirty-two bits.tiff": (
        _file(Image.fromarray(_SIXTEEN.astype(np.int32)), "TIFF"),
        _grey_rgb(_GREY[:, ::-1]),
    ),
    "floats to one.tiff": (
        _file(Image.fromarray(_GREY.astype(np.float32) / 255), "TIFF"),
        _grey_rgb(_GREY),
    ),
    "floats to 255.tiff": (
        _file(Image.fromarray(_GREY.astype(np.float32)), "TIFF"),
        _grey_rgb(_GREY),
    ),
    "heights of mountains.tiff": (
        _file(Image.fromarray(_HEIGHTS), "TIFF"),
        _grey_rgb(np.rint((_HEIGHTS.astype(float) + 400) * 255 / 8400).astype(np.uint8)),
    ),
    "cmyk.jpg": (_file(_CMYK, "JPEG"), None),
    "cmyk.tiff": (_file(_CMYK, "TIFF"), _CMYK.convert("RGB")),
    "ycbcr.tiff": (_file(_RGB.convert("YCbCr"), "TIFF"), None),
    "lab.tiff": (_file(Image.new("LAB", (30, 20), (128, 30, 200)), "TIFF"), None),
    "animated.gif": (_animation("GIF"), _FRAMES[0]),
    "animated.png": (_animation("PNG"), _FRAMES[0]),
    "animated.webp": (_animation("WEBP", lossless=True), _FRAMES[0]),
    "pages.tiff": (_tiff_of_pages, _FRAMES[0]),
    "two pictures.mpo": (
        _file(_RGB, "MPO", save_all=True, append_images=[_FRAMES[0]]),
        None,
    ),
    **{
        f"held in way {i}.{kind.lower()}": (_with_orientation(kind, i), _RGB)
        for i in range(1, 9)
        for kind in ("PNG", "WEBP", "TIFF")
    },
    "held in no way.png": (_with_orientation("PNG", 99), _RGB),
    "damaged exif.png": (_damaged_exif, _RGB),
    "one pixel.png": (_file(_RGB.crop((3, 3, 4, 4)), "PNG"), _RGB.crop((3, 3, 4, 4))),
    "long.png": (_file(_RGB.resize((900, 2)), "PNG"), _RGB.resize((900, 2))),
    "high.png": (_file(_RGB.resize((1, 300)), "PNG"), _RGB.resize((1, 300))),
    "in truth a gif.jpg": (_file(_PALETTE, "GIF"), _PALETTE.convert("RGB")),
    "in truth a png.txt": (_file(_RGB, "PNG"), _RGB),
    "no suffix": (_file(_RGB, "PNG"), _RGB),
    "ünï  🙂\n'\".png": (_file(_RGB, "PNG"), _RGB),
    "with a tail.png": (_with_tail, _RGB),
    "through a link.png": (_through_a_link, _RGB),
}
if parse_version(PIL.__version__) < parse_version("13"):
    del READ["ycbcr.tiff"]  # Pillow takes it for a file of four channels


# Files without.


def _content(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def _cut(kind: str, part: float, **options: Any) -> Callable[[Path], Any]:
    whole = _bytes_of(Image.fromarray(noise(90, 90)), kind, **options)
    return _content(whole[: int(len(whole) * part)])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    """Write a PNG by hand, whose header may say anything."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(data))
        + _chunk(b"IEND", b"")
    )


def _wrong_checksum() -> bytes:
    content = bytearray(_bytes_of(Image.fromarray(noise(90, 90)), "PNG"))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def _zip_of_a_picture() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("colours.png", _bytes_of(_RGB, "PNG"))
    return stream.getvalue()


def _postscript() -> bytes:
    return (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\n"
        b"0 0 moveto 30 20 lineto stroke\nshowpage\n%%EOF\n"
    )


def _holes_in_floats() -> bytes:
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    values[3, 3] = np.nan
    return _bytes_of(Image.fromarray(values), "TIFF")


def _huge_tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[258], tags[259], tags[262] = 60000, 60000, 8, 1, 1
    tags[273], tags[278], tags[279] = 8, 60000, 9
    stream = io.BytesIO()
    tags.save(stream)
    return stream.getvalue()


def _huge_gif() -> bytes:
    screen = struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    return (
        b"GIF89a"
        + screen
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\x02\x02D\x01\x00;"
    )


_UNKNOWN = "not an image in a format that Pillow supports"
_TOO_MANY = "more than max_pixels|exceeds limit"
CORRUPT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zero bytes.png": (_content(b""), _UNKNOWN),
    "zeros.png": (_content(b"\x00" * 4096), _UNKNOWN),
    "text.png": (_content(b"This is no picture.\n" * 99), _UNKNOWN),
    "page of an error.jpg": (_content(b"<!DOCTYPE html><title>404</title>"), _UNKNOWN),
    "drawing.svg": (_content(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), _UNKNOWN),
    "noise.jpg": (_content(noise(50, 50).tobytes()), _UNKNOWN),
    "archive.png": (_content(_zip_of_a_picture()), _UNKNOWN),
    "signature.png": (_content(b"\x89PNG\r\n\x1a\n"), ""),
    "signature.jpg": (_content(b"\xff\xd8\xff\xe0"), ""),
    "signature.gif": (_content(b"GIF89a"), ""),
    "half.png": (_cut("PNG", 0.5), "truncated"),
    "nearly all.png": (_cut("PNG", 0.98), "truncated"),
    "half.jpg": (_cut("JPEG", 0.5), "truncated"),
    "half, progressive.jpg": (_cut("JPEG", 0.5, progressive=True), "truncated"),
    "half.gif": (_cut("GIF", 0.5), ""),
    "half.webp": (_cut("WEBP", 0.5), ""),
    "half.bmp": (_cut("BMP", 0.5), "truncated"),
    "half.tiff": (_cut("TIFF", 0.5), ""),
    "half, packed.tiff": (_cut("TIFF", 0.5, compression="tiff_lzw"), ""),
    "half.ppm": (_cut("PPM", 0.5), ""),
    "header alone.jpg": (_cut("JPEG", 0.05), ""),
    "wrong checksum.png": (_content(_wrong_checksum()), ""),
    "no pixels.png": (_content(_png(0, 20)), ""),
    "no data.png": (_content(_png(30, 20)), ""),
    "bomb.png": (_content(_png(100_000, 100_000)), _TOO_MANY),
    "bomb.gif": (_content(_huge_gif()), _TOO_MANY),
    "bomb.bmp": (
        _content(
            b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 40000, 40000, 1, 24, *[0] * 6)
        ),
        _TOO_MANY,
    ),
    "bomb.tiff": (_content(_huge_tiff()), _TOO_MANY),
    "bomb when enlarged.png": (_content(_png(10_000_000, 1)), "which the model would resize"),
    "postscript.eps": (
        _content(_postscript()),
        "EPS is not supported, because Pillow runs an external program",
    ),
    "holes.tiff": (_content(_holes_in_floats()), "infinite or NaN"),
    "folder.png": (Path.mkdir, "a folder"),
    "not there.png": (lambda path: None, "the file does not exist"),
    "link to nowhere.png": (lambda path: path.symlink_to("nowhere"), "the file does not exist"),
    "link to itself.png": (lambda path: path.symlink_to(path.name), "Too many levels"),
    "pipe.png": (os.mkfifo, "not a regular file"),
}

# Paths that lead nowhere, whatever the folder.
NO_PATHS = {
    "nowhere.png": "the file does not exist",
    "/dev/zero": "not a regular file",
    "x" * 5000: "too long",
    "with a \x00.png": "null",
    "https://example.org/picture.png": "a URL, which is not downloaded",
    "~nobody-of-that-name/picture.png": "the file does not exist",
}


def write_odd_files(folder: Path) -> dict[str, Path]:
    """Write all of them, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, (write, _) in (READ | CORRUPT).items():
        paths[name] = folder / name
        write(paths[name])
    return paths
