import functools
import hashlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sk_sentemb.datasets import fetch_banking77, load_docstrings
from sk_sentemb.datasets._docstrings import _first_paragraph

DATA = Path(os.environ.get("SK_SENTEMB_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRAIN_SHA256 = "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"


@pytest.fixture(scope="module")
def docstrings():
    return load_docstrings()


@pytest.fixture(scope="module")
def every_docstring():
    return load_docstrings(max_per_package=None)


def test_docstrings_are_balanced(docstrings):
    assert docstrings.target_names.tolist() == ["numpy", "pandas", "scipy", "sklearn", "torch"]
    assert np.bincount(docstrings.target).tolist() == [500] * 5


def test_docstrings_bunch_is_consistent(docstrings):
    assert docstrings.data.columns.tolist() == docstrings.feature_names
    pd.testing.assert_frame_equal(
        docstrings.frame, docstrings.data.assign(target=docstrings.target)
    )
    for package, version in docstrings.versions.items():
        assert version == import_module(package).__version__
        assert f"{package} {version}" in docstrings.DESCR


def test_docstrings_texts_are_clean_and_distinct(docstrings):
    texts = docstrings.data["text"]
    assert texts.is_unique
    assert (texts == texts.map(lambda text: " ".join(text.split()))).all()
    assert texts.str.split().str.len().min() == 4
    assert not texts.str.contains("`").any()


def test_docstrings_do_not_name_their_package(every_docstring):
    texts = every_docstring.data["text"]
    name = r"(?i)numpy|pandas|scipy|scikit.?learn|sklearn|torch|\b(?:np|pd|sp|nn)\.\w"
    assert texts[texts.str.contains(name)].tolist() == []
    assert texts.str.contains(r"\blibrary\b").any()


def test_docstrings_belong_to_the_objects_named(every_docstring):
    names, frame = every_docstring.names, every_docstring.frame
    assert len(set(names)) == len(names)
    for name, row in zip(names, frame.itertuples(), strict=True):
        described = _resolve(name)
        assert name.startswith(f"{every_docstring.target_names[row.target]}.")
        assert (row.kind == "class") == isinstance(described, type), name
        assert row.n_lines == len(inspect.getdoc(described).splitlines()), name


def _resolve(name):
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        if ".".join(parts[:depth]) in sys.modules:
            module = sys.modules[".".join(parts[:depth])]
            return functools.reduce(getattr, parts[depth:], module)
    raise LookupError(name)


@pytest.mark.parametrize(
    ("name", "text", "kind", "n_parameters"),
    [
        ("torch.add", "Adds other, scaled by alpha, to input.", "function", np.nan),
        ("pandas.DataFrame.rename", "Rename columns or index labels.", "method", 8),
        (
            "numpy.cumsum",
            "Return the cumulative sum of the elements along a given axis.",
            "function",
            4,
        ),
        (
            "scipy.stats.rankdata",
            "Assign ranks to data, dealing with ties appropriately.",
            "function",
            4,
        ),
        (
            "sklearn.linear_model.Lasso",
            "Linear Model trained with L1 prior as regularizer (aka the Lasso).",
            "class",
            10,
        ),
    ],
)
def test_docstrings_of_well_known_objects(every_docstring, name, text, kind, n_parameters):
    row = every_docstring.data[every_docstring.names == name].iloc[0]
    assert row["text"] == text
    assert row["kind"] == kind
    np.testing.assert_equal(row["n_parameters"], n_parameters)
    assert row["n_examples"] == inspect.getdoc(_resolve(name)).count(">>> ")


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("One line,\n  and another.\n\nMore.", "One line, and another."),
        ("f(x, /)\n\nf(x, out=None)\n\nWhat it does.", "What it does."),
        ("f(x,\n  y=())\n\nWhat it does.", "What it does."),
        ("f(x) -> Tensor\nWhat it does.", "What it does."),
        ("f(x) -> Tensor", ""),
        ("cos(x) - 1 for small `x`.", "cos(x) - 1 for small x."),
        ("Like :func:`~torch.nn.functional.relu` of PyTorch.", "Like library.relu of library."),
        (
            "A :class:`frame <pandas.DataFrame>`, not ``np.ndarray``.",
            "A frame, not library.ndarray.",
        ),
        ("Use scikit-learn, SciPy or TorchScript.", "Use library, library or library."),
        ("A DataFrame or tensor np or pd.", "A DataFrame or tensor np or pd."),
    ],
)
def test_first_paragraph_is_plain_and_masked(docstring, text):
    assert _first_paragraph(docstring) == text


