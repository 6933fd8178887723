"""Data frames in Arrow files: dtypes, missing values, and columns that Arrow cannot hold."""

import datetime as dt
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sk_sentemb.exceptions import IndexFileError
from sk_sentemb.retrieval.document_table import (
    frame_to_table,
    read_table,
    table_to_frame,
    write_table,
)
from sk_sentemb.retrieval.lazy_documents import LazyDocuments

DATES = pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01"]))


def objects(*values):
    return pd.Series(values, dtype=object)


COLUMNS = {
    "int8": np.array([1, 2, 3], "i1"),
    "uint64": np.array([1, 2, 2**64 - 1], "u8"),
    "float32": np.array([1, np.nan, np.inf], "f4"),
    "bool": [True, False, True],
    "str": ["a", None, "ü"],
    "string": pd.Series(["a", pd.NA, ""], dtype="string"),
    "arrow string": pd.Series(["a", None, "c"], dtype=pd.ArrowDtype(pa.string())),
    "arrow list": pd.Series([[1], None, [2, 3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "Int64": pd.Series([1, None, 2**60 + 1], dtype="Int64"),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "category": pd.Categorical(["x", "y", None], categories=["y", "x", "z"], ordered=True),
    "category of int": pd.Categorical([1, 2, 1]),
    "datetime": DATES,
    "datetime in s": DATES.astype("datetime64[s]"),
    "datetime with zone": DATES.dt.tz_localize("Europe/Berlin"),
    "timedelta": pd.Series(pd.to_timedelta([1, None, 3], unit="s")),
    "period": pd.period_range("2020", periods=3, freq="M"),
    "interval": pd.interval_range(0, 3),
    "objects: str": objects("a", None, "  "),
    "objects: surrogates": objects("\ud800", "ü", None),
    "objects: bytes": objects(b"a", b"", None),
    "objects: bool": objects(True, None, False),
    "objects: int": objects(1, None, 2**40),
    "objects: float": objects(1.5, None, 2.0),
    "objects: list": objects(["a"], [], None),
    "objects: dict": objects({"a": 1}, {"a": 2}, None),
    "objects: date": objects(dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)),
    "objects: datetime": objects(dt.datetime(2020, 1, 1, 3), None, None),
    "objects: Decimal": objects(Decimal("1.10"), None, Decimal("2")),
    "objects: None": objects(None, None, None),
}

UNSAVED = {
    "tuple": objects((1,), (2,), None),
    "set": objects({1}, None, None),
    "array": objects(np.ones(2), None, None),
    "int and str": objects(1, "a", None),
    "int and float": objects(1, 2.5, None),
    "too large an int": objects(2**64, 1, None),
    "bool and int": objects(True, 2, None),
    "dicts of other keys": objects({"a": 1}, {"b": 2}, None),
    "class": objects(object(), None, None),
    "surrogates in lists": objects(["\ud800"], ["a"], None),
    "complex": np.array([1j, 2, 3]),
    "sparse": pd.arrays.SparseArray([1, 0, 0]),
    "category of period": pd.Categorical(pd.period_range("2020", periods=3, freq="M")),
}


def restore(frame, tmp_path):
    file = tmp_path / "documents.arrow"
    write_table(frame_to_table(frame), file)
    return table_to_frame(read_table(file))


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_and_columns_are_read_alone(tmp_path, name):
    frame = pd.DataFrame({"id": [7, 8, 9], "text": ["a", None, ""], name: COLUMNS[name]})
    write_table(frame_to_table(frame), tmp_path / "documents.arrow")
    documents = LazyDocuments(table=read_table(tmp_path / "documents.arrow"))
    for rows in ([2, 0, 0], []):
        taken = documents.take(np.array(rows, dtype=np.intp))
        pd.testing.assert_frame_equal(taken, frame.iloc[rows].reset_index(drop=True))
    pd.testing.assert_series_equal(documents[name], frame[name], check_freq=False)
    assert documents.ids.tolist() == [7, 8, 9]
    assert documents.has_text.tolist() == [True, False, True]
    assert (len(documents), list(documents)) == (3, ["id", "text", name])
    assert documents._frame is None
    for same in (documents.frame, pickle.loads(pickle.dumps(documents)).frame):
        pd.testing.assert_frame_equal(same, frame, check_freq=False)
    assert documents.has_text.tolist() == LazyDocuments(frame).has_text.tolist()


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("rows", [slice(None), slice(0, 0)])
def test_columns_keep_their_dtype_and_values(tmp_path, name, rows):
    frame = pd.DataFrame({name: COLUMNS[name]})[rows]
    pd.testing.assert_frame_equal(restore(frame, tmp_path), frame, check_freq=False)


def test_columns_keep_their_order_and_the_index_is_new(tmp_path):
    frame = pd.DataFrame(dict(reversed(COLUMNS.items())))
    pd.testing.assert_frame_equal(restore(frame.set_axis([7, 8, 9]), tmp_path), frame)


def test_strings_of_python_objects_keep_their_values(tmp_path):
    frame = pd.DataFrame({"a": pd.Series(["a", pd.NA], dtype="string[python]")})
    assert restore(frame, tmp_path)["a"].tolist() == ["a", pd.NA]


def test_missing_values_among_objects_become_none(tmp_path):
    frame = pd.DataFrame({"a": objects("x", np.nan, pd.NA)})
    assert restore(frame, tmp_path)["a"].tolist() == ["x", None, None]


@pytest.mark.parametrize("name", UNSAVED)
def test_columns_that_would_change_are_errors(name):
    with pytest.raises(ValueError, match=r"column 'tags' of the documents, of dtype .* cannot be"):
        frame_to_table(pd.DataFrame({"tags": UNSAVED[name]}))


def test_the_error_names_the_row():
    with pytest.raises(ValueError, match=r"row 1 has \(1,\) of type tuple, which would be \[1\]"):
        frame_to_table(pd.DataFrame({"tags": objects(None, (1,))}))


def test_names_of_columns_are_distinct_strings():
    with pytest.raises(TypeError, match="a column 3, whose name is not a str"):
        frame_to_table(pd.DataFrame({3: ["a"]}))
    with pytest.raises(ValueError, match=r"columns of the same name: .*'a', 'a'"):
        frame_to_table(pd.DataFrame([["a", "b"]], columns=["a", "a"]))


def test_strings_are_mapped_and_not_copied(tmp_path):
    before = pa.total_allocated_bytes()
    frame = restore(pd.DataFrame({"text": ["ferry " * 50] * 10_000}), tmp_path)
    if frame["text"].dtype == object:
        pytest.skip("before pandas 3, strings are Python objects")
    assert pa.total_allocated_bytes() - before < 100_000
    assert frame["text"].iloc[-1] == "ferry " * 50


def test_other_files_are_errors(tmp_path):
    file = tmp_path / "documents.arrow"
    for content in (b"", b"text", b"ARROW1" + bytes(100)):
        file.write_bytes(content)
        with pytest.raises(IndexFileError, match=r"documents\.arrow is damaged"):
            read_table(file)
