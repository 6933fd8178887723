"""Replace the content of a folder completely or not at all.

Each save writes a subfolder of its own, and then replaces the manifest, which names it: unlike folders,
files can be replaced atomically.
"""

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from filelock import FileLock

from .._atomic_io import check_no_link, compute_digest, flush, flush_folder, scratch_of, write_text
from ..exceptions import IndexFileError

MANIFEST = "semantic_index.json"
_LAYOUT = "sk_sentemb.index"
_VERSION = 1
_LOCK = ".lock"
_DATA = re.compile(r"data-[0-9a-f]{32}")

# Files up to this size are always verified, which takes a tenth of a second each at most. Verifying
# larger ones would read all of what is otherwise mapped and not read.
VERIFIED_BYTES = 64 * 2**20

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Snapshot:
    """A subfolder with the files of one save, and what the manifest says about them, as JSON."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)


@contextmanager
def new_snapshot(folder: Path) -> Iterator[Snapshot]:
    """Yield an empty snapshot, which replaces that of the folder if no error is raised."""
    _check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flush_folder(folder.parent)
    check_no_link(folder / _LOCK)
    # The system releases the lock of a killed process.
    with FileLock(folder / _LOCK):
        _check_target(folder)
        snapshot = Snapshot(folder / f"data-{uuid.uuid4().hex}")
        snapshot.path.mkdir()
        try:
            yield snapshot
            files = _flush_files(snapshot.path)
            _write_manifest(folder, snapshot, files)
        except BaseException:
            shutil.rmtree(snapshot.path, ignore_errors=True)
            raise
        # Also those of killed saves. A process that has mapped the files keeps them, on Windows until
        # a later save removes them.
        for other in folder.iterdir():
            if _is_snapshot(other) and other != snapshot.path:
                shutil.rmtree(other, ignore_errors=True)


def read_snapshot(
    folder: Path, read: Callable[[Snapshot], _Read], *, verify: bool = False
) -> _Read:
    """Verify the files of a folder's snapshot, and return what a function reads from it."""
    while True:
        manifest = _read_manifest(folder)
        path = folder / manifest["data"]
        try:
            _verify_files(path, manifest["files"], verify_all=verify)
            return read(Snapshot(path, manifest["content"]))
        except (OSError, IndexFileError):
            # Unless another process has meanwhile replaced the snapshot and removed this one.
            if _read_manifest(folder)["data"] == manifest["data"]:
                raise


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of the files in a folder and its subfolders."""
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def _is_snapshot(path: Path) -> bool:
    return bool(_DATA.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def _check_target(folder: Path) -> None:
    """Raise if a folder holds other things than an index."""
    if folder.is_symlink() and not folder.exists():
        raise FileExistsError(f"{folder} is a broken link. Create the folder that it leads to.")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Pass a folder.")
    own = {MANIFEST, _LOCK, scratch_of(folder / MANIFEST).name}
    names = sorted(path.name for path in folder.iterdir())
    others = [name for name in names if name not in own and not _is_snapshot(folder / name)]
    # The files of others may lie beside an index, but no index is created among them.
    if others and MANIFEST not in names:
        raise FileExistsError(
            f"{folder} holds {others[:3]}, which do not belong to a saved index. Pass a new folder."
        )


def _flush_files(path: Path) -> dict[str, dict[str, Any]]:
    """Wait until all files are on the disk, and return their sizes and checksums."""
    files = {}
    for name in list_files(path):
        flush(path / name)
        files[name] = {
            "bytes": (path / name).stat().st_size,
            "sha256": compute_digest(path / name),
        }
    for below in [*path.rglob("*"), path, path.parent]:
        if below.is_dir():
            flush_folder(below)
    return files


def _write_manifest(folder: Path, snapshot: Snapshot, files: dict[str, Any]) -> None:
    manifest = {
        "layout": _LAYOUT,
        "version": _VERSION,
        "data": snapshot.path.name,
        "files": files,
        "content": snapshot.content,
    }
    manifest["sha256"] = _compute_digest_of(manifest)
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _compute_digest_of(manifest: dict[str, Any]) -> str:
    text = json.dumps({name: manifest[name] for name in sorted(manifest) if name != "sha256"})
    return hashlib.sha256(text.encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        text = file.read_bytes().decode()
        manifest = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"{folder} holds no saved index: it has no file {MANIFEST}. Pass a folder that "
            "SemanticIndex.save has written."
        ) from None
    except (ValueError, RecursionError) as error:
        raise IndexFileError(f"{file} is damaged: {error}. Save the index again.") from None
    if not isinstance(manifest, dict) or manifest.get("layout") != _LAYOUT:
        raise IndexFileError(f"{file} was not written by SemanticIndex.save. Pass another folder.")
    if manifest.get("version") != _VERSION:
        raise IndexFileError(
            f"{file} has version {manifest.get('version')!r} of the format, and this version of "
            f"sk-sentemb reads version {_VERSION}. Install the version that wrote it, or build the "
            "index again."
        )
    if manifest.get("sha256") != _compute_digest_of(manifest):
        raise IndexFileError(
            f"{file} is damaged: its checksum does not match. Save the index again."
        )
    # The checksum does not tell who wrote it.
    names = [PurePosixPath(name) for name in manifest["files"]]
    if not _DATA.fullmatch(manifest["data"]) or any(
        name.is_absolute() or ".." in name.parts for name in names
    ):
        raise IndexFileError(f"{file} names files outside of the folder. Do not use it.")
    return manifest


def _verify_files(path: Path, files: dict[str, dict[str, Any]], *, verify_all: bool) -> None:
    """Raise if a file is missing or has another size, or, unless it is large, another checksum."""
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise IndexFileError(f"{file} is missing. Save the index again.")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise IndexFileError(
                f"{file} has {size:,} bytes and not {expected['bytes']:,}: it was truncated or "
                "replaced. Save the index again."
            )
        is_verified = verify_all or size <= VERIFIED_BYTES
        if is_verified and compute_digest(file) != expected["sha256"]:
            raise IndexFileError(
                f"{file} is damaged: its checksum does not match. Save the index again."
            )
