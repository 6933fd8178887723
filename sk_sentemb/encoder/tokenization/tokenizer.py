"""Texts, or pairs of texts, to token ids: prompt, special tokens, token limit, windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase

from ..._types import Text
from ...exceptions import TextTooLongError
from .special_tokens import SpecialTokens, infer_special_tokens

LONG_TEXT = ("truncate", "chunk", "error")

# A text is cut before it is tokenized, so that ten megabytes cost no more than the few hundred tokens
# that are kept. The margin is for the cut itself: it may split a word, of which a tokenizer may then
# see up to 100 characters (WordPiece's longest word) as one token each.
_CHARACTERS_PER_TOKEN = 8
_MARGIN = 128

# Neighboring windows of a long text share at least this part of their tokens.
_OVERLAP = 1 / 8


@dataclass(frozen=True)
class TokenizedTexts:
    """Concatenated token ids of windows of texts; most texts are one window."""

    ids: np.ndarray
    lengths: np.ndarray  # of the windows
    text_of: np.ndarray  # the text that each window belongs to
    truncated: np.ndarray  # a mask of the texts
    prompt_length: int = 0  # tokens before each text that poolings may skip
    types: np.ndarray | None = None

    @cached_property
    def _stops(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def select(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the concatenated ids and token types of some windows."""
        stops = self._stops[windows]
        slices = [
            slice(stop - n, stop) for stop, n in zip(stops, self.lengths[windows], strict=True)
        ]
        ids = np.concatenate([self.ids[part] for part in slices])
        if self.types is None:
            return ids, None
        return ids, np.concatenate([self.types[part] for part in slices])


class TextTokenizer:
    """A fast tokenizer that is never changed after it is made, so that threads can share it.

    The tokenizers library keeps the token limit in the tokenizer itself. Here special tokens and the
    limit are applied to the ids instead, separately for each caller.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        special_tokens: bool = True,
        keep_end: bool = False,
        lowercase: bool = False,
        types: bool = False,
    ) -> None:
        if lowercase:
            before = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
        self.own_limit = (tokenizer.truncation or {}).get("max_length")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._keep_end = keep_end
        self.lowercase = lowercase
        self._types = types
        self._adds_special_tokens = special_tokens
        self._special = self._infer_special_tokens(1)

    @cached_property
    def _pair_special(self) -> SpecialTokens:
        return self._infer_special_tokens(2)

    def _infer_special_tokens(self, n_texts: int) -> SpecialTokens:
        if self._adds_special_tokens:
            return infer_special_tokens(self._tokenizer, n_texts)
        return SpecialTokens(([],) * (n_texts + 1), ([],) * (n_texts + 1), (0,) * n_texts)

    @property
    def highest_id(self) -> int:
        """The highest token id, including those of special tokens."""
        known = self._tokenizer.get_vocab(with_added_tokens=True).values()
        return max(chain(known, *self._special.ids), default=0)

    def count_special_tokens(self, n_texts: int) -> int:
        """Return the number of special tokens of a text or a pair."""
        return (self._special if n_texts == 1 else self._pair_special).n_tokens

    @property
    def ends_pairs_with(self) -> int | None:
        """The special token after a pair, if there is one."""
        *_, after = self._pair_special.ids
        return after[-1] if after else None

    def save(self, file: Path) -> None:
        """Write the JSON form of the tokenizers library."""
        self._tokenizer.save(str(file))

    def __call__(
        self, texts: Sequence[Text], *, prompt: str, max_length: int | None, long_text: str
    ) -> TokenizedTexts:
        """Tokenize texts or pairs."""
        if texts and not isinstance(texts[0], str):
            return self._tokenize_pairs(texts, prompt, max_length, long_text)  # type: ignore[arg-type]
        return self._tokenize_texts(texts, prompt, max_length, long_text)  # type: ignore[arg-type]

    def _tokenize_texts(
        self, texts: Sequence[str], prompt: str, max_length: int | None, long_text: str
    ) -> TokenizedTexts:
        special = self._special
        n_prompt = len(self._tokenize([prompt])[0]) if prompt else 0
        most = _max_content_length(special, n_prompt, max_length, n_texts=1)
        prompted = [prompt + text for text in texts] if prompt else texts
        truncated = np.zeros(len(texts), dtype=bool)
        windows: list[list[int]] = []
        text_of: list[int] = []
        for row, content in enumerate(self._tokenize_prefixes(prompted, most, long_text)):
            parts = [content]
            if most is not None and len(content) > most:
                if long_text == "error":
                    raise TextTooLongError(row, most + special.n_tokens)
                if long_text == "chunk":
                    parts = _split_into_windows(content, n_prompt, most)
                else:
                    truncated[row] = True
                    parts = [content[-most:] if self._keep_end else content[:most]]
            windows += [special.add_to(part) for part in parts]
            text_of += [row] * len(parts)
        return TokenizedTexts(
            *_concatenate(windows),
            text_of=np.array(text_of, dtype=np.int64),
            truncated=truncated,
            prompt_length=len(special.ids[0]) + n_prompt if prompt else 0,
        )

    def _tokenize_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        prompt: str,
        max_length: int | None,
        long_text: str,
    ) -> TokenizedTexts:
        if long_text == "chunk":
            raise ValueError(
                "long_text='chunk' is not supported for pairs of texts. Pass 'truncate'."
            )
        special = self._pair_special
        has_types = self._types and special.has_types
        n_prompt = len(self._tokenize([prompt])[0]) if prompt else 0
        most = _max_content_length(special, n_prompt, max_length, n_texts=2)
        if prompt:
            pairs = [(prompt + first, second) for first, second in pairs]
        # A query occurs with many documents: each distinct side is tokenized once.
        sides = list(dict.fromkeys(chain.from_iterable(pairs)))
        contents = dict(zip(sides, self._tokenize_prefixes(sides, most, long_text), strict=True))
        truncated = np.zeros(len(pairs), dtype=bool)
        windows, types = [], []
        for row, (first, second) in enumerate(pairs):
            both = contents[first], contents[second]
            if most is not None and len(both[0]) + len(both[1]) > most:
                if long_text == "error":
                    raise TextTooLongError(row, most + special.n_tokens)
                truncated[row] = True
                both = self._truncate_pair(*both, most)
            windows.append(special.add_to(*both))
            if has_types:
                types.append(special.token_types(*map(len, both)))
        return TokenizedTexts(
            *_concatenate(windows),
            text_of=np.arange(len(pairs)),
            truncated=truncated,
            types=_concatenate(types)[0] if has_types else None,
        )

    def _truncate_pair(
        self, first: list[int], second: list[int], most: int
    ) -> tuple[list[int], list[int]]:
        """Truncate the longer side, and both once they are equally long, as transformers does.

        If both are far too long, only prefixes of them are known, so that the odd token may go to the
        other side.
        """
        shorter = min(len(first), len(second), most // 2)
        n_first = shorter if len(first) <= len(second) else most - shorter
        n_second = most - n_first
        if self._keep_end:
            return first[len(first) - n_first :], second[len(second) - n_second :]
        return first[:n_first], second[:n_second]

    def _tokenize_prefixes(
        self, texts: Sequence[str], most: int | None, long_text: str
    ) -> list[list[int]]:
        """Tokenize at least ``most`` + 1 tokens of each text, and whole texts where that is needed."""
        if most is None or long_text == "chunk" or self._keep_end:
            return self._tokenize(texts)
        contents: list[list[int]] = [[]] * len(texts)
        size = _CHARACTERS_PER_TOKEN * (most + _MARGIN)
        rows = list(range(len(texts)))
        while rows:
            found = self._tokenize([texts[row][:size] for row in rows])
            for row, ids in zip(rows, found, strict=True):
                contents[row] = ids
            rows = [
                row
                for row in rows
                if len(texts[row]) > size and len(contents[row]) < most + _MARGIN
            ]
            size *= 8
        return contents

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids without special tokens."""
        try:
            found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            # A lone surrogate has no UTF-8 form; a surrogate pair has.
            whole = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
            found = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return [encoding.ids for encoding in found]


