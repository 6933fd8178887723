"""Files that are there whole or not at all, whatever happens to the process or the machine."""

import os
from pathlib import Path


def flush(file: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def move(file: Path, name: Path) -> None:
    """Give a file on the disk its final name, replacing what had it."""
    os.replace(file, name)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and its entries need no flush
        folder = os.open(name.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def scratch_of(file: Path) -> Path:
    """Return the name that a file has until it is whole; who reads a folder leaves such names out."""
    return file.with_name(f".{file.name}.tmp")


def write_text(file: Path, text: str) -> None:
    """Write a small file in one step."""
    scratch = scratch_of(file)
    scratch.write_text(text, encoding="utf-8")
    flush(scratch)
    move(scratch, file)