def test_docstrings_shared_by_two_packages_are_left_out():
    shared = "Matrix or vector norm."
    assert shared in load_docstrings(packages=["numpy", "torch"], max_per_package=None).data.values
    both = load_docstrings(packages=["numpy", "scipy"], max_per_package=None)
    assert shared not in both.data["text"].tolist()


def test_fewer_docstrings_are_a_subset():
    few = load_docstrings(packages=["numpy", "pandas"], max_per_package=20)
    many = load_docstrings(packages=["numpy", "pandas"], max_per_package=60)
    assert len(few.data) == 40
    assert set(few.names) < set(many.names)


def test_docstrings_rows_are_mixed(docstrings):
    counts = np.bincount(docstrings.target[:500], minlength=5)
    assert counts.min() > 50


def test_docstrings_are_the_same_in_another_process():
    program = (
        "import torch.nn.functional, scipy.stats\n"
        "from sk_sentemb.datasets import load_docstrings\n"
        "print(load_docstrings(packages={'scipy', 'numpy'}).frame.to_csv())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = load_docstrings(packages=("numpy", "scipy")).frame.to_csv()
    assert there.stdout.split() == here.split()


def test_docstrings_as_X_y(docstrings):
    X, y = load_docstrings(return_X_y=True)
    pd.testing.assert_frame_equal(X, docstrings.data)
    pd.testing.assert_series_equal(y, docstrings.target)


def test_docstrings_are_read_without_warnings_or_random_numbers():
    state = np.random.get_state()[1].copy()  # noqa: NPY002, the global state is what is tested
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_docstrings()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_package_can_be_told_from_text(docstrings):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    scores = cross_val_score(model, docstrings.data["text"], docstrings.target, cv=3)
    assert 0.7 < scores.mean() < 0.95


def test_absent_package_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # what Python takes for "not installed"
    docstrings = load_docstrings(packages=["torch", "numpy", "pandas"], max_per_package=5)
    assert docstrings.target_names.tolist() == ["numpy", "pandas"]
    with pytest.raises(ValueError, match=r"at least two packages.*\['numpy'\] can be imported"):
        load_docstrings(packages=["torch", "numpy"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"packages": ["numpy"]}, "at least two packages"),
        ({"packages": ["numpy", "jax"]}, "got jax"),
        ({"packages": "numpy"}, "'packages' parameter"),
        ({"max_per_package": 0}, "'max_per_package' parameter"),
        ({"max_per_package": 1.5}, "'max_per_package' parameter"),
    ],
)
def test_load_docstrings_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        load_docstrings(**parameters)


