"""Find the files of a source, and their format."""

import os
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from .file_formats import FORMATS

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_COMPRESSED = (".gz", ".bz2", ".zst")


def find_files(source: Paths, name: str) -> tuple[tuple[str, ...], str]:
    """Return the files of a source and their format."""
    if name not in ("auto", *FORMATS):
        raise ValueError(f"format={name!r}: pass 'auto' or one of {[*FORMATS]}.")
    if isinstance(source, (str, os.PathLike)):
        found = _list_files(Path(source).expanduser(), every=name != "auto")
    else:
        is_table = hasattr(source, "columns") or hasattr(source, "column_names")
        if is_table or not isinstance(source, Iterable):
            raise TypeError(
                f"source is of type {type(source).__name__}; pass paths of files or a "
                "pyarrow.dataset.Dataset. For rows in memory, use the embedder's transform."
            )
        found = [Path(file).expanduser() for file in source]
    if not found:
        raise FileNotFoundError(f"source={str(source)!r}: no such file, or no data file there.")
    for file in found:
        if not file.is_file():
            raise FileNotFoundError(f"source: {os.fspath(file)!r} is not a file.")
    if name == "auto":
        name = _common_format(found)
    return tuple(os.path.abspath(file) for file in found), name


def _list_files(path: Path, *, every: bool) -> list[Path]:
    """Return the files of a path in order: a file, those below a folder, or those of a pattern."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        return sorted(
            (Path(p) for p in glob(str(path), recursive=True) if Path(p).is_file()), key=str
        )
    below = [
        file
        for file in path.rglob("*")
        # Spark, Hive and pyarrow also skip these names.
        if not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        and file.is_file()
    ]
    return sorted((file for file in below if every or _infer_format(file)), key=str)


def _infer_format(file: Path) -> str | None:
    plain = file.with_suffix("") if file.suffix.lower() in _COMPRESSED else file
    name = SUFFIXES.get(plain.suffix.lower())
    # Parquet compresses within the file.
    return None if name == "parquet" and plain is not file else name


def _common_format(files: list[Path]) -> str:
    names = {_infer_format(file): file for file in files}
    if None in names:
        raise ValueError(
            f"{os.fspath(names[None])!r} has none of the endings {[*SUFFIXES]}; pass format=."
        )
    if len(names) > 1:
        raise ValueError(
            f"source has files of several formats: {[os.fspath(f) for f in names.values()]}. Embed "
            "them one format at a time, or pass a pyarrow.dataset.Dataset."
        )
    return str(names.popitem()[0])
