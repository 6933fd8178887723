import datetime
import enum
import fractions
import subprocess
import sys
from decimal import Decimal
from pathlib import PurePosixPath

import narwhals as nw
import narwhals.stable.v2 as nw_stable
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sk_sentemb import SentenceEmbedder
from sk_sentemb._inputs.text import read_text_columns
from tests.helpers.tiny_models import TINY

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

TEXTS = ["a cat", "", "Ünïcödé 🐈", "a cat", "two\nlines"]
WITH_MISSING = ["a cat", None, ""]

STRING_DTYPE = pytest.mark.skipif(
    not hasattr(np.dtypes, "StringDType"), reason="numpy < 2 has no StringDType"
)


class WithArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Colour(enum.Enum):
    RED = "red"


class ColourText(str, enum.Enum):  # noqa: UP042, str() of a StrEnum is its value already
    RED = "red"


class Label(str):
    def __str__(self):
        return "not the text"


def assert_is_one_plain_column(columns, texts, missing):
    assert columns.texts == [texts]
    assert {type(text) for text in columns.texts[0]} <= {str}
    assert columns.missing.dtype == bool
    np.testing.assert_array_equal(columns.missing, np.array(missing, dtype=bool).reshape(-1, 1))


def categorical(texts):
    return pd.Series(texts).astype("category")


