"""Texts in blocks: the next one is tokenised while the current one runs."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..._types import Text
from ...exceptions import TextTooLongError
from ..tokenization import TokenizedTexts, text_length

# Large enough that a block's packs are full of texts of like length, small enough that memory does
# not grow with the number of texts.
_BLOCK_TEXTS = 4096
_BLOCK_CHARACTERS = 4_000_000


def iter_tokenized_blocks(
    tokenize: Callable[[Sequence[Text]], TokenizedTexts], texts: Sequence[Text], order: np.ndarray
) -> Iterator[tuple[np.ndarray, TokenizedTexts]]:
    """Tokenise block after block, one ahead of the caller."""

    def run(block: np.ndarray) -> TokenizedTexts:
        try:
            return tokenize([texts[i] for i in block])
        except TextTooLongError as error:
            raise TextTooLongError(int(block[error.position]), error.max_length) from None

    blocks = list(_blocks(texts, order))
    if len(blocks) < 2:  # most calls: not worth a thread
        yield from ((block, run(block)) for block in blocks)
        return
    with ThreadPoolExecutor(max_workers=1) as ahead:
        running = ahead.submit(run, blocks[0])
        for block, upcoming in zip(blocks, [*blocks[1:], None], strict=True):
            tokens = running.result()
            if upcoming is not None:
                running = ahead.submit(run, upcoming)
            yield block, tokens


def _blocks(texts: Sequence[Text], order: np.ndarray) -> Iterator[np.ndarray]:
    start = characters = 0
    for stop, i in enumerate(order):
        if stop - start == _BLOCK_TEXTS or (stop > start and characters > _BLOCK_CHARACTERS):
            yield order[start:stop]
            start, characters = stop, 0
        characters += text_length(texts[i])
    if start < len(order):
        yield order[start:]
