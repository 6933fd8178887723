"""What a tokenizer puts around a text, or around and between the two texts of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

# Texts that show what a tokenizer puts around them: the first in which it finds a token, and the first
# that gives it others.
_SAMPLES = ("text", "a", "A", "0", "the", "\u4e00", "\u3042", "\u0430", "\u0627")


@dataclass(frozen=True)
class Template:
    """Special tokens, and the type of each token."""

    special: tuple[list[int], ...]
    special_types: tuple[list[int], ...]
    text_types: tuple[int, ...]

    @property
    def n_special(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.special))

    @property
    def has_types(self) -> bool:
        """Whether any token has a type other than 0."""
        return any(self.text_types) or any(map(any, self.special_types))

    def fill(self, *texts: list[int]) -> list[int]:
        """Return the ids of the texts with those of the special tokens."""
        first, *others = self.special
        filled = list(first)
        for ids, after in zip(texts, others, strict=True):
            filled += ids
            filled += after
        return filled

    def types(self, *lengths: int) -> list[int]:
        """Return the type of each token, where the texts have so many."""
        first, *others = self.special_types
        types = list(first)
        for kind, n, after in zip(self.text_types, lengths, others, strict=True):
            types += [kind] * n
            types += after
        return types


def find_template(tokenizer: Tokenizer, n_texts: int) -> Template:
    """Find out what a tokenizer does around one text, or two."""
    samples = _two_samples(tokenizer)
    texts, contents = zip(*samples[:n_texts], strict=True)
    encoding = tokenizer.encode(*texts)
    whole, types = encoding.ids, encoding.type_ids
    if n_texts == 1 and any(types):
        raise ValueError(
            f"the tokenizer gives the tokens of {texts[0]!r} the types {types}; types "
            "other than 0 are not supported."
        )
    begins, ends = [0], []
    for content in contents:
        start = _find(content, whole, begins[-1])
        if start is None:
            raise _not_supported(texts, contents, whole)
        ends.append(start)
        begins.append(start + len(content))
    around = list(zip(begins, [*ends, len(whole)], strict=True))
    template = Template(
        special=tuple(whole[begin:end] for begin, end in around),
        special_types=tuple(types[begin:end] for begin, end in around),
        text_types=tuple(types[start] for start in ends),
    )
    # Other texts in the same places tell whether what stands around them is the same for all.
    texts, contents = zip(*samples[::-1][:n_texts], strict=True)
    encoding = tokenizer.encode(*texts)
    expected = template.fill(*contents), template.types(*map(len, contents))
    if (encoding.ids, encoding.type_ids) != expected:
        raise _not_supported(texts, contents, encoding.ids)
    return template


def _two_samples(tokenizer: Tokenizer) -> list[tuple[str, list[int]]]:
    """Return two texts of different tokens, and the tokens."""

    def content(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    known = [(sample, ids) for sample in _SAMPLES if (ids := content(sample))]
    if not known:
        raise ValueError(f"the tokenizer finds no token in any of {_SAMPLES}; it reads other text.")
    first, ids = known[0]
    twice = f"{first} {first}"  # where all that it knows is that it knows nothing
    other = next((sample for sample in known if sample[1] != ids), (twice, content(twice)))
    return [known[0], other]


def _not_supported(
    texts: Sequence[str], contents: Sequence[list[int]], whole: list[int]
) -> ValueError:
    alone = " and ".join(f"{text!r} into {ids}" for text, ids in zip(texts, contents, strict=True))
    return ValueError(
        f"the tokenizer turns {alone} alone, and with special tokens into {whole}: its template does "
        "not keep each text in one piece and in its place, which is not supported."
    )


def _find(part: list[int], whole: list[int], begin: int) -> int | None:
    """Return where the one list stands in the other, from a place on."""
    n = len(part)
    places = range(begin, len(whole) - n + 1)
    return next((place for place in places if whole[place : place + n] == part), None)


def without_special_tokens(n_texts: int) -> Template:
    """Return a template that adds nothing."""
    return Template(([],) * (n_texts + 1), ([],) * (n_texts + 1), (0,) * n_texts)
