"""Banking77: messages of bank customers, labeled with intents."""

import hashlib
import io
import os
from collections.abc import Iterator
from importlib.resources import files
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

_CITATION = """\
Source: https://github.com/PolyAI-LDN/task-specific-datasets{changes}
License: Creative Commons Attribution 4.0 International (CC BY 4.0).

I. Casanueva, T. Temcinas, D. Gerz, M. Henderson and I. Vulic, "Efficient Intent Detection with
Dual Sentence Encoders", Proceedings of the 2nd Workshop on NLP for ConvAI, 2020,
https://arxiv.org/abs/2003.04807
"""

_DESCR = """\
Banking77
---------

13,083 messages of customers to an online bank, in English, each labeled with one of 77 intents
such as "card_arrival" or "exchange_rate": 10,003 for training and 3,080 (40 of each intent) for
testing.

""" + _CITATION.format(changes=", unchanged.")

_SAMPLE_DESCR = """\
A sample of Banking77
---------------------

500 messages of customers to an online bank, in English, each labeled with one of 10 intents, 50
messages of each. Every intent has a similar one: "card_arrival" and "card_delivery_estimate",
"exchange_rate" and "exchange_charge".

""" + _CITATION.format(
    changes=(
        ".\nChanges: 10 of 77 intents, 50 messages of each drawn at random from the training data "
        "without duplicates\nand line breaks, shuffled. The messages are unchanged."
    )
)


@validate_params(
    {"return_X_y": ["boolean"], "as_frame": ["boolean"]}, prefer_skip_nested_validation=True
)
def load_banking77_sample(*, return_X_y: bool = False, as_frame: bool = True) -> Any:
    """Load 500 messages of bank customers, labeled with 10 intents (classification).

    A sample of Banking77 that is part of the package and needs no network: 50 messages of each
    intent, in an order that mixes them.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=True
        Whether the data are pandas objects.

        - If True, `data` and `target` are Series.
        - If False, `data` and `target` are arrays, and `frame` is None.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        A dictionary-like object with the following attributes.

        data : Series or ndarray of shape (500,), dtype str or object
            The messages.
        target : Series or ndarray of shape (500,), dtype int64
            The intent of each message, as an index into `target_names`.
        frame : DataFrame of shape (500, 2) or None
            The columns ``text`` and ``target``.
        target_names : ndarray of shape (10,), dtype str
            The names of the intents, sorted.
        DESCR : str
            The description of the data, with its source and license.

    (data, target) : tuple
        If `return_X_y` is True.

    See Also
    --------
    fetch_banking77 : Load all 13,083 messages and 77 intents.

    Notes
    -----
    The data are licensed under CC BY 4.0.

    References
    ----------
    I. Casanueva, T. Temcinas, D. Gerz, M. Henderson and I. Vulic, "Efficient Intent Detection with
    Dual Sentence Encoders", 2020, https://arxiv.org/abs/2003.04807

    Examples
    --------
    >>> from sk_sentemb.datasets import load_banking77_sample
    >>> banking = load_banking77_sample()
    >>> banking.data[5], banking.target_names[banking.target[5]].item()
    ('I need to find out where the card is that I ordered.', 'card_arrival')
    """
    content = files(__package__).joinpath("data", "banking77_sample.csv").read_bytes()
    return _to_bunch(_read_csv(content), _SAMPLE_DESCR, return_X_y, as_frame)


