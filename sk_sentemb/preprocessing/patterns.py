"""Recognize URLs, codes, images and words in single cells."""

import re

_IMAGE_SUFFIX = r"\.(?:png|jpe?g|gif|bmp|tiff?|webp)"

# The path or URL of an image, on one line. The possessive quantifier keeps the time linear for cells
# that do not match.
IMAGE_FILE = re.compile(
    rf"(?=[^\n]*\Z)(?:[^\n]*\s)?+\S+?{_IMAGE_SUFFIX}(?:[?#]\S*)?", re.IGNORECASE
)

# The first bytes of image files. RIFF is the container of WebP.
_IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")

_SCHEME = r"(?:(?:https?|ftp|s3|gs|file)://|www\.)"
_REST_OF_URL = r"[^\s<>\"]*[^\s<>\"'.,;:!?)\]}]"
URL = _SCHEME + _REST_OF_URL
EMAIL = r"[\w.+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}"

# Identifiers that contain no words.
CODE = re.compile(
    "|".join(
        [
            rf"{_SCHEME}(?={_REST_OF_URL})\S++",
            rf"(?:mailto:)?{EMAIL}",
            # UUIDs, checksums, IP and MAC addresses.
            r"\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?",
            r"(?=[a-f]*\d)[0-9a-f]{16,}",
            r"(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?",
            r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}",
            # Phone numbers of seven digits or more.
            r"(?:tel:)?\+?(?:[\s()./-]*\d){7,17}(?:\s*(?:ext\.?|x)\s*\d+)?",
            # Paths that start at a root, drive, home or dot, or that end in a suffix.
            r"(?:/|~/|\.{1,2}/|[a-z]:[\\/]|\\\\)[^\n<>|\"?*]+",
            r"(?:[\w.-]+[\\/])+[\w.-]+\.\w{1,5}",
        ]
    ),
    re.IGNORECASE,
)

# Chinese, Japanese, Thai, Lao, Khmer and Burmese, which are written without spaces.
_SCRIPTS_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

# Average in these scripts.
_CHARACTERS_PER_WORD = 2


def count_words(text: str) -> float:
    """Count the words with a letter; two characters are a word in scripts without spaces."""
    n_characters = 0
    if not text.isascii():
        text, n_characters = _SCRIPTS_WITHOUT_SPACES.subn(" ", text)
    n_words = sum(any(map(str.isalpha, word)) for word in text.split())
    return n_words + n_characters / _CHARACTERS_PER_WORD


def is_image(cell: object) -> bool:
    """Return whether a cell is an image: the bytes of a file, pixels or a PIL image."""
    if isinstance(cell, (bytes, bytearray)):
        return bytes(cell[:4]).startswith(_IMAGE_SIGNATURES)
    if type(cell).__module__.startswith("PIL."):
        return True
    return type(cell).__module__ == "numpy" and getattr(cell, "ndim", 0) in (2, 3)
