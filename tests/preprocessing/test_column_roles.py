"""describe_columns and column_roles: the role of a column by its cells, dtype and name."""

import uuid
import warnings
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sk_sentemb import text_column_selector
from sk_sentemb.preprocessing import column_roles, describe_columns

RNG = np.random.default_rng(0)

N = 60


def role(cells, name="column", **rules):
    return describe_columns(pd.DataFrame({name: pd.Series(cells)}), **rules).loc[name, "role"]


def repeat(*cells):
    return [cells[i % len(cells)] for i in range(N)]


def each(make):
    return [make(i) for i in range(N)]


SENTENCES = each(lambda i: f"The {['red', 'blue'][i % 2]} dress number {i} fits me well")

COLUMNS = {
    "sentences": (SENTENCES, "text"),
    "short titles": (each(lambda i: f"Love this dress {i}!"), "text"),
    "mostly missing sentences": ([*SENTENCES[:3], *[None] * 57], "text"),
    "sentences and blanks": ([*SENTENCES[:30], *["  "] * 30], "text"),
    "sentences with a number or two": ([*SENTENCES[:58], "3", "4.5"], "text"),
    "Chinese": (each(lambda i: f"这件衣服很好看我非常喜欢{i}"), "text"),
    "Thai": (each(lambda i: f"ชุดนี้สวยมากฉันชอบมาก{i}"), "text"),
    "Arabic": (each(lambda i: f"هذا الفستان جميل جدا رقم {i}"), "text"),
    "texts that contain addresses": (each(lambda i: f"see https://x.org/{i} for it all"), "text"),
    "texts that contain dates": (each(lambda i: f"I bought it on 2024-05-{i % 28 + 1}"), "text"),
    "queries, each with many answers": (
        [f"how do I find the number {i // 5} of my card" for i in range(600)],
        "text",
    ),
    "sizes": (repeat("S", "M", "L"), "categorical"),
    "cities": (repeat("New York", "Los Angeles", "Rome", "Paris"), "categorical"),
    "long names of categories": (
        repeat("Women's dresses and skirts", "Men's coats and jackets", "Shoes for boys and girls"),
        "categorical",
    ),
    "answers as sentences": (
        repeat("I strongly agree with this statement", "I do not agree with it", "I don't know"),
        "categorical",
    ),
    "a few words, all distinct": (["red", "green", "blue"], "categorical"),
    "few mail addresses": (repeat("ann@shop.com", "bob@shop.com"), "categorical"),
    "few codes": (repeat("0041", "0412", "0007"), "categorical"),
    "constant": (repeat("S"), "categorical"),
    "booleans": (repeat(True, False), "categorical"),
    "booleans and None": (repeat(True, False, None), "categorical"),
    "surnames": (each(lambda i: f"Name{'abcdefghij'[i % 10]}{'klmnopq'[i // 10]}"), "id"),
    "names of persons": (each(lambda i: f"Ann{i} Lee{i}"), "id"),
    "UUIDs": (each(lambda i: str(uuid.UUID(int=i * 7919))), "id"),
    "UUID objects": (each(lambda i: uuid.UUID(int=i * 7919)), "id"),
    "three UUIDs": ([str(uuid.UUID(int=i)) for i in range(3)], "id"),
    "digests": (each(lambda i: f"{i * 7919:032x}"), "id"),
    "mail addresses": (each(lambda i: f"jane.doe{i}@mail.example.org"), "id"),
    "telephone numbers": (each(lambda i: f"+49 176 {1234567 + i}"), "id"),
    "American telephone numbers": (each(lambda i: f"(555) 123-{1000 + i}"), "id"),
    "telephone numbers without spaces": (each(lambda i: f"+49176{1234567 + i}"), "id"),
    "post codes": (each(lambda i: f"{501 + 37 * i:05d}"), "id"),
    "post codes without zeros": (each(lambda i: str(20115 + 37 * i)), "numeric"),
    "salaries": (each(lambda i: str(RNG.integers(10_000, 99_999))), "numeric"),
    "prices in euros": (each(lambda i: f"{i}.50 €"), "numeric"),
    "losses": (each(lambda i: f"$-{i}.50"), "numeric"),
    "losses in parentheses": (each(lambda i: f"({i}.50)"), "numeric"),
    "mostly numbers": (each(lambda i: f"{i}.5" if i % 10 else "?"), "numeric"),
    "tickets": (each(lambda i: f"A/5 {i}" if i % 4 == 0 else f"{i * 100}"), "id"),
    "sizes in numbers and letters": (repeat("36", "38", "40", "S"), "categorical"),
    "years, one row each": (range(1950, 1950 + N), "numeric"),
    "complex numbers": (np.arange(N) * 1j, "other"),
    "complex objects": (pd.Series([1j, 2, None] * 20, dtype=object), "other"),
    "periods": (pd.period_range("2000", periods=N, freq="M"), "date"),
    "quarters": (pd.period_range("2000", periods=N, freq="Q"), "date"),
    "dates with short years": (each(lambda i: f"{i % 28 + 1:02d}-Jan-{i:02d}"), "date"),
    "article numbers": (each(lambda i: f"SKU-{i:04d}"), "id"),
    "account numbers": (each(lambda i: str(10**9 + 7919 * i)), "id"),
    "paths": (each(lambda i: f"/home/ann/My Documents/letter {i}.txt"), "id"),
    "Windows paths": (each(lambda i: rf"C:\Program Files\My App {i}\the file.txt"), "id"),
    "Path objects": (each(lambda i: PurePosixPath(f"/data/of/{i}.txt")), "id"),
    "addresses of pages": (each(lambda i: f"https://example.org/of/{i}?q=the words"), "id"),
    "addresses of machines": (each(lambda i: f"192.168.0.{i}"), "id"),
    "ISO dates": (each(lambda i: f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}"), "date"),
    "times and zones": (each(lambda i: f"2024-05-{i % 28 + 1:02d}T10:{i:02d}:00+02:00"), "date"),
    "German dates": (each(lambda i: f"{i % 28 + 1}.{i % 12 + 1}.2024"), "date"),
    "American dates": (each(lambda i: f"{i % 12 + 1}/{i % 28 + 1}/24"), "date"),
    "dates in words": (each(lambda i: f"May {i % 28 + 1}, 2024"), "date"),
    "dates with day of the week": (each(lambda i: "Fri, 31 May 2024 16:01:07 +0200"), "date"),
    "dates without signs": (each(lambda i: f"202405{i % 28 + 1:02d}"), "date"),
    "dates and None": (repeat("2024-05-31", None), "date"),
    "date objects": (each(lambda i: date(2024, 5, i % 28 + 1)), "date"),
    "datetime64": (pd.date_range("2024-05-31", periods=N), "date"),
    "datetime64 with a zone": (pd.date_range("2024-05-31", periods=N, tz="Europe/Berlin"), "date"),
    "numbers": (RNG.normal(size=N), "numeric"),
    "integers": (RNG.integers(100, size=N), "numeric"),
    "small integers that count": (range(5), "numeric"),
    "numbers in text": (each(lambda i: f"{i / 7:.2f}"), "numeric"),
    "integers in text": (each(lambda i: f" {i * i}"), "numeric"),
    "years in text": (each(lambda i: str(1960 + i)), "numeric"),
    "prices": (each(lambda i: f"${1000 * i:,}.50"), "numeric"),
    "numbers in text, one unknown": ([*map(str, range(0, 590, 10)), "unknown"], "numeric"),
    "decimals": (each(lambda i: Decimal(i) / 7), "numeric"),
    "durations": (each(lambda i: timedelta(hours=i)), "numeric"),
    "integers and None": (pd.array([*range(0, 590, 10), None], dtype="Int64"), "numeric"),
    "row numbers": (RNG.permutation(N), "id"),
    "row numbers from 1": (RNG.permutation(N) + 1, "id"),
    "whole numbers from 1000": (RNG.permutation(N) + 1000, "numeric"),
    "files with pictures": (each(lambda i: f"photos of us/{i}.JPG"), "image"),
    "addresses of pictures": (each(lambda i: f"https://x.org/{i}.png?size=3"), "image"),
    "bytes of pictures": (each(lambda i: b"\x89PNG\r\n" + bytes([i])), "image"),
    "pixels": (each(lambda i: np.zeros((4, 4, 3), np.uint8)), "image"),
    "other bytes": (each(lambda i: bytes([i])), "other"),
    "lists": (each(lambda i: ["a", i]), "other"),
    "dicts": (each(lambda i: {"a": i}), "other"),
    "lists and text": (repeat(["a"], "the red dress fits me"), "other"),
    "None": ([None] * N, "empty"),
    "NaN": ([np.nan] * N, "empty"),
    "NA": (pd.array([None] * N, dtype="Int64"), "empty"),
    "blanks": (["", " ", "\t\n"] * 20, "empty"),
    "no rows": ([], "empty"),
    "categories": (pd.Series(repeat("S", "M"), dtype="category"), "categorical"),
    "names as categories": (
        pd.Series(each(lambda i: f"Ann{i} Lee{i}"), dtype="category"),
        "categorical",
    ),
    "sentences as categories": (pd.Series(SENTENCES, dtype="category"), "text"),
    "numbers as categories": (pd.Series(range(60), dtype="category"), "categorical"),
    "times": (each(lambda i: time(i % 24)), "other"),
    "integers as objects": (pd.Series(range(1, 31), dtype=object), "id"),
    "row numbers as floats": (np.arange(60.0), "id"),
    "integers beyond floats": (pd.Series(each(lambda i: 10**400 + i), dtype=object), "numeric"),
    "decimals that are not numbers": (
        [Decimal("sNaN"), Decimal("NaN"), *map(Decimal, range(9))],
        "numeric",
    ),
    "text of pandas": (pd.array(SENTENCES, dtype="string"), "text"),
    "text of pyarrow": (pd.array(SENTENCES, dtype="string[pyarrow]"), "text"),
    "numbers and text": (repeat(3, "S", 4.5), "categorical"),
}


@pytest.mark.parametrize(("cells", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_role(cells, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert role(cells) == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pl.Series(SENTENCES), "text"),
        (pl.Series(SENTENCES, dtype=pl.Categorical), "text"),
        (pl.Series(SENTENCES, dtype=pl.Enum(SENTENCES)), "text"),
        (pl.Series(["S", "M"] * 9, dtype=pl.Categorical), "categorical"),
        (pl.Series(["S", "M"], dtype=pl.Enum(["S", "M"])), "categorical"),
        (pl.Series([[1], [2]]), "other"),
        (pl.Series([{"a": 1}]), "other"),
        (pl.Series([time(12, 30)]), "other"),
        (pl.Series([None, None]), "empty"),
        (pl.Series([float("nan"), None]), "empty"),
        (pl.Series([date(2024, 5, 31)]), "date"),
        (pl.Series([datetime(2024, 5, 31, 12)]).dt.replace_time_zone("UTC"), "date"),
        (pl.Series([timedelta(1)]), "numeric"),
        (pl.Series([Decimal("1.5")]), "numeric"),
        (pl.Series([True, None]), "categorical"),
        (pl.Series([b"\xff\xd8\xff\xe0", None]), "image"),
        (pl.Series(range(1, 31)), "id"),
    ],
    ids=str,
)
def test_role_of_polars_and_pyarrow_dtypes(cells, expected):
    frame = pl.DataFrame({"c": cells})
    assert describe_columns(frame).loc["c", "role"] == expected
    if cells.dtype not in (pl.Categorical, pl.Enum):
        assert describe_columns(frame.to_arrow()).loc["c", "role"] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("id", "id"),
        ("Clothing ID", "id"),
        ("pair_ID", "id"),
        ("doc-id", "id"),
        ("userId", "id"),
        ("customerID", "id"),
        ("ids", "id"),
        ("Unnamed: 0", "id"),
        ("index", "id"),
        ("paid", "numeric"),
        ("COVID", "numeric"),
        ("humid", "numeric"),
        ("idea", "numeric"),
        ("refractive index", "numeric"),
    ],
)
def test_role_by_name(name, expected):
    assert role([3, 1, 3], name) == expected
    assert role([3, 1, 3], name, id_names=None) == "numeric"
    # Words have the name of an id, or are categories.
    assert role(repeat("S", "M"), name) == ("id" if expected == "id" else "categorical")
    for cells in (
        [3.0, None, 1.0],
        pd.array([3, None, 1], dtype="Int64"),
        pd.Series([3, 100, None], dtype=object),
        pd.Series([Decimal(3), Decimal(1)], dtype=object),
        ["3", "100", "3"],
    ):
        assert role(cells, name) == expected
    # Not text, dates, and numbers that are not whole.
    assert role(SENTENCES, name) == "text"
    assert role(repeat("2024-05-31"), name) == "date"
    for cells in ([0.5, 1.5], ["0.5", "2"], [Decimal("Infinity"), Decimal("0.5")], [timedelta(1)]):
        assert role(cells, name) == "numeric"


