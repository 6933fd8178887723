"""TODO."""

from .tokenized import LONG_TEXT, Tokens, bytes_of, n_characters
from .tokenizer import TextTokenizer, fast_tokenizer

__all__ = ["LONG_TEXT", "TextTokenizer", "Tokens", "bytes_of", "fast_tokenizer", "n_characters"]
