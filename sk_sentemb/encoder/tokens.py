"""Texts to token ids: prompt, special tokens, length limit, windows of long texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase

LONG_TEXT = ("truncate", "chunk", "error")

# A text is cut before it is tokenised, so that ten megabytes cost no more than the few hundred
# tokens that are kept. The margin is there for the cut itself: it may split a word, and a tokenizer
# may then see up to 100 characters of it (WordPiece's longest word) as that many tokens.
_CHARACTERS_PER_TOKEN = 8
_MARGIN = 128

# Texts that show what a tokenizer puts around them: the first in which it finds a token.
_SAMPLES = ("text", "a", "A", "0", "the", "\u4e00", "\u3042", "\u0430", "\u0627")

# Neighbouring windows of a long text share at least this part of their tokens.
_OVERLAP = 1 / 8


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads, and their ends were cut off."""


class TextTooLongError(ValueError):
    """A text is longer than the limit, and the caller asked for an error.

    Attributes
    ----------
    position : int
        Which of the texts it is.
    """

    def __init__(self, position: int, max_length: int) -> None:
        # The arguments as they are, so that a worker process can send the error back.
        super().__init__(position, max_length)
        self.position = position
        self.max_length = max_length

    def __str__(self) -> str:
        return f"text {self.position} is longer than {self.max_length} tokens"


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, laid end to end in windows; most texts are one window.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int64
    lengths : ndarray of shape (n_windows,), int64
    text_of : ndarray of shape (n_windows,), int64
        The text that each window belongs to, ascending.
    truncated : ndarray of shape (n_texts,), bool
    prompt_length : int
        How many tokens at the start of each window are the prompt and what stands before it.
    """

    ids: np.ndarray
    lengths: np.ndarray
    text_of: np.ndarray
    truncated: np.ndarray
    prompt_length: int

    @cached_property
    def _stops(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def of(self, windows: np.ndarray) -> np.ndarray:
        """Return the ids of some windows, laid end to end."""
        stops = self._stops[windows]
        return np.concatenate(
            [
                self.ids[stop - n : stop]
                for stop, n in zip(stops, self.lengths[windows], strict=True)
            ]
        )


class TextTokenizer:
    """A fast tokenizer that is never changed after it is made, so that threads can share it.

    The tokenizers library keeps the length limit in the tokenizer itself. Here special tokens and
    the limit are applied to the ids instead, for every caller its own.

    Parameters
    ----------
    tokenizer : Tokenizer
        Its truncation and padding are switched off.
    special_tokens : bool
        Whether texts get the special tokens that the tokenizer's template adds.
    keep_end : bool
        Whether a long text loses its beginning rather than its end.
    lowercase : bool
        Whether texts are lower-cased before anything else (``do_lower_case`` of a checkpoint).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        special_tokens: bool = True,
        keep_end: bool = False,
        lowercase: bool = False,
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
        self._prefix, self._suffix = _special_ids(tokenizer) if special_tokens else ([], [])

    def save(self, file: Path) -> None:
        """Write the tokenizers library's JSON form."""
        self._tokenizer.save(str(file))

    @property
    def n_special(self) -> int:
        """How many special tokens each window has."""
        return len(self._prefix) + len(self._suffix)

    def __call__(
        self, texts: Sequence[str], *, prompt: str, max_length: int | None, long_text: str
    ) -> Tokens:
        """Tokenise texts."""
        room = None if max_length is None else max_length - self.n_special
        prompt_ids = self._content([prompt])[0] if prompt else []
        if room is not None and room <= len(prompt_ids):
            raise ValueError(
                f"max_length={max_length} leaves no room for text beside {self.n_special} special "
                f"and {len(prompt_ids)} prompt tokens; pass at least "
                f"{self.n_special + len(prompt_ids) + 1}."
            )
        contents = self._heads(
            [prompt + text for text in texts] if prompt else texts, room, long_text
        )
        truncated = np.zeros(len(texts), dtype=bool)
        windows: list[list[int]] = []
        text_of: list[int] = []
        for row, content in enumerate(contents):
            parts = [content]
            if room is not None and len(content) > room:
                if long_text == "error":
                    raise TextTooLongError(row, room + self.n_special)
                if long_text == "chunk":
                    parts = _windows(content, len(prompt_ids), room)
                else:
                    truncated[row] = True
                    parts = [content[-room:] if self._keep_end else content[:room]]
            windows += [[*self._prefix, *part, *self._suffix] for part in parts]
            text_of += [row] * len(parts)
        lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
        return Tokens(
            ids=np.fromiter(chain.from_iterable(windows), dtype=np.int64, count=int(lengths.sum())),
            lengths=lengths,
            text_of=np.array(text_of, dtype=np.int64),
            truncated=truncated,
            prompt_length=len(self._prefix) + len(prompt_ids) if prompt else 0,
        )

    def _heads(self, texts: Sequence[str], room: int | None, long_text: str) -> list[list[int]]:
        """Tokenise at least ``room`` + 1 tokens of each text, and all where all are needed."""
        if room is None or long_text == "chunk" or self._keep_end:
            return self._content(texts)
        contents: list[list[int]] = [[]] * len(texts)
        size = _CHARACTERS_PER_TOKEN * (room + _MARGIN)
        rows = list(range(len(texts)))
        while rows:
            found = self._content([texts[row][:size] for row in rows])
            for row, ids in zip(rows, found, strict=True):
                contents[row] = ids
            rows = [
                row
                for row in rows
                if len(texts[row]) > size and len(contents[row]) < room + _MARGIN
            ]
            size *= 8
        return contents

    def _content(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            # Half a surrogate pair is no character and has no UTF-8 form; a pair in two halves has.
            whole = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
            found = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return [encoding.ids for encoding in found]


def fast_tokenizer(
    tokenizer: PreTrainedTokenizerBase, *, lowercase: bool, special_tokens: bool = True
) -> TextTokenizer:
    """Return the fast tokenizer inside a transformers one.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        A tokenizer with a backend of the tokenizers library.
    lowercase : bool
        Whether texts are lower-cased first.
    special_tokens : bool
        Whether texts get the special tokens that the tokenizer's template adds.

    Returns
    -------
    TextTokenizer
        It shares the backend with ``tokenizer``.

    Raises
    ------
    ValueError
        If the tokenizer is one of those written in Python.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"{type(tokenizer).__name__} has no fast form, and only fast tokenizers are supported; "
            "convert it to a tokenizer.json with transformers and save the model anew."
        )
    return TextTokenizer(
        backend,
        special_tokens=special_tokens,
        keep_end=tokenizer.truncation_side == "left",
        lowercase=lowercase,
    )


def _special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return what the tokenizer's template puts before and after a text."""
    samples = (tokenizer.encode(sample, add_special_tokens=False) for sample in _SAMPLES)
    found = next((sample for sample in zip(_SAMPLES, samples, strict=True) if sample[1].ids), None)
    if found is None:
        raise ValueError(f"the tokenizer finds no token in any of {_SAMPLES}; it reads other text.")
    sample, content = found[0], found[1].ids
    encoding = tokenizer.encode(sample)
    if any(encoding.type_ids):
        raise ValueError(
            f"the tokenizer gives the tokens of {sample!r} the types {encoding.type_ids}; types "
            "other than 0 are not supported."
        )
    whole = encoding.ids
    for start in range(len(whole) - len(content) + 1):
        stop = start + len(content)
        if whole[start:stop] == content:
            return whole[:start], whole[stop:]
    raise ValueError(
        f"the tokenizer turns {sample!r} into {content} alone and {whole} with special tokens: its "
        "template does not keep a text in one piece, which is not supported."
    )


def _windows(content: list[int], n_prompt: int, room: int) -> list[list[int]]:
    """Cut a text into equally long, evenly spread windows, each with the prompt before it."""
    prompt, body = content[:n_prompt], content[n_prompt:]
    size = room - n_prompt
    shared = min(math.ceil(size * _OVERLAP), size - 1)
    n_windows = -(-(len(body) - shared) // (size - shared))
    starts = np.linspace(0, len(body) - size, n_windows).round().astype(int)
    return [prompt + body[start : start + size] for start in starts]
