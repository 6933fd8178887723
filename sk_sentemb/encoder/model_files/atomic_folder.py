"""Save a folder completely or not at all, and remove only files that a save wrote."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...exceptions import CheckpointError
from .foreign_files import validate_foreign_files
from .names import compute_sha256, read_json, write_json
from .path_checks import is_model_file

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

# Lists the files that a save wrote, so that the next one may remove them.
MANIFEST = ".sk_sentemb.json"
_LAYOUT = "sk_sentemb.save 1"

# Without these a folder is not a model, so that a partly replaced one is an error and not a mixture.
_LAST = ("config.json", "modules.json")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder, whose files are moved to ``target`` if no error is raised."""
    _check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    is_new = not target.exists()
    # Inside the folder, because files cannot be moved between file systems.
    where, name = (target.parent, target.name) if is_new else (target, "saving")
    with tempfile.TemporaryDirectory(dir=where, prefix=f".{name}-") as scratch:
        fresh, old = Path(scratch, "new"), Path(scratch, "old")
        fresh.mkdir()
        yield fresh
        files = {name: compute_sha256(fresh / name) for name in _files_below(fresh)}
        write_json(fresh / MANIFEST, {"layout": _LAYOUT, "files": files})
        if is_new:
            try:
                fresh.rename(target)
            except OSError:
                _check_target(target)
                if not target.exists():
                    raise
                # Otherwise another process has saved a model there meanwhile.
            else:
                return
        with _lock_folder(target):
            stale = _read_stale_files(target) - files.keys()
            validate_foreign_files(fresh, target, known=stale | files.keys())
            _replace_files(fresh, target, old, stale)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process saves into a folder."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _check_target(target: Path) -> None:
    if target.is_symlink() and not target.exists():
        raise FileExistsError(f"{target} is a broken link. Create the folder that it leads to.")
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file. Pass a folder.")
    names = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    if names and MANIFEST not in names and not _lists_modules(target / "modules.json"):
        raise FileExistsError(
            f"{target} holds {names[:3]}, which do not belong to a checkpoint. Pass a new folder."
        )


def _lists_modules(file: Path) -> bool:
    """Return whether a file is the modules.json of sentence-transformers."""
    try:
        modules = read_json(file, list)
    except CheckpointError:
        return False
    return bool(modules) and all(isinstance(m, dict) and "type" in m for m in modules)


def _files_below(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def _read_stale_files(target: Path) -> set[str]:
    """Return the names of the files that an earlier save wrote and that are unchanged."""
    file = target / MANIFEST
    if file.is_symlink() or not file.is_file():
        return set()
    try:
        content = read_json(file)
    except CheckpointError:
        return set()  # so that nothing is removed
    files = content.get("files") if content.get("layout") == _LAYOUT else None
    return {
        name
        for name, digest in (files if isinstance(files, dict) else {}).items()
        # The manifest may come from an untrusted source.
        if is_model_file(name)
        and not (target / name).is_symlink()
        and (target / name).is_file()
        and compute_sha256(target / name) == digest
    }


def _replace_files(fresh: Path, target: Path, old: Path, stale: set[str]) -> None:
    """Move new files into a folder and stale ones out of it, all of them or none."""
    new = sorted(_files_below(fresh), key=_moves_last)
    try:
        for name in sorted(stale.union(new), key=_moves_last, reverse=True):
            if (target / name).is_dir():
                raise FileExistsError(
                    f"{target / name} is a folder, but a file has to be written there."
                )
            if os.path.lexists(target / name):
                _move(target / name, old / name)
        for name in new:
            _move(fresh / name, target / name)
    except BaseException:
        for name in new:
            if not (fresh / name).exists():
                (target / name).replace(fresh / name)
        for name in _entries_below(old):
            (old / name).replace(target / name)
        _remove_empty_folders(target, new)
        raise
    _remove_empty_folders(target, stale)


def _remove_empty_folders(target: Path, names: Iterable[str]) -> None:
    """Remove the module folders of some files unless they hold other files."""
    for folder in {(target / name).parent for name in names} - {target}:
        with suppress(OSError):
            folder.rmdir()


def _moves_last(name: str) -> tuple[bool, str]:
    return name.rpartition("/")[2] in _LAST, name


def _move(file: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    file.replace(name)


def _entries_below(folder: Path) -> list[str]:
    """Return the names of files and links."""
    found = folder.rglob("*") if folder.exists() else ()
    return [f.relative_to(folder).as_posix() for f in found if f.is_symlink() or not f.is_dir()]
