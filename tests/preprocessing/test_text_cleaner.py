import pickle
import unicodedata
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import SentenceEmbedder, TextCleaner
from sk_sentemb.exceptions import MissingTextWarning
from tests.helpers.tiny_models import TINY


def clean(text, **how):
    [cleaned] = TextCleaner(**how).fit_transform([text])
    return cleaned


HTML = {
    "<p>One</p><p>two</p>": "One two",
    "one<br>two<br/>three<BR />four": "one two three four",
    "<div><ul><li>one<li>two</ul></div>": "one two",
    "<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>": "1 2 3",
    "<h1 class='a'>Title</h1>text": "Title text",
    '<b>bo</b>ld <i>and</i> <span style="color:red">red</span>': "bold and red",
    "<a href=http://x.org/?a=b&c=d>link</a>": "link",
    "<img src='a.png' alt='a > b'>text": "text",
    "<input disabled type=checkbox>yes": "yes",
    "<div data-x aria-label='y'>text</div>": "text",
    "<p\nclass='a'\n>text</p\n>": "text",
    "<script>if (a<b) { x('<p>no</p>') }</script>yes": "yes",
    "<style>p { color: red }</style>yes<template><p>no</p></template>": "yes",
    "<p>yes<script>never ends": "yes<script>never ends",
    "<!-- no -->yes<!-- never ends": "yes<!-- never ends",
    "<script>no</script>yes <script> too": "yes <script> too",
    "<script>'<script>'</script>yes": "yes",
    "<template>no<p>no</p>no</template>yes<TEMPLATE> too": "yes<TEMPLATE> too",
    "<p>5 <a and <b href='x>y</b> z": "5 <a and <b href='x>y</b> z",
    "<p>fish &amp; chips &ampx": "fish & chips &ampx",
    "<template>a<!-- </template> -->": "<template>a<!-- </template> -->",
    "<svg><path d='M0 0'/></svg>": "<path d='M0 0'/>",
    "<p>a <String/> b<br/>c</p>": "a <String/> b c",
    "<!DOCTYPE html>text": "text",
    "<!-- no --><![if x]>text<![endif]>": "<![if x]>text<![endif]>",
    "<title>A &amp; B</title><textarea>c &lt; d</textarea>": "A & B c < d",
    "<p>the <textarea> and the <title></p>": "the <textarea> and the <title>",
    "<STYLE>no</Style >yes": "yes",
    "<script>x = \"<a b='</script>yes'>": "yes'>",
    "<script src='a.js'/>yes<script>no</script>": "yes",
    "<template>no</p><rt>no</template>yes": "yes",
    "<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>": "漢字(かんじ)",
    "if a<b>c then<br>d": "if ac then d",
    "a <b>word</b>": "a word",
    "wo<!-- no -->rd": "word",
    "<!DOCTYPE html><html><head><title>T</title></head><body>text</body></html>": "T text",
    "<?xml version='1.0'?><p>text</p>": "text",
    "<![CDATA[<p>text</p>]]>": "text",
    "<p>one<o:p></o:p></p>": "one",
    "<p>never <b>closed": "never closed",
    "</p>closed, never opened</b>": "closed, never opened",
    "<p>I <3 you, 5 < 6 & 7</p>": "I <3 you, 5 < 6 & 7",
    "<p>List<String> of <name></p>": "List<String> of <name>",
    "fish &amp; chips": "fish & chips",
    "&lt;p&gt; &quot;it&#39;s&#x27;&quot; &hellip; caf&eacute;": "<p> \"it's'\" … café",
    "<p>&lt;b&gt; &amp;amp;</p>": "<b> &amp;",
    "&amp;lt;": "&lt;",
    "a&nbsp;b": "a b",
    "<p>&nbsp;</p>": "",
    "<br>": "",
}

NO_HTML = [
    "a < b",
    "a<b, c>d",
    "a <b and c> d",
    "if x<y: print(x>y)",
    "I <3 you",
    "vector<int> v; map<string, int>",
    "<ann@shop.com>",
    "<name> and <UNK>",
    "<http://x.org>",
    "x -> y <- z",
    "AT&T, R&D, Q&A;",
    "http://x.org/?a=1&copy=2&lt=3",
    "&notareference; &; &#; &#x;",
    "<",
    "&",
    "<p",
    "<p class='never ends",
    "<>",
    "< p >",
    "<![foo",
    "How do I use the <style> tag in HTML? Please help",
    "The <script> element is nice & good",
    "I typed <textarea> and lost it all",
    "<template> of ours",
    "arrow <!-- look here, more text",
    "a --> b <!-- c",
    "<![CDATA[ never ends",
    "Dear <title> <name>, at <time> you",
    "if a<b>c then",
    "<select> * from <table>",
    "5' < 6\"",
]


