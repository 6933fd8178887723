"""Parallel texts: the strings of Django's user interface, from its catalogs of translations."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pandas as pd

# What is put aside: formats of the two kinds, and tags of HTML.
_MARKUP = re.compile(r"%\(\w+\)[sdr]|%[sdr]|\{[^}]*\}|<[^>]*>")


def read_strings(source: str | Path, languages: list[str]) -> pd.DataFrame:
    """Return a row for each string that all languages have, with a column for each and "en".

    The source is Django's wheel, or the folder of an installed Django.
    """
    catalogs = {language: _read_language(Path(source), language) for language in languages}
    messages = [m for m in catalogs[languages[0]] if all(m in c for c in catalogs.values())]
    strings = pd.DataFrame(
        {"en": messages} | {name: [c[m] for m in messages] for name, c in catalogs.items()}
    ).map(_clean)
    # Without formats, some strings are equal or have no words.
    has_words = strings.apply(lambda column: column.str.contains(r"\w")).all(axis=1)
    return strings[has_words].drop_duplicates("en", ignore_index=True)


def count_words(texts: pd.Series) -> pd.Series:
    """Return the number of words of each text."""
    return texts.str.count(r"\w+")


def _read_language(source: Path, language: str) -> dict[str, str]:
    """Return the messages of all of Django's catalogs for one language, and their translations."""
    messages: dict[str, str] = {}
    for data in _read_files(source, f"locale/{language}/LC_MESSAGES/django.mo"):
        for message, translation in _read_catalog(data):
            if message and translation:
                # A context before the message, and plurals after it, are put aside.
                singular = message.rpartition("\x04")[2].partition("\x00")[0]
                messages.setdefault(singular, translation.partition("\x00")[0])
    if not messages:
        raise SystemExit(
            f"{source} has no catalogs of Django for {language!r}. Pass the wheel that "
            "`pip download --no-deps django` gives, or the folder of an installed Django."
        )
    return messages


def _read_files(source: Path, ending: str) -> Iterator[bytes]:
    if source.is_dir():
        for path in sorted(source.rglob("django.mo")):
            if path.as_posix().endswith(ending):
                yield path.read_bytes()
        return
    with ZipFile(source) as wheel:
        for name in sorted(wheel.namelist()):
            if name.endswith(ending):
                yield wheel.read(name)


def _read_catalog(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the entries of a catalog of gettext, a file of the format .mo."""
    magic, _, n_entries, messages, translations = struct.unpack("<5I", data[:20])
    if magic != 0x950412DE:
        raise SystemExit("a catalog is not in the format .mo with little-endian numbers.")
    for i in range(n_entries):
        parts = []
        for table in (messages, translations):
            length, start = struct.unpack_from("<2I", data, table + 8 * i)
            parts.append(data[start : start + length].decode())
        yield parts[0], parts[1]


def _clean(text: str) -> str:
    return " ".join(_MARKUP.sub(" ", text).split())
