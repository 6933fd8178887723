"""From texts to token ids."""

from .tokenizer import (
    LONG_TEXT,
    TextTokenizer,
    TokenizedTexts,
    make_text_tokenizer,
    text_length,
    text_to_bytes,
)

__all__ = [
    "LONG_TEXT",
    "TextTokenizer",
    "TokenizedTexts",
    "make_text_tokenizer",
    "text_length",
    "text_to_bytes",
]
