"""What single cells look like: numbers, codes, pictures, words."""

import re
from decimal import Decimal
from math import isfinite
from numbers import Integral
from typing import Any

# Sign and currency in either order, digits with or without commas between thousands, exponent,
# percent or currency. A group of thousands begins with no zero: "0,512" has a decimal comma.
_NUMBER = re.compile(
    r"(?:([+-])\s*)?(?:([$€£¥])\s*)?(?:([+-])\s*)?"
    r"((?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(e[+-]?\d+)?(?:\s*([%$€£¥]))?",
    re.IGNORECASE,
)

_PICTURE = r"\.(?:png|jpe?g|gif|bmp|tiff?|webp)"

# A path or an address of a file with a picture in it, on one line. What follows the last space is looked
# at once: with more freedom, the time for cells that do not match grows with their length squared.
PICTURE_FILE = re.compile(rf"(?=[^\n]*\Z)(?:[^\n]*\s)?+\S+?{_PICTURE}(?:[?#]\S*)?", re.IGNORECASE)

# How the bytes of files with pictures begin. RIFF is WebP's container.
_PICTURE_BYTES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")

_SCHEME = r"(?:(?:https?|ftp|s3|gs|file)://|www\.)"
_REST_OF_URL = r"[^\s<>\"]*[^\s<>\"'.,;:!?)\]}]"
URL = _SCHEME + _REST_OF_URL
EMAIL = r"[\w.+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}"

# What names one thing and says nothing in words.
CODE = re.compile(
    "|".join(
        [
            rf"{_SCHEME}(?={_REST_OF_URL})\S++",
            rf"(?:mailto:)?{EMAIL}",
            # UUIDs, digests, addresses of machines.
            r"\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?",
            r"(?=[a-f]*\d)[0-9a-f]{16,}",
            r"(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?",
            r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}",
            # Telephones: seven digits or more, and what stands between them.
            r"(?:tel:)?\+?(?:[\s()./-]*\d){7,17}(?:\s*(?:ext\.?|x)\s*\d+)?",
            # Paths: from a root, a drive, a home or a dot; or with a suffix at the end.
            r"(?:/|~/|\.{1,2}/|[a-z]:[\\/]|\\\\)[^\n<>|\"?*]+",
            r"(?:[\w.-]+[\\/])+[\w.-]+\.\w{1,5}",
        ]
    ),
    re.IGNORECASE,
)

# Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

# About what a word has in these scripts.
_CHARACTERS_OF_A_WORD = 2


def count_words(text: str) -> float:
    """Count what stands between spaces and has a letter; numbers and signs are no words.

    In scripts without spaces, two characters count as a word.
    """
    text_length = 0
    if not text.isascii():
        text, text_length = _WITHOUT_SPACES.subn(" ", text)
    n_words = sum(any(map(str.isalpha, word)) for word in text.split())
    return n_words + text_length / _CHARACTERS_OF_A_WORD


def is_picture(cell: object) -> bool:
    """Say whether a cell that is not text holds a picture: a file's bytes, pixels, a PIL image."""
    if isinstance(cell, (bytes, bytearray)):
        return bytes(cell[:4]).startswith(_PICTURE_BYTES)
    if type(cell).__module__.startswith("PIL."):
        return True
    return type(cell).__module__ == "numpy" and getattr(cell, "ndim", 0) in (2, 3)


def number(text: str) -> float | None:
    """Read a number: ``"-1,200.5"``, ``"$3"``, ``"3 €"``, ``"7e-3"``, ``"12 %"`` for 12.

    In parentheses, as in accounts, it is negative.
    """
    text = text.strip()
    negative = text.startswith("(") and text.endswith(")")
    found = _NUMBER.fullmatch(text[1:-1].strip() if negative else text)
    if found is None:
        return None
    first_sign, currency, second_sign, digits, exponent, unit = found.groups()
    signs = (first_sign or "") + (second_sign or "")
    if len(signs) + negative > 1 or (currency and unit):
        return None
    value = float(f"{signs}{digits.replace(',', '')}{exponent or ''}")
    if not isfinite(value):
        return None
    return -value if negative else value


def to_float(cell: Any) -> float | None:
    """Return a number as a float, or None where it is finite and too large for one."""
    if isinstance(cell, Decimal) and cell.is_nan():
        return float("nan")  # a signaling one has no float
    try:
        value = float(cell)
    except OverflowError:
        return None
    too_large = isinstance(cell, Decimal) and cell.is_finite() and not isfinite(value)
    return None if too_large else value


def is_whole(cell: Any) -> bool:
    """Say whether a number is a whole one, whatever holds it and however large it is."""
    if isinstance(cell, Integral):
        return True
    if isinstance(cell, Decimal):
        return cell.is_finite() and cell == cell.to_integral_value()
    return bool(cell % 1 == 0)
