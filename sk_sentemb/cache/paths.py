"""The folder of a disk cache, and the permissions of its file."""

import os
import stat
from pathlib import Path

from platformdirs import user_cache_path

# For clusters whose home folders are on a slow disk.
FOLDER_VARIABLE = "SK_SENTEMB_CACHE"


def default_folder() -> Path:
    """Return the platform's folder for caches, or the one that `SK_SENTEMB_CACHE` names."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else user_cache_path("sk_sentemb", appauthor=False)


def absolute_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a folder, or the path unchanged if ``~user`` is unknown."""
    try:
        expanded = Path(folder).expanduser()
    except RuntimeError:
        return Path(folder)
    return expanded.absolute()


def make_private_file(path: Path) -> bool:
    """Create an empty private file and its folder unless they exist; return whether it is writable."""
    # In a folder that a group may write to, the group may use the file, too.
    if not path.is_absolute():  # not a folder named "~user" in the current one
        raise FileNotFoundError(f"there is no home folder {path.parts[0]}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        # SQLite also has to create its journal there.
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    folder_mode = path.parent.stat().st_mode
    is_shared = folder_mode & stat.S_IWGRP and not folder_mode & stat.S_ISVTX
    path.chmod(0o660 if is_shared else 0o600)  # whatever the umask is
    return True