@pytest.mark.parametrize(("html", "text"), HTML.items())
def test_html_to_text(html, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clean(html) == text


@pytest.mark.parametrize("text", NO_HTML)
def test_text_that_is_not_html_is_unchanged(text):
    assert clean(text) == text
    # In HTML, names of tags are tags.
    if not any(name in text for name in ("<p", "<b", "<time>", "<table>")):
        assert clean(f"<p>{text}</p>") == text


@pytest.mark.parametrize("text", [*HTML, *NO_HTML])
def test_html_false_keeps_tags(text):
    assert clean(text, html=False) == " ".join(text.split())


def test_whitespace_false_keeps_line_breaks_of_blocks():
    assert clean("<p>One</p><p>two</p>", whitespace=False) == "\nOne\ntwo\n"
    assert clean("  one\n two ", whitespace=False) == "  one\n two "
    assert clean("<ul><li>one</li><li>two</li></ul>", whitespace=False) == "\none\ntwo\n"


# Emoji of joined parts; Persian, with a joiner that separates.
WITH_JOINERS = ["👩\u200d👩\u200d👧 🏳️\u200d🌈", "\u0645\u06cc\u200c\u062e\u0648"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  one \t two\r\n\n three\u00a0\u2003four  ", "one two three four"),
        ("a\x00b\x07c\x1b[31md", "abc[31md"),
        ("one\x0ctwo\x85three\x1ffour", "one two three four"),
        ("so\u00adft\u200b hy\ufeffphen \u202eabc\u202c\u200f", "soft hyphen abc"),
        *[(text, text) for text in WITH_JOINERS],
        ("half \ud83d pair", "half \ufffd pair"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_whitespace_and_control_characters(text, expected):
    assert clean(text) == expected


def test_control_false_keeps_control_characters():
    assert clean("a\x00\u200bb", control=False) == "a\x00\u200bb"
    assert clean("a\tb\nc\x0cd", whitespace=False) == "a\tb\nc d"


def test_unicode_forms():
    text = "cafe\u0301 ﬁn \uff21\uff22 Å"
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert clean(text, unicode_form=form) == unicodedata.normalize(form, text)
    assert clean(text) == "café ﬁn \uff21\uff22 Å"
    assert clean(text, unicode_form=None) == text
    # What is left when the invisible is gone is composed as well.
    assert clean("e\u200b\u0301") == "é"


ADDRESSES = (
    "See https://x.org/a?b=c#d, (www.y.co.uk) or HTTP://Z.ORG. Write to ann.lee+1@mail.x-y.org!"
)


def test_url_and_email():
    assert clean(ADDRESSES) == ADDRESSES
    masked = clean(ADDRESSES, url="mask", email="mask")
    assert masked == "See [URL], ([URL]) or [URL]. Write to [EMAIL]!"
    assert clean(ADDRESSES, url="remove", email="remove") == "See , ( ) or . Write to !"
    assert clean(ADDRESSES, email="mask").endswith("HTTP://Z.ORG. Write to [EMAIL]!")
    assert clean("<p>at mailto:a@b.org</p>", email="mask") == "at [EMAIL]"
    assert clean("https://ann@x.org/", url="mask", email="mask") == "[URL]"
    assert clean("@ann a@b x@ 3@4.5", email="mask") == "@ann a@b x@ 3@4.5"
    assert clean("Ann@B.ORG", email="mask", lowercase=True) == "[email]"


def test_lowercase():
    assert clean("The <b>RED</b> Dress É", lowercase=True) == "the red dress é"


TEXTS = ["<p>The red dress</p>", None, "  it is\u00a0fine ", "fish &amp; chips"]
CLEANED = ["The red dress", None, "it is fine", "fish & chips"]

CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": lambda x: np.array(x, dtype=object),
    "Series": lambda x: pd.Series(x, name="text"),
    "Series of str": lambda x: pd.Series(x, dtype="string"),
    "polars Series": lambda x: pl.Series("text", x),
    "pyarrow array": pa.array,
}

TABLES = {
    "list of rows": lambda x: [[cell] for cell in x],
    "array": lambda x: np.array(x, dtype=object).reshape(-1, 1),
    "pandas": lambda x: pd.DataFrame({"text": x}),
    "polars": lambda x: pl.DataFrame({"text": x}),
    "pyarrow": lambda x: pa.table({"text": x}),
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_one_dimensional_input_gives_one_dimensional_output(make):
    cleaned = TextCleaner().fit_transform(make(TEXTS))
    assert cleaned.dtype == object
    assert cleaned.tolist() == CLEANED
    assert TextCleaner().fit(make(TEXTS)).transform(make([])).shape == (0,)


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_two_dimensional_input_gives_two_dimensional_output(make):
    cleaned = TextCleaner().fit_transform(make(TEXTS))
    assert cleaned.tolist() == [[text] for text in CLEANED]
    X = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1]})
    both = TextCleaner().fit_transform(X)
    assert both.tolist() == [list(row) for row in zip(CLEANED, CLEANED[::-1], strict=True)]


