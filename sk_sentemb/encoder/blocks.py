"""Texts in blocks: the next one is tokenised while the current one runs."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from .tokens import TextTooLongError, Tokens

# Large enough that a block's packs are full of texts of like length, small enough that memory does
# not grow with the number of texts.
_BLOCK_TEXTS = 4096
_BLOCK_CHARACTERS = 4_000_000


def tokenized_blocks(
    tokenize: Callable[[Sequence[str]], Tokens], texts: Sequence[str]
) -> Iterator[tuple[slice, Tokens]]:
    """Tokenise block after block, one ahead of the caller.

    Parameters
    ----------
    tokenize : callable
        Turns texts into tokens.
    texts : sequence of str
        All texts.

    Yields
    ------
    block : slice
        Which of the texts these are.
    tokens : Tokens
        Their tokens.

    Raises
    ------
    TextTooLongError
        From ``tokenize``, with the position among all texts.
    """
    blocks = list(_blocks(texts))

    def run(block: slice) -> Tokens:
        try:
            return tokenize(texts[block])
        except TextTooLongError as error:
            raise TextTooLongError(block.start + error.position, error.max_length) from None

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


def _blocks(texts: Sequence[str]) -> Iterator[slice]:
    start = characters = 0
    for stop, text in enumerate(texts):
        if stop - start == _BLOCK_TEXTS or (stop > start and characters > _BLOCK_CHARACTERS):
            yield slice(start, stop)
            start, characters = stop, 0
        characters += len(text)
    if start < len(texts):
        yield slice(start, len(texts))