# What the columns of the data sets are.
TEXT_OF = {
    "clothing/reviews.csv": ["Title", "Review Text"],
    "banking77/train.csv": ["text"],
    "banking77/test.csv": ["text"],
    "cranfield/docs.csv": ["title", "text"],
    "cranfield/queries.csv": ["text"],
    "cranfield/qrels.csv": [],
    "sick/SICK_train.txt": ["sentence_A", "sentence_B"],
    "sick/SICK_trial.txt": ["sentence_A", "sentence_B"],
    "stsb/stsb-en-train.csv": ["0", "1"],
    "stsb/stsb-en-dev.csv": ["0", "1"],
    "stsb/stsb-en-test.csv": ["0", "1"],
}

CATEGORIES_OF = {
    "clothing/reviews.csv": ["Division Name", "Department Name", "Class Name"],
    "banking77/train.csv": ["category"],
    "sick/SICK_train.txt": ["entailment_judgment"],
}

IDS_OF = {
    "clothing/reviews.csv": ["Unnamed: 0", "Clothing ID"],
    "cranfield/docs.csv": ["doc_id"],
    "cranfield/qrels.csv": ["query_id", "doc_id"],
    "sick/SICK_train.txt": ["pair_ID"],
}


def read(file):
    separator = "\t" if file.suffix == ".txt" else ","
    frame = pd.read_csv(file, sep=separator, header=None if "stsb" in file.name else "infer")
    return frame.rename(columns=str)