def dictionary(texts):
    return pa.array(texts).dictionary_encode()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(list, id="list"),
        pytest.param(tuple, id="tuple"),
        pytest.param(lambda texts: [[text] for text in texts], id="list-of-lists"),
        pytest.param(lambda texts: [(text,) for text in texts], id="list-of-tuples"),
        pytest.param(lambda texts: [np.array([text]) for text in texts], id="list-of-arrays"),
        pytest.param(lambda texts: [np.str_(text) for text in texts], id="list-of-numpy-str"),
        pytest.param(lambda texts: [Label(text) for text in texts], id="list-of-str-subclass"),
        pytest.param(np.array, id="numpy-str"),
        pytest.param(lambda texts: np.array(texts).reshape(-1, 1), id="numpy-str-2d"),
        pytest.param(lambda texts: np.array(texts, dtype=object), id="numpy-object"),
        pytest.param(
            lambda texts: np.array(texts, dtype=np.dtypes.StringDType()),
            id="numpy-string",
            marks=STRING_DTYPE,
        ),
        pytest.param(lambda texts: np.ma.array(texts), id="numpy-masked"),
        pytest.param(lambda texts: WithArray(np.array(texts)), id="array-protocol"),
        pytest.param(pd.Series, id="pandas"),
        pytest.param(lambda texts: pd.Series(texts, dtype=object), id="pandas-object"),
        pytest.param(lambda texts: pd.Series(texts, dtype="string[python]"), id="pandas-string"),
        pytest.param(lambda texts: pd.Series(texts, dtype="string[pyarrow]"), id="pandas-pyarrow"),
        pytest.param(categorical, id="pandas-category"),
        pytest.param(lambda texts: pd.DataFrame({0: texts}), id="pandas-frame"),
        pytest.param(pd.Index, id="pandas-index"),
        pytest.param(pd.CategoricalIndex, id="pandas-categorical-index"),
        pytest.param(pd.array, id="pandas-array"),
        pytest.param(pd.Categorical, id="pandas-categorical-array"),
        pytest.param(pl.Series, id="polars"),
        pytest.param(lambda texts: pl.Series(texts, dtype=pl.Categorical), id="polars-category"),
        pytest.param(lambda texts: pl.Series(texts, dtype=pl.Object), id="polars-object"),
        pytest.param(lambda texts: pl.DataFrame({"": texts}), id="polars-frame"),
        pytest.param(pa.array, id="pyarrow-array"),
        pytest.param(lambda texts: pa.array(texts, pa.large_string()), id="pyarrow-large"),
        pytest.param(dictionary, id="pyarrow-dictionary"),
        pytest.param(lambda texts: pa.chunked_array([texts[:2], texts[2:]]), id="pyarrow-chunked"),
        pytest.param(lambda texts: list(pa.array(texts)), id="list-of-pyarrow-scalars"),
        pytest.param(lambda texts: pa.table({"": texts}), id="pyarrow-table"),
        pytest.param(lambda texts: pa.record_batch({"": texts}), id="pyarrow-record-batch"),
        pytest.param(lambda texts: nw.from_native(pd.Series(texts), series_only=True), id="nw"),
        pytest.param(lambda texts: nw.from_native(pl.DataFrame({"": texts})), id="nw-frame"),
        pytest.param(lambda texts: nw_stable.from_native(pa.table({"": texts})), id="nw-stable"),
    ],
)
def test_every_kind_of_input_gives_the_same_column(make):
    assert_is_one_plain_column(read_text_columns(make(TEXTS)), TEXTS, [False] * len(TEXTS))


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(WITH_MISSING, id="None"),
        pytest.param(["a cat", float("nan"), ""], id="nan"),
        pytest.param(["a cat", np.float32("nan"), ""], id="numpy-nan"),
        pytest.param(["a cat", Decimal("nan"), ""], id="Decimal-nan"),
        pytest.param(["a cat", pd.NA, ""], id="pandas-NA"),
        pytest.param(["a cat", pd.NaT, ""], id="pandas-NaT"),
        pytest.param(["a cat", np.datetime64("NaT"), ""], id="numpy-NaT"),
        pytest.param(["a cat", np.timedelta64("NaT"), ""], id="numpy-timedelta-NaT"),
        pytest.param(["a cat", np.ma.masked, ""], id="masked-constant"),
        pytest.param([["a cat"], [None], [""]], id="rows"),
        pytest.param(np.array(["a cat", np.nan, ""], dtype=object), id="numpy-object"),
        pytest.param(np.ma.array(["a cat", "hidden", ""], mask=[0, 1, 0]), id="masked-array"),
        pytest.param(pd.Series(WITH_MISSING), id="pandas"),
        pytest.param(pd.Series(WITH_MISSING, dtype=object), id="pandas-object"),
        pytest.param(pd.Series(WITH_MISSING, dtype="string"), id="pandas-string"),
        pytest.param(categorical(WITH_MISSING), id="pandas-category"),
        pytest.param(pd.Index(WITH_MISSING), id="pandas-index"),
        pytest.param(pd.array(WITH_MISSING), id="pandas-array"),
        pytest.param(pl.Series(WITH_MISSING), id="polars"),
        pytest.param(pl.Series(WITH_MISSING, dtype=pl.Categorical), id="polars-category"),
        pytest.param(pa.array(WITH_MISSING), id="pyarrow"),
        pytest.param(dictionary(WITH_MISSING), id="pyarrow-dictionary"),
        pytest.param(list(pa.array(WITH_MISSING)), id="list-of-pyarrow-scalars"),
    ],
)
def test_missing_cells_are_empty_and_marked(X):
    assert_is_one_plain_column(read_text_columns(X), ["a cat", "", ""], [False, True, False])


@STRING_DTYPE
@pytest.mark.parametrize("na", [None, np.nan, pd.NA])
def test_missing_values_of_numpy_strings(na):
    X = np.array(["a cat", na, ""], dtype=np.dtypes.StringDType(na_object=na))
    assert_is_one_plain_column(read_text_columns(X), ["a cat", "", ""], [False, True, False])


