"""Files that are there whole or not at all, whatever happens to the process or the machine."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO


def flush(file: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def move(file: Path, name: Path) -> None:
    """Give a file on the disk its final name, replacing what had it."""
    file.replace(name)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and its entries need no flush
        folder = os.open(name.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def scratch_of(file: Path) -> Path:
    """Return the name that a file has until it is whole; who reads a folder leaves such names out."""
    return file.with_name(f".{file.name}.tmp")


def create(file: Path) -> BinaryIO:
    """Open a new file; a file or a link of that name is removed, and a link is not followed."""
    file.unlink(missing_ok=True)
    return file.open("xb")


def check_no_link(file: Path) -> None:
    """Raise if a file that a run wrote has become a link, which no run makes."""
    if file.is_symlink():
        raise FileExistsError(f"{file} is a link to {file.readlink()}; remove it.")


def compute_digest(file: Path) -> str:
    """Return the sha256 of a file's content, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write a small file in one step."""
    scratch = scratch_of(file)
    with create(scratch) as stream:
        stream.write(text.encode())
    flush(scratch)
    move(scratch, file)