@pytest.fixture
def published():
    folder = DATA / "banking77"
    if not folder.is_dir():
        pytest.skip(f"Banking77 is not at {folder}; set SK_SENTEMB_DATA")
    return folder


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setenv("SK_SENTEMB_DATA", str(DATA))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(_QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("SK_SENTEMB_DATA", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("SK_SENTEMB_BANKING77_URL", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_banking77_is_read_where_the_environment_says(published, local, tmp_path):
    banking = fetch_banking77(data_home=tmp_path / "home", download_if_missing=False)
    assert banking.data[0] == "I am still waiting on my card?"
    assert banking.target_names[banking.target[0]] == "card_arrival"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("subset", "size"), [("train", 10_003), ("test", 3_080), ("all", 13_083)])
def test_banking77_sizes(published, local, subset, size):
    banking = fetch_banking77(subset=subset)
    assert banking.frame.shape == (size, 2)
    assert banking.target_names.tolist() == sorted(set(banking.target_names))
    assert len(banking.target_names) == 77
    assert np.unique(banking.target).tolist() == list(range(77))
    assert banking.data.map(type).eq(str).all()
    assert "CC BY 4.0" in banking.DESCR


def test_banking77_is_what_the_files_say(published, local):
    banking = fetch_banking77(subset="all")
    files = [pd.read_csv(published / f"{split}.csv", dtype=str) for split in ("train", "test")]
    expected = pd.concat(files, ignore_index=True)
    assert banking.data.tolist() == expected["text"].tolist()
    assert banking.target_names[banking.target].tolist() == expected["category"].tolist()


def test_banking77_as_X_y(published, local):
    banking = fetch_banking77(subset="test")
    X, y = fetch_banking77(subset="test", return_X_y=True)
    pd.testing.assert_series_equal(X, banking.data)
    pd.testing.assert_series_equal(y, banking.target)
    pd.testing.assert_frame_equal(banking.frame, pd.DataFrame({"text": X, "target": y}))


def test_banking77_is_downloaded_once(published, mirror, tmp_path):
    shutil.copy(published / "train.csv", mirror)
    downloaded = fetch_banking77(data_home=tmp_path / "home")
    cache = tmp_path / "home" / "sk_sentemb" / "banking77"
    assert [path.name for path in cache.iterdir()] == ["train.csv"]
    assert (cache / "train.csv").read_bytes() == (published / "train.csv").read_bytes()

    (mirror / "train.csv").unlink()
    again = fetch_banking77(data_home=str(tmp_path / "home"), download_if_missing=False)
    pd.testing.assert_frame_equal(again.frame, downloaded.frame)


def test_corrupted_download_is_refused(published, mirror, tmp_path):
    corrupted = (published / "train.csv").read_bytes()[:-1]
    (mirror / "train.csv").write_bytes(corrupted)
    with pytest.raises(OSError, match="could not be downloaded") as error:
        fetch_banking77(data_home=tmp_path / "home")
    for part in ("train.csv", TRAIN_SHA256, hashlib.sha256(corrupted).hexdigest(), "Try again"):
        assert part in str(error.value)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_file_missing_from_the_mirror(mirror, tmp_path):
    with pytest.raises(OSError, match=r"404.*/test\.csv.*to work offline, copy the file to"):
        fetch_banking77(subset="test", data_home=tmp_path)


def test_no_network(mirror, tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), _QuietHandler) as server:
        port = server.server_port  # closed again below, so nothing listens there
    monkeypatch.setenv("SK_SENTEMB_BANKING77_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(OSError, match=r"could not be downloaded.*to work offline"):
        fetch_banking77(data_home=tmp_path)


def test_nothing_is_downloaded_unless_allowed(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("SK_SENTEMB_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="not on this machine") as error:
        fetch_banking77(data_home=tmp_path / "home", download_if_missing=False)
    for folder in (tmp_path / "elsewhere", tmp_path / "home" / "sk_sentemb"):
        assert str(folder / "banking77" / "train.csv") in str(error.value)
    assert "download_if_missing=True" in str(error.value)


@pytest.mark.parametrize("place", ["environment", "cache"])
def test_corrupted_file_on_disk_is_refused(mirror, tmp_path, monkeypatch, place):
    if place == "environment":
        monkeypatch.setenv("SK_SENTEMB_DATA", str(tmp_path / "data"))
        folder = tmp_path / "data" / "banking77"
    else:
        folder = tmp_path / "home" / "sk_sentemb" / "banking77"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("text,category\nWhere is my card?,card_arrival\n")
    found = hashlib.sha256((folder / "train.csv").read_bytes()).hexdigest()
    with pytest.raises(OSError, match=re.escape(str(folder / "train.csv"))) as error:
        fetch_banking77(data_home=tmp_path / "home")
    for part in (found, TRAIN_SHA256, "Delete it"):
        assert part in str(error.value)


def test_missing_pooch_names_the_extra(mirror, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)  # what Python takes for "not installed"
    with pytest.raises(ImportError, match=r'pip install "sk-sentemb\[datasets\]"'):
        fetch_banking77(data_home=tmp_path)


@pytest.mark.parametrize(
    "parameters", [{"subset": "validation"}, {"data_home": 3}, {"download_if_missing": "no"}]
)
def test_fetch_banking77_refuses(parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter"):
        fetch_banking77(**parameters)
