"""Docstrings of the installed scientific packages: real text that needs no download."""

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

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

_DESCR = """\
Docstrings of scientific Python packages
----------------------------------------

The first paragraphs of the docstrings of public functions, classes and methods, read from the
packages installed on this machine:

    {packages}

The task is to tell which package a text comes from. Names of the packages and their usual aliases
("np.", "PyTorch") are replaced by the word "library"; reStructuredText roles and quotes are
removed; a text that occurs in two packages is left out.

The texts are written by the developers of these packages and stand under each package's own
licence, all of the BSD family.
"""

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


@validate_params(
    {
        "packages": [list, tuple, set, None],
        "max_per_package": [Interval(Integral, 1, None, closed="left"), None],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_docstrings(
    *,
    packages: list[str] | tuple[str, ...] | set[str] | None = None,
    max_per_package: int | None = 500,
    return_X_y: bool = False,
) -> Any:
    """Load docstrings of installed packages, to be classified by package.

    Needs no network: numpy, pandas, scipy, scikit-learn and torch are read where they are
    installed. The data are the same wherever the versions of these packages are the same. Package
    names in the texts are replaced by "library", so that the meaning has to be read.

    Parameters
    ----------
    packages : list, tuple or set of str, default=None
        Import names of the packages to read, at least two of ``"numpy"``, ``"pandas"``,
        ``"scipy"``, ``"sklearn"`` and ``"torch"``; None: all of them. What is not installed is
        left out.
    max_per_package : int or None, default=500
        The most texts of one package; None: no limit. Those kept are the first in the order of
        the rows, so a smaller limit gives a subset.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the following attributes. Rows are ordered by a hash of the text, so every slice
        mixes the packages.

        data : DataFrame of shape (n_texts, 5)
            ``text`` (str): the first paragraph of the docstring, four words or more;
            ``kind`` (str): "function", "class" or "method"; ``n_parameters`` (float): of the
            signature, NaN where compiled code does not tell; ``n_lines`` (int) and ``n_examples``
            (int): lines and ``>>>`` prompts of the whole docstring.
        target : Series of shape (n_texts,), dtype int64
            The package, as an index into `target_names`.
        frame : DataFrame of shape (n_texts, 6)
            `data` and `target`.
        feature_names : list of str
            The columns of `data`.
        target_names : ndarray of shape (n_packages,), dtype str
            The packages that were read, sorted.
        names : ndarray of shape (n_texts,), dtype object
            The qualified name of what each text describes, such as "numpy.linalg.norm".
        versions : dict of str to str
            The version of each package that was read.
        DESCR : str
            The description of the data.

    (data, target) : tuple of (DataFrame, Series)
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `packages` names a package that is not among the five, or fewer than two of them are
        installed, or another parameter is not as described.

    See Also
    --------
    fetch_banking77 : Short questions and 77 intents.

    Examples
    --------
    >>> from sk_sentemb.datasets import load_docstrings
    >>> docstrings = load_docstrings(packages=["numpy", "scipy"], max_per_package=100)
    >>> docstrings.data.shape
    (200, 5)
    >>> docstrings.data.columns.tolist()
    ['text', 'kind', 'n_parameters', 'n_lines', 'n_examples']
    >>> docstrings.target_names.tolist()
    ['numpy', 'scipy']
    """
    installed = _installed(_SUBMODULES if packages is None else packages)
    rows = pd.DataFrame([row for package in installed for row in _describe(package)])
    rows = rows.drop_duplicates(["package", "text"]).drop_duplicates("text", keep=False)
    rows = rows.sort_values("text", key=lambda texts: texts.map(_digest), ignore_index=True)
    if max_per_package is not None:
        rows = rows.groupby("package").head(max_per_package).reset_index(drop=True)

    data = rows.drop(columns=["package", "name"])
    target = rows["package"].map(installed.index).astype("int64").rename("target")
    if return_X_y:
        return data, target
    versions = {package: str(import_module(package).__version__) for package in installed}
    return Bunch(
        data=data,
        target=target,
        frame=data.assign(target=target),
        feature_names=data.columns.tolist(),
        target_names=np.array(installed),
        names=rows["name"].to_numpy(dtype=object),
        versions=versions,
        DESCR=_DESCR.format(packages=", ".join(f"{k} {v}" for k, v in versions.items())),
    )


def _installed(packages: Iterable[str]) -> list[str]:
    wanted = sorted(set(packages))
    unknown = [package for package in wanted if package not in _SUBMODULES]
    if unknown:
        raise ValueError(f"packages may name {', '.join(_SUBMODULES)}, got {', '.join(unknown)}.")
    installed = [package for package in wanted if find_spec(package) is not None]
    if len(installed) < 2:
        raise ValueError(
            "load_docstrings needs at least two packages to tell apart; of packages="
            f"{wanted}, {installed} can be imported. Name or install another of "
            f"{', '.join(_SUBMODULES)}."
        )
    return installed


def _describe(package: str) -> list[dict[str, object]]:
    """Return a row for each distinct docstring that begins with a description."""
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
    """Yield the qualified name and the kind of what the modules of a package offer, and itself."""
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
