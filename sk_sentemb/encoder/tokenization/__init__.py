"""From texts to token ids."""

from .tokenized import LONG_TEXT, TokenizedTexts, text_length, text_to_bytes
from .tokenizer import TextTokenizer, fast_tokenizer

__all__ = [
    "LONG_TEXT",
    "TextTokenizer",
    "TokenizedTexts",
    "fast_tokenizer",
    "text_length",
    "text_to_bytes",
]