@validate_params(
    {
        "subset": [StrOptions(set(_SPLITS))],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_banking77(
    *,
    subset: str = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = True,
) -> Any:
    """Load the messages and intents of Banking77, downloading them if necessary (classification).

    Each file is looked up in ``$SK_SENTEMB_DATA/banking77`` if that environment variable is set,
    then in ``sk_sentemb/banking77`` under `data_home`. A file that is in neither folder is
    downloaded to the latter (1 MB for both files). The SHA-256 checksum of each file is verified.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The messages to load.

        - ``"train"``: the 10,003 training messages.
        - ``"test"``: the 3,080 test messages.
        - ``"all"``: the training messages followed by the test messages.
    data_home : str or path-like, default=None
        The folder of scikit-learn's datasets. If None, :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        If False, raise an error instead of downloading missing files.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=True
        Whether the data are pandas objects.

        - If True, `data` and `target` are Series.
        - If False, `data` and `target` are arrays, and `frame` is None.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        A dictionary-like object with the following attributes.

        data : Series or ndarray of shape (n_messages,), dtype str or object
            The messages, unchanged. One-dimensional because scikit-learn's text vectorizers
            iterate over their input.
        target : Series or ndarray of shape (n_messages,), dtype int64
            The intent of each message, as an index into `target_names`.
        frame : DataFrame of shape (n_messages, 2) or None
            The columns ``text`` and ``target``.
        target_names : ndarray of shape (77,), dtype str
            The names of the intents, sorted.
        DESCR : str
            The description of the data, with its source and license.

    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a parameter has an invalid value.
    ImportError
        If a file has to be downloaded and pooch is not installed.
    OSError
        If a file is missing and cannot or must not be downloaded, or has a wrong checksum.

    See Also
    --------
    load_banking77_sample : Load a small sample that needs no download.

    Notes
    -----
    The environment variable ``SK_SENTEMB_BANKING77_URL`` sets a mirror: the URL of a folder with
    ``train.csv`` and ``test.csv``. The data are licensed under CC BY 4.0.

    References
    ----------
    I. Casanueva, T. Temcinas, D. Gerz, M. Henderson and I. Vulic, "Efficient Intent Detection with
    Dual Sentence Encoders", 2020, https://arxiv.org/abs/2003.04807

    Examples
    --------
    >>> from sk_sentemb.datasets import fetch_banking77
    >>> banking = fetch_banking77()  # doctest: +SKIP
    >>> banking.data[0], banking.target_names[banking.target[0]].item()  # doctest: +SKIP
    ('I am still waiting on my card?', 'card_arrival')
    """
    frame = pd.concat(
        [_read_split(split, data_home, download_if_missing) for split in _SPLITS[subset]],
        ignore_index=True,
    )
    return _to_bunch(frame, _DESCR, return_X_y, as_frame)


def _to_bunch(frame: pd.DataFrame, descr: str, return_X_y: bool, as_frame: bool) -> Any:
    """Return what a loader returns for a table of messages and intents."""
    target_names, codes = np.unique(frame["category"].to_numpy(dtype=str), return_inverse=True)
    data: Any = frame["text"]
    target: Any = pd.Series(codes, name="target", dtype="int64")
    together = pd.DataFrame({"text": data, "target": target}) if as_frame else None
    if not as_frame:
        data, target = data.to_numpy(dtype=object), target.to_numpy()
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, frame=together, target_names=target_names, DESCR=descr)


def _read_csv(content: bytes) -> pd.DataFrame:
    # Without `keep_default_na=False` a message such as "null" would be a missing value.
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)


def _read_split(
    split: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> pd.DataFrame:
    path = _find_or_download(split, data_home, download_if_missing)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256[split]:
        raise OSError(
            f"{path} is not the published file: its SHA-256 checksum is {found}, expected "
            f"{_SHA256[split]}. Delete the file to download it again."
        )
    return _read_csv(content)


def _find_or_download(
    split: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> Path:
    looked = []
    for folder in _folders(data_home):
        path = folder / f"{split}.csv"
        if path.is_file():
            return path
        looked.append(str(path))
    if not download_if_missing:
        raise OSError(
            f"Banking77 was not found at {' or '.join(looked)}. Set download_if_missing=True, or "
            "copy the file there from another machine."
        )
    _download(split, path)
    return path


def _folders(data_home: str | os.PathLike[str] | None) -> Iterator[Path]:
    if local := os.environ.get("SK_SENTEMB_DATA"):
        yield Path(local) / "banking77"
    # Last, because scikit-learn creates this folder.
    yield Path(get_data_home(data_home)) / "sk_sentemb" / "banking77"


def _download(split: str, path: Path) -> None:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            "fetch_banking77 needs pooch to download files. Install it with "
            'pip install "sk-sentemb[datasets]".'
        ) from error
    url = f"{os.environ.get('SK_SENTEMB_BANKING77_URL', _HOME).rstrip('/')}/{path.name}"
    try:
        pooch.retrieve(url, known_hash=_SHA256[split], fname=path.name, path=path.parent)
    except (OSError, ValueError) as error:
        # On a wrong checksum, pooch deletes the file and raises a ValueError with both checksums.
        raise OSError(
            f"{path} does not exist, and {url} could not be downloaded ({error}). Try again later; "
            f"to work offline, copy the file to {path.parent} from another machine."
        ) from error