@pytest.mark.parametrize("name", TEXT_OF)
def test_roles_in_real_data(shared_data, name):
    X = read(shared_data(name))
    # Of all rows, and of any few.
    for part in (X, X.sample(300, random_state=0, replace=True).drop_duplicates(), X[-30:]):
        roles = column_roles(part)
        assert roles["text"] == text_column_selector()(part) == TEXT_OF[name]
        if len(part) > 30:
            assert roles["categorical"] == CATEGORIES_OF.get(name, roles["categorical"])
        assert roles["id"] == IDS_OF.get(name, roles["id"])
    assert column_roles(pl.from_pandas(X)) == column_roles(X)
    assert column_roles(pa.Table.from_pandas(X)) == column_roles(X)


@pytest.mark.parametrize("sample", [100, 1000, 10**9])
def test_roles_in_a_sample(shared_data, sample):
    X = read(shared_data("clothing/reviews.csv"))
    roles = column_roles(X, sample=sample)
    assert roles["text"] == ["Title", "Review Text"]
    assert roles["categorical"] == ["Division Name", "Department Name", "Class Name"]


def test_sample_ignores_missing_values():
    cells = [None] * 10_000
    cells[3333::2000] = SENTENCES[:4]
    assert role(cells, sample=10) == "text"


def test_describe_columns_statistics():
    X = pd.DataFrame(
        {
            "text": ["the red dress", "the blue dress", None, "the red dress"],
            "mixed": ["3", "2024-05-31", "a.png", "ann@shop.com"],
            "stars": [1, 2, 2, 2],
            "list": [[1], [2], [3], None],
        }
    )
    found = describe_columns(X)
    assert list(found.index) == list(X.columns)
    text, mixed, stars = (found.loc[name] for name in ("text", "mixed", "stars"))
    assert text["missing"] == 0.25
    assert text["distinct"] == 2
    assert text["unique"] == pytest.approx(2 / 3)
    assert text["words"] == 3
    assert text["dtype"] == "String"
    assert text["reason"] == "3.0 words per cell, 2 distinct cells (67%)"
    assert mixed[["number", "date", "image", "code"]].tolist() == [0.25, 0.25, 0.25, 0.25]
    assert stars["unique"] == 0.5
    assert (
        found[["words", "number", "date", "image", "code"]]
        .loc[["stars", "list"]]
        .isna()
        .all(axis=None)
    )
    assert found["role"].tolist() == ["text", "categorical", "numeric", "other"]


