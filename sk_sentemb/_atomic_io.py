"""Atomic, durable file writes: a file is complete or absent, even after a crash."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO


def flush(file: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def move(file: Path, name: Path) -> None:
    """Rename a file atomically, replacing what has that name."""
    file.replace(name)
    flush_folder(name.parent)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "posix":  # elsewhere folders cannot be opened
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def scratch_of(file: Path) -> Path:
    """Return the name of a file until it is complete; readers of folders skip such names."""
    return file.with_name(f".{file.name}.tmp")


def create(file: Path) -> BinaryIO:
    """Open a new file, after removing a file or a link of that name."""
    file.unlink(missing_ok=True)
    return file.open("xb")


def check_no_link(file: Path) -> None:
    """Raise if a file is a symbolic link, which no run creates."""
    if file.is_symlink():
        raise FileExistsError(f"{file} is a link to {file.readlink()}; remove it.")


def compute_digest(file: Path) -> str:
    """Return the sha256 of a file's content, as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write a small file atomically."""
    scratch = scratch_of(file)
    with create(scratch) as stream:
        stream.write(text.encode())
    flush(scratch)
    move(scratch, file)
