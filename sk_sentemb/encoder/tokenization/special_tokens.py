"""The special tokens around a text, or around and between the two texts of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

# Texts that show what a tokenizer puts around them: the first in which it finds a token, and the first
# with other tokens.
_SAMPLES = ("text", "a", "A", "0", "the", "\u4e00", "\u3042", "\u0430", "\u0627")


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens before, between and after texts, and the type of each token."""

    ids: tuple[list[int], ...]
    types: tuple[list[int], ...]
    text_types: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        """The number of special tokens."""
        return sum(map(len, self.ids))

    @property
    def has_types(self) -> bool:
        """Whether any token has a type other than 0."""
        return any(self.text_types) or any(map(any, self.types))

    def add_to(self, *texts: list[int]) -> list[int]:
        """Return the ids of texts with the special tokens around them."""
        first, *others = self.ids
        filled = list(first)
        for ids, after in zip(texts, others, strict=True):
            filled += ids
            filled += after
        return filled

    def token_types(self, *lengths: int) -> list[int]:
        """Return the type of each token, given the lengths of the texts."""
        first, *others = self.types
        types = list(first)
        for text_type, n, after in zip(self.text_types, lengths, others, strict=True):
            types += [text_type] * n
            types += after
        return types


def infer_special_tokens(tokenizer: Tokenizer, n_texts: int) -> SpecialTokens:
    """Infer from samples what a tokenizer puts around one text, or two."""
    samples = _find_two_samples(tokenizer)
    texts, contents = zip(*samples[:n_texts], strict=True)
    encoding = tokenizer.encode(*texts)
    whole, types = encoding.ids, encoding.type_ids
    if n_texts == 1 and any(types):
        raise ValueError(
            f"the tokenizer gives the tokens of {texts[0]!r} the types {types}, but only type "
            "0 is supported."
        )
    begins, ends = [0], []
    for content in contents:
        start = _find(content, whole, begins[-1])
        if start is None:
            raise _not_supported(texts, contents, whole)
        ends.append(start)
        begins.append(start + len(content))
    around = list(zip(begins, [*ends, len(whole)], strict=True))
    special = SpecialTokens(
        ids=tuple(whole[begin:end] for begin, end in around),
        types=tuple(types[begin:end] for begin, end in around),
        text_types=tuple(types[start] for start in ends),
    )
    # The samples in reverse order show whether the special tokens depend on the texts.
    texts, contents = zip(*samples[::-1][:n_texts], strict=True)
    encoding = tokenizer.encode(*texts)
    expected = special.add_to(*contents), special.token_types(*map(len, contents))
    if (encoding.ids, encoding.type_ids) != expected:
        raise _not_supported(texts, contents, encoding.ids)
    return special


def _find_two_samples(tokenizer: Tokenizer) -> list[tuple[str, list[int]]]:
    """Return two texts with different tokens, and their tokens."""

    def tokenize(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    known = [(sample, ids) for sample in _SAMPLES if (ids := tokenize(sample))]
    if not known:
        raise ValueError(f"the tokenizer finds no token in any of {_SAMPLES}.")
    first, ids = known[0]
    twice = f"{first} {first}"  # for tokenizers that map every word to the unknown token
    other = next((sample for sample in known if sample[1] != ids), (twice, tokenize(twice)))
    return [known[0], other]


def _not_supported(
    texts: Sequence[str], contents: Sequence[list[int]], whole: list[int]
) -> ValueError:
    alone = " and ".join(f"{text!r} into {ids}" for text, ids in zip(texts, contents, strict=True))
    return ValueError(
        f"the tokenizer turns {alone} without special tokens, and into {whole} with them: its template "
        "does not keep each text in one piece and in order, which is not supported."
    )


def _find(part: list[int], whole: list[int], begin: int) -> int | None:
    """Return the first index from ``begin`` on at which a list contains another."""
    n = len(part)
    starts = range(begin, len(whole) - n + 1)
    return next((start for start in starts if whole[start : start + n] == part), None)