def test_describe_columns_reasons_of_numbers():
    mostly = pd.DataFrame({"n": each(lambda i: f"{i}.5" if i % 10 else "?")})
    assert describe_columns(mostly).loc["n", "reason"] == ("90% numbers; distinct other cells: 1")
    half = pd.DataFrame({"n": ["3.5", "unknown"]})
    assert describe_columns(half).loc["n", "reason"] == "50% numbers, 2 distinct cells (100%)"


def test_thresholds_change_roles():
    names = each(lambda i: f"Ann{i} Lee{i}")
    assert role(names, min_words=2) == "text"
    assert role(SENTENCES, min_words=8) == "id"
    cities = repeat("the city of New York", "the city of Rome")
    assert role(cities, min_unique=0.01) == "text"
    assert role(cities, max_categories=1) == "text"
    assert role(repeat(*(f"x{i}" for i in range(25))), max_unique=0.9) == "categorical"
    numbers = [*["3.5"] * 30, *["unknown"] * 30]
    assert role(numbers) == "categorical"
    assert role(numbers, min_share=0.5) == "numeric"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"min_unique": 1.5}, r"min_unique=1.5 must be between 0 and 1"),
        ({"min_share": -0.1}, r"min_share=-0.1 must be between"),
        ({"min_words": -1}, r"min_words=-1 must be at least 0"),
        ({"sample": 0}, r"sample=0 must be at least 1"),
        ({"max_categories": 0}, r"max_categories=0 must be at least 1"),
        ({"min_words": float("nan")}, r"min_words=nan must be at least 0"),
    ],
)
def test_thresholds_out_of_range(rules, message):
    with pytest.raises(ValueError, match=message):
        describe_columns(pd.DataFrame({"a": ["b"]}), **rules)
    with pytest.raises(ValueError, match=message):
        text_column_selector(**rules)(pd.DataFrame({"a": ["b"]}))