@pytest.mark.parametrize("make", [*CONTAINERS.values(), *TABLES.values()])
def test_embedder_after_text_cleaner(make):
    expected = SentenceEmbedder(TINY, missing="empty").fit_transform(CLEANED)
    for output in ("default", "pandas", "polars"):
        pipeline = make_pipeline(TextCleaner(), SentenceEmbedder(TINY, missing="empty"))
        rows = pipeline.set_output(transform=output).fit_transform(make(TEXTS))
        np.testing.assert_array_equal(np.asarray(rows), expected)


def test_missing_keep_leaves_missing_values_to_the_embedder():
    cells = [*TEXTS, np.nan, pd.NA, pd.NaT, float("nan")]
    pipeline = make_pipeline(TextCleaner(), SentenceEmbedder(TINY))
    with pytest.warns(MissingTextWarning, match="5 of 8 cells"):
        rows = pipeline.fit_transform(cells)
    assert (~rows.any(axis=1)).tolist() == [False, True, False, False, True, True, True, True]
    pipeline.set_params(sentenceembedder__missing="error")
    with pytest.raises(ValueError, match="row 1, column 0 of X has no text"):
        pipeline.fit_transform(cells)


def test_missing_empty_suits_vectorizers():
    assert clean(None) is None
    assert clean(np.nan, missing="empty") == ""
    counts = make_pipeline(TextCleaner(missing="empty"), TfidfVectorizer())
    assert counts.fit_transform(pd.Series(TEXTS)).shape[0] == 4


def test_set_output_of_frames():
    X = pd.DataFrame({"a": TEXTS, "b": TEXTS[::-1]}, index=[5, 7, 6, 8])
    cleaned = TextCleaner().set_output(transform="pandas").fit_transform(X)
    assert list(cleaned.columns) == ["a", "b"]
    assert list(cleaned.index) == [5, 7, 6, 8]
    assert cleaned["a"].dropna().tolist() == [text for text in CLEANED if text]
    cleaned = TextCleaner().set_output(transform="polars").fit_transform(pl.from_pandas(X))
    assert cleaned.schema == {"a": pl.String, "b": pl.String}
    assert cleaned["b"].to_list() == CLEANED[::-1]


