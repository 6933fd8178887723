"""Texts, or pairs of texts, to token ids: prompt, special tokens, length limit, windows."""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerBase

from ..._types import Text
from ...exceptions import TextTooLongError
from .special_tokens import Template, find_template, without_special_tokens
from .tokenized import TokenizedTexts

# A text is cut before it is tokenised, so that ten megabytes cost no more than the few hundred
# tokens that are kept. The margin is there for the cut itself: it may split a word, and a tokenizer
# may then see up to 100 characters of it (WordPiece's longest word) as that many tokens.
_CHARACTERS_PER_TOKEN = 8
_MARGIN = 128

# Neighbouring windows of a long text share at least this part of their tokens.
_OVERLAP = 1 / 8


class TextTokenizer:
    """A fast tokenizer that is never changed after it is made, so that threads can share it.

    The tokenizers library keeps the length limit in the tokenizer itself. Here special tokens and
    the limit are applied to the ids instead, for every caller its own.
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
        self._template = self._find_template(1)

    @property
    def n_special(self) -> int:
        """How many special tokens a text gets."""
        return self._template.n_special

    @property
    def highest_id(self) -> int:
        """The highest id of a token, special tokens included."""
        known = self._tokenizer.get_vocab(with_added_tokens=True).values()
        return max(chain(known, *self._template.special), default=0)

    def count_special_tokens(self, n_texts: int) -> int:
        """Return how many special tokens one text gets, or a pair."""
        return (self._template if n_texts == 1 else self._pair_template).n_special

    @property
    def ends_pairs_with(self) -> int | None:
        """The special token after a pair, if there is one."""
        *_, after = self._pair_template.special
        return after[-1] if after else None

    def save(self, file: Path) -> None:
        """Write the tokenizers library's JSON form."""
        self._tokenizer.save(str(file))

    def __call__(
        self, texts: Sequence[Text], *, prompt: str, max_length: int | None, long_text: str
    ) -> TokenizedTexts:
        """Tokenise texts, or pairs."""
        if texts and not isinstance(texts[0], str):
            return self._pairs(texts, prompt, max_length, long_text)  # type: ignore[arg-type]
        return self._texts(texts, prompt, max_length, long_text)  # type: ignore[arg-type]

    def _texts(
        self, texts: Sequence[str], prompt: str, max_length: int | None, long_text: str
    ) -> TokenizedTexts:
        template = self._template
        prompt_ids = self._content([prompt])[0] if prompt else []
        room = _room(template, len(prompt_ids), max_length, n_texts=1)
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
                    raise TextTooLongError(row, room + template.n_special)
                if long_text == "chunk":
                    parts = _windows(content, len(prompt_ids), room)
                else:
                    truncated[row] = True
                    parts = [content[-room:] if self._keep_end else content[:room]]
            windows += [template.fill(part) for part in parts]
            text_of += [row] * len(parts)
        return TokenizedTexts(
            *_laid(windows),
            text_of=np.array(text_of, dtype=np.int64),
            truncated=truncated,
            prompt_length=len(template.special[0]) + len(prompt_ids) if prompt else 0,
        )

    def _pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        prompt: str,
        max_length: int | None,
        long_text: str,
    ) -> TokenizedTexts:
        if long_text == "chunk":
            raise ValueError("long_text='chunk': a pair is read as a whole; pass 'truncate'.")
        template = self._pair_template
        has_types = self._types and template.has_types
        n_prompt = len(self._content([prompt])[0]) if prompt else 0
        room = _room(template, n_prompt, max_length, n_texts=2)
        if prompt:
            pairs = [(prompt + first, second) for first, second in pairs]
        # The same query stands beside many documents: each side is tokenised once.
        sides = list(dict.fromkeys(chain.from_iterable(pairs)))
        contents = dict(zip(sides, self._heads(sides, room, long_text), strict=True))
        truncated = np.zeros(len(pairs), dtype=bool)
        windows, types = [], []
        for row, (first, second) in enumerate(pairs):
            both = contents[first], contents[second]
            if room is not None and len(both[0]) + len(both[1]) > room:
                if long_text == "error":
                    raise TextTooLongError(row, room + template.n_special)
                truncated[row] = True
                both = self._both_cut(*both, room)
            windows.append(template.fill(*both))
            if has_types:
                types.append(template.types(*map(len, both)))
        return TokenizedTexts(
            *_laid(windows),
            text_of=np.arange(len(pairs)),
            truncated=truncated,
            types=_laid(types)[0] if has_types else None,
        )

    def _both_cut(
        self, first: list[int], second: list[int], room: int
    ) -> tuple[list[int], list[int]]:
        """Cut the longer one, and only when they are equal both, as transformers does.

        Where each is beyond the room by far, only so much of it is known that an odd token may go to
        the other one.
        """
        shorter = min(len(first), len(second), room // 2)
        n_first = shorter if len(first) <= len(second) else room - shorter
        n_second = room - n_first
        if self._keep_end:
            return first[len(first) - n_first :], second[len(second) - n_second :]
        return first[:n_first], second[:n_second]

    @cached_property
    def _pair_template(self) -> Template:
        return self._find_template(2)

    def _find_template(self, n_texts: int) -> Template:
        if not self._adds_special_tokens:
            return without_special_tokens(n_texts)
        return find_template(self._tokenizer, n_texts)

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
    """Return the fast tokenizer inside a transformers one."""
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
        types="token_type_ids" in tokenizer.model_input_names,
    )


def _room(template: Template, n_prompt: int, max_length: int | None, *, n_texts: int) -> int | None:
    """Return how many tokens prompt and text may have, at least one for each text."""
    if max_length is None:
        return None
    least = template.n_special + n_prompt + n_texts
    if max_length < least:
        raise ValueError(
            f"max_length={max_length} leaves no room for text beside {template.n_special} special "
            f"and {n_prompt} prompt tokens; pass at least {least}."
        )
    return max_length - template.n_special


def _laid(windows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lay windows end to end, and return their lengths as well."""
    lengths = np.fromiter(map(len, windows), dtype=np.int64, count=len(windows))
    flat = np.fromiter(chain.from_iterable(windows), dtype=np.int64, count=int(lengths.sum()))
    return flat, lengths


def _windows(content: list[int], n_prompt: int, room: int) -> list[list[int]]:
    """Cut a text into equally long, evenly spread windows, each with the prompt before it."""
    prompt, body = content[:n_prompt], content[n_prompt:]
    size = room - n_prompt
    shared = min(math.ceil(size * _OVERLAP), size - 1)
    n_windows = -(-(len(body) - shared) // (size - shared))
    starts = np.linspace(0, len(body) - size, n_windows).round().astype(int)
    return [prompt + body[start : start + size] for start in starts]