@pytest.mark.parametrize(
    "X",
    [
        pytest.param([1.5, None], id="list"),
        pytest.param(np.array([1.5, np.nan]), id="numpy"),
        pytest.param(np.ma.array([1.5, 2.5], mask=[0, 1]), id="numpy-masked"),
        pytest.param(pd.Series([1.5, None]), id="pandas"),
        pytest.param(pd.Series([1.5, None], dtype="Float64"), id="pandas-nullable"),
        pytest.param(pl.Series([1.5, None]), id="polars-null"),
        pytest.param(pl.Series([1.5, float("nan")]), id="polars-nan"),
        pytest.param(pa.array([1.5, None]), id="pyarrow-null"),
        pytest.param(pa.array([1.5, float("nan")]), id="pyarrow-nan"),
    ],
)
def test_missing_numbers(X):
    assert_is_one_plain_column(read_text_columns(X), ["1.5", ""], [False, True])


@pytest.mark.parametrize(
    "X",
    [
        pd.Series([7, None], dtype="Int64"),
        pd.array([7, None], dtype="Int64"),
        pd.Series(pd.Categorical([7, None])),
        pl.Series([7, None]),
        pa.array([7, None]),
    ],
    ids=["pandas", "pandas-array", "pandas-category", "polars", "pyarrow"],
)
def test_a_missing_integer_does_not_turn_the_others_into_floats(X):
    assert_is_one_plain_column(read_text_columns(X), ["7", ""], [False, True])


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_numpy_dates_are_read_as_iso_text(unit):
    dates = np.array(["2024-02-29", "NaT", "2024-03-01"], dtype=f"datetime64[{unit}]")
    iso = str(dates[0])
    assert iso.startswith("2024-02-29")
    masked = np.ma.array(dates, mask=[0, 0, 1])
    assert_is_one_plain_column(
        read_text_columns(dates), [iso, "", str(dates[2])], [False, True, False]
    )
    assert_is_one_plain_column(read_text_columns(masked), [iso, "", ""], [False, True, True])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (3, "3"),
        (0, "0"),
        (1.0, "1.0"),
        (False, "False"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (Decimal("1.20"), "1.20"),
        (fractions.Fraction(1, 3), "1/3"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (pd.Timestamp("2024-02-29 12:00"), "2024-02-29 12:00:00"),
        (pd.Interval(0, 1), "(0, 1]"),
        (PurePosixPath("a/b.txt"), "a/b.txt"),
        (Colour.RED, "Colour.RED"),
        (ColourText.RED, "red"),
        (Label("text"), "text"),
    ],
    ids=repr,
)
def test_cells_that_are_not_text_become_text(cell, text):
    as_object = np.empty(2, dtype=object)
    as_object[:] = ["x", cell]
    for X in (["x", cell], [["x"], [cell]], as_object, pd.Series(["x", cell], dtype=object)):
        assert_is_one_plain_column(read_text_columns(X), ["x", text], [False, False])


def test_arrays_of_numbers_read_like_their_list():
    X = np.array([[1.5, 2.0], [3.25, 1e-20]])
    columns = read_text_columns(X)
    assert columns.texts == [["1.5", "3.25"], ["2.0", "1e-20"]]
    assert read_text_columns(X.tolist()).texts == columns.texts
    assert read_text_columns(WithArray(X)).texts == columns.texts
    assert read_text_columns(pd.DataFrame(X)).texts == columns.texts


ROWS = [["a", "x"], ["b", None], ["c", "z"]]