def test_feature_names_out():
    cleaner = TextCleaner().fit(pd.DataFrame({"a": TEXTS, "b": TEXTS}))
    assert list(cleaner.get_feature_names_out()) == ["a", "b"]
    assert list(TextCleaner().fit(TEXTS).get_feature_names_out()) == ["x0"]
    table = ColumnTransformer([("text", make_pipeline(TextCleaner(), SentenceEmbedder(TINY)), "a")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingTextWarning)
        table.fit(pd.DataFrame({"a": TEXTS}))
    assert table.get_feature_names_out()[0] == "text__a_0"


def test_numbers_are_converted_to_text():
    X = pd.DataFrame({"a": [1, 2.5, "<p>3</p>"]}, dtype=object)
    assert TextCleaner().fit_transform(X)[:, 0].tolist() == ["1", "2.5", "3"]


def test_errors():
    with pytest.raises(NotFittedError):
        TextCleaner().transform(TEXTS)
    with pytest.raises(ValueError, match="0 sample"):
        TextCleaner().fit([])
    with pytest.raises(ValueError, match=r"X has 2 features, but TextCleaner is expecting 1"):
        TextCleaner().fit(TEXTS).transform([["a", "b"]])
    with pytest.raises(ValueError, match="feature names should match"):
        TextCleaner().fit(pd.DataFrame({"a": TEXTS})).transform(pd.DataFrame({"b": TEXTS}))
    with pytest.raises(TypeError, match="bytes in row 1"):
        TextCleaner().fit(["a", b"b"])
    for name, value in {"url": "drop", "unicode_form": "NFX", "html": "yes"}.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of TextCleaner must be"):
            TextCleaner(**{name: value}).fit(TEXTS)


def test_clone_pickle_and_grid_search():
    cleaner = TextCleaner(url="mask", lowercase=True).fit(TEXTS)
    copied = pickle.loads(pickle.dumps(cleaner))
    assert copied.transform(TEXTS).tolist() == cleaner.transform(TEXTS).tolist()
    assert clone(cleaner).get_params() == cleaner.get_params()
    pipeline = make_pipeline(TextCleaner(missing="empty"), TfidfVectorizer())
    search = GridSearchCV(
        pipeline,
        {"textcleaner__html": [True, False]},
        scoring=lambda fitted, X, y=None: len(fitted[-1].vocabulary_),
        cv=[(range(4), range(4))],
        error_score="raise",
    ).fit(TEXTS)
    # Without "amp".
    assert search.cv_results_["mean_test_score"].tolist() == [8, 9]


def test_html_to_text_of_hostile_markup_is_fast():
    hostile = [
        "<" * 100_000,
        "&" * 100_000,
        "<!--" * 25_000,
        "<![CDATA[" * 10_000,
        "<!doctype" * 10_000,
        "<?a" * 30_000,
        "<a " * 30_000,
        "<!--" * 25_000 + "-->",
        "<script>" * 15_000 + "</script>" * 10_000,
        "</script" + " " * 100_000,
        "<a b='" * 20_000,
        "<a b=\"<a b='" * 10_000,
        "<a" + " " * 100_000,
        "<a b" + " " * 100_000 + "c",
        "<div>" * 20_000,
        "<div>" * 100_000 + "x" + "</div>" * 100_000,
        "<template>" * 50_000 + "</template>" * 50_000,
        "<div><b></i>" * 10_000,
        "<br>" * 20_000,
        "a" * 100_000,
        "a." * 50_000,
        "<x>" * 30_000 + "</p>",
        "</x>" * 30_000 + "</p>",
        "<a<" * 30_000 + "</p>",
        "\n<b>" * 20_000,
        "<p>" + "&#" * 50_000 + ";",
        "<![x]>" * 20_000 + "</p>",
        "<a " * 30_000 + ">",
        "<a b='" * 20_000 + ">",
        "</script " * 20_000 + "<script>",
        "a@" * 50_000,
        "a@a." * 25_000,
        "http://" * 15_000,
        "www." * 25_000,
        "&#" * 50_000,
    ]
    # Seconds here, hours if it did.
    assert len(TextCleaner(url="mask", email="mask").fit_transform(hostile)) == len(hostile)


words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=5)
tags = st.sampled_from(["p", "div", "li", "td", "h2", "br", "tr", "section", "blockquote"])


@given(st.lists(st.tuples(tags, words), min_size=1, max_size=6))
def test_html_to_text_separates_blocks(blocks):
    html = "".join(f"<{tag} class=a>{word}" for tag, word in blocks)
    expected = unicodedata.normalize("NFC", " ".join(word for _, word in blocks))
    assert clean(html) == expected


markup = st.lists(
    st.sampled_from(
        [
            *"<>&;/![]?='\" \npab#x@.",
            *("--", "amp", "lt", "script", "<p>", "</p>", "<script>", "<!--", "-->", "<![CDATA["),
            *("]]>", "http://", "www.", "\x00", "\u200b", "\u0301", "é", "\ud800", "\xa0"),
        ]
    ),
    max_size=15,
).map("".join)


@given(st.lists(st.one_of(st.none(), st.text(max_size=20), markup), min_size=1, max_size=8))
def test_rows_keep_their_order(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cleaned = TextCleaner(url="mask", email="remove").fit_transform(cells)
    assert len(cleaned) == len(cells)
    for cell, text in zip(cells, cleaned, strict=True):
        assert (cell is None) == (text is None)
        if text is not None:
            assert text == clean(cell, url="mask", email="remove")
            assert text == " ".join(text.split())
            assert unicodedata.is_normalized("NFC", text)
            text.encode()


@given(st.one_of(st.text(), markup), st.sampled_from(["NFC", "NFKC", "NFD", None]), st.booleans())
def test_cleaning_is_idempotent(text, form, lowercase):
    # Not with addresses masked: removed characters and normalization can reveal others.
    how = {"html": False, "unicode_form": form, "lowercase": lowercase}
    once = clean(text, **how)
    assert clean(once, **how) == once