def make_text_tokenizer(
    tokenizer: PreTrainedTokenizerBase, *, lowercase: bool, special_tokens: bool = True
) -> TextTokenizer:
    """Return the fast tokenizer inside one of transformers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and only fast ones are supported. "
            "Convert it to a tokenizer.json with transformers and save the model again."
        )
    return TextTokenizer(
        backend,
        special_tokens=special_tokens,
        keep_end=tokenizer.truncation_side == "left",
        lowercase=lowercase,
        types="token_type_ids" in tokenizer.model_input_names,
    )


def text_length(text: Text) -> int:
    """Return the number of characters of a text or a pair."""
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])


def text_to_bytes(text: Text) -> bytes:
    """Return bytes that are unique to a text or a pair."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    # UTF-8 never contains the byte between them.
    return b"\xff".join(side.encode("utf-8", "surrogatepass") for side in text)


def _max_content_length(
    special: SpecialTokens, n_prompt: int, max_length: int | None, *, n_texts: int
) -> int | None:
    """Return the token limit of prompt and texts without special tokens."""
    if max_length is None:
        return None
    least = special.n_tokens + n_prompt + n_texts
    if max_length < least:
        raise ValueError(
            f"max_length={max_length} leaves no room for text after {special.n_tokens} special and "
            f"{n_prompt} prompt tokens. Pass at least {least}."
        )
    return max_length - special.n_tokens


def _concatenate(windows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated windows and their lengths."""
    lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
    flat = np.fromiter(chain.from_iterable(windows), dtype=np.int64, count=int(lengths.sum()))
    return flat, lengths


def _split_into_windows(content: list[int], n_prompt: int, most: int) -> list[list[int]]:
    """Split a text into equally long, evenly spaced windows, each with the prompt before it."""
    prompt, body = content[:n_prompt], content[n_prompt:]
    size = most - n_prompt
    shared = min(math.ceil(size * _OVERLAP), size - 1)
    n_windows = -(-(len(body) - shared) // (size - shared))
    starts = np.linspace(0, len(body) - size, n_windows).round().astype(int)
    return [prompt + body[start : start + size] for start in starts]