@pytest.mark.parametrize(
    ("X", "names"),
    [
        pytest.param(ROWS, None, id="lists"),
        pytest.param(tuple(map(tuple, ROWS)), None, id="tuples"),
        pytest.param([np.array(row, dtype=object) for row in ROWS], None, id="arrays"),
        pytest.param([ROWS[0], tuple(ROWS[1]), np.array(ROWS[2])], None, id="kinds-of-row-mixed"),
        pytest.param(np.array(ROWS, dtype=object), None, id="numpy"),
        pytest.param(np.asfortranarray(np.array(ROWS, dtype=object)), None, id="numpy-fortran"),
        pytest.param(pd.DataFrame(ROWS), None, id="pandas-unnamed"),
        pytest.param(pd.DataFrame(ROWS, columns=["u", 1]), None, id="pandas-partly-named"),
        pytest.param(
            pd.DataFrame(ROWS, columns=pd.MultiIndex.from_tuples([("u", "a"), ("u", "b")])),
            None,
            id="pandas-two-levels",
        ),
        pytest.param(pd.DataFrame(ROWS, columns=["u", "v"]), ["u", "v"], id="pandas"),
        pytest.param(
            pd.DataFrame(ROWS, columns=["u", "v"], index=[5, 5, -1]), ["u", "v"], id="pandas-index"
        ),
        pytest.param(pd.DataFrame(ROWS, columns=["u", "u"]), ["u", "u"], id="pandas-repeated"),
        pytest.param(pl.DataFrame(ROWS, schema=["u", "v"], orient="row"), ["u", "v"], id="polars"),
        pytest.param(
            pa.table([["a", "b", "c"], ["x", None, "z"]], ["u", "v"]), ["u", "v"], id="pyarrow"
        ),
        pytest.param(
            pa.table([["a", "b", "c"], ["x", None, "z"]], ["u", "u"]),
            ["u", "u"],
            id="pyarrow-repeated",
        ),
        pytest.param(
            pa.record_batch([["a", "b", "c"], ["x", None, "z"]], ["u", "v"]),
            ["u", "v"],
            id="pyarrow-record-batch",
        ),
        pytest.param(
            nw.from_native(pd.DataFrame(ROWS, columns=["u", "v"])), ["u", "v"], id="narwhals"
        ),
    ],
)
def test_several_columns(X, names):
    columns = read_text_columns(X)
    assert columns.texts == [["a", "b", "c"], ["x", "", "z"]]
    np.testing.assert_array_equal(columns.missing, [[False, False], [False, True], [False, False]])
    assert columns.names == names


@pytest.mark.parametrize(
    ("X", "names"),
    [
        (pd.Series(["a"], name="t"), ["t"]),
        (pd.Series(["a"]), None),
        (pd.Series(["a"], name=3), None),
        (pd.Series(["a"], name=("t", "u")), None),
        (pd.Index(["a"], name="t"), ["t"]),
        (pl.Series("t", ["a"]), ["t"]),
        (pl.Series(["a"]), None),
        (pl.DataFrame({"": ["a"]}), [""]),
        (pa.chunked_array([["a"]]), None),
        (["a"], None),
    ],
)
def test_names(X, names):
    assert read_text_columns(X).names == names


def test_a_series_is_read_in_row_order_whatever_its_index():
    X = pd.Series(["a", "b", "c"], index=[2, 0, 0])
    assert read_text_columns(X).texts == [["a", "b", "c"]]
    assert read_text_columns(X[::-1]).texts == [["c", "b", "a"]]
    assert read_text_columns(X.iloc[1:]).texts == [["b", "c"]]


def test_slices_and_chunks_of_arrow():
    array = pa.array(["a", None, "b", "c"])
    assert_is_one_plain_column(read_text_columns(array[1:3]), ["", "b"], [True, False])
    chunks = pa.chunked_array([array[:1], array[:0], array[1:]])
    assert_is_one_plain_column(read_text_columns(chunks[1:]), ["", "b", "c"], [True, False, False])
    table = pa.table({"t": chunks}).slice(2)
    assert_is_one_plain_column(read_text_columns(table), ["b", "c"], [False, False])


@pytest.mark.parametrize("dtype", [object, str])
def test_rows_of_a_matrix_are_rows(dtype):
    X = np.array([["a", "b"], ["c", None]], dtype=object).astype(dtype).view(np.matrix)
    expected = read_text_columns(np.asarray(X))
    columns = read_text_columns(X)
    assert columns.texts == expected.texts
    np.testing.assert_array_equal(columns.missing, expected.missing)


