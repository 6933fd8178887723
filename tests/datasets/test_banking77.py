import functools
import hashlib
import os
import re
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sk_sentemb.datasets import fetch_banking77, load_banking77_sample

DATA = Path(os.environ.get("SK_SENTEMB_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRAIN_SHA256 = "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"


def test_banking77_sample_has_fifty_messages_of_ten_intents():
    sample = load_banking77_sample()
    assert sample.frame.shape == (500, 2)
    assert len(sample.target_names) == 10
    assert sample.target_names.tolist() == sorted(sample.target_names)
    assert np.bincount(sample.target).tolist() == [50] * 10
    assert sample.data.is_unique
    assert "CC BY 4.0" in sample.DESCR


def test_banking77_sample_is_part_of_the_training_messages(published, local):
    sample, train = load_banking77_sample(), fetch_banking77()
    known = set(zip(train.data, train.target_names[train.target], strict=True))
    assert set(zip(sample.data, sample.target_names[sample.target], strict=True)) <= known


def test_banking77_sample_mixes_the_intents():
    assert np.bincount(load_banking77_sample().target[:100], minlength=10).min() >= 5


def test_banking77_sample_as_arrays():
    sample, arrays = load_banking77_sample(), load_banking77_sample(as_frame=False)
    assert type(arrays.data) is type(arrays.target) is np.ndarray
    assert arrays.data.dtype == object
    assert arrays.target.dtype == np.int64
    assert arrays.frame is None
    np.testing.assert_array_equal(arrays.data, sample.data)
    np.testing.assert_array_equal(arrays.target, sample.target)


@pytest.mark.parametrize("as_frame", [True, False])
def test_banking77_sample_as_X_y(as_frame):
    sample = load_banking77_sample(as_frame=as_frame)
    X, y = load_banking77_sample(return_X_y=True, as_frame=as_frame)
    assert type(X) is type(sample.data)
    np.testing.assert_array_equal(X, sample.data)
    np.testing.assert_array_equal(y, sample.target)


def test_banking77_sample_names_its_license():
    text = files("sk_sentemb.datasets").joinpath("data", "banking77_sample.LICENSE.txt").read_text()
    for part in ("PolyAI", "Casanueva", "CC BY 4.0", "Changes:", "creativecommons.org"):
        assert part in text


def test_banking77_sample_rejects_invalid_parameters():
    with pytest.raises(ValueError, match="'as_frame' parameter"):
        load_banking77_sample(as_frame="auto")


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


def test_fetch_banking77_from_the_folder_of_the_environment(published, local, tmp_path):
    banking = fetch_banking77(data_home=tmp_path / "home", download_if_missing=False)
    assert banking.data[0] == "I am still waiting on my card?"
    assert banking.target_names[banking.target[0]] == "card_arrival"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("subset", "size"), [("train", 10_003), ("test", 3_080), ("all", 13_083)])
def test_fetch_banking77_sizes(published, local, subset, size):
    banking = fetch_banking77(subset=subset)
    assert banking.frame.shape == (size, 2)
    assert banking.target_names.tolist() == sorted(set(banking.target_names))
    assert len(banking.target_names) == 77
    assert np.unique(banking.target).tolist() == list(range(77))
    assert banking.data.map(type).eq(str).all()
    assert "CC BY 4.0" in banking.DESCR


def test_fetch_banking77_equals_the_files(published, local):
    banking = fetch_banking77(subset="all")
    files = [pd.read_csv(published / f"{split}.csv", dtype=str) for split in ("train", "test")]
    expected = pd.concat(files, ignore_index=True)
    assert banking.data.tolist() == expected["text"].tolist()
    assert banking.target_names[banking.target].tolist() == expected["category"].tolist()


def test_fetch_banking77_as_X_y(published, local):
    banking = fetch_banking77(subset="test")
    X, y = fetch_banking77(subset="test", return_X_y=True)
    pd.testing.assert_series_equal(X, banking.data)
    pd.testing.assert_series_equal(y, banking.target)
    pd.testing.assert_frame_equal(banking.frame, pd.DataFrame({"text": X, "target": y}))
    arrays = fetch_banking77(subset="test", return_X_y=True, as_frame=False)
    assert [type(part) for part in arrays] == [np.ndarray, np.ndarray]


def test_fetch_banking77_downloads_once(published, mirror, tmp_path):
    shutil.copy(published / "train.csv", mirror)
    downloaded = fetch_banking77(data_home=tmp_path / "home")
    cache = tmp_path / "home" / "sk_sentemb" / "banking77"
    assert [path.name for path in cache.iterdir()] == ["train.csv"]
    assert (cache / "train.csv").read_bytes() == (published / "train.csv").read_bytes()

    (mirror / "train.csv").unlink()
    again = fetch_banking77(data_home=str(tmp_path / "home"), download_if_missing=False)
    pd.testing.assert_frame_equal(again.frame, downloaded.frame)


def test_fetch_banking77_rejects_a_corrupted_download(published, mirror, tmp_path):
    corrupted = (published / "train.csv").read_bytes()[:-1]
    (mirror / "train.csv").write_bytes(corrupted)
    with pytest.raises(OSError, match="could not be downloaded") as error:
        fetch_banking77(data_home=tmp_path / "home")
    for part in ("train.csv", TRAIN_SHA256, hashlib.sha256(corrupted).hexdigest(), "Try again"):
        assert part in str(error.value)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_fetch_banking77_with_a_file_missing_from_the_mirror(mirror, tmp_path):
    with pytest.raises(OSError, match=r"404.*/test\.csv.*to work offline, copy the file to"):
        fetch_banking77(subset="test", data_home=tmp_path)


def test_fetch_banking77_without_a_network(mirror, tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), _QuietHandler) as server:
        port = server.server_port  # closed again below, so nothing listens there
    monkeypatch.setenv("SK_SENTEMB_BANKING77_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(OSError, match=r"could not be downloaded.*to work offline"):
        fetch_banking77(data_home=tmp_path)


def test_fetch_banking77_downloads_only_if_allowed(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("SK_SENTEMB_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="Banking77 was not found at") as error:
        fetch_banking77(data_home=tmp_path / "home", download_if_missing=False)
    for folder in (tmp_path / "elsewhere", tmp_path / "home" / "sk_sentemb"):
        assert str(folder / "banking77" / "train.csv") in str(error.value)
    assert "download_if_missing=True" in str(error.value)


@pytest.mark.parametrize("place", ["environment", "cache"])
def test_fetch_banking77_rejects_a_corrupted_file(mirror, tmp_path, monkeypatch, place):
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
    for part in (found, TRAIN_SHA256, "Delete the file"):
        assert part in str(error.value)


def test_fetch_banking77_without_pooch_names_the_extra(mirror, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)  # what Python takes for "not installed"
    with pytest.raises(ImportError, match=r'pip install "sk-sentemb\[datasets\]"'):
        fetch_banking77(data_home=tmp_path)


@pytest.mark.parametrize(
    "parameters", [{"subset": "validation"}, {"data_home": 3}, {"download_if_missing": "no"}]
)
def test_fetch_banking77_rejects_invalid_parameters(parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter"):
        fetch_banking77(**parameters)
