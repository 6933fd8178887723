"""Check that a run does not write or remove the files that it reads."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.dataset as ds
from pyarrow import fs


def local_files(dataset: ds.Dataset) -> Iterator[str]:
    """Yield the paths of a Dataset's files on this machine; files elsewhere cannot be a target."""
    for child in getattr(dataset, "children", ()):
        yield from local_files(child)
    if isinstance(dataset, ds.FileSystemDataset):
        root = _local_root(dataset.filesystem)
        if root is not None:
            yield from (os.path.join(root, file) for file in dataset.files)


def _local_root(filesystem: fs.FileSystem) -> str | None:
    """Return what the paths of a file system are relative to; None if it is not on this machine."""
    if isinstance(filesystem, fs.LocalFileSystem):
        return ""
    if isinstance(filesystem, fs.SubTreeFileSystem):
        root = _local_root(filesystem.base_fs)
        return None if root is None else os.path.join(root, filesystem.base_path)
    if isinstance(filesystem, fs.PyFileSystem) and isinstance(filesystem.handler, fs.FSSpecHandler):
        protocol = filesystem.handler.fs.protocol
        return "" if "file" in ([protocol] if isinstance(protocol, str) else protocol) else None
    return None


def check_target(target: Path, source: object) -> None:
    """Raise if the target is inside a source folder, where the next call would read it."""
    if isinstance(source, (str, os.PathLike)):
        folder = Path(source).expanduser().resolve()
        if folder.is_dir() and target.resolve().is_relative_to(folder):
            raise ValueError(
                f"target={str(target)!r} is in the folder source={os.fspath(source)!r}, where the "
                "next call would read it as text. Pass another target, or a pattern as source."
            )


def check_no_overlap(sources: Iterable[str], folder: Path | None, files: Iterable[Path]) -> None:
    """Raise if a file to be read lies where a run writes or removes."""
    written = {path for file in files for path in _resolve_paths(file)}
    inside = None if folder is None else folder.resolve()
    for source in sources:
        for path in _resolve_paths(Path(source)):
            if path in written or (inside is not None and path.is_relative_to(inside)):
                raise ValueError(
                    f"source has the file {source!r}, which is where target writes and removes files. "
                    "Pass another target."
                )


def _resolve_paths(file: Path) -> set[Path]:
    """Return the path of a file and, if it is a link, the path that the link leads to."""
    return {file.parent.resolve() / file.name, file.resolve()}