def test_masked_cells_of_a_table_are_missing():
    X = np.ma.array([["a", "b"], ["c", "d"]], mask=[[0, 1], [0, 0]])
    columns = read_text_columns(X)
    assert columns.texts == [["a", "c"], ["", "d"]]
    np.testing.assert_array_equal(columns.missing, [[False, True], [False, False]])


@pytest.mark.parametrize(
    ("X", "k"),
    [
        ([], 1),
        ((), 1),
        (np.array([], dtype=object), 1),
        (np.empty((0, 3), dtype="U1"), 3),
        (pd.Series([], dtype=object), 1),
        (pd.DataFrame({"u": [], "v": []}), 2),
        (pl.Series([], dtype=pl.String), 1),
        (pa.array([], pa.string()), 1),
        (pa.table({"u": pa.array([], pa.string())}), 1),
    ],
)
def test_zero_rows(X, k):
    columns = read_text_columns(X)
    assert columns.texts == [[] for _ in range(k)]
    assert columns.missing.shape == (0, k)


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(["a", None, 3], id="list"),
        pytest.param([["a", "b"], [None, 3]], id="rows"),
        pytest.param(np.array(["a", None, 3], dtype=object), id="array"),
        pytest.param(pd.DataFrame({"u": ["a", None], "v": [1, 2]}), id="frame"),
    ],
)
def test_the_result_is_a_copy(X):
    before = repr(X)
    columns = read_text_columns(X)
    for texts in columns.texts:
        texts.append("changed")
        texts[0] = "changed"
    columns.missing[:] = True
    assert repr(X) == before


def test_a_list_of_text_is_copied():
    X = ["a", "b"]
    read_text_columns(X).texts[0].clear()
    assert X == ["a", "b"]


any_text = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\ud800", "a\udfff", "\0", "a\0", "\0\0", "e\u0301", "\u200b", "\ufeff"]
)


@given(st.lists(any_text))
def test_any_text_passes_through_unchanged(texts):
    columns = read_text_columns(texts)
    assert_is_one_plain_column(columns, texts, [False] * len(texts))
    as_object = read_text_columns(np.array(texts, dtype=object))
    assert as_object.texts == columns.texts
    series = read_text_columns(pd.Series(texts, dtype=object))
    assert series.texts == columns.texts


@given(st.lists(st.tuples(any_text, st.none() | any_text | st.floats() | st.integers())))
def test_rows_arrays_and_frames_agree(rows):
    table = np.empty((len(rows), 2), dtype=object)
    for i, row in enumerate(rows):
        table[i] = row
    expected = read_text_columns(table)
    frame = read_text_columns(pd.DataFrame(table, dtype=object))
    assert frame.texts == expected.texts
    np.testing.assert_array_equal(frame.missing, expected.missing)
    if rows:
        listed = read_text_columns(rows)
        assert listed.texts == expected.texts
        np.testing.assert_array_equal(listed.missing, expected.missing)
    for (first, second), is_missing in zip(rows, expected.missing, strict=True):
        assert not is_missing[0], first
        assert is_missing[1] == (second is None or second != second)


@pytest.mark.parametrize(
    "cell", [b"caf\xc3\xa9", bytearray(b"x"), memoryview(b"x"), np.bytes_(b"x")]
)
@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda cell: ["a", cell], r"row 1 \(counting from 0\),"),
        (lambda cell: [["a", "b"], ["c", cell]], r"row 1 \(counting from 0\), column 1,"),
        (
            lambda cell: pd.Series(["a", cell], dtype=object, name="t"),
            r"row 1 \(counting from 0\), column 't',",
        ),
        (
            lambda cell: pd.DataFrame({"t": ["a", "b"], "u": pd.Series(["c", cell], dtype=object)}),
            r"row 1 \(counting from 0\), column 'u',",
        ),
    ],
    ids=["list", "rows", "series", "frame"],
)
def test_bytes_are_to_be_decoded(cell, make, place):
    message = rf"X has {type(cell).__name__} in {place} but text must be str\. Decode it"
    with pytest.raises(TypeError, match=message):
        read_text_columns(make(cell))