def test_thresholds_of_wrong_types_and_names():
    X = pd.DataFrame({"a": ["b"]})
    for find in (describe_columns, column_roles):
        with pytest.raises(TypeError, match="min_words='3' is of type str; pass a number"):
            find(X, min_words="3")
        with pytest.raises(TypeError, match=r"sample=9.5 is of type float; pass an integer"):
            find(X, sample=9.5)
        with pytest.raises(
            TypeError, match=f"{find.__name__}.. got an unexpected keyword .* 'foo'"
        ):
            find(X, foo=1)
        with pytest.raises(
            ValueError, match=r"id_names='\(' is not a valid regular expression: missing"
        ):
            find(X, id_names="(")
        with pytest.raises(TypeError, match="id_names=3 is of type int; pass a regular expression"):
            find(X, id_names=3)
    with pytest.raises(
        ValueError, match=r"pattern='\(' is not a valid regular expression: missing"
    ):
        text_column_selector(pattern="(")(X)


def test_describe_columns_rejects_other_than_named_columns():
    for X in ([["a"]], np.array([["a"]]), pd.Series(["a"]), {"a": ["b"]}, None):
        with pytest.raises(TypeError, match="roles belong to named columns"):
            describe_columns(X)
    with pytest.raises(TypeError, match=r"names are not strings, such as 0; rename them"):
        describe_columns(pd.DataFrame([["a"]]))
    with pytest.raises(ValueError, match="more than one column of the name 'a'"):
        describe_columns(pd.DataFrame([["a", "b"]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="more than one column of the name 'a'"):
        describe_columns(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(TypeError, match="rows in memory"):
        describe_columns(pl.LazyFrame({"a": ["b"]}))


def test_no_columns_have_no_roles():
    assert not any(column_roles(pd.DataFrame()).values())
    assert describe_columns(pd.DataFrame()).shape[0] == 0


FRAME = pd.DataFrame(
    {
        "review": SENTENCES,
        "title": SENTENCES[::-1],
        "size": repeat("S", "M"),
        "stars": RNG.integers(5, size=N),
        "id": range(N),
    }
)


def test_column_roles_of_listed_columns():
    roles = column_roles(FRAME, text="review", categorical=["stars", "size"])
    assert roles["text"] == ["review"]
    assert roles["categorical"] == ["size", "stars"]
    assert roles["other"] == ["title"]
    assert roles["numeric"] == []
    assert roles["id"] == ["id"]
    assert column_roles(FRAME, text=[])["other"] == ["review", "title"]
    only_title = text_column_selector(pattern="^ti")
    assert column_roles(FRAME, text=only_title)["text"] == ["title"]


def test_column_roles_with_roles_of_single_columns():
    roles = column_roles(FRAME, roles={"stars": "categorical", "title": "other", "id": "numeric"})
    assert roles["text"] == ["review"]
    assert roles["categorical"] == ["size", "stars"]
    assert roles["other"] == ["title"]
    assert roles["numeric"] == ["id"]


@pytest.mark.parametrize(
    ("given_roles", "message"),
    [
        ({"text": ["body"]}, r"X has no column 'body'; its columns are \['review', 'title'"),
        ({"roles": {"body": "text"}}, "X has no column 'body'"),
        ({"roles": {"title": "prose"}}, "roles contains 'prose'; valid roles are"),
        ({"text": "size", "categorical": "size"}, "'size' is both 'text' and 'categorical'"),
        ({"text": "size", "roles": {"size": "id"}}, "'size' is both 'id' and 'text'"),
    ],
)
def test_column_roles_rejects_contradictions_and_unknown_names(given_roles, message):
    with pytest.raises(ValueError, match=message):
        column_roles(FRAME, **given_roles)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(),
    st.decimals(allow_nan=False),
    st.lists(st.integers(), max_size=2),
    st.complex_numbers(),
    st.sampled_from(["3", "2024-05-31", "1/2/2024", "a@b.co", "/a", "x.png", "+49 123 4567"]),
)


@given(st.lists(anything, max_size=8))
def test_role_of_any_cells_is_independent_of_their_order(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = describe_columns(pd.DataFrame({"c": pd.Series(cells, dtype=object)}))
        turned = describe_columns(pd.DataFrame({"c": pd.Series(cells[::-1], dtype=object)}))
    assert found.loc["c", "role"] in column_roles(FRAME)
    assert found["role"].equals(turned["role"])


def test_describe_columns_of_hostile_cells_is_fast():
    hostile = [
        ".png?" * 40_000 + " x",
        ".png?" * 40_000 + "\nx",
        ".png" * 40_000 + " " * 40_000 + "x",
        "http://" + "a." * 50_000 + " b",
        "www." * 50_000 + " b",
        "a/" * 50_000 + " ",
        "a@" + "a." * 50_000 + "1",
        "1 " * 50_000 + "x",
        "31" + " " * 100_000 + "may",
    ]
    # Seconds here, minutes if it did.
    assert describe_columns(pd.DataFrame({"c": hostile})).loc["c", "role"] == "categorical"
