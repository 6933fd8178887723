"""Texts in a plot: shortened and wrapped."""

from textwrap import wrap


def shorten(text: str, n_characters: int) -> str:
    """Return a text in one line, without its end if it is longer."""
    line = " ".join(text.split())
    if len(line) <= n_characters:
        return line
    return line[: n_characters - 1].rstrip() + "…"


def wrap_label(text: str, width: int = 14, n_characters: int = 60) -> str:
    """Return a shortened text in short lines."""
    return "\n".join(wrap(shorten(text, n_characters), width, break_long_words=False))