@pytest.mark.parametrize("cell", [Image.new("RGB", (2, 2)), object()], ids=["image", "object"])
def test_what_would_be_read_as_its_address_is_no_text(cell):
    with pytest.raises(
        TypeError, match=r"in row 1 .*, which is not text\. Pass texts, and images to"
    ):
        read_text_columns(["a", cell])


@pytest.mark.parametrize(
    "X", [np.array([b"x"]), pl.Series([b"x"]), pa.array([b"x"]), list(pa.array([b"x"]))]
)
def test_arrays_of_bytes_are_to_be_decoded(X):
    with pytest.raises(TypeError, match=r"bytes in row 0 .* str\(cell, 'utf-8'\)"):
        read_text_columns(X)


@pytest.mark.parametrize(
    "cell",
    [["b"], ("b", "c"), {"b": 1}, {"b"}, np.array(["b"]), np.array("b"), pd.Series(["b"]), []],
    ids=repr,
)
def test_nested_cells_are_refused(cell):
    as_object = np.empty(2, dtype=object)
    as_object[0], as_object[1] = "a", cell
    place = r"in row 1 \(counting from 0\)"
    message = (
        rf"X has a cell of type {type(cell).__name__} {place}, but it must hold one text\. Join"
    )
    with pytest.raises(TypeError, match=message):
        read_text_columns(as_object)
    with pytest.raises(TypeError, match=message):
        read_text_columns(["a", cell])
    with pytest.raises(TypeError, match=place + ", column 1,"):
        read_text_columns([["a", "b"], ["c", cell]])
    frame = pd.DataFrame({"u": ["a", "b"], "v": pd.Series(list(as_object), dtype=object)})
    with pytest.raises(TypeError, match=place + ", column 'v',"):
        read_text_columns(frame)


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (pl.Series([["a"]]), "list"),
        (pl.Series([{"a": 1}]), "dict"),
        (pa.array([["a"]]), "list"),
        (pd.MultiIndex.from_tuples([("a", "b")]), "tuple"),
        ([pd.Series(["a", "b"])], "Series"),
        ([np.array([["a"]])], "ndarray"),
    ],
)
def test_columns_of_nested_cells_are_refused(X, kind):
    with pytest.raises(TypeError, match=rf"X has a cell of type {kind} in row 0 "):
        read_text_columns(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a cat", r"documents expected, string object received\. Pass \[X\]"),
        (np.str_("a cat"), r"documents expected, string object received\. Pass \[X\]"),
        (b"a cat", r"documents expected, bytes object received\. Pass \[str\(X, 'utf-8'\)\]"),
        (bytearray(b"x"), r"documents expected, bytearray object received"),
    ],
)
def test_one_bare_text_is_refused(X, message):
    with pytest.raises(ValueError, match="^Iterable over raw text " + message):
        read_text_columns(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            {"t": ["a"]},
            r"X is of type dict, .* Pass pandas\.DataFrame\(X\) .* list\(X\.values\(\)\)",
        ),
        ({"a", "b"}, r"X is of type set, .* Pass sorted\(X\), since a set has no order"),
        ((text for text in TEXTS), r"X is of type generator, .* Pass list\(X\)\."),
        (iter(TEXTS), r"X is of type list_iterator, .* Pass list\(X\)\."),
        (None, "X is of type NoneType, .* Pass a list of texts, an array or a data frame"),
        (3, "X is of type int, .* Pass a list of texts"),
        (np.float64(3), "X is of type float64, .* Pass a list of texts"),
        (np.datetime64("2024-02-29"), "X is of type datetime64, .* Pass a list of texts"),
        (np.array("a"), r"X is a zero-dimensional array of dtype <U1\. .* X\.reshape\(1\)"),
        (scipy.sparse.csr_array([[1.0]]), r"X is a sparse csr_array, .* X\.toarray\(\)"),
        (scipy.sparse.coo_matrix([[1.0]]), r"X is a sparse coo_matrix, .* X\.toarray\(\)"),
        (pl.LazyFrame({"t": ["a"]}), r"X is a lazy LazyFrame, .* Pass X\.collect\(\)"),
        (pl.LazyFrame({"t": ["a"]}).pipe(nw.from_native), r"lazy LazyFrame, .* X\.collect\(\)"),
    ],
)
def test_kinds_that_are_not_read_are_refused(X, message):
    with pytest.raises(TypeError, match=message):
        read_text_columns(X)


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1 + 2j]]),
        np.array([1 + 2j], dtype=np.complex64),
        pd.Series([1 + 2j]),
        [[1 + 2j]],
        [np.complex64(1 + 2j)],
    ],
)
def test_complex_numbers_are_refused(X):
    with pytest.raises(ValueError, match=r"^Complex data not supported: X has .* in row 0 "):
        read_text_columns(X)


