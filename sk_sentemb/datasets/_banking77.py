"""Banking77: questions of bank customers and what they want."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

_HOME = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data"
_SHA256 = {
    "train": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
    "test": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
}
_SPLITS = {"train": ["train"], "test": ["test"], "all": ["train", "test"]}

_DESCR = """\
Banking77
---------

13,083 questions of customers to an online bank, in English, each with one of 77 intents such as
"card_arrival" or "exchange_rate": 10,003 for training and 3,080 (40 of each intent) for testing.

Source: https://github.com/PolyAI-LDN/task-specific-datasets, unchanged.
Licence: Creative Commons Attribution 4.0 International (CC BY 4.0).

I. Casanueva, T. Temcinas, D. Gerz, M. Henderson and I. Vulic, "Efficient Intent Detection with
Dual Sentence Encoders", Proceedings of the 2nd Workshop on NLP for ConvAI, 2020,
https://arxiv.org/abs/2003.04807
"""


@validate_params(
    {
        "subset": [StrOptions(set(_SPLITS))],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_banking77(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load the Banking77 questions and intents, downloading them the first time.

    Each file is looked for in ``$SK_SENTEMB_DATA/banking77``, if that environment variable is set,
    and then in ``sk_sentemb/banking77`` under `data_home`; one that is in neither is downloaded
    (1 MB for both) into the latter. Wherever a file comes from, its SHA-256 sum is checked.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The questions to return; ``"all"``: the training questions, then those for testing.
    data_home : str or path-like, default=None
        The folder of scikit-learn's data sets; None: :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        If False, raise an error rather than download.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the following attributes.

        data : Series of shape (n_questions,), dtype str
            The questions as they were written. A Series and not a frame, because scikit-learn's
            text vectorizers iterate over what they get.
        target : Series of shape (n_questions,), dtype int64
            The intent, as an index into `target_names`.
        frame : DataFrame of shape (n_questions, 2)
            ``text`` and ``target``.
        target_names : ndarray of shape (77,), dtype str
            The intents, sorted.
        DESCR : str
            The description of the data, with its source and licence.

    (data, target) : tuple of (Series, Series)
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a parameter is not as described.
    ImportError
        If a file has to be downloaded and pooch is not installed.
    OSError
        If a file is not there and cannot or may not be downloaded, or is not the published one.

    See Also
    --------
    load_docstrings : Texts that need no download.

    Notes
    -----
    The environment variable ``SK_SENTEMB_BANKING77_URL`` names a mirror: the address of a folder
    with ``train.csv`` and ``test.csv``. The data are licensed CC BY 4.0.

    References
    ----------
    I. Casanueva, T. Temcinas, D. Gerz, M. Henderson and I. Vulic, "Efficient Intent Detection with
    Dual Sentence Encoders", 2020, https://arxiv.org/abs/2003.04807

    Examples
    --------
    >>> from sk_sentemb.datasets import fetch_banking77
    >>> banking = fetch_banking77()  # doctest: +SKIP
    >>> banking.data[0], banking.target_names[banking.target[0]]  # doctest: +SKIP
    ('I am still waiting on my card?', 'card_arrival')
    """
    frame = pd.concat(
        [_read(split, data_home, download_if_missing) for split in _SPLITS[subset]],
        ignore_index=True,
    )
    target_names, codes = np.unique(frame["category"].to_numpy(dtype=str), return_inverse=True)
    target = pd.Series(codes, name="target", dtype="int64")
    if return_X_y:
        return frame["text"], target
    return Bunch(
        data=frame["text"],
        target=target,
        frame=frame[["text"]].assign(target=target),
        target_names=target_names,
        DESCR=_DESCR,
    )


def _read(
    split: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> pd.DataFrame:
    path = _find(split, data_home, download_if_missing)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256[split]:
        raise OSError(
            f"{path} is not the published file: its SHA-256 sum is {found}, expected "
            f"{_SHA256[split]}. Delete it, and it will be downloaded again."
        )
    # Without `keep_default_na=False` a question such as "null" would be a missing value.
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)


def _find(split: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool) -> Path:
    looked = []
    for folder in _folders(data_home):
        path = folder / f"{split}.csv"
        if path.is_file():
            return path
        looked.append(str(path))
    if not download_if_missing:
        raise OSError(
            f"Banking77 is not on this machine: looked for {' and '.join(looked)}. Set "
            "download_if_missing=True, or copy the file there from a machine that has it."
        )
    _download(split, path)
    return path


def _folders(data_home: str | os.PathLike[str] | None) -> Iterator[Path]:
    if local := os.environ.get("SK_SENTEMB_DATA"):
        yield Path(local) / "banking77"
    # Last and not before it is needed: scikit-learn creates this folder.
    yield Path(get_data_home(data_home)) / "sk_sentemb" / "banking77"


def _download(split: str, path: Path) -> None:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            "fetch_banking77 downloads with pooch, which is not installed: "
            'pip install "sk-sentemb[datasets]".'
        ) from error
    url = f"{os.environ.get('SK_SENTEMB_BANKING77_URL', _HOME).rstrip('/')}/{path.name}"
    try:
        pooch.retrieve(url, known_hash=_SHA256[split], fname=path.name, path=path.parent)
    except (OSError, ValueError) as error:
        # A ValueError names both sums: pooch refused, and deleted, what is not the published file.
        raise OSError(
            f"{path} is not there, and {url} could not be downloaded ({error}). Try again later; "
            f"to work offline, copy the file to {path.parent} from a machine that has it."
        ) from error
