"""Docstrings of the installed scientific packages, to be classified by package."""

import hashlib
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

# Documented, and in every version that this package supports.
_SUBMODULES = {
    "numpy": "fft lib.stride_tricks linalg ma polynomial random testing",
    "pandas": (
        "api.extensions api.indexers api.types api.typing errors io.formats.style plotting testing "
        "tseries.offsets"
    ),
    "scipy": (
        "cluster.hierarchy fft integrate interpolate io linalg ndimage optimize signal sparse "
        "sparse.csgraph sparse.linalg spatial spatial.distance special stats"
    ),
    "sklearn": (
        "cluster compose covariance datasets decomposition ensemble feature_extraction "
        "feature_extraction.text feature_selection gaussian_process impute inspection linear_model "
        "manifold metrics mixture model_selection naive_bayes neighbors pipeline preprocessing svm "
        "tree utils"
    ),
    "torch": (
        "autograd cuda distributions fft jit linalg nn nn.functional nn.init nn.utils optim "
        "optim.lr_scheduler special utils.data"
    ),
}

_ROLE_OR_LINK_TARGET = re.compile(r":[\w:]+:(?=`)|\s*<[^<>`]*>(?=`)")
_PACKAGE_NAME = re.compile(
    r"(?:\w*(?:numpy|pandas|scipy|scikit[-_ ]?learn|sklearn|torch)\w*|\b(?:np|pd|sp|nn)(?=\.\w))"
    r"(?:\.\w+(?=\.\w))*",
    re.IGNORECASE,
)
# Compiled functions write their signature into the docstring, some of them twice.
_SIGNATURE = re.compile(r"[\w.]+\((?:.|\n(?!\s*\n))*?\)(?: *->.*)?(?:\n\s*|$)")
# A directive, or a pointer to the place where the description is.
_NO_DESCRIPTION = re.compile(
    r"\.\. |(?:alias (?:for|of)|in-place version|see|scalar method) ", re.I
)
_MIN_WORDS = 4


def load_docstrings() -> pd.DataFrame:
    """Return 500 docstrings of each package, with package names masked, in a fixed order."""
    packages = list(_SUBMODULES)
    rows = pd.DataFrame([row for package in packages for row in _describe(package)])
    rows = rows.drop_duplicates(["package", "text"]).drop_duplicates("text", keep=False)
    rows = rows.sort_values("text", key=lambda texts: texts.map(_digest), ignore_index=True)
    rows = rows.groupby("package").head(500).reset_index(drop=True)
    rows["target"] = rows.pop("package").map(packages.index).astype("int64")
    return rows.drop(columns="name")


def _describe(package: str) -> list[dict[str, object]]:
    """Return one row per distinct docstring that starts with a description."""
    first_with: dict[str, tuple[str, str, object]] = {}
    # By length: what is inherited or has an alias is listed under its shortest name.
    for name, kind, member in sorted(_public_objects(package), key=_by_length):
        if isinstance(member.__doc__, str):
            first_with.setdefault(inspect.cleandoc(member.__doc__), (name, kind, member))
    return [
        {
            "package": package,
            "name": name,
            "text": text,
            "kind": kind,
            "n_parameters": _n_parameters(member),
            "n_lines": docstring.count("\n") + 1,
            "n_examples": docstring.count(">>> "),
        }
        for docstring, (name, kind, member) in first_with.items()
        if len((text := _first_paragraph(docstring)).split()) >= _MIN_WORDS
        and not _NO_DESCRIPTION.match(text)
    ]


def _public_objects(package: str) -> Iterator[tuple[str, str, object]]:
    """Yield the qualified name, the kind and the object of each public member of a package."""
    submodules = [f"{package}.{name}" for name in _SUBMODULES[package].split()]
    for module in map(import_module, [package, *submodules]):
        contents = vars(module)
        for name in contents.get("__all__") or list(contents):
            # Not `getattr`: a module's `__getattr__` may import, or warn of a deprecation.
            member = contents.get(name)
            owner = getattr(member, "__module__", None) or module.__name__
            if name.startswith("_") or owner.partition(".")[0] != package:
                continue
            qualified = f"{module.__name__}.{name}"
            if inspect.isclass(member):
                yield qualified, "class", member
                yield from _public_methods(qualified, member, package)
            elif callable(member) and hasattr(member, "__name__"):
                yield qualified, "function", member


def _public_methods(qualified: str, cls: type, package: str) -> Iterator[tuple[str, str, object]]:
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == package]
    # Bases first, so that what a subclass overrides is gone.
    members = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    for name, member in members.items():
        # What a static or class method holds; other descriptors count if they pass for a function.
        member = getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isroutine(member) and hasattr(member, "__name__"):
            yield f"{qualified}.{name}", "method", member


def _by_length(row: tuple[str, str, object]) -> tuple[int, str]:
    return len(row[0]), row[0]


def _first_paragraph(docstring: str) -> str:
    """Return the first paragraph of prose as plain text, with package names masked."""
    prose = docstring.lstrip()
    while signature := _SIGNATURE.match(prose):
        prose = prose[signature.end() :]
    paragraph = prose.partition("\n\n")[0]
    plain = _ROLE_OR_LINK_TARGET.sub("", paragraph).replace("`", "").replace("~", "")
    return " ".join(_PACKAGE_NAME.sub("library", plain).split())


def _n_parameters(member: Any) -> float:
    try:
        parameters = inspect.signature(inspect.unwrap(member)).parameters
    except (TypeError, ValueError):
        return np.nan
    return float(len(parameters.keys() - {"self", "cls"}))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