def test_three_dimensions_are_refused():
    X = np.full((2, 3, 4), "a")
    message = r"^Found array with dim 3, while dim <= 2 is required: X has shape \(2, 3, 4\)"
    with pytest.raises(ValueError, match=message):
        read_text_columns(X)


@pytest.mark.parametrize(
    ("X", "n"),
    [
        ([[], []], 2),
        (np.empty((3, 0)), 3),
        (np.empty((0, 0)), 0),
        (WithArray(np.empty((3, 0))), 3),
        (pd.DataFrame(index=[7, 8]), 2),
        (pl.DataFrame(), 0),
        (pa.table({}), 0),
    ],
)
def test_zero_columns_are_refused(X, n):
    message = rf"0 feature\(s\) \(shape=\({n}, 0\)\) while a minimum of 1 is required\. Pass X"
    with pytest.raises(ValueError, match=message):
        read_text_columns(X)


@pytest.mark.parametrize(
    ("X", "row", "width"),
    [([["a", "b"], ["c", "d"], ["e"], []], 2, 1), ([("a", "b"), np.array(["c", "d", "e"])], 1, 3)],
)
def test_rows_of_different_lengths_are_refused(X, row, width):
    message = rf"row 0 has 2 cells, row {row} \(counting from 0\) has {width}\. Give every row"
    with pytest.raises(ValueError, match=message):
        read_text_columns(X)


@pytest.mark.parametrize(("cell", "kind"), [("ab", "str"), (None, "NoneType"), (3, "int")])
def test_texts_among_rows_are_refused(cell, kind):
    message = (
        rf"row 0 is of type list, row 2 \(counting from 0\) of type {kind}\. Pass a list of texts"
    )
    with pytest.raises(TypeError, match=message):
        read_text_columns([["a", "b"], ["c", "d"], cell])


def test_rows_among_texts_are_refused():
    with pytest.raises(
        TypeError, match=r"X has a cell of type list in row 1 .* same number of texts"
    ):
        read_text_columns(["a", ["b", "c"]])


def test_a_list_of_text_loads_neither_models_nor_optional_libraries():
    code = (
        "import sys; from sk_sentemb._inputs import read_text_columns; read_text_columns(['a']); "
        "heavy = {'polars', 'torch', 'transformers'}; "
        "loaded = heavy & sys.modules.keys(); assert not loaded, loaded"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame([["a", "x"]], columns=["u", "u"]),
        pa.table([["a"], ["x"]], ["u", "u"]),
    ],
    ids=["pandas", "pyarrow"],
)
def test_fit_names_a_repeated_column(X):
    with pytest.raises(ValueError, match="X has more than one column of the name 'u'; rename them"):
        SentenceEmbedder(TINY).fit(X)
